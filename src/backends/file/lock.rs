//! A lock between the writers of a scope, in all threads and processes.

use std::fs::{File, TryLockError};
use std::thread;
use std::time::Duration;

use parking_lot::{Mutex, MutexGuard};

use super::dir::failed;
use crate::remote::Deadline;
use crate::{Error, ErrorKind, Result};

/// The longest pause between two attempts.
const MAX_PAUSE: Duration = Duration::from_millis(2);

/// The lock of a scope, and the state that it guards.
#[derive(Debug)]
pub(super) struct Lock<T> {
    file: File,
    timeout: Duration,
    state: Mutex<T>,
}

/// The acquired lock, released on drop.
#[derive(Debug)]
pub(super) struct LockGuard<'l, T> {
    file: &'l File,
    pub(super) state: MutexGuard<'l, T>,
}

impl<T> Lock<T> {
    pub(super) fn new(file: File, timeout: Duration, state: T) -> Self {
        Self { file, timeout, state: Mutex::new(state) }
    }

    /// Acquires the lock. Threads of this process wait on a mutex first, and only its holder waits
    /// for other processes.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Timeout`] if the lock is not free before the deadline.
    pub(super) fn lock(&self) -> Result<LockGuard<'_, T>> {
        let deadline = Deadline::of_call(self.timeout);
        let state = self.state.try_lock_until(deadline.instant()).ok_or_else(timeout)?;
        let mut pause = Duration::from_micros(20);
        loop {
            match self.file.try_lock() {
                Ok(()) => return Ok(LockGuard { file: &self.file, state }),
                Err(TryLockError::WouldBlock) if deadline.has_passed() => return Err(timeout()),
                Err(TryLockError::WouldBlock) => thread::sleep(pause),
                Err(TryLockError::Error(error)) => return Err(failed("lock the scope", error)),
            }
            pause = (pause * 2).min(MAX_PAUSE);
        }
    }
}

impl<T> Drop for LockGuard<'_, T> {
    fn drop(&mut self) {
        // A lock that cannot be released is released when the file is closed.
        let _ = self.file.unlock();
    }
}

fn timeout() -> Error {
    Error::new(
        ErrorKind::Timeout,
        "another writer held the lock of the scope until the deadline passed; nothing was changed",
    )
}
