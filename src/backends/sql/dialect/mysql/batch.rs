//! The statements of MySQL and MariaDB, for one row and for many: in sizes that are fixed, so that
//! there are few of them to prepare.

use std::any::Any;

use diesel::QueryResult;
use diesel::mysql::Mysql;
use diesel::result::{DatabaseErrorInformation, DatabaseErrorKind, Error as DieselError};

use super::statement_text::readable;
use crate::backends::sql::connection::mysql::MysqlConnection;
use crate::backends::sql::dialect::statements::{Batches, SizedStatement, Statements};
use crate::backends::sql::dialect::write::{insert_or_fetch, put};
use crate::backends::sql::dialect::{StatementText, transaction};
use crate::backends::sql::error::{CallError, concurrent_change};
use crate::backends::sql::statement::batch::{RequestOrder, sorted};
use crate::backends::sql::statement::{Conn, Sql, execute, find, load, load_one};
use crate::store::is_expired;
use crate::{Key, Row, Schema, Value};

/// Inserts complete rows whose keys have none or an expired one. Gives the stored rows of the other
/// keys. An expired row is removed in a step that leaves one that was written meanwhile, and the new
/// one is inserted only if the key is still free then.
pub(super) fn replace_expired<C: Conn<Mysql>>(
    connection: &mut C,
    statements: &Statements,
    keys: &[Key],
    rows: &[Row],
    at: i64,
) -> Result<Vec<Option<Row>>, CallError> {
    let mut stored = insert_all(connection, statements, keys, rows)?;
    let is_over =
        |row: &Option<Row>| row.as_ref().is_some_and(|row| is_expired(&statements.schema, row, at));
    let again: Vec<usize> = (0..rows.len()).filter(|&place| is_over(&stored[place])).collect();
    if again.is_empty() {
        return Ok(stored);
    }
    let keys: Vec<Key> = again.iter().map(|&place| keys[place].clone()).collect();
    let rows: Vec<Row> = again.iter().map(|&place| rows[place].clone()).collect();
    remove_expired(connection, statements, &keys, at)?;
    for (place, row) in again.into_iter().zip(insert_all(connection, statements, &keys, &rows)?) {
        stored[place] = row;
    }
    Ok(stored)
}

/// Removes those rows of keys that are expired.
pub(super) fn remove_expired<C: Conn<Mysql>>(
    connection: &mut C,
    statements: &Statements,
    keys: &[Key],
    at: i64,
) -> QueryResult<()> {
    let schema = &statements.schema;
    let stored = in_order(schema, keys);
    let remove = &batches_of(statements)?.remove_expired;
    in_pieces(remove, schema, &stored, <[Row]>::len, |sql, keys| {
        let mut values = keys.concat();
        values.push(Value::Timestamp(at));
        execute::<Mysql>(connection, sql.with(&values)).map(drop)
    })
}

fn batches_of(statements: &Statements) -> QueryResult<&Batches> {
    statements.batches.as_ref().ok_or(diesel::result::Error::NotFound)
}

/// Runs `each` with a statement and its rows until no rows are left. Where a statement has room
/// for more, the last row is repeated.
fn in_pieces(
    buckets: &SizedStatement,
    schema: &Schema,
    mut rows: &[Row],
    most: impl Fn(&[Row]) -> usize,
    mut each: impl FnMut(&Sql, &[Row]) -> QueryResult<()>,
) -> QueryResult<()> {
    while let Some(last) = rows.last() {
        let most = most(rows);
        let (size, sql) = buckets.fit(schema, most);
        if size <= most {
            each(sql, &rows[..size])?;
            rows = &rows[size..];
        } else {
            let mut padded = rows[..most].to_vec();
            padded.resize(size, padded.last().unwrap_or(last).clone());
            each(sql, &padded)?;
            rows = &rows[most..];
        }
    }
    Ok(())
}

/// The keys as they stand in the table, each once and in an order that all callers share.
fn in_order(schema: &Schema, keys: &[Key]) -> Vec<Row> {
    let stored = keys.iter().map(|key| {
        let key = Mysql::stored_key(schema, key).into_owned();
        key.into_values().collect::<Row>()
    });
    let stored: Vec<Row> = stored.collect();
    let rows = stored.iter().map(Vec::as_slice).collect();
    sorted(0..schema.key.len(), rows).into_iter().map(<[Value]>::to_vec).collect()
}

