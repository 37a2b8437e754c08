//! The handle on a scope of typed records.

use std::borrow::Borrow;
use std::error::Error as StdError;
use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use super::Listing;
use crate::scope::{Core, Entry, Scope};
use crate::{Error, IntoKey, Key, RecordKey, Result, Row, Schema, ScopeRecord};

/// A scope of records of type `R`, for async code. Cheap to clone.
///
/// Its methods are those of [`Scope`], with the same rules and errors. A future can be dropped at
/// any time: no key stays locked, and a write is done as a whole or not at all. A write whose future
/// was dropped may still happen.
///
/// Fetches that are made at the same time become one statement of the backend, and so do sets; each
/// caller gets its own result.
///
/// ```
/// # #[cfg(feature = "derive")] {
/// use hilcat::{AsyncCache, ScopeRecord};
///
/// #[derive(Debug, Clone, PartialEq, ScopeRecord)]
/// #[scope(name = "articles")]
/// struct Article {
///     #[scope(unique)]
///     id: String,
///     count: i32,
/// }
///
/// # pollster::block_on(async {
/// let cache = AsyncCache::from_uri("memory:").await?;
/// let articles = cache.scope::<Article>().await?;
/// let article = articles.get("a1", || async { Article { id: "a1".into(), count: 1 } }).await?;
/// assert_eq!(articles.fetch("a1").await?, Some(article));
/// # Ok::<(), hilcat::Error>(())
/// # })?;
/// # }
/// # Ok::<(), hilcat::Error>(())
/// ```
pub struct AsyncScope<R> {
    core: Arc<Core>,
    record: PhantomData<fn() -> R>,
}

impl<R> Clone for AsyncScope<R> {
    fn clone(&self) -> Self {
        Self { core: self.core.clone(), record: PhantomData }
    }
}

impl<R> fmt::Debug for AsyncScope<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AsyncScope").field("name", &self.core.schema.name).finish_non_exhaustive()
    }
}

impl<R: ScopeRecord> AsyncScope<R> {
    pub(crate) fn new(core: Arc<Core>) -> Self {
        Self { core, record: PhantomData }
    }

    /// Returns the blocking handle of the same scope.
    pub fn into_blocking(self) -> Scope<R> {
        Scope::new(self.core)
    }

    /// Returns the schema of the scope.
    pub fn schema(&self) -> &Schema {
        &self.core.schema
    }

    /// As [`Scope::exists`].
    ///
    /// # Errors
    ///
    /// As there.
    #[doc(alias = "contains_key")]
    pub async fn exists(&self, key: impl IntoKey<R::Key>) -> Result<bool> {
        let key = key.into_key();
        self.core.run_blocking(move |core| core.exists(key)).await
    }

    /// As [`Scope::fetch`].
    ///
    /// # Errors
    ///
    /// As there.
    #[doc(alias = "get")]
    pub async fn fetch(&self, key: impl IntoKey<R::Key>) -> Result<Option<R>> {
        let key = key.into_key();
        record(self.core.fetch_async(key).await?)
    }

    /// As [`Scope::fetch_many`].
    ///
    /// # Errors
    ///
    /// As there.
    pub async fn fetch_many<K: IntoKey<R::Key>>(
        &self,
        keys: impl IntoIterator<Item = K>,
    ) -> Result<Vec<Option<R>>> {
        let keys = key_list(keys);
        let fetch = move |core: &Core| core.fetch_many(keys.into_iter());
        self.core.run_blocking(fetch).await?.into_iter().map(record).collect()
    }

    /// As [`Scope::set`].
    ///
    /// # Errors
    ///
    /// As there.
    #[doc(alias("insert", "put"))]
    pub async fn set(&self, record: &R) -> Result<()> {
        let row = record.to_row();
        self.core.set_async(row, None).await
    }

    /// As [`Scope::set_many`].
    ///
    /// # Errors
    ///
    /// As there.
    pub async fn set_many<T: Borrow<R>>(&self, records: impl IntoIterator<Item = T>) -> Result<()> {
        let rows = row_list(records);
        self.core.run_blocking(move |core| core.set_many(rows.into_iter(), None)).await.map(drop)
    }

