//! Single flight: what `get` and `get_many` rest on.
//!
//! However many threads of a process ask for one missing key at once, one computes and the others
//! wait for it. A computation that fails or panics lets the next caller compute. Waiting that
//! could never end, because threads wait for one another in a circle, is an error instead.

use std::collections::HashMap;
use std::sync::{Arc, Weak};
use std::thread::{self, ThreadId};

use parking_lot::{Condvar, Mutex};

use crate::{Error, ErrorKind, Key, Result};

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
}

/// The computations under way in one scope.
#[derive(Debug, Default)]
pub(crate) struct Flights {
    flying: Mutex<HashMap<Key, Arc<Flight>, foldhash::fast::RandomState>>,
}

/// One computation.
#[derive(Debug)]
struct Flight {
    owner: ThreadId,
    landed: Mutex<bool>,
    wake: Condvar,
}

/// What a thread that found a key missing is to do.
pub(crate) enum Turn<'a> {
    /// Compute: the turn ends when this is dropped, whatever happens.
    Compute(Lease<'a>),
    /// Somebody else computed meanwhile: look again.
    LookAgain,
}

/// The right to compute one key.
pub(crate) struct Lease<'a> {
    flights: &'a Flights,
    key: Key,
}

/// Which thread waits for which other one, in the whole process: a circle here would never end.
static WAITING: Mutex<Option<HashMap<ThreadId, ThreadId>>> = Mutex::new(None);

impl Flights {
    /// Takes the right to compute a key, or waits until whoever has it is done.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Recursion`] where the wait would never end.
    pub(crate) fn turn(&self, key: &Key) -> Result<Turn<'_>> {
        match self.claim(key) {
            Ok(lease) => Ok(Turn::Compute(lease)),
            Err(flight) => flight.wait().map(|()| Turn::LookAgain),
        }
    }

    /// Takes the right to compute a key where nobody has it.
    pub(crate) fn try_lease(&self, key: &Key) -> Option<Lease<'_>> {
        self.claim(key).ok()
    }

    fn claim(&self, key: &Key) -> Result<Lease<'_>, Arc<Flight>> {
        let mut flying = self.flying.lock();
        if let Some(flight) = flying.get(key) {
            return Err(flight.clone());
        }
        let owner = thread::current().id();
        let flight = Flight { owner, landed: Mutex::new(false), wake: Condvar::new() };
        flying.insert(key.clone(), Arc::new(flight));
        Ok(Lease { flights: self, key: key.clone() })
    }
}

impl Flight {
    fn wait(&self) -> Result<()> {
        let _waiting = Waiting::begin(self.owner)?;
        let mut landed = self.landed.lock();
        while !*landed {
            self.wake.wait(&mut landed);
        }
        Ok(())
    }
}

impl Lease<'_> {
    /// The key that is to be computed.
    pub(crate) fn key(&self) -> &Key {
        &self.key
    }
}

/// Ends the turn, also when the computation panics.
impl Drop for Lease<'_> {
    fn drop(&mut self) {
        if let Some(flight) = self.flights.flying.lock().remove(&self.key) {
            *flight.landed.lock() = true;
            flight.wake.notify_all();
        }
    }
}

/// The note that this thread waits for another one.
struct Waiting;

impl Waiting {
    fn begin(owner: ThreadId) -> Result<Self> {
        let me = thread::current().id();
        let mut waiting = WAITING.lock();
        let waiting = waiting.get_or_insert_default();
        let mut next = Some(owner);
        while let Some(thread) = next {
            if thread == me {
                return Err(Error::new(
                    ErrorKind::Recursion,
                    "the value is asked for by its own computation, which would wait for itself for ever",
                ));
            }
            next = waiting.get(&thread).copied();
        }
        waiting.insert(me, owner);
        Ok(Self)
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        if let Some(waiting) = WAITING.lock().as_mut() {
            waiting.remove(&thread::current().id());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Value;

    #[test]
    fn asking_for_the_own_key_is_an_error() {
        let flights = Flights::default();
        let key = Key::single(Value::Int(1));
        let lease = flights.turn(&key).unwrap();
        assert!(matches!(lease, Turn::Compute(_)));
        let Err(error) = flights.turn(&key) else { panic!("it must not wait for itself") };
        assert_eq!(error.kind(), ErrorKind::Recursion);
        drop(lease);
        assert!(matches!(flights.turn(&key).unwrap(), Turn::Compute(_)));
    }

    #[test]
    fn a_circle_of_two_threads_is_an_error() {
        let flights = Flights::default();
        let keys = [Key::single(Value::Int(1)), Key::single(Value::Int(2))];
        let barrier = std::sync::Barrier::new(2);
        let run = |own: usize| {
            let lease = flights.turn(&keys[own]).unwrap();
            barrier.wait();
            let other = flights.turn(&keys[1 - own]).map(|_| ());
            drop(lease);
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
        let flights = Flights::default();
        let key = Key::single(Value::Int(1));
        let panicked = thread::scope(|scope| {
            scope
                .spawn(|| {
                    let _lease = flights.turn(&key).unwrap();
                    panic!("on purpose");
                })
                .join()
        });
        assert!(panicked.is_err());
        assert!(matches!(flights.turn(&key).unwrap(), Turn::Compute(_)));
    }
}
