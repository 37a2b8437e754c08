//! The handle on a scope of one value a key.

use std::borrow::Borrow;
use std::error::Error as StdError;
use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use super::Listing;
use crate::scope::map::{row, value, values};
use crate::scope::{Core, Entry, MapScope};
use crate::{ColumnValue, Error, IntoKey, Key, RecordKey, Result, Row, Schema};

/// A scope of one value of type `V` for each key of type `K`, for async code. Cheap to clone.
///
/// Its methods are those of [`MapScope`], with the same rules and errors; see
/// [`AsyncScope`](crate::AsyncScope) for what holds for futures.
///
/// ```
/// use hilcat::AsyncCache;
///
/// # pollster::block_on(async {
/// let cache = AsyncCache::from_uri("memory:").await?;
/// let squares = cache.map::<i64, i64>("squares").await?;
/// squares.set(7, &49).await?;
/// assert_eq!(squares.fetch(7).await?, Some(49));
/// assert_eq!(squares.get(8, || async { 64 }).await?, 64);
/// # Ok::<(), hilcat::Error>(())
/// # })?;
/// # Ok::<(), hilcat::Error>(())
/// ```
pub struct AsyncMapScope<K, V> {
    core: Arc<Core>,
    types: PhantomData<fn() -> (K, V)>,
}

impl<K, V> Clone for AsyncMapScope<K, V> {
    fn clone(&self) -> Self {
        Self { core: self.core.clone(), types: PhantomData }
    }
}

impl<K, V> fmt::Debug for AsyncMapScope<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AsyncMapScope")
            .field("name", &self.core.schema.name)
            .finish_non_exhaustive()
    }
}

impl<K: RecordKey, V: ColumnValue> AsyncMapScope<K, V> {
    pub(crate) fn new(core: Arc<Core>) -> Self {
        Self { core, types: PhantomData }
    }

    /// Returns the blocking handle of the same scope.
    pub fn into_blocking(self) -> MapScope<K, V> {
        MapScope::new(self.core)
    }

    /// Returns the schema of the scope.
    pub fn schema(&self) -> &Schema {
        &self.core.schema
    }

    /// As [`MapScope::exists`].
    ///
    /// # Errors
    ///
    /// As there.
    #[doc(alias = "contains_key")]
    pub async fn exists(&self, key: impl IntoKey<K>) -> Result<bool> {
        let key = key.into_key();
        self.core.run_blocking(move |core| core.exists(key)).await
    }

    /// As [`MapScope::fetch`].
    ///
    /// # Errors
    ///
    /// As there.
    #[doc(alias = "get")]
    pub async fn fetch(&self, key: impl IntoKey<K>) -> Result<Option<V>> {
        let key = key.into_key();
        self.core.fetch_async(key).await?.map(value).transpose()
    }

    /// As [`MapScope::fetch_many`].
    ///
    /// # Errors
    ///
    /// As there.
    pub async fn fetch_many<T: IntoKey<K>>(
        &self,
        keys: impl IntoIterator<Item = T>,
    ) -> Result<Vec<Option<V>>> {
        let keys = key_list(keys);
        values(self.core.run_blocking(move |core| core.fetch_many(keys.into_iter())).await?)
    }

    /// As [`MapScope::set`].
    ///
    /// # Errors
    ///
    /// As there.
    #[doc(alias("insert", "put"))]
    pub async fn set(&self, key: impl IntoKey<K>, value: &V) -> Result<()> {
        let row = key.into_key().map(|key| row(key, value));
        self.core.set_async(row, None).await
    }

    /// As [`MapScope::set_many`].
    ///
    /// # Errors
    ///
    /// As there.
    pub async fn set_many<T: IntoKey<K>, B: Borrow<V>>(
        &self,
        entries: impl IntoIterator<Item = (T, B)>,
    ) -> Result<()> {
        let rows = row_list(entries);
        self.core.run_blocking(move |core| core.set_many(rows.into_iter(), None)).await.map(drop)
    }

    /// As [`MapScope::set_with_ttl`].
    ///
    /// # Errors
    ///
    /// As there.
    pub async fn set_with_ttl(&self, key: impl IntoKey<K>, value: &V, ttl: Duration) -> Result<()> {
        let row = key.into_key().map(|key| row(key, value));
        self.core.set_async(row, Some(ttl)).await
    }

