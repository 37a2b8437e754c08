//! The cache: an opened backend with its scopes.

mod freshness;
mod functions;
mod layers;

use std::collections::HashMap;
#[cfg(feature = "sql")]
use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

pub(crate) use self::functions::Number;
#[cfg(feature = "sql")]
use crate::backend::{Engine, Pooled};
use crate::backends;
#[cfg(feature = "sql")]
use crate::backends::sql::diesel::checkout::Access;
use crate::clock::SharedClock;
#[cfg(feature = "sql")]
use crate::compute::TransactionWrites;
use crate::freshness::{Freshness, OnUnavailable};
use crate::layers::ReadOnly;
use crate::outage::LazyScope;
use crate::registry::Registry;
use crate::scope::{Absent, Core, Opening};
use crate::spelling::did_you_mean;
use crate::store::{ABSENT, Capabilities, Options, ScopeStore, Store};
use crate::{
    ColumnValue, DynScope, Error, ErrorKind, MapScope, Plan, RecordKey, Result, Schema, Schemas,
    Scope, ScopeRecord,
};

/// An opened backend with its scopes. Cheap to clone; every clone is the same cache.
///
/// ```
/// # #[cfg(feature = "derive")] {
/// use hilcat::{Cache, ScopeRecord};
///
/// #[derive(Debug, Clone, PartialEq, ScopeRecord)]
/// #[scope(name = "a")]
/// struct Article {
///     #[scope(unique)]
///     id: String,
///     count: i32,
/// }
///
/// let cache = Cache::from_uri("memory:")?;
/// let articles = cache.scope::<Article>()?;
/// let article = articles.get("a1", || Article { id: "a1".into(), count: 1 })?;
/// assert_eq!(articles.fetch("a1")?, Some(article));
/// assert_eq!(cache.scopes()?, ["a"]);
/// # }
/// # Ok::<(), hilcat::Error>(())
/// ```
#[derive(Clone)]
pub struct Cache {
    inner: Arc<Inner>,
}

struct Inner {
    store: Arc<dyn Store>,
    schemas: Schemas,
    skipped_tables: Vec<(String, String)>,
    new_scope: Option<NewScope>,
    /// What is said of freshness for scopes that do not say it themselves.
    defaults: Freshness,
    clock: SharedClock,
    /// What layers shared it share.
    shared: layers::SharedState,
    /// Those of cached functions.
    functions: functions::Functions,
    /// The opened scopes: one of a name for each schema that it was opened with.
    opened: Mutex<HashMap<String, Vec<Arc<Core>>>>,
}

/// What a cache is made with besides its store.
#[derive(Default)]
struct Settings {
    schemas: Schemas,
    skipped_tables: Vec<(String, String)>,
    new_scope: Option<NewScope>,
    defaults: Freshness,
    clock: SharedClock,
}

type NewScope = Arc<dyn Fn(&str) -> Option<Schema> + Send + Sync>;

impl fmt::Debug for Cache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cache").field("backend", &self.inner.store.name()).finish_non_exhaustive()
    }
}

impl Cache {
    /// Opens the cache that a URI names.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidConfig`] where the URI's scheme or one of its options is unknown,
    /// naming the known ones; [`ErrorKind::Unavailable`] where the backend cannot be reached.
    pub fn from_uri(uri: &str) -> Result<Self> {
        Self::builder(uri).open()
    }

    /// A builder for the cache that a URI names: for schemas, adopted tables and options.
    pub fn builder(uri: impl Into<String>) -> CacheBuilder {
        CacheBuilder::new(Source::Uri(uri.into()))
    }

    /// A cache on a store that is opened already.
    pub fn from_store(store: impl Store + 'static) -> Self {
        Self::build(Arc::new(store), Settings::default())
    }

    /// A builder for the cache on a store that is opened already.
    pub fn builder_from_store(store: impl Store + 'static) -> CacheBuilder {
        CacheBuilder::new(Source::Store(Arc::new(store)))
    }

    /// A cache in the memory of the process, without bounds.
    pub fn memory() -> Self {
        Self::from_store(backends::memory::Memory::new())
    }

    /// A cache that stores nothing and computes always.
    pub fn noop() -> Self {
        Self::from_store(backends::noop::Noop)
    }