pub(super) fn fetch_many<C: Conn<Mysql>>(
    connection: &mut C,
    statements: &Statements,
    keys: &[Key],
) -> QueryResult<Vec<Option<Row>>> {
    let schema = &statements.schema;
    let mut rows = RequestOrder::new(schema, keys);
    let (fetch, keys) = (&batches_of(statements)?.fetch, in_order(schema, keys));
    in_pieces(fetch, schema, &keys, <[Row]>::len, |sql, keys| {
        load::<Mysql>(connection, sql.with_rows(keys), &statements.types, |row| {
            rows.put(row);
            Ok(())
        })
    })?;
    Ok(rows.finish())
}

/// Writes rows, in a transaction where one statement does not hold them.
pub(super) fn put_all<C: Conn<Mysql>>(
    connection: &mut C,
    statements: &Statements,
    rows: &[Row],
) -> QueryResult<()> {
    let schema = &statements.schema;
    let rows = sorted(schema.key.iter().copied(), rows.iter().map(Vec::as_slice).collect());
    let rows: Vec<Row> = rows.into_iter().map(<[Value]>::to_vec).collect();
    write_pieces(connection, &batches_of(statements)?.set, schema, &rows)
}

/// Writes rows by a statement that has several sizes, in a transaction where one does not hold
/// them.
fn write_pieces<C: Conn<Mysql>>(
    connection: &mut C,
    write: &SizedStatement,
    schema: &Schema,
    rows: &[Row],
) -> QueryResult<()> {
    // The last row may be repeated.
    let bytes = max_packet(connection) / 3;
    let (size, _) = write.fit(schema, fitting(rows, bytes));
    let write = |connection: &mut C| {
        in_pieces(
            write,
            schema,
            rows,
            |rows| fitting(rows, bytes),
            |sql, rows| execute::<Mysql>(connection, sql.with_rows(rows)).map(drop),
        )
    };
    match size >= rows.len() {
        true => write(connection),
        false => transaction(connection, write),
    }
}

/// The largest statement of a connection: where it is not one of the pool's, what every server
/// takes.
fn max_packet<C: Conn<Mysql>>(connection: &C) -> usize {
    own(connection).map_or(1 << 20, |connection| connection.server().max_packet)
}

/// Whether it is known that MariaDB is at the other end.
fn is_mariadb<C: Conn<Mysql>>(connection: &C) -> bool {
    own(connection).is_some_and(|connection| connection.server().mariadb)
}

fn own<C: Conn<Mysql>>(connection: &C) -> Option<&MysqlConnection> {
    (connection as &dyn Any).downcast_ref()
}

/// How many of the rows go into a statement of so many bytes; at least one.
fn fitting(rows: &[Row], bytes: usize) -> usize {
    let mut left = bytes;
    let fit = rows.iter().take_while(|row| {
        let size: usize = row.iter().map(Value::size).sum();
        let fits = size <= left;
        left = left.saturating_sub(size);
        fits
    });
    fit.count().max(1)
}

/// Writes a row and gives the one that it replaced.
pub(super) fn update<C: Conn<Mysql>>(
    connection: &mut C,
    statements: &Statements,
    row: &Row,
) -> Result<Option<Row>, CallError> {
    let key = statements.schema.key_of(row);
    transaction(connection, |connection| match lock(connection, statements, key.values())? {
        Some(old) => put::<Mysql>(connection, statements, row).map(|()| Some(old)),
        None => put_new(connection, statements, row).map(|()| None),
    })
}

/// Writes a row whose key no other one has. Where another one came to have it meanwhile, it is to
/// be tried again.
fn put_new<C: Conn<Mysql>>(
    connection: &mut C,
    statements: &Statements,
    row: &Row,
) -> Result<(), CallError> {
    let mut filled = row.clone();
    statements.schema.fill_absent(&mut filled)?;
    match inserted(execute::<Mysql>(connection, statements.insert.with(&filled)))? {
        true => Ok(()),
        false => Err(CallError::Diesel(concurrent_change())),
    }
}

