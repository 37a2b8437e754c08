//! A store inside a layer.

use std::sync::Arc;

use super::write_tracker::Tiers;
use crate::freshness::Freshness;
use crate::store::{ScopeStore, Store};
use crate::{Error, Result, Schema};

/// A store inside a layer, with the options of the cache that it came from.
#[derive(Debug, Clone)]
pub(crate) struct LayerStore {
    pub(crate) store: Arc<dyn Store>,
    /// The freshness options of its cache. A layer uses those of the member that holds the
    /// authoritative records.
    pub(crate) defaults: Freshness,
    /// The calls in progress on the store as a near store, shared by all tiers over it.
    pub(crate) tiers: Arc<Tiers>,
}

impl LayerStore {
    pub(crate) fn new(store: Arc<dyn Store>, defaults: Freshness) -> Self {
        Self { store, defaults, tiers: Arc::default() }
    }

    /// Checks that the cache of this member has no freshness options, which would have no effect.
    pub(super) fn check_no_freshness(&self, part: &str) -> Result<()> {
        match self.defaults == Freshness::default() {
            true => Ok(()),
            false => Err(Error::unsupported(format!(
                "the freshness options of `{part}` have no effect there: set them on the part of the layer that holds the records"
            ))),
        }
    }

    /// Opens a scope; an error names this store.
    pub(super) fn open(&self, schema: &Arc<Schema>) -> Result<Arc<dyn ScopeStore>> {
        self.call(|store| store.open(schema))
    }

    /// Opens a scope by [`Store::open_read_only`]; an error names this store.
    pub(super) fn open_read_only(
        &self,
        schema: &Arc<Schema>,
    ) -> Result<Option<Arc<dyn ScopeStore>>> {
        self.call(|store| store.open_read_only(schema))
    }

    /// Calls the store; an error names it.
    pub(super) fn call<T>(&self, call: impl FnOnce(&dyn Store) -> Result<T>) -> Result<T> {
        call(&*self.store).map_err(|error| error.in_backend(self.store.name()))
    }
}

/// A scope in one of the stores.
type Opened = Arc<dyn ScopeStore>;

/// Opens a scope in several stores under one schema. If one of them has hilcat's own expiry column,
/// all get it.
pub(super) fn open_alike<const N: usize>(
    members: [&LayerStore; N],
    schema: &Arc<Schema>,
) -> Result<(Arc<Schema>, [Opened; N])> {
    let (schema, scopes) = open_all_alike(&members, schema)?;
    let scopes = scopes.try_into().map_err(|_| Error::invalid_config("a member is missing"))?;
    Ok((schema, scopes))
}

/// Like [`open_alike`], for any number of stores.
pub(super) fn open_all_alike(
    members: &[&LayerStore],
    schema: &Arc<Schema>,
) -> Result<(Arc<Schema>, Vec<Opened>)> {
    let open = |schema: &Arc<Schema>| -> Result<Vec<_>> {
        members.iter().map(|member| member.open(schema)).collect()
    };
    let scopes = open(schema)?;
    let carries = scopes.iter().any(|scope| scope.schema().has_own_expiry_column());
    if !carries || schema.has_own_expiry_column() {
        return Ok((schema.clone(), scopes));
    }
    let schema = Arc::new(schema.with_expiry_column());
    let scopes = open(&schema)?;
    Ok((schema, scopes))
}