    /// As [`MapScope::set_many_with_ttl`].
    ///
    /// # Errors
    ///
    /// As there.
    pub async fn set_many_with_ttl<T: IntoKey<K>, B: Borrow<V>>(
        &self,
        entries: impl IntoIterator<Item = (T, B)>,
        ttl: Duration,
    ) -> Result<()> {
        let rows = row_list(entries);
        let set = move |core: &Core| core.set_many(rows.into_iter(), Some(ttl));
        self.core.run_blocking(set).await.map(drop)
    }

    /// As [`MapScope::touch`].
    ///
    /// # Errors
    ///
    /// As there.
    pub async fn touch(&self, key: impl IntoKey<K>) -> Result<bool> {
        let key = key.into_key();
        self.core.run_blocking(move |core| core.touch(key)).await
    }

    /// As [`MapScope::entry`].
    ///
    /// # Errors
    ///
    /// As there.
    pub async fn entry(&self, key: impl IntoKey<K>) -> Result<Option<Entry<V>>> {
        let key = key.into_key();
        let entry = self.core.run_blocking(move |core| core.entry(key)).await?;
        entry.map(|entry| Entry::read(entry, value)).transpose()
    }

    /// As [`MapScope::purge`].
    ///
    /// # Errors
    ///
    /// As there.
    pub async fn purge(&self) -> Result<u64> {
        self.core.run_blocking(Core::purge).await
    }

    /// As [`MapScope::update`].
    ///
    /// # Errors
    ///
    /// As there.
    #[doc(alias = "replace")]
    pub async fn update(&self, key: impl IntoKey<K>, new: &V) -> Result<Option<V>> {
        let row = key.into_key().map(|key| row(key, new));
        self.core.run_blocking(move |core| core.update(row)).await?.map(value).transpose()
    }

    /// As [`MapScope::get`].
    ///
    /// # Errors
    ///
    /// As there.
    #[doc(alias("get_with", "get_or_insert_with"))]
    pub async fn get<F: Future<Output = V>>(
        &self,
        key: impl IntoKey<K>,
        compute: impl FnOnce() -> F,
    ) -> Result<V> {
        let key = key.into_key();
        let asked = key.clone();
        let compute = || async { Ok::<_, Error>(row(asked?, &compute().await)) };
        value(self.core.get_async(key, compute).await?)
    }

    /// As [`MapScope::try_get`].
    ///
    /// # Errors
    ///
    /// As there.
    pub async fn try_get<E, F>(
        &self,
        key: impl IntoKey<K>,
        compute: impl FnOnce() -> F,
    ) -> Result<V>
    where
        E: Into<Box<dyn StdError + Send + Sync>>,
        F: Future<Output = Result<V, E>>,
    {
        let key = key.into_key();
        let asked = key.clone();
        let compute = || async {
            let computed = compute().await.map_err(Error::of_closure)?;
            Ok::<_, Error>(row(asked?, &computed))
        };
        value(self.core.get_async(key, compute).await?)
    }

    /// As [`MapScope::get_optional`].
    ///
    /// # Errors
    ///
    /// As there.
    pub async fn get_optional<F: Future<Output = Option<V>>>(
        &self,
        key: impl IntoKey<K>,
        compute: impl FnOnce() -> F,
    ) -> Result<Option<V>> {
        let key = key.into_key();
        let asked = key.clone();
        let compute = || async {
            let computed = compute().await;
            computed.map(|value| Ok::<_, Error>(row(asked?, &value))).transpose()
        };
        self.core.get_optional_async(key, compute).await?.map(value).transpose()
    }

    /// As [`MapScope::refresh`].
    ///
    /// # Errors
    ///
    /// As there.
    pub async fn refresh<F: Future<Output = V>>(
        &self,
        key: impl IntoKey<K>,
        compute: impl FnOnce() -> F,
    ) -> Result<V> {
        let key = key.into_key();
        let asked = key.clone();
        let compute = || async { Ok::<_, Error>(row(asked?, &compute().await)) };
        value(self.core.refresh_async(key, compute).await?)
    }

