//! The handle on a scope with one value per key, without a struct.

use std::borrow::Borrow;
use std::error::Error as StdError;
use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use super::{Core, Entry};
use crate::schema::Shape;
use crate::{Column, ColumnValue, Error, IntoKey, Key, RecordKey, Result, Row, Schema};

/// A scope with one value of type `V` for each key of type `K`. Cheap to clone.
///
/// The key columns are named `key`, or `key1`, `key2` and so on; the value column is named `value`.
///
/// ```
/// use hilcat::Cache;
///
/// let cache = Cache::from_uri("memory:")?;
/// let distances = cache.map::<(String, String), i64>("d")?;
/// distances.set(("d1", "d2"), &3)?;
/// assert_eq!(distances.fetch(("d1", "d2"))?, Some(3));
/// assert_eq!(distances.get(("d1", "d3"), || 4)?, 4);
/// # Ok::<(), hilcat::Error>(())
/// ```
pub struct MapScope<K, V> {
    pub(super) core: Arc<Core>,
    types: PhantomData<fn() -> (K, V)>,
}

impl<K, V> Clone for MapScope<K, V> {
    fn clone(&self) -> Self {
        Self { core: self.core.clone(), types: PhantomData }
    }
}

impl<K, V> fmt::Debug for MapScope<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MapScope").field("name", &self.core.schema.name).finish_non_exhaustive()
    }
}

impl<K: RecordKey, V: ColumnValue> MapScope<K, V> {
    pub(crate) fn new(core: Arc<Core>) -> Self {
        Self { core, types: PhantomData }
    }

    /// Returns the schema of a map: key columns that are not part of the value, and `value`.
    pub(crate) fn schema_of(name: &str) -> Schema {
        let key = |(name, ty)| Column::new(name, ty).key_only();
        let keys = K::columns().into_iter().map(key);
        keys.fold(Schema::new(name), Schema::unique)
            .column(Column::new("value", V::TYPE).nullable(V::NULLABLE))
            .shape(Shape::Single)
    }

    /// Returns the schema of the scope.
    pub fn schema(&self) -> &Schema {
        &self.core.schema
    }

    /// Returns whether there is a value for the key.
    ///
    /// # Errors
    ///
    /// As [`Scope::exists`](crate::Scope::exists).
    #[doc(alias = "contains_key")]
    pub fn exists(&self, key: impl IntoKey<K>) -> Result<bool> {
        self.core.exists(key.into_key())
    }

    /// Returns the value of the key, or `None` if there is none.
    ///
    /// # Errors
    ///
    /// As [`Scope::fetch`](crate::Scope::fetch).
    #[doc(alias = "get")]
    pub fn fetch(&self, key: impl IntoKey<K>) -> Result<Option<V>> {
        self.core.fetch(key.into_key())?.map(value).transpose()
    }

    /// Returns the values of the keys, in their order.
    ///
    /// # Errors
    ///
    /// As [`Scope::fetch`](crate::Scope::fetch).
    pub fn fetch_many<T: IntoKey<K>>(
        &self,
        keys: impl IntoIterator<Item = T>,
    ) -> Result<Vec<Option<V>>> {
        values(self.core.fetch_many(keys.into_iter().map(IntoKey::into_key))?)
    }

    /// Inserts or overwrites a value.
    ///
    /// # Errors
    ///
    /// As [`Scope::set`](crate::Scope::set).
    #[doc(alias("insert", "put"))]
    pub fn set(&self, key: impl IntoKey<K>, value: &V) -> Result<()> {
        self.core.set(key.into_key().map(|key| row(key, value)), None)
    }

    /// Inserts or overwrites values atomically. If two have the same key, the last one applies.
    ///
    /// # Errors
    ///
    /// As [`Scope::set`](crate::Scope::set).
    pub fn set_many<T: IntoKey<K>, B: Borrow<V>>(
        &self,
        entries: impl IntoIterator<Item = (T, B)>,
    ) -> Result<()> {
        let rows = entries.into_iter().map(|(key, value)| Ok(row(key.into_key()?, value.borrow())));
        self.core.set_many(rows, None).map(drop)
    }

