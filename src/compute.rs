//! Single flight: what `get` and `get_many` rest on.
//!
//! However many threads of a process ask for one missing key at once, one computes and the others
//! wait for it; so do futures, which wait without a thread. A computation that fails, panics or is
//! cancelled lets the next caller compute. Waiting that could never end, because computations wait
//! for one another in a circle, is an error instead.

mod who;

use std::collections::HashMap;
use std::sync::{Arc, Weak};
#[cfg(feature = "async")]
use std::task::{Poll, Waker};

use parking_lot::{Condvar, Mutex};

use self::who::{Waiting, Who};
use crate::{Key, Result};

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
    owner: Who,
    state: Mutex<State>,
    wake: Condvar,
}

#[derive(Debug, Default)]
struct State {
    landed: bool,
    /// The futures that wait.
    #[cfg(feature = "async")]
    wakers: Vec<Waker>,
}

/// What a caller that found a key missing is to do.
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
    #[cfg(feature = "async")]
    owner: Who,
}

impl Flights {
    /// Takes the right to compute a key, or waits until whoever has it is done.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Recursion`](crate::ErrorKind::Recursion) where the wait would never end.
    pub(crate) fn turn(&self, key: &Key) -> Result<Turn<'_>> {
        match self.claim(key, Who::current) {
            Ok(lease) => Ok(Turn::Compute(lease)),
            Err(flight) => flight.wait().map(|()| Turn::LookAgain),
        }
    }

    /// The same without a thread that waits. What is computed is to be polled by
    /// [`Lease::compute`].
    ///
    /// # Errors
    ///
    /// As [`turn`](Flights::turn).
    #[cfg(feature = "async")]
    pub(crate) async fn turn_async(&self, key: &Key) -> Result<Turn<'_>> {
        match self.claim(key, || Who::current().child()) {
            Ok(lease) => Ok(Turn::Compute(lease)),
            Err(flight) => flight.wait_async().await.map(|()| Turn::LookAgain),
        }
    }

    /// Takes the right to compute a key where nobody has it.
    pub(crate) fn try_lease(&self, key: &Key) -> Option<Lease<'_>> {
        self.claim(key, Who::current).ok()
    }

    fn claim(&self, key: &Key, owner: impl FnOnce() -> Who) -> Result<Lease<'_>, Arc<Flight>> {
        let mut flying = self.flying.lock();
        if let Some(flight) = flying.get(key) {
            return Err(flight.clone());
        }
        let owner = owner();
        let lease = Lease {
            flights: self,
            key: key.clone(),
            #[cfg(feature = "async")]
            owner: owner.clone(),
        };
        let flight = Flight { owner, state: Mutex::default(), wake: Condvar::new() };
        flying.insert(key.clone(), Arc::new(flight));
        Ok(lease)
    }
}

impl Flight {
    fn wait(&self) -> Result<()> {
        let _waiting = Waiting::begin(&self.owner)?;
        let mut state = self.state.lock();
        while !state.landed {
            self.wake.wait(&mut state);
        }
        Ok(())
    }

    #[cfg(feature = "async")]
    async fn wait_async(&self) -> Result<()> {
        let _waiting = Waiting::begin(&self.owner)?;
        std::future::poll_fn(|context| {
            let mut state = self.state.lock();
            if state.landed {
                return Poll::Ready(());
            }
            let waker = context.waker();
            if !state.wakers.iter().any(|known| known.will_wake(waker)) {
                state.wakers.push(waker.clone());
            }
            Poll::Pending
        })
        .await;
        Ok(())
    }

    fn land(&self) {
        let mut state = self.state.lock();
        state.landed = true;
        self.wake.notify_all();
        #[cfg(feature = "async")]
        {
            let wakers = std::mem::take(&mut state.wakers);
            drop(state);
            wakers.into_iter().for_each(Waker::wake);
        }
    }
}

impl Lease<'_> {
    /// The key that is to be computed.
    pub(crate) fn key(&self) -> &Key {
        &self.key
    }

    /// Makes a future and runs it as the computation of this key: what it asks for in turn is known
    /// to be asked for by it.
    #[cfg(feature = "async")]
    pub(crate) async fn compute<F: Future>(&self, make: impl FnOnce() -> F) -> F::Output {
        let mut future = std::pin::pin!(self.owner.run(make));
        std::future::poll_fn(|context| self.owner.run(|| future.as_mut().poll(context))).await
    }
}

/// Ends the turn, also when the computation panics or is cancelled.
impl Drop for Lease<'_> {
    fn drop(&mut self) {
        let flight = self.flights.flying.lock().remove(&self.key);
        if let Some(flight) = flight {
            flight.land();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;
    use crate::{ErrorKind, Value};

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
