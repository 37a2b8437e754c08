//! The shared state of a scope that works in one store and is saved to another.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::{Mutex, RwLock};

use crate::store::ScopeStore;
use crate::{Result, Row};

/// The scope in both stores, as opened most recently.
#[derive(Debug, Clone)]
pub(super) struct Stores {
    pub(super) memory: Arc<dyn ScopeStore>,
    pub(super) storage: Arc<dyn ScopeStore>,
}

/// The state that all handles on a scope share.
#[derive(Debug)]
pub(super) struct Stage {
    scope: String,
    /// A write holds the shared lock. A snapshot or a replacement of all records holds the
    /// exclusive lock, so it happens between two writes.
    stores: RwLock<Stores>,
    /// Counts the writes.
    changes: AtomicU64,
    /// The value of `changes` that the storage has.
    saved: AtomicU64,
    /// Serializes loads and backups, so that an older snapshot never overwrites a newer one.
    moving: Mutex<()>,
}

impl Stage {
    pub(super) fn new(scope: &str, stores: Stores) -> Self {
        Self {
            scope: scope.to_owned(),
            stores: RwLock::new(stores),
            changes: AtomicU64::new(0),
            saved: AtomicU64::new(0),
            moving: Mutex::new(()),
        }
    }

    pub(super) fn scope(&self) -> &str {
        &self.scope
    }

    /// Takes the stores of a scope that was opened again, perhaps under a newer schema.
    pub(super) fn reopen(&self, stores: Stores) {
        *self.stores.write() = stores;
    }

    pub(super) fn is_unsaved(&self) -> bool {
        self.changes.load(Ordering::Acquire) != self.saved.load(Ordering::Acquire)
    }

    /// Runs a write; `changed` returns whether its result means that something changed.
    pub(super) fn write<T>(
        &self,
        call: impl FnOnce() -> Result<T>,
        changed: impl FnOnce(&T) -> bool,
    ) -> Result<T> {
        let _shared = self.stores.read();
        let result = call();
        // A failed write may still have changed something.
        if result.as_ref().map_or(true, changed) {
            self.changes.fetch_add(1, Ordering::AcqRel);
        }
        result
    }

    /// Replaces the work with the records of the storage; unsaved work is lost.
    pub(super) fn load(&self) -> Result<()> {
        let _moving = self.moving.lock();
        let storage = self.stores.read().storage.clone();
        let rows = self.named(storage.snapshot())?;
        let stores = self.stores.write();
        self.named(stores.memory.replace_all(rows))?;
        self.saved.store(self.changes.load(Ordering::Acquire), Ordering::Release);
        Ok(())
    }

    /// Replaces the records of the storage with the work. The lock on the stores is released before
    /// the storage is written, so no other call waits for it.
    pub(super) fn backup(&self) -> Result<()> {
        let _moving = self.moving.lock();
        let (rows, storage, changes) = self.take()?;
        self.named(storage.replace_all(rows))?;
        self.saved.store(changes, Ordering::Release);
        Ok(())
    }

    /// Returns a snapshot of the records, the storage, and the number of writes in the snapshot.
    fn take(&self) -> Result<(Vec<Row>, Arc<dyn ScopeStore>, u64)> {
        let stores = self.stores.write();
        let rows = self.named(stores.memory.snapshot())?;
        Ok((rows, stores.storage.clone(), self.changes.load(Ordering::Acquire)))
    }

    fn named<T>(&self, result: Result<T>) -> Result<T> {
        result.map_err(|error| error.with_scope(&self.scope))
    }
}
