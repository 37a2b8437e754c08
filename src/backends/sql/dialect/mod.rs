//! What differs between engines: one file each.

mod column_types;
pub(crate) mod expiry;
#[cfg(feature = "server")]
mod keys;
#[cfg(feature = "mysql")]
pub(crate) mod mysql;
#[cfg(feature = "postgresql")]
pub(crate) mod postgresql;
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
use std::time::Duration;

use diesel::connection::TransactionManager;

use super::error::CallError;
use super::statement::{Conn, execute, find};
use crate::backends::sql::dialect::statements::Statements;
use crate::backends::sql::dialect::write::{pop, put};
use crate::{ColumnType, Error, Key, Result, Row, Value};

/// How long a change of a table that stands may take on a server.
#[cfg(feature = "server")]
const CHANGE: Duration = Duration::from_secs(24 * 60 * 60);

/// The name of the table that lists the scopes of a database.
pub(crate) const REGISTRY_TABLE: &str = "hilcat_scopes";

/// The name of the table of leases.
pub(crate) const LEASE_TABLE: &str = "hilcat_leases";

/// Checks that a value comes back from a column as it went in.
pub(crate) type Fits = Arc<dyn Fn(&Value) -> Result<()> + Send + Sync>;

/// An engine, by its Diesel backend.
pub(crate) trait Dialect: Tables {
    /// Inserts complete rows whose keys have none or an expired one. Gives the stored rows of the
    /// other keys. No key occurs twice.
    fn replace_all_expired<C: Conn<Self>>(
        connection: &mut C,
        statements: &Statements,
        keys: &[Key],
        rows: &[Row],
        at: i64,
    ) -> Result<Vec<Option<Row>>, CallError>;

    /// Removes those rows of keys that are expired, each in one step.
    fn remove_expired<C: Conn<Self>>(
        connection: &mut C,
        statements: &Statements,
        keys: &[Key],
        at: i64,
    ) -> Result<(), CallError>;

    /// Runs `body` in a transaction that writes, which in another one is a savepoint.
    fn write_transaction<T, C: Conn<Self>>(
        connection: &mut C,
        body: impl FnOnce(&mut C) -> Result<T, CallError>,
    ) -> Result<T, CallError> {
        transaction(connection, body)
    }

    /// The rows of keys, in the order asked.
    fn fetch_many<C: Conn<Self>>(
        connection: &mut C,
        statements: &Statements,
        keys: &[Key],
    ) -> Result<Vec<Option<Row>>, CallError>;

    /// Writes rows that are complete, all or none. Of two rows with one key the last one counts.
    fn put_all<C: Conn<Self>>(
        connection: &mut C,
        statements: &Statements,
        rows: &[Row],
    ) -> Result<(), CallError>;

    /// Inserts a complete row if its key has none. Gives whether it did.
    fn insert_one<C: Conn<Self>>(
        connection: &mut C,
        statements: &Statements,
        row: &Row,
    ) -> Result<bool, CallError> {
        Ok(execute::<Self>(connection, statements.insert.with(row))? > 0)
    }

    /// Inserts those of the complete rows whose keys have none. Gives the stored rows of the other
    /// keys. No key occurs twice.
    fn insert_all<C: Conn<Self>>(
        connection: &mut C,
        statements: &Statements,
        keys: &[Key],
        rows: &[Row],
    ) -> Result<Vec<Option<Row>>, CallError>;

    /// Writes a row, complete or not, and gives the one that it replaced.
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

    /// Removes a row and gives it. One that cannot be read stays.
    fn pop<C: Conn<Self>>(
        connection: &mut C,
        statements: &Statements,
        key: &Key,
    ) -> Result<Option<Row>, CallError> {
        Self::write_transaction(connection, |connection| {
            Ok(pop::<Self>(connection, statements, key)?)
        })
    }

    /// Removes rows and gives them, all or none, in the order asked; the first of two keys that
    /// are one gets the row. Where one cannot be read all stay.
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

/// Runs `body` in a transaction, which in another one is a savepoint. The error is that of `body`,
/// also where rolling back fails: SQLite has done so by itself when its disk is full, and a lost
/// connection cannot.
pub(crate) fn transaction<T, E: From<diesel::result::Error>, C: diesel::Connection>(
    connection: &mut C,
    body: impl FnOnce(&mut C) -> Result<T, E>,
) -> Result<T, E> {
    C::TransactionManager::begin_transaction(connection)?;
    in_transaction(connection, body)
}

/// The same in a transaction that was begun.
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

/// The error for a stored value that is of another type than the schema says.
fn misfit(ty: ColumnType, found: &str) -> Error {
    Error::invalid_data(format!("the stored value is {found}, which is not of type {ty}"))
}

/// The error of reading a stored value's text.
fn unreadable(error: Error) -> Error {
    Error::invalid_data(format!("the stored value cannot be read: {}", error.message()))
}

/// Checks that JSON has no more levels of arrays and objects than an engine holds.
pub(crate) fn check_depth<D: Dialect>(json: &serde_json::Value, most: usize) -> Result<()> {
    match depth(json) <= most {
        true => Ok(()),
        false => Err(Error::unsupported(format!(
            "{}: the server holds JSON of up to {most} levels of arrays and objects",
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
