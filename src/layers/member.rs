//! One of the stores that a layer is made of.

use std::sync::Arc;
use std::time::Duration;

use super::Tiers;
use crate::store::{ScopeStore, Store};
use crate::{Result, Schema};

/// A store, with what the cache that it was of adds to it.
#[derive(Debug, Clone)]
pub(crate) struct Member {
    pub(crate) store: Arc<dyn Store>,
    /// How long records are good for in scopes that do not say it themselves.
    pub(crate) ttl: Option<Duration>,
    /// What is under way in the store where it is the near one of tiers: shared by all of them.
    pub(crate) tiers: Arc<Tiers>,
}

impl Member {
    pub(crate) fn new(store: Arc<dyn Store>, ttl: Option<Duration>) -> Self {
        Self { store, ttl, tiers: Arc::default() }
    }

    /// A schema as this store is given it.
    fn own(&self, schema: &Arc<Schema>) -> Arc<Schema> {
        match (schema.ttl, self.ttl) {
            (None, Some(ttl)) => Arc::new(Schema::clone(schema).ttl(ttl)),
            _ => schema.clone(),
        }
    }

    /// Opens a scope; an error names this store.
    pub(super) fn open(&self, schema: &Arc<Schema>) -> Result<Arc<dyn ScopeStore>> {
        self.call(|store| store.open(&self.own(schema)))
    }

    /// Opens a scope to be read, as [`Store::open_read_only`]; an error names this store.
    pub(super) fn open_read_only(
        &self,
        schema: &Arc<Schema>,
    ) -> Result<Option<Arc<dyn ScopeStore>>> {
        self.call(|store| store.open_read_only(&self.own(schema)))
    }

    /// Makes a call of the store; an error names it.
    pub(super) fn call<T>(&self, call: impl FnOnce(&dyn Store) -> Result<T>) -> Result<T> {
        call(&*self.store).map_err(|error| error.in_backend(self.store.name()))
    }
}
