//! Single flight for `get` and `get_many`: concurrent callers of a missing key compute it once.
//!
//! The first caller computes, the others wait for its result. Futures wait without blocking a
//! thread. If a computation fails, panics or is cancelled, the next caller computes. A wait that
//! could never end because computations wait for each other in a cycle is an error.
//!
//! # A computed value never overwrites a newer write
//!
//! A flight is in the map from its claim until it lands. Its phase is *computing*, or *storing*
//! while its conditional insert is in progress. A write calls [`Flights::void`] before it is sent
//! to the store:
//!
//! - A computing flight is removed from the map and becomes void. Callers that already wait for it
//!   receive its result, but the result is not stored: [`ComputeGuard::begin_storing`] enters the
//!   storing phase under the same lock, and only for a flight that is still in the map.
//! - For a storing flight, the write waits until the insert has ended. The flight stays in the map,
//!   so every other write of the key waits as well. It is marked as voided: callers that join it
//!   later wait until it has landed and then claim again.
//!
//! Invariant: in one process, an insert of a computed value and a write of the same key never
//! overlap. Either the insert ended before the write was sent, and the write overwrites or removes
//! the value, or there is no insert. A storing flight is always executed by a running thread that
//! waits only for the store, so the wait of the write ends by the deadline of the store.
//!
//! A write first reads the number of flights, without a lock. Its fence and the fence of a claim
//! are ordered: either the write sees the flight, or the computation, which begins after its claim,
//! sees everything that happened before the write was called.

#[cfg(feature = "async")]
mod claims;
#[cfg(test)]
mod tests;
#[cfg(feature = "sql")]
mod transaction;
mod wait_graph;

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::atomic::{AtomicUsize, Ordering, fence};
use std::sync::{Arc, Weak};
#[cfg(feature = "async")]
use std::task::{Poll, Waker};

use parking_lot::{Condvar, Mutex};

#[cfg(feature = "async")]
pub(crate) use self::claims::Claims;
#[cfg(feature = "sql")]
pub(crate) use self::transaction::TransactionWrites;
use self::wait_graph::{Computation, Waiting};
use crate::remote::begin_step;
use crate::{Key, Result, Row, Schema};

/// The flights of all scopes, by scope name.
#[derive(Debug, Default)]
pub(crate) struct AllFlights(Mutex<HashMap<String, Weak<Flights>>>);

impl AllFlights {
    /// Returns the flights of a scope, shared by all handles that have it open.
    pub(crate) fn of(&self, scope: &str) -> Arc<Flights> {
        let mut all = self.0.lock();
        if let Some(flights) = all.get(scope).and_then(Weak::upgrade) {
            return flights;
        }
        all.retain(|_, flights| flights.strong_count() > 0);
        let flights = Arc::default();
        all.insert(scope.to_owned(), Arc::downgrade(&flights));
        flights
    }

    /// Returns the flights of every open scope.
    pub(crate) fn all(&self) -> Vec<Arc<Flights>> {
        self.0.lock().values().filter_map(Weak::upgrade).collect()
    }
}

/// The flights of one scope.
#[derive(Debug, Default)]
pub(crate) struct Flights {
    flying: Mutex<Flying>,
    /// The number of flights in the map.
    count: AtomicUsize,
    /// The number of flights that have landed. It grows before a flight leaves the map: a caller that
    /// claims a key sees the landings of all earlier flights of the key.
    landed: AtomicUsize,
}

type Flying = HashMap<Key, Slot, foldhash::fast::RandomState>;

/// A flight in the map.
#[derive(Debug)]
struct Slot {
    flight: Arc<Flight>,
    phase: Phase,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Computing,
    Storing,
    /// Storing, while a write waits for the end of the insert.
    Voided,
}

/// One computation.
#[derive(Debug)]
struct Flight {
    owner: Computation,
    state: Mutex<State>,
    wake: Condvar,
}

#[derive(Debug, Default)]
struct State {
    landed: bool,
    /// The result, if waiting callers may take it.
    computed: Option<Computed>,
    /// The wakers of the waiting futures.
    #[cfg(feature = "async")]
    wakers: Vec<Waker>,
}

/// A computed row, or `None` for a computed absence, with its schema.
#[derive(Debug, Clone)]
struct Computed {
    schema: Arc<Schema>,
    row: Option<Row>,
}

