//! PostgreSQL: tables and migrations.

use std::time::Duration;

use diesel::connection::SimpleConnection;
use diesel::pg::Pg;
use diesel::sql_types::BigInt;
use diesel::{QueryResult, RunQueryDsl, sql_query};
use diesel_migrations::{EmbeddedMigrations, embed_migrations};

use super::introspect::Collation;
use super::{introspect, keys};
use crate::backends::sql::connection::postgresql::PostgresConnection;
use crate::backends::sql::dialect::keys::{long_column, needs_whole, sized_columns};
use crate::backends::sql::dialect::statements::definition;
use crate::backends::sql::dialect::{CHANGE, ColumnTypes, REGISTRY_TABLE, Tables, transaction};
use crate::backends::sql::error::CallError;
use crate::remote::Deadline;
use crate::schema::{Change, ExistingTable};
use crate::{ColumnType, Result, Schema};

impl Tables for Pg {
    const MIGRATIONS: EmbeddedMigrations = embed_migrations!("migrations/postgresql");

    const TABLE_OPTIONS: &'static str = "";

    fn keys_in_clear(connection: &mut PostgresConnection, schema: &Schema) -> QueryResult<bool> {
        keys::stand_in_clear(connection, schema)
    }

    fn layout(schema: &Schema) -> &'static str {
        let sized = sized_columns(schema);
        match schema.key_columns().any(|column| needs_whole::<Self>(Some(column.ty), sized)) {
            false => "",
            true if schema.keys_in_clear => ", keys in clear",
            true => ", long keys beside",
        }
    }

    fn alter(
        connection: &mut PostgresConnection,
        schema: &Schema,
        standing: &ExistingTable,
        changes: &[Change],
    ) -> QueryResult<Vec<Vec<String>>> {
        let collations = introspect::collations(connection, &schema.table)?;
        let table = Self::quote(&schema.table);
        let altered = |action: String| vec![format!("ALTER TABLE {table} {action}")];
        let statements = changes.iter().map(|change| match change {
            Change::RenameColumn { from, to } => {
                altered(format!("RENAME COLUMN {} TO {}", Self::quote(from), Self::quote(to)))
            }
            Change::AddColumn(column) => {
                altered(format!("ADD COLUMN {}", definition::<Self>(column)))
            }
            Change::WidenColumn { column, to, .. } => {
                widened(schema, standing, &collations, column, *to)
            }
            Change::DropColumn(column) => altered(format!("DROP COLUMN {}", Self::quote(column))),
            Change::AllowNull(column) => {
                altered(format!("ALTER COLUMN {} DROP NOT NULL", Self::quote(column)))
            }
            _ => Vec::new(),
        });
        Ok(statements.collect())
    }

    fn indexes(
        connection: &mut PostgresConnection,
        table: &str,
    ) -> Result<Vec<Vec<String>>, CallError> {
        Ok(introspect::indexes(connection, table)?)
    }

    fn table(connection: &mut PostgresConnection, name: &str) -> Result<Option<ExistingTable>> {
        introspect::table(connection, name)
    }

    fn tables(connection: &mut PostgresConnection) -> Result<Vec<String>> {
        introspect::tables(connection)
    }

    /// A table may be given children after it was noted.
    fn noted_fingerprint() -> String {
        introspect::fingerprint_without_children()
    }

    fn has_registry(connection: &mut PostgresConnection) -> QueryResult<bool> {
        introspect::has_table(connection, REGISTRY_TABLE)
    }

    /// The lock comes before anything else: of two that make Diesel's own table at once one would
    /// fail.
    fn with_migration_lock<T>(
        connection: &mut PostgresConnection,
        body: impl FnOnce(&mut PostgresConnection) -> Result<T, CallError>,
    ) -> Result<T, CallError> {
        transaction(connection, |connection| {
            let lock = sql_query("SELECT pg_advisory_xact_lock($1)").bind::<BigInt, _>(LOCK);
            lock.execute(connection)?;
            body(connection)
        })
    }

    /// In the transaction that holds the lock: the session's limits come back with its end.
    fn without_statement_timeout<T>(
        connection: &mut PostgresConnection,
        wait: Duration,
        body: impl FnOnce(&mut PostgresConnection) -> Result<T, CallError>,
    ) -> Result<T, CallError> {
        connection.set_deadline(Deadline::after(CHANGE));
        let wait = wait.as_millis().max(1);
        connection.batch_execute(&format!(
            "SET LOCAL statement_timeout = 0; SET LOCAL lock_timeout = {wait}"
        ))?;
        body(connection)
    }
}

/// What migrations lock: the bytes of `hilcat`, as a number.
const LOCK: i64 = 0x6869_6c63_6174;

/// The collation that another program gave a column, quoted: of the column before it is renamed.
fn collation(schema: &Schema, collations: &[Collation], name: &str) -> Option<String> {
    let column = schema.columns.iter().find(|column| column.name == name)?;
    let of = |name: &String| collations.iter().find(|collation| collation.column == *name);
    let found = of(&column.name).or_else(|| of(column.was.as_ref()?))?;
    Some(format!("{}.{}", Pg::quote(&found.namespace), Pg::quote(&found.name)))
}

/// The statements that change the type of a column. A column of the key that has stand-ins for long
/// values keeps its type, and the column of the whole keys gets that of the schema; any other column
/// of the key may get stand-ins.
fn widened(
    schema: &Schema,
    standing: &ExistingTable,
    collations: &[Collation],
    name: &str,
    to: ColumnType,
) -> Vec<String> {
    let table = Pg::quote(&schema.table);
    let retyped = |name: &str, ty: String| {
        vec![format!("ALTER TABLE {table} ALTER COLUMN {} TYPE {ty}", Pg::quote(name))]
    };
    let key = schema.key_columns().any(|key| key.name == name);
    match long_column::<Pg>(schema, name) {
        None if key => retyped(name, Pg::key_type(to)),
        // A type that is given without a collation has the database's own.
        None => match collation(schema, collations, name) {
            Some(collation) => {
                retyped(name, format!("{} COLLATE {collation}", Pg::column_type(to)))
            }
            None => retyped(name, Pg::column_type(to)),
        },
        Some(long) if standing.wholes.contains(&long.whole) => {
            retyped(&long.whole, Pg::column_type(to))
        }
        Some(long) => {
            let was = standing.columns.iter().find(|column| column.name == name);
            let had = was.and_then(|column| column.ty);
            keys::added(&long, &table, needs_whole::<Pg>(had, sized_columns(schema)))
        }
    }
}
