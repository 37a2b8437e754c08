//! The calls that compute a missing record: `get` and its variants.
//!
//! A call reads the store, claims the computation, computes, and stores the result unless the key was
//! written meanwhile. After the claim it reads again if another computation has landed meanwhile. It returns early with a fresh record, or with a stale one
//! while a different caller computes the new one.
//!
//! With shared single flight, the lease of the key is acquired between the claim and the second
//! read. Invariant: a process stores its result and releases the lease in one atomic step, so the
//! next holder of the lease finds the record.

mod background;
#[cfg(feature = "async")]
mod future;
mod refresh;

use std::error::Error as StdError;
use std::thread;
use std::time::Duration;

use super::Core;
use super::expiry::{Expiry, Found, Stale};
use super::lease::HeldLease;
use crate::compute::{ComputeGuard, Role};
use crate::freshness::OnUnavailable;
use crate::remote::CallClock;
use crate::store::LeasedFill;
use crate::{Error, ErrorKind, Key, Result, Row};

/// The pause between two reads while a different process computes.
pub(super) const POLL: Duration = Duration::from_millis(25);

/// The key to look up, and for which operation.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    operation: &'static str,
    pub(super) key: Key,
    /// The absence of a record is a valid result.
    optional: bool,
}

/// A computation to run, and the state of its key.
pub(super) struct Task {
    pub(super) guard: ComputeGuard,
    /// The stale record to replace.
    pub(super) old: Option<Stale>,
    /// When the key was found missing: records stored later are not replaced.
    pub(super) at: i64,
    /// The store cannot be reached: nothing is stored.
    pub(super) down: bool,
    pub(super) lease: Option<HeldLease>,
}

/// The next step after the claim of a key.
enum Ready {
    Return(Option<Row>),
    Compute(Task),
    /// A different process computes: read again later.
    Wait(ComputeGuard),
}

/// The result of reading the store.
enum Lookup {
    Return(Option<Row>),
    Missing(Miss),
}

/// A lookup that found no fresh record.
#[derive(Clone)]
struct Miss {
    old: Option<Stale>,
    /// The store cannot be reached.
    down: bool,
    /// The number of flights that had landed before the lookup.
    landed: usize,
}

impl Core {
    /// Returns the stored row, or computes and stores it. Concurrent callers compute once. A hit
    /// costs one call of the store.
    pub(crate) fn get<E>(
        &self,
        key: Result<Key>,
        compute: impl FnOnce() -> Result<Row, E>,
    ) -> Result<Row>
    where
        E: Into<Box<dyn StdError + Send + Sync>>,
    {
        let request = self.request("get", key, false)?;
        self.row_of(&request, self.obtain(&request, || compute().map(Some))?)
    }

    /// Like [`get`](Core::get), but the computation may return no record. The absence is remembered
    /// if the scope has a `negative_ttl`.
    pub(crate) fn get_optional<E>(
        &self,
        key: Result<Key>,
        compute: impl FnOnce() -> Result<Option<Row>, E>,
    ) -> Result<Option<Row>>
    where
        E: Into<Box<dyn StdError + Send + Sync>>,
    {
        let request = self.request("get_optional", key, true)?;
        self.obtain(&request, compute)
    }

    fn request(
        &self,
        operation: &'static str,
        key: Result<Key>,
        optional: bool,
    ) -> Result<Request> {
        Ok(Request { operation, key: self.validate_key(operation, key)?, optional })
    }

    /// Unwraps the row of a request that is not optional.
    fn row_of(&self, request: &Request, row: Option<Row>) -> Result<Row> {
        row.ok_or_else(|| {
            self.failed(request, Error::new(ErrorKind::Compute, "the closure returned no record"))
        })
    }

    fn obtain<E>(
        &self,
        request: &Request,
        compute: impl FnOnce() -> Result<Option<Row>, E>,
    ) -> Result<Option<Row>>
    where
        E: Into<Box<dyn StdError + Send + Sync>>,
    {
        // All calls of the store share one deadline; the computation has none.
        let clock = CallClock::default();
        let lookup = clock.step(|| self.lookup(request))?;
        self.obtain_after(request, clock, lookup, compute)
    }

