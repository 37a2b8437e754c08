//! Rebuilding a table for changes that SQLite cannot make in place.
//!
//! The new table is created with the old one's edited statement, so that it keeps the properties that
//! another program defined. The rows keep their row ids, which FTS5 tables, triggers and other
//! programs can refer to.

use diesel::result::Error as DieselError;
use diesel::sql_types::Text;
use diesel::sqlite::{Sqlite, SqliteConnection};
use diesel::{QueryResult, RunQueryDsl, sql_query};

use super::create_table::{CreateTable, Edit};
use super::introspect::Name;
use crate::backends::sql::dialect::ColumnTypes;
use crate::backends::sql::dialect::statements::definition;
use crate::schema::{Change, ExistingColumn, ExistingTable};
use crate::{Column, ColumnType, Error, ErrorKind, Schema};

/// The names of the row id, unless a column has the name.
const ROWIDS: [&str; 3] = ["rowid", "_rowid_", "oid"];

/// Returns the statements that rebuild the table, before any change in place.
pub(super) fn statements(
    connection: &mut SqliteConnection,
    schema: &Schema,
    existing: &ExistingTable,
    changes: &[Change],
) -> QueryResult<Vec<String>> {
    let names = columns(connection, &schema.table)?;
    let attached = attached(connection, &schema.table)?;
    let sql = statement(connection, &schema.table)?;
    let refused = |what: &str| {
        let error = refused(schema, changes, what);
        DieselError::QueryBuilderError(Box::new(error))
    };
    let created = CreateTable::parse(&sql)
        .ok_or_else(|| refused("its CREATE TABLE statement cannot be parsed"))?;
    let edits = edits(schema, existing, changes);
    if created.is_strict() && edits.iter().any(|edit| edit.ty.is_some()) {
        return Err(refused("it is STRICT and allows only SQLite's own type names"));
    }
    let temporary = format!("hilcat_new_{}", schema.table);
    let new = Sqlite::quote_in_definition(&temporary);
    let added: Vec<&Column> = computed(changes).collect();
    let definitions: Vec<String> =
        added.iter().map(|column| definition::<Sqlite>(column)).collect();
    let create = created
        .edited(&new, &edits, &definitions)
        .ok_or_else(|| refused("a changed column is missing from its CREATE TABLE statement"))?;

    let mut filled: Vec<(String, String)> =
        names.iter().map(|name| (Sqlite::quote(name), value(schema, existing, name))).collect();
    filled.extend(added.into_iter().map(|column| {
        let default = column.default.as_ref().map_or("NULL".to_owned(), Sqlite::literal);
        (Sqlite::quote(&column.name), default)
    }));
    // If the key is the row id, both have the same value.
    let is_free = |rowid: &&&str| !names.iter().any(|name| name.eq_ignore_ascii_case(rowid));
    if let Some(rowid) = ROWIDS.iter().find(is_free).filter(|_| created.has_rowid()) {
        filled.insert(0, ((*rowid).to_owned(), (*rowid).to_owned()));
    }
    let (into, from): (Vec<String>, Vec<String>) = filled.into_iter().unzip();
    let table = Sqlite::quote_in_definition(&schema.table);
    let mut statements = vec![
        create,
        format!("INSERT INTO {new} ({}) SELECT {} FROM {table}", into.join(", "), from.join(", ")),
    ];
    if created.has_autoincrement() {
        statements.extend(copy_sequence(&schema.table, &temporary));
    }
    statements.extend([
        format!("DROP TABLE {table}"),
        // With the legacy behaviour, views that refer to the table are not changed.
        "PRAGMA legacy_alter_table = ON".to_owned(),
        format!("ALTER TABLE {new} RENAME TO {table}"),
        "PRAGMA legacy_alter_table = OFF".to_owned(),
    ]);
    statements.extend(attached);
    Ok(statements)
}

/// Returns the edits of the column definitions, by their current names.
fn edits(schema: &Schema, existing: &ExistingTable, changes: &[Change]) -> Vec<Edit> {
    let edit = |column: &Column| {
        let widened = changes.iter().any(
            |change| matches!(change, Change::WidenColumn { column: name, .. } if *name == column.name),
        );
        let nullable = changes.contains(&Change::AllowNull(column.name.clone()));
        (widened || nullable).then(|| Edit {
            column: former_name(existing, column).to_owned(),
            ty: widened.then(|| Sqlite::column_type(column.ty)),
            nullable,
        })
    };
    schema.columns.iter().filter_map(edit).collect()
}

/// Returns the current name of a column in the table.
fn former_name<'a>(existing: &ExistingTable, column: &'a Column) -> &'a str {
    let has = |name: &&String| existing.columns.iter().any(|have| have.name == **name);
    [Some(&column.name), column.was.as_ref()]
        .into_iter()
        .flatten()
        .find(has)
        .unwrap_or(&column.name)
}

