//! The calls that compute what is missing: `get` and its kin.
//!
//! A call looks at the store, claims the computation, looks again, computes, and stores what it
//! computed unless the key was written meanwhile. What it finds decides how far it goes: a fresh
//! record is returned at once, and so is a stale one that another caller is replacing.
//!
//! Where processes share computations, the lease of the key is taken between the claim and the
//! second look. A process stores what it computed and gives the lease back in one step, so that
//! whichever process has the lease next finds the record.

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

/// The pause between two looks for what another process computes.
pub(super) const POLL: Duration = Duration::from_millis(25);

/// What is asked for.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    operation: &'static str,
    pub(super) key: Key,
    /// That there is no record is an answer.
    optional: bool,
}

/// A computation that is to be run, and what is known of its key.
pub(super) struct Task {
    pub(super) guard: ComputeGuard,
    /// The record that is to be replaced.
    pub(super) old: Option<Stale>,
    /// When the key was found to be missing: what was stored later is not replaced.
    pub(super) at: i64,
    /// The store cannot be reached: nothing is stored.
    pub(super) down: bool,
    pub(super) lease: Option<HeldLease>,
}

/// What follows the claim of a key.
enum Ready {
    Return(Option<Row>),
    Compute(Task),
    /// Another process computes: look again later.
    Wait(ComputeGuard),
}

/// What a look at the store says.
enum Look {
    Return(Option<Row>),
    Missing { old: Option<Stale>, down: bool },
}

impl Core {
    /// The stored row, or the one that `compute` gives, which is stored; computed once however
    /// many threads ask at once. A hit costs one call of the store.
    pub(crate) fn get<E>(
        &self,
        key: Result<Key>,
        compute: impl FnOnce() -> Result<Row, E>,
    ) -> Result<Row>
    where
        E: Into<Box<dyn StdError + Send + Sync>>,
    {
        let asked = self.asked("get", key, false)?;
        self.row_of(&asked, self.obtain(&asked, || compute().map(Some))?)
    }

    /// The same where there may be no record, which is remembered if the scope says so.
    pub(crate) fn get_optional<E>(
        &self,
        key: Result<Key>,
        compute: impl FnOnce() -> Result<Option<Row>, E>,
    ) -> Result<Option<Row>>
    where
        E: Into<Box<dyn StdError + Send + Sync>>,
    {
        let asked = self.asked("get_optional", key, true)?;
        self.obtain(&asked, compute)
    }

    fn asked(&self, operation: &'static str, key: Result<Key>, optional: bool) -> Result<Asked> {
        Ok(Asked { operation, key: self.validate_key(operation, key)?, optional })
    }

    /// A row where there always is one.
    fn row_of(&self, asked: &Asked, row: Option<Row>) -> Result<Row> {
        row.ok_or_else(|| {
            self.failed(asked, Error::new(ErrorKind::Compute, "the closure returned no record"))
        })
    }

    fn obtain<E>(
        &self,
        asked: &Asked,
        compute: impl FnOnce() -> Result<Option<Row>, E>,
    ) -> Result<Option<Row>>
    where
        E: Into<Box<dyn StdError + Send + Sync>>,
    {
        // One deadline for all that is asked of the store, and none for the computation.
        let clock = CallClock::default();
        let look = clock.step(|| self.look(asked))?;
        self.obtain_after(asked, clock, look, compute)
    }

    /// The same after a first look.
    fn obtain_after<E>(
        &self,
        asked: &Asked,
        clock: CallClock,
        look: Look,
        compute: impl FnOnce() -> Result<Option<Row>, E>,
    ) -> Result<Option<Row>>
    where
        E: Into<Box<dyn StdError + Send + Sync>>,
    {
        let mut first = Some(look);
        let (mut guard, down) = loop {
            let look = first.take().map_or_else(|| clock.step(|| self.look(asked)), Ok)?;
            let (old, down) = match look {
                Look::Return(row) => return Ok(row),
                Look::Missing { old, down } => (old, down),
            };
            if let Some(old) = self.served_while_computed(&old) {
                match self.flights.try_claim(&asked.key) {
                    Some(guard) => break (guard, down),
                    None => return Ok(Some(old)),
                }
            }
            let role = self.flights.claim(&asked.key, &self.schema);
            match role.map_err(|error| self.failed(asked, error))? {
                Role::Compute(guard) => break (guard, down),
                Role::Take(row) if row.is_some() || asked.optional => return Ok(row),
                Role::Take(_) | Role::Retry => {}
            }
        };
        let mut polled = None;
        let task = loop {
            let prepare = || self.prepare(asked, guard, down);
            match polled.as_ref().unwrap_or(&clock).step(prepare)? {
                Ready::Return(row) => return Ok(row),
                Ready::Compute(task) => break task,
                Ready::Wait(waiting) => guard = waiting,
            }
            thread::sleep(POLL);
            // Waiting for another process is not part of the deadline.
            polled = Some(CallClock::default());
        };
        let computed = compute();
        clock.step(|| self.finish(asked, task, computed))
    }

    fn look(&self, asked: &Asked) -> Result<Look> {
        self.looked(asked, self.store.fetch(&asked.key))
    }

