//! Batches: several rows or keys in one statement, with an array for each column.

use std::borrow::Cow;
use std::collections::HashSet;

use diesel::QueryResult;
use diesel::pg::Pg;

use super::clauses::{inserting_into, stored_types};
use super::removal::{gone_or_none, of_removal};
use super::update::readable;
use crate::backends::sql::dialect::statements::{Statements, columns, selected, unless_stored};
use crate::backends::sql::dialect::write::{check_written, insert_or_fetch};
use crate::backends::sql::dialect::{ColumnTypes, Dialect, StatementText};
use crate::backends::sql::error::CallError;
use crate::backends::sql::statement::batch::{Column, RequestOrder, sorted};
use crate::backends::sql::statement::{Conn, Sql, execute, load};
use crate::{ColumnType, Key, Result, Row, Schema, Value};

/// The maximum number of rows that one statement writes or reads.
const MAX_ROWS: usize = 10_000;

/// The approximate maximum size of the values of a statement of several rows, in bytes.
const MAX_BYTES: usize = 16 << 20;

/// `SELECT` of the rows of the bound keys.
pub(super) fn fetch_listed(schema: &Schema) -> Sql {
    let (table, all) = (Pg::quote(&schema.table), selected::<Pg>(schema, &schema.columns));
    matching(Sql::new(format!("SELECT {all} FROM {table} WHERE ")), schema)
}

/// `DELETE` of the rows of the bound keys. Returns the rows.
pub(super) fn pop_listed(schema: &Schema) -> Sql {
    let (table, all) = (Pg::quote(&schema.table), selected::<Pg>(schema, &schema.columns));
    let keys = columns::<Pg>(schema.key_columns());
    // A `DELETE` alone locks rows in table order, and would deadlock with a batch of writes, which
    // locks them in key order.
    let locked = format!("WITH hilcat_locked AS MATERIALIZED (SELECT {keys} FROM {table} WHERE ");
    matching(Sql::new(locked), schema).text(&format!(
        " ORDER BY {keys} FOR UPDATE), hilcat_gone AS (DELETE FROM {table} WHERE ({keys}) IN (SELECT {keys} FROM hilcat_locked) RETURNING {all}) {}",
        gone_or_none(schema)
    ))
}

/// `DELETE` of the rows of the bound keys that are expired at the time in the last bind.
pub(super) fn remove_listed(schema: &Schema, expiry: &str) -> Sql {
    let table = Pg::quote(&schema.table);
    let keys = columns::<Pg>(schema.key_columns());
    let locked = format!("WITH hilcat_locked AS MATERIALIZED (SELECT {keys} FROM {table} WHERE ");
    matching(Sql::new(locked), schema)
        .text(&format!(" AND {expiry} <= "))
        .bind(ColumnType::Timestamp)
        .text(&format!(
            " ORDER BY {keys} FOR UPDATE) DELETE FROM {table} WHERE ({keys}) IN (SELECT {keys} FROM hilcat_locked)"
        ))
}

fn matching(sql: Sql, schema: &Schema) -> Sql {
    let keys = columns::<Pg>(schema.key_columns());
    if let [at] = schema.key[..] {
        return sql.text(&format!("{keys} = ANY(")).bind(schema.columns[at].ty).text(")");
    }
    sql.text(&format!("({keys}) IN (SELECT * FROM unnest("))
        .list(", ", schema.key_columns(), |sql, column| sql.bind(column.ty))
        .text("))")
}

/// `INSERT` of the bound rows whose keys have none. Returns their keys.
pub(super) fn insert_listed(schema: &Schema) -> Sql {
    let keys = selected::<Pg>(schema, schema.key_columns());
    let sql = unnested(inserting_into(Sql::new(""), schema), schema);
    unless_stored::<Pg>(sql, schema).text(&format!(" RETURNING {keys}"))
}

/// Adds the rows in the bound arrays as the source of an `INSERT`.
pub(super) fn unnested(sql: Sql, schema: &Schema) -> Sql {
    sql.text("SELECT * FROM unnest(").list(", ", stored_types(schema), Sql::bind).text(")")
}

