//! Fetches of one record each that meet: those that come while others are under way wait for them
//! and go together, as one statement.
//!
//! Nobody is there to gather them. A caller that finds few enough statements under way runs its
//! own; one that finds more joins those who wait. Whoever is done lets one of them run a statement
//! for all that wait by then. So a single caller waits for nobody, and the more there are the fewer
//! round trips each of them takes. (It is the group commit of databases, turned to reads.)
//!
//! How many are few enough depends on what a statement waits for. With a server that is far it is
//! the way, of which each connection has its own: callers wait where they would wait for one. With
//! one that is near it is the processors.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, LazyLock, Mutex, MutexGuard, PoisonError};
use std::thread::available_parallelism;
use std::time::{Duration, Instant};

use crate::{Key, Result, Row};

/// A server that has answered in this time is near. Between two machines of one building the way
/// alone takes about so long.
const NEAR: Duration = Duration::from_micros(150);

/// With a server that is near, callers and server share the processors. They are counted once: that
/// reads files.
static HALF_OF_THE_PROCESSORS: LazyLock<usize> =
    LazyLock::new(|| available_parallelism().map_or(1, |count| count.get() / 2).max(1));

/// How long a caller waits for others at the least.
const PATIENCE: Duration = Duration::from_millis(20);

/// Where the fetches of a table meet.
///
/// The locks are those of the standard library, whose condition wakes all who wait at once; that of
/// `parking_lot` lets each wake the next one, which took a third more time.
#[derive(Debug)]
pub(crate) struct Gathering {
    /// How many connections read the table.
    connections: usize,
    /// The shortest time that a statement has taken, in nanoseconds.
    shortest: AtomicU64,
    /// How long a caller waits for others at the least, where statements take less, and at the most.
    patience: Duration,
    longest: Duration,
    line: Mutex<Line>,
}

#[derive(Debug, Default)]
struct Line {
    /// How many statements are under way.
    running: usize,
    /// Those who wait.
    party: Option<Arc<Party>>,
}

/// Callers whose records one statement fetches.
#[derive(Debug, Default)]
struct Party {
    state: Mutex<State>,
    turned: Condvar,
}

#[derive(Debug, Default)]
struct State {
    keys: Vec<Key>,
    /// How many wait for their records.
    waiting: usize,
    turn: Turn,
}

/// How far a party is.
#[derive(Debug, Default)]
enum Turn {
    /// It waits until a statement can be begun.
    #[default]
    Wait,
    /// One of it is to run the statement.
    Called,
    /// One of it runs the statement.
    Led,
    /// The records stand here, as the keys do.
    Done(Vec<Option<Row>>),
    /// The statement failed. Each asks for itself: what was wrong may be another's record.
    Failed,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing is half done where somebody panics: that is not while a lock is held.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Gathering {
    /// For a table that so many connections read, with so much time for each call.
    pub(crate) fn new(connections: u32, timeout: Duration) -> Self {
        Self {
            connections: usize::try_from(connections).unwrap_or(usize::MAX),
            shortest: AtomicU64::new(u64::MAX),
            patience: PATIENCE,
            // Who goes alone needs time, too.
            longest: timeout / 2,
            line: Mutex::default(),
        }
    }

    /// How many statements are under way at once before callers wait for them.
    fn at_once(&self) -> usize {
        match self.shortest() <= NEAR {
            true => self.connections.min(*HALF_OF_THE_PROCESSORS),
            false => self.connections,
        }
    }

    /// The shortest time that a statement has taken, and a very long one before the first.
    fn shortest(&self) -> Duration {
        Duration::from_nanos(self.shortest.load(Ordering::Relaxed))
    }

    /// Fetches a record and notes how long it took.
    fn timed(&self, fetch: impl FnOnce() -> Result<Option<Row>>) -> Result<Option<Row>> {
        let begun = Instant::now();
        let found = fetch()?;
        let taken = u64::try_from(begun.elapsed().as_nanos()).unwrap_or(u64::MAX);
        if taken < self.shortest.load(Ordering::Relaxed) {
            self.shortest.fetch_min(taken, Ordering::Relaxed);
        }
        Ok(found)
    }

    /// How long a caller waits for others before it goes alone, as if there were none: a statement
    /// may hang that is under way, while other connections are well.
    fn patience(&self) -> Duration {
        self.patience.max(self.shortest().saturating_mul(4)).min(self.longest)
    }

    /// The record of a key, which `fetch` gives, or `fetch_many` with those of others in the order
    /// of their keys.
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
        let Some((party, at)) = self.join(key) else {
            let _running = Running(self);
            return self.timed(|| fetch(key));
        };
        let mut state = party.wait(self.patience());
        let alone = state.waiting == 0;
        match &mut state.turn {
            Turn::Done(rows) => return Ok(rows[at].take()),
            Turn::Called if alone => {
                drop(state);
                let _running = Running(self);
                return fetch(key);
            }
            Turn::Called => {
                let led = Led { party: &party, running: Some(Running(self)) };
                if let Ok(row) = led.run(state, at, fetch_many) {
                    return Ok(row);
                }
            }
            Turn::Failed | Turn::Led => drop(state),
            Turn::Wait => {
                drop(state);
                self.break_up(&party);
            }
        }
        fetch(key)
    }