    /// Like [`Scope::set_with_ttl`](super::Scope::set_with_ttl).
    ///
    /// # Errors
    ///
    /// As [`Scope::set_with_ttl`](super::Scope::set_with_ttl).
    pub fn set_with_ttl(&self, key: impl IntoKey<K>, value: &V, ttl: Duration) -> Result<()> {
        self.core.set(key.into_key().map(|key| row(key, value)), Some(ttl))
    }

    /// Like [`Scope::set_many_with_ttl`](super::Scope::set_many_with_ttl).
    ///
    /// # Errors
    ///
    /// As [`Scope::set_many_with_ttl`](super::Scope::set_many_with_ttl).
    pub fn set_many_with_ttl<T: IntoKey<K>, B: Borrow<V>>(
        &self,
        entries: impl IntoIterator<Item = (T, B)>,
        ttl: Duration,
    ) -> Result<()> {
        let rows = entries.into_iter().map(|(key, value)| Ok(row(key.into_key()?, value.borrow())));
        self.core.set_many(rows, Some(ttl)).map(drop)
    }

    /// Like [`Scope::touch`](super::Scope::touch).
    ///
    /// # Errors
    ///
    /// As [`Scope::touch`](super::Scope::touch).
    pub fn touch(&self, key: impl IntoKey<K>) -> Result<bool> {
        self.core.touch(key.into_key())
    }

    /// Like [`Scope::entry`](super::Scope::entry).
    ///
    /// # Errors
    ///
    /// As [`Scope::entry`](super::Scope::entry).
    pub fn entry(&self, key: impl IntoKey<K>) -> Result<Option<Entry<V>>> {
        let entry = self.core.entry(key.into_key())?;
        entry.map(|entry| Entry::read(entry, value)).transpose()
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
        key: impl IntoKey<K>,
        compute: impl FnOnce() -> Option<V>,
    ) -> Result<Option<V>> {
        let key = key.into_key();
        let computed =
            || compute().map(|value| Ok::<_, Error>(row(key.clone()?, &value))).transpose();
        self.core.get_optional(key.clone(), computed)?.map(value).transpose()
    }

    /// Like [`Scope::refresh`](super::Scope::refresh).
    ///
    /// # Errors
    ///
    /// As [`Scope::refresh`](super::Scope::refresh).
    pub fn refresh(&self, key: impl IntoKey<K>, compute: impl FnOnce() -> V) -> Result<V> {
        let key = key.into_key();
        value(self.core.refresh(key.clone(), || Ok::<_, Error>(row(key?, &compute())))?)
    }

    /// Like [`Scope::get_in_background`](super::Scope::get_in_background).
    ///
    /// # Errors
    ///
    /// As [`Scope::get_in_background`](super::Scope::get_in_background).
    pub fn get_in_background(
        &self,
        key: impl IntoKey<K>,
        compute: impl FnOnce() -> V + Send + 'static,
    ) -> Result<V> {
        let key = key.into_key();
        let owned = key.clone();
        value(self.core.get_in_background(owned, move || Ok::<_, Error>(row(key?, &compute())))?)
    }

    /// Inserts or overwrites a value, and returns the replaced one, if any.
    ///
    /// # Errors
    ///
    /// As [`Scope::update`](crate::Scope::update).
    #[doc(alias = "replace")]
    pub fn update(&self, key: impl IntoKey<K>, new: &V) -> Result<Option<V>> {
        self.core.update(key.into_key().map(|key| row(key, new)))?.map(value).transpose()
    }

    /// Returns the stored value, or computes and stores it. Concurrent callers compute once.
    ///
    /// # Errors
    ///
    /// As [`Scope::get`](crate::Scope::get).
    #[doc(alias("get_with", "get_or_insert_with"))]
    pub fn get(&self, key: impl IntoKey<K>, compute: impl FnOnce() -> V) -> Result<V> {
        let key = key.into_key();
        value(self.core.get(key.clone(), || Ok::<_, Error>(row(key?, &compute())))?)
    }

