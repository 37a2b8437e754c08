//! Running calls on pooled connections, with retries until the deadline.

use std::time::Duration;

use super::DatabaseInner;
use crate::Result;
use crate::backends::sql::connection::pool::Pool;
use crate::backends::sql::dialect::Dialect;
use crate::backends::sql::error::{CallError, ErrorClass};
use crate::backoff::BackOff;
use crate::remote::{Attempts, Deadline, Outcome};

/// How many times a call is repeated because a prepared statement no longer matches its table.
const MAX_STALE_RETRIES: u32 = 10;

impl<D: Dialect> DatabaseInner<D> {
    /// Runs a call that reads, and repeats it if the connection was lost.
    pub(crate) fn read<T>(
        &self,
        call: impl Fn(&mut D::Connection) -> Result<T, CallError>,
    ) -> Result<T> {
        if D::ON_SERVER {
            return self.read_until(self.deadline(), call);
        }
        // Reads of a file do not wait for writers, and are too short to read the clock for each.
        let result = self.readers.run(self.timeout, false, |connection, waited| {
            self.run_within(connection, self.timeout.saturating_sub(waited), call)
        })?;
        self.unchanged.as_ref().map_or(Ok(()), |unchanged| unchanged())?;
        result.map_err(CallError::into_error::<D>)
    }

    /// Runs a call that reads and cannot be repeated.
    pub(crate) fn read_once<T>(
        &self,
        call: impl Fn(&mut D::Connection) -> Result<T, CallError>,
    ) -> Result<T> {
        match D::ON_SERVER {
            true => self.run_on_server(&self.readers, false, self.deadline(), call),
            false => self.read(call),
        }
    }

    /// Runs a call that reads from a server, until a deadline.
    pub(crate) fn read_until<T>(
        &self,
        deadline: Deadline,
        call: impl Fn(&mut D::Connection) -> Result<T, CallError>,
    ) -> Result<T> {
        self.run_on_server(&self.readers, true, deadline, call)
    }

    /// Runs a call that writes.
    pub(crate) fn write<T>(
        &self,
        call: impl Fn(&mut D::Connection) -> Result<T, CallError>,
    ) -> Result<T> {
        self.run_writing(false, call)
    }

    /// Runs an idempotent call that writes, and repeats it if the connection was lost.
    pub(crate) fn write_idempotent<T>(
        &self,
        call: impl Fn(&mut D::Connection) -> Result<T, CallError>,
    ) -> Result<T> {
        self.run_writing(self.retries_writes, call)
    }

    fn run_writing<T>(
        &self,
        idempotent: bool,
        call: impl Fn(&mut D::Connection) -> Result<T, CallError>,
    ) -> Result<T> {
        match D::ON_SERVER {
            true => self.run_on_server(&self.writers, idempotent, self.deadline(), call),
            false => self.run_on_file(call),
        }
    }

    /// Runs a call that writes to a file, and repeats it until the deadline if the file is locked.
    ///
    /// The engine itself waits for other writers. But it reports some conflicts at once, and its
    /// fixed pauses favour some waiting processes over others.
    fn run_on_file<T>(
        &self,
        call: impl Fn(&mut D::Connection) -> Result<T, CallError>,
    ) -> Result<T> {
        let mut back_off = BackOff::until(self.deadline().instant());
        loop {
            let left = back_off.left();
            let result = self.writers.run(left, false, |connection, waited| {
                self.run_within(connection, left.saturating_sub(waited), &call)
            })?;
            let error = match result {
                Ok(value) => return Ok(value),
                Err(error) => error,
            };
            let again = matches!(error.class::<D>(), ErrorClass::Busy | ErrorClass::Conflict);
            if !again || !back_off.pause() {
                return Err(error.into_error::<D>());
            }
        }
    }

    /// Runs a call on a file. The engine waits for locks no longer than `left`.
    ///
    /// The engine's limit is set only if the call has already used more than 5 % of its time.
    fn run_within<T>(
        &self,
        connection: &mut D::Connection,
        left: Duration,
        call: impl FnOnce(&mut D::Connection) -> Result<T, CallError>,
    ) -> Result<T, CallError> {
        if left >= self.timeout / 20 * 19 {
            return call(connection);
        }
        D::set_deadline(connection, left)?;
        let result = call(connection);
        D::set_deadline(connection, self.timeout)?;
        result
    }

    /// Runs a call on a server. One deadline covers the wait for a connection, the call and its
    /// repetitions.
    fn run_on_server<T>(
        &self,
        pool: &Pool<D>,
        idempotent: bool,
        deadline: Deadline,
        call: impl Fn(&mut D::Connection) -> Result<T, CallError>,
    ) -> Result<T> {
        let mut attempts = Attempts::new(deadline, idempotent);
        let mut stale = 0;
        // The error of a server that refuses calls: the cause if no other connection can be opened.
        let mut refusal = None;
        loop {
            attempts.begin();
            let began = deadline.left();
            let result = pool.run(began, !idempotent, |connection, _| {
                D::set_deadline(connection, deadline.left())?;
                call(connection).inspect_err(|error| {
                    if error.class::<D>().is_server_refusal() {
                        D::abandon(connection);
                    }
                })
            });
            let result = result.map_err(|error| refusal.take().unwrap_or(error));
            let error = match result.map_err(|error| attempts.conclude(Outcome::NotDone, error))? {
                Ok(value) => return Ok(value),
                Err(error) => error,
            };
            let class = error.class::<D>();
            let again = match class {
                ErrorClass::ConnectionLost => {
                    // The other idle connections were probably lost with it.
                    pool.invalidate_idle();
                    attempts.again(Outcome::Unknown)
                }
                ErrorClass::ReadOnly | ErrorClass::NotReady => {
                    pool.close_idle();
                    attempts.after_refusal()
                }
                ErrorClass::StaleStatement => {
                    stale += 1;
                    stale <= MAX_STALE_RETRIES
                }
                // The server's own limit of a wait must pass before the deadline does once more: only
                // then is it known that nothing was done.
                ErrorClass::Busy if began.saturating_sub(deadline.left()) > deadline.left() => {
                    false
                }
                ErrorClass::Conflict | ErrorClass::Busy => attempts.again(Outcome::NotDone),
                _ => false,
            };
            if !again || deadline.has_passed() {
                return Err(attempts.conclude(class.outcome(), error.into_error::<D>()));
            }
            if class.is_server_refusal() {
                refusal = Some(error.into_error::<D>());
            }
        }
    }
}
