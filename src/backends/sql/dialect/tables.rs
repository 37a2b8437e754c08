//! What differs between engines in the definition, inspection and migration of tables.

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

/// The tables of an engine: how they are created, inspected and changed.
pub(crate) trait Tables: StatementText + Classify + PooledBackend {
    /// Whether a transaction undoes what changes a table.
    const MIGRATES_IN_TRANSACTION: bool = true;

    /// Whether the indexes of a table are a part of its definition.
    const INDEXES_IN_TABLE: bool = false;

    /// hilcat's own tables.
    const MIGRATIONS: EmbeddedMigrations;

    /// Whether a table that stands has no columns for the whole of keys that an index cannot hold,
    /// though the engine would have made them.
    fn keys_in_clear(connection: &mut Self::Connection, schema: &Schema) -> QueryResult<bool> {
        let _ = (connection, schema);
        Ok(false)
    }

    /// What tells apart the ways in which the table of one schema can stand; it is noted.
    fn layout(schema: &Schema) -> &'static str {
        let _ = schema;
        ""
    }

    /// What comes after the columns of a `CREATE TABLE`.
    const TABLE_OPTIONS: &'static str;

    /// The statements that drop a table and make it anew.
    fn recreate(schema: &Schema) -> Vec<String> {
        let drop = format!("DROP TABLE {}", Self::quote_in_definition(&schema.table));
        [vec![drop], create::<Self>(schema)].concat()
    }

    /// Removes what an interrupted change of a table left behind.
    fn drop_leftovers(connection: &mut Self::Connection, schema: &Schema) -> QueryResult<()> {
        let _ = (connection, schema);
        Ok(())
    }

    /// The statements of each safe change to a table that stands, in the order of the changes.
    fn alter(
        connection: &mut Self::Connection,
        schema: &Schema,
        standing: &ExistingTable,
        changes: &[Change],
    ) -> QueryResult<Vec<Vec<String>>>;

    /// The columns of each index of a table, in their order.
    fn indexes(
        connection: &mut Self::Connection,
        table: &str,
    ) -> Result<Vec<Vec<String>>, CallError>;

    /// The table of this name as it stands, if it does.
    fn table(connection: &mut Self::Connection, name: &str) -> Result<Option<ExistingTable>>;

    /// The names of all tables, sorted.
    fn tables(connection: &mut Self::Connection) -> Result<Vec<String>>;

    /// How the fingerprint is selected of an entry of hilcat's own table; another one than was noted
    /// where the scope's table has to be looked at again.
    fn noted_fingerprint() -> String {
        Self::quote("fingerprint")
    }

    /// Whether hilcat's own table exists, asked so that a transaction goes on where it does not.
    fn has_registry(connection: &mut Self::Connection) -> QueryResult<bool> {
        let look = Sql::new(format!("SELECT 1 FROM {} WHERE 1 = 0", Self::quote(REGISTRY_TABLE)));
        match execute::<Self>(connection, look.with(&[])) {
            Err(error) if classify::<Self>(&error) == ErrorClass::NoTable => Ok(false),
            looked => looked.map(|_| true),
        }
    }

    /// Runs `body` while no other process migrates this database; all that it does is done or,
    /// where the engine can, nothing.
    fn with_migration_lock<T>(
        connection: &mut Self::Connection,
        body: impl FnOnce(&mut Self::Connection) -> Result<T, CallError>,
    ) -> Result<T, CallError>;

    /// Runs `body`, which changes a table that stands and may have to write it anew, without the
    /// limit of a call; what others hold is waited for no longer than `wait`.
    fn without_statement_timeout<T>(
        connection: &mut Self::Connection,
        wait: Duration,
        body: impl FnOnce(&mut Self::Connection) -> Result<T, CallError>,
    ) -> Result<T, CallError> {
        let _ = wait;
        body(connection)
    }

    /// Whether an error of a migration says that another process has made the same change
    /// meanwhile, which the engine's lock did not keep out.
    fn is_race(info: &dyn DatabaseErrorInformation) -> bool {
        let _ = info;
        false
    }
}
