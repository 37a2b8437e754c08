//! The handle on a scope of one value a key, without a struct.

use std::borrow::Borrow;
use std::error::Error as StdError;
use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use super::{Core, Entry};
use crate::schema::Shape;
use crate::{Column, ColumnValue, Error, IntoKey, Key, RecordKey, Result, Row, Schema};

/// A scope of one value of type `V` for each key of type `K`. Cheap to clone.
///
/// The key columns are named `key`, or `key1`, `key2` and so on; the other one is `value`.
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
    core: Arc<Core>,
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

    /// The schema of a map of this name: key columns that are only unique, and `value`.
    pub(crate) fn schema_of(name: &str) -> Schema {
        let key = |(name, ty)| Column::new(name, ty).key_only();
        let keys = K::columns().into_iter().map(key);
        keys.fold(Schema::new(name), Schema::unique)
            .column(Column::new("value", V::TYPE).nullable(V::NULLABLE))
            .shape(Shape::Single)
    }

    /// The schema of the scope.
    pub fn schema(&self) -> &Schema {
        &self.core.schema
    }

    /// Whether there is a value of this key.
    ///
    /// # Errors
    ///
    /// As those of [`Scope`](crate::Scope), here and below.
    #[doc(alias = "contains_key")]
    pub fn exists(&self, key: impl IntoKey<K>) -> Result<bool> {
        self.core.exists(key.into_key())
    }

    /// The value of this key, if there is one.
    ///
    /// # Errors
    ///
    /// As [`Scope::fetch`](crate::Scope::fetch).
    #[doc(alias = "get")]
    pub fn fetch(&self, key: impl IntoKey<K>) -> Result<Option<V>> {
        self.core.fetch(key.into_key())?.map(value).transpose()
    }

    /// The values of these keys, in the order asked.
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

    /// Inserts or overwrites values, all or none. Of two with one key the last one counts.
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

    /// As [`Scope::set_with_ttl`](super::Scope::set_with_ttl).
    ///
    /// # Errors
    ///
    /// As there.
    pub fn set_with_ttl(&self, key: impl IntoKey<K>, value: &V, ttl: Duration) -> Result<()> {
        self.core.set(key.into_key().map(|key| row(key, value)), Some(ttl))
    }

    /// As [`Scope::set_many_with_ttl`](super::Scope::set_many_with_ttl).
    ///
    /// # Errors
    ///
    /// As there.
    pub fn set_many_with_ttl<T: IntoKey<K>, B: Borrow<V>>(
        &self,
        entries: impl IntoIterator<Item = (T, B)>,
        ttl: Duration,
    ) -> Result<()> {
        let rows = entries.into_iter().map(|(key, value)| Ok(row(key.into_key()?, value.borrow())));
        self.core.set_many(rows, Some(ttl)).map(drop)
    }

    /// As [`Scope::touch`](super::Scope::touch).
    ///
    /// # Errors
    ///
    /// As there.
    pub fn touch(&self, key: impl IntoKey<K>) -> Result<bool> {
        self.core.touch(key.into_key())
    }

    /// As [`Scope::entry`](super::Scope::entry).
    ///
    /// # Errors
    ///
    /// As there.
    pub fn entry(&self, key: impl IntoKey<K>) -> Result<Option<Entry<V>>> {
        let entry = self.core.entry(key.into_key())?;
        entry.map(|entry| Entry::read(entry, value)).transpose()
    }

    /// As [`Scope::purge`](super::Scope::purge).
    ///
    /// # Errors
    ///
    /// As there.
    pub fn purge(&self) -> Result<u64> {
        self.core.purge()
    }

    /// As [`Scope::get_optional`](super::Scope::get_optional).
    ///
    /// # Errors
    ///
    /// As there.
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

    /// As [`Scope::refresh`](super::Scope::refresh).
    ///
    /// # Errors
    ///
    /// As there.
    pub fn refresh(&self, key: impl IntoKey<K>, compute: impl FnOnce() -> V) -> Result<V> {
        let key = key.into_key();
        value(self.core.refresh(key.clone(), || Ok::<_, Error>(row(key?, &compute())))?)
    }

    /// As [`Scope::get_in_background`](super::Scope::get_in_background).
    ///
    /// # Errors
    ///
    /// As there.
    pub fn get_in_background(
        &self,
        key: impl IntoKey<K>,
        compute: impl FnOnce() -> V + Send + 'static,
    ) -> Result<V> {
        let key = key.into_key();
        let asked = key.clone();
        value(self.core.get_in_background(asked, move || Ok::<_, Error>(row(key?, &compute())))?)
    }

    /// Inserts or overwrites a value, and gives the one that it replaced.
    ///
    /// # Errors
    ///
    /// As [`Scope::update`](crate::Scope::update).
    #[doc(alias = "replace")]
    pub fn update(&self, key: impl IntoKey<K>, new: &V) -> Result<Option<V>> {
        self.core.update(key.into_key().map(|key| row(key, new)))?.map(value).transpose()
    }

    /// The stored value, or the one that `compute` gives, which is stored; computed once however
    /// many threads ask at once.
    ///
    /// # Errors
    ///
    /// As [`Scope::get`](crate::Scope::get).
    #[doc(alias("get_with", "get_or_insert_with"))]
    pub fn get(&self, key: impl IntoKey<K>, compute: impl FnOnce() -> V) -> Result<V> {
        let key = key.into_key();
        value(self.core.get(key.clone(), || Ok::<_, Error>(row(key?, &compute())))?)
    }

    /// The same as [`get`](MapScope::get) for a computation that can fail: then nothing is stored.
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

    /// The values of these keys, in the order asked: those that are missing are computed in one
    /// call, which gives them with their keys, and stored together.
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

    /// Removes a value and gives it.
    ///
    /// # Errors
    ///
    /// As [`Scope::pop`](crate::Scope::pop).
    #[doc(alias("remove", "invalidate"))]
    pub fn pop(&self, key: impl IntoKey<K>) -> Result<Option<V>> {
        self.core.pop(key.into_key())?.map(value).transpose()
    }

    /// Removes values and gives them, in the order asked; all or none.
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

    /// All keys, streaming in bounded memory, in no promised order.
    ///
    /// # Errors
    ///
    /// As [`Scope::keys`](crate::Scope::keys).
    pub fn keys(&self) -> Result<impl Iterator<Item = Result<K>> + Send + use<K, V>> {
        Ok(self.core.keys()?.map(|key| K::from_key(key?)))
    }

    /// All keys with their values, streaming in bounded memory, in no promised order.
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

    /// How many values there are.
    ///
    /// # Errors
    ///
    /// Where the backend fails.
    #[expect(clippy::len_without_is_empty, reason = "the number is asked of a server")]
    pub fn len(&self) -> Result<u64> {
        self.core.len()
    }

    /// Removes all values.
    ///
    /// # Errors
    ///
    /// Where the backend fails.
    #[doc(alias = "invalidate_all")]
    pub fn clear(&self) -> Result<()> {
        self.core.clear()
    }
}

/// The row of an entry: the key columns come first.
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