    /// As [`Scope::set_with_ttl`].
    ///
    /// # Errors
    ///
    /// As there.
    pub async fn set_with_ttl(&self, record: &R, ttl: Duration) -> Result<()> {
        let row = record.to_row();
        self.core.set_async(row, Some(ttl)).await
    }

    /// As [`Scope::set_many_with_ttl`].
    ///
    /// # Errors
    ///
    /// As there.
    pub async fn set_many_with_ttl<T: Borrow<R>>(
        &self,
        records: impl IntoIterator<Item = T>,
        ttl: Duration,
    ) -> Result<()> {
        let rows = row_list(records);
        let set = move |core: &Core| core.set_many(rows.into_iter(), Some(ttl));
        self.core.run_blocking(set).await.map(drop)
    }

    /// As [`Scope::touch`].
    ///
    /// # Errors
    ///
    /// As there.
    pub async fn touch(&self, key: impl IntoKey<R::Key>) -> Result<bool> {
        let key = key.into_key();
        self.core.run_blocking(move |core| core.touch(key)).await
    }

    /// As [`Scope::entry`].
    ///
    /// # Errors
    ///
    /// As there.
    pub async fn entry(&self, key: impl IntoKey<R::Key>) -> Result<Option<Entry<R>>> {
        let key = key.into_key();
        let entry = self.core.run_blocking(move |core| core.entry(key)).await?;
        entry.map(|entry| Entry::read(entry, R::from_row)).transpose()
    }

    /// As [`Scope::purge`].
    ///
    /// # Errors
    ///
    /// As there.
    pub async fn purge(&self) -> Result<u64> {
        self.core.run_blocking(Core::purge).await
    }

    /// As [`Scope::update`].
    ///
    /// # Errors
    ///
    /// As there.
    #[doc(alias = "replace")]
    pub async fn update(&self, new: &R) -> Result<Option<R>> {
        let row = new.to_row();
        record(self.core.run_blocking(move |core| core.update(row)).await?)
    }

    /// As [`Scope::get`]: one of the tasks and threads that need the record computes it, and the
    /// others wait for it. If the future that computes is dropped, another one computes.
    ///
    /// # Errors
    ///
    /// As there.
    #[doc(alias("get_with", "get_or_insert_with"))]
    pub async fn get<F: Future<Output = R>>(
        &self,
        key: impl IntoKey<R::Key>,
        compute: impl FnOnce() -> F,
    ) -> Result<R> {
        let key = key.into_key();
        let compute = || async { compute().await.to_row() };
        R::from_row(self.core.get_async(key, compute).await?)
    }

    /// As [`Scope::try_get`].
    ///
    /// # Errors
    ///
    /// As there.
    pub async fn try_get<E, F>(
        &self,
        key: impl IntoKey<R::Key>,
        compute: impl FnOnce() -> F,
    ) -> Result<R>
    where
        E: Into<Box<dyn StdError + Send + Sync>>,
        F: Future<Output = Result<R, E>>,
    {
        let key = key.into_key();
        let compute = || async { compute().await.map_err(Error::of_closure)?.to_row() };
        R::from_row(self.core.get_async(key, compute).await?)
    }

    /// As [`Scope::get_optional`].
    ///
    /// # Errors
    ///
    /// As there.
    pub async fn get_optional<F: Future<Output = Option<R>>>(
        &self,
        key: impl IntoKey<R::Key>,
        compute: impl FnOnce() -> F,
    ) -> Result<Option<R>> {
        let key = key.into_key();
        let compute = || async { compute().await.map(|record| record.to_row()).transpose() };
        record(self.core.get_optional_async(key, compute).await?)
    }

    /// As [`Scope::refresh`].
    ///
    /// # Errors
    ///
    /// As there.
    pub async fn refresh<F: Future<Output = R>>(
        &self,
        key: impl IntoKey<R::Key>,
        compute: impl FnOnce() -> F,
    ) -> Result<R> {
        let key = key.into_key();
        let compute = || async { compute().await.to_row() };
        R::from_row(self.core.refresh_async(key, compute).await?)
    }

