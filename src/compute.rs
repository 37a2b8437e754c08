//! Single flight: what `get` and `get_many` rest on.
//!
//! However many threads of a process ask for one missing key at once, one computes and the others
//! wait for its result; so do futures, which wait without a thread. A computation that fails,
//! panics or is cancelled lets the next caller compute. Waiting that could never end, because
//! computations wait for one another in a circle, is an error instead.
//!
//! # A computed value never overwrites a newer write
//!
//! A flight is in the map from its claim until it lands, and is in one of two phases there:
//! *computing*, or *storing* while its conditional insert is under way. A write calls
//! [`Flights::void`] before it is sent to the store:
//!
//! - A flight that is computing is removed from the map, and is void. Its result goes to the
//!   callers that already wait for it, and is not stored: [`ComputeGuard::begin_storing`] enters
//!   the second phase only for a flight that is still in the map, under the same lock.
//! - For a flight that is storing, the write waits until the insert has ended. The flight stays in
//!   the map meanwhile, so that every other write of the key waits as well, and is marked: a later
//!   caller waits until it has landed, but is not given its result.
//!
//! So in one process no insert of a key is under way together with a write of that key: either the
//! insert ended before the write was sent, which then overwrites or removes the value, or there is
//! none. A storing flight is always executed by a running thread, which waits for the store alone,
//! so that the wait ends by the deadline of the store.
//!
//! A write looks at the number of flights first, without a lock. The fence of a claim and the fence
//! of the write are ordered: either the write sees the flight, or the computation, which begins
//! after its claim, sees everything that happened before the write was called.

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

#[cfg(feature = "sql")]
pub(crate) use self::transaction::TransactionWrites;
use self::wait_graph::{Computation, Waiting};
use crate::remote::begin_step;
use crate::{Key, Result, Row, Schema};

/// The computations under way in all scopes, by the names of these.
#[derive(Debug, Default)]
pub(crate) struct AllFlights(Mutex<HashMap<String, Weak<Flights>>>);

impl AllFlights {
    /// Those in one scope: the same for all who have it open at the same time.
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

    /// Those in every scope.
    pub(crate) fn all(&self) -> Vec<Arc<Flights>> {
        self.0.lock().values().filter_map(Weak::upgrade).collect()
    }
}

/// The computations under way in one scope.
#[derive(Debug, Default)]
pub(crate) struct Flights {
    flying: Mutex<Flying>,
    /// How many flights there are in the map.
    count: AtomicUsize,
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
    /// Storing, while a write waits for the end of that.
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
    /// What was computed, if the callers that wait may have it.
    computed: Option<Computed>,
    /// The futures that wait.
    #[cfg(feature = "async")]
    wakers: Vec<Waker>,
}

/// A computed row, or that there is none, and the schema that it is of.
#[derive(Debug, Clone)]
struct Computed {
    schema: Arc<Schema>,
    row: Option<Row>,
}

/// What a caller that found a key missing is to do.
pub(crate) enum Role {
    /// Look once more, and compute.
    Compute(ComputeGuard),
    /// Return what another caller computed: a row, or that there is none.
    Take(Option<Row>),
    /// The computation that it waited for gave nothing to return: claim again.
    Retry,
}

/// The right to compute one key; the flight lands when this is dropped.
pub(crate) struct ComputeGuard {
    flights: Arc<Flights>,
    key: Key,
    flight: Arc<Flight>,
    computed: Option<Computed>,
    /// The flight is not in the map any more.
    left: bool,
}

/// The rights to compute several keys together.
#[cfg(feature = "async")]
pub(crate) struct Claims {
    owner: Computation,
    guards: Vec<ComputeGuard>,
}

#[cfg(feature = "async")]
impl Claims {
    pub(crate) fn new() -> Self {
        Self { owner: Computation::current().child(), guards: Vec::new() }
    }

    pub(crate) fn take_guards(&mut self) -> Vec<ComputeGuard> {
        std::mem::take(&mut self.guards)
    }

    /// As [`ComputeGuard::compute`], for all keys.
    pub(crate) async fn compute<F: Future>(&self, make: impl FnOnce() -> F) -> F::Output {
        self.owner.compute(make).await
    }
}

/// A flight that another caller has, and whether its result may be taken.
struct Other {
    flight: Arc<Flight>,
    phase: Phase,
}

impl Flights {
    /// Takes the right to compute a key, or waits for the result of the caller that has it.
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

    /// The same without a thread that waits. What is computed is to be polled by
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

