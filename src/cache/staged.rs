//! The calls that move scopes between the two stores of a staged cache.

use super::Cache;
use crate::Result;

impl Cache {
    /// Replaces scopes (`None` for all) of a [staged](Cache::staged) cache by those of its storage.
    ///
    /// For other caches it does nothing.
    ///
    /// # Errors
    ///
    /// Any error of the storage.
    pub fn load(&self, scopes: Option<&[String]>) -> Result<()> {
        self.inner.shared.void(scopes);
        let loaded = self.inner.store.load(scopes);
        loaded.map_err(|error| error.in_operation(self.inner.store.name(), "load"))
    }

    /// Writes scopes (`None` for all with unsaved changes) to the storage of a
    /// [staged](Cache::staged) cache.
    ///
    /// Each scope is written atomically. For other caches it does nothing.
    ///
    /// # Errors
    ///
    /// Any error of the storage.
    pub fn backup(&self, scopes: Option<&[String]>) -> Result<()> {
        let saved = self.inner.store.backup(scopes);
        saved.map_err(|error| error.in_operation(self.inner.store.name(), "backup"))
    }

    /// Returns the names of the scopes of a staged cache with changes that no
    /// [`backup`](Cache::backup) has written yet, sorted. For other caches the list is empty.
    ///
    /// # Errors
    ///
    /// Any error of the store.
    pub fn unsaved(&self) -> Result<Vec<String>> {
        let unsaved = self.inner.store.unsaved();
        unsaved.map_err(|error| error.in_operation(self.inner.store.name(), "unsaved"))
    }
}
