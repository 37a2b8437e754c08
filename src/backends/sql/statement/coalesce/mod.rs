//! Coalescing of concurrent fetches of single records into one statement.
//!
//! There is no background thread. If fewer than N statements are in flight, the caller executes its
//! own; otherwise it joins the pending batch. When a statement ends, one caller of the pending batch
//! becomes its leader and executes one statement for all keys of the batch. So a lone caller never
//! waits, and under load each round trip serves more callers. This is the group commit of
//! databases, applied to reads.
//!
//! N depends on what a statement waits for. With a remote server that is the network, which each
//! connection uses independently: N is the number of connections, so that callers wait only where
//! they would have waited for a connection. With a nearby server it is the processors: N is half
//! their number.
//!
//! # Invariants
//!
//! - `Queue::in_flight` counts the live [`InFlight`] guards. A guard that is dropped either hands its
//!   slot to the leader of the pending batch or frees it. So a batch that has waiters is always
//!   started: it is pending only while a statement is in flight.
//! - A batch leaves `Queue::pending` before its statement begins. A caller therefore never receives
//!   a record that was read before its call.
//! - Only the leader moves a batch from `Leading` to `Done` or `Failed`, also if it panics, and it
//!   wakes all waiters. After `Failed` each caller fetches its own key: the error may be that of
//!   another caller's record.
//! - A caller waits at most `max_wait`, then fetches its own key: the statement in flight may hang
//!   while other connections work. It also removes the batch from the queue, so that no more
//!   keys join one that its callers are leaving.
//! - The lock of the queue is taken before that of a batch.

#[cfg(test)]
mod tests;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, LazyLock, Mutex, MutexGuard, PoisonError};
use std::thread::available_parallelism;
use std::time::{Duration, Instant};

use crate::{Key, Result, Row};

/// A server that has answered within this time counts as nearby. The network between two machines
/// of one building alone takes about as long.
const NEARBY: Duration = Duration::from_micros(150);

/// Half of the processors, which callers and a nearby server share. Computed once, since counting
/// them reads files.
static HALF_OF_THE_PROCESSORS: LazyLock<usize> =
    LazyLock::new(|| available_parallelism().map_or(1, |count| count.get() / 2).max(1));

/// The shortest time after which a waiting caller fetches its own key.
const MIN_WAIT: Duration = Duration::from_millis(20);

/// Coalesces the fetches of one table.
///
/// The locks are those of the standard library, whose condition variable wakes all waiters at once.
/// With that of `parking_lot`, where each waiter wakes the next, a fetch took a third longer.
#[derive(Debug)]
pub(crate) struct Coalescer {
    /// How many connections read the table.
    connections: usize,
    /// The shortest time that a statement has taken, in nanoseconds.
    shortest: AtomicU64,
    /// The bounds of [`Coalescer::max_wait`].
    min_wait: Duration,
    longest_wait: Duration,
    queue: Mutex<Queue>,
}

#[derive(Debug, Default)]
struct Queue {
    /// How many statements are in flight.
    in_flight: usize,
    /// The batch that new callers join.
    pending: Option<Arc<Batch>>,
}

/// Callers whose records one statement fetches.
#[derive(Debug, Default)]
struct Batch {
    state: Mutex<BatchState>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct BatchState {
    keys: Vec<Key>,
    /// How many callers wait for their records.
    waiting: usize,
    role: Role,
}

/// The progress of a batch, which decides the role of a caller that wakes up.
#[derive(Debug, Default)]
enum Role {
    /// All callers wait.
    #[default]
    Wait,
    /// The first caller to wake up becomes the leader.
    Lead,
    /// The leader executes the statement, the others wait.
    Leading,
    /// Each caller takes its record, in the order of the keys.
    Done(Vec<Option<Row>>),
    /// The statement failed. Each caller fetches its own key.
    Failed,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // No panic can leave the data inconsistent: no code that may panic runs under a lock.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Coalescer {
    /// Creates the coalescer of a table that `connections` connections read. `timeout` is the
    /// deadline of a call.
    pub(crate) fn new(connections: u32, timeout: Duration) -> Self {
        Self {
            connections: usize::try_from(connections).unwrap_or(usize::MAX),
            shortest: AtomicU64::new(u64::MAX),
            min_wait: MIN_WAIT,
            // Leaves time for the caller's own fetch.
            longest_wait: timeout / 2,
            queue: Mutex::default(),
        }
    }

    /// Returns how many statements may be in flight before callers join a batch.
    fn max_in_flight(&self) -> usize {
        match self.shortest() <= NEARBY {
            true => self.connections.min(*HALF_OF_THE_PROCESSORS),
            false => self.connections,
        }
    }

    /// Returns the shortest time that a statement has taken, and a very long one before the first.
    fn shortest(&self) -> Duration {
        Duration::from_nanos(self.shortest.load(Ordering::Relaxed))
    }

