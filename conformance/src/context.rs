//! What a case works with: a cache opened on the backend, and names that no other case uses.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, SystemTime};

use hilcat::{Cache, Clock, Column, ColumnType, DynScope, Result, Row, Schema, Scope, Value};

use crate::records::{Raw, RawKey, declared_as};
use crate::storage::{Storage, unique_name};

/// What one case stands on.
pub(crate) struct TestContext {
    pub(crate) cache: Cache,
    storage: Storage,
    /// The scope of the case; no other one has a name that begins so.
    pub(crate) scope: String,
}

impl TestContext {
    pub(crate) fn open(storage: Storage) -> Result<Self> {
        let cache = storage.open()?;
        Ok(Self { cache, storage, scope: unique_name() })
    }

    /// Moves the time of every cache on the place.
    pub(crate) fn advance(&self, time: Duration) {
        self.storage.clock().advance(time);
    }

    pub(crate) fn now(&self) -> SystemTime {
        self.storage.clock().now()
    }

    /// Whether nobody else uses the place.
    pub(crate) fn is_exclusive(&self) -> bool {
        self.storage.is_exclusive()
    }

    /// Whether all scopes of the same columns are in one table.
    pub(crate) fn has_shared_tables(&self) -> bool {
        self.storage.has_shared_tables()
    }

    /// Closes the cache and opens it again where records outlive that; elsewhere it is the same.
    pub(crate) fn reopen(&mut self) -> Result<()> {
        if self.cache.capabilities().persistent { self.open_anew() } else { Ok(()) }
    }

    /// Closes the cache and opens it again.
    pub(crate) fn open_anew(&mut self) -> Result<()> {
        // The old one is closed before the new one is opened.
        self.cache = Cache::noop();
        self.storage.close();
        self.cache = self.storage.open()?;
        Ok(())
    }

    /// One more cache on the same place.
    pub(crate) fn another(&self) -> Result<Cache> {
        self.storage.open()
    }

    /// A schema of the case's scope.
    pub(crate) fn schema(&self) -> Schema {
        Schema::new(&self.scope)
    }

    /// A schema of the case's scope: a key `id` and a value `v` that can be NULL.
    pub(crate) fn pairs(&self, key: ColumnType, value: ColumnType) -> Schema {
        self.schema().unique(Column::new("id", key)).column(Column::new("v", value).nullable(true))
    }

    /// A scope whose records are bare rows, so that what is stored is seen exactly.
    pub(crate) fn raw(&self, schema: Schema) -> Result<Scope<Raw>> {
        declared_as(schema, || self.cache.scope::<Raw>())
    }

    /// The same in another cache.
    pub(crate) fn raw_in(&self, cache: &Cache, schema: Schema) -> Result<Scope<Raw>> {
        declared_as(schema, || cache.scope::<Raw>())
    }

    /// The scope of [`texts`](TestContext::texts) as another process has it: it shares the store and
    /// nothing else.
    pub(crate) fn texts_elsewhere(&self) -> Result<Scope<Raw>> {
        let cache = self.cache.detached();
        self.raw_in(&cache, self.pairs(ColumnType::Text, ColumnType::Text))
    }

    /// The same of [`numbers`](TestContext::numbers).
    pub(crate) fn numbers_elsewhere(&self) -> Result<Scope<Raw>> {
        let cache = self.cache.detached();
        self.raw_in(&cache, self.pairs(ColumnType::BigInt, ColumnType::BigInt))
    }

    /// The scope of text to text that many cases use.
    pub(crate) fn texts(&self) -> Result<Scope<Raw>> {
        self.raw(self.pairs(ColumnType::Text, ColumnType::Text))
    }

    /// The scope of integers to integers that many cases use.
    pub(crate) fn numbers(&self) -> Result<Scope<Raw>> {
        self.raw(self.pairs(ColumnType::BigInt, ColumnType::BigInt))
    }

    pub(crate) fn dynamic(&self, schema: Schema) -> Result<DynScope> {
        self.cache.dynamic_with(schema)
    }
}

/// A row of bare values.
pub(crate) fn row<const N: usize>(values: [Value; N]) -> Raw {
    Raw(Row::from(values))
}

/// A row of a key and a value.
pub(crate) fn pair(key: impl Into<Value>, value: impl Into<Value>) -> Raw {
    row([key.into(), value.into()])
}

pub(crate) fn key(value: impl Into<Value>) -> RawKey {
    RawKey(hilcat::Key::single(value.into()))
}

pub(crate) fn key_of<const N: usize>(values: [Value; N]) -> RawKey {
    RawKey(hilcat::Key::new(values))
}

/// The keys of a scope, sorted by how they are written.
pub(crate) fn all_keys(scope: &Scope<Raw>) -> Result<Vec<RawKey>> {
    let mut keys = scope.keys()?.collect::<Result<Vec<_>>>()?;
    keys.sort_by_cached_key(|key| format!("{key:?}"));
    Ok(keys)
}

/// The records of a scope, sorted by how they are written.
pub(crate) fn all_rows(scope: &Scope<Raw>) -> Result<Vec<Raw>> {
    let mut rows = scope.iter()?.collect::<Result<Vec<_>>>()?;
    rows.sort_by_cached_key(|row| format!("{row:?}"));
    Ok(rows)
}

/// Sorts what is expected as [`all_rows`] and [`all_keys`] do.
pub(crate) fn sorted<T: std::fmt::Debug>(items: impl IntoIterator<Item = T>) -> Vec<T> {
    let mut items: Vec<T> = items.into_iter().collect();
    items.sort_by_cached_key(|item| format!("{item:?}"));
    items
}

/// What a thread gave; its panic goes on in this one.
pub(crate) fn join<T>(thread: thread::ScopedJoinHandle<'_, T>) -> T {
    thread.join().unwrap_or_else(|panic| resume_unwind(panic))
}

/// Fails where the work takes so long that it waits for something that never comes.
pub(crate) fn within<T: Send + 'static>(
    limit: Duration,
    work: impl FnOnce() -> T + Send + 'static,
) -> T {
    let (done, result) = mpsc::channel();
    thread::spawn(move || done.send(catch_unwind(AssertUnwindSafe(work))));
    match result.recv_timeout(limit) {
        Ok(result) => result.unwrap_or_else(|panic| resume_unwind(panic)),
        Err(_) => panic!("it was not done after {limit:?}"),
    }
}
