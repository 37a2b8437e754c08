//! Writing and removing one row.

use diesel::QueryResult;

use super::render::{Statements, non_key};
use crate::backends::sql::dialect::Dialect;
use crate::backends::sql::error::{CallError, concurrent_change};
use crate::backends::sql::statement::{Conn, Sql, Statement, execute, find, load_one};
use crate::store::is_live;
use crate::{Error, ErrorKind, Key, Row, Schema, Value};

/// How a row is written.
pub(crate) struct Writing {
    pub(crate) how: How,
    /// The values of the statement; those of the row itself where it is complete.
    pub(crate) values: Option<Row>,
    /// Why a new record cannot be made of it, where it cannot.
    pub(crate) incomplete: Option<Error>,
}

/// Which statement writes a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum How {
    Set,
    Merge,
    Patch,
}

impl Writing {
    /// Where what is absent has a default or can be NULL, a new record can be made of a row; else
    /// only the record that there is can be changed.
    pub(crate) fn of(statements: &Statements, row: &Row) -> Self {
        if !row.iter().any(Value::is_absent) {
            return Self { how: How::Set, values: None, incomplete: None };
        }
        let schema = &statements.schema;
        let columns = row.iter().take(schema.columns.len()).enumerate();
        let non_key = columns.filter(|(at, _)| !schema.is_key(*at));
        let given = non_key.map(|(_, value)| (Value::Bool(!value.is_absent()), value));
        let mut filled = row.clone();
        match schema.fill_absent(&mut filled) {
            Ok(()) => {
                filled.extend(given.map(|(given, _)| given));
                Self { how: How::Merge, values: Some(filled), incomplete: None }
            }
            Err(incomplete) => {
                let changes = given.flat_map(|(given, value)| [given, value.clone()]);
                let values = changes.chain(schema.key_of(row).into_values()).collect();
                Self { how: How::Patch, values: Some(values), incomplete: Some(incomplete) }
            }
        }
    }

    fn statement<'a>(&self, statements: &'a Statements) -> &'a Sql {
        match self.how {
            How::Set => &statements.set,
            How::Merge => &statements.merge,
            How::Patch => &statements.patch,
        }
    }
}

/// Writes a row, complete or not.
pub(crate) fn put<D: Dialect>(
    connection: &mut impl Conn<D>,
    statements: &Statements,
    row: &Row,
) -> Result<(), CallError> {
    let writing = Writing::of(statements, row);
    let values = writing.values.as_ref().unwrap_or(row);
    let written = execute::<D>(connection, writing.statement(statements).with(values))?;
    match writing.incomplete {
        Some(incomplete) if written == 0 => Err(CallError::Hilcat(incomplete)),
        _ => check_written(&statements.schema, written, 1),
    }
}

/// Checks that a statement stored so many records. One that only has unique columns is not written
/// where it is stored already.
pub(crate) fn check_written(
    schema: &Schema,
    written: usize,
    records: usize,
) -> Result<(), CallError> {
    match written < records && non_key(schema).next().is_some() {
        true => Err(CallError::Hilcat(suppressed(schema, written, records))),
        false => Ok(()),
    }
}

/// The error of a statement that the database accepted and did not carry out.
pub(crate) fn suppressed(schema: &Schema, written: usize, records: usize) -> Error {
    match written {
        0 => not_done(schema, "stored nothing"),
        written => not_done(schema, &format!("stored {written} of {records} records")),
    }
}

/// The error of a removal that the database accepted and that left records where they are; it is
/// undone.
pub(crate) fn kept(schema: &Schema) -> Error {
    not_done(schema, KEPT)
}

const KEPT: &str = "kept what it was to remove";

/// Whether an error is that of a removal which left records where they are.
pub(crate) fn is_kept(error: &Error) -> bool {
    error.kind() == ErrorKind::Backend && error.message().contains(KEPT)
}

fn not_done(schema: &Schema, what: &str) -> Error {
    Error::new(
        ErrorKind::Backend,
        format!(
            "the database accepted the statement and {what}: look for a trigger, a rule or row-level security on the table `{}` that suppresses it",
            schema.table
        ),
    )
}

/// Why a row was not written though its key has no record that the statement saw. That another
/// call wrote it at the same time is what a fetch shows, or that the plain statement would write it
/// now; it is undone in any case.
pub(crate) fn why_nothing<D: Dialect, C: Conn<D>>(
    connection: &mut C,
    statements: &Statements,
    key: &Key,
    statement: Statement<'_>,
) -> CallError {
    let schema = &statements.schema;
    let fetch = statements.fetch.with(key.values());
    match find::<D>(connection, fetch, &statements.types) {
        Err(error) => return CallError::Diesel(error),
        Ok(None) if non_key(schema).next().is_some() => {}
        Ok(_) => return CallError::Diesel(concurrent_change()),
    }
    let tried: Result<(), CallError> = D::write_transaction(connection, |connection| {
        Err(match execute::<D>(connection, statement)? {
            0 => CallError::Hilcat(suppressed(schema, 0, 1)),
            _ => CallError::Diesel(concurrent_change()),
        })
    });
    tried.err().unwrap_or_else(|| CallError::Diesel(concurrent_change()))
}

