//! Caches composed of other caches.

use std::sync::Arc;

use parking_lot::Mutex;

use super::{Cache, Inner, Settings};
use crate::Schemas;
use crate::compute::{AllFlights, Flights};
use crate::layers::fan_out::FanOut;
use crate::layers::prefix::{Namespace, Prefixed};
use crate::layers::staged::Staged;
use crate::layers::tiered::Tiered;
use crate::layers::{LayerStore, OnFailure, ReadOnly, Tiers};
use crate::store::Store;

/// The state that a cache shares with all layers over it.
#[derive(Default)]
pub(super) struct SharedState {
    tiers: Arc<Tiers>,
    /// The computations in progress. A cache with a prefix shares those of its base cache, and a
    /// layer those of the member that has the records, so that a write through either voids them.
    flights: Arc<AllFlights>,
    /// The namespaces of this cache's scopes in `flights`, innermost first.
    under: Vec<Namespace>,
    /// For a cache with a prefix: the base cache, and the full prefix.
    beneath: Option<(Cache, Namespace)>,
}

impl SharedState {
    /// Returns the flights of a scope, shared by all handles and schemas that it is opened with.
    pub(super) fn flights(&self, scope: &str) -> Arc<Flights> {
        let named = |name: String, namespace: &Namespace| namespace.join(&name);
        self.flights.of(&self.under.iter().fold(scope.to_owned(), named))
    }

    /// Returns the state of a new cache that shares its flights with this one.
    fn with_its_flights(&self) -> Self {
        let (flights, under) = (self.flights.clone(), self.under.clone());
        Self { flights, under, ..Self::default() }
    }

    /// Voids the flights of scopes (`None` for all) whose records are about to be replaced.
    pub(super) fn void(&self, scopes: Option<&[String]>) {
        match scopes {
            Some(scopes) => scopes.iter().for_each(|scope| self.flights(scope).void_all()),
            None => self.flights.all().iter().for_each(|flights| flights.void_all()),
        }
    }
}

impl Cache {
    /// Creates a cache with a near cache in front of a far one.
    ///
    /// Reads go to the near cache. If it has no record, they go to the far cache, and the result
    /// fills the near one. Writes go to the far cache first, and then to the near one.
    ///
    /// The far cache is authoritative: `keys`, `iter`, `len` and `scopes` read it, and `pop` and
    /// `clear` apply to both. A far write that failed, or whose outcome is unknown, removes the
    /// value from the near cache. The near cache may have a bound or lose records at any time
    /// (`memory:?max_entries=10000`).
    ///
    /// In one process a read never returns anything older than the last write acknowledged before
    /// it, also under concurrency. For that, create one such cache and clone it, or create several
    /// over clones of one `near` and one `far`. Writes of other processes to the far store are seen
    /// when the near record is gone: give `near` a `ttl` for that. The time to live of a record
    /// starts anew when it is copied to the near cache.
    ///
    /// If the near store fails, the far one is used alone until the near one could be cleared.
    ///
    /// ```
    /// use hilcat::Cache;
    ///
    /// let near = Cache::from_uri("memory:?max_entries=10000&ttl=1m")?;
    /// # #[cfg(feature = "sqlite")]
    /// let far = Cache::from_uri("sqlite::memory:")?;
    /// # #[cfg(not(feature = "sqlite"))]
    /// # let far = Cache::memory();
    /// let cache = Cache::tiered(near.clone(), far);
    /// let squares = cache.map::<i64, i64>("squares")?;
    /// squares.set(7, &49)?;
    /// assert!(near.map::<i64, i64>("squares")?.exists(7)?);
    /// # Ok::<(), hilcat::Error>(())
    /// ```
    pub fn tiered(near: Cache, far: Cache) -> Cache {
        let store = Tiered::new(near.member(), far.member(), far.inner.clock.clone());
        Self::layer(store, &far, &far, &[&near])
    }

