//! The operations of a scope on its key-value table.

use std::sync::Arc;
use std::time::Duration;

use super::scope::{KvScope, bytes_of, execute_if_registered, stored_key};
use crate::codec::key::{from_text, to_text};
use crate::store::{Keys, LeasedFill, Leases, Rows, ScopeStore};
use crate::{Error, Key, Result, Row, Schema, Value};

impl ScopeStore for KvScope {
    fn schema(&self) -> &Arc<Schema> {
        self.codec.schema()
    }

    fn exists(&self, key: &Key) -> Result<bool> {
        self.table.exists(&stored_key(key))
    }

    fn fetch(&self, key: &Key) -> Result<Option<Row>> {
        let found = self.table.fetch(&stored_key(key))?;
        found.map(|row| self.decode(key, row)).transpose()
    }

    fn fetch_many(&self, keys: &[Key]) -> Result<Vec<Option<Row>>> {
        let stored: Vec<Key> = keys.iter().map(stored_key).collect();
        self.decode_all(keys, self.table.fetch_many(&stored)?)
    }

    fn set(&self, row: Row) -> Result<()> {
        let key = self.schema().key_of(&row);
        let put = self.put_if_current.as_ref();
        if let Some(put) = put.filter(|_| !row.iter().any(Value::is_absent)) {
            let stored = self.stored_row(&key, self.codec.encode(&row)?, &row)?;
            let written = self.table.inner().write_idempotent(|connection| {
                Ok(execute_if_registered(connection, put.with(&stored))?)
            })?;
            if written > 0 {
                return Ok(());
            }
        }
        self.update(row).map(drop)
    }

    fn update(&self, row: Row) -> Result<Option<Row>> {
        self.write(|connection| {
            self.check_schema(connection)?;
            self.replace(connection, row.clone())
        })
    }

    fn insert(&self, mut row: Row) -> Result<Option<Row>> {
        let key = self.schema().key_of(&row);
        if self.schema().fill_absent(&mut row).is_ok() {
            match self.try_insert(&key, &row)? {
                (true, _) => return Ok(None),
                (false, Some(stored)) => return self.codec.decode_at(&key, &stored).map(Some),
                // The stored schema is another one, or the record was removed after the attempt.
                (false, None) => {}
            }
        }
        Ok(self.insert_many(vec![row])?.pop().flatten())
    }

    fn insert_many(&self, rows: Vec<Row>) -> Result<Vec<Option<Row>>> {
        let keys: Vec<Key> = rows.iter().map(|row| self.schema().key_of(row)).collect();
        let stored_keys: Vec<Key> = keys.iter().map(stored_key).collect();
        self.write(|connection| {
            let stored = self.table.inner().fetch_many(connection, &stored_keys)?;
            let new = rows.iter().zip(&stored).filter(|(_, stored)| stored.is_none());
            let new: Vec<Row> = new.map(|(row, _)| row.clone()).collect();
            if !new.is_empty() {
                let new = self.prepare(connection, &new)?;
                self.table.inner().set_many(connection, &new)?;
            }
            Ok(self.decode_all(&keys, stored)?)
        })
    }

    fn set_many(&self, rows: Vec<Row>) -> Result<()> {
        if rows.is_empty() {
            return Ok(());
        }
        self.write(|connection| {
            let rows = self.prepare(connection, &rows)?;
            self.table.inner().set_many(connection, &rows)
        })
    }

    fn pop(&self, key: &Key) -> Result<Option<Row>> {
        self.write(|connection| {
            let row = self.table.inner().pop(connection, &stored_key(key))?;
            // A record that cannot be read is kept: the error rolls the transaction back.
            Ok(row.map(|row| self.decode(key, row)).transpose()?)
        })
    }

    fn pop_many(&self, keys: &[Key]) -> Result<Vec<Option<Row>>> {
        let stored: Vec<Key> = keys.iter().map(stored_key).collect();
        self.write(|connection| {
            let rows = self.table.inner().pop_many(connection, &stored)?;
            Ok(self.decode_all(keys, rows)?)
        })
    }

    fn keys(&self) -> Result<Keys> {
        Ok(self.keys_of(self.table.keys()?))
    }

    fn rows(&self) -> Result<Rows> {
        Ok(self.rows_of(self.table.rows()?))
    }

    fn replace_expired(&self, rows: Vec<Row>, at: i64) -> Result<Vec<Option<Row>>> {
        self.write(|connection| {
            rows.iter().map(|row| self.replace_one(connection, row, at)).collect()
        })
    }

