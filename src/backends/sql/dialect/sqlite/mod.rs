//! SQLite.

mod column_types;
mod create_table;
mod introspect;
mod rebuild;
mod statement_text;
mod tables;
mod values;

use std::any::Any;
use std::time::Duration;

use diesel::QueryResult;
use diesel::connection::{AnsiTransactionManager, SimpleConnection, TransactionManager};
use diesel::result::DatabaseErrorInformation;
use diesel::sqlite::{Sqlite, SqliteConnection};

use self::statement_text::rows_at_once;
use crate::backends::sql::connection::pool::PooledBackend;
use crate::backends::sql::dialect::Dialect;
use crate::backends::sql::dialect::statements::Statements;
use crate::backends::sql::dialect::write::{
    check_written, pop, removal_suppressed, remove_expired, replace_expired,
};
use crate::backends::sql::error::{CallError, Classify, ErrorClass};
use crate::backends::sql::statement::batch::RequestOrder;
use crate::backends::sql::statement::{Conn, execute, find, load};
use crate::{Key, Result, Row, Value};

impl Classify for Sqlite {
    fn classify(info: &dyn DatabaseErrorInformation) -> ErrorClass {
        let message = info.message();
        if message.contains("is locked") {
            ErrorClass::Busy
        } else if message.starts_with("disk I/O error") {
            // A commit that was partly written can be completed by the next process.
            ErrorClass::DiskError
        } else if message.starts_with("no such table") {
            ErrorClass::NoTable
        } else if message.starts_with("no such column") || message.contains(" has no column named ")
        {
            ErrorClass::NoColumn
        } else {
            ErrorClass::Other
        }
    }
}

impl PooledBackend for Sqlite {
    type Connection = SqliteConnection;

    const ON_SERVER: bool = false;

    fn set_deadline(connection: &mut SqliteConnection, left: Duration) -> QueryResult<()> {
        // SQLite treats a larger value as none.
        let left = left.as_millis().min(i32::MAX as u128);
        connection.batch_execute(&format!("PRAGMA busy_timeout = {left}"))
    }
}

impl Dialect for Sqlite {
    fn replace_all_expired<C: Conn<Self>>(
        connection: &mut C,
        statements: &Statements,
        keys: &[Key],
        rows: &[Row],
        at: i64,
    ) -> Result<Vec<Option<Row>>, CallError> {
        Self::write_transaction(connection, |connection| {
            let replace = |(key, row)| replace_expired(connection, statements, key, row, at);
            keys.iter().zip(rows).map(replace).collect()
        })
    }

    fn remove_expired<C: Conn<Self>>(
        connection: &mut C,
        statements: &Statements,
        keys: &[Key],
        at: i64,
    ) -> Result<(), CallError> {
        Self::write_transaction(connection, |connection| {
            keys.iter().try_for_each(|key| remove_expired(connection, statements, key, at))
        })
    }

    fn write_transaction<T, C: Conn<Self>>(
        connection: &mut C,
        body: impl FnOnce(&mut C) -> Result<T, CallError>,
    ) -> Result<T, CallError> {
        // A deferred transaction that begins to write fails at once if another one wrote meanwhile,
        // regardless of the busy timeout. On a connection of another type, the caller has to begin
        // an immediate transaction.
        let own = (connection as &mut dyn Any).downcast_mut::<SqliteConnection>();
        let Some(own) = own.and_then(outside_of_transactions) else {
            return super::transaction(connection, body);
        };
        AnsiTransactionManager::begin_transaction_sql(own, "BEGIN IMMEDIATE")?;
        super::in_transaction(connection, body)
    }

    fn fetch_many<C: Conn<Self>>(
        connection: &mut C,
        statements: &Statements,
        keys: &[Key],
    ) -> Result<Vec<Option<Row>>, CallError> {
        let listed = statements.fetch_many.as_ref().zip(list(keys));
        let Some((fetch_many, list)) = listed else {
            // One transaction for all keys: it takes most of the time of a fetch from a file.
            return super::transaction(connection, |connection| {
                let mut fetch = |key: &Key| {
                    let fetch = statements.fetch.with(key.values());
                    find::<Self>(connection, fetch, &statements.types)
                };
                Ok(keys.iter().map(&mut fetch).collect::<QueryResult<_>>()?)
            });
        };
        let mut rows = RequestOrder::new(&statements.schema, keys);
        load::<Self>(connection, fetch_many.with(&[list]), &statements.types, |row| {
            rows.put(row);
            Ok(())
        })?;
        Ok(rows.finish())
    }

    /// A trigger can suppress a removal without an error. No other connection writes while the
    /// transaction is open, so a row that still exists was not removed.
    fn pop<C: Conn<Self>>(
        connection: &mut C,
        statements: &Statements,
        key: &Key,
    ) -> Result<Option<Row>, CallError> {
        Self::write_transaction(connection, |connection| pop_checked(connection, statements, key))
    }