/// Returns the rows of keys, in the order of the keys.
pub(super) fn fetch<C: Conn<Pg>>(
    connection: &mut C,
    statements: &Statements,
    keys: &[Key],
) -> Result<Vec<Option<Row>>, CallError> {
    let mut rows = RequestOrder::new(&statements.schema, keys);
    let stored = stored(statements, keys);
    let sorted = sorted_keys(statements, &stored);
    for keys in chunks(&sorted) {
        each(connection, statements, &statements.fetch_many, keys, &mut rows)?;
    }
    Ok(rows.finish())
}

/// Removes and returns the rows of keys, in the order of the keys. A single statement is atomic, but
/// takes effect before its rows are decoded.
pub(super) fn pop<C: Conn<Pg>>(
    connection: &mut C,
    statements: &Statements,
    keys: &[Key],
) -> Result<Vec<Option<Row>>, CallError> {
    let stored = stored(statements, keys);
    let sorted = sorted_keys(statements, &stored);
    let chunks = chunks(&sorted);
    let pop = |connection: &mut C| {
        let mut rows = RequestOrder::new(&statements.schema, keys);
        for keys in &chunks {
            each(connection, statements, &statements.pop_many, keys, &mut rows)
                .map_err(|error| of_removal(&statements.schema, error))?;
        }
        Ok(rows.finish_first_only())
    };
    let always_readable =
        readable(&statements.schema).is_some_and(|condition| condition.is_empty());
    match always_readable && chunks.len() <= 1 {
        true => pop(connection),
        false => Pg::write_transaction(connection, pop),
    }
}

/// Returns keys as stored.
fn stored<'a>(statements: &Statements, keys: &'a [Key]) -> Vec<Cow<'a, Key>> {
    keys.iter().map(|key| Pg::stored_key(&statements.schema, key)).collect()
}

