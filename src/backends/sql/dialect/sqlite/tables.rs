//! SQLite: tables and migrations.

use diesel::connection::SimpleConnection;
use diesel::sqlite::{Sqlite, SqliteConnection};
use diesel::{QueryResult, RunQueryDsl, sql_query};
use diesel_migrations::{EmbeddedMigrations, embed_migrations};

use super::introspect::Count;
use super::{introspect, rebuild};
use crate::backends::sql::dialect::statements::definition;
use crate::backends::sql::dialect::{ColumnTypes, Dialect, Tables};
use crate::backends::sql::error::CallError;
use crate::schema::{Change, ExistingTable};
use crate::{Result, Schema};

impl Tables for Sqlite {
    const MIGRATIONS: EmbeddedMigrations = embed_migrations!("migrations/sqlite");

    // The table is stored in the index of its key: one search instead of two, and no copy of the key.
    const TABLE_OPTIONS: &'static str = " WITHOUT ROWID";

    /// Columns are renamed, added and dropped in place. For other changes a new table is created,
    /// filled and renamed, as SQLite's documentation of `ALTER TABLE` describes
    /// (<https://www.sqlite.org/lang_altertable.html>, section 7). This happens before all changes in
    /// place, while the table's statement, indexes and triggers still match the columns.
    fn alter(
        connection: &mut SqliteConnection,
        schema: &Schema,
        existing: &ExistingTable,
        changes: &[Change],
    ) -> QueryResult<Vec<Vec<String>>> {
        let table = Self::quote_in_definition(&schema.table);
        let in_place = |change: &Change| match change {
            Change::RenameColumn { from, to } => Some(format!(
                "ALTER TABLE {table} RENAME COLUMN {} TO {}",
                Self::quote_in_definition(from),
                Self::quote_in_definition(to)
            )),
            Change::AddColumn(column) if !rebuild::is_computed(column) => {
                Some(format!("ALTER TABLE {table} ADD COLUMN {}", definition::<Self>(column)))
            }
            Change::DropColumn(column) => Some(format!(
                "ALTER TABLE {table} DROP COLUMN {}",
                Self::quote_in_definition(column)
            )),
            _ => None,
        };
        let mut steps: Vec<Vec<String>> =
            changes.iter().map(|change| in_place(change).into_iter().collect()).collect();
        if steps.iter().any(Vec::is_empty) {
            let rebuild = rebuild::statements(connection, schema, existing, changes)?;
            steps[0].splice(0..0, rebuild);
        }
        Ok(steps)
    }

    fn indexes(
        connection: &mut SqliteConnection,
        table: &str,
    ) -> Result<Vec<Vec<String>>, CallError> {
        Ok(introspect::indexes(connection, table)?)
    }

    fn table(connection: &mut SqliteConnection, name: &str) -> Result<Option<ExistingTable>> {
        introspect::table(connection, name)
    }

    fn tables(connection: &mut SqliteConnection) -> Result<Vec<String>> {
        introspect::tables(connection)
    }

    /// Foreign keys are disabled while a table is rebuilt: dropping the old table would delete the
    /// rows that refer to it. They cannot be disabled inside a transaction.
    fn with_migration_lock<T>(
        connection: &mut SqliteConnection,
        body: impl FnOnce(&mut SqliteConnection) -> Result<T, CallError>,
    ) -> Result<T, CallError> {
        let enforced = sql_query("SELECT foreign_keys AS count FROM pragma_foreign_keys");
        let enforced = enforced.get_result::<Count>(connection)?.count != 0;
        connection.batch_execute("PRAGMA foreign_keys = OFF")?;
        let result = Self::write_transaction(connection, body);
        let restored = connection.batch_execute(&format!(
            "PRAGMA legacy_alter_table = OFF; PRAGMA foreign_keys = {}",
            u8::from(enforced)
        ));
        let value = result?;
        restored?;
        Ok(value)
    }
}
