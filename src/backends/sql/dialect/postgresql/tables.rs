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
use crate::backends::sql::dialect::keys::{long_column, needs_full_key, sized_columns};
use crate::backends::sql::dialect::statements::definition;
use crate::backends::sql::dialect::{
    ColumnTypes, MIGRATION_TIMEOUT, REGISTRY_TABLE, Tables, transaction,
};
use crate::backends::sql::error::CallError;
use crate::remote::Deadline;
use crate::schema::{Change, ExistingTable};
use crate::{ColumnType, Result, Schema};

impl Tables for Pg {
    const MIGRATIONS: EmbeddedMigrations = embed_migrations!("migrations/postgresql");

    const TABLE_OPTIONS: &'static str = "";

    fn verbatim_keys(connection: &mut PostgresConnection, schema: &Schema) -> QueryResult<bool> {
        keys::has_verbatim_keys(connection, schema)
    }

    fn layout(schema: &Schema) -> &'static str {
        let sized = sized_columns(schema);
        match schema.key_columns().any(|column| needs_full_key::<Self>(Some(column.ty), sized)) {
            false => "",
            true if schema.verbatim_keys => ", keys in clear",
            true => ", long keys beside",
        }
    }

    fn alter(
        connection: &mut PostgresConnection,
        schema: &Schema,
        existing: &ExistingTable,
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
                widen_column(schema, existing, &collations, column, *to)
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

    /// Other tables can inherit from a table after it was registered.
    fn noted_fingerprint() -> String {
        introspect::fingerprint_without_children()
    }

    fn has_registry(connection: &mut PostgresConnection) -> QueryResult<bool> {
        introspect::has_table(connection, REGISTRY_TABLE)
    }

    /// The lock is taken first: concurrent creations of Diesel's own table would fail.
    fn with_migration_lock<T>(
        connection: &mut PostgresConnection,
        body: impl FnOnce(&mut PostgresConnection) -> Result<T, CallError>,
    ) -> Result<T, CallError> {
        transaction(connection, |connection| {
            let lock =
                sql_query("SELECT pg_advisory_xact_lock($1)").bind::<BigInt, _>(MIGRATION_LOCK);
            lock.execute(connection)?;
            body(connection)
        })
    }

    /// The limits are changed in the transaction that holds the lock, and reset at its end.
    fn without_statement_timeout<T>(
        connection: &mut PostgresConnection,
        wait: Duration,
        body: impl FnOnce(&mut PostgresConnection) -> Result<T, CallError>,
    ) -> Result<T, CallError> {
        connection.set_deadline(Deadline::after(MIGRATION_TIMEOUT));
        let wait = wait.as_millis().max(1);
        connection.batch_execute(&format!(
            "SET LOCAL statement_timeout = 0; SET LOCAL lock_timeout = {wait}"
        ))?;
        body(connection)
    }
}

/// The key of the migration lock: the bytes of `hilcat` as a number.
const MIGRATION_LOCK: i64 = 0x6869_6c63_6174;

/// Returns the quoted collation that another program defined for a column, under its current or
/// former name.
fn foreign_collation(schema: &Schema, collations: &[Collation], name: &str) -> Option<String> {
    let column = schema.columns.iter().find(|column| column.name == name)?;
    let of = |name: &String| collations.iter().find(|collation| collation.column == *name);
    let found = of(&column.name).or_else(|| of(column.was.as_ref()?))?;
    Some(format!("{}.{}", Pg::quote(&found.namespace), Pg::quote(&found.name)))
}

/// Returns the statements that change the type of a column. For a key column with surrogates, the type
/// of the column for full keys changes. Another key column may get surrogates.
fn widen_column(
    schema: &Schema,
    existing: &ExistingTable,
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
        // Without a collation, the type would have the database's default.
        None => match foreign_collation(schema, collations, name) {
            Some(collation) => {
                retyped(name, format!("{} COLLATE {collation}", Pg::column_type(to)))
            }
            None => retyped(name, Pg::column_type(to)),
        },
        Some(long) if existing.full_key_columns.contains(&long.full_key) => {
            retyped(&long.full_key, Pg::column_type(to))
        }
        Some(long) => {
            let was = existing.columns.iter().find(|column| column.name == name);
            let had = was.and_then(|column| column.ty);
            keys::add_surrogates(&long, &table, needs_full_key::<Pg>(had, sized_columns(schema)))
        }
    }
}
