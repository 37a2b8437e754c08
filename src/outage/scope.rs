//! A scope of a server, behind a circuit breaker.

use std::any::Any;
use std::sync::Arc;
use std::time::Duration;

use super::Remote;
use crate::store::{Keys, LeasedFill, Leases, Rows, ScopeStore, no_leases};
use crate::{Key, Result, Row, Schema, Value};

/// A scope whose calls pass the circuit breaker of its cache. A listing passes it only at its
/// start.
#[derive(Debug)]
pub(super) struct GuardedScope {
    remote: Arc<Remote>,
    scope: Arc<dyn ScopeStore>,
}

impl GuardedScope {
    pub(super) fn new(remote: Arc<Remote>, scope: Arc<dyn ScopeStore>) -> Self {
        Self { remote, scope }
    }

    fn leased<T>(&self, call: impl FnOnce(&dyn Leases) -> Result<T>) -> Result<T> {
        self.remote.call(|| call(self.scope.leases().ok_or_else(no_leases)?))
    }
}

#[deny(clippy::missing_trait_methods)]
impl ScopeStore for GuardedScope {
    fn schema(&self) -> &Arc<Schema> {
        self.scope.schema()
    }

    fn exists(&self, key: &Key) -> Result<bool> {
        self.remote.call(|| self.scope.exists(key))
    }

    fn fetch(&self, key: &Key) -> Result<Option<Row>> {
        self.remote.call(|| self.scope.fetch(key))
    }

    fn fetch_many(&self, keys: &[Key]) -> Result<Vec<Option<Row>>> {
        self.remote.call(|| self.scope.fetch_many(keys))
    }

    fn set(&self, row: Row) -> Result<()> {
        self.remote.call(|| self.scope.set(row))
    }

    fn update(&self, row: Row) -> Result<Option<Row>> {
        self.remote.call(|| self.scope.update(row))
    }

    fn insert(&self, row: Row) -> Result<Option<Row>> {
        self.remote.call(|| self.scope.insert(row))
    }

    fn insert_many(&self, rows: Vec<Row>) -> Result<Vec<Option<Row>>> {
        self.remote.call(|| self.scope.insert_many(rows))
    }

    fn set_many(&self, rows: Vec<Row>) -> Result<()> {
        self.remote.call(|| self.scope.set_many(rows))
    }

    fn pop(&self, key: &Key) -> Result<Option<Row>> {
        self.remote.call(|| self.scope.pop(key))
    }

    fn pop_many(&self, keys: &[Key]) -> Result<Vec<Option<Row>>> {
        self.remote.call(|| self.scope.pop_many(keys))
    }

    fn keys(&self) -> Result<Keys> {
        self.remote.call(|| self.scope.keys())
    }

    fn rows(&self) -> Result<Rows> {
        self.remote.call(|| self.scope.rows())
    }

    fn len(&self) -> Result<u64> {
        self.remote.call(|| self.scope.len())
    }

    fn clear(&self) -> Result<()> {
        self.remote.call(|| self.scope.clear())
    }

    fn snapshot(&self) -> Result<Vec<Row>> {
        self.remote.call(|| self.scope.snapshot())
    }

    fn replace_all(&self, rows: Vec<Row>) -> Result<()> {
        self.remote.call(|| self.scope.replace_all(rows))
    }

    fn replace_expired(&self, rows: Vec<Row>, at: i64) -> Result<Vec<Option<Row>>> {
        self.remote.call(|| self.scope.replace_expired(rows, at))
    }

    fn remove_expired(&self, keys: &[Key], at: i64) -> Result<()> {
        self.remote.call(|| self.scope.remove_expired(keys, at))
    }

    fn replace_unchanged(&self, old: Option<&Row>, row: Row) -> Result<bool> {
        self.remote.call(|| self.scope.replace_unchanged(old, row))
    }

    fn touch(&self, key: &Key, at: i64, expires: Value) -> Result<bool> {
        self.remote.call(|| self.scope.touch(key, at, expires))
    }

    fn purge(&self, before: i64, limit: usize) -> Result<usize> {
        self.remote.call(|| self.scope.purge(before, limit))
    }

    fn trim(&self, records: u64, limit: usize) -> Result<usize> {
        self.remote.call(|| self.scope.trim(records, limit))
    }

    fn live_keys(&self, at: i64) -> Result<Keys> {
        self.remote.call(|| self.scope.live_keys(at))
    }

    fn live_rows(&self, at: i64) -> Result<Rows> {
        self.remote.call(|| self.scope.live_rows(at))
    }

    fn live_len(&self, at: i64) -> Result<u64> {
        self.remote.call(|| self.scope.live_len(at))
    }

    fn leases(&self) -> Option<&dyn Leases> {
        self.scope.leases().map(|_| self as &dyn Leases)
    }

    /// Calls on the caller's own connection do not pass the breaker.
    fn table(&self) -> Option<&dyn Any> {
        self.scope.table()
    }
}

#[deny(clippy::missing_trait_methods)]
impl Leases for GuardedScope {
    fn acquire(&self, key: &Key, holder: &str, lease: Duration) -> Result<bool> {
        self.leased(|leases| leases.acquire(key, holder, lease))
    }

    fn renew(&self, key: &Key, holder: &str, lease: Duration) -> Result<bool> {
        self.leased(|leases| leases.renew(key, holder, lease))
    }

    fn release(&self, key: &Key, holder: &str) -> Result<()> {
        self.leased(|leases| leases.release(key, holder))
    }

    fn fill(&self, row: Row, at: i64, holder: &str) -> Result<LeasedFill> {
        self.leased(|leases| leases.fill(row, at, holder))
    }
}
