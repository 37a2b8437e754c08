//! The operations of a scope on its table.

use std::any::Any;
use std::sync::Arc;
use std::time::Duration;

use super::Table;
use super::listing::{Pages, Selection};
use crate::backends::sql::dialect::Dialect;
use crate::backends::sql::dialect::write::is_removal_suppressed;
use crate::backends::sql::statement::load;
use crate::store::{Keys, LeasedFill, Leases, Rows, ScopeStore};
use crate::{Key, Result, Row, Schema, Value};

/// How many times a batch of removals is attempted if the database suppresses it.
const MAX_POP_ATTEMPTS: usize = 8;

impl<D: Dialect> Table<D> {
    fn key_pages(&self, at: Option<i64>) -> Result<Keys> {
        let pages = Pages::begin(self, Selection::Keys, at)?;
        Ok(Box::new(pages.map(|row| row.map(Key::new))))
    }

    fn row_pages(&self, at: Option<i64>) -> Result<Rows> {
        Ok(Box::new(Pages::begin(self, Selection::Rows, at)?))
    }
}

impl<D: Dialect> ScopeStore for Table<D> {
    fn schema(&self) -> &Arc<Schema> {
        &self.inner.schema
    }

    fn exists(&self, key: &Key) -> Result<bool> {
        self.inner.read(|connection| self.inner.exists(connection, key))
    }

    fn fetch(&self, key: &Key) -> Result<Option<Row>> {
        match D::ON_SERVER {
            true => self.inner.fetch_coalesced(key),
            false => self.inner.read(|connection| self.inner.fetch(connection, key)),
        }
    }

    fn fetch_many(&self, keys: &[Key]) -> Result<Vec<Option<Row>>> {
        self.inner.read(|connection| self.inner.fetch_many(connection, keys))
    }

    fn set(&self, row: Row) -> Result<()> {
        let row = self.inner.validate_row(row)?;
        self.inner.write_idempotent(|connection| self.inner.set(connection, &row))
    }

    fn update(&self, row: Row) -> Result<Option<Row>> {
        let row = self.inner.validate_row(row)?;
        self.inner.write(|connection| self.inner.update(connection, &row))
    }

    fn insert(&self, row: Row) -> Result<Option<Row>> {
        let key = self.inner.schema().key_of(&row);
        let row = self.inner.with_defaults(self.inner.validate_row(row)?);
        self.inner.write_idempotent(|connection| self.inner.insert(connection, &key, &row))
    }

    fn insert_many(&self, rows: Vec<Row>) -> Result<Vec<Option<Row>>> {
        let rows = self.inner.validate_new(rows)?;
        self.inner.write_idempotent(|connection| self.inner.insert_many(connection, &rows))
    }

    fn replace_expired(&self, rows: Vec<Row>, at: i64) -> Result<Vec<Option<Row>>> {
        let rows = self.inner.validate_new(rows)?;
        self.inner.write_idempotent(|connection| self.inner.replace_expired(connection, &rows, at))
    }

    fn remove_expired(&self, keys: &[Key], at: i64) -> Result<()> {
        self.inner.write_idempotent(|connection| self.inner.remove_expired(connection, keys, at))
    }

    fn replace_unchanged(&self, old: Option<&Row>, row: Row) -> Result<bool> {
        let Some(old) = old else { return Ok(self.insert(row)?.is_none()) };
        let row = self.inner.validate_row(row)?;
        self.inner.write(|connection| self.inner.replace_unchanged(connection, old, &row))
    }

    fn touch(&self, key: &Key, at: i64, expires: Value) -> Result<bool> {
        self.inner.write_idempotent(|connection| self.inner.touch(connection, key, at, &expires))
    }

    fn purge(&self, before: i64, limit: usize) -> Result<usize> {
        let expiring = self.inner.expiring()?;
        self.remove_some(&expiring.purge, &[Value::Timestamp(before)], limit)
    }

    fn trim(&self, records: u64, limit: usize) -> Result<usize> {
        let expiring = self.inner.expiring()?;
        let excess = usize::try_from(self.len()?.saturating_sub(records)).unwrap_or(usize::MAX);
        let wanted = excess.min(limit);
        if wanted == 0 {
            return Ok(0);
        }
        let removed = self.remove_some(&expiring.trim, &[], wanted)?;
        match wanted.saturating_sub(removed) {
            0 => Ok(removed),
            rest => Ok(removed + self.remove_some(&expiring.trim_rest, &[], rest)?),
        }
    }