    /// Like [`get`](MapScope::get), for a fallible computation. If it fails, nothing is stored.
    ///
    /// # Errors
    ///
    /// As [`Scope::try_get`](crate::Scope::try_get).
    pub fn try_get<E>(
        &self,
        key: impl IntoKey<K>,
        compute: impl FnOnce() -> Result<V, E>,
    ) -> Result<V>
    where
        E: Into<Box<dyn StdError + Send + Sync>>,
    {
        let key = key.into_key();
        value(self.core.get(key.clone(), || {
            let computed = compute().map_err(Error::of_closure)?;
            Ok::<_, Error>(row(key?, &computed))
        })?)
    }

    /// Returns the values of the keys, in their order.
    ///
    /// Missing values are computed in one call, which returns them with their keys, and are stored
    /// together.
    ///
    /// # Errors
    ///
    /// As [`Scope::get_many`](crate::Scope::get_many).
    pub fn get_many<T, I>(
        &self,
        keys: impl IntoIterator<Item = T>,
        mut compute: impl FnMut(Vec<K>) -> I,
    ) -> Result<Vec<V>>
    where
        T: IntoKey<K>,
        I: IntoIterator<Item = (K, V)>,
    {
        let rows = self.core.get_many(keys.into_iter().map(IntoKey::into_key), |missing| {
            let missing = missing.into_iter().map(K::from_key).collect::<Result<Vec<_>>>()?;
            Ok(compute(missing).into_iter().map(|(key, value)| Ok(row(key.to_key(), &value))))
        })?;
        rows.into_iter().map(value).collect()
    }

    /// Removes a value and returns it, or `None` if there is none.
    ///
    /// # Errors
    ///
    /// As [`Scope::pop`](crate::Scope::pop).
    #[doc(alias("remove", "invalidate"))]
    pub fn pop(&self, key: impl IntoKey<K>) -> Result<Option<V>> {
        self.core.pop(key.into_key())?.map(value).transpose()
    }

    /// Removes values atomically and returns them, in the order of the keys.
    ///
    /// # Errors
    ///
    /// As [`Scope::pop`](crate::Scope::pop).
    pub fn pop_many<T: IntoKey<K>>(
        &self,
        keys: impl IntoIterator<Item = T>,
    ) -> Result<Vec<Option<V>>> {
        values(self.core.pop_many(keys.into_iter().map(IntoKey::into_key))?)
    }

    /// Returns all keys in no particular order, streamed in bounded memory.
    ///
    /// # Errors
    ///
    /// As [`Scope::keys`](crate::Scope::keys).
    pub fn keys(&self) -> Result<impl Iterator<Item = Result<K>> + Send + use<K, V>> {
        Ok(self.core.keys()?.map(|key| K::from_key(key?)))
    }

    /// Returns all keys with their values in no particular order, streamed in bounded memory.
    ///
    /// # Errors
    ///
    /// As [`Scope::keys`](crate::Scope::keys).
    pub fn iter(&self) -> Result<impl Iterator<Item = Result<(K, V)>> + Send + use<K, V>> {
        let schema = self.core.schema.clone();
        Ok(self.core.rows()?.map(move |row| {
            let row = row?;
            Ok((K::from_key(schema.key_of(&row))?, value(row)?))
        }))
    }

    /// Returns the number of values.
    ///
    /// # Errors
    ///
    /// Any error of the backend.
    #[expect(clippy::len_without_is_empty, reason = "the length is read from the backend")]
    pub fn len(&self) -> Result<u64> {
        self.core.len()
    }

    /// Removes all values.
    ///
    /// # Errors
    ///
    /// Any error of the backend.
    #[doc(alias = "invalidate_all")]
    pub fn clear(&self) -> Result<()> {
        self.core.clear()
    }
}

/// Builds the row of an entry: the key columns come first.
pub(super) fn row<V: ColumnValue>(key: Key, value: &V) -> Row {
    key.into_values().chain([value.to_value()]).collect()
}

pub(super) fn value<V: ColumnValue>(mut row: Row) -> Result<V> {
    let value = row.pop().ok_or_else(|| Error::invalid_data("the row is empty"))?;
    V::from_value(value).map_err(|error| error.with_column("value"))
}

pub(super) fn values<V: ColumnValue>(rows: Vec<Option<Row>>) -> Result<Vec<Option<V>>> {
    rows.into_iter().map(|row| row.map(value).transpose()).collect()
}
