//! PostgreSQL 12 and newer.

mod batch;
mod clauses;
mod column_types;
mod introspect;
mod keys;
mod numeric;
mod removal;
mod statement_text;
mod tables;
mod update;
mod values;

use std::time::Duration;

use diesel::QueryResult;
use diesel::pg::Pg;
use diesel::result::DatabaseErrorInformation;

use crate::backends::sql::connection::error::code;
use crate::backends::sql::connection::pool::PooledBackend;
use crate::backends::sql::connection::postgresql::{OUTDATED_PLAN, PostgresConnection};
use crate::backends::sql::dialect::statements::Statements;
use crate::backends::sql::dialect::{Dialect, StatementText};
use crate::backends::sql::error::{CallError, Classify, ErrorClass};
use crate::backends::sql::statement::Conn;
use crate::remote::Deadline;
use crate::{Key, Result, Row, Value};

impl Classify for Pg {
    fn classify(info: &dyn DatabaseErrorInformation) -> ErrorClass {
        match code(info) {
            Some("55P03") => ErrorClass::Busy,
            Some("57014") => ErrorClass::TooLong,
            // A prepared statement does not match its table, was deallocated, or its name is taken.
            Some(OUTDATED_PLAN | "26000" | "42P05") => ErrorClass::StaleStatement,
            Some("25006") => ErrorClass::ReadOnly,
            Some("42P01") => ErrorClass::NoTable,
            Some("42703") => ErrorClass::NoColumn,
            Some(limit) if limit.starts_with("54") => ErrorClass::TooLarge,
            _ => ErrorClass::Other,
        }
    }
}

impl PooledBackend for Pg {
    type Connection = PostgresConnection;

    const ON_SERVER: bool = true;

    fn set_deadline(connection: &mut PostgresConnection, left: Duration) -> QueryResult<()> {
        connection.set_deadline(Deadline::after(left));
        Ok(())
    }

    fn is_quiet(connection: &PostgresConnection) -> bool {
        connection.is_quiet()
    }

    fn abandon(connection: &mut PostgresConnection) {
        connection.abandon();
    }
}

impl Dialect for Pg {
    fn replace_all_expired<C: Conn<Self>>(
        connection: &mut C,
        statements: &Statements,
        keys: &[Key],
        rows: &[Row],
        at: i64,
    ) -> Result<Vec<Option<Row>>, CallError> {
        batch::replace_expired(connection, statements, keys, rows, at)
    }

    fn remove_expired<C: Conn<Self>>(
        connection: &mut C,
        statements: &Statements,
        keys: &[Key],
        at: i64,
    ) -> Result<(), CallError> {
        batch::remove_expired(connection, statements, keys, at)
    }

    fn fetch_many<C: Conn<Self>>(
        connection: &mut C,
        statements: &Statements,
        keys: &[Key],
    ) -> Result<Vec<Option<Row>>, CallError> {
        batch::fetch(connection, statements, keys)
    }

    fn put_all<C: Conn<Self>>(
        connection: &mut C,
        statements: &Statements,
        rows: &[Row],
    ) -> Result<(), CallError> {
        batch::put(connection, statements, rows)
    }

    fn insert_all<C: Conn<Self>>(
        connection: &mut C,
        statements: &Statements,
        keys: &[Key],
        rows: &[Row],
    ) -> Result<Vec<Option<Row>>, CallError> {
        batch::insert(connection, statements, keys, rows)
    }

    fn update<C: Conn<Self>>(
        connection: &mut C,
        statements: &Statements,
        row: &Row,
    ) -> Result<Option<Row>, CallError> {
        update::run(connection, statements, row)
    }

    fn pop<C: Conn<Self>>(
        connection: &mut C,
        statements: &Statements,
        key: &Key,
    ) -> Result<Option<Row>, CallError> {
        let key = Self::stored_key(&statements.schema, key);
        match update::readable(&statements.schema) {
            Some(_) => removal::pop(connection, statements, &key),
            None => super::transaction(connection, |connection| {
                removal::pop(connection, statements, &key)
            }),
        }
    }

    fn pop_many<C: Conn<Self>>(
        connection: &mut C,
        statements: &Statements,
        keys: &[Key],
    ) -> Result<Vec<Option<Row>>, CallError> {
        batch::pop(connection, statements, keys)
    }

    fn clear<C: Conn<Self>>(
        connection: &mut C,
        statements: &Statements,
        fixed: &[Value],
    ) -> Result<(), CallError> {
        removal::clear(connection, statements, fixed)
    }
}
