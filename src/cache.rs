//! The cache: an opened backend with its scopes.

#[cfg(feature = "async")]
mod asynchronous;
mod builder;
#[cfg(feature = "sql")]
mod checkout;
mod freshness;
mod functions;
mod layers;
mod staged;

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use parking_lot::Mutex;

#[cfg(feature = "async")]
pub use self::asynchronous::{AsyncCache, AsyncCacheBuilder};
pub use self::builder::CacheBuilder;
use self::builder::Source;
pub(crate) use self::functions::FunctionId;
use crate::backends;
use crate::clock::SharedClock;
#[cfg(feature = "async")]
use crate::executor::Executor;
use crate::freshness::{Freshness, OnUnavailable};
use crate::outage::LazyScope;
use crate::scope::{Absent, Core, Opening};
use crate::spelling::did_you_mean;
use crate::store::{ABSENT, Capabilities, ScopeStore, Store};
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
    /// The freshness options of scopes that do not set them.
    defaults: Freshness,
    clock: SharedClock,
    /// The state shared with layers over this cache.
    shared: layers::SharedState,
    /// The scopes of cached functions.
    functions: functions::Functions,
    /// Runs the calls of futures.
    #[cfg(feature = "async")]
    executor: Arc<Executor>,
    /// The opened scopes by name, one for each schema that the scope was opened with.
    opened: Mutex<HashMap<String, Vec<Arc<Core>>>>,
}

/// The settings of a new cache, apart from its store.
#[derive(Default)]
struct Settings {
    schemas: Schemas,
    skipped_tables: Vec<(String, String)>,
    new_scope: Option<NewScope>,
    defaults: Freshness,
    clock: SharedClock,
    #[cfg(feature = "async")]
    executor: Arc<Executor>,
}

type NewScope = Arc<dyn Fn(&str) -> Option<Schema> + Send + Sync>;

impl fmt::Debug for Cache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cache").field("backend", &self.inner.store.name()).finish_non_exhaustive()
    }
}

impl Cache {
    /// Opens the cache described by a URI.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidConfig`] if the scheme or an option of the URI is unknown; the message
    /// lists the known ones. [`ErrorKind::Unavailable`] if the backend cannot be reached.
    pub fn from_uri(uri: &str) -> Result<Self> {
        Self::builder(uri).open()
    }

    /// Returns a builder for the cache described by a URI, to set schemas, adopted tables and
    /// options.
    pub fn builder(uri: impl Into<String>) -> CacheBuilder {
        CacheBuilder::new(Source::Uri(uri.into()))
    }

    /// Creates a cache on an opened store.
    pub fn from_store(store: impl Store + 'static) -> Self {
        Self::build(Arc::new(store), Settings::default())
    }

    /// Returns a builder for a cache on an opened store.
    pub fn builder_from_store(store: impl Store + 'static) -> CacheBuilder {
        CacheBuilder::new(Source::Store(Arc::new(store)))
    }

    /// Creates a cache in the memory of the process, without bounds.
    pub fn memory() -> Self {
        Self::from_store(backends::memory::Memory::new())
    }

    /// Creates a cache that stores nothing and always computes.
    pub fn noop() -> Self {
        Self::from_store(backends::noop::Noop)
    }

    fn build(store: Arc<dyn Store>, settings: Settings) -> Self {
        let (shared, functions, opened) = Default::default();
        Self {
            inner: Arc::new(Inner {
                store,
                schemas: settings.schemas,
                skipped_tables: settings.skipped_tables,
                new_scope: settings.new_scope,
                defaults: settings.defaults,
                clock: settings.clock,
                shared,
                functions,
                #[cfg(feature = "async")]
                executor: settings.executor,
                opened,
            }),
        }
    }

    /// Opens the scope of a record type.
    ///
    /// Its table is created, or upgraded according to the schema's policy. Opening an open scope
    /// again does not contact the backend.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::SchemaChange`], with the plan, if the table differs in a way that needs an
    /// explicit migration. [`ErrorKind::InvalidSchema`] if the schema is invalid. Any error of the
    /// backend.
    pub fn scope<R: ScopeRecord>(&self) -> Result<Scope<R>> {
        Ok(Scope::new(self.open(R::schema())?))
    }