    fn live_keys(&self, at: i64) -> Result<Keys> {
        self.key_pages(Some(at))
    }

    fn live_rows(&self, at: i64) -> Result<Rows> {
        self.row_pages(Some(at))
    }

    fn live_len(&self, at: i64) -> Result<u64> {
        let Ok(expiring) = self.inner.expiring() else { return self.len() };
        let mut values = [&*self.section, &self.section].concat();
        values.push(Value::Timestamp(at));
        self.count(&expiring.len, &values)
    }

    fn set_many(&self, rows: Vec<Row>) -> Result<()> {
        let rows = self.inner.validate_rows(rows)?;
        self.inner.write_idempotent(|connection| self.inner.set_many(connection, &rows))
    }

    fn pop(&self, key: &Key) -> Result<Option<Row>> {
        self.inner.write(|connection| self.inner.pop(connection, key))
    }

    fn pop_many(&self, keys: &[Key]) -> Result<Vec<Option<Row>>> {
        let pop = || self.inner.write(|connection| self.inner.pop_many(connection, keys));
        // The statement can lock a row that another connection wrote while it waited, and then not
        // remove it. All rows are kept in that case, and another attempt sees the new row. A removal
        // that a trigger or rule suppresses fails each time.
        for _ in 1..MAX_POP_ATTEMPTS {
            match pop() {
                Err(error) if is_removal_suppressed(&error) => {}
                result => return result,
            }
        }
        pop()
    }

    fn keys(&self) -> Result<Keys> {
        self.key_pages(None)
    }

    fn rows(&self) -> Result<Rows> {
        self.row_pages(None)
    }

    fn len(&self) -> Result<u64> {
        self.count(&self.inner.statements.len, &self.section)
    }

    fn clear(&self) -> Result<()> {
        self.inner.write_idempotent(|connection| self.inner.clear(connection, &self.section))
    }

    /// Reads all rows by one statement, which every engine executes as of one moment.
    fn snapshot(&self) -> Result<Vec<Row>> {
        let (all, types) = (&self.inner.statements.all, &self.inner.statements.types);
        self.inner.read(|connection| {
            let mut rows = Vec::new();
            load::<D>(connection, all.with(&self.section), types, |row| {
                rows.push(row);
                Ok(())
            })?;
            Ok(rows)
        })
    }

    fn replace_all(&self, rows: Vec<Row>) -> Result<()> {
        let rows = self.inner.validate_rows(rows)?;
        self.inner
            .write_idempotent(|connection| self.inner.replace_all(connection, &self.section, &rows))
    }

    fn leases(&self) -> Option<&dyn Leases> {
        self.inner.has_leases().then_some(self as &dyn Leases)
    }

    fn table(&self) -> Option<&dyn Any> {
        Some(&*self.inner)
    }
}

impl<D: Dialect> Leases for Table<D> {
    fn acquire(&self, key: &Key, holder: &str, lease: Duration) -> Result<bool> {
        let (database, key) = (&self.inner.database, self.inner.lease_key(key));
        self.inner
            .write_idempotent(|connection| database.acquire_lease(connection, &key, holder, lease))
    }

    fn renew(&self, key: &Key, holder: &str, lease: Duration) -> Result<bool> {
        let (database, key) = (&self.inner.database, self.inner.lease_key(key));
        self.inner
            .write_idempotent(|connection| database.renew_lease(connection, &key, holder, lease))
    }

    fn release(&self, key: &Key, holder: &str) -> Result<()> {
        self.inner.write_idempotent(|connection| self.inner.release_lease(connection, key, holder))
    }

    fn fill(&self, row: Row, at: i64, holder: &str) -> Result<LeasedFill> {
        let inner = &self.inner;
        let rows = inner.validate_new(vec![row])?;
        let [(key, row)] = &rows[..] else { return Ok(LeasedFill::Lost) };
        inner.write(|connection| {
            D::write_transaction(connection, |connection| {
                if !inner.lock_lease(connection, key, holder)? {
                    return Ok(LeasedFill::Lost);
                }
                let stored = match inner.statements.expiring {
                    Some(_) => inner.replace_one(connection, key, row, at)?,
                    None => inner.insert(connection, key, row)?,
                };
                inner.release_lease(connection, key, holder)?;
                Ok(stored.map_or(LeasedFill::Stored, LeasedFill::Existing))
            })
        })
    }
}
