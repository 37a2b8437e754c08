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
use crate::{Column, Result, Schema};

impl Tables for Sqlite {
    const MIGRATIONS: EmbeddedMigrations = embed_migrations!("migrations/sqlite");

    // The table is the index of its key: one search instead of two, and no copy of the key.
    const TABLE_OPTIONS: &'static str = " WITHOUT ROWID";

    /// Columns are renamed, added and dropped where they stand. For anything else the table is made
    /// anew beside the old one, filled from it and put in its place, as SQLite's documentation of
    /// `ALTER TABLE` advises (<https://www.sqlite.org/lang_altertable.html>, section 7): before all
    /// other changes, while the columns are those that the table's statement, indexes and
    /// triggers know.
    fn alter(
        connection: &mut SqliteConnection,
        schema: &Schema,
        standing: &ExistingTable,
        changes: &[Change],
    ) -> QueryResult<Vec<Vec<String>>> {
        let table = Self::quote_in_definition(&schema.table);
        let in_place = |change: &Change| match change {
            Change::RenameColumn { from, to } => Some(format!(
                "ALTER TABLE {table} RENAME COLUMN {} TO {}",
                Self::quote_in_definition(from),
                Self::quote_in_definition(to)
            )),
            Change::AddColumn(column) if !is_computed(column) => {
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
            let rebuild = rebuild::statements(connection, schema, standing, changes)?;
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

    /// While a table is made anew, the foreign keys of other tables must not act: dropping the old
    /// one would delete the rows that refer to it. They cannot be switched inside a transaction.
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

/// Whether a column's default is an expression, which no column can have that is added to a table
/// of records.
pub(super) fn is_computed(column: &Column) -> bool {
    column.default.as_ref().is_some_and(|default| Sqlite::literal(default).starts_with('('))
}
