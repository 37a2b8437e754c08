//! Definition, inspection and migration of an engine's tables.

use std::time::Duration;

use diesel::QueryResult;
use diesel::result::DatabaseErrorInformation;
use diesel_migrations::EmbeddedMigrations;

use crate::backends::sql::connection::pool::PooledBackend;
use crate::backends::sql::dialect::statements::create;
use crate::backends::sql::dialect::{REGISTRY_TABLE, StatementText};
use crate::backends::sql::error::{CallError, Classify, ErrorClass, classify};
use crate::backends::sql::statement::{Sql, execute};
use crate::schema::{Change, ExistingTable};
use crate::{Result, Schema};

/// The tables of an engine: their definition, inspection and migration.
pub(crate) trait Tables: StatementText + Classify + PooledBackend {
    /// Whether a rollback undoes changes of tables.
    const MIGRATES_IN_TRANSACTION: bool = true;

    /// Whether `CREATE TABLE` includes the indexes.
    const INDEXES_IN_TABLE: bool = false;

    /// The migrations of hilcat's own tables.
    const MIGRATIONS: EmbeddedMigrations;

    /// Returns whether an existing table stores long keys verbatim, because it lacks the columns for
    /// full keys that a new table would have.
    fn verbatim_keys(connection: &mut Self::Connection, schema: &Schema) -> QueryResult<bool> {
        let _ = (connection, schema);
        Ok(false)
    }

    /// Returns a stored marker that distinguishes the layouts that a schema's table can have.
    fn layout(schema: &Schema) -> &'static str {
        let _ = schema;
        ""
    }

    /// The options at the end of a `CREATE TABLE`.
    const TABLE_OPTIONS: &'static str;

    /// Returns the statements that drop and recreate a table.
    fn recreate(schema: &Schema) -> Vec<String> {
        let drop = format!("DROP TABLE {}", Self::quote_in_definition(&schema.table));
        [vec![drop], create::<Self>(schema)].concat()
    }

    /// Drops the tables that an interrupted migration left behind.
    fn drop_leftovers(connection: &mut Self::Connection, schema: &Schema) -> QueryResult<()> {
        let _ = (connection, schema);
        Ok(())
    }

    /// Returns the statements of each safe change to an existing table, in the order of the changes.
    fn alter(
        connection: &mut Self::Connection,
        schema: &Schema,
        existing: &ExistingTable,
        changes: &[Change],
    ) -> QueryResult<Vec<Vec<String>>>;

    /// Returns the columns of each index of a table, in order.
    fn indexes(
        connection: &mut Self::Connection,
        table: &str,
    ) -> Result<Vec<Vec<String>>, CallError>;

    /// Returns the existing table of this name, or `None`.
    fn table(connection: &mut Self::Connection, name: &str) -> Result<Option<ExistingTable>>;

    /// Returns the names of all tables, sorted.
    fn tables(connection: &mut Self::Connection) -> Result<Vec<String>>;

    /// Returns the expression that selects the fingerprint of a registry entry. It differs from the
    /// stored one if the scope's table has to be inspected again.
    fn noted_fingerprint() -> String {
        Self::quote("fingerprint")
    }

    /// Returns whether the registry exists, without aborting an open transaction.
    fn has_registry(connection: &mut Self::Connection) -> QueryResult<bool> {
        let probe = Sql::new(format!("SELECT 1 FROM {} WHERE 1 = 0", Self::quote(REGISTRY_TABLE)));
        match execute::<Self>(connection, probe.with(&[])) {
            Err(error) if classify::<Self>(&error) == ErrorClass::NoTable => Ok(false),
            result => result.map(|_| true),
        }
    }

    /// Runs `body` while no other process migrates this database. If the engine supports it, `body`
    /// is atomic.
    fn with_migration_lock<T>(
        connection: &mut Self::Connection,
        body: impl FnOnce(&mut Self::Connection) -> Result<T, CallError>,
    ) -> Result<T, CallError>;

    /// Runs `body` without the timeout of a call, because it may rewrite an existing table. `wait`
    /// limits the wait for locks.
    fn without_statement_timeout<T>(
        connection: &mut Self::Connection,
        wait: Duration,
        body: impl FnOnce(&mut Self::Connection) -> Result<T, CallError>,
    ) -> Result<T, CallError> {
        let _ = wait;
        body(connection)
    }

    /// Returns whether an error of a migration reports that another process made the same change, in
    /// spite of the migration lock.
    fn is_race(info: &dyn DatabaseErrorInformation) -> bool {
        let _ = info;
        false
    }
}