    /// Like `obtain`, after a first lookup.
    fn obtain_after<E>(
        &self,
        request: &Request,
        clock: CallClock,
        lookup: Lookup,
        compute: impl FnOnce() -> Result<Option<Row>, E>,
    ) -> Result<Option<Row>>
    where
        E: Into<Box<dyn StdError + Send + Sync>>,
    {
        let mut first = Some(lookup);
        let (mut guard, miss) = loop {
            let lookup = first.take().map_or_else(|| clock.step(|| self.lookup(request)), Ok)?;
            let miss = match lookup {
                Lookup::Return(row) => return Ok(row),
                Lookup::Missing(miss) => miss,
            };
            if let Some(old) = self.served_while_computed(&miss.old) {
                match self.flights.try_claim(&request.key) {
                    Some(guard) => break (guard, miss),
                    None => return Ok(Some(old)),
                }
            }
            let role = self.flights.claim(&request.key, &self.schema);
            match role.map_err(|error| self.failed(request, error))? {
                Role::Compute(guard) => break (guard, miss),
                Role::Take(row) if row.is_some() || request.optional => return Ok(row),
                Role::Take(_) | Role::Retry => {}
            }
        };
        let mut polled = None;
        let task = loop {
            let prepare = || self.prepare(request, guard, &miss);
            match polled.as_ref().unwrap_or(&clock).step(prepare)? {
                Ready::Return(row) => return Ok(row),
                Ready::Compute(task) => break task,
                Ready::Wait(waiting) => guard = waiting,
            }
            thread::sleep(POLL);
            // Waiting for a different process is not part of the deadline.
            polled = Some(CallClock::default());
        };
        let computed = compute();
        clock.step(|| self.finish(request, task, computed))
    }

    fn lookup(&self, request: &Request) -> Result<Lookup> {
        let landed = self.flights.landed();
        self.looked(request, self.store.fetch(&request.key), landed)
    }

    /// Decides what a stored row means for the call. `landed` is the number of flights that had
    /// landed before the row was fetched.
    fn looked(
        &self,
        request: &Request,
        stored: Result<Option<Row>>,
        landed: usize,
    ) -> Result<Lookup> {
        let missing = |old, down| Ok(Lookup::Missing(Miss { old, down, landed }));
        let looked = stored.and_then(|row| match self.found(row) {
            Found::Fresh(row) => Ok(Lookup::Return(Some(row))),
            _ if request.optional && self.is_absent(&request.key)? => Ok(Lookup::Return(None)),
            Found::Stale(old) => missing(Some(old), false),
            Found::Missing => missing(None, false),
        });
        match looked {
            Err(error) if self.computes_despite(&error) => missing(None, true),
            looked => looked.map_err(|error| self.failed(request, error)),
        }
    }

    /// Returns the state of a stored row at the current time.
    pub(super) fn found(&self, row: Option<Row>) -> Found {
        match (&self.expiry, row) {
            (_, None) => Found::Missing,
            (None, Some(row)) => Found::Fresh(row),
            (Some(expiry), Some(row)) => expiry.judge(row),
        }
    }

    /// Returns whether `get` computes although the store returned this error.
    pub(super) fn computes_despite(&self, error: &Error) -> bool {
        self.schema.freshness.on_unavailable == Some(OnUnavailable::Compute)
            && error.is_unreachable()
    }

    /// Returns the stale row if it is served to callers that do not compute.
    pub(super) fn served_while_computed(&self, old: &Option<Stale>) -> Option<Row> {
        self.served(old, Expiry::serves_while_computed)
    }

    /// Returns the stale row if it is within a window.
    fn served(
        &self,
        old: &Option<Stale>,
        is_within: impl FnOnce(&Expiry, &Stale) -> bool,
    ) -> Option<Row> {
        let (expiry, old) = (self.expiry.as_ref()?, old.as_ref()?);
        is_within(expiry, old).then(|| old.row.clone())
    }

    fn now(&self) -> i64 {
        self.expiry.as_ref().map_or(0, |expiry| expiry.now())
    }

    /// Decides what a caller does after it has claimed a key: the key may have been stored between
    /// the lookup and the claim, and a different process may be computing it.
    ///
    /// Without shared single flight the store is not asked again if no computation of this process
    /// has landed since the lookup: what other calls stored meanwhile is kept by the insert.
    fn prepare(&self, request: &Request, guard: ComputeGuard, miss: &Miss) -> Result<Ready> {
        let down = miss.down;
        if down {
            return Ok(Ready::Compute(Task { guard, old: None, at: 0, down, lease: None }));
        }
        let is_first = || !request.optional && miss.old.is_none();
        let (lease, leased) = match self.schema.freshness.lease() {
            None if is_first() && self.flights.landed() == miss.landed => {
                let at = self.now();
                return Ok(Ready::Compute(Task { guard, old: None, at, down, lease: None }));
            }
            None => (None, true),
            Some(time) => match self.leases.acquire(&request.key, time) {
                Ok(lease) => {
                    let leased = lease.is_some();
                    (lease, leased)
                }
                Err(error) if self.computes_despite(&error) => {
                    return self.prepare(request, guard, &Miss { down: true, ..miss.clone() });
                }
                Err(error) => return Err(self.failed(request, error)),
            },
        };
        let at = self.now();
        match self.lookup(request)? {
            Lookup::Return(row) => Ok(Ready::Return(row)),
            Lookup::Missing(Miss { old, down, .. }) if leased || down => {
                Ok(Ready::Compute(Task { guard, old, at, down, lease }))
            }
            Lookup::Missing(miss) => Ok(match self.served_while_computed(&miss.old) {
                Some(row) => Ready::Return(Some(row)),
                None => Ready::Wait(guard),
            }),
        }
    }

