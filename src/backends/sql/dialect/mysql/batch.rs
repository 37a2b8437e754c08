//! The statements of MySQL and MariaDB, for one row and for many: in sizes that are fixed, so that
//! there are few of them to prepare.

use std::any::Any;

use diesel::QueryResult;
use diesel::mysql::Mysql;
use diesel::result::{DatabaseErrorInformation, DatabaseErrorKind, Error as DieselError};

use crate::backends::sql::connection::mysql::MysqlConnection;
use crate::backends::sql::dialect::keys::long_columns;
use crate::backends::sql::dialect::statements::{
    Batches, SizedStatement, Statements, columns, non_key, selected,
};
use crate::backends::sql::dialect::write::{insert_or_fetch, put};
use crate::backends::sql::dialect::{Dialect, transaction};
use crate::backends::sql::error::{CallError, concurrent_change};
use crate::backends::sql::statement::batch::{RequestOrder, sorted};
use crate::backends::sql::statement::{Conn, Sql, execute, find, load, load_one};
use crate::store::is_expired;
use crate::{Column, ColumnType, Key, Row, Schema, Value};

/// How many keys or rows a statement has.
const SIZES: [usize; 5] = [1, 4, 16, 64, 256];

/// The same where no row may be repeated to fill a statement.
const EXACT_SIZES: [usize; 9] = [1, 2, 4, 8, 16, 32, 64, 128, 256];

/// How many values a statement that writes has at the most. A server takes 65,535.
const MOST_VALUES: usize = 4096;

/// `INSERT` of so many rows, overwriting those that have their keys.
pub(super) fn upsert(schema: &Schema, rows: usize) -> Sql {
    on_duplicate(schema, rows, |sql, column| {
        let name = Mysql::quote(&column.name);
        // The row alias that MySQL has in place of it is unknown to MariaDB.
        sql.text(&format!("{name} = VALUES({name})"))
    })
}

/// `INSERT` of a row, overwriting the columns that are given.
pub(super) fn merge(schema: &Schema) -> Sql {
    on_duplicate(schema, 1, |sql, column| {
        let name = Mysql::quote(&column.name);
        sql.text(&format!("{name} = IF("))
            .bind(ColumnType::Bool)
            .text(&format!(", VALUES({name}), {name})"))
    })
}

/// `INSERT` of so many rows.
pub(super) fn insert(schema: &Schema, rows: usize) -> Sql {
    let table = Mysql::quote(&schema.table);
    let mut names = columns::<Mysql>(&schema.columns);
    for long in long_columns::<Mysql>(schema) {
        names.push_str(", ");
        names.push_str(&Mysql::quote(&long.whole));
    }
    let types: Vec<_> = schema.columns.iter().map(|column| column.ty).collect();
    let wholes: Vec<_> = long_columns::<Mysql>(schema).map(|long| long.column.ty).collect();
    Sql::new(format!("INSERT INTO {table} ({names}) VALUES ")).list(", ", 0..rows, |sql, _| {
        sql.text("(").list(", ", types.iter().chain(&wholes), |sql, ty| sql.bind(*ty)).text(")")
    })
}

/// The same, changing the row that has the key by what `change` says of each column that is not
/// unique.
fn on_duplicate(schema: &Schema, rows: usize, change: impl Fn(Sql, &Column) -> Sql) -> Sql {
    let sql = insert(schema, rows).text(" ON DUPLICATE KEY UPDATE ");
    match (non_key(schema).next(), schema.key_columns().next()) {
        // There is nothing to change.
        (None, Some(key)) => {
            let (table, name) = (Mysql::quote(&schema.table), Mysql::quote(&key.name));
            sql.text(&format!("{name} = {table}.{name}"))
        }
        _ => sql.list(", ", non_key(schema), change),
    }
}

/// The condition that the key is one of so many. One column is compared as it is, several as rows.
fn one_of(sql: Sql, schema: &Schema, keys: usize) -> Sql {
    let names = columns::<Mysql>(schema.key_columns());
    let types: Vec<_> = schema.key_columns().map(|column| column.ty).collect();
    // In a list MySQL compares a time without microseconds with none that has them.
    let part = |sql: Sql, ty| match ty {
        ColumnType::Time => sql.text("CAST(").bind(ty).text(" AS TIME(6))"),
        ty => sql.bind(ty),
    };
    let one = |sql: Sql| match types[..] {
        [ty] => part(sql, ty),
        _ => sql.text("(").list(", ", &types, |sql, ty| part(sql, *ty)).text(")"),
    };
    let names = if types.len() == 1 { names } else { format!("({names})") };
    sql.text(&format!("{names} IN (")).list(", ", 0..keys, |sql, _| one(sql)).text(")")
}

fn select(schema: &Schema, keys: usize) -> Sql {
    let (table, all) = (Mysql::quote(&schema.table), selected::<Mysql>(schema, &schema.columns));
    one_of(Sql::new(format!("SELECT {all} FROM {table} WHERE ")), schema, keys)
}

fn remove(schema: &Schema, keys: usize) -> Sql {
    let table = Mysql::quote(&schema.table);
    one_of(Sql::new(format!("DELETE FROM {table} WHERE ")), schema, keys)
}

fn remove_expired_keys(schema: &Schema, keys: usize) -> Sql {
    let expiry = schema.expiry_column().map(|column| Mysql::quote(&schema.columns[column].name));
    remove(schema, keys)
        .text(&format!(" AND {} <= ", expiry.unwrap_or_default()))
        .bind(ColumnType::Timestamp)
}

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

pub(super) fn batches(schema: &Schema) -> Batches {
    let width = schema.columns.len() + long_columns::<Mysql>(schema).count();
    let writes = |size: &usize| *size == 1 || size * width <= MOST_VALUES;
    Batches {
        fetch: SizedStatement::new(SIZES, select),
        lock: SizedStatement::new(SIZES, |schema, keys| select(schema, keys).text(" FOR UPDATE")),
        remove: SizedStatement::new(SIZES, remove),
        remove_expired: SizedStatement::new(SIZES, remove_expired_keys),
        set: SizedStatement::new(SIZES.into_iter().filter(writes), upsert),
        insert: SizedStatement::exact(EXACT_SIZES.into_iter().filter(writes), insert),
    }
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

/// The condition, after that of the key, that a row can be read, where one is needed: another
/// program may have stored what hilcat never would. None where no condition says it.
pub(super) fn readable(schema: &Schema) -> Option<String> {
    let of = |column: &Column| {
        let name = Mysql::quote(&column.name);
        let condition = match column.ty {
            // Integers beyond 64 bits.
            ColumnType::Json => return None,
            ColumnType::Bool => format!("{name} IN (0, 1)"),
            ColumnType::Date | ColumnType::Timestamp => format!("{name} >= '0001-01-01'"),
            ColumnType::Time => format!("{name} BETWEEN '00:00:00' AND '23:59:59.999999'"),
            _ => return Some(String::new()),
        };
        Some(format!(" AND ({condition}) IS NOT FALSE"))
    };
    schema.columns.iter().map(of).collect()
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
