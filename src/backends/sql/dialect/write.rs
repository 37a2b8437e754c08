//! Writing and removing one row.

use diesel::QueryResult;

use super::statements::{Statements, non_key};
use crate::backends::sql::dialect::Dialect;
use crate::backends::sql::error::{CallError, concurrent_change};
use crate::backends::sql::statement::{Conn, Sql, Statement, execute, find, load_one};
use crate::store::is_live;
use crate::{Error, ErrorKind, Key, Row, Schema, Value};

/// The statement that writes a row, with its values.
pub(crate) struct RowWrite {
    pub(crate) mode: WriteMode,
    /// The values of the statement. `None` means the row itself, which is complete.
    pub(crate) values: Option<Row>,
    /// Why the row cannot become a new record, if it cannot.
    pub(crate) incomplete: Option<Error>,
}

/// The statement that writes a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum WriteMode {
    /// Overwrites or inserts a complete row.
    Set,
    /// Overwrites the given columns, or inserts the row with the defaults of the others.
    Merge,
    /// Overwrites the given columns of an existing record.
    Patch,
}

impl RowWrite {
    /// Chooses the statement for a row. If every absent column has a default or is nullable, the row
    /// can become a new record; otherwise it can only change an existing one.
    pub(crate) fn new(statements: &Statements, row: &Row) -> Self {
        if !row.iter().any(Value::is_absent) {
            return Self { mode: WriteMode::Set, values: None, incomplete: None };
        }
        let schema = &statements.schema;
        let columns = row.iter().take(schema.columns.len()).enumerate();
        let non_key = columns.filter(|(at, _)| !schema.is_key(*at));
        let given = non_key.map(|(_, value)| (Value::Bool(!value.is_absent()), value));
        let mut filled = row.clone();
        match schema.fill_absent(&mut filled) {
            Ok(()) => {
                filled.extend(given.map(|(given, _)| given));
                Self { mode: WriteMode::Merge, values: Some(filled), incomplete: None }
            }
            Err(incomplete) => {
                let changes = given.flat_map(|(given, value)| [given, value.clone()]);
                let values = changes.chain(schema.key_of(row).into_values()).collect();
                Self { mode: WriteMode::Patch, values: Some(values), incomplete: Some(incomplete) }
            }
        }
    }

    fn statement<'a>(&self, statements: &'a Statements) -> &'a Sql {
        match self.mode {
            WriteMode::Set => &statements.set,
            WriteMode::Merge => &statements.merge,
            WriteMode::Patch => &statements.patch,
        }
    }
}

/// Writes a row, complete or not.
pub(crate) fn put<D: Dialect>(
    connection: &mut impl Conn<D>,
    statements: &Statements,
    row: &Row,
) -> Result<(), CallError> {
    let write = RowWrite::new(statements, row);
    let values = write.values.as_ref().unwrap_or(row);
    let written = execute::<D>(connection, write.statement(statements).with(values))?;
    match write.incomplete {
        Some(incomplete) if written == 0 => Err(CallError::Hilcat(incomplete)),
        _ => check_written(&statements.schema, written, 1),
    }
}

/// Checks that a statement stored this many records. A record that has only key columns is not
/// written if it exists.
pub(crate) fn check_written(
    schema: &Schema,
    written: usize,
    records: usize,
) -> Result<(), CallError> {
    match written < records && non_key(schema).next().is_some() {
        true => Err(CallError::Hilcat(write_suppressed(schema, written, records))),
        false => Ok(()),
    }
}

/// The error for a write that the database accepted but did not carry out.
pub(crate) fn write_suppressed(schema: &Schema, written: usize, records: usize) -> Error {
    match written {
        0 => suppressed(schema, "stored nothing"),
        written => suppressed(schema, &format!("stored {written} of {records} records")),
    }
}

/// The error for a removal that the database accepted but that left records in place. The
/// transaction is rolled back.
#[cfg(any(feature = "sqlite", feature = "postgresql"))]
pub(crate) fn removal_suppressed(schema: &Schema) -> Error {
    suppressed(schema, KEPT)
}

const KEPT: &str = "kept records that it was to remove";

/// Returns whether an error is that of [`removal_suppressed`].
pub(crate) fn is_removal_suppressed(error: &Error) -> bool {
    error.kind() == ErrorKind::Backend && error.message().contains(KEPT)
}

fn suppressed(schema: &Schema, what: &str) -> Error {
    Error::new(
        ErrorKind::Backend,
        format!(
            "the database accepted the statement and {what}: look for a trigger, a rule or row-level security on the table `{}` that suppresses it",
            schema.table
        ),
    )
}

/// Returns why a row was not written although the statement saw no record of its key.
///
/// The cause is a concurrent write if a fetch now finds a record, or if `statement`, which is rolled
/// back, would now write the row. Otherwise the database suppresses the write.
pub(crate) fn explain_unwritten<D: Dialect, C: Conn<D>>(
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
            0 => CallError::Hilcat(write_suppressed(schema, 0, 1)),
            _ => CallError::Diesel(concurrent_change()),
        })
    });
    tried.err().unwrap_or_else(|| CallError::Diesel(concurrent_change()))
}

/// How many times an insert is attempted on one connection for keys whose record prevented the
/// insert and was removed before it was fetched.
const MAX_ROUNDS: usize = 8;

/// Inserts rows by `insert`, and returns the existing records of the keys that have one. `keys` are
/// the keys of the rows.
///
/// `insert` receives the positions of pending rows and returns those that it did not insert. The
/// records of these are fetched. A row whose record was removed before that is pending again.
#[cfg(feature = "server")]
pub(crate) fn insert_or_fetch<D: Dialect, C: Conn<D>>(
    connection: &mut C,
    statements: &Statements,
    keys: &[Key],
    rows: &[Row],
    mut insert: impl FnMut(&mut C, &[usize]) -> Result<Vec<usize>, CallError>,
) -> Result<Vec<Option<Row>>, CallError> {
    let mut stored = vec![None; keys.len()];
    let mut pending: Vec<usize> = (0..keys.len()).collect();
    for _ in 0..MAX_ROUNDS {
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
    Err(explain_unwritten::<D, _>(connection, statements, &key, set))
}

/// Removes a row and returns it.
pub(crate) fn pop<D: Dialect>(
    connection: &mut impl Conn<D>,
    statements: &Statements,
    key: &Key,
) -> QueryResult<Option<Row>> {
    load_one::<D>(connection, statements.pop.with(key.values()), &statements.types)
}

/// Stores a complete row unless its key has a record that is not expired at the time `at`, and
/// returns that record.
///
/// The statement that overwrites a record also checks its expiry. So of several concurrent calls for
/// a key exactly one stores its row, and none overwrites a newer record.
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
    for _ in 0..MAX_ROUNDS {
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
        // A record that has expired meanwhile, or was removed, leads to another round.
        if let Some(found) = found.filter(|found| is_live(schema, found, at)) {
            return Ok(Some(found));
        }
    }
    Err(explain_unwritten::<D, _>(connection, statements, &stored_key, statements.set.with(row)))
}

/// Removes the row of a key if it is expired at the time `at`.
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

/// The error for an operation on the expiry of records that do not expire.
pub(crate) fn no_expiry() -> Error {
    Error::unsupported(
        "the records of the scope have no expiry; give the scope a `ttl` or `expires_at`",
    )
}
