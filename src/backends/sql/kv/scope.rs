//! One scope of a key-value file.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use diesel::QueryResult;
use diesel::sqlite::SqliteConnection;

use super::Engine;
use super::registry::{Registry, insert_if_current, put_if_current};
use crate::backends::sql::dialect::Dialect;
use crate::backends::sql::error::{CallError, ErrorClass, classify};
use crate::backends::sql::statement::{Sql, Statement, execute};
use crate::backends::sql::table::Table;
use crate::codec::key::{from_text, to_text};
use crate::codec::{Codec, CodecOptions};
use crate::schema::{plan, unknown_columns};
use crate::store::{Keys, LeasedFill, Leases, Rows, ScopeStore, is_expired};
use crate::{Error, ErrorKind, Key, Result, Row, Schema, Value};

/// A handle on the table of a scope, under the schema that it was opened with.
pub(super) struct KvScope {
    codec: Arc<Codec>,
    /// Keys and values, as SQLite has them.
    table: Table<Engine>,
    registry: Arc<Registry>,
    /// None where there are columns that the schema does not know, which a record keeps.
    put_if_current: Option<Sql>,
    insert_if_current: Sql,
    /// The column of the schema that says when a record expires, where the table has one for that.
    /// It is none of the schema if another program's records say it by a column of their own.
    expiry: Option<Option<usize>>,
}

impl fmt::Debug for KvScope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KvScope").field("scope", &self.schema().name).finish_non_exhaustive()
    }
}

impl KvScope {
    pub(super) fn new(
        schema: &Arc<Schema>,
        stored: &Schema,
        table: Table<Engine>,
        registry: Arc<Registry>,
        options: CodecOptions,
    ) -> Self {
        let codec = Arc::new(Codec::new(schema, options).beside(stored));
        let knows_all = unknown_columns(stored, schema).next().is_none();
        let put_if_current = knows_all.then(|| put_if_current(schema, stored));
        let insert_if_current = insert_if_current(schema, stored);
        let expiry = stored.expiry_column().map(|column| {
            schema.columns.iter().position(|known| known.name == stored.columns[column].name)
        });
        Self { codec, table, registry, put_if_current, insert_if_current, expiry }
    }

    /// Reports a table of other columns, which another program made.
    pub(super) fn check_layout(&self) -> Result<()> {
        let nothing = Key::single(Value::Text(String::new()));
        let inner = self.table.inner();
        let look = |connection: &mut SqliteConnection| match inner.fetch(connection, &nothing) {
            Err(failed) if failed.class::<Engine>() == ErrorClass::NoColumn => {
                Err(CallError::Hilcat(Error::unsupported(format!(
                    "the table `{}` is not one of a key and a value",
                    self.schema().table
                ))))
            }
            result => result.map(drop),
        };
        inner.with_table_repair(|database| database.read(look))
    }

    /// A call that writes, in a transaction of its own.
    fn write<T>(&self, call: impl Fn(&mut SqliteConnection) -> Result<T, CallError>) -> Result<T> {
        self.table.inner().with_table_repair(|database| {
            database.write(|connection| {
                Engine::write_transaction(connection, |connection| call(connection))
            })
        })
    }

    fn decode(&self, key: &Key, row: Row) -> Result<Row> {
        self.codec.decode_at(key, &bytes_of(row)?)
    }

    fn stored(
        &self,
        connection: &mut SqliteConnection,
        key: &Key,
    ) -> Result<Option<Vec<u8>>, CallError> {
        let row = self.table.inner().fetch(connection, &stored_key(key))?;
        Ok(row.map(bytes_of).transpose()?)
    }

    /// Refuses to write where the scope was made anew, or removed, since the handle was opened.
    ///
    /// Gives whether the stored schema has columns that this one does not know.
    fn is_other(&self, connection: &mut SqliteConnection) -> Result<bool, CallError> {
        let schema = self.schema();
        let standing = self.registry.find_or_make(connection, schema)?;
        match standing.filter(|standing| plan(schema, standing).is_safe()) {
            Some(standing) => Ok(unknown_columns(&standing, schema).next().is_some()),
            None => Err(CallError::Hilcat(Error::new(
                ErrorKind::SchemaChange,
                "the scope was made anew under another schema since this handle was opened, or removed; open it again",
            ))),
        }
    }

    /// Writes a row over what is there.
    fn replace(
        &self,
        connection: &mut SqliteConnection,
        row: Row,
    ) -> Result<Option<Row>, CallError> {
        let key = self.schema().key_of(&row);
        let old = self.stored(connection, &key)?;
        let replaced = self.codec.replace(old.as_deref(), row.clone())?;
        let stored = self.stored_row(&key, replaced.bytes, &row)?;
        self.table.inner().set(connection, &stored)?;
        Ok(replaced.old)
    }

    /// Inserts a row that has all columns, if the scope stands under the handle's very schema.
    /// Gives whether it did, and else the bytes that are stored under its key.
    fn insert_at_once(&self, key: &Key, row: &Row) -> Result<(bool, Option<Vec<u8>>)> {
        let new = self.stored_row(key, self.codec.encode(row)?, row)?;
        self.table.inner().with_table_repair(|database| {
            database.write_idempotent(|connection| {
                match written(connection, self.insert_if_current.with(&new))? {
                    0 => Ok((false, self.stored(connection, key)?)),
                    _ => Ok((true, None)),
                }
            })
        })
    }

    /// A record as the table has it: its bytes are of `row`, or of one that `row` was merged into.
    fn stored_row(&self, key: &Key, bytes: Vec<u8>, row: &Row) -> Result<Row> {
        let mut stored = vec![Value::Text(to_text(key).into_owned()), Value::Bytes(bytes)];
        let Some(expiry) = self.expiry else { return Ok(stored) };
        let expires = match expiry.map(|column| row[column].clone()) {
            Some(Value::Absent) => {
                let merged = self.decode(key, stored.clone())?;
                expiry.map_or(Value::Null, |column| merged[column].clone())
            }
            expires => expires.unwrap_or(Value::Null),
        };
        stored.push(expires);
        Ok(stored)
    }