    /// Creates a cache that works in `memory` and is saved to `storage` on request.
    ///
    /// Only [`load`](Cache::load) and [`backup`](Cache::backup) access the storage; they copy whole
    /// scopes.
    ///
    /// - `load` replaces the scopes in memory by those of the storage; unsaved changes are lost. A
    ///   scope that is not open yet is loaded when it is opened.
    /// - `backup` replaces the scopes in the storage by those in memory. Each scope is replaced
    ///   atomically, also if the process is killed. Without names it writes the scopes changed since
    ///   they were loaded or backed up, and leaves the others in the storage as they are. A scope
    ///   that was never loaded is replaced as well: load first.
    /// - [`unsaved`](Cache::unsaved) lists the scopes with changes that are lost when the cache is
    ///   dropped.
    ///
    /// `memory` must not have a bound: with one, opening a scope is an error.
    ///
    /// ```
    /// use hilcat::Cache;
    ///
    /// # let directory = tempfile::tempdir().unwrap();
    /// # let storage = || Ok::<_, hilcat::Error>(Cache::memory());
    /// # #[cfg(feature = "sqlite")]
    /// let storage = || Cache::from_uri(&format!("sqlite:///{}/t.db", directory.path().display()));
    /// let cache = Cache::staged(Cache::memory(), storage()?);
    /// cache.load(None)?;
    /// let squares = cache.map::<i64, i64>("squares")?;
    /// squares.set(7, &49)?;
    /// assert_eq!(cache.unsaved()?, ["squares"]);
    /// cache.backup(None)?;
    /// assert!(cache.unsaved()?.is_empty());
    /// # #[cfg(feature = "sqlite")]
    /// assert_eq!(storage()?.map::<i64, i64>("squares")?.fetch(7)?, Some(49));
    /// # Ok::<(), hilcat::Error>(())
    /// ```
    pub fn staged(memory: Cache, storage: Cache) -> Cache {
        let store = Staged::new(memory.member(), storage.member());
        Self::layer(store, &memory, &storage, &[&memory])
    }

    /// Creates a cache that reads from `primary` and writes to it and then to `writers`, in order.
    ///
    /// A write succeeds when all stores have it. If one store fails, the stores after it are not
    /// written to, and the error lists the stores with and without the write. Its kind is
    /// [`ErrorKind::PartialWrite`](crate::ErrorKind::PartialWrite) if at least one store has the
    /// write. [`fan_out_with`](Cache::fan_out_with) can write to the remaining stores nonetheless.
    /// `load` and `backup` apply to all stores. All stores receive the writes of a key in the same
    /// order.
    ///
    /// ```
    /// use hilcat::Cache;
    ///
    /// let (primary, copy) = (Cache::memory(), Cache::memory());
    /// let cache = Cache::fan_out(primary, [copy.clone()]);
    /// cache.map::<i64, i64>("squares")?.set(7, &49)?;
    /// assert_eq!(copy.map::<i64, i64>("squares")?.fetch(7)?, Some(49));
    /// # Ok::<(), hilcat::Error>(())
    /// ```
    pub fn fan_out(primary: Cache, writers: impl IntoIterator<Item = Cache>) -> Cache {
        Self::fan_out_with(primary, writers, OnFailure::Stop)
    }

    /// Like [`fan_out`](Cache::fan_out), with a choice of what happens if a store fails to write.
    pub fn fan_out_with(
        primary: Cache,
        writers: impl IntoIterator<Item = Cache>,
        on_failure: OnFailure,
    ) -> Cache {
        let writers: Vec<Cache> = writers.into_iter().collect();
        let members = writers.iter().map(Cache::member).collect();
        let store = FanOut::new(primary.member(), members, on_failure);
        Self::layer(store, &primary, &primary, &writers.iter().collect::<Vec<_>>())
    }

    /// Returns a cache on the same stores whose scopes are in a namespace of their own.
    ///
    /// A scope is distinct from the scope of the same name without the prefix, and
    /// [`scopes`](Cache::scopes) lists only the scopes with the prefix. Keep the returned cache: a
    /// new one for the same prefix opens its scopes again.
    ///
    /// In the base cache, the scope and the table `articles` of the prefix `tenant1` are named
    /// `tenant1__articles`. Lower-case letters, digits and single underscores of a prefix are kept;
    /// any other byte is written as `x-` and two digits. So the names are valid on every backend,
    /// and no two prefixes share a table. Prefixes can be nested. With an empty prefix, opening a
    /// scope is an error.
    ///
    /// ```
    /// use hilcat::Cache;
    ///
    /// let cache = Cache::memory();
    /// let tenant = cache.prefix("tenant1");
    /// tenant.map::<i64, i64>("squares")?.set(7, &49)?;
    /// assert_eq!(tenant.scopes()?, ["squares"]);
    /// assert_eq!(cache.scopes()?, ["tenant1__squares"]);
    /// # Ok::<(), hilcat::Error>(())
    /// ```
    pub fn prefix(&self, prefix: &str) -> Cache {
        let (beneath, namespace) = match &self.inner.shared.beneath {
            Some((beneath, outer)) => (beneath.clone(), outer.within(prefix)),
            None => (self.clone(), Namespace::new(prefix)),
        };
        let store = Prefixed::new(beneath.member(), namespace.clone());
        let mut shared = beneath.inner.shared.with_its_flights();
        shared.under.insert(0, namespace.clone());
        shared.beneath = Some((beneath, namespace));
        self.derived(store, self.inner.schemas.clone(), shared)
    }

