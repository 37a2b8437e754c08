//! One scope of a key-value file: its records, and their encoding as rows of the table.

use crate::backends::sql::dialect::Dialect;
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use diesel::QueryResult;
use diesel::sqlite::SqliteConnection;

use super::Engine;
use super::registry::{Registry, insert_if_current, put_if_current};
use crate::backends::sql::error::{CallError, ErrorClass, classify};
use crate::backends::sql::statement::{Sql, Statement, execute};
use crate::backends::sql::table::Table;
use crate::codec::key::to_text;
use crate::codec::{Codec, CodecOptions};
use crate::schema::{plan, unknown_columns};
use crate::store::{ScopeStore, is_expired};
use crate::{Error, ErrorKind, Key, Result, Row, Schema, Value};

/// A handle on the table of a scope, with the schema that it was opened with.
pub(super) struct KvScope {
    pub(super) codec: Arc<Codec>,
    /// The table of keys and values.
    pub(super) table: Table<Engine>,
    registry: Arc<Registry>,
    /// Writes a record if the stored schema is the one that the scope was opened with. `None` if
    /// that has columns which this handle's schema lacks: a record keeps their values.
    pub(super) put_if_current: Option<Sql>,
    insert_if_current: Sql,
    /// The position of the expiry column in the schema. The outer `None` means that the table has no
    /// expiry column, the inner one that the schema lacks the column from which another program
    /// fills it.
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
        let codec = Arc::new(Codec::new(schema, options).with_stored_schema(stored));
        let has_all_columns = unknown_columns(stored, schema).next().is_none();
        let put_if_current = has_all_columns.then(|| put_if_current(schema, stored));
        let insert_if_current = insert_if_current(schema, stored);
        let expiry = stored.expiry_column().map(|column| {
            schema.columns.iter().position(|known| known.name == stored.columns[column].name)
        });
        Self { codec, table, registry, put_if_current, insert_if_current, expiry }
    }

    /// Checks that the table has the columns of this backend: another program may have created it.
    pub(super) fn check_layout(&self) -> Result<()> {
        let nothing = Key::single(Value::Text(String::new()));
        let inner = self.table.inner();
        inner.read(|connection| match inner.fetch(connection, &nothing) {
            Err(error) if error.class::<Engine>() == ErrorClass::NoColumn => {
                Err(CallError::Hilcat(Error::unsupported(format!(
                    "the table `{}` does not have the columns `key` and `value`; choose another one by `table`",
                    self.schema().table
                ))))
            }
            result => result.map(drop),
        })
    }

    /// Runs a call that writes, in a transaction of its own.
    pub(super) fn write<T>(
        &self,
        call: impl Fn(&mut SqliteConnection) -> Result<T, CallError>,
    ) -> Result<T> {
        self.table.inner().write(|connection| {
            Engine::write_transaction(connection, |connection| call(connection))
        })
    }

    /// Decodes a row of the table.
    pub(super) fn decode(&self, key: &Key, row: Row) -> Result<Row> {
        self.codec.decode_at(key, &bytes_of(row)?)
    }

    /// Returns the stored bytes of a record.
    pub(super) fn stored(
        &self,
        connection: &mut SqliteConnection,
        key: &Key,
    ) -> Result<Option<Vec<u8>>, CallError> {
        let row = self.table.inner().fetch(connection, &stored_key(key))?;
        Ok(row.map(bytes_of).transpose()?)
    }

    /// Checks that the scope was neither recreated nor removed since this handle was opened. Returns
    /// whether the stored schema has columns that this handle's schema lacks.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::SchemaChange`] if the scope was recreated or removed.
    pub(super) fn check_schema(
        &self,
        connection: &mut SqliteConnection,
    ) -> Result<bool, CallError> {
        let schema = self.schema();
        let stored = self.registry.find_or_create(connection, schema)?;
        match stored.filter(|stored| plan(schema, stored).is_safe()) {
            Some(stored) => Ok(unknown_columns(&stored, schema).next().is_some()),
            None => Err(CallError::Hilcat(Error::new(
                ErrorKind::SchemaChange,
                "the scope was recreated with another schema or removed since this handle was opened; open it again",
            ))),
        }
    }

    /// Writes a row, merged into the existing record, and returns that record.
    pub(super) fn replace(
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

    /// Inserts a complete row if the stored schema is the one that the scope was opened with. Returns
    /// whether it did, and otherwise the bytes that are stored for its key.
    pub(super) fn try_insert(&self, key: &Key, row: &Row) -> Result<(bool, Option<Vec<u8>>)> {
        let new = self.stored_row(key, self.codec.encode(row)?, row)?;
        self.table.inner().write_idempotent(|connection| {
            match execute_if_registered(connection, self.insert_if_current.with(&new))? {
                0 => Ok((false, self.stored(connection, key)?)),
                _ => Ok((true, None)),
            }
        })
    }

    /// Returns the row of the table for a record with these bytes, which are those of `row` or of the
    /// record that `row` was merged into.
    pub(super) fn stored_row(&self, key: &Key, bytes: Vec<u8>, row: &Row) -> Result<Row> {
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

    /// Stores a row unless its key has a record that is not expired at the time `at`, and returns
    /// that record.
    pub(super) fn replace_one(
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

    /// Sets the expiry of a record unless it is expired at the time `at`. Returns whether it did.
    pub(super) fn touch_one(
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

    /// Decodes the rows of keys.
    pub(super) fn decode_all(
        &self,
        keys: &[Key],
        rows: Vec<Option<Row>>,
    ) -> Result<Vec<Option<Row>>> {
        let decode = |(key, row): (&Key, Option<Row>)| {
            let row = row.map(|row| self.decode(key, row)).transpose();
            row.map_err(|error| error.with_key(key))
        };
        keys.iter().zip(rows).map(decode).collect()
    }

    /// Merges the rows of a batch with each other and with existing records, and returns the rows of
    /// the table: one for each key.
    pub(super) fn prepare(
        &self,
        connection: &mut SqliteConnection,
        rows: &[Row],
    ) -> Result<Vec<Row>, CallError> {
        let merge = self.check_schema(connection)?;
        let mut places: HashMap<Key, usize> = HashMap::with_capacity(rows.len());
        let mut stored: Vec<Row> = Vec::with_capacity(rows.len());
        for row in rows {
            let key = self.schema().key_of(row);
            let place = places.get(&key).copied();
            let bytes = match merge || row.iter().any(Value::is_absent) {
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

/// Executes a statement that writes only if the stored schema is current, and returns how many
/// records it wrote. Returns 0 if another program dropped the registry, which the next attempt
/// creates again.
pub(super) fn execute_if_registered(
    connection: &mut SqliteConnection,
    statement: Statement<'_>,
) -> QueryResult<usize> {
    match execute::<Engine>(connection, statement) {
        Err(error) if classify::<Engine>(&error) == ErrorClass::NoTable => Ok(0),
        written => written,
    }
}

/// Returns the key of the table for a key of the scope.
pub(super) fn stored_key(key: &Key) -> Key {
    Key::single(Value::Text(to_text(key).into_owned()))
}

/// Returns the value in a row of the table. A value of the Python package is a pickle; the codec
/// reports it as an error.
pub(super) fn bytes_of(row: Row) -> Result<Vec<u8>> {
    match row.into_iter().nth(1) {
        Some(Value::Bytes(bytes)) => Ok(bytes),
        _ => Err(Error::invalid_data("the stored value is not a BLOB")),
    }
}
