//! A handle on a scope that works in one store and is saved to another.

use std::sync::Arc;

use super::super::limits::Limits;
use super::stage::Stage;
use crate::store::{Keys, Leases, Rows, ScopeStore};
use crate::{Key, Result, Row, Schema, Value};

#[derive(Debug)]
pub(super) struct StagedScope {
    schema: Arc<Schema>,
    memory: Arc<dyn ScopeStore>,
    stage: Arc<Stage>,
    /// What both stores can hold.
    limits: Limits,
}

impl StagedScope {
    pub(super) fn new(
        schema: Arc<Schema>,
        memory: Arc<dyn ScopeStore>,
        stage: Arc<Stage>,
        limits: Limits,
    ) -> Self {
        Self { schema, memory, stage, limits }
    }

    fn write<T>(&self, call: impl FnOnce(&dyn ScopeStore) -> Result<T>) -> Result<T> {
        self.stage.write(|| call(&*self.memory), |_| true)
    }
}

#[deny(clippy::missing_trait_methods)]
impl ScopeStore for StagedScope {
    fn schema(&self) -> &Arc<Schema> {
        &self.schema
    }

    fn exists(&self, key: &Key) -> Result<bool> {
        self.memory.exists(key)
    }

    fn fetch(&self, key: &Key) -> Result<Option<Row>> {
        self.memory.fetch(key)
    }

    fn fetch_many(&self, keys: &[Key]) -> Result<Vec<Option<Row>>> {
        self.memory.fetch_many(keys)
    }

    fn set(&self, row: Row) -> Result<()> {
        let row = self.limits.validate(&self.schema, row)?;
        self.write(|memory| memory.set(row))
    }

    fn update(&self, row: Row) -> Result<Option<Row>> {
        let row = self.limits.validate(&self.schema, row)?;
        self.write(|memory| memory.update(row))
    }

    fn insert(&self, row: Row) -> Result<Option<Row>> {
        let row = self.limits.validate(&self.schema, row)?;
        self.stage.write(|| self.memory.insert(row), Option::is_none)
    }

    fn insert_many(&self, rows: Vec<Row>) -> Result<Vec<Option<Row>>> {
        let rows = self.limits.validate_all(&self.schema, rows)?;
        let changed = |stored: &Vec<Option<Row>>| stored.iter().any(Option::is_none);
        self.stage.write(|| self.memory.insert_many(rows), changed)
    }

    fn set_many(&self, rows: Vec<Row>) -> Result<()> {
        let rows = self.limits.validate_all(&self.schema, rows)?;
        self.write(|memory| memory.set_many(rows))
    }

    fn pop(&self, key: &Key) -> Result<Option<Row>> {
        self.stage.write(|| self.memory.pop(key), Option::is_some)
    }

    fn pop_many(&self, keys: &[Key]) -> Result<Vec<Option<Row>>> {
        let changed = |rows: &Vec<Option<Row>>| rows.iter().any(Option::is_some);
        self.stage.write(|| self.memory.pop_many(keys), changed)
    }

    fn keys(&self) -> Result<Keys> {
        self.memory.keys()
    }

    fn rows(&self) -> Result<Rows> {
        self.memory.rows()
    }

    fn len(&self) -> Result<u64> {
        self.memory.len()
    }

    fn clear(&self) -> Result<()> {
        self.write(|memory| memory.clear())
    }

    fn snapshot(&self) -> Result<Vec<Row>> {
        self.memory.snapshot()
    }

    fn replace_all(&self, rows: Vec<Row>) -> Result<()> {
        let rows = self.limits.validate_all(&self.schema, rows)?;
        self.write(|memory| memory.replace_all(rows))
    }

    fn replace_expired(&self, rows: Vec<Row>, at: i64) -> Result<Vec<Option<Row>>> {
        let rows = self.limits.validate_all(&self.schema, rows)?;
        let changed = |stored: &Vec<Option<Row>>| stored.iter().any(Option::is_none);
        self.stage.write(|| self.memory.replace_expired(rows, at), changed)
    }

    fn remove_expired(&self, keys: &[Key], at: i64) -> Result<()> {
        self.write(|memory| memory.remove_expired(keys, at))
    }

    fn replace_unchanged(&self, old: Option<&Row>, row: Row) -> Result<bool> {
        let row = self.limits.validate(&self.schema, row)?;
        self.stage.write(|| self.memory.replace_unchanged(old, row), |stored| *stored)
    }

    fn touch(&self, key: &Key, at: i64, expires: Value) -> Result<bool> {
        self.stage.write(|| self.memory.touch(key, at, expires), |touched| *touched)
    }

    fn purge(&self, before: i64, limit: usize) -> Result<usize> {
        self.stage.write(|| self.memory.purge(before, limit), |removed| *removed > 0)
    }

    fn trim(&self, records: u64, limit: usize) -> Result<usize> {
        self.stage.write(|| self.memory.trim(records, limit), |removed| *removed > 0)
    }

    fn live_keys(&self, at: i64) -> Result<Keys> {
        self.memory.live_keys(at)
    }

    fn live_rows(&self, at: i64) -> Result<Rows> {
        self.memory.live_rows(at)
    }

    fn live_len(&self, at: i64) -> Result<u64> {
        self.memory.live_len(at)
    }

    /// Returns `None`: no other process sees the work.
    fn leases(&self) -> Option<&dyn Leases> {
        None
    }

    /// Returns `None`: the work is not in the table of the storage.
    fn table(&self) -> Option<&dyn std::any::Any> {
        None
    }
}
