//! MySQL and MariaDB: calls on several rows.

use std::any::Any;

use diesel::QueryResult;
use diesel::mysql::Mysql;
use diesel::result::{DatabaseErrorInformation, DatabaseErrorKind, Error as DieselError};

use super::statement_text::readable;
use crate::backends::sql::connection::mysql::MysqlConnection;
use crate::backends::sql::dialect::sized::{Batches, SizedStatement};
use crate::backends::sql::dialect::statements::Statements;
use crate::backends::sql::dialect::write::{insert_or_fetch, put};
use crate::backends::sql::dialect::{StatementText, transaction};
use crate::backends::sql::error::{CallError, concurrent_change};
use crate::backends::sql::statement::batch::{RequestOrder, sorted};
use crate::backends::sql::statement::{Conn, Sql, execute, find, load, load_one};
use crate::store::is_expired;
use crate::{Key, Row, Schema, Value};

/// Inserts complete rows whose keys have no row or an expired one. Returns the stored rows of the
/// other keys. An expired row is removed only if it is still expired, and the new row is inserted
/// only if its key has no row then.
pub(super) fn replace_expired<C: Conn<Mysql>>(
    connection: &mut C,
    statements: &Statements,
    keys: &[Key],
    rows: &[Row],
    at: i64,
) -> Result<Vec<Option<Row>>, CallError> {
    let mut stored = insert_all(connection, statements, keys, rows)?;
    let is_expired_at =
        |row: &Option<Row>| row.as_ref().is_some_and(|row| is_expired(&statements.schema, row, at));
    let again: Vec<usize> =
        (0..rows.len()).filter(|&place| is_expired_at(&stored[place])).collect();
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

/// Removes the expired rows of keys.
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

/// Runs `each` with a statement and its rows until no rows are left. Pads a statement by repeating the
/// last row.
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

/// Returns the distinct stored keys in an order that all callers share, which prevents deadlocks.
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

/// Writes rows, in a transaction if they need several statements.
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

/// Writes rows with statements of fixed sizes, in a transaction if several are needed.
fn write_pieces<C: Conn<Mysql>>(
    connection: &mut C,
    write: &SizedStatement,
    schema: &Schema,
    rows: &[Row],
) -> QueryResult<()> {
    // Leaves room for padding.
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

/// Returns the maximum size of a statement, which is the minimum of all servers for a connection that
/// is not of the pool.
fn max_packet<C: Conn<Mysql>>(connection: &C) -> usize {
    own(connection).map_or(1 << 20, |connection| connection.server().max_packet)
}

/// Returns whether the server is known to be MariaDB.
fn is_mariadb<C: Conn<Mysql>>(connection: &C) -> bool {
    own(connection).is_some_and(|connection| connection.server().mariadb)
}

fn own<C: Conn<Mysql>>(connection: &C) -> Option<&MysqlConnection> {
    (connection as &dyn Any).downcast_ref()
}

/// Returns the number of rows that fit a statement of a size in bytes; at least one.
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

/// Writes a row, and returns the row that it replaced.
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

/// Inserts a row whose key has none. Returns a conflict if it has one meanwhile.
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

/// Returns whether rows were inserted: not if one of their keys has a row. The violation of another
/// unique index is an error.
pub(super) fn inserted(result: QueryResult<usize>) -> QueryResult<bool> {
    use DatabaseErrorKind::UniqueViolation;
    match result {
        Err(DieselError::DatabaseError(UniqueViolation, info)) if is_of_the_key(&*info) => {
            Ok(false)
        }
        result => result.map(|_| true),
    }
}

/// Returns whether an error refers to the primary key.
fn is_of_the_key(info: &dyn DatabaseErrorInformation) -> bool {
    info.constraint_name().is_none_or(|index| index == "PRIMARY" || index.ends_with(".PRIMARY"))
}

/// Inserts the rows whose keys have none, atomically. Returns the stored rows of the other keys. If a
/// key has a row, the statement inserts nothing, and another inserts the remaining rows.
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

/// Inserts rows, in a transaction if they need several statements.
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

/// Returns the row of a key, locked until the transaction ends.
fn lock<C: Conn<Mysql>>(
    connection: &mut C,
    statements: &Statements,
    key: &[Value],
) -> QueryResult<Option<Row>> {
    let (_, sql) = batches_of(statements)?.lock.fit(&statements.schema, 1);
    find::<Mysql>(connection, sql.with(key), &statements.types)
}

/// Removes and returns a row, in one statement if the engine supports it, otherwise in a transaction.
/// The one statement skips a row that cannot be decoded. It is then fetched, which reports the error.
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

/// Removes and returns rows. The first of several equal keys gets the row.
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