/// Whether rows were inserted; not where one of their keys has a row. Another index that allows a
/// value once is an error.
pub(super) fn inserted(result: QueryResult<usize>) -> QueryResult<bool> {
    use DatabaseErrorKind::UniqueViolation;
    match result {
        Err(DieselError::DatabaseError(UniqueViolation, info)) if is_of_the_key(&*info) => {
            Ok(false)
        }
        result => result.map(|_| true),
    }
}

/// Whether the primary key is what an error is about.
fn is_of_the_key(info: &dyn DatabaseErrorInformation) -> bool {
    info.constraint_name().is_none_or(|index| index == "PRIMARY" || index.ends_with(".PRIMARY"))
}

/// Inserts those rows whose keys have none, all or none. Gives the stored rows of the other keys.
/// A statement that meets one of these inserts nothing, and the rest is inserted by another one.
pub(super) fn insert_all<C: Conn<Mysql>>(
    connection: &mut C,
    statements: &Statements,
    keys: &[Key],
    rows: &[Row],
) -> Result<Vec<Option<Row>>, CallError> {
    insert_or_fetch::<Mysql, _>(connection, statements, keys, rows, |connection, pending| {
        let rows = pending.iter().map(|&at| rows[at].as_slice()).collect();
        Ok(match inserted(insert_new(connection, statements, rows))? {
            true => Vec::new(),
            false => pending.to_vec(),
        })
    })
}

/// Inserts rows, in a transaction where one statement does not hold them.
fn insert_new<C: Conn<Mysql>>(
    connection: &mut C,
    statements: &Statements,
    rows: Vec<&[Value]>,
) -> QueryResult<usize> {
    let (schema, insert) = (&statements.schema, &batches_of(statements)?.insert);
    let rows = sorted(schema.key.iter().copied(), rows);
    let rows: Vec<Row> = rows.into_iter().map(<[Value]>::to_vec).collect();
    write_pieces(connection, insert, schema, &rows)?;
    Ok(rows.len())
}

/// The row of a key, which nobody else changes until the transaction ends.
fn lock<C: Conn<Mysql>>(
    connection: &mut C,
    statements: &Statements,
    key: &[Value],
) -> QueryResult<Option<Row>> {
    let (_, sql) = batches_of(statements)?.lock.fit(&statements.schema, 1);
    find::<Mysql>(connection, sql.with(key), &statements.types)
}

/// Removes a row and gives it: in one statement where the engine can, else in a transaction. Of a
/// row that cannot be read the one statement says nothing, as if there were none: that one is
/// fetched, which says what is wrong with it.
pub(super) fn pop<C: Conn<Mysql>>(
    connection: &mut C,
    statements: &Statements,
    key: &Key,
) -> QueryResult<Option<Row>> {
    let schema = &statements.schema;
    let key = Mysql::stored_key(schema, key);
    if let (true, Some(condition)) = (is_mariadb(connection), readable(schema)) {
        let pop = statements.pop.with(key.values());
        let row = load_one::<Mysql>(connection, pop, &statements.types)?;
        if row.is_none() && !condition.is_empty() {
            find::<Mysql>(connection, statements.fetch.with(key.values()), &statements.types)?;
        }
        return Ok(row);
    }
    let (_, remove) = batches_of(statements)?.remove.fit(schema, 1);
    transaction(connection, |connection| {
        let row = lock(connection, statements, key.values())?;
        if row.is_some() {
            execute::<Mysql>(connection, remove.with(key.values()))?;
        }
        Ok(row)
    })
}

/// Removes rows and gives them: of a key that is asked twice the first gets the row.
pub(super) fn pop_many<C: Conn<Mysql>>(
    connection: &mut C,
    statements: &Statements,
    keys: &[Key],
) -> QueryResult<Vec<Option<Row>>> {
    let schema = &statements.schema;
    let batches = batches_of(statements)?;
    let stored = in_order(schema, keys);
    transaction(connection, |connection| {
        let mut rows = RequestOrder::new(schema, keys);
        in_pieces(&batches.lock, schema, &stored, <[Row]>::len, |sql, keys| {
            load::<Mysql>(connection, sql.with_rows(keys), &statements.types, |row| {
                rows.put(row);
                Ok(())
            })
        })?;
        in_pieces(&batches.remove, schema, &stored, <[Row]>::len, |sql, keys| {
            execute::<Mysql>(connection, sql.with_rows(keys)).map(drop)
        })?;
        Ok(rows.finish_first_only())
    })
}