    /// As [`Scope::get_in_background`]. The future runs by
    /// [`AsyncCacheBuilder::spawner`](crate::AsyncCacheBuilder::spawner), or on the tokio runtime of
    /// the caller, or on a new thread.
    ///
    /// # Errors
    ///
    /// As there.
    pub async fn get_in_background<F>(
        &self,
        key: impl IntoKey<R::Key>,
        compute: impl FnOnce() -> F + Send + 'static,
    ) -> Result<R>
    where
        F: Future<Output = R> + Send + 'static,
    {
        let key = key.into_key();
        let compute = move || {
            let computed = compute();
            async move { computed.await.to_row() }
        };
        R::from_row(self.core.get_in_background_async(key, compute).await?)
    }

    /// As [`Scope::get_many`], but `compute` is called at most once, with all missing keys.
    ///
    /// # Errors
    ///
    /// As there.
    pub async fn get_many<K, I, F>(
        &self,
        keys: impl IntoIterator<Item = K>,
        compute: impl FnOnce(Vec<R::Key>) -> F,
    ) -> Result<Vec<R>>
    where
        K: IntoKey<R::Key>,
        I: IntoIterator<Item = R>,
        F: Future<Output = I>,
    {
        let keys = key_list(keys).into_iter().collect();
        let compute = |missing: Vec<Key>| async move {
            let missing = missing.into_iter().map(R::Key::from_key).collect::<Result<Vec<_>>>()?;
            Ok(row_list(compute(missing).await))
        };
        let rows = self.core.get_many_async(keys, compute).await?;
        rows.into_iter().map(R::from_row).collect()
    }

    /// As [`Scope::pop`].
    ///
    /// # Errors
    ///
    /// As there.
    #[doc(alias("remove", "invalidate"))]
    pub async fn pop(&self, key: impl IntoKey<R::Key>) -> Result<Option<R>> {
        let key = key.into_key();
        record(self.core.run_blocking(move |core| core.pop(key)).await?)
    }

    /// As [`Scope::pop_many`].
    ///
    /// # Errors
    ///
    /// As there.
    pub async fn pop_many<K: IntoKey<R::Key>>(
        &self,
        keys: impl IntoIterator<Item = K>,
    ) -> Result<Vec<Option<R>>> {
        let keys = key_list(keys);
        let rows = self.core.run_blocking(move |core| core.pop_many(keys.into_iter())).await?;
        rows.into_iter().map(record).collect()
    }

    /// As [`Scope::keys`], as a stream.
    ///
    /// # Errors
    ///
    /// As there.
    pub async fn keys(&self) -> Result<Listing<R::Key>>
    where
        R::Key: 'static,
    {
        Listing::of_keys(&self.core, R::Key::from_key).await
    }

    /// As [`Scope::iter`], as a stream.
    ///
    /// # Errors
    ///
    /// As there.
    pub async fn iter(&self) -> Result<Listing<R>>
    where
        R: 'static,
    {
        Listing::of_rows(&self.core, R::from_row).await
    }

    /// As [`Scope::len`].
    ///
    /// # Errors
    ///
    /// As there.
    pub async fn len(&self) -> Result<u64> {
        self.core.run_blocking(Core::len).await
    }

    /// As [`Scope::clear`].
    ///
    /// # Errors
    ///
    /// As there.
    #[doc(alias = "invalidate_all")]
    pub async fn clear(&self) -> Result<()> {
        self.core.run_blocking(Core::clear).await
    }
}

fn record<R: ScopeRecord>(row: Option<Row>) -> Result<Option<R>> {
    row.map(R::from_row).transpose()
}

fn key_list<K: RecordKey, T: IntoKey<K>>(keys: impl IntoIterator<Item = T>) -> Vec<Result<Key>> {
    keys.into_iter().map(IntoKey::into_key).collect()
}

fn row_list<R: ScopeRecord, T: Borrow<R>>(
    records: impl IntoIterator<Item = T>,
) -> Vec<Result<Row>> {
    records.into_iter().map(|record| record.borrow().to_row()).collect()
}