    fn build(store: Arc<dyn Store>, settings: Settings) -> Self {
        let Settings { schemas, skipped_tables, new_scope, defaults, clock } = settings;
        let (shared, functions, opened) = Default::default();
        Self {
            inner: Arc::new(Inner {
                store,
                schemas,
                skipped_tables,
                new_scope,
                defaults,
                clock,
                shared,
                functions,
                opened,
            }),
        }
    }

    /// Opens the scope of a record type: its table is made, or upgraded as the schema's policy
    /// says. Opening it again costs nothing.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::SchemaChange`] with the plan where the table differs in a way that is not
    /// changed without being told to; [`ErrorKind::InvalidSchema`]; and where the backend fails.
    pub fn scope<R: ScopeRecord>(&self) -> Result<Scope<R>> {
        Ok(Scope::new(self.open(R::schema())?))
    }

    /// Opens a scope of one value of type `V` for each key of type `K`.
    ///
    /// # Errors
    ///
    /// As [`scope`](Cache::scope).
    pub fn map<K: RecordKey, V: ColumnValue>(&self, name: &str) -> Result<MapScope<K, V>> {
        Ok(MapScope::new(self.open(MapScope::<K, V>::schema_of(name))?))
    }

    /// Opens a scope whose schema was given to the builder.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::UnknownScope`], naming the declared ones, where it was not given and
    /// [`new_scope`](CacheBuilder::new_scope) makes none; and as [`scope`](Cache::scope).
    pub fn dynamic(&self, name: &str) -> Result<DynScope> {
        Ok(DynScope::new(self.open(self.schema_for(name)?)?))
    }

    /// Opens a scope of a schema at hand.
    ///
    /// # Errors
    ///
    /// As [`scope`](Cache::scope).
    pub fn dynamic_with(&self, schema: Schema) -> Result<DynScope> {
        Ok(DynScope::new(self.open(schema)?))
    }

    /// The schema that was declared for a scope.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::UnknownScope`], naming the declared ones.
    #[doc(alias = "declared")]
    pub fn schema_for(&self, name: &str) -> Result<Schema> {
        if let Some(schema) = self.inner.schemas.get(name) {
            return Ok(schema.clone());
        }
        let made = self.inner.new_scope.as_ref().and_then(|make| make(name));
        let made = made.or_else(|| self.inner.store.implicit_schema(name));
        let schema = made.ok_or_else(|| self.unknown_scope(name))?;
        match schema.name == name {
            true => Ok(schema),
            false => Err(Error::invalid_schema(format!(
                "the schema made for the scope `{name}` is named `{}`",
                schema.name
            ))),
        }
    }

    fn unknown_scope(&self, name: &str) -> Error {
        let names: Vec<&str> =
            self.inner.schemas.iter().map(|schema| schema.name.as_str()).collect();
        if let Some((_, reason)) = self.inner.skipped_tables.iter().find(|(table, _)| table == name)
        {
            let message =
                format!("no scope `{name}`: the table of that name cannot be one: {reason}");
            return Error::new(ErrorKind::UnknownScope, message);
        }
        let known = match names.is_empty() {
            true => "no scope is declared; give the builder its schemas".to_owned(),
            false => format!("the declared scopes are {}", names.join(", ")),
        };
        let suggestion = did_you_mean(name, names);
        Error::new(ErrorKind::UnknownScope, format!("no scope `{name}`: {known}{suggestion}"))
    }

    /// The schemas that were given to the builder or adopted.
    pub fn schemas(&self) -> &Schemas {
        &self.inner.schemas
    }

    /// The tables that [`adopt_tables`](CacheBuilder::adopt_tables) could not make scopes of, by
    /// name, each with the reason.
    #[doc(alias = "left_out")]
    pub fn skipped_tables(&self) -> &[(String, String)] {
        &self.inner.skipped_tables
    }

