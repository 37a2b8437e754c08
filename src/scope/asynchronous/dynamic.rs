//! The handle on a scope that is known only at run time.

use std::error::Error as StdError;
use std::time::Duration;

use serde_json::Value as Json;

use super::Listing;
use crate::scope::json_rows::{key_json, value_json};
use crate::scope::{Core, DynScope, Entry};
use crate::{DynKey, Error, Key, Result, Row, Schema};

/// A scope whose records are JSON, for async code. Cheap to clone.
///
/// Its methods are those of [`DynScope`], with the same rules and errors; see
/// [`AsyncScope`](crate::AsyncScope) for what holds for futures.
///
/// ```
/// use hilcat::{AsyncCache, Schemas};
/// use serde_json::json;
///
/// # pollster::block_on(async {
/// let schemas = Schemas::from_str("
///     [scopes.a]
///     unique_column = 'id'
///     columns = ['id', 'name', 'count']
///     column_types = { count = 'int' }
/// ")?;
/// let cache = AsyncCache::builder("memory:").schemas(schemas).open().await?;
/// let a = cache.dynamic("a").await?;
/// a.set("a1", json!({"name": "jii", "count": 1})).await?;
/// assert_eq!(a.fetch("a1").await?, Some(json!({"id": "a1", "name": "jii", "count": 1})));
/// # Ok::<(), hilcat::Error>(())
/// # })?;
/// # Ok::<(), hilcat::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct AsyncDynScope {
    scope: DynScope,
}

impl AsyncDynScope {
    pub(crate) fn new(scope: DynScope) -> Self {
        Self { scope }
    }

    /// Returns the blocking handle of the same scope.
    pub fn into_blocking(self) -> DynScope {
        self.scope
    }

    /// Returns the schema of the scope.
    pub fn schema(&self) -> &Schema {
        self.scope.schema()
    }

    /// As [`DynScope::exists`].
    ///
    /// # Errors
    ///
    /// As there.
    #[doc(alias = "contains_key")]
    pub async fn exists(&self, key: impl DynKey) -> Result<bool> {
        let key = self.scope.key(key);
        self.scope.core.run_blocking(move |core| core.exists(key)).await
    }

    /// As [`DynScope::fetch`].
    ///
    /// # Errors
    ///
    /// As there.
    #[doc(alias = "get")]
    pub async fn fetch(&self, key: impl DynKey) -> Result<Option<Json>> {
        let key = self.scope.key(key);
        self.scope.json_or_none(self.scope.core.fetch_async(key).await?)
    }

    /// As [`DynScope::fetch_many`].
    ///
    /// # Errors
    ///
    /// As there.
    pub async fn fetch_many<K: DynKey>(
        &self,
        keys: impl IntoIterator<Item = K>,
    ) -> Result<Vec<Option<Json>>> {
        let keys = self.key_list(keys);
        let fetch = move |core: &Core| core.fetch_many(keys.into_iter());
        self.json_list(self.scope.core.run_blocking(fetch).await?)
    }

    /// As [`DynScope::set`].
    ///
    /// # Errors
    ///
    /// As there.
    #[doc(alias("insert", "put"))]
    pub async fn set(&self, key: impl DynKey, value: Json) -> Result<()> {
        let row = self.scope.row(key, value);
        self.scope.core.set_async(row, None).await
    }

    /// As [`DynScope::set_with_ttl`].
    ///
    /// # Errors
    ///
    /// As there.
    pub async fn set_with_ttl(&self, key: impl DynKey, value: Json, ttl: Duration) -> Result<()> {
        let row = self.scope.row(key, value);
        self.scope.core.set_async(row, Some(ttl)).await
    }

    /// As [`DynScope::set_many`].
    ///
    /// # Errors
    ///
    /// As there.
    pub async fn set_many<K: DynKey>(
        &self,
        entries: impl IntoIterator<Item = (K, Json)>,
    ) -> Result<usize> {
        self.set_row_list(self.row_list(entries), None).await
    }

    /// As [`DynScope::set_many_with_ttl`].
    ///
    /// # Errors
    ///
    /// As there.
    pub async fn set_many_with_ttl<K: DynKey>(
        &self,
        entries: impl IntoIterator<Item = (K, Json)>,
        ttl: Duration,
    ) -> Result<usize> {
        self.set_row_list(self.row_list(entries), Some(ttl)).await
    }

