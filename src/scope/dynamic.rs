//! The handle on a scope that is known only at run time.

use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value as Json;

use super::json_rows::{key_json, row_of, value_json};
use super::{Core, Entry};
use crate::{DynKey, Error, Key, Result, Row, Schema};

/// A scope whose records are JSON, for schemas known only at run time. Cheap to clone.
///
/// The value of a record is an object of the declared columns. With one declared column that is not
/// unique, it is the value of that column (see [`Shape`](crate::Shape)). `set` with some of the
/// columns keeps the stored values of the others.
///
/// ```
/// use hilcat::{Cache, Schemas};
/// use serde_json::json;
///
/// let schemas = Schemas::from_str("
///     [scopes.a]
///     unique_column = 'id'
///     columns = ['id', 'name', 'count']
///     column_types = { count = 'int' }
/// ")?;
/// let cache = Cache::builder("memory:").schemas(schemas).open()?;
/// let a = cache.dynamic("a")?;
/// a.set("a1", json!({"name": "jii", "count": 1}))?;
/// a.set("a1", json!({"count": 2}))?;
/// assert_eq!(a.fetch("a1")?, Some(json!({"id": "a1", "name": "jii", "count": 2})));
/// # Ok::<(), hilcat::Error>(())
/// ```
#[derive(Clone)]
pub struct DynScope {
    pub(super) core: Arc<Core>,
}

impl fmt::Debug for DynScope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DynScope").field("name", &self.core.schema.name).finish_non_exhaustive()
    }
}

impl DynScope {
    pub(crate) fn new(core: Arc<Core>) -> Self {
        Self { core }
    }

    /// Returns the schema of the scope.
    pub fn schema(&self) -> &Schema {
        &self.core.schema
    }

    /// Returns whether there is a record for the key.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidInput`](crate::ErrorKind::InvalidInput) if the key does not match the
    /// key columns (for every method with a key), and any error of the backend.
    #[doc(alias = "contains_key")]
    pub fn exists(&self, key: impl DynKey) -> Result<bool> {
        self.core.exists(self.key(key))
    }

    /// Returns the record of the key, or `None` if there is none.
    ///
    /// # Errors
    ///
    /// As [`Scope::fetch`](crate::Scope::fetch).
    #[doc(alias = "get")]
    pub fn fetch(&self, key: impl DynKey) -> Result<Option<Json>> {
        self.json_or_none(self.core.fetch(self.key(key))?)
    }

    /// Returns the records of the keys, in their order.
    ///
    /// # Errors
    ///
    /// As [`Scope::fetch`](crate::Scope::fetch).
    pub fn fetch_many<K: DynKey>(
        &self,
        keys: impl IntoIterator<Item = K>,
    ) -> Result<Vec<Option<Json>>> {
        let rows = self.core.fetch_many(self.key_list(keys))?;
        rows.into_iter().map(|row| self.json_or_none(row)).collect()
    }

    /// Inserts or overwrites a record. Columns that the value does not name keep their stored
    /// values, or have their default in a new record.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidInput`](crate::ErrorKind::InvalidInput), naming the column, if a value
    /// is outside its column's type, a column is not declared, or a key column of the value
    /// contradicts the key. Otherwise as [`Scope::set`](crate::Scope::set).
    #[doc(alias("insert", "put"))]
    pub fn set(&self, key: impl DynKey, value: Json) -> Result<()> {
        self.core.set(self.row(key, value), None)
    }

    /// Like [`Scope::set_with_ttl`](super::Scope::set_with_ttl).
    ///
    /// # Errors
    ///
    /// As [`Scope::set_with_ttl`](super::Scope::set_with_ttl).
    pub fn set_with_ttl(&self, key: impl DynKey, value: Json, ttl: Duration) -> Result<()> {
        self.core.set(self.row(key, value), Some(ttl))
    }

    /// Like [`set_many`](DynScope::set_many), with a time to live that replaces the scope's `ttl`.
    ///
    /// # Errors
    ///
    /// As [`Scope::set_many_with_ttl`](super::Scope::set_many_with_ttl).
    pub fn set_many_with_ttl<K: DynKey>(
        &self,
        entries: impl IntoIterator<Item = (K, Json)>,
        ttl: Duration,
    ) -> Result<usize> {
        let rows = entries.into_iter().map(|(key, value)| self.row(key, value));
        self.core.set_many(rows, Some(ttl))
    }

    /// Like [`Scope::touch`](super::Scope::touch).
    ///
    /// # Errors
    ///
    /// As [`Scope::touch`](super::Scope::touch).
    pub fn touch(&self, key: impl DynKey) -> Result<bool> {
        self.core.touch(self.key(key))
    }

