//! Making a table anew from the one that is there, for changes that SQLite cannot make in place.
//!
//! The new table is made by the old one's own statement, of which only the words are changed that
//! the changes are about, so that it has all that another program gave it. Its rows keep their
//! numbers, which FTS5 tables, triggers and other programs may refer to.

use diesel::result::Error as DieselError;
use diesel::sql_types::Text;
use diesel::sqlite::{Sqlite, SqliteConnection};
use diesel::{QueryResult, RunQueryDsl, sql_query};

use super::created::{Created, Edit};
use super::introspect::Name;
use super::{Dialect, is_computed};
use crate::backends::sql::dialect::statements::definition;
use crate::schema::{Change, ExistingColumn, ExistingTable};
use crate::{Column, ColumnType, Error, ErrorKind, Schema};

/// The names by which the number of a row can be asked for, where no column has them.
const ROWIDS: [&str; 3] = ["rowid", "_rowid_", "oid"];

/// The statements that make the table anew, before any column is renamed, or added in place.
pub(super) fn statements(
    connection: &mut SqliteConnection,
    schema: &Schema,
    standing: &ExistingTable,
    changes: &[Change],
) -> QueryResult<Vec<String>> {
    let names = columns(connection, &schema.table)?;
    let attached = attached(connection, &schema.table)?;
    let sql = statement(connection, &schema.table)?;
    let refused = |what: &str| {
        let error = refused(schema, changes, what);
        DieselError::QueryBuilderError(Box::new(error))
    };
    let created =
        Created::parse(&sql).ok_or_else(|| refused("its statement, which is not understood"))?;
    let edits = edits(schema, standing, changes);
    if created.is_strict() && edits.iter().any(|edit| edit.ty.is_some()) {
        return Err(refused("STRICT, which takes no other names of types than SQLite's own"));
    }
    let temporary = format!("hilcat_new_{}", schema.table);
    let new = Sqlite::quote_in_definition(&temporary);
    let added: Vec<&Column> = computed(changes).collect();
    let definitions: Vec<String> =
        added.iter().map(|column| definition::<Sqlite>(column)).collect();
    let create = created
        .edited(&new, &edits, &definitions)
        .ok_or_else(|| refused("a column that its statement does not name"))?;

    let mut filled: Vec<(String, String)> =
        names.iter().map(|name| (Sqlite::quote(name), value(schema, standing, name))).collect();
    filled.extend(added.into_iter().map(|column| {
        let default = column.default.as_ref().map_or("NULL".to_owned(), Sqlite::literal);
        (Sqlite::quote(&column.name), default)
    }));
    // A key that is the row's number is among the columns: setting both is the same twice.
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
    if created.counts_on() {
        statements.extend(counted_on(&schema.table, &temporary));
    }
    statements.extend([
        format!("DROP TABLE {table}"),
        // Views that name the table are left alone.
        "PRAGMA legacy_alter_table = ON".to_owned(),
        format!("ALTER TABLE {new} RENAME TO {table}"),
        "PRAGMA legacy_alter_table = OFF".to_owned(),
    ]);
    statements.extend(attached);
    Ok(statements)
}

/// What has to be changed in the definitions of columns, by the names that they have.
fn edits(schema: &Schema, standing: &ExistingTable, changes: &[Change]) -> Vec<Edit> {
    let edit = |column: &Column| {
        let widened = changes.iter().any(
            |change| matches!(change, Change::WidenColumn { column: name, .. } if *name == column.name),
        );
        let nullable = changes.contains(&Change::AllowNull(column.name.clone()));
        (widened || nullable).then(|| Edit {
            column: former_name(standing, column).to_owned(),
            ty: widened.then(|| Sqlite::column_type(column.ty)),
            nullable,
        })
    };
    schema.columns.iter().filter_map(edit).collect()
}

/// The name that a column has in the table.
fn former_name<'a>(standing: &ExistingTable, column: &'a Column) -> &'a str {
    let has = |name: &&String| standing.columns.iter().any(|have| have.name == **name);
    [Some(&column.name), column.was.as_ref()]
        .into_iter()
        .flatten()
        .find(has)
        .unwrap_or(&column.name)
}

/// The columns that are added with the table, since their default is an expression.
fn computed(changes: &[Change]) -> impl Iterator<Item = &Column> {
    changes.iter().filter_map(|change| match change {
        Change::AddColumn(column) if is_computed(column) => Some(column),
        _ => None,
    })
}

/// The last number that was given to a row, which can be that of none that is left.
fn counted_on(table: &str, temporary: &str) -> [String; 2] {
    let text = |name: &str| format!("'{}'", name.replace('\'', "''"));
    let (table, temporary) = (text(table), text(temporary));
    [
        format!("DELETE FROM sqlite_sequence WHERE name = {temporary}"),
        format!(
            "INSERT INTO sqlite_sequence (name, seq) SELECT {temporary}, seq FROM sqlite_sequence WHERE name = {table}"
        ),
    ]
}

/// What a column of the table is filled with in the new one.
fn value(schema: &Schema, standing: &ExistingTable, name: &str) -> String {
    let have = standing.columns.iter().find(|have| have.name.eq_ignore_ascii_case(name));
    let column = schema
        .columns
        .iter()
        .find(|column| former_name(standing, column).eq_ignore_ascii_case(name));
    let quoted = Sqlite::quote(name);
    match (column.map(|column| column.ty), have) {
        (Some(ColumnType::Decimal { scale, .. }), Some(have)) => {
            decimal(&quoted, have, usize::from(scale))
        }
        _ => quoted,
    }
}

/// A decimal is written with all digits of its scale: one of a smaller scale gets zeros, and a
/// number is written out, where it is what so many digits say.
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

/// The columns of a table that are not computed.
fn columns(connection: &mut SqliteConnection, table: &str) -> QueryResult<Vec<String>> {
    let columns: Vec<Name> =
        sql_query("SELECT name FROM pragma_table_xinfo(?) WHERE hidden = 0 ORDER BY cid")
            .bind::<Text, _>(table)
            .load(connection)?;
    Ok(columns.into_iter().map(|column| column.name).collect())
}

/// The statement that made a table.
fn statement(connection: &mut SqliteConnection, table: &str) -> QueryResult<String> {
    let statement =
        sql_query("SELECT sql AS name FROM sqlite_schema WHERE type = 'table' AND name = ?");
    let statement: Name = statement.bind::<Text, _>(table).get_result(connection)?;
    Ok(statement.name)
}

/// The indexes and triggers of a table, as they were made. A trigger's statement may spell the
/// table's name in another case.
fn attached(connection: &mut SqliteConnection, table: &str) -> QueryResult<Vec<String>> {
    let attached: Vec<Name> = sql_query(
        "SELECT sql AS name FROM sqlite_schema WHERE tbl_name = ? COLLATE NOCASE AND type IN ('index', 'trigger') AND sql IS NOT NULL ORDER BY rowid",
    )
    .bind::<Text, _>(table)
    .load(connection)?;
    Ok(attached.into_iter().map(|statement| statement.name).collect())
}

/// The error for a table that cannot be made anew as it is.
fn refused(schema: &Schema, changes: &[Change], lost: &str) -> Error {
    let changes: Vec<String> = changes.iter().map(ToString::to_string).collect();
    Error::new(
        ErrorKind::SchemaChange,
        format!(
            "the table differs from the schema, and nothing was changed; sqlite has to make it anew, and what another program gave it would be lost ({lost}): change it by hand\nscope `{}`, table `{}`:\n  ! {}",
            schema.name,
            schema.table,
            changes.join("\n  ! "),
        ),
    )
}