    /// Stores the result of a computation, and returns the result of the call.
    fn finish<E>(
        &self,
        request: &Request,
        task: Task,
        computed: Result<Option<Row>, E>,
    ) -> Result<Option<Row>>
    where
        E: Into<Box<dyn StdError + Send + Sync>>,
    {
        match computed {
            Ok(Some(row)) => self.fill(request, task, row).map(Some),
            Ok(None) => self.fill_absence(request, task).map(|()| None),
            Err(error) => match self.served(&task.old, Expiry::serves_after_error) {
                Some(row) => Ok(Some(row)),
                None => Err(self.computing_failed(request, error)),
            },
        }
    }

    /// Stores a computed row, unless the key was written meanwhile. Returns that row, or the one
    /// stored by a different process.
    fn fill(&self, request: &Request, task: Task, row: Row) -> Result<Row> {
        let row = self.validate_row(request.operation, Ok(row))?;
        self.check_computed(request, &row)?;
        let Task { guard, old, at, down, lease } = task;
        if !down && guard.begin_storing() {
            match self.store_computed(&request.key, &row, at, lease) {
                Ok(LeasedFill::Stored) => {
                    guard.land(&self.schema, Some(&row));
                    self.after_writes(1);
                    return Ok(row);
                }
                Ok(LeasedFill::Existing(stored)) => {
                    if let Some(stored) = self.live(Some(stored)) {
                        return Ok(stored);
                    }
                }
                Ok(LeasedFill::Lost) => {}
                Err(error) if self.computes_despite(&error) => {}
                Err(error) => {
                    let served = self.served(&old, Expiry::serves_if_unstored);
                    return served.ok_or_else(|| self.failed(request, error));
                }
            }
        }
        guard.land(&self.schema, Some(&row));
        Ok(row)
    }

    /// Inserts a computed row, or replaces an expired one.
    pub(super) fn store_computed(
        &self,
        key: &Key,
        row: &Row,
        at: i64,
        lease: Option<HeldLease>,
    ) -> Result<LeasedFill> {
        self.end_absence(std::slice::from_ref(key))?;
        let stamped = self.stamp(row.clone(), None);
        if let Some(lease) = lease {
            return lease.fill(stamped, at);
        }
        let stored = match self.expiry {
            Some(_) => self.store.replace_expired(vec![stamped], at)?.pop().flatten(),
            None => self.store.insert(stamped)?,
        };
        Ok(stored.map_or(LeasedFill::Stored, LeasedFill::Existing))
    }

    /// Remembers the absence of a record, and removes an expired one.
    fn fill_absence(&self, request: &Request, task: Task) -> Result<()> {
        let Task { guard, at, down, lease, .. } = task;
        if !down
            && guard.begin_storing()
            && let Err(error) = self.store_absence(&request.key, at)
            && !self.computes_despite(&error)
        {
            return Err(self.failed(request, error));
        }
        drop(lease);
        guard.land(&self.schema, None);
        Ok(())
    }

    fn store_absence(&self, key: &Key, at: i64) -> Result<()> {
        if self.expiry.is_some() {
            self.store.remove_expired(std::slice::from_ref(key), at)?;
        }
        self.remember_absence(key)
    }

    fn failed(&self, request: &Request, error: Error) -> Error {
        self.with_context(request.operation, Some(&request.key), error)
    }

    fn computing_failed(
        &self,
        request: &Request,
        error: impl Into<Box<dyn StdError + Send + Sync>>,
    ) -> Error {
        // A handle may already have wrapped the error of its closure.
        let failed = error.into().downcast::<Error>();
        self.failed(request, failed.map_or_else(Error::of_closure, |error| *error))
    }

    fn check_computed(&self, request: &Request, row: &Row) -> Result<()> {
        let computed = self.schema.key_of(row);
        if computed == request.key {
            return Ok(());
        }
        let message =
            format!("the computed record has the key `{computed}`, which is not the key asked for");
        Err(self.failed(request, Error::invalid_input(message)))
    }
}