    /// Like [`Scope::entry`](super::Scope::entry).
    ///
    /// # Errors
    ///
    /// As [`Scope::entry`](super::Scope::entry).
    pub fn entry(&self, key: impl DynKey) -> Result<Option<Entry<Json>>> {
        let entry = self.core.entry(self.key(key))?;
        entry.map(|entry| Entry::read(entry, |row| self.json(row))).transpose()
    }

    /// Like [`Scope::purge`](super::Scope::purge).
    ///
    /// # Errors
    ///
    /// As [`Scope::purge`](super::Scope::purge).
    pub fn purge(&self) -> Result<u64> {
        self.core.purge()
    }

    /// Like [`Scope::get_optional`](super::Scope::get_optional).
    ///
    /// # Errors
    ///
    /// As [`Scope::get_optional`](super::Scope::get_optional).
    pub fn get_optional(
        &self,
        key: impl DynKey,
        compute: impl FnOnce() -> Option<Json>,
    ) -> Result<Option<Json>> {
        let key = self.key(key)?;
        let computed = || compute().map(|value| self.new_row(key.clone(), value)).transpose();
        self.json_or_none(self.core.get_optional(Ok(key.clone()), computed)?)
    }

    /// Like [`Scope::refresh`](super::Scope::refresh).
    ///
    /// # Errors
    ///
    /// As [`Scope::refresh`](super::Scope::refresh).
    pub fn refresh(&self, key: impl DynKey, compute: impl FnOnce() -> Json) -> Result<Json> {
        let key = self.key(key)?;
        self.json(self.core.refresh(Ok(key.clone()), || self.new_row(key, compute()))?)
    }

    /// Like [`Scope::get_in_background`](super::Scope::get_in_background).
    ///
    /// # Errors
    ///
    /// As [`Scope::get_in_background`](super::Scope::get_in_background).
    pub fn get_in_background(
        &self,
        key: impl DynKey,
        compute: impl FnOnce() -> Json + Send + 'static,
    ) -> Result<Json> {
        let key = self.key(key)?;
        let (scope, owned) = (self.clone(), key.clone());
        self.json(self.core.get_in_background(Ok(owned), move || scope.new_row(key, compute()))?)
    }

    /// Inserts or overwrites records atomically, and returns the number of entries. The last entry
    /// of a key applies.
    ///
    /// # Errors
    ///
    /// As [`set`](DynScope::set).
    pub fn set_many<K: DynKey>(
        &self,
        entries: impl IntoIterator<Item = (K, Json)>,
    ) -> Result<usize> {
        self.core.set_many(entries.into_iter().map(|(key, value)| self.row(key, value)), None)
    }

    /// Inserts or overwrites a record, and returns the replaced one, if any.
    ///
    /// # Errors
    ///
    /// As [`set`](DynScope::set).
    #[doc(alias = "replace")]
    pub fn update(&self, key: impl DynKey, value: Json) -> Result<Option<Json>> {
        self.json_or_none(self.core.update(self.row(key, value))?)
    }

    /// Returns the stored record, or computes and stores it. Concurrent callers compute once.
    ///
    /// # Errors
    ///
    /// As [`Scope::get`](crate::Scope::get).
    #[doc(alias("get_with", "get_or_insert_with"))]
    pub fn get(&self, key: impl DynKey, compute: impl FnOnce() -> Json) -> Result<Json> {
        let key = self.key(key)?;
        self.json(self.core.get(Ok(key.clone()), || self.new_row(key, compute()))?)
    }

    /// Like [`get`](DynScope::get), for a fallible computation. If it fails, nothing is stored.
    ///
    /// # Errors
    ///
    /// As [`Scope::try_get`](crate::Scope::try_get).
    pub fn try_get<E>(
        &self,
        key: impl DynKey,
        compute: impl FnOnce() -> Result<Json, E>,
    ) -> Result<Json>
    where
        E: Into<Box<dyn StdError + Send + Sync>>,
    {
        let key = self.key(key)?;
        let requested = Ok(key.clone());
        let compute = || self.new_row(key, compute().map_err(Error::of_closure)?);
        self.json(self.core.get(requested, compute)?)
    }

    /// Returns the records of the keys, in their order.
    ///
    /// Missing records are computed in one call, which returns them with their keys, and are stored
    /// together.
    ///
    /// # Errors
    ///
    /// As [`Scope::get_many`](crate::Scope::get_many).
    pub fn get_many<K: DynKey, I, N: DynKey>(
        &self,
        keys: impl IntoIterator<Item = K>,
        mut compute: impl FnMut(Vec<Json>) -> I,
    ) -> Result<Vec<Json>>
    where
        I: IntoIterator<Item = (N, Json)>,
    {
        let rows = self.core.get_many(self.key_list(keys), |missing| {
            let missing = missing.into_iter().map(key_json).collect();
            let computed = compute(missing).into_iter();
            Ok(computed.map(|(key, value)| self.new_row(self.key(key)?, value)))
        })?;
        rows.into_iter().map(|row| self.json(row)).collect()
    }

