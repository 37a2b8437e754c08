//! What a case stands on: a cache opened on a backend, and names that no other case uses.

use std::hash::{BuildHasher, RandomState};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use hilcat::{Cache, Column, ColumnType, DynScope, Result, Row, Schema, Scope, Value};

use crate::records::{Raw, RawKey, declared_as};

type Open = Box<dyn Fn() -> Result<Cache> + Send + Sync>;

/// Where a backend keeps its records.
pub struct Place {
    open: Open,
    /// Nobody else uses it, so that every scope in it is of the case.
    private: bool,
    _directory: Option<tempfile::TempDir>,
    #[cfg(feature = "elasticsearch")]
    _indices: Option<crate::indices::Indices>,
}

impl Place {
    /// A place that only one case sees; `open` makes it.
    pub fn private(open: impl Fn() -> Result<Cache> + Send + Sync + 'static) -> Self {
        Self::new(Box::new(open), true)
    }

    /// A file in a directory of its own.
    #[cfg_attr(not(feature = "sqlite"), expect(dead_code, reason = "no backend of files is on"))]
    pub fn file(scheme: &str, name: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let uri = format!("{scheme}:///{}", directory.path().join(name).display());
        let open: Open = Box::new(move || Cache::from_uri(&uri));
        Self { _directory: Some(directory), ..Self::new(open, true) }
    }

    /// A server that other cases and other runs use at the same time.
    #[allow(dead_code, reason = "not every choice of features has a server")]
    pub fn server(variable: &str) -> Result<Self, String> {
        let uri = std::env::var(variable).map_err(|_| format!("{variable} is not set"))?;
        // All cases at once keep a small machine busy: what is slow is not wrong.
        let sign = if uri.contains('?') { '&' } else { '?' };
        let uri = format!("{uri}{sign}timeout=30s");
        let open: Open = Box::new(move || Cache::from_uri(&uri));
        Ok(Self::new(open, false))
    }

    /// A cluster that others use, too, in which nobody else has indices of this prefix.
    #[cfg(feature = "elasticsearch")]
    pub fn elasticsearch(variable: &str) -> Result<Self, String> {
        let indices = crate::indices::Indices::new(variable)?;
        let uri = indices.uri("timeout=30s");
        let open: Open = Box::new(move || Cache::from_uri(&uri));
        Ok(Self { _indices: Some(indices), ..Self::new(open, true) })
    }

    fn new(open: Open, private: bool) -> Self {
        Self {
            open,
            private,
            _directory: None,
            #[cfg(feature = "elasticsearch")]
            _indices: None,
        }
    }
}

/// What one case stands on.
pub struct Ground {
    pub cache: Cache,
    pub place: Place,
    /// The scope of the case; no other one has a name that begins so.
    pub scope: String,
}

impl Ground {
    pub fn open(place: Place) -> Result<Self> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let random = RandomState::new().hash_one(std::process::id());
        let cache = (place.open)()?;
        Ok(Self { cache, place, scope: format!("t{random:016x}{count}") })
    }

    /// Whether nobody else uses the place.
    pub fn is_private(&self) -> bool {
        self.place.private
    }

    /// Closes the cache and opens it again where records outlive that; elsewhere it is the same.
    pub fn reopen(&mut self) -> Result<()> {
        if self.cache.capabilities().persistent { self.open_anew() } else { Ok(()) }
    }

    /// Closes the cache and opens it again.
    pub fn open_anew(&mut self) -> Result<()> {
        // The old one is closed before the new one is opened.
        self.cache = Cache::noop();
        self.cache = (self.place.open)()?;
        Ok(())
    }

    /// One more cache on the same place.
    pub fn another(&self) -> Result<Cache> {
        (self.place.open)()
    }

    /// A schema of the case's scope.
    pub fn schema(&self) -> Schema {
        Schema::new(&self.scope)
    }

    /// A schema of the case's scope: a key `id` and a value `v` that can be NULL.
    pub fn pairs(&self, key: ColumnType, value: ColumnType) -> Schema {
        self.schema().unique(Column::new("id", key)).column(Column::new("v", value).nullable(true))
    }

    /// A scope whose records are bare rows, so that what is stored is seen exactly.
    pub fn raw(&self, schema: Schema) -> Result<Scope<Raw>> {
        declared_as(schema, || self.cache.scope::<Raw>())
    }

    /// The scope of text to text that many cases use.
    pub fn texts(&self) -> Result<Scope<Raw>> {
        self.raw(self.pairs(ColumnType::Text, ColumnType::Text))
    }

    /// The scope of integers to integers that many cases use.
    pub fn numbers(&self) -> Result<Scope<Raw>> {
        self.raw(self.pairs(ColumnType::BigInt, ColumnType::BigInt))
    }

    pub fn dynamic(&self, schema: Schema) -> Result<DynScope> {
        self.cache.dynamic_with(schema)
    }
}

/// A row of bare values.
pub fn row<const N: usize>(values: [Value; N]) -> Raw {
    Raw(Row::from(values))
}

/// A row of a key and a value.
pub fn pair(key: impl Into<Value>, value: impl Into<Value>) -> Raw {
    row([key.into(), value.into()])
}

pub fn key(value: impl Into<Value>) -> RawKey {
    RawKey(hilcat::Key::single(value.into()))
}

pub fn key_of<const N: usize>(values: [Value; N]) -> RawKey {
    RawKey(hilcat::Key::new(values))
}

/// The keys of a scope, sorted by how they are written.
pub fn all_keys(scope: &Scope<Raw>) -> Result<Vec<RawKey>> {
    let mut keys = scope.keys()?.collect::<Result<Vec<_>>>()?;
    keys.sort_by_cached_key(|key| format!("{key:?}"));
    Ok(keys)
}

/// The records of a scope, sorted by how they are written.
pub fn all_rows(scope: &Scope<Raw>) -> Result<Vec<Raw>> {
    let mut rows = scope.iter()?.collect::<Result<Vec<_>>>()?;
    rows.sort_by_cached_key(|row| format!("{row:?}"));
    Ok(rows)
}

/// Sorts what is expected as [`all_rows`] and [`all_keys`] do.
pub fn sorted<T: std::fmt::Debug>(items: impl IntoIterator<Item = T>) -> Vec<T> {
    let mut items: Vec<T> = items.into_iter().collect();
    items.sort_by_cached_key(|item| format!("{item:?}"));
    items
}

/// What a thread gave; its panic goes on in this one.
pub fn join<T>(thread: thread::ScopedJoinHandle<'_, T>) -> T {
    thread.join().unwrap_or_else(|panic| resume_unwind(panic))
}

/// Fails where the work takes so long that it waits for something that never comes.
pub fn within<T: Send + 'static>(limit: Duration, work: impl FnOnce() -> T + Send + 'static) -> T {
    let (done, result) = mpsc::channel();
    thread::spawn(move || done.send(catch_unwind(AssertUnwindSafe(work))));
    match result.recv_timeout(limit) {
        Ok(result) => result.unwrap_or_else(|panic| resume_unwind(panic)),
        Err(_) => panic!("it was not done after {limit:?}"),
    }
}
