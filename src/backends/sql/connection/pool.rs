//! The connection pool.
//!
//! r2d2 opens and bounds connections. In front of it is a stack of idle connections, which avoids
//! about a tenth of a microsecond per call, mostly for four readings of the clock.
//!
//! Invariants: a connection is in the stack only if its last call succeeded. If a caller waits in
//! r2d2, returned connections go to r2d2 and not to the stack, so that new callers cannot overtake
//! it: `waiting` is incremented under the lock under which the stack was found empty.

#[cfg(all(test, feature = "sqlite"))]
mod tests;

use std::fmt;
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use diesel::QueryResult;
use diesel::backend::Backend;
use diesel::connection::LoadConnection;
use diesel::r2d2::R2D2Connection;
use diesel_migrations::MigrationHarness;
use parking_lot::Mutex;
use scheduled_thread_pool::ScheduledThreadPool;

use crate::{Error, ErrorKind, Result};

/// A connection that was idle for longer than this is tested before use.
const TEST_AFTER: Duration = Duration::from_secs(30);

/// A connection to a server that was idle for longer than this is closed.
const CLOSE_AFTER: Duration = Duration::from_secs(600);

/// An engine whose connections are pooled, by its Diesel backend.
pub(crate) trait PooledBackend: Backend + 'static {
    /// Its Diesel connection.
    type Connection: diesel::Connection<Backend = Self>
        + LoadConnection
        + MigrationHarness<Self>
        + R2D2Connection
        + Send
        + 'static;

    /// Whether the engine is a server, which may close an idle connection.
    const ON_SERVER: bool;

    /// Sets the limit of the statements that follow: on a server that of all together, otherwise
    /// that of each statement's wait for locks.
    fn set_deadline(connection: &mut Self::Connection, left: Duration) -> QueryResult<()>;

    /// Returns whether nothing has arrived on an idle connection, such as the end of the stream.
    /// Does not contact the server.
    fn is_quiet(connection: &Self::Connection) -> bool {
        let _ = connection;
        true
    }

    /// Breaks a connection, so that it is not used again.
    fn abandon(connection: &mut Self::Connection) {
        let _ = connection;
    }
}

/// The threads that open connections, shared by all pools of the process.
static OPENERS: LazyLock<Arc<ScheduledThreadPool>> = LazyLock::new(|| {
    Arc::new(
        ScheduledThreadPool::builder().num_threads(4).thread_name_pattern("hilcat-pool-{}").build(),
    )
});

/// A connection of the pool with its state.
pub(crate) struct Tracked<C> {
    connection: C,
    /// Whether the connection has to be tested before use, because a call on it failed.
    untested: bool,
    /// Whether r2d2 has to close the connection.
    dead: bool,
    last_used: Instant,
}

impl<C: R2D2Connection> Tracked<C> {
    /// Returns whether the connection can be used. Tests it within `left` if a call on it failed, if
    /// it was last used before the instant at which another connection was lost, or if it was idle
    /// for long.
    fn is_alive<D: PooledBackend<Connection = C>>(
        &mut self,
        lost: Option<Instant>,
        left: Duration,
    ) -> bool {
        let now = Instant::now();
        let doubtful = self.untested || lost.is_some_and(|lost| self.last_used <= lost);
        if doubtful || now.duration_since(self.last_used) > TEST_AFTER {
            let ready = match D::ON_SERVER {
                true => D::set_deadline(&mut self.connection, left),
                false => Ok(()),
            };
            self.dead = ready.and_then(|()| self.connection.ping()).is_err();
            self.untested = self.dead;
        }
        self.last_used = now;
        !self.dead
    }
}

type Connect<D> = Box<dyn Fn() -> Result<<D as PooledBackend>::Connection> + Send + Sync>;

/// Opens connections for r2d2.
pub(crate) struct Manager<D: PooledBackend> {
    connect: Connect<D>,
    /// The connection that was opened with the pool.
    first: Mutex<Option<D::Connection>>,
    /// Whether the database exists only in its connection.
    single: bool,
}

type Taken<D> = r2d2::PooledConnection<Manager<D>>;

/// A connection pool. Clones share it.
pub(crate) struct Pool<D: PooledBackend> {
    pool: r2d2::Pool<Manager<D>>,
    idle: Arc<Mutex<Idle<D>>>,
}

