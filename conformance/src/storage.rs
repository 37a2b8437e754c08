//! The storage on which a case runs.

use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, UNIX_EPOCH};

use hilcat::store::Store;
use hilcat::testing::ManualClock;
use hilcat::{Cache, Result};

type Open = Box<dyn Fn(&ManualClock) -> Result<Cache> + Send + Sync>;

/// The place of the records of one case, such as a directory or a database. Opens caches on it.
///
/// A storage is fresh: no case finds the records of another one, unless the storage is
/// [not exclusive](Storage::exclusive).
pub struct Storage {
    open: Open,
    close: Box<dyn Fn() + Send + Sync>,
    /// The time of every cache that is opened.
    clock: ManualClock,
    exclusive: bool,
    shared_tables: bool,
}

impl Storage {
    /// Creates a storage from a closure that opens a cache with the clock that it is given.
    ///
    /// For a persistent backend, each call opens a cache on the same records. A case calls it while another cache is open, to act
    /// as another process, and after it has closed all caches. For other backends, each call starts without records.
    ///
    /// The closure may own what has to outlive the caches, such as a temporary directory.
    pub fn new(open: impl Fn(&ManualClock) -> Result<Cache> + Send + Sync + 'static) -> Self {
        // In the past, so that an engine that removes expired records by its own clock is noticed.
        let clock = ManualClock::new(UNIX_EPOCH + Duration::from_secs(1_700_000_000));
        let open = Box::new(open);
        Self { open, close: Box::new(|| {}), clock, exclusive: true, shared_tables: false }
    }

    /// Creates a storage from a closure that opens a [`Store`], as [`new`](Storage::new).
    pub fn of_store<S: Store + 'static>(
        open: impl Fn() -> Result<S> + Send + Sync + 'static,
    ) -> Self {
        Self::new(move |clock| Cache::builder_from_store(open()?).clock(clock.clone()).open())
    }

    /// Sets whether only one case uses the storage, which is the default.
    ///
    /// Other cases, and other programs, may use a storage that is not exclusive at the same time, as a server. The names of the scopes of
    /// a case are its own; where cases list or purge all scopes, they ignore other scopes.
    #[must_use]
    pub fn exclusive(self, exclusive: bool) -> Self {
        Self { exclusive, ..self }
    }

    /// Sets whether scopes of the same columns share a table; by default, each scope has its own.
    ///
    /// A plan to create a table is then empty where another scope has created it.
    #[must_use]
    pub fn shared_tables(self, shared_tables: bool) -> Self {
        Self { shared_tables, ..self }
    }

    /// Adds a closure that a case calls after it has closed all caches and before it opens the storage again.
    ///
    /// It drops what caches that are open at the same time share, such as an engine that a process can open only once.
    #[must_use]
    pub fn on_close(self, close: impl Fn() + Send + Sync + 'static) -> Self {
        let before = self.close;
        let close = Box::new(move || {
            before();
            close();
        });
        Self { close, ..self }
    }

    /// Replaces each cache that is opened by the result of a closure, for instance by a layer over it.
    #[must_use]
    pub fn map(self, wrap: impl Fn(Cache, &ManualClock) -> Cache + Send + Sync + 'static) -> Self {
        let open = self.open;
        Self { open: Box::new(move |clock| Ok(wrap(open(clock)?, clock))), ..self }
    }

    /// Opens a cache.
    pub(crate) fn open(&self) -> Result<Cache> {
        (self.open)(&self.clock)
    }

    /// Ends what the caches, which are closed, had in common.
    pub(crate) fn close(&self) {
        (self.close)();
    }

    pub(crate) fn clock(&self) -> &ManualClock {
        &self.clock
    }

    pub(crate) fn is_exclusive(&self) -> bool {
        self.exclusive
    }

    pub(crate) fn has_shared_tables(&self) -> bool {
        self.shared_tables
    }
}

impl fmt::Debug for Storage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Storage")
            .field("exclusive", &self.exclusive)
            .field("shared_tables", &self.shared_tables)
            .finish_non_exhaustive()
    }
}

/// Returns a name that no other call returns, in this run or in another: for prefixes and directories.
pub fn unique_name() -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let random = RandomState::new().hash_one(std::process::id());
    format!("t{random:016x}{count}")
}
