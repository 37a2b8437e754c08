//! The connections to one server.
//!
//! A connection is opened by the caller who needs it, within the deadline of the call, so that what
//! is wrong is said as it is; and it is used by one call at a time.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

use super::call_error::{CallError, Redirect};
use super::command::Commands;
use super::connection::Connection;
use super::login::{Address, Login};
use super::servers::Call;
use crate::remote::Deadline;
use crate::{Error, ErrorKind};

/// A connection idle for longer than this is tested before it is used.
const IDLE: Duration = Duration::from_secs(30);

/// How long a caller waits, at first and at the most, before it asks a server anew for a connection
/// that the server had no room for.
const PAUSE_RANGE: (Duration, Duration) = (Duration::from_millis(5), Duration::from_millis(100));

/// One idle for longer than this may have been closed by the server.
const TRUSTED: Duration = Duration::from_millis(100);

/// How connections are opened, and how many there may be to one server.
#[derive(Debug, Clone)]
pub(super) struct PoolOptions {
    pub(super) login: Arc<Login>,
    pub(super) size: u32,
    pub(super) connect_timeout: Duration,
}

/// The connections to one server.
pub(super) struct Pool {
    pub(super) address: Address,
    options: PoolOptions,
    state: Mutex<State>,
    freed: Condvar,
}

impl std::fmt::Debug for Pool {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pool").field("address", &self.address).finish_non_exhaustive()
    }
}

struct State {
    idle: Vec<Connection>,
    /// How many there are, those in use included.
    open: u32,
    /// What the connections have in common that were opened since all were given up.
    epoch: u64,
}

/// A epoch that no other connections have.
fn epoch() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

/// A connection in use. It goes back to the pool, unless it is broken.
pub(super) struct PooledConnection<'a> {
    pool: &'a Pool,
    connection: Option<Connection>,
    epoch: u64,
}

impl Pool {
    pub(super) fn new(address: Address, options: PoolOptions) -> Self {
        let state = State { idle: Vec::new(), open: 0, epoch: epoch() };
        Self { address, options, state: Mutex::new(state), freed: Condvar::new() }
    }

    /// Runs a call on a connection.
    pub(super) fn run<T>(
        &self,
        call: Call,
        work: impl FnOnce(&mut Connection) -> Result<T, CallError>,
    ) -> Result<T, CallError> {
        work(self.take(call)?.connection())
    }

    /// A connection to use alone, for which the caller waits until the deadline.
    pub(super) fn take(&self, call: Call) -> Result<PooledConnection<'_>, CallError> {
        let deadline = call.deadline;
        let (mut pause, mut full) = (PAUSE_RANGE.0, false);
        loop {
            let mut taken = self.reserve(deadline)?;
            let Some(connection) = &mut taken.connection else {
                match self.open(&mut taken, deadline) {
                    Ok(()) => return Ok(taken),
                    Err(CallError::Redirect(Redirect::MaxClients)) => full = true,
                    Err(failed) if !full || Instant::now() < deadline => return Err(failed),
                    Err(_) => return Err(CallError::Redirect(Redirect::MaxClients)),
                }
                drop(taken);
                self.wait(pause, deadline)?;
                pause = (pause * 2).min(PAUSE_RANGE.1);
                continue;
            };
            let idle = connection.used.elapsed();
            connection.begin(deadline);
            // A look at the socket costs no round trip. A call that can be repeated does without
            // where the connection was used a moment ago.
            let closed = (idle > TRUSTED || !call.idempotent) && !connection.is_quiet();
            if !closed
                && (idle <= IDLE || connection.query_unit(&Commands::one(&[b"PING"])).is_ok())
            {
                return Ok(taken);
            }
            connection.give_up();
            self.give_up();
        }
    }

    fn open(&self, taken: &mut PooledConnection<'_>, deadline: Instant) -> Result<(), CallError> {
        let by = deadline.min(Deadline::after(self.options.connect_timeout).instant());
        let mut connection = Connection::open(&self.address, &self.options.login, by)?;
        connection.begin(deadline);
        connection.epoch = taken.epoch;
        taken.connection = Some(connection);
        Ok(())
    }

    /// Waits until a connection of this pool is free, but not for long: the server, which has
    /// reached its `maxclients`, may have room for another one before that.
    fn wait(&self, pause: Duration, deadline: Instant) -> Result<(), CallError> {
        let now = Instant::now();
        if now >= deadline {
            return Err(CallError::Redirect(Redirect::MaxClients));
        }
        let mut state = self.state.lock();
        if state.idle.is_empty() {
            self.freed.wait_until(&mut state, deadline.min(now + pause));
        }
        Ok(())
    }

    /// An idle connection, or leave to open one.
    fn reserve(&self, deadline: Instant) -> Result<PooledConnection<'_>, CallError> {
        let mut state = self.state.lock();
        loop {
            let connection = state.idle.pop();
            if connection.is_some() || state.open < self.options.size {
                state.open += u32::from(connection.is_none());
                return Ok(PooledConnection { pool: self, connection, epoch: state.epoch });
            }
            if self.freed.wait_until(&mut state, deadline).timed_out() {
                let message = "no connection was free until the deadline passed";
                return Err(CallError::Final(
                    Error::new(ErrorKind::Timeout, message).while_waiting(),
                ));
            }
        }
    }

    /// Gives up the connections that nobody uses, and those in use when they come back: one was
    /// lost, and they probably are, too.
    pub(super) fn give_up(&self) {
        let mut state = self.state.lock();
        state.epoch = epoch();
        let idle = std::mem::take(&mut state.idle);
        state.open -= idle.len() as u32;
        drop(state);
        self.freed.notify_all();
    }
}

impl PooledConnection<'_> {
    pub(super) fn connection(&mut self) -> &mut Connection {
        // It is there from the moment that it is given out.
        #[expect(clippy::unwrap_used, reason = "`take` gives none out without a connection")]
        self.connection.as_mut().unwrap()
    }
}

impl Drop for PooledConnection<'_> {
    fn drop(&mut self) {
        let mut state = self.pool.state.lock();
        let good = |connection: &Connection| !connection.is_unusable() && !std::thread::panicking();
        match self.connection.take().filter(good) {
            Some(mut connection) if self.epoch == state.epoch => {
                connection.used = Instant::now();
                state.idle.push(connection);
            }
            _ => state.open -= 1,
        }
        drop(state);
        self.pool.freed.notify_one();
    }
}
