//! A scope of a namespace: a scope of the inner store under another name.

use std::sync::Arc;

use crate::store::{Keys, Leases, Rows, ScopeStore};
use crate::{Key, Result, Row, Schema, Value};

/// A handle with the schema of the namespace; every call is forwarded.
#[derive(Debug)]
pub(super) struct PrefixedScope {
    pub(super) schema: Arc<Schema>,
    pub(super) inner: Arc<dyn ScopeStore>,
}

#[deny(clippy::missing_trait_methods)]
impl ScopeStore for PrefixedScope {
    fn schema(&self) -> &Arc<Schema> {
        &self.schema
    }

    fn exists(&self, key: &Key) -> Result<bool> {
        self.inner.exists(key)
    }

    fn fetch(&self, key: &Key) -> Result<Option<Row>> {
        self.inner.fetch(key)
    }

    fn fetch_many(&self, keys: &[Key]) -> Result<Vec<Option<Row>>> {
        self.inner.fetch_many(keys)
    }

    fn set(&self, row: Row) -> Result<()> {
        self.inner.set(row)
    }

    fn update(&self, row: Row) -> Result<Option<Row>> {
        self.inner.update(row)
    }

    fn insert(&self, row: Row) -> Result<Option<Row>> {
        self.inner.insert(row)
    }

    fn insert_many(&self, rows: Vec<Row>) -> Result<Vec<Option<Row>>> {
        self.inner.insert_many(rows)
    }

    fn set_many(&self, rows: Vec<Row>) -> Result<()> {
        self.inner.set_many(rows)
    }

    fn pop(&self, key: &Key) -> Result<Option<Row>> {
        self.inner.pop(key)
    }

    fn pop_many(&self, keys: &[Key]) -> Result<Vec<Option<Row>>> {
        self.inner.pop_many(keys)
    }

    fn keys(&self) -> Result<Keys> {
        self.inner.keys()
    }

    fn rows(&self) -> Result<Rows> {
        self.inner.rows()
    }

    fn len(&self) -> Result<u64> {
        self.inner.len()
    }

    fn clear(&self) -> Result<()> {
        self.inner.clear()
    }

    fn snapshot(&self) -> Result<Vec<Row>> {
        self.inner.snapshot()
    }

    fn replace_all(&self, rows: Vec<Row>) -> Result<()> {
        self.inner.replace_all(rows)
    }

    fn replace_expired(&self, rows: Vec<Row>, at: i64) -> Result<Vec<Option<Row>>> {
        self.inner.replace_expired(rows, at)
    }

    fn remove_expired(&self, keys: &[Key], at: i64) -> Result<()> {
        self.inner.remove_expired(keys, at)
    }

    fn replace_unchanged(&self, old: Option<&Row>, row: Row) -> Result<bool> {
        self.inner.replace_unchanged(old, row)
    }

    fn touch(&self, key: &Key, at: i64, expires: Value) -> Result<bool> {
        self.inner.touch(key, at, expires)
    }

    fn purge(&self, before: i64, limit: usize) -> Result<usize> {
        self.inner.purge(before, limit)
    }

    fn trim(&self, records: u64, limit: usize) -> Result<usize> {
        self.inner.trim(records, limit)
    }

    fn live_keys(&self, at: i64) -> Result<Keys> {
        self.inner.live_keys(at)
    }

    fn live_rows(&self, at: i64) -> Result<Rows> {
        self.inner.live_rows(at)
    }

    fn live_len(&self, at: i64) -> Result<u64> {
        self.inner.live_len(at)
    }

    fn leases(&self) -> Option<&dyn Leases> {
        self.inner.leases()
    }

    fn table(&self) -> Option<&dyn std::any::Any> {
        self.inner.table()
    }
}