/// The idle connections in front of r2d2.
struct Idle<D: PooledBackend> {
    connections: Vec<Taken<D>>,
    /// When a connection was last lost. Connections that were last used before it are tested.
    lost: Option<Instant>,
    /// When all idle connections were last closed. Those of r2d2 that were last used before it are
    /// closed when they are taken.
    closed_at: Option<Instant>,
    /// The number of callers that wait in r2d2.
    waiting: usize,
}

impl<D: PooledBackend> Idle<D> {
    /// Closes the least recently used connection if it was idle for too long.
    fn close_unused(&mut self, now: Instant) {
        let expired =
            |taken: &Taken<D>| now.saturating_duration_since(taken.last_used) > CLOSE_AFTER;
        if self.connections.first().is_some_and(expired) {
            self.connections.remove(0).dead = true;
        }
    }
}

/// Closes the connections on the thread that drops the last handle of the pool. A thread of r2d2 may
/// hold the pool slightly longer, and the process could end before it closes them. In SQLite, the
/// last connection to close removes the log files of the database.
impl<D: PooledBackend> Drop for Pool<D> {
    fn drop(&mut self) {
        if Arc::strong_count(&self.idle) > 1 {
            return;
        }
        let mut closing = std::mem::take(&mut self.idle.lock().connections);
        while self.pool.state().idle_connections > 0
            && let Some(taken) = self.pool.try_get()
        {
            closing.push(taken);
        }
        // r2d2 closes dead connections when they are returned.
        closing.iter_mut().for_each(|taken| taken.dead = true);
    }
}

impl<D: PooledBackend> Clone for Pool<D> {
    fn clone(&self) -> Self {
        Self { pool: self.pool.clone(), idle: self.idle.clone() }
    }
}

impl<D: PooledBackend> fmt::Debug for Manager<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Manager").finish_non_exhaustive()
    }
}

/// Opens a pool of at most `size` connections. Opens the first connection at once, so that an error
/// of the configuration is reported here.
pub(crate) fn open<D: PooledBackend>(
    size: u32,
    connect: impl Fn() -> Result<D::Connection> + Send + Sync + 'static,
) -> Result<Pool<D>> {
    let first = Mutex::new(Some(connect()?));
    let manager = Manager { connect: Box::new(connect), first, single: false };
    Ok(Pool::new(builder().max_size(size).build_unchecked(manager)))
}

/// Opens a pool of one connection, for a database that exists only in it.
#[cfg(feature = "sqlite")]
pub(crate) fn open_single<D: PooledBackend>(
    connect: impl Fn() -> Result<D::Connection> + Send + Sync + 'static,
) -> Result<Pool<D>> {
    let first = Mutex::new(Some(connect()?));
    let manager = Manager { connect: Box::new(connect), first, single: true };
    Ok(Pool::new(builder().max_size(1).build_unchecked(manager)))
}

fn builder<D: PooledBackend>() -> r2d2::Builder<Manager<D>> {
    r2d2::Pool::builder()
        .min_idle(Some(0))
        .test_on_check_out(false)
        // Either of these would schedule a job that outlives the pool.
        .idle_timeout(None)
        .max_lifetime(None)
        // The pause between two attempts to connect is at most half of this.
        .connection_timeout(Duration::from_secs(2))
        .thread_pool(OPENERS.clone())
        .error_handler(Box::new(r2d2::NopErrorHandler))
}

impl<D: PooledBackend> r2d2::ManageConnection for Manager<D> {
    type Connection = Tracked<D::Connection>;
    type Error = Error;

    fn connect(&self) -> Result<Self::Connection> {
        let connection = match self.first.lock().take() {
            Some(connection) => connection,
            None => (self.connect)()?,
        };
        Ok(Tracked { connection, untested: false, dead: false, last_used: Instant::now() })
    }

    /// Not called: [`Pool::take`] tests connections within the deadline of the call.
    fn is_valid(&self, _: &mut Self::Connection) -> Result<()> {
        Ok(())
    }

    fn has_broken(&self, tracked: &mut Self::Connection) -> bool {
        // A connection that is returned while its thread unwinds is closed as a precaution, unless
        // the database exists only in it.
        std::thread::panicking() && !self.single || tracked.dead || tracked.connection.is_broken()
    }
}

impl<D: PooledBackend> Pool<D> {
    fn new(pool: r2d2::Pool<Manager<D>>) -> Self {
        Self {
            pool,
            idle: Arc::new(Mutex::new(Idle {
                connections: Vec::new(),
                lost: None,
                closed_at: None,
                waiting: 0,
            })),
        }
    }

