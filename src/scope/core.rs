//! What all handles rest on: checks what goes in, adds the context of errors, computes once.

use std::collections::{HashMap, HashSet};
use std::error::Error as StdError;
use std::sync::Arc;

use crate::compute::{ComputeGuard, Flights, Role};
use crate::remote::CallClock;
use crate::store::{Keys, Rows, ScopeStore};
use crate::{Error, ErrorKind, Key, Result, Row, Schema};

/// An opened scope.
#[derive(Debug)]
pub(crate) struct Core {
    backend: &'static str,
    pub(crate) schema: Arc<Schema>,
    store: Arc<dyn ScopeStore>,
    flights: Arc<Flights>,
    /// No call of the store waits for a file or a server.
    #[cfg_attr(not(feature = "async"), expect(dead_code, reason = "only futures ask"))]
    immediate: bool,
}

impl Core {
    pub(crate) fn new(
        backend: &'static str,
        store: Arc<dyn ScopeStore>,
        flights: Arc<Flights>,
        immediate: bool,
    ) -> Self {
        Self { backend, schema: store.schema().clone(), store, flights, immediate }
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

    /// Adds where an error happened.
    pub(super) fn place(&self, operation: &'static str, key: Option<&Key>, error: Error) -> Error {
        let error = error.in_operation(self.backend, operation).with_scope(&self.schema.name);
        match key {
            Some(key) => error.with_key(key),
            None => error,
        }
    }

    fn admit_key(&self, operation: &'static str, mut key: Key) -> Result<Key> {
        match self.schema.admit_key(&mut key) {
            Ok(()) => Ok(key),
            Err(error) => Err(self.place(operation, Some(&key), error)),
        }
    }

    fn admit_row(&self, operation: &'static str, row: Result<Row>) -> Result<Row> {
        let admitted = row.and_then(|mut row| match self.schema.admit_row(&mut row) {
            Ok(()) => Ok(row),
            Err(error) => Err(error.with_key(self.schema.key_of(&row))),
        });
        admitted.map_err(|error| self.place(operation, None, error))
    }

    /// Runs one call on one key, with the context for its error.
    pub(super) fn with_key<T>(
        &self,
        operation: &'static str,
        key: Key,
        call: impl FnOnce(&Key) -> Result<T>,
    ) -> Result<T> {
        let key = self.admit_key(operation, key)?;
        in_one_step(|| call(&key)).map_err(|error| self.place(operation, Some(&key), error))
    }

    pub(crate) fn exists(&self, key: Key) -> Result<bool> {
        self.with_key("exists", key, |key| self.store.exists(key))
    }

    pub(crate) fn fetch(&self, key: Key) -> Result<Option<Row>> {
        self.with_key("fetch", key, |key| self.store.fetch(key))
    }

    pub(crate) fn pop(&self, key: Key) -> Result<Option<Row>> {
        self.with_key("pop", key, |key| {
            self.flights.void([key.clone()]);
            self.store.pop(key)
        })
    }

    pub(crate) fn fetch_many(&self, keys: impl Iterator<Item = Key>) -> Result<Vec<Option<Row>>> {
        self.with_keys("fetch_many", keys, |keys| self.store.fetch_many(keys))
    }

    pub(crate) fn pop_many(&self, keys: impl Iterator<Item = Key>) -> Result<Vec<Option<Row>>> {
        self.with_keys("pop_many", keys, |keys| {
            self.flights.void(keys.iter().cloned());
            self.store.pop_many(keys)
        })
    }

    /// Runs one call on many keys, with the context for its error.
    pub(super) fn with_keys<T>(
        &self,
        operation: &'static str,
        keys: impl Iterator<Item = Key>,
        call: impl FnOnce(&[Key]) -> Result<T>,
    ) -> Result<T> {
        let keys = self.admit_keys(operation, keys)?;
        in_one_step(|| call(&keys)).map_err(|error| self.place(operation, None, error))
    }

    fn admit_keys(
        &self,
        operation: &'static str,
        keys: impl Iterator<Item = Key>,
    ) -> Result<Vec<Key>> {
        keys.map(|key| self.admit_key(operation, key)).collect()
    }

    pub(crate) fn set(&self, row: Result<Row>) -> Result<()> {
        self.write("set", row, |row| {
            self.void([&row]);
            self.store.set(row)
        })
    }

    pub(crate) fn update(&self, row: Result<Row>) -> Result<Option<Row>> {
        self.write("update", row, |row| {
            self.void([&row]);
            self.store.update(row)
        })
    }

    /// Voids the computations of the keys of rows that are about to be written.
    fn void<'a>(&self, rows: impl IntoIterator<Item = &'a Row>) {
        self.flights.void(rows.into_iter().map(|row| self.schema.key_of(row)));
    }