/// Returns the columns that are added by the rebuild, because their default is an expression.
fn computed(changes: &[Change]) -> impl Iterator<Item = &Column> {
    changes.iter().filter_map(|change| match change {
        Change::AddColumn(column) if is_computed(column) => Some(column),
        _ => None,
    })
}

/// Returns the statements that copy the AUTOINCREMENT counter.
fn copy_sequence(table: &str, temporary: &str) -> [String; 2] {
    let text = |name: &str| format!("'{}'", name.replace('\'', "''"));
    let (table, temporary) = (text(table), text(temporary));
    [
        format!("DELETE FROM sqlite_sequence WHERE name = {temporary}"),
        format!(
            "INSERT INTO sqlite_sequence (name, seq) SELECT {temporary}, seq FROM sqlite_sequence WHERE name = {table}"
        ),
    ]
}

/// Returns the expression that fills a column of the new table.
fn value(schema: &Schema, existing: &ExistingTable, name: &str) -> String {
    let have = existing.columns.iter().find(|have| have.name.eq_ignore_ascii_case(name));
    let column = schema
        .columns
        .iter()
        .find(|column| former_name(existing, column).eq_ignore_ascii_case(name));
    let quoted = Sqlite::quote(name);
    match (column.map(|column| column.ty), have) {
        (Some(ColumnType::Decimal { scale, .. }), Some(have)) => {
            decimal(&quoted, have, usize::from(scale))
        }
        _ => quoted,
    }
}

/// Returns the expression that converts a decimal to the text of a scale. A smaller scale is padded
/// with zeros. A number is formatted if the text has the same value.
fn decimal(name: &str, have: &ExistingColumn, scale: usize) -> String {
    let point = if scale > 0 { "." } else { "" };
    let text = match have.ty {
        Some(ColumnType::Decimal { scale: from, .. }) if have.known => {
            let point = if from == 0 { point } else { "" };
            format!("{name} || '{point}{:0<1$}'", "", scale - usize::from(from).min(scale))
        }
        _ => name.to_owned(),
    };
    let written = format!("printf('%.{scale}f', {name})");
    let digits = format!("{name} || '{point}{:0<scale$}'", "");
    format!(
        "CASE typeof({name}) WHEN 'text' THEN {text} WHEN 'integer' THEN {digits} WHEN 'real' THEN iif(CAST({written} AS REAL) = {name}, {written}, {name}) ELSE {name} END"
    )
}

/// Returns the columns of a table except for generated ones.
fn columns(connection: &mut SqliteConnection, table: &str) -> QueryResult<Vec<String>> {
    let columns: Vec<Name> =
        sql_query("SELECT name FROM pragma_table_xinfo(?) WHERE hidden = 0 ORDER BY cid")
            .bind::<Text, _>(table)
            .load(connection)?;
    Ok(columns.into_iter().map(|column| column.name).collect())
}

/// Returns the CREATE TABLE statement of a table.
fn statement(connection: &mut SqliteConnection, table: &str) -> QueryResult<String> {
    let statement =
        sql_query("SELECT sql AS name FROM sqlite_schema WHERE type = 'table' AND name = ?");
    let statement: Name = statement.bind::<Text, _>(table).get_result(connection)?;
    Ok(statement.name)
}

/// Returns the statements of the indexes and triggers of a table. A trigger's statement can spell
/// the table's name in another case.
fn attached(connection: &mut SqliteConnection, table: &str) -> QueryResult<Vec<String>> {
    let attached: Vec<Name> = sql_query(
        "SELECT sql AS name FROM sqlite_schema WHERE tbl_name = ? COLLATE NOCASE AND type IN ('index', 'trigger') AND sql IS NOT NULL ORDER BY rowid",
    )
    .bind::<Text, _>(table)
    .load(connection)?;
    Ok(attached.into_iter().map(|statement| statement.name).collect())
}

/// Returns the error of a table that cannot be rebuilt.
fn refused(schema: &Schema, changes: &[Change], reason: &str) -> Error {
    let changes: Vec<String> = changes.iter().map(ToString::to_string).collect();
    Error::new(
        ErrorKind::SchemaChange,
        format!(
            "the table differs from the schema, and nothing was changed; sqlite: the change requires a rebuild, which is not possible ({reason}): change the table by hand\nscope `{}`, table `{}`:\n  ! {}",
            schema.name,
            schema.table,
            changes.join("\n  ! "),
        ),
    )
}

/// Returns whether a column's default is an expression, which `ADD COLUMN` rejects for a table with
/// rows.
pub(super) fn is_computed(column: &Column) -> bool {
    column.default.as_ref().is_some_and(|default| Sqlite::literal(default).starts_with('('))
}
