//! MySQL and MariaDB: tables and migrations.

use std::time::Duration;

use diesel::QueryResult;
use diesel::connection::SimpleConnection;
use diesel::mysql::Mysql;
use diesel::result::DatabaseErrorInformation;
use diesel_migrations::{EmbeddedMigrations, embed_migrations};

use super::{alter, introspect};
use crate::backends::sql::connection::error::code;
use crate::backends::sql::connection::mysql::MysqlConnection;
use crate::backends::sql::dialect::statements::create_table;
use crate::backends::sql::dialect::{ColumnTypes, MIGRATION_TIMEOUT, Tables};
use crate::backends::sql::error::CallError;
use crate::backends::sql::statement::{Sql, load_one};
use crate::schema::{Change, ExistingTable, fnv1a};
use crate::{ColumnType, Error, Result, Schema, Value};

impl Tables for Mysql {
    const MIGRATES_IN_TRANSACTION: bool = false;

    const INDEXES_IN_TABLE: bool = true;

    const MIGRATIONS: EmbeddedMigrations = embed_migrations!("migrations/mysql");

    const TABLE_OPTIONS: &'static str = " ENGINE=InnoDB ROW_FORMAT=DYNAMIC DEFAULT CHARSET=utf8mb4 /*!80017 COLLATE=utf8mb4_0900_bin */ /*M! COLLATE=utf8mb4_nopad_bin */";

    /// The new table is swapped with the old one, so that the table always exists.
    fn recreate(schema: &Schema) -> Vec<String> {
        let (new, old) = temporary(&schema.table);
        let table = Self::quote(&schema.table);
        vec![
            create_table::<Self>(schema, &new),
            format!(
                "RENAME TABLE {table} TO {old}, {new} TO {table}",
                old = Self::quote(&old),
                new = Self::quote(&new)
            ),
            format!("DROP TABLE {}", Self::quote(&old)),
        ]
    }

    fn drop_leftovers(connection: &mut MysqlConnection, schema: &Schema) -> QueryResult<()> {
        let (new, old) = temporary(&schema.table);
        let (new, old) = (Self::quote(&new), Self::quote(&old));
        connection.batch_execute(&format!("DROP TABLE IF EXISTS {new}, {old}"))
    }

    /// All changes are one statement, which is atomic.
    fn alter(
        connection: &mut MysqlConnection,
        schema: &Schema,
        existing: &ExistingTable,
        changes: &[Change],
    ) -> QueryResult<Vec<Vec<String>>> {
        let mut steps = vec![Vec::new(); changes.len()];
        if let Some(first) = steps.first_mut() {
            first.push(alter::statement(connection, schema, existing, changes)?);
        }
        Ok(steps)
    }

    fn indexes(
        connection: &mut MysqlConnection,
        table: &str,
    ) -> Result<Vec<Vec<String>>, CallError> {
        Ok(introspect::indexes(connection, table)?)
    }

    fn table(connection: &mut MysqlConnection, name: &str) -> Result<Option<ExistingTable>> {
        introspect::table(connection, name)
    }

    fn tables(connection: &mut MysqlConnection) -> Result<Vec<String>> {
        introspect::tables(connection)
    }

    /// Holds a named lock of the server, which is released when the connection ends. Changes of tables
    /// are not transactional.
    fn with_migration_lock<T>(
        connection: &mut MysqlConnection,
        body: impl FnOnce(&mut MysqlConnection) -> Result<T, CallError>,
    ) -> Result<T, CallError> {
        let seconds = connection.left().as_secs().max(1);
        // The names of locks are global to the server, and have at most 64 characters.
        let name = "CONCAT('hilcat ', SHA1(DATABASE()))";
        let lock = Sql::new(format!("SELECT GET_LOCK({name}, {seconds})"));
        let got = load_one::<Self>(connection, lock.with(&[]), &[ColumnType::BigInt])?;
        if got.as_deref() != Some(&[Value::Int(1)]) {
            return Err(CallError::Hilcat(Error::new(
                crate::ErrorKind::Timeout,
                "another process was migrating this database until the deadline passed; nothing was changed; try again",
            )
            .while_waiting()));
        }
        let result = body(connection);
        let unlock = Sql::new(format!("SELECT RELEASE_LOCK({name})"));
        let released = load_one::<Self>(connection, unlock.with(&[]), &[ColumnType::BigInt]);
        let result = result?;
        released?;
        Ok(result)
    }

    fn without_statement_timeout<T>(
        connection: &mut MysqlConnection,
        wait: Duration,
        body: impl FnOnce(&mut MysqlConnection) -> Result<T, CallError>,
    ) -> Result<T, CallError> {
        let (keep, lift, restore) = match connection.server().mariadb {
            true => (
                ", @hilcat_statement = @@max_statement_time",
                ", max_statement_time = 0",
                ", max_statement_time = @hilcat_statement",
            ),
            // MySQL's limit applies to SELECT only.
            false => ("", "", ""),
        };
        let wait = wait.as_secs().max(1);
        connection.begin(MIGRATION_TIMEOUT);
        connection.batch_execute(&format!("SET @hilcat_lock = @@lock_wait_timeout{keep}"))?;
        connection.batch_execute(&format!("SET lock_wait_timeout = {wait}{lift}"))?;
        let result = body(connection);
        let restored =
            connection.batch_execute(&format!("SET lock_wait_timeout = @hilcat_lock{restore}"));
        let result = result?;
        restored?;
        Ok(result)
    }

    /// The table or the row of the migration already exists, for example because another node of a
    /// cluster created it.
    fn is_race(info: &dyn DatabaseErrorInformation) -> bool {
        matches!(code(info), Some("1050" | "1062"))
    }
}

/// Returns the names of the temporary tables while a table is recreated, derived from its name.
fn temporary(table: &str) -> (String, String) {
    let hash = fnv1a(table.as_bytes());
    (format!("hilcat_new_{hash:016x}"), format!("hilcat_old_{hash:016x}"))
}
