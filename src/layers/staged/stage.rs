//! One scope that is worked on in one store and saved to another one.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::{Mutex, RwLock};

use crate::store::ScopeStore;
use crate::{Result, Row};

/// The scope in both stores, as it was opened last.
#[derive(Debug, Clone)]
pub(super) struct Stores {
    pub(super) memory: Arc<dyn ScopeStore>,
    pub(super) storage: Arc<dyn ScopeStore>,
}

/// What all handles on a scope share.
#[derive(Debug)]
pub(super) struct Stage {
    scope: String,
    /// Who writes holds it with others; who takes all records, or replaces them, alone.
    stores: RwLock<Stores>,
    /// How often something was written.
    changes: AtomicU64,
    /// How many of these changes the storage has.
    saved: AtomicU64,
    /// Of two backups the later one must not be overwritten by the earlier one.
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

    /// The scope was opened again, it may be under a newer schema.
    pub(super) fn reopen(&self, stores: Stores) {
        *self.stores.write() = stores;
    }

    pub(super) fn is_unsaved(&self) -> bool {
        self.changes.load(Ordering::Acquire) != self.saved.load(Ordering::Acquire)
    }

    /// Runs a call that writes; `changed` says of its result whether it changed something.
    pub(super) fn write<T>(
        &self,
        call: impl FnOnce() -> Result<T>,
        changed: impl FnOnce(&T) -> bool,
    ) -> Result<T> {
        let _with_others = self.stores.read();
        let result = call();
        // Of one that failed it is not always known that it changed nothing.
        if result.as_ref().map_or(true, changed) {
            self.changes.fetch_add(1, Ordering::AcqRel);
        }
        result
    }

    /// Puts what the storage has in place of what is there; unsaved work is lost.
    pub(super) fn load(&self) -> Result<()> {
        let _moving = self.moving.lock();
        let storage = self.stores.read().storage.clone();
        let rows = self.named(storage.snapshot())?;
        let stores = self.stores.write();
        self.named(stores.memory.replace_all(rows))?;
        self.saved.store(self.changes.load(Ordering::Acquire), Ordering::Release);
        Ok(())
    }

    /// Puts what is there in place of what the storage has. Nobody waits for the storage.
    pub(super) fn backup(&self) -> Result<()> {
        let _moving = self.moving.lock();
        let (rows, storage, changes) = self.take()?;
        self.named(storage.replace_all(rows))?;
        self.saved.store(changes, Ordering::Release);
        Ok(())
    }

    /// All records between two writes, and how many writes there were.
    fn take(&self) -> Result<(Vec<Row>, Arc<dyn ScopeStore>, u64)> {
        let stores = self.stores.write();
        let rows = self.named(stores.memory.snapshot())?;
        Ok((rows, stores.storage.clone(), self.changes.load(Ordering::Acquire)))
    }

    fn named<T>(&self, result: Result<T>) -> Result<T> {
        result.map_err(|error| error.with_scope(&self.scope))
    }
}