    /// As [`DynScope::set_rows`].
    ///
    /// # Errors
    ///
    /// As there.
    pub async fn set_rows(&self, rows: impl IntoIterator<Item = Row>) -> Result<usize> {
        let rows = rows.into_iter().map(|row| self.scope.coerce_row(row)).collect();
        self.set_row_list(rows, None).await
    }

    /// As [`DynScope::touch`].
    ///
    /// # Errors
    ///
    /// As there.
    pub async fn touch(&self, key: impl DynKey) -> Result<bool> {
        let key = self.scope.key(key);
        self.scope.core.run_blocking(move |core| core.touch(key)).await
    }

    /// As [`DynScope::entry`].
    ///
    /// # Errors
    ///
    /// As there.
    pub async fn entry(&self, key: impl DynKey) -> Result<Option<Entry<Json>>> {
        let key = self.scope.key(key);
        let entry = self.scope.core.run_blocking(move |core| core.entry(key)).await?;
        entry.map(|entry| Entry::read(entry, |row| self.scope.json(row))).transpose()
    }

    /// As [`DynScope::purge`].
    ///
    /// # Errors
    ///
    /// As there.
    pub async fn purge(&self) -> Result<u64> {
        self.scope.core.run_blocking(Core::purge).await
    }

    /// As [`DynScope::update`].
    ///
    /// # Errors
    ///
    /// As there.
    #[doc(alias = "replace")]
    pub async fn update(&self, key: impl DynKey, value: Json) -> Result<Option<Json>> {
        let row = self.scope.row(key, value);
        let old = self.scope.core.run_blocking(move |core| core.update(row)).await?;
        self.scope.json_or_none(old)
    }

    /// As [`DynScope::get`].
    ///
    /// # Errors
    ///
    /// As there.
    #[doc(alias("get_with", "get_or_insert_with"))]
    pub async fn get<F: Future<Output = Json>>(
        &self,
        key: impl DynKey,
        compute: impl FnOnce() -> F,
    ) -> Result<Json> {
        let key = self.scope.key(key)?;
        let asked = key.clone();
        let compute = || async { self.scope.new_row(asked, compute().await) };
        self.scope.json(self.scope.core.get_async(Ok(key), compute).await?)
    }

    /// As [`DynScope::try_get`].
    ///
    /// # Errors
    ///
    /// As there.
    pub async fn try_get<E, F>(&self, key: impl DynKey, compute: impl FnOnce() -> F) -> Result<Json>
    where
        E: Into<Box<dyn StdError + Send + Sync>>,
        F: Future<Output = Result<Json, E>>,
    {
        let key = self.scope.key(key)?;
        let asked = key.clone();
        let compute = || async {
            let computed = compute().await.map_err(Error::of_closure)?;
            self.scope.new_row(asked, computed)
        };
        self.scope.json(self.scope.core.get_async(Ok(key), compute).await?)
    }

    /// As [`DynScope::get_optional`].
    ///
    /// # Errors
    ///
    /// As there.
    pub async fn get_optional<F: Future<Output = Option<Json>>>(
        &self,
        key: impl DynKey,
        compute: impl FnOnce() -> F,
    ) -> Result<Option<Json>> {
        let key = self.scope.key(key)?;
        let asked = key.clone();
        let compute =
            || async { compute().await.map(|value| self.scope.new_row(asked, value)).transpose() };
        self.scope.json_or_none(self.scope.core.get_optional_async(Ok(key), compute).await?)
    }

    /// As [`DynScope::refresh`].
    ///
    /// # Errors
    ///
    /// As there.
    pub async fn refresh<F: Future<Output = Json>>(
        &self,
        key: impl DynKey,
        compute: impl FnOnce() -> F,
    ) -> Result<Json> {
        let key = self.scope.key(key)?;
        let asked = key.clone();
        let compute = || async { self.scope.new_row(asked, compute().await) };
        self.scope.json(self.scope.core.refresh_async(Ok(key), compute).await?)
    }

    /// As [`DynScope::get_in_background`]; see
    /// [`AsyncScope::get_in_background`](crate::AsyncScope::get_in_background) for where the future
    /// runs.
    ///
    /// # Errors
    ///
    /// As there.
    pub async fn get_in_background<F>(
        &self,
        key: impl DynKey,
        compute: impl FnOnce() -> F + Send + 'static,
    ) -> Result<Json>
    where
        F: Future<Output = Json> + Send + 'static,
    {
        let key = self.scope.key(key)?;
        let (scope, asked) = (self.scope.clone(), key.clone());
        let compute = move || {
            let computed = compute();
            async move { scope.new_row(asked, computed.await) }
        };
        self.scope.json(self.scope.core.get_in_background_async(Ok(key), compute).await?)
    }

