//! The common core of all handles: validates input, adds context to errors, computes once.

mod absent;
#[cfg(feature = "async")]
mod batches;
mod expiry;
mod get;
mod get_many;
mod lease;
mod listing;
mod purge;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

pub(crate) use self::absent::Absent;
#[cfg(feature = "async")]
use self::batches::Batches;
use self::expiry::Expiry;
use self::lease::LeaseKeeper;
use self::purge::Pace;
use crate::clock::SharedClock;
use crate::compute::Flights;
#[cfg(feature = "async")]
use crate::executor::Executor;
use crate::remote::CallClock;
use crate::store::ScopeStore;
use crate::{Error, Key, Result, Row, Schema, Value};

/// An opened scope.
#[derive(Debug)]
pub(crate) struct Core {
    pub(super) backend: &'static str,
    pub(crate) schema: Arc<Schema>,
    /// The store of the scope. Its rows may end with hilcat's own column for the expiry.
    pub(super) store: Arc<dyn ScopeStore>,
    pub(super) flights: Arc<Flights>,
    /// No call of the store waits for a file or a server.
    #[cfg_attr(not(feature = "async"), expect(dead_code, reason = "only futures read it"))]
    pub(super) non_blocking: bool,
    /// How records expire, if they do.
    pub(super) expiry: Option<Expiry>,
    /// The keys remembered as absent, with a `negative_ttl`.
    pub(super) absent: Option<Absent>,
    pub(super) leases: Arc<LeaseKeeper>,
    pace: Pace,
    /// Runs the calls of futures.
    #[cfg(feature = "async")]
    pub(crate) executor: Arc<Executor>,
    #[cfg(feature = "async")]
    batches: Batches,
}

/// The arguments of [`Core::new`].
pub(crate) struct Opening {
    pub(crate) backend: &'static str,
    pub(crate) schema: Arc<Schema>,
    pub(crate) store: Arc<dyn ScopeStore>,
    pub(crate) flights: Arc<Flights>,
    pub(crate) non_blocking: bool,
    pub(crate) clock: SharedClock,
    /// The internal scope of absent keys.
    pub(crate) absent: Option<Arc<Core>>,
    #[cfg(feature = "async")]
    pub(crate) executor: Arc<Executor>,
}

impl Core {
    pub(crate) fn new(opening: Opening) -> Self {
        let Opening { backend, schema, store, flights, non_blocking, absent, .. } = opening;
        Self {
            expiry: Expiry::new(&schema, store.schema(), &opening.clock),
            pace: Pace::new(&schema.freshness),
            absent: absent.map(Absent::new),
            leases: LeaseKeeper::new(store.clone()),
            #[cfg(feature = "async")]
            executor: opening.executor,
            #[cfg(feature = "async")]
            batches: Batches::default(),
            backend,
            schema,
            store,
            flights,
            non_blocking,
        }
    }