    /// Lets nobody join a party any more that one has left: the others are about to leave it, too,
    /// and their keys are not to pile up behind a statement that hangs.
    fn break_up(&self, party: &Arc<Party>) {
        let mut line = lock(&self.line);
        if line.party.as_ref().is_some_and(|waiting| Arc::ptr_eq(waiting, party)) {
            line.party = None;
        }
    }

    /// Joins those who wait, as the one `at` a place; none where the caller need not wait.
    fn join(&self, key: &Key) -> Option<(Arc<Party>, usize)> {
        let mut line = lock(&self.line);
        if line.running < self.at_once() {
            line.running += 1;
            return None;
        }
        let party = line.party.get_or_insert_default().clone();
        let mut state = lock(&party.state);
        let at = state.keys.len();
        state.keys.push(key.clone());
        state.waiting += 1;
        drop(state);
        Some((party, at))
    }
}

impl Party {
    /// Waits until there is something to do for the caller, but not for ever.
    fn wait(&self, patience: Duration) -> MutexGuard<'_, State> {
        let waits = |state: &mut State| matches!(state.turn, Turn::Wait | Turn::Led);
        let turned = self.turned.wait_timeout_while(lock(&self.state), patience, waits);
        let mut state = turned.unwrap_or_else(PoisonError::into_inner).0;
        state.waiting -= 1;
        state
    }
}

/// A statement under way. When it ends, those who wait have theirs.
struct Running<'a>(&'a Gathering);

impl Drop for Running<'_> {
    fn drop(&mut self) {
        let mut line = lock(&self.0.line);
        if let Some(party) = line.party.take() {
            let mut state = lock(&party.state);
            if state.waiting > 0 {
                state.turn = Turn::Called;
                party.turned.notify_one();
                return;
            }
        }
        line.running -= 1;
    }
}

/// A party whose statement its leader runs.
struct Led<'a> {
    party: &'a Party,
    running: Option<Running<'a>>,
}

impl Led<'_> {
    /// Runs the statement and gives the record of the leader, who stands `at` this place.
    fn run(
        mut self,
        mut state: MutexGuard<'_, State>,
        at: usize,
        fetch_many: impl FnOnce(&[Key]) -> Result<Vec<Option<Row>>>,
    ) -> Result<Option<Row>> {
        state.turn = Turn::Led;
        let keys = std::mem::take(&mut state.keys);
        drop(state);
        let mut rows = fetch_many(&keys)?;
        // The next statement need not wait until all of these are awake.
        self.running = None;
        let own = rows[at].take();
        lock(&self.party.state).turn = Turn::Done(rows);
        self.party.turned.notify_all();
        Ok(own)
    }
}

