//! Removals. A removal that the database suppresses is an error: a trigger can keep a row, and
//! row-level security can hide one from removals only. Each removal is one statement, which compares
//! the removed rows with its snapshot.

use diesel::pg::Pg;
use diesel::result::Error::DatabaseError;

use super::update::readable;
use crate::backends::sql::dialect::ColumnTypes;
use crate::backends::sql::dialect::statements::{
    Statements, in_section, matching_key, of_section, selected,
};
use crate::backends::sql::dialect::write::removal_suppressed;
use crate::backends::sql::error::CallError;
use crate::backends::sql::statement::{Conn, Sql, execute, find, load_one};
use crate::{Key, Result, Row, Schema, Value};

/// The maximum number of attempts at a removal that left rows: another connection may have removed or
/// written them at the same time.
const MAX_ATTEMPTS: usize = 8;

/// `DELETE` of the row of the key, which is bound twice. Returns the row, or a row of NULLs if it
/// exists but was not removed.
pub(super) fn pop_one(schema: &Schema) -> Sql {
    let (table, all) = (Pg::quote(&schema.table), selected::<Pg>(schema, &schema.columns));
    let condition = match readable(schema) {
        Some(condition) if !condition.is_empty() => format!(" AND {condition}"),
        _ => String::new(),
    };
    let gone = Sql::new(format!("WITH hilcat_gone AS (DELETE FROM {table} WHERE "));
    let gone = matching_key::<Pg>(gone, schema).text(&format!(
        "{condition} RETURNING {all}) SELECT * FROM hilcat_gone UNION ALL SELECT {} FROM {table} WHERE ",
        nulls(schema)
    ));
    matching_key::<Pg>(gone, schema).text(" AND NOT EXISTS (SELECT FROM hilcat_gone)")
}

/// Returns a row of NULLs, which differs from every stored row, because a key has values.
fn nulls(schema: &Schema) -> String {
    vec!["NULL"; schema.columns.len()].join(", ")
}

/// Gives the rows of `hilcat_gone`; an error of the server with [`KEPT`] in it where those of
/// `hilcat_locked` are more, by which all are kept. It is nothing that can be computed before.
pub(super) fn gone_or_none(schema: &Schema) -> String {
    let gone = "(SELECT count(*) FROM hilcat_gone)";
    format!(
        "SELECT * FROM hilcat_gone UNION ALL SELECT {} WHERE CASE WHEN (SELECT count(*) FROM hilcat_locked) > {gone} THEN current_setting('{KEPT}' || {gone}) = '' ELSE false END",
        nulls(schema)
    )
}

/// The prefix of an undefined setting, which raises an error when it is read.
const KEPT: &str = "hilcat.kept_";

/// `DELETE` of the rows of a section, whose values are bound twice. Returns a row if not all were
/// removed.
pub(super) fn clear_section(schema: &Schema, fixed: usize) -> Sql {
    let table = Pg::quote(&schema.table);
    let gone = format!("WITH hilcat_gone AS ({}", clearing(schema));
    let gone = in_section::<Pg>(gone, schema, fixed)
        .text(&format!(" RETURNING 1), hilcat_there AS (SELECT count(*) AS n FROM {table}"));
    of_section::<Pg>(gone, schema, fixed)
        .text(") SELECT 1 WHERE (SELECT n FROM hilcat_there) > (SELECT count(*) FROM hilcat_gone)")
}

fn clearing(schema: &Schema) -> String {
    format!("DELETE FROM {}", Pg::quote(&schema.table))
}

/// Removes and returns a row. A row that cannot be decoded is reported as an error.
pub(super) fn pop<C: Conn<Pg>>(
    connection: &mut C,
    statements: &Statements,
    key: &Key,
) -> Result<Option<Row>, CallError> {
    let key = key.values();
    for _ in 0..MAX_ATTEMPTS {
        let row =
            load_one::<Pg>(connection, statements.pop.with_both(key, key), &statements.types)?;
        if row.as_ref().is_none_or(|row| !is_kept(&statements.schema, row)) {
            return Ok(row);
        }
        let fetch = statements.fetch.with(key);
        if find::<Pg>(connection, fetch, &statements.types)?.is_none() {
            return Ok(None);
        }
    }
    Err(CallError::Hilcat(removal_suppressed(&statements.schema)))
}

fn is_kept(schema: &Schema, row: &Row) -> bool {
    schema.key.iter().any(|at| row[*at] == Value::Null)
}

/// Removes the rows of a section.
pub(super) fn clear<C: Conn<Pg>>(
    connection: &mut C,
    statements: &Statements,
    fixed: &[Value],
) -> Result<(), CallError> {
    let clear = statements.clear.with_both(fixed, fixed);
    match find::<Pg>(connection, clear, &[])? {
        None => Ok(()),
        Some(_) => clear_on(connection, statements, fixed),
    }
}

/// Removes what was kept. Other connections may remove and write records at the same time: what a
/// removal of nothing leaves again and again is kept by the database.
fn clear_on<C: Conn<Pg>>(
    connection: &mut C,
    statements: &Statements,
    fixed: &[Value],
) -> Result<(), CallError> {
    let clear = in_section::<Pg>(clearing(&statements.schema), &statements.schema, fixed.len());
    let mut removed = 0;
    for _ in 0..MAX_ATTEMPTS {
        removed = execute::<Pg>(connection, clear.with(fixed))?;
        if find::<Pg>(connection, statements.keys.first.with(fixed), &[])?.is_none() {
            return Ok(());
        }
    }
    match removed {
        0 => Err(CallError::Hilcat(removal_suppressed(&statements.schema))),
        _ => Ok(()),
    }
}

/// The error of a removal that tells by the server's error what was kept.
pub(super) fn of_removal(schema: &Schema, error: diesel::result::Error) -> CallError {
    match &error {
        DatabaseError(_, info) if info.message().contains(KEPT) => {
            CallError::Hilcat(removal_suppressed(schema))
        }
        _ => CallError::Diesel(error),
    }
}