    /// Runs one call that writes a row, with the context for its error.
    pub(super) fn write<T>(
        &self,
        operation: &'static str,
        row: Result<Row>,
        call: impl FnOnce(Row) -> Result<T>,
    ) -> Result<T> {
        let row = self.admit_row(operation, row)?;
        in_one_step(|| call(row)).map_err(|error| self.place(operation, None, error))
    }

    pub(crate) fn set_many(&self, rows: impl Iterator<Item = Result<Row>>) -> Result<usize> {
        self.write_many("set_many", rows, |rows| {
            self.void(&rows);
            self.store.set_many(rows)
        })
    }

    /// Runs one call that writes rows, with the context for its error; gives how many they are.
    pub(super) fn write_many(
        &self,
        operation: &'static str,
        rows: impl Iterator<Item = Result<Row>>,
        call: impl FnOnce(Vec<Row>) -> Result<()>,
    ) -> Result<usize> {
        let rows = rows.map(|row| self.admit_row(operation, row)).collect::<Result<Vec<_>>>()?;
        let count = rows.len();
        in_one_step(|| call(rows)).map_err(|error| self.place(operation, None, error))?;
        Ok(count)
    }

    pub(crate) fn keys(&self) -> Result<Keys> {
        let keys =
            in_one_step(|| self.store.keys()).map_err(|error| self.place("keys", None, error))?;
        Ok(self.listed("keys", keys))
    }

    pub(crate) fn rows(&self) -> Result<Rows> {
        let rows =
            in_one_step(|| self.store.rows()).map_err(|error| self.place("iter", None, error))?;
        Ok(self.listed("iter", rows))
    }