    /// Returns a read-only view of this cache.
    ///
    /// Every write fails with [`ErrorKind::ReadOnly`](crate::ErrorKind::ReadOnly), and opening a
    /// scope changes nothing in the store. A scope that does not exist has no records and is not
    /// created.
    ///
    /// Opening this cache itself may have created files or tables. To open a cache without any
    /// change, use [`CacheBuilder::read_only`](crate::CacheBuilder::read_only).
    ///
    /// ```
    /// use hilcat::{Cache, ErrorKind};
    ///
    /// let cache = Cache::memory();
    /// cache.map::<i64, i64>("squares")?.set(7, &49)?;
    /// let squares = cache.read_only().map::<i64, i64>("squares")?;
    /// assert_eq!(squares.fetch(7)?, Some(49));
    /// assert_eq!(squares.pop(7).unwrap_err().kind(), ErrorKind::ReadOnly);
    /// # Ok::<(), hilcat::Error>(())
    /// ```
    pub fn read_only(&self) -> Cache {
        let inner = &*self.inner;
        let store = ReadOnly::wrap(inner.store.clone());
        let new_scope = inner.new_scope.clone();
        let (schemas, skipped_tables) = (inner.schemas.clone(), inner.skipped_tables.clone());
        let (defaults, clock) = (inner.defaults.clone(), inner.clock.clone());
        Self::build(
            store,
            Settings {
                schemas,
                skipped_tables,
                new_scope,
                defaults,
                clock,
                #[cfg(feature = "async")]
                executor: inner.executor.clone(),
            },
        )
    }

    /// Returns a cache that shares only the stores, as if opened by a different process; for tests.
    #[doc(hidden)]
    pub fn detached(&self) -> Cache {
        self.derived_on(
            self.inner.store.clone(),
            self.inner.schemas.clone(),
            SharedState::default(),
        )
    }

    /// Returns this cache as a member of a layer.
    fn member(&self) -> LayerStore {
        let Inner { store, defaults, shared, .. } = &*self.inner;
        LayerStore { store: store.clone(), defaults: defaults.clone(), tiers: shared.tiers.clone() }
    }

    /// Creates the cache on a layer, with the declared scopes of its members. If two have the same
    /// name, that of `first` applies. It shares the flights of the member `works_in`.
    fn layer(
        store: impl Store + 'static,
        works_in: &Cache,
        first: &Cache,
        others: &[&Cache],
    ) -> Cache {
        let mut schemas = Schemas::default();
        for cache in others.iter().rev().copied().chain([first]) {
            schemas.extend(cache.inner.schemas.iter().cloned());
        }
        first.derived(store, schemas, works_in.inner.shared.with_its_flights())
    }

    /// Creates a cache on a store with the `new_scope` function, defaults and clock of this one.
    fn derived(&self, store: impl Store + 'static, schemas: Schemas, shared: SharedState) -> Cache {
        self.derived_on(Arc::new(store), schemas, shared)
    }

    fn derived_on(&self, store: Arc<dyn Store>, schemas: Schemas, shared: SharedState) -> Cache {
        let inner = Inner {
            store,
            schemas,
            skipped_tables: Vec::new(),
            new_scope: self.inner.new_scope.clone(),
            defaults: self.inner.defaults.clone(),
            clock: self.inner.clock.clone(),
            shared,
            functions: Default::default(),
            #[cfg(feature = "async")]
            executor: self.inner.executor.clone(),
            opened: Mutex::default(),
        };
        Cache { inner: Arc::new(inner) }
    }
}