/// What a caller that found a key missing does next.
pub(crate) enum Role {
    /// Compute, unless a flight of the key has landed since the caller read the store.
    Compute(ComputeGuard),
    /// Return the result of the flight it joined: a row, or `None` for a computed absence.
    Take(Option<Row>),
    /// The flight it joined has no usable result: claim again.
    Retry,
}

/// The exclusive right to compute one key. Dropping it lands the flight.
pub(crate) struct ComputeGuard {
    flights: Arc<Flights>,
    key: Key,
    flight: Arc<Flight>,
    computed: Option<Computed>,
    /// This guard has already removed its flight from the map.
    left: bool,
}

/// A flight that this caller joins, and its phase at that time.
struct Other {
    flight: Arc<Flight>,
    phase: Phase,
}

impl Flights {
    /// Claims a key, or waits until the flight that has claimed it lands.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::ComputeCycle`](crate::ErrorKind::ComputeCycle) if the wait would never end.
    pub(crate) fn claim(self: &Arc<Self>, key: &Key, schema: &Arc<Schema>) -> Result<Role> {
        match self.try_claim_as(key, Computation::current) {
            Ok(guard) => Ok(Role::Compute(guard)),
            Err(other) => Ok(other.role(schema, other.flight.wait()?)),
        }
    }

    /// Like [`claim`](Flights::claim), without blocking a thread. The computation has to run in
    /// [`ComputeGuard::compute`].
    ///
    /// # Errors
    ///
    /// As [`claim`](Flights::claim).
    #[cfg(feature = "async")]
    pub(crate) async fn claim_async(
        self: &Arc<Self>,
        key: &Key,
        schema: &Arc<Schema>,
    ) -> Result<Role> {
        match self.try_claim_as(key, || Computation::current().child()) {
            Ok(guard) => Ok(Role::Compute(guard)),
            Err(other) => Ok(other.role(schema, other.flight.wait_async().await?)),
        }
    }

    /// Returns the number of flights that have landed.
    pub(crate) fn landed(&self) -> usize {
        self.landed.load(Ordering::SeqCst)
    }

    /// Claims a key, unless it is already claimed.
    pub(crate) fn try_claim(self: &Arc<Self>, key: &Key) -> Option<ComputeGuard> {
        self.try_claim_as(key, Computation::current).ok()
    }

    /// Like [`try_claim`](Flights::try_claim), for a computation that [`ComputeGuard::run`] runs
    /// in a different thread.
    pub(crate) fn try_claim_elsewhere(self: &Arc<Self>, key: &Key) -> Option<ComputeGuard> {
        self.try_claim_as(key, || Computation::current().child()).ok()
    }

    fn try_claim_as(
        self: &Arc<Self>,
        key: &Key,
        owner: impl FnOnce() -> Computation,
    ) -> Result<ComputeGuard, Other> {
        let mut flying = self.flying.lock();
        if let Some(Slot { flight, phase }) = flying.get(key) {
            return Err(Other { flight: flight.clone(), phase: *phase });
        }
        let flight =
            Arc::new(Flight { owner: owner(), state: Mutex::default(), wake: Condvar::new() });
        flying.insert(key.clone(), Slot { flight: flight.clone(), phase: Phase::Computing });
        self.count.fetch_add(1, Ordering::SeqCst);
        drop(flying);
        fence(Ordering::SeqCst);
        let (flights, key) = (self.clone(), key.clone());
        Ok(ComputeGuard { flights, key, flight, computed: None, left: false })
    }

    /// Returns whether the map has flights that a write may have to void.
    fn is_busy(&self) -> bool {
        fence(Ordering::SeqCst);
        self.count.load(Ordering::SeqCst) > 0
    }

    /// Voids the flights of these keys. A write calls this before it is sent to the store.
    pub(crate) fn void(&self, keys: impl IntoIterator<Item = Key>) {
        if self.is_busy() {
            let storing = self.void_unsent(keys);
            if !storing.is_empty() {
                begin_step();
            }
            storing.iter().for_each(|flight| drop(flight.wait_until_landed()));
        }
    }

    /// Voids all flights.
    pub(crate) fn void_all(&self) {
        if self.is_busy() {
            let keys: Vec<Key> = self.flying.lock().keys().cloned().collect();
            self.void(keys);
        }
    }