    /// The opened scope of a schema; opens it where it is not. The lock is not held while the
    /// backend works: two threads that open one scope at once both get a right answer.
    fn open(&self, schema: Schema) -> Result<Arc<Core>> {
        let schema = self.with_defaults(schema);
        if let Some(core) = self.opened(&schema) {
            return Ok(core);
        }
        schema.validate()?;
        let schema = Arc::new(schema);
        let opened = self.check_freshness(&schema).and_then(|()| self.open_core(&schema));
        let core = opened.map_err(|error| self.with_context("open", &schema, error))?;
        let mut opened = self.inner.opened.lock();
        let of_name = opened.entry(schema.name.clone()).or_default();
        if let Some(core) = of_name.iter().find(|core| *core.schema == *schema) {
            return Ok(core.clone());
        }
        let core = Arc::new(core);
        of_name.push(core.clone());
        Ok(core)
    }

    fn open_core(&self, schema: &Arc<Schema>) -> Result<Core> {
        let absent = Absent::schema_beside(schema).map(|schema| self.open(schema)).transpose()?;
        let stored = match schema.freshness.uses_expiry() {
            true => Arc::new(schema.stored_form()),
            false => schema.clone(),
        };
        Ok(Core::new(Opening {
            backend: self.inner.store.name(),
            schema: schema.clone(),
            store: self.open_in_store(&stored)?,
            flights: self.inner.shared.flights(&schema.name),
            non_blocking: self.capabilities().non_blocking,
            clock: self.inner.clock.clone(),
            absent,
        }))
    }

    /// The scope in the store. Where records are computed although the store cannot be reached, a
    /// scope that cannot be opened for that reason is opened by a later call.
    fn open_in_store(&self, stored: &Arc<Schema>) -> Result<Arc<dyn ScopeStore>> {
        let computes = stored.freshness.on_unavailable == Some(OnUnavailable::Compute);
        match self.inner.store.open(stored) {
            Err(error) if computes && error.is_unreachable() => {
                let store = self.inner.store.clone();
                let open = move |schema: &Arc<Schema>| store.open(schema);
                Ok(Arc::new(LazyScope::new(stored, self.capabilities(), open)))
            }
            opened => opened,
        }
    }

    fn opened(&self, schema: &Schema) -> Option<Arc<Core>> {
        let opened = self.inner.opened.lock();
        opened.get(&schema.name)?.iter().find(|core| *core.schema == *schema).cloned()
    }

    /// What opening or migrating a scope of this schema would change. Changes nothing.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidSchema`], and where the backend fails.
    pub fn plan(&self, schema: &Schema) -> Result<Plan> {
        schema.validate()?;
        self.inner
            .store
            .plan(&self.with_defaults(schema.clone()).stored_form())
            .map_err(|error| self.with_context("plan", schema, error))
    }

    /// Applies the safe steps of a schema's plan, whatever its policy, and under
    /// [`Migrate::Recreate`](crate::Migrate::Recreate) whatever else is needed. Gives the plan
    /// that was applied.
    ///
    /// # Errors
    ///
    /// As [`scope`](Cache::scope).
    pub fn migrate(&self, schema: &Schema) -> Result<Plan> {
        schema.validate()?;
        let plan = self.inner.store.migrate(&self.with_defaults(schema.clone()).stored_form());
        let plan = plan.map_err(|error| self.with_context("migrate", schema, error))?;
        if !plan.is_empty() {
            // A scope that is opened from now on is of the table as it is from now on.
            self.inner.opened.lock().remove(&schema.name);
        }
        Ok(plan)
    }

    fn with_context(&self, operation: &'static str, schema: &Schema, error: Error) -> Error {
        error.in_operation(self.inner.store.name(), operation).with_scope(&schema.name)
    }

    /// The names of all scopes that the backend has, sorted.
    ///
    /// # Errors
    ///
    /// Where the backend fails.
    pub fn scopes(&self) -> Result<Vec<String>> {
        let scopes = self.inner.store.scopes();
        let mut scopes =
            scopes.map_err(|error| error.in_operation(self.inner.store.name(), "scopes"))?;
        // Those of caches under a prefix are among them.
        let beneath = format!("__{ABSENT}");
        scopes.retain(|scope| !scope.starts_with(ABSENT) && !scope.contains(&beneath));
        Ok(scopes)
    }