/// How often keys that had a row when it was to be inserted, and none when that was fetched, are
/// tried again on the connection that found it.
const ROUNDS: usize = 8;

/// Inserts rows by `insert`, which is given the positions of those that are pending and gives the
/// positions of those that it did not insert. Fetches what is stored under the keys of these; where
/// that was removed meanwhile, they are pending again. The keys are those of the rows.
pub(crate) fn insert_or_fetch<D: Dialect, C: Conn<D>>(
    connection: &mut C,
    statements: &Statements,
    keys: &[Key],
    rows: &[Row],
    mut insert: impl FnMut(&mut C, &[usize]) -> Result<Vec<usize>, CallError>,
) -> Result<Vec<Option<Row>>, CallError> {
    let mut stored = vec![None; keys.len()];
    let mut pending: Vec<usize> = (0..keys.len()).collect();
    for _ in 0..ROUNDS {
        pending = insert(connection, &pending)?;
        if !pending.is_empty() {
            let wanted: Vec<Key> = pending.iter().map(|&at| keys[at].clone()).collect();
            let found = D::fetch_many(connection, statements, &wanted)?;
            pending.iter().zip(found).for_each(|(&at, row)| stored[at] = row);
            pending.retain(|&at| stored[at].is_none());
        }
        if pending.is_empty() {
            return Ok(stored);
        }
    }
    let row = &rows[pending[0]];
    let (key, set) = (statements.schema.key_of(row), statements.set.with(row));
    Err(why_nothing::<D, _>(connection, statements, &key, set))
}

/// Removes a row and gives it.
pub(crate) fn pop<D: Dialect>(
    connection: &mut impl Conn<D>,
    statements: &Statements,
    key: &Key,
) -> QueryResult<Option<Row>> {
    load_one::<D>(connection, statements.pop.with(key.values()), &statements.types)
}

/// Stores a complete row unless its key has one that is not expired at a time, and gives that.
///
/// The statement that overwrites a record also checks it, so that of several calls for one key one
/// stores, and none removes what was written meanwhile.
pub(crate) fn replace_expired<D: Dialect, C: Conn<D>>(
    connection: &mut C,
    statements: &Statements,
    key: &Key,
    row: &Row,
    at: i64,
) -> Result<Option<Row>, CallError> {
    let Some(expiring) = &statements.expiring else { return Err(CallError::Hilcat(no_expiry())) };
    let schema = &statements.schema;
    let time = [Value::Timestamp(at)];
    let stored_key = D::stored_key(schema, key);
    for _ in 0..ROUNDS {
        let stored = match &expiring.replace {
            Some(replace) => execute::<D>(connection, replace.with_both(row, &time))? > 0,
            None => {
                D::insert_one(connection, statements, row)? || {
                    let columns = schema.columns.iter().enumerate();
                    let columns = columns.filter(|(at, _)| !schema.is_key(*at));
                    let values = columns.map(|(at, _)| row[at].clone());
                    let values = values.chain(stored_key.values().iter().cloned());
                    let values: Row = values.chain(time.iter().cloned()).collect();
                    execute::<D>(connection, expiring.overwrite.with(&values))? > 0
                }
            }
        };
        if stored {
            return Ok(None);
        }
        let fetch = statements.fetch.with(stored_key.values());
        let found = find::<D>(connection, fetch, &statements.types)?;
        // One that is expired by now, or was removed, is tried again.
        if let Some(found) = found.filter(|found| is_live(schema, found, at)) {
            return Ok(Some(found));
        }
    }
    Err(why_nothing::<D, _>(connection, statements, &stored_key, statements.set.with(row)))
}

/// Removes the row of a key if it is expired at a time.
pub(crate) fn remove_expired<D: Dialect, C: Conn<D>>(
    connection: &mut C,
    statements: &Statements,
    key: &Key,
    at: i64,
) -> Result<(), CallError> {
    let Some(expiring) = &statements.expiring else { return Err(CallError::Hilcat(no_expiry())) };
    let key = D::stored_key(&statements.schema, key);
    execute::<D>(connection, expiring.remove.with_both(key.values(), &[Value::Timestamp(at)]))?;
    Ok(())
}

/// The error of a call that is about the expiry of records that have none.
pub(crate) fn no_expiry() -> Error {
    Error::unsupported("the records of the scope carry no expiry")
}