    fn looked(&self, asked: &Asked, stored: Result<Option<Row>>) -> Result<Look> {
        let looked = stored.and_then(|row| match self.found(row) {
            Found::Fresh(row) => Ok(Look::Return(Some(row))),
            _ if asked.optional && self.is_absent(&asked.key)? => Ok(Look::Return(None)),
            Found::Stale(old) => Ok(Look::Missing { old: Some(old), down: false }),
            Found::Missing => Ok(Look::Missing { old: None, down: false }),
        });
        match looked {
            Err(error) if self.computes_despite(&error) => {
                Ok(Look::Missing { old: None, down: true })
            }
            looked => looked.map_err(|error| self.failed(asked, error)),
        }
    }

    /// What a stored row is at this time.
    pub(super) fn found(&self, row: Option<Row>) -> Found {
        match (&self.expiry, row) {
            (_, None) => Found::Missing,
            (None, Some(row)) => Found::Fresh(row),
            (Some(expiry), Some(row)) => expiry.judge(row),
        }
    }

    /// Whether `get` computes though the store gave this error.
    pub(super) fn computes_despite(&self, error: &Error) -> bool {
        self.schema.freshness.on_unavailable == Some(OnUnavailable::Compute)
            && error.is_unreachable()
    }

    /// The stale row that is served to callers that do not compute.
    pub(super) fn served_while_computed(&self, old: &Option<Stale>) -> Option<Row> {
        self.served(old, Expiry::serves_while_computed)
    }

    /// The stale row if it is within a window.
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

    /// What the caller that has claimed a key does: the key may have been stored between its look
    /// and the claim, and another process may be computing it.
    fn prepare(&self, asked: &Asked, guard: ComputeGuard, down: bool) -> Result<Ready> {
        if down {
            return Ok(Ready::Compute(Task { guard, old: None, at: 0, down, lease: None }));
        }
        let (lease, leased) = match self.schema.freshness.lease() {
            None => (None, true),
            Some(time) => match self.leases.acquire(&asked.key, time) {
                Ok(lease) => {
                    let leased = lease.is_some();
                    (lease, leased)
                }
                Err(error) if self.computes_despite(&error) => {
                    return self.prepare(asked, guard, true);
                }
                Err(error) => return Err(self.failed(asked, error)),
            },
        };
        let at = self.now();
        match self.look(asked)? {
            Look::Return(row) => Ok(Ready::Return(row)),
            Look::Missing { old, down } if leased || down => {
                Ok(Ready::Compute(Task { guard, old, at, down, lease }))
            }
            Look::Missing { old, .. } => Ok(match self.served_while_computed(&old) {
                Some(row) => Ready::Return(Some(row)),
                None => Ready::Wait(guard),
            }),
        }
    }

    /// Stores what was computed, and gives what the call returns.
    fn finish<E>(
        &self,
        asked: &Asked,
        task: Task,
        computed: Result<Option<Row>, E>,
    ) -> Result<Option<Row>>
    where
        E: Into<Box<dyn StdError + Send + Sync>>,
    {
        match computed {
            Ok(Some(row)) => self.fill(asked, task, row).map(Some),
            Ok(None) => self.fill_absence(asked, task).map(|()| None),
            Err(error) => match self.served(&task.old, Expiry::serves_after_error) {
                Some(row) => Ok(Some(row)),
                None => Err(self.computing_failed(asked, error)),
            },
        }
    }

    /// Stores a computed row, unless the key was written meanwhile, and gives what `get` returns:
    /// that row, or the one that another process stored.
    fn fill(&self, asked: &Asked, task: Task, row: Row) -> Result<Row> {
        let row = self.validate_row(asked.operation, Ok(row))?;
        self.check_computed(asked, &row)?;
        let Task { guard, old, at, down, lease } = task;
        if !down && guard.begin_storing() {
            match self.store_computed(&asked.key, &row, at, lease) {
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
                    return served.ok_or_else(|| self.failed(asked, error));
                }
            }
        }
        guard.land(&self.schema, Some(&row));
        Ok(row)
    }

    /// Inserts a computed row, in place of one that is expired.
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

    /// Remembers that there is no record, and removes the one that is expired.
    fn fill_absence(&self, asked: &Asked, task: Task) -> Result<()> {
        let Task { guard, at, down, lease, .. } = task;
        if !down && guard.begin_storing() {
            let stored = self.store_absence(&asked.key, at);
            match stored {
                Err(error) if !self.computes_despite(&error) => {
                    return Err(self.failed(asked, error));
                }
                _ => {}
            }
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

    fn failed(&self, asked: &Asked, error: Error) -> Error {
        self.with_context(asked.operation, Some(&asked.key), error)
    }

    fn computing_failed(
        &self,
        asked: &Asked,
        error: impl Into<Box<dyn StdError + Send + Sync>>,
    ) -> Error {
        // What a handle says of its closure's error is passed on.
        let failed = error.into().downcast::<Error>();
        self.failed(asked, failed.map_or_else(Error::of_closure, |error| *error))
    }

    fn check_computed(&self, asked: &Asked, row: &Row) -> Result<()> {
        let computed = self.schema.key_of(row);
        if computed == asked.key {
            return Ok(());
        }
        let message =
            format!("the computed record has the key `{computed}`, which is not the key asked for");
        Err(self.failed(asked, Error::invalid_input(message)))
    }
}
