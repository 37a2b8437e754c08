//! Default implementations of the methods for expired records, by the other methods of a store.

use super::ScopeStore;
use crate::{Error, Key, Result, Row, Schema, Value};

/// How a backend supports the expiry of records.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
#[non_exhaustive]
pub enum ExpirySupport {
    /// Records cannot expire.
    #[default]
    Unsupported,
    /// The backend removes expired records itself, but records have no place for their expiry. There
    /// is a time to live, and no record can be served stale.
    Removal,
    /// Records have no place for an expiry of hilcat's own, but a column of the scope can hold it.
    ByColumn,
    /// Records hold their expiry.
    Full,
}

/// Returns whether a stored row is expired at a time.
pub(crate) fn is_expired(schema: &Schema, row: &Row, at: i64) -> bool {
    let expiry = schema.expiry_column().map(|column| &row[column]);
    matches!(expiry, Some(Value::Timestamp(expires)) if *expires <= at)
}

/// Returns the opposite of [`is_expired`].
pub(crate) fn is_live(schema: &Schema, row: &Row, at: i64) -> bool {
    !is_expired(schema, row, at)
}

pub(super) fn unsupported() -> Error {
    Error::unsupported("the backend keeps no expiry of records")
}

pub(super) fn replace_expired<S: ScopeStore + ?Sized>(
    store: &S,
    rows: Vec<Row>,
    at: i64,
) -> Result<Vec<Option<Row>>> {
    let mut stored = store.insert_many(rows.clone())?;
    let schema = store.schema().clone();
    let expired = |row: &Option<Row>| row.as_ref().is_some_and(|row| is_expired(&schema, row, at));
    let (places, again): (Vec<usize>, Vec<Row>) =
        (rows.into_iter().enumerate()).filter(|(place, _)| expired(&stored[*place])).unzip();
    if again.is_empty() {
        return Ok(stored);
    }
    let keys: Vec<Key> = again.iter().map(|row| schema.key_of(row)).collect();
    store.remove_expired(&keys, at)?;
    for (place, row) in places.into_iter().zip(store.insert_many(again)?) {
        stored[place] = row;
    }
    Ok(stored)
}

pub(super) fn replace_unchanged<S: ScopeStore + ?Sized>(
    store: &S,
    old: Option<&Row>,
    row: Row,
) -> Result<bool> {
    let Some(old) = old else { return Ok(store.insert(row)?.is_none()) };
    let unchanged = store.fetch(&store.schema().key_of(&row))?.as_ref() == Some(old);
    if unchanged {
        store.set(row)?;
    }
    Ok(unchanged)
}

pub(super) fn purge<S: ScopeStore + ?Sized>(store: &S, before: i64, limit: usize) -> Result<usize> {
    let schema = store.schema().clone();
    let mut keys = Vec::new();
    for row in store.rows()? {
        let row = row?;
        if is_expired(&schema, &row, before) {
            keys.push(schema.key_of(&row));
        }
        if keys.len() == limit {
            break;
        }
    }
    store.remove_expired(&keys, before)?;
    Ok(keys.len())
}
