//! A pool of connections to one server.
//!
//! A call that finds no idle connection opens one itself, within its own deadline, and so gets the
//! actual error if that fails. Each connection serves one call at a time.

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

/// A connection that was idle for longer than this is tested with `PING` before it is used.
const TEST_AFTER: Duration = Duration::from_secs(30);

/// The first and the longest pause before the pool tries again to connect to a server that has
/// reached its `maxclients`.
const PAUSE_RANGE: (Duration, Duration) = (Duration::from_millis(5), Duration::from_millis(100));

/// The server may have closed a connection that was idle for longer than this.
const TRUSTED: Duration = Duration::from_millis(100);

/// How connections are opened, and how many are allowed for one server.
#[derive(Debug, Clone)]
pub(super) struct PoolOptions {
    pub(super) login: Arc<Login>,
    pub(super) size: u32,
    pub(super) connect_timeout: Duration,
}

/// A pool of connections to one server.
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
    /// The number of connections, including those in use.
    open: u32,
    /// The epoch of new connections. [`discard_all`](Pool::discard_all) starts another.
    epoch: u64,
}

/// An epoch that no other pool and no earlier connection has.
fn new_epoch() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

/// A connection in use. Dropping it returns it to the pool, unless it is broken or of an old epoch.
pub(super) struct PooledConnection<'a> {
    pool: &'a Pool,
    connection: Option<Connection>,
    epoch: u64,
}

impl Pool {
    pub(super) fn new(address: Address, options: PoolOptions) -> Self {
        let state = State { idle: Vec::new(), open: 0, epoch: new_epoch() };
        Self { address, options, state: Mutex::new(state), freed: Condvar::new() }
    }

    /// Runs a closure on a connection from the pool.
    pub(super) fn run<T>(
        &self,
        call: Call,
        work: impl FnOnce(&mut Connection) -> Result<T, CallError>,
    ) -> Result<T, CallError> {
        work(self.checkout(call)?.connection())
    }

    /// Returns a connection for exclusive use, waiting for one until the deadline.
    pub(super) fn checkout(&self, call: Call) -> Result<PooledConnection<'_>, CallError> {
        let deadline = call.deadline;
        let (mut pause, mut full) = (PAUSE_RANGE.0, false);
        loop {
            let mut taken = self.reserve(deadline)?;
            let Some(connection) = &mut taken.connection else {
                match self.open(&mut taken, deadline) {
                    Ok(()) => return Ok(taken),
                    Err(CallError::Redirect(Redirect::MaxClients)) => full = true,
                    Err(failed) if !full || !deadline.has_passed() => return Err(failed),
                    Err(_) => return Err(CallError::Redirect(Redirect::MaxClients)),
                }
                drop(taken);
                self.wait(pause, deadline)?;
                pause = (pause * 2).min(PAUSE_RANGE.1);
                continue;
            };
            let idle = connection.used.elapsed();
            connection.begin(deadline);
            // Checking the socket costs no round trip, but a system call. It is skipped for an
            // idempotent call on a recently used connection, since such a call is repeated if the
            // connection turns out to be closed.
            let closed = (idle > TRUSTED || !call.idempotent) && !connection.is_quiet();
            if !closed
                && (idle <= TEST_AFTER || connection.query_unit(&Commands::one(&[b"PING"])).is_ok())
            {
                return Ok(taken);
            }
            connection.mark_broken();
            self.discard_all();
        }
    }

    fn open(&self, taken: &mut PooledConnection<'_>, deadline: Deadline) -> Result<(), CallError> {
        let by = deadline.min(Deadline::after(self.options.connect_timeout));
        let mut connection = Connection::open(&self.address, &self.options.login, by)?;
        connection.begin(deadline);
        connection.epoch = taken.epoch;
        taken.connection = Some(connection);
        Ok(())
    }

    /// Waits for a connection to be returned to this pool, for at most `pause`: the server, which
    /// has reached its `maxclients`, may have room for a new connection earlier.
    fn wait(&self, pause: Duration, deadline: Deadline) -> Result<(), CallError> {
        if deadline.has_passed() {
            return Err(CallError::Redirect(Redirect::MaxClients));
        }
        let mut state = self.state.lock();
        if state.idle.is_empty() {
            self.freed.wait_for(&mut state, deadline.left().min(pause));
        }
        Ok(())
    }

    /// Returns an idle connection, or an empty place in the pool to open one for.
    fn reserve(&self, deadline: Deadline) -> Result<PooledConnection<'_>, CallError> {
        let mut state = self.state.lock();
        loop {
            let connection = state.idle.pop();
            if connection.is_some() || state.open < self.options.size {
                state.open += u32::from(connection.is_none());
                return Ok(PooledConnection { pool: self, connection, epoch: state.epoch });
            }
            if self.freed.wait_until(&mut state, deadline.instant()).timed_out() {
                let message = "all connections of the pool were in use until the deadline passed; nothing was changed; raise `pool_size` or the timeout";
                return Err(CallError::Final(
                    Error::new(ErrorKind::Timeout, message).while_waiting(),
                ));
            }
        }
    }

    /// Closes the idle connections, and those in use when they are returned: after the loss of
    /// one connection, the others are probably lost as well.
    pub(super) fn discard_all(&self) {
        let mut state = self.state.lock();
        state.epoch = new_epoch();
        let idle = std::mem::take(&mut state.idle);
        state.open -= idle.len() as u32;
        drop(state);
        self.freed.notify_all();
    }
}

impl PooledConnection<'_> {
    pub(super) fn connection(&mut self) -> &mut Connection {
        #[expect(clippy::unwrap_used, reason = "`checkout` returns only after `open` succeeded")]
        self.connection.as_mut().unwrap()
    }
}

impl Drop for PooledConnection<'_> {
    fn drop(&mut self) {
        let mut state = self.pool.state.lock();
        let reusable =
            |connection: &Connection| !connection.is_unusable() && !std::thread::panicking();
        match self.connection.take().filter(reusable) {
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