    /// Returns the maximum number of connections.
    pub(crate) fn size(&self) -> u32 {
        self.pool.max_size()
    }

    /// Runs a call on a connection, for which it waits at most `timeout`. Passes the time of the wait
    /// to the call. After a call that fails or panics, the connection is tested before its next use.
    ///
    /// A call that cannot be repeated sets `check_closed`: a connection that the server has closed
    /// meanwhile is then skipped, at the price of a system call.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Timeout`] if no connection was free or could be opened in that time.
    pub(crate) fn run<T, E>(
        &self,
        timeout: Duration,
        check_closed: bool,
        call: impl FnOnce(&mut D::Connection, Duration) -> Result<T, E>,
    ) -> Result<Result<T, E>> {
        let (mut taken, waited) = match self.pop_idle(check_closed) {
            Some(taken) => (taken, Duration::ZERO),
            None => self.wait(timeout, check_closed)?,
        };
        taken.untested = true;
        let result = call(&mut taken.connection, waited);
        if result.is_ok() {
            taken.untested = false;
            self.put_back(taken);
        }
        Ok(result)
    }

    /// Pops an idle connection. If there is none, counts the caller as waiting.
    fn pop_idle(&self, check_closed: bool) -> Option<Taken<D>> {
        let mut idle = self.idle.lock();
        let now = D::ON_SERVER.then(Instant::now);
        while let Some(mut taken) = idle.connections.pop() {
            if check_closed && !D::is_quiet(&taken.connection) {
                taken.dead = true;
                continue;
            }
            match now {
                // Returned to r2d2, which passes it to a test in `take`.
                Some(now) if now.duration_since(taken.last_used) > TEST_AFTER => {}
                Some(now) => {
                    taken.last_used = now;
                    return Some(taken);
                }
                None => return Some(taken),
            }
        }
        idle.waiting += 1;
        None
    }

    fn wait(&self, timeout: Duration, check_closed: bool) -> Result<(Taken<D>, Duration)> {
        let start = Instant::now();
        let taken = self.take(start, timeout, check_closed);
        self.idle.lock().waiting -= 1;
        taken.map(|taken| (taken, start.elapsed()))
    }

    /// Takes a connection from r2d2, tested if necessary.
    fn take(&self, start: Instant, timeout: Duration, check_closed: bool) -> Result<Taken<D>> {
        loop {
            let left = timeout.saturating_sub(start.elapsed());
            let mut taken = self.pool.get_timeout(left).map_err(|error| {
                let message = format!(
                    "no connection was free or could be opened before the deadline passed: {error}"
                );
                let error = Error::new(ErrorKind::Timeout, message);
                match self.pool.state().connections >= self.pool.max_size() {
                    true => error.while_waiting(),
                    false => error,
                }
            })?;
            let (lost, closed_at) = {
                let idle = self.idle.lock();
                (idle.lost, idle.closed_at)
            };
            let outdated = closed_at.is_some_and(|closed_at| taken.last_used <= closed_at);
            if outdated || check_closed && !D::is_quiet(&taken.connection) {
                taken.dead = true;
                continue;
            }
            if taken.is_alive::<D>(lost, timeout.saturating_sub(start.elapsed())) {
                return Ok(taken);
            }
        }
    }

    /// Marks all idle connections for a test before their next use, because one was lost.
    pub(crate) fn invalidate_idle(&self) {
        let mut idle = self.idle.lock();
        idle.lost = Some(Instant::now());
        let connections = std::mem::take(&mut idle.connections);
        drop(idle);
        // Returns them to r2d2, outside the lock.
        drop(connections);
    }

    /// Closes all idle connections, so that later calls open new ones.
    pub(crate) fn close_idle(&self) {
        let mut idle = self.idle.lock();
        idle.closed_at = Some(Instant::now());
        idle.connections.drain(..).for_each(|mut taken| taken.dead = true);
    }

    /// Returns a connection to the stack, or to r2d2 if callers wait there.
    fn put_back(&self, mut taken: Taken<D>) {
        if taken.connection.is_broken() {
            return;
        }
        let mut idle = self.idle.lock();
        if D::ON_SERVER {
            idle.close_unused(taken.last_used);
        }
        if idle.waiting == 0 {
            idle.connections.push(taken);
        }
    }
}
