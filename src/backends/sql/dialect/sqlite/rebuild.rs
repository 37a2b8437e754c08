//! Making a table anew from the one that stands, for changes that SQLite cannot make in place.

use diesel::result::Error as DieselError;
use diesel::sql_types::Text;
use diesel::sqlite::{Sqlite, SqliteConnection};
use diesel::{QueryResult, RunQueryDsl, sql_query};

use super::{Dialect, Name, is_computed};
use crate::backends::sql::render::{columns, create_table};
use crate::schema::{Change, Standing, StandingColumn};
use crate::{Column, ColumnType, Error, ErrorKind, Schema};

/// What a table can have that its new self would not: hilcat knows columns and keys.
const LOST: [&str; 8] =
    ["AUTOINCREMENT", "CHECK", "COLLATE", "GENERATED", "AS", "REFERENCES", "STRICT", "UNIQUE"];

/// The statements that make the table anew as the change at position `at`. Its columns have the
/// names that they have before any is renamed, and those are left out that are added later.
pub(super) fn statements(
    connection: &mut SqliteConnection,
    schema: &Schema,
    standing: &Standing,
    changes: &[Change],
    at: usize,
) -> QueryResult<Vec<String>> {
    let words = words_of(connection, &schema.table)?;
    refuse_loss(connection, schema, standing, changes, &words)?;
    let mut former = former(schema, changes, at);
    let temporary = format!("hilcat_new_{}", schema.table);
    let created = if has_rowid_key(standing, &words) {
        former.columns[former.key[0]].ty = ColumnType::Int;
        let created = create_table::<Sqlite>(&former, &temporary);
        created.trim_end_matches(Sqlite::TABLE_OPTIONS).to_owned()
    } else {
        create_table::<Sqlite>(&former, &temporary)
    };
    let values = former.columns.iter().map(|column| value(standing, column));
    let values = values.collect::<Vec<_>>().join(", ");
    let (table, temporary) =
        (Sqlite::quote_in_definition(&schema.table), Sqlite::quote_in_definition(&temporary));
    let names = columns::<Sqlite>(&former.columns);
    let mut statements = vec![
        created,
        format!("INSERT INTO {temporary} ({names}) SELECT {values} FROM {table}"),
        format!("DROP TABLE {table}"),
        // Views that name the table are left alone.
        "PRAGMA legacy_alter_table = ON".to_owned(),
        format!("ALTER TABLE {temporary} RENAME TO {table}"),
        "PRAGMA legacy_alter_table = OFF".to_owned(),
    ];
    statements.extend(attached(connection, &schema.table)?);
    Ok(statements)
}

/// The schema before columns are renamed and added from the change at position `at` on.
fn former(schema: &Schema, changes: &[Change], at: usize) -> Schema {
    let mut former = schema.clone();
    for change in changes {
        let named = |name: &str| schema.columns.iter().position(|column| column.name == name);
        if let Change::RenameColumn { from, to } = change
            && let Some(at) = named(to)
        {
            former.columns[at].name.clone_from(from);
        }
    }
    let later = |column: &Column| {
        changes[at..].iter().any(|change| {
            matches!(change, Change::AddColumn(added) if added == column && !is_computed(added))
        })
    };
    let key: Vec<String> = former.key_columns().map(|column| column.name.clone()).collect();
    former.columns.retain(|column| !later(column));
    let place = |name: &String| former.columns.iter().position(|column| column.name == *name);
    former.key = key.iter().filter_map(place).collect();
    former
}

/// What a column is filled with.
fn value(standing: &Standing, column: &Column) -> String {
    let name = Sqlite::quote(&column.name);
    let Some(have) = standing.columns.iter().find(|have| have.name == column.name) else {
        return column.default.as_ref().map_or("NULL".to_owned(), Sqlite::literal);
    };
    match column.ty {
        ColumnType::Decimal { scale, .. } => decimal(&name, have, usize::from(scale)),
        _ => name,
    }
}