    #[cfg(feature = "sql")]
    pub(super) fn backend(&self) -> &'static str {
        self.backend
    }

    #[cfg(feature = "sql")]
    pub(super) fn flights(&self) -> &Arc<Flights> {
        &self.flights
    }

    #[cfg(feature = "sql")]
    pub(super) fn store(&self) -> &Arc<dyn ScopeStore> {
        &self.store
    }

    /// Adds the backend, operation, scope and key to an error.
    pub(super) fn with_context(
        &self,
        operation: &'static str,
        key: Option<&Key>,
        error: Error,
    ) -> Error {
        let error = error.in_operation(self.backend, operation).with_scope(&self.schema.name);
        match key {
            Some(key) => error.with_key(key),
            None => error,
        }
    }

    pub(super) fn validate_key(&self, operation: &'static str, key: Result<Key>) -> Result<Key> {
        let mut key = key.map_err(|error| self.with_context(operation, None, error))?;
        match self.schema.validate_key(&mut key) {
            Ok(()) => Ok(key),
            Err(error) => Err(self.with_context(operation, Some(&key), error)),
        }
    }

    pub(super) fn validate_row(&self, operation: &'static str, row: Result<Row>) -> Result<Row> {
        let validated = row.and_then(|mut row| match self.schema.validate_row(&mut row) {
            Ok(()) => Ok(row),
            Err(error) => Err(error.with_key(self.schema.key_of(&row))),
        });
        validated.map_err(|error| self.with_context(operation, None, error))
    }

    /// Runs a call on a validated key, and adds context to its error.
    pub(super) fn with_key<T>(
        &self,
        operation: &'static str,
        key: Result<Key>,
        call: impl FnOnce(&Key) -> Result<T>,
    ) -> Result<T> {
        let key = self.validate_key(operation, key)?;
        in_one_step(|| call(&key)).map_err(|error| self.with_context(operation, Some(&key), error))
    }

    pub(crate) fn exists(&self, key: Result<Key>) -> Result<bool> {
        self.with_key("exists", key, |key| match &self.expiry {
            Some(_) => Ok(self.live(self.store.fetch(key)?).is_some()),
            None => self.store.exists(key),
        })
    }

    pub(crate) fn fetch(&self, key: Result<Key>) -> Result<Option<Row>> {
        self.with_key("fetch", key, |key| Ok(self.live(self.store.fetch(key)?)))
    }

    /// Returns the fresh or stale record of a key, whether it is stale, and when it expires.
    pub(crate) fn entry(
        &self,
        key: Result<Key>,
    ) -> Result<Option<(Row, bool, Option<SystemTime>)>> {
        Ok(self.entry_of(self.with_key("entry", key, |key| self.store.fetch(key))?))
    }

    pub(super) fn entry_of(&self, row: Option<Row>) -> Option<(Row, bool, Option<SystemTime>)> {
        match &self.expiry {
            Some(expiry) => row.and_then(|row| expiry.entry(row)),
            None => row.map(|row| (row, false, None)),
        }
    }

    pub(crate) fn pop(&self, key: Result<Key>) -> Result<Option<Row>> {
        self.with_key("pop", key, |key| {
            self.flights.void([key.clone()]);
            self.end_absence(std::slice::from_ref(key))?;
            Ok(self.live(self.store.pop(key)?))
        })
    }

    pub(crate) fn fetch_many(
        &self,
        keys: impl Iterator<Item = Result<Key>>,
    ) -> Result<Vec<Option<Row>>> {
        self.with_keys("fetch_many", keys, |keys| Ok(self.live_each(self.store.fetch_many(keys)?)))
    }

    pub(crate) fn pop_many(
        &self,
        keys: impl Iterator<Item = Result<Key>>,
    ) -> Result<Vec<Option<Row>>> {
        self.with_keys("pop_many", keys, |keys| {
            self.flights.void(keys.iter().cloned());
            self.end_absence(keys)?;
            Ok(self.live_each(self.store.pop_many(keys)?))
        })
    }

    /// Converts a stored row for a handle: `None` if it is expired.
    pub(super) fn live(&self, row: Option<Row>) -> Option<Row> {
        match &self.expiry {
            Some(expiry) => row.and_then(|row| expiry.live(row)),
            None => row,
        }
    }

    pub(super) fn live_each(&self, rows: Vec<Option<Row>>) -> Vec<Option<Row>> {
        match &self.expiry {
            Some(_) => rows.into_iter().map(|row| self.live(row)).collect(),
            None => rows,
        }
    }

    /// Adds the expiry to a row that is about to be stored.
    pub(super) fn stamp(&self, row: Row, ttl: Option<Duration>) -> Row {
        match &self.expiry {
            Some(expiry) => expiry.stamp(row, ttl),
            None => row,
        }
    }

    /// Runs a call on validated keys, and adds context to its error.
    pub(super) fn with_keys<T>(
        &self,
        operation: &'static str,
        keys: impl Iterator<Item = Result<Key>>,
        call: impl FnOnce(&[Key]) -> Result<T>,
    ) -> Result<T> {
        let keys = self.validate_keys(operation, keys)?;
        in_one_step(|| call(&keys)).map_err(|error| self.with_context(operation, None, error))
    }

    pub(super) fn validate_keys(
        &self,
        operation: &'static str,
        keys: impl Iterator<Item = Result<Key>>,
    ) -> Result<Vec<Key>> {
        keys.map(|key| self.validate_key(operation, key)).collect()
    }

    pub(crate) fn set(&self, row: Result<Row>, ttl: Option<Duration>) -> Result<()> {
        let operation = if ttl.is_some() { "set_with_ttl" } else { "set" };
        self.check_ttl(operation, ttl)?;
        self.write(operation, row, ttl, |row| {
            self.prepare_write([&row])?;
            self.store.set(row)
        })?;
        self.after_writes(1);
        Ok(())
    }

    pub(crate) fn update(&self, row: Result<Row>) -> Result<Option<Row>> {
        let old = self.write("update", row, None, |row| {
            self.prepare_write([&row])?;
            self.store.update(row)
        })?;
        self.after_writes(1);
        Ok(self.live(old))
    }

    /// Voids the computations of the keys of rows that are about to be written.
    ///
    /// It also removes expired records that a partial row would otherwise be merged into.
    fn prepare_write<'a>(&self, rows: impl IntoIterator<Item = &'a Row> + Clone) -> Result<()> {
        let keys = || rows.clone().into_iter().map(|row| self.schema.key_of(row));
        self.flights.void(keys());
        if self.absent.is_some() {
            self.end_absence(&keys().collect::<Vec<_>>())?;
        }
        let Some(expiry) = &self.expiry else { return Ok(()) };
        let partial = rows.into_iter().filter(|row| row.iter().any(Value::is_absent));
        let partial: Vec<Key> = partial.map(|row| self.schema.key_of(row)).collect();
        match partial.is_empty() {
            true => Ok(()),
            false => self.store.remove_expired(&partial, expiry.now()),
        }
    }

    /// Runs a call that writes a validated row, and adds context to its error.
    pub(super) fn write<T>(
        &self,
        operation: &'static str,
        row: Result<Row>,
        ttl: Option<Duration>,
        call: impl FnOnce(Row) -> Result<T>,
    ) -> Result<T> {
        let row = self.stamp(self.validate_row(operation, row)?, ttl);
        in_one_step(|| call(row)).map_err(|error| self.with_context(operation, None, error))
    }

    pub(crate) fn set_many(
        &self,
        rows: impl Iterator<Item = Result<Row>>,
        ttl: Option<Duration>,
    ) -> Result<usize> {
        let operation = if ttl.is_some() { "set_many_with_ttl" } else { "set_many" };
        self.set_rows(operation, rows, ttl)
    }

    fn set_rows(
        &self,
        operation: &'static str,
        rows: impl Iterator<Item = Result<Row>>,
        ttl: Option<Duration>,
    ) -> Result<usize> {
        self.check_ttl(operation, ttl)?;
        let count = self.write_many(operation, rows, ttl, |rows| {
            self.prepare_write(&rows)?;
            self.store.set_many(rows)
        })?;
        self.after_writes(count);
        Ok(count)
    }

    /// Runs a call that writes validated rows, and adds context to its error. Returns their number.
    pub(super) fn write_many(
        &self,
        operation: &'static str,
        rows: impl Iterator<Item = Result<Row>>,
        ttl: Option<Duration>,
        call: impl FnOnce(Vec<Row>) -> Result<()>,
    ) -> Result<usize> {
        let rows = rows.map(|row| Ok(self.stamp(self.validate_row(operation, row)?, ttl)));
        let rows = rows.collect::<Result<Vec<_>>>()?;
        let count = rows.len();
        in_one_step(|| call(rows)).map_err(|error| self.with_context(operation, None, error))?;
        Ok(count)
    }

    /// Restarts the time to live of a fresh record.
    pub(crate) fn touch(&self, key: Result<Key>) -> Result<bool> {
        let expiry = self.own_expiry("touch")?;
        let expires = expiry.expiry_of_write(None);
        self.with_key("touch", key, |key| self.store.touch(key, expiry.now(), expires))
    }

    /// Checks the time to live of a write.
    pub(super) fn check_ttl(&self, operation: &'static str, ttl: Option<Duration>) -> Result<()> {
        let Some(ttl) = ttl else { return Ok(()) };
        self.own_expiry(operation)?;
        match ttl < Duration::from_millis(1) {
            true => Err(self.with_context(
                operation,
                None,
                Error::invalid_input("the time to live must be at least one millisecond"),
            )),
            false => Ok(()),
        }
    }

    /// Returns how records expire, or an error if a write cannot set their expiry.
    pub(super) fn own_expiry(&self, operation: &'static str) -> Result<&Expiry> {
        let wrong = |error| Err(self.with_context(operation, None, error));
        match &self.expiry {
            Some(expiry) if expiry.is_by_column() => wrong(Error::invalid_input(
                "the expiry of a record is stored in one of its columns: write the record with a new value in that column",
            )),
            Some(expiry) if self.schema.freshness.uses_expiry() => Ok(expiry),
            _ => wrong(Error::unsupported(
                "the records of the scope carry no expiry: give the scope a `ttl`, which can be \"never\"",
            )),
        }
    }

    pub(crate) fn len(&self) -> Result<u64> {
        let len = in_one_step(|| match &self.expiry {
            Some(expiry) => self.store.live_len(expiry.now()),
            None => self.store.len(),
        });
        len.map_err(|error| self.with_context("len", None, error))
    }

    pub(crate) fn clear(&self) -> Result<()> {
        let cleared = in_one_step(|| {
            self.flights.void_all();
            self.end_all_absence()?;
            self.store.clear()
        });
        cleared.map_err(|error| self.with_context("clear", None, error))
    }
}

/// Runs a call whose store operations share one deadline.
pub(super) fn in_one_step<T>(call: impl FnOnce() -> T) -> T {
    CallClock::default().step(call)
}
