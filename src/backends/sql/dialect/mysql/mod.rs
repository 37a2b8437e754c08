//! MySQL and MariaDB.

mod alter;
mod batch;
mod column_definition;
mod column_types;
mod introspect;
mod keys;
mod lossy_columns;
mod statement_text;
mod tables;
mod values;

use std::time::Duration;

use diesel::QueryResult;
use diesel::mysql::Mysql;
use diesel::result::DatabaseErrorInformation;

use crate::backends::sql::connection::error::code;
use crate::backends::sql::connection::mysql::MysqlConnection;
use crate::backends::sql::connection::pool::PooledBackend;
use crate::backends::sql::dialect::Dialect;
use crate::backends::sql::dialect::statements::Statements;
use crate::backends::sql::error::{CallError, Classify, ErrorClass};
use crate::backends::sql::statement::{Conn, execute};
use crate::{Key, Result, Row};

/// The collations that distinguish all texts. Each engine executes the comment that is meant for it.
const EXACT: &str = "/*!80017 COLLATE utf8mb4_0900_bin */ /*M! COLLATE utf8mb4_nopad_bin */";

impl Classify for Mysql {
    fn classify(info: &dyn DatabaseErrorInformation) -> ErrorClass {
        match code(info).and_then(|code| code.parse::<u16>().ok()) {
            Some(1146 | 1051) => ErrorClass::NoTable,
            Some(1054) => ErrorClass::NoColumn,
            Some(1205) => ErrorClass::Busy,
            Some(1317 | 1969 | 3024) => ErrorClass::TooLong,
            Some(1213 | 1020) => ErrorClass::Conflict,
            // A table was changed after the statement was prepared.
            Some(1412 | 1615) => ErrorClass::StaleStatement,
            Some(1118 | 1153 | 1264 | 1265 | 1292 | 1366 | 1406 | 3157 | 3988 | 4025) => {
                ErrorClass::TooLarge
            }
            Some(1290 | 1792 | 1836) => ErrorClass::ReadOnly,
            // "WSREP has not yet prepared node for application use".
            Some(1047) => ErrorClass::NotReady,
            Some(2006 | 2013) => ErrorClass::ConnectionLost,
            _ => ErrorClass::Other,
        }
    }
}

impl PooledBackend for Mysql {
    type Connection = MysqlConnection;

    const ON_SERVER: bool = true;

    fn set_deadline(connection: &mut MysqlConnection, left: Duration) -> QueryResult<()> {
        connection.begin(left);
        Ok(())
    }

    fn is_quiet(connection: &MysqlConnection) -> bool {
        connection.is_quiet()
    }

    fn abandon(connection: &mut MysqlConnection) {
        connection.abandon();
    }
}

impl Dialect for Mysql {
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
        Ok(batch::remove_expired(connection, statements, keys, at)?)
    }

    fn fetch_many<C: Conn<Self>>(
        connection: &mut C,
        statements: &Statements,
        keys: &[Key],
    ) -> Result<Vec<Option<Row>>, CallError> {
        Ok(batch::fetch_many(connection, statements, keys)?)
    }

    fn put_all<C: Conn<Self>>(
        connection: &mut C,
        statements: &Statements,
        rows: &[Row],
    ) -> Result<(), CallError> {
        Ok(batch::put_all(connection, statements, rows)?)
    }

    fn insert_one<C: Conn<Self>>(
        connection: &mut C,
        statements: &Statements,
        row: &Row,
    ) -> Result<bool, CallError> {
        Ok(batch::inserted(execute::<Self>(connection, statements.insert.with(row)))?)
    }

    fn insert_all<C: Conn<Self>>(
        connection: &mut C,
        statements: &Statements,
        keys: &[Key],
        rows: &[Row],
    ) -> Result<Vec<Option<Row>>, CallError> {
        batch::insert_all(connection, statements, keys, rows)
    }

    fn update<C: Conn<Self>>(
        connection: &mut C,
        statements: &Statements,
        row: &Row,
    ) -> Result<Option<Row>, CallError> {
        batch::update(connection, statements, row)
    }

    fn pop<C: Conn<Self>>(
        connection: &mut C,
        statements: &Statements,
        key: &Key,
    ) -> Result<Option<Row>, CallError> {
        Ok(batch::pop(connection, statements, key)?)
    }

    fn pop_many<C: Conn<Self>>(
        connection: &mut C,
        statements: &Statements,
        keys: &[Key],
    ) -> Result<Vec<Option<Row>>, CallError> {
        Ok(batch::pop_many(connection, statements, keys)?)
    }
}