    /// Reads scopes (all for `None`) from the storage of a [staged](Cache::staged) cache, in place
    /// of what it holds of them; elsewhere it does nothing.
    ///
    /// # Errors
    ///
    /// Where the storage fails.
    pub fn load(&self, scopes: Option<&[String]>) -> Result<()> {
        self.inner.shared.void(scopes);
        let loaded = self.inner.store.load(scopes);
        loaded.map_err(|error| error.in_operation(self.inner.store.name(), "load"))
    }

    /// Writes scopes (for `None` all with unsaved work) to the storage of a
    /// [staged](Cache::staged) cache, each all or nothing; elsewhere it does nothing.
    ///
    /// # Errors
    ///
    /// Where the storage fails.
    pub fn backup(&self, scopes: Option<&[String]>) -> Result<()> {
        let saved = self.inner.store.backup(scopes);
        saved.map_err(|error| error.in_operation(self.inner.store.name(), "backup"))
    }

    /// The names of the scopes, sorted, of which a staged cache has work that no
    /// [`backup`](Cache::backup) wrote yet; for any other cache there are none.
    ///
    /// # Errors
    ///
    /// Where that cannot be told.
    pub fn unsaved(&self) -> Result<Vec<String>> {
        let unsaved = self.inner.store.unsaved();
        unsaved.map_err(|error| error.in_operation(self.inner.store.name(), "unsaved"))
    }

    /// Lends a connection of the cache's pool, for Diesel queries of your own over the cached rows.
    ///
    /// The closure says which engine's: `|connection: &mut diesel::SqliteConnection|`, `PostgresConnection` or
    /// `MysqlConnection` (in [`backend`](crate::backend)). In SQLite it is the one connection that
    /// writes, and meanwhile every other write to the cache waits, one from within the closure
    /// until its deadline: use [`Scope::on`] there. On a server all that the closure asks has to
    /// end by the deadline of one call. A transaction that is left open is rolled back; leave
    /// settings of the connection as they were.
    ///
    /// ```
    /// # #[cfg(all(feature = "derive", feature = "sqlite"))] {
    /// use diesel::prelude::*;
    /// use hilcat::{Cache, ScopeRecord};
    ///
    /// #[derive(Debug, PartialEq, ScopeRecord)]
    /// #[scope(name = "articles", diesel)]
    /// struct Article {
    ///     #[scope(unique)]
    ///     id: String,
    ///     count: i32,
    /// }
    ///
    /// let cache = Cache::from_uri("sqlite::memory:")?;
    /// let stored = cache.scope::<Article>()?;
    /// stored.set_many(&[Article { id: "a1".into(), count: 1 }, Article { id: "a2".into(), count: 5 }])?;
    ///
    /// let popular = cache.diesel_read(|connection: &mut SqliteConnection| {
    ///     articles::table.filter(articles::count.gt(3)).load::<Article>(connection)
    /// })?;
    /// assert_eq!(popular, [Article { id: "a2".into(), count: 5 }]);
    ///
    /// cache.diesel(|connection: &mut SqliteConnection| {
    ///     diesel::update(articles::table).set(articles::count.eq(0)).execute(connection)
    /// })?;
    /// assert_eq!(stored.fetch("a2")?.map(|article| article.count), Some(0));
    /// # }
    /// # Ok::<(), hilcat::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Unsupported`], naming both, where the cache is not on the connection's engine;
    /// [`ErrorKind::Timeout`] where no connection is free until the deadline. What the closure
    /// gives: an error of hilcat's as it is, one of Diesel's as the kind that it is, and any other
    /// as [`ErrorKind::Compute`]; the latter two as the [source](StdError::source).
    #[cfg(feature = "sql")]
    pub fn diesel<C, T, E>(&self, call: impl FnOnce(&mut C) -> Result<T, E>) -> Result<T>
    where
        C: Pooled,
        E: Into<Box<dyn StdError + Send + Sync>>,
    {
        self.checkout("diesel", Access::Write, call)
    }

    /// The same as [`diesel`](Cache::diesel) for queries that only read: in SQLite it is one of
    /// the connections that read beside the one that writes.
    ///
    /// # Errors
    ///
    /// As [`diesel`](Cache::diesel).
    #[cfg(feature = "sql")]
    pub fn diesel_read<C, T, E>(&self, call: impl FnOnce(&mut C) -> Result<T, E>) -> Result<T>
    where
        C: Pooled,
        E: Into<Box<dyn StdError + Send + Sync>>,
    {
        self.checkout("diesel_read", Access::Read, call)
    }

