//! The circuit breaker of one cache.
//!
//! It is closed until [`LIMIT`] consecutive calls have failed with [`Error::is_outage`], and then
//! open until a probe succeeds. While it is open, no call reaches the server.
//!
//! Invariant: the counter is at [`LIMIT`] exactly while the breaker is open. Only the call whose
//! failure moves it from `LIMIT - 1` to `LIMIT` opens the breaker, and that call starts the probe;
//! only the probe, or the failure to start one, resets it from there. So there is one probe while
//! the breaker is open, and none otherwise. A call that succeeds resets the counter only from below
//! `LIMIT`, by a compare-and-exchange with the value that it read: the late success of a call that
//! began before the breaker opened does not close it.

use std::sync::atomic::{AtomicU32, Ordering};

use parking_lot::Mutex;

use crate::{Error, ErrorKind, Result};

/// The number of consecutive failures that opens the breaker.
const LIMIT: u32 = 5;

#[derive(Debug, Default)]
pub(super) struct Breaker {
    /// The number of consecutive failures.
    failures: AtomicU32,
    last: Mutex<Option<Error>>,
}

impl Breaker {
    /// Returns an error while the breaker is open. If it is closed, this costs one load.
    pub(super) fn check(&self) -> Result<()> {
        match self.failures.load(Ordering::Relaxed) < LIMIT {
            true => Ok(()),
            false => Err(self.refusal()),
        }
    }

    #[cold]
    fn refusal(&self) -> Error {
        let last = self.last.lock();
        let last = last.as_ref().map_or("", Error::message);
        Error::new(
            ErrorKind::Unavailable,
            format!(
                "the circuit breaker of the cache is open, and nothing was sent: {LIMIT} calls in a row failed, and calls reach the server again once it answers a probe; the last failure was: {last}"
            ),
        )
    }

    /// Records the result of a call. Returns whether it opened the breaker.
    pub(super) fn record<T>(&self, result: &Result<T>) -> bool {
        match result {
            Ok(_) => {
                self.succeeded();
                false
            }
            Err(error) if error.is_outage() => self.failed(error),
            // Other errors do not show whether the server can be reached.
            Err(_) => false,
        }
    }

    fn succeeded(&self) {
        let failures = self.failures.load(Ordering::Relaxed);
        if failures != 0 && failures < LIMIT {
            let _ =
                self.failures.compare_exchange(failures, 0, Ordering::Relaxed, Ordering::Relaxed);
        }
    }

    #[cold]
    fn failed(&self, error: &Error) -> bool {
        // Set before the counter, so that every refused call finds it.
        *self.last.lock() = Some(error.clone());
        let more = |failures: u32| (failures < LIMIT).then(|| failures + 1);
        let before = self.failures.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more);
        before == Ok(LIMIT - 1)
    }

    pub(super) fn is_open(&self) -> bool {
        self.failures.load(Ordering::Relaxed) == LIMIT
    }

    /// Closes the breaker. Called by the probe, or if the probe cannot be started.
    pub(super) fn close(&self) {
        self.failures.store(0, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed test panics")]

    use super::*;

    fn failure(kind: ErrorKind) -> Result<()> {
        Err(Error::new(kind, "no answer"))
    }

    #[test]
    fn it_opens_after_consecutive_failures() {
        let breaker = Breaker::default();
        for _ in 0..3 {
            for _ in 1..LIMIT {
                assert!(!breaker.record(&failure(ErrorKind::Unavailable)));
            }
            breaker.record(&Ok(()));
        }
        let opened: Vec<bool> =
            (0..LIMIT).map(|_| breaker.record(&failure(ErrorKind::Timeout))).collect();
        assert_eq!(opened.iter().filter(|opened| **opened).count(), 1);
        assert!(opened[LIMIT as usize - 1] && breaker.is_open());
        let error = breaker.check().unwrap_err();
        assert!(error.is_retryable() && error.message().contains("no answer"), "{error}");
        // A call that began before the breaker opened.
        breaker.record(&Ok(()));
        assert!(breaker.is_open() && !breaker.record(&failure(ErrorKind::Timeout)));
        breaker.close();
        breaker.check().unwrap();
    }

    #[test]
    fn waiting_for_a_connection_is_no_failure_of_the_server() {
        let breaker = Breaker::default();
        for _ in 0..10 * LIMIT {
            let busy = Error::new(ErrorKind::Timeout, "no connection was free").while_waiting();
            assert!(!breaker.record::<()>(&Err(busy)));
            assert!(!breaker.record(&failure(ErrorKind::Backend)));
        }
        breaker.check().unwrap();
    }
}