    /// Opens a scope with one value of type `V` for each key of type `K`.
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
    /// [`ErrorKind::UnknownScope`], listing the declared scopes, if no schema was given and
    /// [`new_scope`](CacheBuilder::new_scope) makes none. Otherwise as [`scope`](Cache::scope).
    pub fn dynamic(&self, name: &str) -> Result<DynScope> {
        Ok(DynScope::new(self.open(self.schema_for(name)?)?))
    }

    /// Opens a scope with the given schema.
    ///
    /// # Errors
    ///
    /// As [`scope`](Cache::scope).
    pub fn dynamic_with(&self, schema: Schema) -> Result<DynScope> {
        Ok(DynScope::new(self.open(schema)?))
    }

    /// Returns the schema declared for a scope.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::UnknownScope`], listing the declared scopes.
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
                format!("no scope `{name}`: the table of that name cannot be a scope: {reason}");
            return Error::new(ErrorKind::UnknownScope, message);
        }
        let known = match names.is_empty() {
            true => "no scope is declared; pass schemas to `CacheBuilder::schemas`".to_owned(),
            false => format!("the declared scopes are {}", names.join(", ")),
        };
        let suggestion = did_you_mean(name, names);
        Error::new(ErrorKind::UnknownScope, format!("no scope `{name}`: {known}{suggestion}"))
    }

    /// Returns the schemas that were given to the builder or adopted.
    pub fn schemas(&self) -> &Schemas {
        &self.inner.schemas
    }

    /// Returns the tables that [`adopt_tables`](CacheBuilder::adopt_tables) could not make scopes
    /// of: the name of each, and the reason.
    #[doc(alias = "left_out")]
    pub fn skipped_tables(&self) -> &[(String, String)] {
        &self.inner.skipped_tables
    }

    /// Returns the opened scope of a schema, and opens it first if necessary.
    ///
    /// The lock is not held while the backend opens the scope. If two threads open it at the same
    /// time, both return the scope that was inserted first.
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
        let absent = Absent::absence_schema(schema).map(|schema| self.open(schema)).transpose()?;
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
            #[cfg(feature = "async")]
            executor: self.inner.executor.clone(),
        }))
    }

    /// Opens the scope in the store. With [`OnUnavailable::Compute`], a scope whose store cannot be
    /// reached is opened lazily by a later call.
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

    /// Returns what opening or migrating a scope of this schema would change, without changing it.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidSchema`] if the schema is invalid, and any error of the backend.
    pub fn plan(&self, schema: &Schema) -> Result<Plan> {
        schema.validate()?;
        self.inner
            .store
            .plan(&self.with_defaults(schema.clone()).stored_form())
            .map_err(|error| self.with_context("plan", schema, error))
    }

    /// Applies the safe steps of a schema's plan, whatever its policy, and returns the plan.
    ///
    /// Under [`Migrate::Recreate`](crate::Migrate::Recreate) the other steps are applied as well.
    ///
    /// # Errors
    ///
    /// As [`scope`](Cache::scope).
    pub fn migrate(&self, schema: &Schema) -> Result<Plan> {
        schema.validate()?;
        let plan = self.inner.store.migrate(&self.with_defaults(schema.clone()).stored_form());
        let plan = plan.map_err(|error| self.with_context("migrate", schema, error))?;
        if !plan.is_empty() {
            // The next call that opens the scope reads its table as migrated.
            self.inner.opened.lock().remove(&schema.name);
        }
        Ok(plan)
    }

    fn with_context(&self, operation: &'static str, schema: &Schema, error: Error) -> Error {
        error.in_operation(self.inner.store.name(), operation).with_scope(&schema.name)
    }

    /// Returns the names of all scopes in the backend, sorted.
    ///
    /// # Errors
    ///
    /// Any error of the backend.
    pub fn scopes(&self) -> Result<Vec<String>> {
        let scopes = self.inner.store.scopes();
        let mut scopes =
            scopes.map_err(|error| error.in_operation(self.inner.store.name(), "scopes"))?;
        // Scopes of caches under a prefix are included.
        let beneath = format!("__{ABSENT}");
        scopes.retain(|scope| !scope.starts_with(ABSENT) && !scope.contains(&beneath));
        Ok(scopes)
    }

    /// Returns the name of the backend, as used in error messages.
    pub fn backend(&self) -> &'static str {
        self.inner.store.name()
    }

    /// Returns what the backend supports beyond the common contract.
    pub fn capabilities(&self) -> Capabilities {
        self.inner.store.capabilities()
    }
}