    /// Takes the right to compute a key if no other caller has it.
    pub(crate) fn try_claim(self: &Arc<Self>, key: &Key) -> Option<ComputeGuard> {
        self.try_claim_as(key, Computation::current).ok()
    }

    /// The same for a computation that runs in another thread than the caller's, by
    /// [`ComputeGuard::run`].
    pub(crate) fn try_claim_elsewhere(self: &Arc<Self>, key: &Key) -> Option<ComputeGuard> {
        self.try_claim_as(key, || Computation::current().child()).ok()
    }

    /// Takes the right to compute one more key by the computation of `claims`. Returns `false` if
    /// another caller has it.
    #[cfg(feature = "async")]
    pub(crate) fn try_claim_for(self: &Arc<Self>, key: &Key, claims: &mut Claims) -> bool {
        let claimed = self.try_claim_as(key, || claims.owner.clone());
        claimed.map(|guard| claims.guards.push(guard)).is_ok()
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

    /// Whether a write has to look for flights of its keys.
    fn is_busy(&self) -> bool {
        fence(Ordering::SeqCst);
        self.count.load(Ordering::SeqCst) > 0
    }

    /// Voids the computations of these keys: called by a write before it is sent to the store.
    pub(crate) fn void(&self, keys: impl IntoIterator<Item = Key>) {
        if self.is_busy() {
            let storing = self.void_unsent(keys);
            if !storing.is_empty() {
                begin_step();
            }
            storing.iter().for_each(|flight| drop(flight.wait_until_landed()));
        }
    }

    /// Voids all computations.
    pub(crate) fn void_all(&self) {
        if self.is_busy() {
            let keys: Vec<Key> = self.flying.lock().keys().cloned().collect();
            self.void(keys);
        }
    }

    /// Voids the computations of these keys that are not being stored yet, and gives the others.
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
        // A row of another schema has other columns.
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
    /// The key that is to be computed.
    pub(crate) fn key(&self) -> &Key {
        &self.key
    }

    /// Runs the computation of this key, in whichever thread.
    pub(crate) fn run<T>(&self, compute: impl FnOnce() -> T) -> T {
        self.flight.owner.run(compute)
    }

    /// Makes a future and runs it as the computation of this key: what it asks for in turn is known
    /// to be asked for by it.
    #[cfg(feature = "async")]
    pub(crate) async fn compute<F: Future>(&self, make: impl FnOnce() -> F) -> F::Output {
        self.flight.owner.compute(make).await
    }

    /// Says that the computed row is about to be stored by this thread. Returns `false` if the
    /// computation is void: then it must not be.
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

    /// Lands with a row, or that there is none, for the callers that wait.
    ///
    /// It has to be the row that was computed. One that was read may have been removed before some
    /// of these callers began.
    pub(crate) fn land(mut self, schema: &Arc<Schema>, row: Option<&Row>) {
        self.leave();
        // From now on no other caller can join: besides this guard those that wait have the flight.
        if Arc::strong_count(&self.flight) > 1 {
            self.computed = Some(Computed { schema: schema.clone(), row: row.cloned() });
        }
    }

    /// Takes the flight out of the map, where it is in it.
    fn leave(&mut self) {
        if std::mem::replace(&mut self.left, true) {
            return;
        }
        let mut flying = self.flights.flying.lock();
        let slot = flying.get(&self.key);
        if slot.is_some_and(|slot| Arc::ptr_eq(&slot.flight, &self.flight)) {
            flying.remove(&self.key);
            self.flights.count.fetch_sub(1, Ordering::SeqCst);
        }
    }
}

/// Lands, also when the computation panics or is cancelled.
impl Drop for ComputeGuard {
    fn drop(&mut self) {
        self.leave();
        self.flight.land(self.computed.take());
    }
}

#[cfg(test)]
mod tests {
    use std::thread;
    use std::time::Duration;

    use super::*;
    use crate::{Column, ColumnType, ErrorKind, Value};

    fn flights() -> (Arc<Flights>, Arc<Schema>) {
        let schema = Schema::new("a").unique(Column::new("id", ColumnType::BigInt));
        (Arc::default(), Arc::new(schema))
    }

    fn key(id: i64) -> Key {
        Key::single(Value::Int(id))
    }

    fn computes(role: Role) -> ComputeGuard {
        match role {
            Role::Compute(guard) => guard,
            _ => panic!("another caller has the flight"),
        }
    }