    fn pop_many<C: Conn<Self>>(
        connection: &mut C,
        statements: &Statements,
        keys: &[Key],
    ) -> Result<Vec<Option<Row>>, CallError> {
        Self::write_transaction(connection, |connection| {
            keys.iter().map(|key| pop_checked(connection, statements, key)).collect()
        })
    }

    fn clear<C: Conn<Self>>(
        connection: &mut C,
        statements: &Statements,
        fixed: &[Value],
    ) -> Result<(), CallError> {
        Self::write_transaction(connection, |connection| {
            execute::<Self>(connection, statements.clear.with(fixed))?;
            let left = find::<Self>(connection, statements.keys.first.with(fixed), &[])?;
            left.map_or(Ok(()), |_| Err(CallError::Hilcat(removal_suppressed(&statements.schema))))
        })
    }

    /// No other connection writes while the transaction is open: a key without a row when fetched has
    /// none when inserted.
    fn insert_all<C: Conn<Self>>(
        connection: &mut C,
        statements: &Statements,
        keys: &[Key],
        rows: &[Row],
    ) -> Result<Vec<Option<Row>>, CallError> {
        Self::write_transaction(connection, |connection| {
            let stored = Self::fetch_many(connection, statements, keys)?;
            let new = rows.iter().zip(&stored).filter(|(_, stored)| stored.is_none());
            let new: Vec<Row> = new.map(|(row, _)| row.clone()).collect();
            Self::put_all(connection, statements, &new)?;
            Ok(stored)
        })
    }

    /// Several rows per statement save work in Diesel; SQLite searches for each row separately.
    fn put_all<C: Conn<Self>>(
        connection: &mut C,
        statements: &Statements,
        rows: &[Row],
    ) -> Result<(), CallError> {
        Self::write_transaction(connection, |connection| {
            let schema = &statements.schema;
            let chunks = rows.chunks_exact(rows_at_once(schema));
            let rest = chunks.remainder();
            for rows in chunks {
                let written = execute::<Self>(connection, statements.set_rows.with_rows(rows))?;
                check_written(schema, written, rows.len())?;
            }
            for row in rest {
                let written = execute::<Self>(connection, statements.set.with(row))?;
                check_written(schema, written, 1)?;
            }
            Ok(())
        })
    }
}

/// Removes and returns a row, in a write transaction.
fn pop_checked<C: Conn<Sqlite>>(
    connection: &mut C,
    statements: &Statements,
    key: &Key,
) -> Result<Option<Row>, CallError> {
    let row = pop::<Sqlite>(connection, statements, key)?;
    if row.is_none()
        && find::<Sqlite>(connection, statements.exists.with(key.values()), &[])?.is_some()
    {
        return Err(CallError::Hilcat(removal_suppressed(&statements.schema)));
    }
    Ok(row)
}

/// Returns the connection if it has no open transaction. Diesel reports a broken connection.
fn outside_of_transactions(connection: &mut SqliteConnection) -> Option<&mut SqliteConnection> {
    let status = AnsiTransactionManager::transaction_manager_status_mut(connection);
    matches!(status.transaction_depth(), Ok(None)).then_some(connection)
}

/// Returns keys of one integer or text as a JSON array, or `None` if a key has another type or
/// contains NUL, at which SQLite truncates a string in JSON.
fn list(keys: &[Key]) -> Option<Value> {
    let mut list = String::from("[");
    for key in keys {
        if list.len() > 1 {
            list.push(',');
        }
        match key.values() {
            [Value::Int(value)] => list.push_str(&value.to_string()),
            [Value::Text(text)] if !text.contains('\0') => {
                list.push_str(&serde_json::to_string(text).ok()?)
            }
            _ => return None,
        }
    }
    list.push(']');
    Some(Value::Text(list))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed test panics")]

    use diesel::Connection;

    use super::*;

    /// SQLite rolls back the whole transaction, so that the savepoint no longer exists.
    #[test]
    fn a_full_disk_in_a_nested_transaction_is_reported() {
        let mut connection = SqliteConnection::establish(":memory:").unwrap();
        connection.batch_execute("PRAGMA max_page_count = 10; CREATE TABLE a (b)").unwrap();
        let result: Result<(), CallError> =
            Sqlite::write_transaction(&mut connection, |connection| {
                Sqlite::write_transaction(connection, |connection| {
                    let fill = "INSERT INTO a VALUES (zeroblob(3000))";
                    (0..20).try_for_each(|_| Ok(connection.batch_execute(fill)?))
                })
            });
        let error = result.unwrap_err().into_error::<Sqlite>();
        assert!(error.to_string().contains("full"), "{error}");
    }
}
