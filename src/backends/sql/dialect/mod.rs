//! The dialects of SQL: what differs between engines.
//!
//! Four traits build on each other: [`ColumnTypes`], [`StatementText`], [`Tables`], and [`Dialect`]
//! with the calls on records. Each engine implements them in one folder. The text that engines share
//! is in `statements` and `expiry`, the calls that they share in `write`.

mod column_types;
pub(crate) mod expiry;
#[cfg(feature = "server")]
mod keys;
#[cfg(feature = "mysql")]
pub(crate) mod mysql;
#[cfg(feature = "postgresql")]
pub(crate) mod postgresql;
#[cfg(feature = "mysql")]
pub(crate) mod sized;
#[cfg(feature = "sqlite")]
pub(crate) mod sqlite;
mod statement_text;
pub(crate) mod statements;
mod tables;
#[cfg(any(feature = "mysql", feature = "sqlite"))]
mod tokens;
pub(crate) mod write;

pub(crate) use self::column_types::ColumnTypes;
pub(crate) use self::statement_text::StatementText;
pub(crate) use self::tables::Tables;

use std::sync::Arc;
#[cfg(feature = "server")]
use std::time::Duration;

use diesel::connection::TransactionManager;

use super::error::CallError;
use super::statement::{Conn, execute, find};
use crate::backends::sql::dialect::statements::Statements;
use crate::backends::sql::dialect::write::{pop, put};
use crate::{ColumnType, Error, Key, Result, Row, Value};

/// The timeout of a change to an existing table on a server.
#[cfg(feature = "server")]
const MIGRATION_TIMEOUT: Duration = Duration::from_secs(24 * 60 * 60);

/// The name of the table that lists the scopes of a database.
pub(crate) const REGISTRY_TABLE: &str = "hilcat_scopes";

/// The name of the table of leases.
pub(crate) const LEASE_TABLE: &str = "hilcat_leases";

/// A check that a column returns a value unchanged.
pub(crate) type ValueCheck = Arc<dyn Fn(&Value) -> Result<()> + Send + Sync>;

/// The calls on records of an engine, by its Diesel backend.
pub(crate) trait Dialect: Tables {
    /// Inserts complete rows whose keys have no row or an expired one. Returns the stored rows of the
    /// other keys. The keys are distinct.
    fn replace_all_expired<C: Conn<Self>>(
        connection: &mut C,
        statements: &Statements,
        keys: &[Key],
        rows: &[Row],
        at: i64,
    ) -> Result<Vec<Option<Row>>, CallError>;

    /// Removes the expired rows of keys, each atomically.
    fn remove_expired<C: Conn<Self>>(
        connection: &mut C,
        statements: &Statements,
        keys: &[Key],
        at: i64,
    ) -> Result<(), CallError>;

    /// Runs `body` in a write transaction, or in a savepoint if a transaction is open.
    fn write_transaction<T, C: Conn<Self>>(
        connection: &mut C,
        body: impl FnOnce(&mut C) -> Result<T, CallError>,
    ) -> Result<T, CallError> {
        transaction(connection, body)
    }

    /// Returns the rows of keys, in the order of the keys.
    fn fetch_many<C: Conn<Self>>(
        connection: &mut C,
        statements: &Statements,
        keys: &[Key],
    ) -> Result<Vec<Option<Row>>, CallError>;

    /// Writes complete rows atomically. Of several rows with the same key, the last is stored.
    fn put_all<C: Conn<Self>>(
        connection: &mut C,
        statements: &Statements,
        rows: &[Row],
    ) -> Result<(), CallError>;

    /// Inserts a complete row if its key has none. Returns whether it was inserted.
    fn insert_one<C: Conn<Self>>(
        connection: &mut C,
        statements: &Statements,
        row: &Row,
    ) -> Result<bool, CallError> {
        Ok(execute::<Self>(connection, statements.insert.with(row))? > 0)
    }

    /// Inserts complete rows whose keys have none. Returns the stored rows of the other keys. The
    /// keys are distinct.
    fn insert_all<C: Conn<Self>>(
        connection: &mut C,
        statements: &Statements,
        keys: &[Key],
        rows: &[Row],
    ) -> Result<Vec<Option<Row>>, CallError>;

