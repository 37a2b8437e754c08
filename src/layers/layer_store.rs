//! One of the stores that a layer is made of.

use std::sync::Arc;

use super::write_tracker::Tiers;
use crate::freshness::Freshness;
use crate::store::{ScopeStore, Store};
use crate::{Error, Result, Schema};

/// A store, with what the cache that it was of adds to it.
#[derive(Debug, Clone)]
pub(crate) struct LayerStore {
    pub(crate) store: Arc<dyn Store>,
    /// What its cache says of freshness. That of the member which has the truth is the layer's.
    pub(crate) defaults: Freshness,
    /// What is under way in the store where it is the near one of tiers: shared by all of them.
    pub(crate) tiers: Arc<Tiers>,
}

impl LayerStore {
    pub(crate) fn new(store: Arc<dyn Store>, defaults: Freshness) -> Self {
        Self { store, defaults, tiers: Arc::default() }
    }

    /// Refuses what the cache of this member says of freshness, where another member has the truth.
    pub(super) fn check_says_nothing(&self, part: &str) -> Result<()> {
        match self.defaults == Freshness::default() {
            true => Ok(()),
            false => Err(Error::unsupported(format!(
                "the options of freshness of `{part}` cannot be honoured: give them to the part of the layer that has the records"
            ))),
        }
    }

    /// Opens a scope; an error names this store.
    pub(super) fn open(&self, schema: &Arc<Schema>) -> Result<Arc<dyn ScopeStore>> {
        self.call(|store| store.open(schema))
    }

    /// Opens a scope to be read, as [`Store::open_read_only`]; an error names this store.
    pub(super) fn open_read_only(
        &self,
        schema: &Arc<Schema>,
    ) -> Result<Option<Arc<dyn ScopeStore>>> {
        self.call(|store| store.open_read_only(schema))
    }

    /// Makes a call of the store; an error names it.
    pub(super) fn call<T>(&self, call: impl FnOnce(&dyn Store) -> Result<T>) -> Result<T> {
        call(&*self.store).map_err(|error| error.in_backend(self.store.name()))
    }
}

/// One of the scopes that are opened.
type Opened = Arc<dyn ScopeStore>;

/// Opens a scope in several stores under one schema. If one of them has hilcat's own column for the
/// expiry, all have.
pub(super) fn open_alike<const N: usize>(
    members: [&LayerStore; N],
    schema: &Arc<Schema>,
) -> Result<(Arc<Schema>, [Opened; N])> {
    let (schema, scopes) = open_all_alike(&members, schema)?;
    let scopes = scopes.try_into().map_err(|_| Error::invalid_config("a member is missing"))?;
    Ok((schema, scopes))
}

/// The same for any number of stores.
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
