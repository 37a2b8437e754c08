//! One scope of a table of all scopes.

use std::any::Any;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::backends::sql::dialect::Dialect;
use crate::backends::sql::table::Table;
use crate::store::{Keys, LeasedFill, Leases, Rows, ScopeStore};
use crate::{Key, Result, Row, Schema, Value};

/// The rows of one scope. In the table they begin with the values of the scope columns.
pub(super) struct Section<D: Dialect> {
    schema: Arc<Schema>,
    table: Table<D>,
    scope: Vec<Value>,
}

impl<D: Dialect> fmt::Debug for Section<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Section").field("name", &self.schema.name).finish_non_exhaustive()
    }
}

impl<D: Dialect> Section<D> {
    pub(super) fn new(schema: Arc<Schema>, table: Table<D>, scope: Vec<Value>) -> Self {
        Self { schema, table, scope }
    }

    /// Returns a key of the table.
    fn key(&self, key: &Key) -> Key {
        Key::new(self.scope.iter().chain(key.values()).cloned())
    }

    fn keys_of(&self, keys: &[Key]) -> Vec<Key> {
        keys.iter().map(|key| self.key(key)).collect()
    }

    /// Returns a row of the table.
    fn row(&self, row: Row) -> Row {
        self.scope.iter().cloned().chain(row).collect()
    }

    /// Removes the values of the scope columns from a row of the table.
    fn strip(&self, row: Row) -> Row {
        strip(row, self.scope.len())
    }

    fn strip_rows(&self, rows: Vec<Option<Row>>) -> Vec<Option<Row>> {
        rows.into_iter().map(|row| row.map(|row| self.strip(row))).collect()
    }
}

fn strip(mut row: Row, scope: usize) -> Row {
    row.drain(..scope);
    row
}

#[deny(clippy::missing_trait_methods, reason = "a wrapper forwards every method")]
impl<D: Dialect> ScopeStore for Section<D> {
    fn schema(&self) -> &Arc<Schema> {
        &self.schema
    }

    fn exists(&self, key: &Key) -> Result<bool> {
        self.table.exists(&self.key(key))
    }

    fn fetch(&self, key: &Key) -> Result<Option<Row>> {
        Ok(self.table.fetch(&self.key(key))?.map(|row| self.strip(row)))
    }

    fn fetch_many(&self, keys: &[Key]) -> Result<Vec<Option<Row>>> {
        Ok(self.strip_rows(self.table.fetch_many(&self.keys_of(keys))?))
    }

    fn set(&self, row: Row) -> Result<()> {
        self.table.set(self.row(row))
    }

    fn update(&self, row: Row) -> Result<Option<Row>> {
        Ok(self.table.update(self.row(row))?.map(|row| self.strip(row)))
    }

    fn insert(&self, row: Row) -> Result<Option<Row>> {
        Ok(self.table.insert(self.row(row))?.map(|row| self.strip(row)))
    }

    fn insert_many(&self, rows: Vec<Row>) -> Result<Vec<Option<Row>>> {
        let rows = rows.into_iter().map(|row| self.row(row)).collect();
        Ok(self.strip_rows(self.table.insert_many(rows)?))
    }

    fn set_many(&self, rows: Vec<Row>) -> Result<()> {
        self.table.set_many(rows.into_iter().map(|row| self.row(row)).collect())
    }

    fn pop(&self, key: &Key) -> Result<Option<Row>> {
        Ok(self.table.pop(&self.key(key))?.map(|row| self.strip(row)))
    }

    fn pop_many(&self, keys: &[Key]) -> Result<Vec<Option<Row>>> {
        Ok(self.strip_rows(self.table.pop_many(&self.keys_of(keys))?))
    }

    fn keys(&self) -> Result<Keys> {
        let scope = self.scope.len();
        let keys = self.table.keys()?;
        Ok(Box::new(keys.map(move |key| Ok(Key::new(key?.into_values().skip(scope))))))
    }

    fn rows(&self) -> Result<Rows> {
        let scope = self.scope.len();
        Ok(Box::new(self.table.rows()?.map(move |row| Ok(strip(row?, scope)))))
    }

    fn len(&self) -> Result<u64> {
        self.table.len()
    }

    fn clear(&self) -> Result<()> {
        self.table.clear()
    }

    fn snapshot(&self) -> Result<Vec<Row>> {
        Ok(self.table.snapshot()?.into_iter().map(|row| self.strip(row)).collect())
    }

    fn replace_all(&self, rows: Vec<Row>) -> Result<()> {
        self.table.replace_all(rows.into_iter().map(|row| self.row(row)).collect())
    }

    fn replace_expired(&self, rows: Vec<Row>, at: i64) -> Result<Vec<Option<Row>>> {
        let rows = rows.into_iter().map(|row| self.row(row)).collect();
        Ok(self.strip_rows(self.table.replace_expired(rows, at)?))
    }

    fn remove_expired(&self, keys: &[Key], at: i64) -> Result<()> {
        self.table.remove_expired(&self.keys_of(keys), at)
    }

    fn replace_unchanged(&self, old: Option<&Row>, row: Row) -> Result<bool> {
        let old = old.map(|old| self.row(old.clone()));
        self.table.replace_unchanged(old.as_ref(), self.row(row))
    }

    fn touch(&self, key: &Key, at: i64, expires: Value) -> Result<bool> {
        self.table.touch(&self.key(key), at, expires)
    }

    fn purge(&self, before: i64, limit: usize) -> Result<usize> {
        self.table.purge(before, limit)
    }

    fn trim(&self, records: u64, limit: usize) -> Result<usize> {
        self.table.trim(records, limit)
    }

    fn live_keys(&self, at: i64) -> Result<Keys> {
        let scope = self.scope.len();
        let keys = self.table.live_keys(at)?;
        Ok(Box::new(keys.map(move |key| Ok(Key::new(key?.into_values().skip(scope))))))
    }

    fn live_rows(&self, at: i64) -> Result<Rows> {
        let scope = self.scope.len();
        Ok(Box::new(self.table.live_rows(at)?.map(move |row| Ok(strip(row?, scope)))))
    }

    fn live_len(&self, at: i64) -> Result<u64> {
        self.table.live_len(at)
    }

    fn leases(&self) -> Option<&dyn Leases> {
        self.table.leases().map(|_| self as &dyn Leases)
    }

    /// Returns `None`: a call on the caller's connection would not add the scope's values to a key.
    fn table(&self) -> Option<&dyn Any> {
        None
    }
}

impl<D: Dialect> Leases for Section<D> {
    fn acquire(&self, key: &Key, holder: &str, lease: Duration) -> Result<bool> {
        self.table.acquire(&self.key(key), holder, lease)
    }

    fn renew(&self, key: &Key, holder: &str, lease: Duration) -> Result<bool> {
        self.table.renew(&self.key(key), holder, lease)
    }

    fn release(&self, key: &Key, holder: &str) -> Result<()> {
        self.table.release(&self.key(key), holder)
    }

    fn fill(&self, row: Row, at: i64, holder: &str) -> Result<LeasedFill> {
        Ok(match self.table.fill(self.row(row), at, holder)? {
            LeasedFill::Existing(row) => LeasedFill::Existing(self.strip(row)),
            filled => filled,
        })
    }
}