fn sorted_keys<'a>(statements: &Statements, keys: &'a [Cow<'a, Key>]) -> Vec<&'a [Value]> {
    let keys = keys.iter().map(|key| key.values()).collect();
    sorted(0..statements.key_types.len(), keys)
}

/// Runs a statement on keys, and collects its rows.
fn each<C: Conn<Pg>>(
    connection: &mut C,
    statements: &Statements,
    sql: &Option<Sql>,
    keys: &[&[Value]],
    rows: &mut RequestOrder<'_>,
) -> QueryResult<()> {
    let Some(sql) = sql else { return Ok(()) };
    let columns = Column::all(keys, statements.key_types.len());
    load::<Pg>(connection, sql.with_columns(&columns), &statements.types, |row| {
        rows.put(row);
        Ok(())
    })
}

/// Writes complete rows atomically.
pub(super) fn put<C: Conn<Pg>>(
    connection: &mut C,
    statements: &Statements,
    rows: &[Row],
) -> Result<(), CallError> {
    let rows = sorted_rows(statements, rows);
    let chunks = chunks(&rows);
    let put = |connection: &mut C| {
        for rows in &chunks {
            let columns = Column::all(rows, rows.first().map_or(0, |row| row.len()));
            let written = execute::<Pg>(connection, statements.set_rows.with_columns(&columns))?;
            check_written(&statements.schema, written, rows.len())?;
        }
        Ok(())
    };
    match chunks.len() {
        0 | 1 => put(connection),
        _ => Pg::write_transaction(connection, put),
    }
}

/// Inserts the rows whose keys have none, atomically. Returns the stored rows of the other keys.
pub(super) fn insert<C: Conn<Pg>>(
    connection: &mut C,
    statements: &Statements,
    keys: &[Key],
    rows: &[Row],
) -> Result<Vec<Option<Row>>, CallError> {
    let insert = |connection: &mut C| {
        insert_or_fetch::<Pg, _>(connection, statements, keys, rows, |connection, pending| {
            let sorted = sorted_rows(statements, pending.iter().map(|&at| &rows[at]));
            let inserted = insert_new(connection, statements, &chunks(&sorted))?;
            Ok(pending.iter().copied().filter(|&at| !inserted.contains(&keys[at])).collect())
        })
    };
    match chunks(&sorted_rows(statements, rows)).len() {
        0 | 1 => insert(connection),
        _ => Pg::write_transaction(connection, insert),
    }
}

/// Inserts complete rows whose keys have no row or an expired one, atomically. Returns the stored rows
/// of the other keys.
pub(super) fn replace_expired<C: Conn<Pg>>(
    connection: &mut C,
    statements: &Statements,
    keys: &[Key],
    rows: &[Row],
    at: i64,
) -> Result<Vec<Option<Row>>, CallError> {
    let at = [Value::Timestamp(at)];
    let sql = statements.expiring.as_ref().and_then(|expiring| expiring.replace_rows.as_ref());
    let replace = |connection: &mut C| {
        insert_or_fetch::<Pg, _>(connection, statements, keys, rows, |connection, pending| {
            let sorted = sorted_rows(statements, pending.iter().map(|&at| &rows[at]));
            let written = write_new(connection, statements, &chunks(&sorted), sql, &at)?;
            Ok(pending.iter().copied().filter(|&at| !written.contains(&keys[at])).collect())
        })
    };
    match chunks(&sorted_rows(statements, rows)).len() {
        0 | 1 => replace(connection),
        _ => Pg::write_transaction(connection, replace),
    }
}

/// Removes the expired rows of keys.
pub(super) fn remove_expired<C: Conn<Pg>>(
    connection: &mut C,
    statements: &Statements,
    keys: &[Key],
    at: i64,
) -> Result<(), CallError> {
    let expiring = statements.expiring.as_ref();
    let Some(sql) = expiring.and_then(|expiring| expiring.remove_many.as_ref()) else {
        return Ok(());
    };
    let (at, stored) = ([Value::Timestamp(at)], stored(statements, keys));
    for keys in chunks(&sorted_keys(statements, &stored)) {
        let columns = Column::all(keys, statements.key_types.len());
        execute::<Pg>(connection, sql.with_columns_and(&columns, &at))?;
    }
    Ok(())
}

/// Inserts rows whose keys have none. Returns the keys of the inserted rows.
fn insert_new<C: Conn<Pg>>(
    connection: &mut C,
    statements: &Statements,
    chunks: &[&[&[Value]]],
) -> QueryResult<HashSet<Key>> {
    write_new(connection, statements, chunks, statements.insert_many.as_ref(), &[])
}

/// Writes rows with a statement that returns the keys of the written rows.
fn write_new<C: Conn<Pg>>(
    connection: &mut C,
    statements: &Statements,
    chunks: &[&[&[Value]]],
    sql: Option<&Sql>,
    at: &[Value],
) -> QueryResult<HashSet<Key>> {
    let mut inserted = HashSet::new();
    let Some(sql) = sql else { return Ok(inserted) };
    for rows in chunks {
        let columns = Column::all(rows, rows.first().map_or(0, |row| row.len()));
        let statement = sql.with_columns_and(&columns, at);
        load::<Pg>(connection, statement, &statements.key_types, |key| {
            inserted.insert(Key::new(key));
            Ok(())
        })?;
    }
    Ok(inserted)
}

fn sorted_rows<'a>(
    statements: &Statements,
    rows: impl IntoIterator<Item = &'a Row>,
) -> Vec<&'a [Value]> {
    let rows = rows.into_iter().map(Vec::as_slice).collect();
    sorted(statements.schema.key.iter().copied(), rows)
}

/// Splits rows into chunks for one statement each.
fn chunks<'r, 'a>(mut rows: &'r [&'a [Value]]) -> Vec<&'r [&'a [Value]]> {
    let mut chunks = Vec::new();
    while !rows.is_empty() {
        let mut bytes = 0;
        let fits = rows.iter().take(MAX_ROWS).take_while(|row| {
            bytes += row.iter().map(Value::size).sum::<usize>();
            bytes <= MAX_BYTES
        });
        let (chunk, rest) = rows.split_at(fits.count().max(1));
        chunks.push(chunk);
        rows = rest;
    }
    chunks
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_split_by_number_and_size() {
        let small: Vec<Row> = (0..25_000).map(|n| vec![Value::Int(n)]).collect();
        let rows: Vec<&[Value]> = small.iter().map(Vec::as_slice).collect();
        let sizes = |rows| chunks(rows).iter().map(|chunk| chunk.len()).collect::<Vec<_>>();
        assert_eq!(sizes(&rows), [10_000, 10_000, 5_000]);
        let large: Vec<Row> = (0..5).map(|_| vec![Value::Bytes(vec![0; 7 << 20])]).collect();
        let rows: Vec<&[Value]> = large.iter().map(Vec::as_slice).collect();
        assert_eq!(sizes(&rows), [2, 2, 1]);
        assert!(sizes(&[]).is_empty());
    }
}
