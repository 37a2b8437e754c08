//! The builder of caches.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::{Cache, NewScope, Settings};
#[cfg(feature = "async")]
use crate::executor::{Executor, Spawner};
use crate::layers::ReadOnly;
use crate::registry::Registry;
use crate::store::{Options, Store};
use crate::{Result, Schema, Schemas};

/// The source of a cache's store.
pub(super) enum Source {
    Uri(String),
    Store(Arc<dyn Store>),
}

/// Builds a [`Cache`]. Created by [`Cache::builder`].
#[must_use = "a builder does nothing until it is opened"]
pub struct CacheBuilder {
    source: Source,
    schemas: Schemas,
    new_scope: Option<NewScope>,
    adopt_tables: bool,
    pub(super) options: Options,
    registry: Registry,
    #[cfg(feature = "async")]
    pub(super) spawner: Option<Spawner>,
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
    pub(super) fn new(source: Source) -> Self {
        Self {
            source,
            schemas: Schemas::default(),
            new_scope: None,
            adopt_tables: false,
            options: Options::default(),
            registry: Registry::new(),
            #[cfg(feature = "async")]
            spawner: None,
        }
    }

    /// Opens the URI with the schemes of `registry`, which may include custom ones.
    pub fn registry(mut self, registry: &Registry) -> Self {
        self.registry = registry.clone();
        self
    }

    /// Declares scopes, for [`Cache::dynamic`].
    ///
    /// Repeated calls add schemas. If two have the same name, the last one applies.
    pub fn schemas(mut self, schemas: Schemas) -> Self {
        self.schemas.extend(schemas);
        self
    }

    /// Sets a function that makes the schema of an undeclared scope when it is opened. If it
    /// returns `None`, the scope is unknown.
    pub fn new_scope<S: Into<Option<Schema>>>(
        mut self,
        make: impl Fn(&str) -> S + Send + Sync + 'static,
    ) -> Self {
        self.new_scope = Some(Arc::new(move |name| make(name).into()));
        self
    }

    /// Declares a scope for each existing table that has a primary key.
    ///
    /// A declared scope of the same name takes precedence. [`Cache::skipped_tables`] lists the
    /// tables that cannot be scopes, with the reasons.
    pub fn adopt_tables(mut self) -> Self {
        self.adopt_tables = true;
        self
    }

    /// Sets the deadline of one call; 5 seconds by default. An option in the URI takes precedence.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.options.timeout = timeout;
        self
    }

    /// Sets the maximum number of connections; 8 by default, and at least 1. An option in the URI
    /// takes precedence.
    pub fn pool_size(mut self, pool_size: u32) -> Self {
        self.options.pool_size = pool_size.max(1);
        self
    }

    /// Opens the cache read-only: neither opening it nor opening a scope changes the store.
    ///
    /// No file, directory, table, column, index or registry is created. Every write fails with
    /// [`ErrorKind::ReadOnly`](crate::ErrorKind::ReadOnly). The URI option is `read_only=true`.
    ///
    /// A scope without a table has no records. A column that is missing from the stored records
    /// reads as its default, or NULL. Opening a scope fails with
    /// [`ErrorKind::SchemaChange`](crate::ErrorKind::SchemaChange) if its records cannot be read
    /// under the schema, and with [`ErrorKind::Unavailable`](crate::ErrorKind::Unavailable) if its
    /// file or directory does not exist. A `get` of a missing key computes, and then fails because
    /// it cannot store the record; `fetch` never writes.
    ///
    /// SQLite files and directories of files can be read without write permission and on a file
    /// system that is mounted read-only. A tiered cache reads only its far store, and a staged
    /// cache only its storage.
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

    /// Opens the cache without contacting its server: the first call connects.
    ///
    /// If connecting fails, later calls try again. Opening a scope does not contact the server
    /// either, so the first call on the scope reports errors of its schema. An invalid URI is still
    /// an error here. The URI option is `lazy=true`; an option in the URI takes precedence.
    ///
    /// A lazy cache in a `static` can be opened while its server is down. A backend without a
    /// server is opened immediately.
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
    /// // The server cannot be reached, so the function computes.
    /// assert_eq!(square(7)?, 49);
    /// # }
    /// # Ok::<(), hilcat::Error>(())
    /// ```
    pub fn lazy(mut self, lazy: bool) -> Self {
        self.options.lazy = lazy;
        self
    }

    /// Opens the cache for [`Cache::plan`]: [`read_only`](CacheBuilder::read_only), and a missing
    /// file or directory counts as empty, so that the plan lists what would be created.
    pub fn plan_only(mut self) -> Self {
        self.options.read_only = true;
        self.options.missing_is_empty = true;
        self
    }

    /// Opens the cache.
    ///
    /// # Errors
    ///
    /// As [`Cache::from_uri`]. [`ErrorKind::Unsupported`](crate::ErrorKind::Unsupported) if tables
    /// are to be adopted and the backend has no tables.
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
        Ok(Cache::build(
            store,
            Settings {
                schemas,
                skipped_tables,
                new_scope: self.new_scope,
                defaults,
                clock,
                #[cfg(feature = "async")]
                executor: Executor::new(options.pool_size, self.spawner),
            },
        ))
    }
}