    /// As [`DynScope::get_many`], but `compute` is called at most once, with all missing keys.
    ///
    /// # Errors
    ///
    /// As there.
    pub async fn get_many<K: DynKey, I, N: DynKey, F>(
        &self,
        keys: impl IntoIterator<Item = K>,
        compute: impl FnOnce(Vec<Json>) -> F,
    ) -> Result<Vec<Json>>
    where
        I: IntoIterator<Item = (N, Json)>,
        F: Future<Output = I>,
    {
        let keys = self.key_list(keys).into_iter().collect();
        let scope = &self.scope;
        let compute = |missing: Vec<Key>| async move {
            let computed = compute(missing.into_iter().map(key_json).collect()).await;
            let row = |(key, value)| scope.new_row(scope.key(key)?, value);
            Ok(computed.into_iter().map(row).collect::<Vec<_>>())
        };
        let rows = self.scope.core.get_many_async(keys, compute).await?;
        rows.into_iter().map(|row| self.scope.json(row)).collect()
    }

    /// As [`DynScope::pop`].
    ///
    /// # Errors
    ///
    /// As there.
    #[doc(alias("remove", "invalidate"))]
    pub async fn pop(&self, key: impl DynKey) -> Result<Option<Json>> {
        let key = self.scope.key(key);
        let old = self.scope.core.run_blocking(move |core| core.pop(key)).await?;
        self.scope.json_or_none(old)
    }

    /// As [`DynScope::pop_many`].
    ///
    /// # Errors
    ///
    /// As there.
    pub async fn pop_many<K: DynKey>(
        &self,
        keys: impl IntoIterator<Item = K>,
    ) -> Result<Vec<Option<Json>>> {
        let keys = self.key_list(keys);
        let pop = move |core: &Core| core.pop_many(keys.into_iter());
        self.json_list(self.scope.core.run_blocking(pop).await?)
    }

    /// As [`DynScope::keys`], as a stream.
    ///
    /// # Errors
    ///
    /// As there.
    pub async fn keys(&self) -> Result<Listing<Json>> {
        Listing::of_keys(&self.scope.core, |key| Ok(key_json(key))).await
    }

    /// As [`DynScope::iter`], as a stream.
    ///
    /// # Errors
    ///
    /// As there.
    pub async fn iter(&self) -> Result<Listing<Json>> {
        let schema = self.scope.core.schema.clone();
        Listing::of_rows(&self.scope.core, move |row| value_json(&schema, row)).await
    }

    /// As [`DynScope::rows`], as a stream.
    ///
    /// # Errors
    ///
    /// As there.
    pub async fn rows(&self) -> Result<Listing<Row>> {
        Listing::of_rows(&self.scope.core, Ok).await
    }

    /// As [`DynScope::len`].
    ///
    /// # Errors
    ///
    /// As there.
    pub async fn len(&self) -> Result<u64> {
        self.scope.core.run_blocking(Core::len).await
    }

    /// As [`DynScope::clear`].
    ///
    /// # Errors
    ///
    /// As there.
    #[doc(alias = "invalidate_all")]
    pub async fn clear(&self) -> Result<()> {
        self.scope.core.run_blocking(Core::clear).await
    }

    fn key_list<K: DynKey>(&self, keys: impl IntoIterator<Item = K>) -> Vec<Result<Key>> {
        keys.into_iter().map(|key| self.scope.key(key)).collect()
    }

    fn row_list<K: DynKey>(
        &self,
        entries: impl IntoIterator<Item = (K, Json)>,
    ) -> Vec<Result<Row>> {
        entries.into_iter().map(|(key, value)| self.scope.row(key, value)).collect()
    }

    async fn set_row_list(&self, rows: Vec<Result<Row>>, ttl: Option<Duration>) -> Result<usize> {
        self.scope.core.run_blocking(move |core| core.set_many(rows.into_iter(), ttl)).await
    }

    fn json_list(&self, rows: Vec<Option<Row>>) -> Result<Vec<Option<Json>>> {
        rows.into_iter().map(|row| self.scope.json_or_none(row)).collect()
    }
}