    /// A listing whose errors have their context.
    fn listed<T: 'static>(
        &self,
        operation: &'static str,
        items: Box<dyn Iterator<Item = Result<T>> + Send>,
    ) -> Box<dyn Iterator<Item = Result<T>> + Send> {
        let (backend, schema) = (self.backend, self.schema.clone());
        let place =
            move |error: Error| error.in_operation(backend, operation).with_scope(&schema.name);
        Box::new(items.map(move |item| item.map_err(&place)))
    }

    pub(crate) fn len(&self) -> Result<u64> {
        in_one_step(|| self.store.len()).map_err(|error| self.place("len", None, error))
    }

    pub(crate) fn clear(&self) -> Result<()> {
        let cleared = in_one_step(|| {
            self.flights.void_all();
            self.store.clear()
        });
        cleared.map_err(|error| self.place("clear", None, error))
    }

    /// The stored row, or the one that `compute` gives, which is stored; computed once however
    /// many threads ask at once. A hit costs one call of the store.
    pub(crate) fn get<E>(&self, key: Key, compute: impl FnOnce() -> Result<Row, E>) -> Result<Row>
    where
        E: Into<Box<dyn StdError + Send + Sync>>,
    {
        let key = self.admit_key("get", key)?;
        // One deadline for all that is asked of the store, and none for the computation.
        let clock = CallClock::default();
        if let Some(row) = clock.step(|| self.look(&key))? {
            return Ok(row);
        }
        let guard = loop {
            let role = self.flights.claim(&key, &self.schema);
            match role.map_err(|error| self.place("get", Some(&key), error))? {
                Role::Compute(guard) => break guard,
                Role::Take(row) => return Ok(row),
                Role::Retry => {}
            }
        };
        // The row may have been stored between the look and the claim.
        if let Some(row) = clock.step(|| self.look(&key))? {
            return Ok(row);
        }
        let row = compute().map_err(|error| self.computing_failed(&key, error))?;
        clock.step(|| self.fill(guard, row))
    }

    /// The same for a computation that is a future; the store is asked by threads that may wait.
    #[cfg(feature = "async")]
    pub(crate) async fn get_async<E, F>(
        self: &Arc<Self>,
        key: Key,
        compute: impl FnOnce() -> F,
    ) -> Result<Row>
    where
        E: Into<Box<dyn StdError + Send + Sync>>,
        F: Future<Output = Result<Row, E>>,
    {
        let key = self.admit_key("get", key)?;
        let clock = Arc::new(CallClock::default());
        if let Some(row) = self.look_async(&key, &clock).await? {
            return Ok(row);
        }
        let guard = loop {
            let role = self.flights.claim_async(&key, &self.schema).await;
            match role.map_err(|error| self.place("get", Some(&key), error))? {
                Role::Compute(guard) => break guard,
                Role::Take(row) => return Ok(row),
                Role::Retry => {}
            }
        };
        if let Some(row) = self.look_async(&key, &clock).await? {
            return Ok(row);
        }
        let row = guard.compute(compute).await;
        let row = row.map_err(|error| self.computing_failed(&key, error))?;
        // The guard goes along: if this future is dropped, the flight lands when the store is done.
        self.apart(move |core| clock.step(|| core.fill(guard, row))).await
    }

    #[cfg(feature = "async")]
    async fn look_async(
        self: &Arc<Self>,
        key: &Key,
        clock: &Arc<CallClock>,
    ) -> Result<Option<Row>> {
        let (key, clock) = (key.clone(), clock.clone());
        self.apart(move |core| clock.step(|| core.look(&key))).await
    }

    /// Makes a call where it may wait: in a thread of a pool, unless the store never waits.
    #[cfg(feature = "async")]
    pub(crate) async fn apart<T: Send + 'static>(
        self: &Arc<Self>,
        call: impl FnOnce(&Self) -> T + Send + 'static,
    ) -> T {
        if self.immediate {
            return call(self);
        }
        let core = self.clone();
        blocking::unblock(move || call(&core)).await
    }

    /// Stores the row that was computed for a key in place of what there is, and gives it.
    pub(crate) fn renew(&self, key: Key, row: Row) -> Result<Row> {
        let key = self.admit_key("refresh", key)?;
        let row = self.admit_row("get", Ok(row))?;
        self.check_computed(&key, &row)?;
        let stored = in_one_step(|| {
            self.flights.void([key.clone()]);
            self.store.set(row.clone())
        });
        stored.map_err(|error| self.place("get", Some(&key), error))?;
        Ok(row)
    }

    /// Stores a computed row, unless the key was written meanwhile, and gives what `get` returns:
    /// that row, or the one that another process stored.
    fn fill(&self, guard: ComputeGuard, row: Row) -> Result<Row> {
        let row = self.admit_row("get", Ok(row))?;
        self.check_computed(guard.key(), &row)?;
        if guard.begin_storing() {
            let stored = self.store.insert(row.clone());
            let stored = stored.map_err(|error| self.place("get", Some(guard.key()), error))?;
            if let Some(stored) = stored {
                return Ok(stored);
            }
        }
        guard.land(&self.schema, &row);
        Ok(row)
    }

    fn look(&self, key: &Key) -> Result<Option<Row>> {
        self.store.fetch(key).map_err(|error| self.place("get", Some(key), error))
    }

    fn computing_failed(
        &self,
        key: &Key,
        error: impl Into<Box<dyn StdError + Send + Sync>>,
    ) -> Error {
        // An error of hilcat's own inside the closure is passed on as it is.
        let failed = match error.into().downcast::<Error>() {
            Ok(error) => *error,
            Err(error) => {
                Error::new(ErrorKind::Compute, "the computation failed").with_source(error)
            }
        };
        self.place("get", Some(key), failed)
    }

    fn check_computed(&self, key: &Key, row: &Row) -> Result<()> {
        let computed = self.schema.key_of(row);
        if computed == *key {
            return Ok(());
        }
        let message =
            format!("the computed record has the key `{computed}`, which is not the key asked for");
        Err(self.place("get", Some(key), Error::invalid_input(message)))
    }

    /// The stored rows, those that are missing computed together and stored; in the order asked.
    ///
    /// `compute` is called once, and once more only where another thread that was computing some
    /// of the keys failed.
    pub(crate) fn get_many<I>(
        &self,
        keys: impl Iterator<Item = Key>,
        mut compute: impl FnMut(Vec<Key>) -> Result<I>,
    ) -> Result<Vec<Row>>
    where
        I: Iterator<Item = Result<Row>>,
    {
        let keys = self.admit_keys("get_many", keys)?;
        let clock = &CallClock::default();
        let mut found = clock.step(|| self.look_many(&keys))?;
        loop {
            let mut seen = HashSet::new();
            let missing = keys.iter().filter(|key| !found.contains_key(*key) && seen.insert(*key));
            let missing: Vec<Key> = missing.cloned().collect();
            if missing.is_empty() {
                break;
            }
            self.find_missing(&missing, &mut found, clock, &mut compute)?;
        }
        Ok(keys.iter().filter_map(|key| found.get(key).cloned()).collect())
    }

    fn look_many(&self, keys: &[Key]) -> Result<Found> {
        let rows = self.store.fetch_many(keys);
        let rows = rows.map_err(|error| self.place("get_many", None, error))?;
        Ok(keys.iter().cloned().zip(rows).filter_map(|(key, row)| Some((key, row?))).collect())
    }

    /// Computes those of the missing keys that no other caller computes, or if there are none,
    /// waits for one of them. No guard is held while waiting, so that two calls whose keys overlap
    /// cannot wait for one another.
    fn find_missing<I>(
        &self,
        missing: &[Key],
        found: &mut Found,
        clock: &CallClock,
        compute: impl FnMut(Vec<Key>) -> Result<I>,
    ) -> Result<()>
    where
        I: Iterator<Item = Result<Row>>,
    {
        let guards: Vec<_> = missing.iter().filter_map(|key| self.flights.try_claim(key)).collect();
        if guards.is_empty() {
            let role = self.flights.claim(&missing[0], &self.schema);
            let role = role.map_err(|error| self.place("get_many", Some(&missing[0]), error))?;
            if let Role::Take(row) = role {
                found.insert(missing[0].clone(), row);
            }
            return Ok(());
        }
        // Some of them may have been stored before they were claimed.
        let keys: Vec<Key> = guards.iter().map(|guard| guard.key().clone()).collect();
        found.extend(clock.step(|| self.look_many(&keys))?);
        let guards: Vec<_> =
            guards.into_iter().filter(|guard| !found.contains_key(guard.key())).collect();
        if guards.is_empty() { Ok(()) } else { self.compute_rows(guards, found, clock, compute) }
    }

    fn compute_rows<I>(
        &self,
        guards: Vec<ComputeGuard>,
        found: &mut Found,
        clock: &CallClock,
        mut compute: impl FnMut(Vec<Key>) -> Result<I>,
    ) -> Result<()>
    where
        I: Iterator<Item = Result<Row>>,
    {
        let wrong = |key: &Key, message: &str| {
            Err(self.place("get_many", Some(key), Error::invalid_input(message)))
        };
        let keys: Vec<Key> = guards.iter().map(|guard| guard.key().clone()).collect();
        let computed =
            compute(keys.clone()).map_err(|error| self.place("get_many", None, error))?;
        let rows =
            computed.map(|row| self.admit_row("get_many", row)).collect::<Result<Vec<_>>>()?;
        let rows: Found = rows.into_iter().map(|row| (self.schema.key_of(&row), row)).collect();
        let asked: HashSet<&Key> = keys.iter().collect();
        if let Some(key) = rows.keys().find(|key| !asked.contains(key)) {
            return wrong(
                key,
                "the computation gave a record for this key, which was not asked for",
            );
        }
        let missing = keys.iter().find(|key| !rows.contains_key(*key)).cloned();
        clock.step(|| self.fill_many(guards, rows, found))?;
        match missing {
            Some(key) => wrong(
                &key,
                "the computation gave no record for this key; those that it gave are stored",
            ),
            None => Ok(()),
        }
    }

    /// Stores those computed rows whose keys were not written meanwhile, and adds to `found` what
    /// `get_many` returns.
    fn fill_many(
        &self,
        guards: Vec<ComputeGuard>,
        mut rows: Found,
        found: &mut Found,
    ) -> Result<()> {
        let computed = guards.into_iter().filter_map(|guard| {
            let row = rows.remove(guard.key())?;
            Some((guard, row))
        });
        let (storing, void): (Vec<_>, Vec<_>) =
            computed.partition(|(guard, _)| guard.begin_storing());
        let inserted = match storing.is_empty() {
            true => Vec::new(),
            false => {
                let rows = storing.iter().map(|(_, row)| row.clone()).collect();
                let inserted = self.store.insert_many(rows);
                inserted.map_err(|error| self.place("get_many", None, error))?
            }
        };
        let ends =
            storing.into_iter().zip(inserted).chain(void.into_iter().map(|void| (void, None)));
        for ((guard, row), stored) in ends {
            let key = guard.key().clone();
            if stored.is_none() {
                guard.land(&self.schema, &row);
            }
            found.insert(key, stored.unwrap_or(row));
        }
        Ok(())
    }
}

/// Runs a call whose steps in the store have one deadline.
fn in_one_step<T>(call: impl FnOnce() -> T) -> T {
    CallClock::default().step(call)
}

/// Rows by their keys.
type Found = HashMap<Key, Row>;