    #[cfg(feature = "sql")]
    fn checkout<C, T, E>(
        &self,
        operation: &'static str,
        access: Access,
        call: impl FnOnce(&mut C) -> Result<T, E>,
    ) -> Result<T>
    where
        C: Pooled,
        E: Into<Box<dyn StdError + Send + Sync>>,
    {
        let backend = self.inner.store.name();
        if access == Access::Write && self.capabilities().read_only {
            return Err(Error::read_only().in_operation(backend, operation));
        }
        let _writes = TransactionWrites::begin();
        if self.inner.store.database().is_none() {
            // A lazy cache has none while its server cannot be reached.
            self.inner.store.ping().map_err(|error| error.in_operation(backend, operation))?;
        }
        let result = C::checkout(&*self.inner.store, access, call).unwrap_or_else(|| {
            Err(Error::unsupported(format!(
                "the cache is on `{backend}`, and the closure wants a connection to `{}`",
                <C::Backend as Engine>::NAME
            )))
        });
        result.map_err(|error| error.in_operation(backend, operation))
    }

    /// The name of the backend, as messages have it.
    pub fn backend(&self) -> &'static str {
        self.inner.store.name()
    }

    /// What the backend does beyond the common contract.
    pub fn capabilities(&self) -> Capabilities {
        self.inner.store.capabilities()
    }
}

/// What a cache is opened on.
enum Source {
    Uri(String),
    Store(Arc<dyn Store>),
}

/// Builds a [`Cache`]; made by [`Cache::builder`].
#[must_use = "a builder does nothing until it is opened"]
pub struct CacheBuilder {
    source: Source,
    schemas: Schemas,
    new_scope: Option<NewScope>,
    adopt_tables: bool,
    options: Options,
    registry: Registry,
}

impl fmt::Debug for CacheBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CacheBuilder")
            .field("schemas", &self.schemas)
            .field("adopt_tables", &self.adopt_tables)
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}

impl CacheBuilder {
    fn new(source: Source) -> Self {
        Self {
            source,
            schemas: Schemas::default(),
            new_scope: None,
            adopt_tables: false,
            options: Options::default(),
            registry: Registry::new(),
        }
    }

    /// Opens the URI by a registry, which may have schemes of one's own.
    pub fn registry(mut self, registry: &Registry) -> Self {
        self.registry = registry.clone();
        self
    }

    /// Declares scopes, for [`Cache::dynamic`]. Given again, it adds to those before; of two with
    /// one name the last one counts.
    pub fn schemas(mut self, schemas: Schemas) -> Self {
        self.schemas.extend(schemas);
        self
    }

    /// Makes the schema of a scope that is not declared, when it is asked for; `None` leaves it
    /// undeclared.
    pub fn new_scope<S: Into<Option<Schema>>>(
        mut self,
        make: impl Fn(&str) -> S + Send + Sync + 'static,
    ) -> Self {
        self.new_scope = Some(Arc::new(move |name| make(name).into()));
        self
    }

    /// Declares a scope for each table that stands in the database and has a primary key. A
    /// declared scope of the same name goes before. [`Cache::skipped_tables`] tells which tables cannot
    /// be scopes, and why.
    pub fn adopt_tables(mut self) -> Self {
        self.adopt_tables = true;
        self
    }