    /// Writes a complete or partial row, and returns the row that it replaced.
    fn update<C: Conn<Self>>(
        connection: &mut C,
        statements: &Statements,
        row: &Row,
    ) -> Result<Option<Row>, CallError> {
        Self::write_transaction(connection, |connection| {
            let key = statements.schema.key_of(row);
            let fetch = statements.fetch.with(key.values());
            let old = find::<Self>(connection, fetch, &statements.types)?;
            put::<Self>(connection, statements, row)?;
            Ok(old)
        })
    }

    /// Removes and returns a row. A row that cannot be decoded is not removed.
    fn pop<C: Conn<Self>>(
        connection: &mut C,
        statements: &Statements,
        key: &Key,
    ) -> Result<Option<Row>, CallError> {
        Self::write_transaction(connection, |connection| {
            Ok(pop::<Self>(connection, statements, key)?)
        })
    }

    /// Removes and returns rows atomically, in the order of the keys. The first of several equal keys
    /// gets the row. If a row cannot be decoded, none is removed.
    fn pop_many<C: Conn<Self>>(
        connection: &mut C,
        statements: &Statements,
        keys: &[Key],
    ) -> Result<Vec<Option<Row>>, CallError> {
        Self::write_transaction(connection, |connection| {
            keys.iter().map(|key| Ok(pop::<Self>(connection, statements, key)?)).collect()
        })
    }

    /// Removes the rows of a section.
    fn clear<C: Conn<Self>>(
        connection: &mut C,
        statements: &Statements,
        fixed: &[Value],
    ) -> Result<(), CallError> {
        execute::<Self>(connection, statements.clear.with(fixed))?;
        Ok(())
    }
}

/// Runs `body` in a transaction, or in a savepoint if a transaction is open. Returns the error of
/// `body` even if the rollback fails: SQLite rolls back by itself when the disk is full, and a lost
/// connection cannot roll back.
pub(crate) fn transaction<T, E: From<diesel::result::Error>, C: diesel::Connection>(
    connection: &mut C,
    body: impl FnOnce(&mut C) -> Result<T, E>,
) -> Result<T, E> {
    C::TransactionManager::begin_transaction(connection)?;
    in_transaction(connection, body)
}

/// Runs `body` in an open transaction, and commits it or rolls it back.
fn in_transaction<T, E: From<diesel::result::Error>, C: diesel::Connection>(
    connection: &mut C,
    body: impl FnOnce(&mut C) -> Result<T, E>,
) -> Result<T, E> {
    match body(connection) {
        Ok(value) => {
            C::TransactionManager::commit_transaction(connection)?;
            Ok(value)
        }
        Err(error) => {
            let _ = C::TransactionManager::rollback_transaction(connection);
            Err(error)
        }
    }
}

/// Returns the error of a stored value that does not have the type of the schema.
fn type_mismatch(ty: ColumnType, found: &str) -> Error {
    Error::invalid_data(format!("the stored value is {found}, which is not of type {ty}"))
}

/// Returns the error of a stored value that cannot be decoded.
fn unreadable_value(error: Error) -> Error {
    Error::invalid_data(format!("the stored value cannot be read: {}", error.message()))
}

/// Checks that JSON does not exceed an engine's limit of nesting.
pub(crate) fn check_depth<D: ColumnTypes>(json: &serde_json::Value, most: usize) -> Result<()> {
    match depth(json) <= most {
        true => Ok(()),
        false => Err(Error::unsupported(format!(
            "{}: the JSON is nested too deeply; the server holds up to {most} levels of arrays and objects",
            D::NAME
        ))),
    }
}

fn depth(json: &serde_json::Value) -> usize {
    use serde_json::Value as Json;
    match json {
        Json::Array(items) => 1 + items.iter().map(depth).max().unwrap_or(0),
        Json::Object(map) => 1 + map.values().map(depth).max().unwrap_or(0),
        _ => 0,
    }
}