    /// Stores a row unless its key has a record that is not expired at a time, and gives that.
    fn replace_one(
        &self,
        connection: &mut SqliteConnection,
        row: &Row,
        at: i64,
    ) -> Result<Option<Row>, CallError> {
        let key = self.schema().key_of(row);
        if self.expiry.is_some() {
            self.table.inner().remove_expired(connection, &[stored_key(&key)], at)?;
        }
        if let Some(stored) = self.stored(connection, &key)? {
            return Ok(Some(self.codec.decode_at(&key, &stored)?));
        }
        let rows = self.prepare(connection, std::slice::from_ref(row))?;
        self.table.inner().set_many(connection, &rows)?;
        Ok(None)
    }

    /// Gives a record another expiry if it is not expired at a time.
    fn touch_one(
        &self,
        connection: &mut SqliteConnection,
        key: &Key,
        at: i64,
        expires: &Value,
    ) -> Result<bool, CallError> {
        let Some(Some(column)) = self.expiry else { return Ok(false) };
        let Some(stored) = self.stored(connection, key)? else { return Ok(false) };
        let mut row = self.codec.decode_at(key, &stored)?;
        if is_expired(self.schema(), &row, at) {
            return Ok(false);
        }
        row[column] = expires.clone();
        self.replace(connection, row)?;
        Ok(true)
    }

    /// Rows of the table as those of keys.
    fn decode_all(&self, keys: &[Key], rows: Vec<Option<Row>>) -> Result<Vec<Option<Row>>> {
        let decode = |(key, row): (&Key, Option<Row>)| {
            let row = row.map(|row| self.decode(key, row)).transpose();
            row.map_err(|error| error.with_key(key))
        };
        keys.iter().zip(rows).map(decode).collect()
    }

    /// What a batch makes of its rows: one for each key.
    fn prepare(
        &self,
        connection: &mut SqliteConnection,
        rows: &[Row],
    ) -> Result<Vec<Row>, CallError> {
        let other = self.is_other(connection)?;
        let mut places: HashMap<Key, usize> = HashMap::with_capacity(rows.len());
        let mut stored: Vec<Row> = Vec::with_capacity(rows.len());
        for row in rows {
            let key = self.schema().key_of(row);
            let place = places.get(&key).copied();
            let bytes = match other || row.iter().any(Value::is_absent) {
                false => self.codec.encode(row),
                true => {
                    let old = match place {
                        Some(at) => Some(bytes_of(stored[at].clone())?),
                        None => self.stored(connection, &key)?,
                    };
                    self.codec.replace(old.as_deref(), row.clone()).map(|replaced| replaced.bytes)
                }
            };
            let bytes = bytes.map_err(|error| error.with_key(&key))?;
            let row = self.stored_row(&key, bytes, row)?;
            match place {
                Some(at) => stored[at] = row,
                None => {
                    places.insert(key, stored.len());
                    stored.push(row);
                }
            }
        }
        Ok(stored)
    }
}

/// Runs a statement that writes only under the very schema, and gives how many records it wrote:
/// none where another program dropped the registry, which is made again with the next attempt.
fn written(connection: &mut SqliteConnection, statement: Statement<'_>) -> QueryResult<usize> {
    match execute::<Engine>(connection, statement) {
        Err(error) if classify::<Engine>(&error) == ErrorClass::NoTable => Ok(0),
        written => written,
    }
}

/// The key as the table has it.
fn stored_key(key: &Key) -> Key {
    Key::single(Value::Text(to_text(key).into_owned()))
}

/// The value of a row of the table. What the Python package put there is a pickle: it is read as
/// bytes, and reported by the codec.
fn bytes_of(row: Row) -> Result<Vec<u8>> {
    match row.into_iter().nth(1) {
        Some(Value::Bytes(bytes)) => Ok(bytes),
        _ => Err(Error::invalid_data("the stored value is not one of bytes")),
    }
}

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
        let blind = self.put_if_current.as_ref();
        if let Some(put) = blind.filter(|_| !row.iter().any(Value::is_absent)) {
            let stored = self.stored_row(&key, self.codec.encode(&row)?, &row)?;
            let written = self.table.inner().with_table_repair(|database| {
                database.write_idempotent(|connection| Ok(written(connection, put.with(&stored))?))
            })?;
            if written > 0 {
                return Ok(());
            }
        }
        self.update(row).map(drop)
    }

    fn update(&self, row: Row) -> Result<Option<Row>> {
        self.write(|connection| {
            self.is_other(connection)?;
            self.replace(connection, row.clone())
        })
    }

    fn insert(&self, mut row: Row) -> Result<Option<Row>> {
        let key = self.schema().key_of(&row);
        if self.schema().fill_absent(&mut row).is_ok() {
            match self.insert_at_once(&key, &row)? {
                (true, _) => return Ok(None),
                (false, Some(stored)) => return self.codec.decode_at(&key, &stored).map(Some),
                // Another schema stands, or the record was removed after the attempt.
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
            // What cannot be read is not removed either: the transaction is rolled back.
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
            self.is_other(connection)?;
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
            self.is_other(connection)?;
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

/// The key of a text in the table, which is the one that it would have there.
fn key_of(text: &str, schema: &Schema) -> Result<Key> {
    let key = from_text(text, schema)?;
    match to_text(&key) == text {
        true => Ok(key),
        false => Err(Error::invalid_data("a stored key is not one of this scope")),
    }
}
