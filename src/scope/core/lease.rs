//! The leases held by this process, and their renewal.

use std::fmt;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::{Arc, Weak};
use std::thread;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

#[cfg(feature = "async")]
use crate::executor::Executor;
use crate::store::{LeasedFill, ScopeStore, no_leases};
use crate::{Key, Result, Row};

/// Renews the leases of one scope, each at intervals of one third of its duration.
///
/// A thread runs while there are leases to renew, and holds no lock during calls of the store. A
/// renewal that fails with an error is tried again at the next interval. Invariant: only the store
/// decides whether a lease is lost, in the same atomic step that stores the computed record.
pub(crate) struct LeaseKeeper {
    store: Arc<dyn ScopeStore>,
    held: Mutex<Held>,
    changed: Condvar,
}

#[derive(Default)]
struct Held {
    leases: Vec<Lease>,
    runs: bool,
}

#[derive(Clone)]
struct Lease {
    key: Key,
    holder: String,
    time: Duration,
    due: Instant,
}

impl fmt::Debug for LeaseKeeper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LeaseKeeper").finish_non_exhaustive()
    }
}

impl LeaseKeeper {
    pub(crate) fn new(store: Arc<dyn ScopeStore>) -> Arc<Self> {
        Arc::new(Self { store, held: Mutex::default(), changed: Condvar::new() })
    }

    /// Acquires the lease of a key, or returns `None` if a different holder has it.
    pub(crate) fn acquire(
        self: &Arc<Self>,
        key: &Key,
        time: Duration,
    ) -> Result<Option<HeldLease>> {
        let holder = new_holder();
        let leases = self.store.leases().ok_or_else(no_leases)?;
        let began = Instant::now();
        if !leases.acquire(key, &holder, time)? {
            return Ok(None);
        }
        let lease = Lease { key: key.clone(), holder, time, due: began + time / 3 };
        self.keep(lease.clone());
        Ok(Some(HeldLease {
            keeper: self.clone(),
            lease,
            held: true,
            #[cfg(feature = "async")]
            released_by: None,
        }))
    }

    fn keep(self: &Arc<Self>, lease: Lease) {
        let mut held = self.held.lock();
        held.leases.push(lease);
        if std::mem::replace(&mut held.runs, true) {
            self.changed.notify_one();
            return;
        }
        let keeper = Arc::downgrade(self);
        let spawned = thread::Builder::new()
            .name("hilcat-leases".to_owned())
            .spawn(move || while Self::run_once(&keeper) {});
        // Without a thread the lease is not renewed and ends after its first term.
        held.runs = spawned.is_ok();
    }

    /// Waits for the next renewal and executes it. Returns `false` if there are no leases left.
    fn run_once(keeper: &Weak<Self>) -> bool {
        let Some(keeper) = keeper.upgrade() else { return false };
        let mut held = keeper.held.lock();
        let Some(next) = held.leases.iter().min_by_key(|lease| lease.due).cloned() else {
            held.runs = false;
            return false;
        };
        if next.due > Instant::now() {
            keeper.changed.wait_until(&mut held, next.due);
            return true;
        }
        drop(held);
        let renewed = match keeper.store.leases() {
            Some(leases) => leases.renew(&next.key, &next.holder, next.time),
            None => Ok(false),
        };
        keeper.renewed(&next, renewed.unwrap_or(true));
        true
    }

    /// Schedules the next renewal of a lease, or drops it if it is no longer held.
    fn renewed(&self, lease: &Lease, is_held: bool) {
        let mut held = self.held.lock();
        match is_held {
            true => {
                let due = Instant::now() + lease.time / 3;
                let known = held.leases.iter_mut().find(|known| known.holder == lease.holder);
                known.into_iter().for_each(|known| known.due = due);
            }
            false => held.leases.retain(|known| known.holder != lease.holder),
        }
    }

    fn forget(&self, holder: &str) {
        self.held.lock().leases.retain(|lease| lease.holder != holder);
        self.changed.notify_one();
    }
}

/// The lease of one key, released on drop.
pub(crate) struct HeldLease {
    keeper: Arc<LeaseKeeper>,
    lease: Lease,
    held: bool,
    /// Gives it back, so that the thread that drops this does not wait for the store.
    #[cfg(feature = "async")]
    released_by: Option<Arc<Executor>>,
}

impl HeldLease {
    /// Stores a record under the lease, and releases the lease in the same step.
    pub(crate) fn fill(mut self, row: Row, at: i64) -> Result<LeasedFill> {
        let leases = self.keeper.store.leases().ok_or_else(no_leases)?;
        let filled = leases.fill(row, at, &self.lease.holder)?;
        self.held = false;
        Ok(filled)
    }

    /// Has the executor give it back.
    #[cfg(feature = "async")]
    pub(crate) fn release_by(&mut self, executor: &Arc<Executor>) {
        self.released_by = Some(executor.clone());
    }
}

impl Drop for HeldLease {
    fn drop(&mut self) {
        self.keeper.forget(&self.lease.holder);
        if !self.held {
            return;
        }
        let (keeper, lease) = (self.keeper.clone(), self.lease.clone());
        let release = move || {
            if let Some(leases) = keeper.store.leases() {
                // One that cannot be given back ends by itself.
                let _ = leases.release(&lease.key, &lease.holder);
            }
        };
        #[cfg(feature = "async")]
        if let Some(executor) = self.released_by.take() {
            return executor.spawn(release);
        }
        release();
    }
}

/// Returns a text that is unique to one computation.
fn new_holder() -> String {
    let random = || RandomState::new().build_hasher().finish();
    format!("{:08x}{:016x}{:016x}", std::process::id(), random(), random())
}