/// A decimal is written with all digits of its scale: one of a smaller scale gets zeros, and a
/// number is written out, where it is what so many digits say.
fn decimal(name: &str, have: &StandingColumn, scale: usize) -> String {
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

/// The indexes and triggers that stand on a table, as they were made.
fn attached(connection: &mut SqliteConnection, table: &str) -> QueryResult<Vec<String>> {
    let attached: Vec<Name> = sql_query(
        "SELECT sql AS name FROM sqlite_schema WHERE tbl_name = ? AND type IN ('index', 'trigger') AND sql IS NOT NULL",
    )
    .bind::<Text, _>(table)
    .load(connection)?;
    Ok(attached.into_iter().map(|statement| statement.name).collect())
}

/// Whether the key is another name of SQLite's own row number, which numbers new rows by itself.
fn has_rowid_key(standing: &Standing, words: &[String]) -> bool {
    let [key] = &standing.key[..] else { return false };
    let key = standing.columns.iter().find(|column| column.name == *key);
    key.is_some_and(|column| column.declared.eq_ignore_ascii_case("INTEGER"))
        && !words.iter().any(|word| word == "WITHOUT")
}

/// The error for a table that has more than columns and a key: that would be gone.
fn refuse_loss(
    connection: &mut SqliteConnection,
    schema: &Schema,
    standing: &Standing,
    changes: &[Change],
    words: &[String],
) -> QueryResult<()> {
    let mut lost: Vec<String> = LOST
        .iter()
        .filter(|lost| words.iter().any(|word| word == *lost))
        .map(|word| (*word).to_owned())
        .collect();
    for Name { name } in defaults(connection, &schema.table)? {
        let ours = standing.columns.iter().any(|column| column.name == name && column.known);
        let kept =
            schema.columns.iter().any(|column| column.name == name && column.default.is_some());
        if !ours && !kept {
            lost.push(format!("the default of `{name}`"));
        }
    }
    if lost.is_empty() {
        return Ok(());
    }
    let changes: Vec<String> = changes.iter().map(ToString::to_string).collect();
    let error = Error::new(
        ErrorKind::SchemaChange,
        format!(
            "the table differs from the schema, and nothing was changed; sqlite has to make it anew, and what another program gave it would be lost ({}): change it by hand\nscope `{}`, table `{}`:\n  ! {}",
            lost.join(", "),
            schema.name,
            schema.table,
            changes.join("\n  ! "),
        ),
    );
    Err(DieselError::QueryBuilderError(Box::new(error)))
}

/// The columns that have a default.
fn defaults(connection: &mut SqliteConnection, table: &str) -> QueryResult<Vec<Name>> {
    sql_query("SELECT name FROM pragma_table_xinfo(?) WHERE hidden = 0 AND dflt_value IS NOT NULL")
        .bind::<Text, _>(table)
        .load(connection)
}

/// The words of a table's `CREATE TABLE` in upper case, without quoted names and texts.
fn words_of(connection: &mut SqliteConnection, table: &str) -> QueryResult<Vec<String>> {
    let statement =
        sql_query("SELECT sql AS name FROM sqlite_schema WHERE type = 'table' AND name = ?");
    let statement: Name = statement.bind::<Text, _>(table).get_result(connection)?;
    let mut bare = String::new();
    let mut rest = statement.name.chars();
    while let Some(character) = rest.next() {
        let end = match character {
            '\'' | '"' | '`' => character,
            '[' => ']',
            other => {
                bare.push(other);
                continue;
            }
        };
        // A doubled quote ends one part and begins another.
        rest.by_ref().find(|character| *character == end);
        bare.push(' ');
    }
    let words = bare.split(|character: char| !character.is_alphanumeric() && character != '_');
    Ok(words.filter(|word| !word.is_empty()).map(str::to_ascii_uppercase).collect())
}