    /// Removes a record and returns it, or `None` if there is none.
    ///
    /// # Errors
    ///
    /// As [`Scope::pop`](crate::Scope::pop).
    #[doc(alias("remove", "invalidate"))]
    pub fn pop(&self, key: impl DynKey) -> Result<Option<Json>> {
        self.json_or_none(self.core.pop(self.key(key))?)
    }

    /// Removes records atomically and returns them, in the order of the keys.
    ///
    /// # Errors
    ///
    /// As [`Scope::pop`](crate::Scope::pop).
    pub fn pop_many<K: DynKey>(
        &self,
        keys: impl IntoIterator<Item = K>,
    ) -> Result<Vec<Option<Json>>> {
        let rows = self.core.pop_many(self.key_list(keys))?;
        rows.into_iter().map(|row| self.json_or_none(row)).collect()
    }

    /// Returns all keys in no particular order, streamed in bounded memory. A key of several
    /// columns is an array.
    ///
    /// # Errors
    ///
    /// As [`Scope::keys`](crate::Scope::keys).
    pub fn keys(&self) -> Result<impl Iterator<Item = Result<Json>> + Send + use<>> {
        Ok(self.core.keys()?.map(|key| Ok(key_json(key?))))
    }

    /// Returns all records in no particular order, streamed in bounded memory.
    ///
    /// # Errors
    ///
    /// As [`Scope::keys`](crate::Scope::keys).
    pub fn iter(&self) -> Result<impl Iterator<Item = Result<Json>> + Send + use<>> {
        let schema = self.core.schema.clone();
        Ok(self.core.rows()?.map(move |row| value_json(&schema, row?)))
    }

    /// Returns all records as rows, with a value for each column of the schema in its order.
    ///
    /// # Errors
    ///
    /// As [`Scope::keys`](crate::Scope::keys).
    pub fn rows(&self) -> Result<impl Iterator<Item = Result<Row>> + Send + use<>> {
        self.core.rows()
    }

    /// Inserts or overwrites rows atomically, with a value for each column of the schema in its
    /// order. Values are converted to the column type where possible, such as a date in text form.
    ///
    /// # Errors
    ///
    /// As [`set`](DynScope::set).
    pub fn set_rows(&self, rows: impl IntoIterator<Item = Row>) -> Result<usize> {
        self.core.set_many(rows.into_iter().map(|row| self.coerce_row(row)), None)
    }

    pub(super) fn coerce_row(&self, row: Row) -> Result<Row> {
        let columns = &self.core.schema.columns;
        if row.len() != columns.len() {
            return Err(Error::invalid_input(format!(
                "the row has {} values for {} columns",
                row.len(),
                columns.len()
            )));
        }
        columns.iter().zip(row).map(|(column, value)| column.coerce(value)).collect()
    }

    /// Returns the number of records.
    ///
    /// # Errors
    ///
    /// Any error of the backend.
    #[expect(clippy::len_without_is_empty, reason = "the length is read from the backend")]
    pub fn len(&self) -> Result<u64> {
        self.core.len()
    }

    /// Removes all records.
    ///
    /// # Errors
    ///
    /// Any error of the backend.
    #[doc(alias = "invalidate_all")]
    pub fn clear(&self) -> Result<()> {
        self.core.clear()
    }

    pub(super) fn key(&self, key: impl DynKey) -> Result<Key> {
        let key = key.into_dyn_key();
        let coerced = self.core.schema.coerce_key(key.clone());
        coerced.map_err(|error| error.with_key(key).with_scope(&self.core.schema.name))
    }

    fn key_list<K: DynKey>(
        &self,
        keys: impl IntoIterator<Item = K>,
    ) -> impl Iterator<Item = Result<Key>> {
        keys.into_iter().map(|key| self.key(key))
    }

    pub(super) fn row(&self, key: impl DynKey, value: Json) -> Result<Row> {
        let key = self.key(key)?;
        row_of(&self.core.schema, &key, value).map_err(|error| error.with_key(key))
    }

    /// Builds the complete row of a computed record.
    pub(super) fn new_row(&self, key: Key, value: Json) -> Result<Row> {
        let mut row = row_of(&self.core.schema, &key, value)?;
        self.core.schema.fill_absent(&mut row)?;
        Ok(row)
    }

    pub(super) fn json(&self, row: Row) -> Result<Json> {
        value_json(&self.core.schema, row)
    }

    pub(super) fn json_or_none(&self, row: Option<Row>) -> Result<Option<Json>> {
        row.map(|row| self.json(row)).transpose()
    }
}