    /// Removes the computing flights of these keys, and marks and returns the storing ones.
    fn void_unsent(&self, keys: impl IntoIterator<Item = Key>) -> Vec<Arc<Flight>> {
        let mut storing = Vec::new();
        let mut flying = self.flying.lock();
        for key in keys {
            let Entry::Occupied(mut slot) = flying.entry(key) else { continue };
            if slot.get().phase == Phase::Computing {
                slot.remove();
                self.count.fetch_sub(1, Ordering::SeqCst);
            } else {
                slot.get_mut().phase = Phase::Voided;
                storing.push(slot.get().flight.clone());
            }
        }
        storing
    }
}

impl Other {
    fn role(&self, schema: &Arc<Schema>, computed: Option<Computed>) -> Role {
        // A row of a different schema has different columns.
        let same = |computed: &Computed| *computed.schema == **schema;
        match computed.filter(|computed| self.phase != Phase::Voided && same(computed)) {
            Some(computed) => Role::Take(computed.row),
            None => Role::Retry,
        }
    }
}

impl Flight {
    fn wait(&self) -> Result<Option<Computed>> {
        let _waiting = Waiting::begin(&self.owner)?;
        Ok(self.wait_until_landed())
    }

    fn wait_until_landed(&self) -> Option<Computed> {
        let mut state = self.state.lock();
        while !state.landed {
            self.wake.wait(&mut state);
        }
        state.computed.clone()
    }

    #[cfg(feature = "async")]
    async fn wait_async(&self) -> Result<Option<Computed>> {
        let _waiting = Waiting::begin(&self.owner)?;
        let landed = std::future::poll_fn(|context| {
            let mut state = self.state.lock();
            if state.landed {
                return Poll::Ready(state.computed.clone());
            }
            let waker = context.waker();
            if !state.wakers.iter().any(|known| known.will_wake(waker)) {
                state.wakers.push(waker.clone());
            }
            Poll::Pending
        });
        Ok(landed.await)
    }

    fn land(&self, computed: Option<Computed>) {
        let mut state = self.state.lock();
        state.landed = true;
        state.computed = computed;
        self.wake.notify_all();
        #[cfg(feature = "async")]
        {
            let wakers = std::mem::take(&mut state.wakers);
            drop(state);
            wakers.into_iter().for_each(Waker::wake);
        }
    }
}

impl ComputeGuard {
    /// Returns the claimed key.
    pub(crate) fn key(&self) -> &Key {
        &self.key
    }

    /// Runs the computation of this key in the current thread.
    pub(crate) fn run<T>(&self, compute: impl FnOnce() -> T) -> T {
        self.flight.owner.run(compute)
    }

    /// Creates a future and polls it as the computation of this key, so that keys it claims in turn
    /// are recorded as its dependencies.
    #[cfg(feature = "async")]
    pub(crate) async fn compute<F: Future>(&self, make: impl FnOnce() -> F) -> F::Output {
        self.flight.owner.compute(make).await
    }

    /// Enters the storing phase; this thread then stores the row. Returns `false` if the flight is
    /// void: the row must not be stored.
    pub(crate) fn begin_storing(&self) -> bool {
        let mut flying = self.flights.flying.lock();
        match flying.get_mut(&self.key) {
            Some(slot) if Arc::ptr_eq(&slot.flight, &self.flight) => {
                slot.phase = Phase::Storing;
                true
            }
            _ => false,
        }
    }

    /// Lands with a result for the waiting callers: a row, or `None` for a computed absence.
    ///
    /// The row must be the computed one. A row read from the store may have been removed before
    /// some of the waiting callers began.
    pub(crate) fn land(mut self, schema: &Arc<Schema>, row: Option<&Row>) {
        self.leave();
        // No caller can join any more: further references to the flight belong to waiting callers.
        if Arc::strong_count(&self.flight) > 1 {
            self.computed = Some(Computed { schema: schema.clone(), row: row.cloned() });
        }
    }

    /// Removes the flight from the map, unless a write has already removed it.
    fn leave(&mut self) {
        if std::mem::replace(&mut self.left, true) {
            return;
        }
        let mut flying = self.flights.flying.lock();
        let slot = flying.get(&self.key);
        if slot.is_some_and(|slot| Arc::ptr_eq(&slot.flight, &self.flight)) {
            self.flights.landed.fetch_add(1, Ordering::SeqCst);
            flying.remove(&self.key);
            self.flights.count.fetch_sub(1, Ordering::SeqCst);
        }
    }
}

/// Lands the flight, also when the computation panics or is cancelled.
impl Drop for ComputeGuard {
    fn drop(&mut self) {
        self.leave();
        self.flight.land(self.computed.take());
    }
}
