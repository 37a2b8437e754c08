//! The cache for async code: the same cache, whose calls are futures.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use super::{Cache, CacheBuilder};
use crate::clock::Clock;
use crate::executor::Executor;
use crate::layers::OnFailure;
use crate::registry::Registry;
use crate::scope::{AsyncDynScope, AsyncMapScope, AsyncScope};
use crate::store::{Capabilities, Store};
use crate::{
    ColumnValue, OnUnavailable, Plan, RecordKey, Result, Schema, Schemas, ScopeRecord, SingleFlight,
};

/// A cache for async code. Cheap to clone; every clone is the same cache.
///
/// Its methods are those of [`Cache`], with the same rules and errors, and its scopes have the
/// methods of the blocking ones. It needs no particular runtime: calls that may wait for a file or a
/// server run on threads of its own, of which there are at most two more than the store has
/// connections, however many futures wait. Diesel queries stay on the blocking side:
/// [`into_blocking`](AsyncCache::into_blocking).
///
/// ```
/// use hilcat::AsyncCache;
///
/// # pollster::block_on(async {
/// let cache = AsyncCache::from_uri("memory:").await?;
/// let squares = cache.map::<i64, i64>("squares").await?;
/// assert_eq!(squares.get(7, || async { 49 }).await?, 49);
/// assert_eq!(cache.scopes().await?, ["squares"]);
/// # Ok::<(), hilcat::Error>(())
/// # })?;
/// # Ok::<(), hilcat::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct AsyncCache {
    cache: Cache,
}

impl Cache {
    pub(crate) fn executor(&self) -> &Arc<Executor> {
        &self.inner.executor
    }

    /// Returns this cache for async code.
    pub fn into_async(self) -> AsyncCache {
        AsyncCache { cache: self }
    }

    async fn run<T: Send + 'static>(&self, call: impl FnOnce(&Self) -> T + Send + 'static) -> T {
        if self.capabilities().non_blocking {
            return call(self);
        }
        let cache = self.clone();
        self.executor().run(move || call(&cache)).await
    }
}

impl AsyncCache {
    /// As [`Cache::from_uri`].
    ///
    /// # Errors
    ///
    /// As there.
    pub async fn from_uri(uri: &str) -> Result<Self> {
        Self::builder(uri).open().await
    }

    /// As [`Cache::builder`].
    pub fn builder(uri: impl Into<String>) -> AsyncCacheBuilder {
        AsyncCacheBuilder { builder: Cache::builder(uri) }
    }

    /// As [`Cache::from_store`].
    pub fn from_store(store: impl Store + 'static) -> Self {
        Cache::from_store(store).into_async()
    }

    /// As [`Cache::builder_from_store`].
    pub fn builder_from_store(store: impl Store + 'static) -> AsyncCacheBuilder {
        AsyncCacheBuilder { builder: Cache::builder_from_store(store) }
    }

    /// As [`Cache::memory`].
    pub fn memory() -> Self {
        Cache::memory().into_async()
    }

    /// As [`Cache::noop`].
    pub fn noop() -> Self {
        Cache::noop().into_async()
    }

    /// As [`Cache::tiered`].
    pub fn tiered(near: Self, far: Self) -> Self {
        Cache::tiered(near.cache, far.cache).into_async()
    }

    /// As [`Cache::staged`].
    pub fn staged(memory: Self, storage: Self) -> Self {
        Cache::staged(memory.cache, storage.cache).into_async()
    }

    /// As [`Cache::fan_out`].
    pub fn fan_out(primary: Self, writers: impl IntoIterator<Item = Self>) -> Self {
        Self::fan_out_with(primary, writers, OnFailure::Stop)
    }

    /// As [`Cache::fan_out_with`].
    pub fn fan_out_with(
        primary: Self,
        writers: impl IntoIterator<Item = Self>,
        on_failure: OnFailure,
    ) -> Self {
        let writers = writers.into_iter().map(Self::into_blocking);
        Cache::fan_out_with(primary.cache, writers, on_failure).into_async()
    }

