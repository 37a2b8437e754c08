//! One writer of a scope at a time, among the threads of all processes.

use std::fs::{File, TryLockError};
use std::thread;
use std::time::Duration;

use parking_lot::{Mutex, MutexGuard};

use super::dir::failed;
use crate::remote::Deadline;
use crate::{Error, ErrorKind, Result};

/// The longest pause between two attempts.
const MAX_PAUSE: Duration = Duration::from_millis(2);

/// The lock of a scope, and what only its holder may see and change.
#[derive(Debug)]
pub(super) struct Lock<T> {
    file: File,
    timeout: Duration,
    inside: Mutex<T>,
}

/// The lock, held until it is dropped.
#[derive(Debug)]
pub(super) struct Held<'l, T> {
    file: &'l File,
    pub(super) state: MutexGuard<'l, T>,
}

impl<T> Lock<T> {
    pub(super) fn new(file: File, timeout: Duration, state: T) -> Self {
        Self { file, timeout, inside: Mutex::new(state) }
    }

    /// Waits for the lock. The threads of this process wait for one another, and the first of them
    /// for other processes.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Timeout`] where it is not free until the deadline.
    pub(super) fn hold(&self) -> Result<Held<'_, T>> {
        let deadline = Deadline::of_call(self.timeout);
        let state = self.inside.try_lock_until(deadline.instant()).ok_or_else(timeout)?;
        let mut pause = Duration::from_micros(20);
        loop {
            match self.file.try_lock() {
                Ok(()) => return Ok(Held { file: &self.file, state }),
                Err(TryLockError::WouldBlock) if deadline.has_passed() => return Err(timeout()),
                Err(TryLockError::WouldBlock) => thread::sleep(pause),
                Err(TryLockError::Error(error)) => return Err(failed("lock the scope", error)),
            }
            pause = (pause * 2).min(MAX_PAUSE);
        }
    }
}

impl<T> Drop for Held<'_, T> {
    fn drop(&mut self) {
        // A lock that cannot be given back is given back when the file is closed.
        let _ = self.file.unlock();
    }
}

fn timeout() -> Error {
    Error::new(ErrorKind::Timeout, "another writer holds the scope; nothing was changed")
}