impl Drop for Led<'_> {
    fn drop(&mut self) {
        let mut state = lock(&self.party.state);
        if let Turn::Led = state.turn {
            state.turn = Turn::Failed;
            self.party.turned.notify_all();
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed test panics")]

    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::mpsc;
    use std::thread;
    use std::time::Duration;

    use super::*;
    use crate::{Error, ErrorKind, Value};

    fn key(id: i64) -> Key {
        Key::single(Value::Int(id))
    }

    fn row(key: &Key) -> Option<Row> {
        Some(key.values().to_vec())
    }

    /// One whose callers wait for others for as long as it takes.
    fn patient() -> Gathering {
        let long = Duration::from_secs(20);
        Gathering { patience: long, ..Gathering::new(1, 2 * long) }
    }

    fn not_alone(_: &Key) -> Result<Option<Row>> {
        panic!("it was not to be asked for alone")
    }

    fn not_together(_: &[Key]) -> Result<Vec<Option<Row>>> {
        panic!("it was not to be asked for with others")
    }

    /// Runs `others` while a statement is under way, which ends, as `end` says, once so many
    /// callers stand in line.
    fn meanwhile<T: Send>(
        gathering: &Gathering,
        many: usize,
        end: impl Fn() -> Result<Option<Row>> + Sync,
        others: impl FnOnce() -> T + Send,
    ) -> T {
        let (began, begun) = mpsc::channel();
        thread::scope(|threads| {
            threads.spawn(|| {
                let fetch = |_: &Key| {
                    began.send(()).unwrap();
                    while lock(&gathering.line)
                        .party
                        .as_ref()
                        .map_or(0, |party| lock(&party.state).waiting)
                        < many
                    {
                        thread::yield_now();
                    }
                    end()
                };
                let call = || gathering.fetch(&key(0), fetch, not_together);
                let _ = catch_unwind(AssertUnwindSafe(call));
            });
            begun.recv().unwrap();
            others()
        })
    }

    /// Fetches these keys at once.
    fn at_once(
        gathering: &Gathering,
        keys: std::ops::Range<i64>,
        fetch: impl Fn(&Key) -> Result<Option<Row>> + Sync,
        fetch_many: impl Fn(&[Key]) -> Result<Vec<Option<Row>>> + Sync,
    ) -> Vec<Result<Option<Row>>> {
        thread::scope(|threads| {
            let call = |id| gathering.fetch(&key(id), &fetch, &fetch_many);
            let callers: Vec<_> = keys.map(|id| threads.spawn(move || call(id))).collect();
            callers.into_iter().map(|caller| caller.join().unwrap()).collect()
        })
    }

    #[test]
    fn who_meets_nobody_goes_alone() {
        let gathering = patient();
        for id in 0..3 {
            let found = gathering.fetch(&key(id), |key| Ok(row(key)), not_together);
            assert_eq!(found.unwrap(), row(&key(id)));
        }
        assert_eq!(lock(&gathering.line).running, 0);
    }

    #[test]
    fn a_server_that_answered_fast_is_near() {
        let gathering = Gathering::new(1_000, Duration::from_secs(1));
        let slow = || {
            thread::sleep(2 * NEAR);
            Ok(None)
        };
        gathering.timed(slow).unwrap();
        assert_eq!(gathering.at_once(), 1_000);
        // Now and then a thread is held up in between.
        while gathering.at_once() == 1_000 {
            gathering.timed(|| Ok(None)).unwrap();
        }
        gathering.timed(slow).unwrap();
        assert_eq!(gathering.at_once(), *HALF_OF_THE_PROCESSORS);
        assert!(gathering.at_once() < 1_000);
    }

    #[test]
    fn those_who_meet_go_in_one_statement() {
        let gathering = patient();
        let statements = Mutex::new(Vec::new());
        let together = |keys: &[Key]| {
            lock(&statements).push(keys.len());
            Ok(keys.iter().map(|key| row(key).filter(|_| *key != self::key(5))).collect())
        };
        let found = meanwhile(
            &gathering,
            8,
            || Ok(None),
            || at_once(&gathering, 1..9, not_alone, together),
        );
        for (found, id) in found.into_iter().zip(1..9) {
            assert_eq!(found.unwrap(), row(&key(id)).filter(|_| id != 5));
        }
        assert_eq!(*lock(&statements), [8]);
        assert_eq!(lock(&gathering.line).running, 0);
    }

    #[test]
    fn what_fails_together_is_asked_for_alone() {
        let fail = |_: &[Key]| Err(Error::new(ErrorKind::InvalidData, "of another"));
        let panicking = |_: &[Key]| panic!("in the middle");
        let alone = |key: &Key| match *key == self::key(2) {
            true => Err(Error::new(ErrorKind::InvalidData, "its own")),
            false => Ok(row(key)),
        };
        let gathering = patient();
        let found =
            meanwhile(&gathering, 3, || Ok(None), || at_once(&gathering, 1..4, alone, fail));
        let messages = found.iter().filter_map(|found| found.as_ref().err());
        let messages: Vec<_> = messages.map(ToString::to_string).collect();
        assert!(matches!(&messages[..], [one] if one.contains("its own")), "{messages:?}");
        assert_eq!(lock(&gathering.line).running, 0);

        // The one who panics is the leader; the others have their records.
        let found = meanwhile(
            &gathering,
            3,
            || Ok(None),
            || {
                let call = |id| at_once(&gathering, id..id + 1, |key| Ok(row(key)), panicking);
                thread::scope(|threads| {
                    let callers = [1, 2, 3].map(|id| threads.spawn(move || call(id)));
                    callers.map(|caller| caller.join().is_ok())
                })
            },
        );
        assert_eq!(found.iter().filter(|found| **found).count(), 2);
        assert_eq!(lock(&gathering.line).running, 0);
    }

    #[test]
    fn a_panic_lets_the_line_go_on() {
        let gathering = patient();
        let found = meanwhile(
            &gathering,
            1,
            || panic!("in the middle"),
            || at_once(&gathering, 1..2, |key| Ok(row(key)), not_together),
        );
        assert_eq!(found[0].as_ref().unwrap(), &row(&key(1)));
        assert_eq!(lock(&gathering.line).running, 0);
    }

    #[test]
    fn who_has_waited_for_long_goes_alone() {
        let gathering = Gathering::new(1, Duration::from_secs(20));
        gathering.timed(|| Ok(None)).unwrap();
        let done = AtomicUsize::new(0);
        // The statement that is under way hangs until all the others have their records.
        let hang = || {
            while done.load(Ordering::SeqCst) < 4 {
                thread::yield_now();
            }
            Ok(None)
        };
        let alone = |key: &Key| {
            done.fetch_add(1, Ordering::SeqCst);
            Ok(row(key))
        };
        let found =
            meanwhile(&gathering, 0, hang, || at_once(&gathering, 1..5, alone, not_together));
        for (found, id) in found.into_iter().zip(1..5) {
            assert_eq!(found.unwrap(), row(&key(id)));
        }
        assert_eq!(lock(&gathering.line).running, 0);
    }
}