    /// As [`MapScope::get_in_background`]; see
    /// [`AsyncScope::get_in_background`](crate::AsyncScope::get_in_background) for where the future
    /// runs.
    ///
    /// # Errors
    ///
    /// As there.
    pub async fn get_in_background<F>(
        &self,
        key: impl IntoKey<K>,
        compute: impl FnOnce() -> F + Send + 'static,
    ) -> Result<V>
    where
        F: Future<Output = V> + Send + 'static,
    {
        let key = key.into_key();
        let asked = key.clone();
        let compute = move || {
            let computed = compute();
            async move {
                let computed = computed.await;
                Ok::<_, Error>(row(asked?, &computed))
            }
        };
        value(self.core.get_in_background_async(key, compute).await?)
    }

    /// As [`MapScope::get_many`], but `compute` is called at most once, with all missing keys.
    ///
    /// # Errors
    ///
    /// As there.
    pub async fn get_many<T, I, F>(
        &self,
        keys: impl IntoIterator<Item = T>,
        compute: impl FnOnce(Vec<K>) -> F,
    ) -> Result<Vec<V>>
    where
        T: IntoKey<K>,
        I: IntoIterator<Item = (K, V)>,
        F: Future<Output = I>,
    {
        let keys = key_list(keys).into_iter().collect();
        let compute = |missing: Vec<Key>| async move {
            let missing = missing.into_iter().map(K::from_key).collect::<Result<Vec<_>>>()?;
            let computed = compute(missing).await.into_iter();
            Ok(computed.map(|(key, value)| Ok(row(key.to_key(), &value))).collect::<Vec<_>>())
        };
        let rows = self.core.get_many_async(keys, compute).await?;
        rows.into_iter().map(value).collect()
    }

    /// As [`MapScope::pop`].
    ///
    /// # Errors
    ///
    /// As there.
    #[doc(alias("remove", "invalidate"))]
    pub async fn pop(&self, key: impl IntoKey<K>) -> Result<Option<V>> {
        let key = key.into_key();
        self.core.run_blocking(move |core| core.pop(key)).await?.map(value).transpose()
    }

    /// As [`MapScope::pop_many`].
    ///
    /// # Errors
    ///
    /// As there.
    pub async fn pop_many<T: IntoKey<K>>(
        &self,
        keys: impl IntoIterator<Item = T>,
    ) -> Result<Vec<Option<V>>> {
        let keys = key_list(keys);
        values(self.core.run_blocking(move |core| core.pop_many(keys.into_iter())).await?)
    }

    /// As [`MapScope::keys`], as a stream.
    ///
    /// # Errors
    ///
    /// As there.
    pub async fn keys(&self) -> Result<Listing<K>>
    where
        K: 'static,
    {
        Listing::of_keys(&self.core, K::from_key).await
    }

    /// As [`MapScope::iter`], as a stream.
    ///
    /// # Errors
    ///
    /// As there.
    pub async fn iter(&self) -> Result<Listing<(K, V)>>
    where
        K: 'static,
        V: 'static,
    {
        let schema = self.core.schema.clone();
        let entry = move |row: Row| Ok((K::from_key(schema.key_of(&row))?, value(row)?));
        Listing::of_rows(&self.core, entry).await
    }

    /// As [`MapScope::len`].
    ///
    /// # Errors
    ///
    /// As there.
    pub async fn len(&self) -> Result<u64> {
        self.core.run_blocking(Core::len).await
    }

    /// As [`MapScope::clear`].
    ///
    /// # Errors
    ///
    /// As there.
    #[doc(alias = "invalidate_all")]
    pub async fn clear(&self) -> Result<()> {
        self.core.run_blocking(Core::clear).await
    }
}

fn key_list<K: RecordKey, T: IntoKey<K>>(keys: impl IntoIterator<Item = T>) -> Vec<Result<Key>> {
    keys.into_iter().map(IntoKey::into_key).collect()
}

fn row_list<K: RecordKey, V: ColumnValue, T: IntoKey<K>, B: Borrow<V>>(
    entries: impl IntoIterator<Item = (T, B)>,
) -> Vec<Result<Row>> {
    let entries = entries.into_iter();
    entries.map(|(key, value)| Ok(row(key.into_key()?, value.borrow()))).collect()
}