    /// Sets the deadline of one call; 5 seconds by default. An option in the URI goes before.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.options.timeout = timeout;
        self
    }

    /// Sets how many connections are kept at the most; 8 by default, and at least 1. An option in
    /// the URI goes before.
    pub fn pool_size(mut self, pool_size: u32) -> Self {
        self.options.pool_size = pool_size.max(1);
        self
    }

    /// Opens the cache to be read: nothing that is stored is changed, not even by opening it or a
    /// scope. No file, directory, table, column, index or registry is made, and nothing is left
    /// behind; every write is [`ErrorKind::ReadOnly`]. `read_only=true` is the same in a URI.
    ///
    /// A scope without a table has no records. A column that its records lack reads as its default,
    /// or NULL; if they cannot be read under the schema as they are, opening the scope is
    /// [`ErrorKind::SchemaChange`]. A file or directory that does not exist is
    /// [`ErrorKind::Unavailable`]. A `get` that finds nothing computes, and is an error as the write
    /// that it needs is; `fetch` never writes.
    ///
    /// SQLite files and directories of files can be read without write permission and on a file
    /// system that is mounted read-only. A tiered cache reads its far store only, and a staged cache
    /// its storage.
    ///
    /// ```
    /// use hilcat::{Cache, ErrorKind};
    ///
    /// let cache = Cache::builder("memory:").read_only(true).open()?;
    /// let squares = cache.map::<i64, i64>("squares")?;
    /// assert_eq!(squares.fetch(7)?, None);
    /// assert_eq!(squares.set(7, &49).unwrap_err().kind(), ErrorKind::ReadOnly);
    /// assert!(cache.scopes()?.is_empty());
    /// # Ok::<(), hilcat::Error>(())
    /// ```
    pub fn read_only(mut self, read_only: bool) -> Self {
        self.options.read_only = read_only;
        self
    }

    /// Opens the cache without contacting its server: the first call connects, and a failure is
    /// tried again by later calls. Opening a scope does not contact it either, so that an error of
    /// its schema comes with the first call that uses the scope. `lazy=true` is the same in a URI;
    /// an option in the URI goes before. What is wrong in the URI is an error nonetheless.
    ///
    /// So a cache in a `static` is there whether or not its server is up when the program starts. A
    /// backend without a server is opened at once.
    ///
    /// ```
    /// # #[cfg(all(feature = "derive", feature = "redis"))] {
    /// use std::sync::LazyLock;
    ///
    /// use hilcat::{Cache, OnUnavailable, cached};
    ///
    /// static CACHE: LazyLock<Cache> = LazyLock::new(|| {
    ///     let cache = Cache::builder("redis://127.0.0.1:1/0").lazy(true);
    ///     cache.on_unavailable(OnUnavailable::Compute).open().unwrap()
    /// });
    ///
    /// #[cached(cache = CACHE)]
    /// fn square(n: i64) -> Result<i64, hilcat::Error> {
    ///     Ok(n * n)
    /// }
    ///
    /// // No server is there: it computes.
    /// assert_eq!(square(7)?, 49);
    /// # }
    /// # Ok::<(), hilcat::Error>(())
    /// ```
    pub fn lazy(mut self, lazy: bool) -> Self {
        self.options.lazy = lazy;
        self
    }

    /// Opens the cache for [`Cache::plan`]: [`read_only`](CacheBuilder::read_only), and a file or
    /// directory that does not exist counts as an empty one, so that the plan says what would be
    /// made.
    pub fn plan_only(mut self) -> Self {
        self.options.read_only = true;
        self.options.missing_is_empty = true;
        self
    }

    /// Opens the cache.
    ///
    /// # Errors
    ///
    /// As [`Cache::from_uri`]; [`ErrorKind::Unsupported`] where tables are to be adopted from a
    /// backend that has none.
    pub fn open(self) -> Result<Cache> {
        self.options.freshness.validate()?;
        let (store, options) = match self.source {
            Source::Store(store) if self.options.read_only => (ReadOnly::wrap(store), self.options),
            Source::Store(store) => (store, self.options),
            Source::Uri(uri) => self.registry.open(&uri, self.options)?,
        };
        let mut schemas = self.schemas;
        let mut skipped_tables = Vec::new();
        if self.adopt_tables {
            let adopted =
                store.adopt().map_err(|error| error.in_operation(store.name(), "adopt"))?;
            let new =
                adopted.schemas.into_iter().filter(|schema| schemas.get(&schema.name).is_none());
            let new: Vec<Schema> = new.collect();
            schemas.extend(new);
            skipped_tables = adopted.skipped_tables;
        }
        options.freshness.validate()?;
        let (defaults, clock) = (options.freshness, options.clock);
        let new_scope = self.new_scope;
        Ok(Cache::build(store, Settings { schemas, skipped_tables, new_scope, defaults, clock }))
    }
}