    /// As [`Cache::prefix`].
    pub fn prefix(&self, prefix: &str) -> Self {
        self.cache.prefix(prefix).into_async()
    }

    /// As [`Cache::read_only`].
    pub fn read_only(&self) -> Self {
        self.cache.read_only().into_async()
    }

    /// Returns the same cache for blocking code.
    pub fn into_blocking(self) -> Cache {
        self.cache
    }

    /// As [`Cache::scope`].
    ///
    /// # Errors
    ///
    /// As there.
    pub async fn scope<R: ScopeRecord>(&self) -> Result<AsyncScope<R>> {
        let schema = R::schema();
        Ok(AsyncScope::new(self.cache.run(move |cache| cache.open(schema)).await?))
    }

    /// As [`Cache::map`].
    ///
    /// # Errors
    ///
    /// As there.
    pub async fn map<K: RecordKey, V: ColumnValue>(
        &self,
        name: &str,
    ) -> Result<AsyncMapScope<K, V>> {
        let schema = crate::MapScope::<K, V>::schema_of(name);
        Ok(AsyncMapScope::new(self.cache.run(move |cache| cache.open(schema)).await?))
    }

    /// As [`Cache::dynamic`].
    ///
    /// # Errors
    ///
    /// As there.
    pub async fn dynamic(&self, name: &str) -> Result<AsyncDynScope> {
        let name = name.to_owned();
        Ok(AsyncDynScope::new(self.cache.run(move |cache| cache.dynamic(&name)).await?))
    }

    /// As [`Cache::dynamic_with`].
    ///
    /// # Errors
    ///
    /// As there.
    pub async fn dynamic_with(&self, schema: Schema) -> Result<AsyncDynScope> {
        Ok(AsyncDynScope::new(self.cache.run(move |cache| cache.dynamic_with(schema)).await?))
    }

    /// As [`Cache::schema_for`].
    ///
    /// # Errors
    ///
    /// As there.
    pub async fn schema_for(&self, name: &str) -> Result<Schema> {
        let name = name.to_owned();
        self.cache.run(move |cache| cache.schema_for(&name)).await
    }

    /// As [`Cache::schemas`].
    pub fn schemas(&self) -> &Schemas {
        self.cache.schemas()
    }

    /// As [`Cache::skipped_tables`].
    pub fn skipped_tables(&self) -> &[(String, String)] {
        self.cache.skipped_tables()
    }

    /// As [`Cache::backend`].
    pub fn backend(&self) -> &'static str {
        self.cache.backend()
    }

    /// As [`Cache::capabilities`].
    pub fn capabilities(&self) -> Capabilities {
        self.cache.capabilities()
    }

    /// As [`Cache::plan`].
    ///
    /// # Errors
    ///
    /// As there.
    pub async fn plan(&self, schema: &Schema) -> Result<Plan> {
        let schema = schema.clone();
        self.cache.run(move |cache| cache.plan(&schema)).await
    }

    /// As [`Cache::migrate`].
    ///
    /// # Errors
    ///
    /// As there.
    pub async fn migrate(&self, schema: &Schema) -> Result<Plan> {
        let schema = schema.clone();
        self.cache.run(move |cache| cache.migrate(&schema)).await
    }

    /// As [`Cache::scopes`].
    ///
    /// # Errors
    ///
    /// As there.
    pub async fn scopes(&self) -> Result<Vec<String>> {
        self.cache.run(Cache::scopes).await
    }

    /// As [`Cache::purge`].
    ///
    /// # Errors
    ///
    /// As there.
    pub async fn purge(&self) -> Result<u64> {
        self.cache.run(Cache::purge).await
    }

    /// As [`Cache::purge_scope`].
    ///
    /// # Errors
    ///
    /// As there.
    pub async fn purge_scope(&self, scope: &str) -> Result<u64> {
        let scope = scope.to_owned();
        self.cache.run(move |cache| cache.purge_scope(&scope)).await
    }

    /// As [`Cache::load`].
    ///
    /// # Errors
    ///
    /// As there.
    pub async fn load(&self, scopes: Option<&[String]>) -> Result<()> {
        let scopes = scopes.map(<[String]>::to_vec);
        self.cache.run(move |cache| cache.load(scopes.as_deref())).await
    }

    /// As [`Cache::backup`].
    ///
    /// # Errors
    ///
    /// As there.
    pub async fn backup(&self, scopes: Option<&[String]>) -> Result<()> {
        let scopes = scopes.map(<[String]>::to_vec);
        self.cache.run(move |cache| cache.backup(scopes.as_deref())).await
    }

    /// As [`Cache::unsaved`].
    ///
    /// # Errors
    ///
    /// As there.
    pub async fn unsaved(&self) -> Result<Vec<String>> {
        self.cache.run(Cache::unsaved).await
    }
}

