//! Caches made of caches.

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

/// What a cache shares with the layers shared it, however many of them there are.
#[derive(Default)]
pub(super) struct SharedState {
    tiers: Arc<Tiers>,
    /// The computations under way: those of a cache under a prefix are with the one beneath, and
    /// those of a layer with the part that has the records, so that a write through either voids them.
    flights: Arc<AllFlights>,
    /// The namespaces by which a scope of this cache is named there, from the innermost on.
    under: Vec<Namespace>,
    /// Where it is a cache under a prefix: the one beneath, and the whole prefix.
    beneath: Option<(Cache, Namespace)>,
}

impl SharedState {
    /// The computations under way in a scope, whoever opened it and under whichever schema.
    pub(super) fn flights(&self, scope: &str) -> Arc<Flights> {
        let named = |name: String, namespace: &Namespace| namespace.join(&name);
        self.flights.of(&self.under.iter().fold(scope.to_owned(), named))
    }

    /// Of a cache whose computations are with those of this one.
    fn with_its_flights(&self) -> Self {
        let (flights, under) = (self.flights.clone(), self.under.clone());
        Self { flights, under, ..Self::default() }
    }

    /// Voids the computations under way in scopes (in all for `None`), whose records are about to
    /// be replaced.
    pub(super) fn void(&self, scopes: Option<&[String]>) {
        match scopes {
            Some(scopes) => scopes.iter().for_each(|scope| self.flights(scope).void_all()),
            None => self.flights.all().iter().for_each(|flights| flights.void_all()),
        }
    }
}

impl Cache {
    /// A near cache in front of a far one: reads go to the near one and, where it has nothing, to
    /// the far one, which fills it; writes go to the far one first, and then to the near one.
    ///
    /// The far cache has the truth: `keys`, `iter`, `len` and `scopes` are its own, `pop` and
    /// `clear` reach both, and a write that it did not take, or of which nobody knows whether it
    /// did, leaves the near one without the value. The near one can have a bound or lose records
    /// at any time (`memory:?max_entries=10000`). In one process a read never gives anything older
    /// than the last write that was acknowledged before it, whatever goes on at the same time: so
    /// make one such cache and clone it, or several over clones of one `near` and one `far`. What other
    /// processes write to the far store is seen when the near record is gone: give `near` a `ttl`
    /// for that. A record that is read from the far store is good for its time to live once more
    /// in the near one.
    ///
    /// A near store that fails is passed over: the far one answers, and nothing of the near one is
    /// used until it could be emptied.
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

    /// A cache that does all work in one store and has another one to keep it: [`load`](Cache::load)
    /// and [`backup`](Cache::backup) move whole scopes, and nothing else does.
    ///
    /// `load` puts what the storage has in place of what is there, for scopes that are opened
    /// later when they are; unsaved work on them is lost. `backup` puts what is there in place of
    /// what the storage has: all or nothing for each scope, also when the process is killed in the
    /// middle. Without names it writes the scopes that were written to since they were loaded or
    /// backed up, and leaves the others in the storage as they are. A scope that was never loaded
    /// replaces what the storage had of it, too: load first. [`unsaved`](Cache::unsaved) says which
    /// scopes have work that only this process has; when the cache is dropped it is gone.
    ///
    /// `memory` has no bound: opening a scope where it has one is an error.
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

    /// A cache that reads from a primary cache and writes to it and then, in their order, to
    /// others.
    ///
    /// A write is acknowledged when all have it. Where one does not take it those after it are not
    /// written to, and the error says which have the write and which have not; its kind is
    /// [`ErrorKind::PartialWrite`](crate::ErrorKind::PartialWrite) where some have.
    /// [`fan_out_with`](Cache::fan_out_with) can write to all nonetheless. `load` and `backup`
    /// reach all. Writes of one key reach all stores in one order.
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

    /// As [`fan_out`](Cache::fan_out), told what to do where a store does not take a write.
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

    /// The same stores under a namespace: scopes of one name are others than without it, and
    /// [`scopes`](Cache::scopes) lists its own alone. Keep it where it is used often: asked again
    /// for the same prefix, it has to open its scopes again.
    ///
    /// Beneath, the scope and the table `articles` of the prefix `tenant1` are named
    /// `tenant1__articles`. Letters, digits and single underscores stay as they are in a prefix
    /// (`x-` and two digits stand for any other byte, capitals among them), so that the names are
    /// good on every backend, and no two prefixes ever share a table. A prefix can be taken of a
    /// cache under a prefix. An empty one is an error when a scope is opened.
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
        self.made(store, self.inner.schemas.clone(), shared)
    }

    /// The same cache, only read: every write to it is [`crate::ErrorKind::ReadOnly`], and opening a scope
    /// changes nothing that is stored. A scope that does not exist has no records, and none is made.
    ///
    /// What this cache needs was made when it was opened: where that is to change nothing either,
    /// open it by [`CacheBuilder::read_only`](crate::CacheBuilder::read_only).
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

    /// The cache as another process has it, for tests: it shares the stores and nothing else.
    #[doc(hidden)]
    pub fn detached(&self) -> Cache {
        self.made_on(self.inner.store.clone(), self.inner.schemas.clone(), SharedState::default())
    }

    /// The cache as a part of a layer.
    fn member(&self) -> LayerStore {
        let Inner { store, defaults, shared, .. } = &*self.inner;
        LayerStore { store: store.clone(), defaults: defaults.clone(), tiers: shared.tiers.clone() }
    }

    /// The cache on a layer, with the declared scopes of its parts: of two with one name that of
    /// the first counts. Its computations are with those of the part that it `works_in`.
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
        first.made(store, schemas, works_in.inner.shared.with_its_flights())
    }

    /// A cache on a store that makes new scopes as this one does, and has its defaults and its
    /// clock.
    fn made(&self, store: impl Store + 'static, schemas: Schemas, shared: SharedState) -> Cache {
        self.made_on(Arc::new(store), schemas, shared)
    }

    fn made_on(&self, store: Arc<dyn Store>, schemas: Schemas, shared: SharedState) -> Cache {
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
