//! One of the stores that a layer is made of.

use std::sync::Arc;

use super::Tiers;
use crate::freshness::Freshness;
use crate::store::{ScopeStore, Store};
use crate::{Result, Schema};

/// A store, with what the cache that it was of adds to it.
#[derive(Debug, Clone)]
pub(crate) struct Member {
    pub(crate) store: Arc<dyn Store>,
    /// What its cache says of freshness. That of the member which has the truth is the layer's.
    pub(crate) defaults: Freshness,
    /// What is under way in the store where it is the near one of tiers: shared by all of them.
    pub(crate) tiers: Arc<Tiers>,
}

impl Member {
    pub(crate) fn new(store: Arc<dyn Store>, defaults: Freshness) -> Self {
        Self { store, defaults, tiers: Arc::default() }
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