    /// Fetches a record and records how long that took.
    fn timed(&self, fetch: impl FnOnce() -> Result<Option<Row>>) -> Result<Option<Row>> {
        let begun = Instant::now();
        let found = fetch()?;
        let taken = u64::try_from(begun.elapsed().as_nanos()).unwrap_or(u64::MAX);
        if taken < self.shortest.load(Ordering::Relaxed) {
            self.shortest.fetch_min(taken, Ordering::Relaxed);
        }
        Ok(found)
    }

    /// Returns how long a caller waits for its batch before it fetches its own key.
    fn max_wait(&self) -> Duration {
        self.min_wait.max(self.shortest().saturating_mul(4)).min(self.longest_wait)
    }

    /// Returns the record of a key, read by `fetch`, or by `fetch_many` together with those of other
    /// callers. `fetch_many` returns the records in the order of its keys.
    ///
    /// # Errors
    ///
    /// Those of `fetch`.
    pub(crate) fn fetch(
        &self,
        key: &Key,
        fetch: impl Fn(&Key) -> Result<Option<Row>>,
        fetch_many: impl FnOnce(&[Key]) -> Result<Vec<Option<Row>>>,
    ) -> Result<Option<Row>> {
        let Some((batch, at)) = self.join(key) else {
            let _slot = InFlight(self);
            return self.timed(|| fetch(key));
        };
        let mut state = batch.wait(self.max_wait());
        let alone = state.waiting == 0;
        match &mut state.role {
            Role::Done(rows) => return Ok(rows[at].take()),
            Role::Lead if alone => {
                drop(state);
                let _slot = InFlight(self);
                return fetch(key);
            }
            Role::Lead => {
                let leader = Leader { batch: &batch, slot: Some(InFlight(self)) };
                if let Ok(row) = leader.execute(state, at, fetch_many) {
                    return Ok(row);
                }
            }
            Role::Failed | Role::Leading => drop(state),
            Role::Wait => {
                drop(state);
                self.close(&batch);
            }
        }
        fetch(key)
    }

    /// Removes a batch from the queue, so that no more callers join it.
    fn close(&self, batch: &Arc<Batch>) {
        let mut queue = lock(&self.queue);
        if queue.pending.as_ref().is_some_and(|pending| Arc::ptr_eq(pending, batch)) {
            queue.pending = None;
        }
    }

    /// Joins the pending batch, and returns it with the position of the key. Returns `None` if the
    /// caller need not wait; then a statement is counted as in flight.
    fn join(&self, key: &Key) -> Option<(Arc<Batch>, usize)> {
        let mut queue = lock(&self.queue);
        if queue.in_flight < self.max_in_flight() {
            queue.in_flight += 1;
            return None;
        }
        let batch = queue.pending.get_or_insert_default().clone();
        let mut state = lock(&batch.state);
        let at = state.keys.len();
        state.keys.push(key.clone());
        state.waiting += 1;
        drop(state);
        Some((batch, at))
    }
}

impl Batch {
    /// Waits until the caller has something to do, for at most `max_wait`.
    fn wait(&self, max_wait: Duration) -> MutexGuard<'_, BatchState> {
        let waits = |state: &mut BatchState| matches!(state.role, Role::Wait | Role::Leading);
        let woken = self.changed.wait_timeout_while(lock(&self.state), max_wait, waits);
        let mut state = woken.unwrap_or_else(PoisonError::into_inner).0;
        state.waiting -= 1;
        state
    }
}

/// A statement in flight. When dropped, it starts the pending batch or frees its slot.
struct InFlight<'a>(&'a Coalescer);

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        let mut queue = lock(&self.0.queue);
        if let Some(batch) = queue.pending.take() {
            let mut state = lock(&batch.state);
            if state.waiting > 0 {
                state.role = Role::Lead;
                batch.changed.notify_one();
                return;
            }
        }
        queue.in_flight -= 1;
    }
}

/// The caller that executes the statement of its batch.
struct Leader<'a> {
    batch: &'a Batch,
    slot: Option<InFlight<'a>>,
}

impl Leader<'_> {
    /// Executes the statement and returns the leader's own record, whose key is at the position
    /// `at`.
    fn execute(
        mut self,
        mut state: MutexGuard<'_, BatchState>,
        at: usize,
        fetch_many: impl FnOnce(&[Key]) -> Result<Vec<Option<Row>>>,
    ) -> Result<Option<Row>> {
        state.role = Role::Leading;
        let keys = std::mem::take(&mut state.keys);
        drop(state);
        let mut rows = fetch_many(&keys)?;
        // The next statement need not wait until all callers of this one are awake.
        self.slot = None;
        let own = rows[at].take();
        lock(&self.batch.state).role = Role::Done(rows);
        self.batch.changed.notify_all();
        Ok(own)
    }
}

impl Drop for Leader<'_> {
    fn drop(&mut self) {
        let mut state = lock(&self.batch.state);
        if let Role::Leading = state.role {
            state.role = Role::Failed;
            self.batch.changed.notify_all();
        }
    }
}