/// Builds an [`AsyncCache`]; made by [`AsyncCache::builder`]. Its options are those of
/// [`CacheBuilder`].
#[derive(Debug)]
#[must_use = "a builder does nothing until it is opened"]
pub struct AsyncCacheBuilder {
    builder: CacheBuilder,
}

/// Defines the options of [`CacheBuilder`].
macro_rules! options {
    ($($name:ident($($argument:ident: $type:ty)?);)*) => {
        impl AsyncCacheBuilder {
            $(
                #[doc = concat!("As [`CacheBuilder::", stringify!($name), "`].")]
                pub fn $name(mut self, $($argument: $type)?) -> Self {
                    self.builder = self.builder.$name($($argument)?);
                    self
                }
            )*
        }
    };
}

options! {
    registry(registry: &Registry);
    schemas(schemas: Schemas);
    adopt_tables();
    timeout(timeout: Duration);
    pool_size(pool_size: u32);
    read_only(read_only: bool);
    lazy(lazy: bool);
    plan_only();
    ttl(ttl: Duration);
    stale_while_revalidate(window: Duration);
    stale_if_error(window: Duration);
    jitter(jitter: f64);
    negative_ttl(ttl: Duration);
    max_records(records: u64);
    auto_purge(on: bool);
    single_flight(single_flight: SingleFlight);
    on_unavailable(on_unavailable: OnUnavailable);
    clock(clock: impl Clock + 'static);
}

impl AsyncCacheBuilder {
    /// As [`CacheBuilder::new_scope`].
    pub fn new_scope<S: Into<Option<Schema>>>(
        mut self,
        make: impl Fn(&str) -> S + Send + Sync + 'static,
    ) -> Self {
        self.builder = self.builder.new_scope(make);
        self
    }

    /// Sets what runs the computations of `get_in_background`. By default it is the tokio runtime
    /// that the caller is in, or a new thread if there is none.
    ///
    /// ```
    /// use hilcat::AsyncCache;
    ///
    /// # pollster::block_on(async {
    /// let cache = AsyncCache::builder("memory:")
    ///     .spawner(|future| drop(std::thread::spawn(|| pollster::block_on(future))))
    ///     .open()
    ///     .await?;
    /// # Ok::<(), hilcat::Error>(())
    /// # })?;
    /// # Ok::<(), hilcat::Error>(())
    /// ```
    pub fn spawner(
        mut self,
        spawn: impl Fn(Pin<Box<dyn Future<Output = ()> + Send>>) + Send + Sync + 'static,
    ) -> Self {
        self.builder.spawner = Some(Arc::new(spawn));
        self
    }

    /// Opens the cache.
    ///
    /// # Errors
    ///
    /// As [`CacheBuilder::open`].
    pub async fn open(self) -> Result<AsyncCache> {
        // The executor of the cache exists only when the cache is open.
        let executor = Executor::new(0, None);
        Ok(executor.run(|| self.builder.open()).await?.into_async())
    }
}