    #[test]
    fn asking_for_the_own_key_is_an_error() {
        let (flights, schema) = flights();
        let guard = computes(flights.claim(&key(1), &schema).unwrap());
        let Err(error) = flights.claim(&key(1), &schema) else { panic!("it must not wait") };
        assert_eq!(error.kind(), ErrorKind::ComputeCycle);
        drop(guard);
        computes(flights.claim(&key(1), &schema).unwrap());
    }

    #[test]
    fn a_circle_of_two_threads_is_an_error() {
        let (flights, schema) = flights();
        let barrier = std::sync::Barrier::new(2);
        let run = |own: i64| {
            let guard = computes(flights.claim(&key(own), &schema).unwrap());
            barrier.wait();
            let other = flights.claim(&key(1 - own), &schema).map(|_| ());
            drop(guard);
            other
        };
        let results = thread::scope(|scope| {
            let other = scope.spawn(|| run(1));
            [run(0), other.join().unwrap()]
        });
        let errors = results.iter().filter(|result| result.is_err()).count();
        assert_eq!(errors, 1, "one of the two is told, and the other goes on");
    }

    #[test]
    fn a_panic_lets_the_next_one_compute() {
        let (flights, schema) = flights();
        let panicked = thread::scope(|scope| {
            scope
                .spawn(|| {
                    let _guard = flights.claim(&key(1), &schema).unwrap();
                    panic!("on purpose");
                })
                .join()
        });
        assert!(panicked.is_err());
        computes(flights.claim(&key(1), &schema).unwrap());
        assert!(!flights.is_busy());
    }

    #[test]
    fn a_void_flight_is_not_stored_and_not_joined() {
        let (flights, schema) = flights();
        let first = computes(flights.claim(&key(1), &schema).unwrap());
        flights.void([key(1), key(2)]);
        assert!(!flights.is_busy());
        let second = computes(flights.claim(&key(1), &schema).unwrap());
        assert!(!first.begin_storing());
        drop(first);
        assert!(second.begin_storing(), "the end of a void flight leaves the next one alone");
        drop(second);
        assert!(!flights.is_busy());
    }

    #[test]
    fn those_that_wait_get_the_result_of_a_void_flight() {
        let (flights, schema) = flights();
        let guard = computes(flights.claim(&key(1), &schema).unwrap());
        let row = vec![Value::Int(1)];
        thread::scope(|scope| {
            let waiting = scope.spawn(|| flights.claim(&key(1), &schema).unwrap());
            while Arc::strong_count(&guard.flight) < 3 {
                thread::yield_now();
            }
            flights.void_all();
            guard.land(&schema, Some(&row));
            let Role::Take(taken) = waiting.join().unwrap() else { panic!("it has a result") };
            assert_eq!(taken, Some(row));
        });
    }

    /// Two writes meet a flight that is being stored: both wait for the end of that.
    #[test]
    fn every_write_waits_for_what_is_being_stored() {
        let (flights, schema) = flights();
        let guard = computes(flights.claim(&key(1), &schema).unwrap());
        assert!(guard.begin_storing());
        thread::scope(|scope| {
            let writes = [(); 2].map(|()| scope.spawn(|| flights.void([key(1)])));
            while Arc::strong_count(&guard.flight) < 4 {
                thread::yield_now();
            }
            let late = scope.spawn(|| flights.claim(&key(1), &schema).unwrap());
            thread::sleep(Duration::from_millis(20));
            assert!(writes.iter().all(|write| !write.is_finished()));
            guard.land(&schema, Some(&vec![Value::Int(1)]));
            writes.into_iter().for_each(|write| write.join().unwrap());
            assert!(matches!(late.join().unwrap(), Role::Retry), "it began after the writes");
        });
    }

    #[test]
    fn a_row_of_another_schema_is_not_taken() {
        let (flights, schema) = flights();
        let wider = Schema::new("a").unique(Column::new("id", ColumnType::BigInt));
        let wider = Arc::new(wider.column(Column::new("v", ColumnType::Int)));
        let guard = computes(flights.claim(&key(1), &schema).unwrap());
        thread::scope(|scope| {
            let waiting = scope.spawn(|| flights.claim(&key(1), &wider).unwrap());
            while Arc::strong_count(&guard.flight) < 3 {
                thread::yield_now();
            }
            guard.land(&schema, Some(&vec![Value::Int(1)]));
            assert!(matches!(waiting.join().unwrap(), Role::Retry));
        });
    }
}