    fn remove_expired(&self, keys: &[Key], at: i64) -> Result<()> {
        let stored: Vec<Key> = keys.iter().map(stored_key).collect();
        self.table.remove_expired(&stored, at)
    }

    fn replace_unchanged(&self, old: Option<&Row>, row: Row) -> Result<bool> {
        let key = self.schema().key_of(&row);
        self.write(|connection| {
            let stored = self.stored(connection, &key)?;
            let stored = stored.map(|bytes| self.codec.decode_at(&key, &bytes)).transpose()?;
            if stored.as_ref() != old {
                return Ok(false);
            }
            self.check_schema(connection)?;
            self.replace(connection, row.clone())?;
            Ok(true)
        })
    }

    fn touch(&self, key: &Key, at: i64, expires: Value) -> Result<bool> {
        self.write(|connection| self.touch_one(connection, key, at, &expires))
    }

    fn purge(&self, before: i64, limit: usize) -> Result<usize> {
        self.table.purge(before, limit)
    }

    fn trim(&self, records: u64, limit: usize) -> Result<usize> {
        self.table.trim(records, limit)
    }

    fn live_keys(&self, at: i64) -> Result<Keys> {
        Ok(self.keys_of(self.table.live_keys(at)?))
    }

    fn live_rows(&self, at: i64) -> Result<Rows> {
        Ok(self.rows_of(self.table.live_rows(at)?))
    }

    fn live_len(&self, at: i64) -> Result<u64> {
        self.table.live_len(at)
    }

    fn leases(&self) -> Option<&dyn Leases> {
        self.table.leases().map(|_| self as &dyn Leases)
    }

    fn len(&self) -> Result<u64> {
        self.table.len()
    }

    fn clear(&self) -> Result<()> {
        self.table.clear()
    }

    fn replace_all(&self, rows: Vec<Row>) -> Result<()> {
        self.write(|connection| {
            self.check_schema(connection)?;
            self.table.inner().clear(connection, &[])?;
            let rows = self.prepare(connection, &rows)?;
            self.table.inner().set_many(connection, &rows)
        })
    }
}

impl KvScope {
    fn keys_of(&self, stored: Keys) -> Keys {
        let codec = self.codec.clone();
        let key = move |stored: Result<Key>| match stored?.values() {
            [Value::Text(text)] => key_of(text, codec.schema()),
            _ => Err(Error::invalid_data("a stored key is not text")),
        };
        Box::new(stored.map(key))
    }

    fn rows_of(&self, stored: Rows) -> Rows {
        let codec = self.codec.clone();
        let row = move |stored: Result<Row>| {
            let stored = stored?;
            let key = match &stored[..] {
                [Value::Text(text), ..] => key_of(text, codec.schema())?,
                _ => return Err(Error::invalid_data("a stored key is not text")),
            };
            let row = bytes_of(stored).and_then(|bytes| codec.decode_at(&key, &bytes));
            row.map_err(|error| error.with_key(&key))
        };
        Box::new(stored.map(row))
    }
}

impl Leases for KvScope {
    fn acquire(&self, key: &Key, holder: &str, lease: Duration) -> Result<bool> {
        self.table.acquire(&stored_key(key), holder, lease)
    }

    fn renew(&self, key: &Key, holder: &str, lease: Duration) -> Result<bool> {
        self.table.renew(&stored_key(key), holder, lease)
    }

    fn release(&self, key: &Key, holder: &str) -> Result<()> {
        self.table.release(&stored_key(key), holder)
    }

    fn fill(&self, row: Row, at: i64, holder: &str) -> Result<LeasedFill> {
        let key = stored_key(&self.schema().key_of(&row));
        self.write(|connection| {
            if !self.table.inner().lock_lease(connection, &key, holder)? {
                return Ok(LeasedFill::Lost);
            }
            let stored = self.replace_one(connection, &row, at)?;
            self.table.inner().release_lease(connection, &key, holder)?;
            Ok(stored.map_or(LeasedFill::Stored, LeasedFill::Existing))
        })
    }
}

/// Returns the key of a text in the table, if it is the text of that key.
fn key_of(text: &str, schema: &Schema) -> Result<Key> {
    let key = from_text(text, schema)?;
    match to_text(&key) == text {
        true => Ok(key),
        false => Err(Error::invalid_data("a stored key is not a valid key of this scope")),
    }
}
