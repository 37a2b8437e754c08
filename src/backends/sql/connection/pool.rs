//! Pooled connections that know whether they may be dead.

use std::fmt;
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use diesel::r2d2::R2D2Connection;
use parking_lot::Mutex;
use scheduled_thread_pool::ScheduledThreadPool;

use crate::backends::sql::dialect::Dialect;
use crate::{Error, ErrorKind, Result};

/// A connection idle for longer than this is tested before it is used.
const IDLE: Duration = Duration::from_secs(30);

/// A connection to a server that was not used for so long is closed.
const UNUSED: Duration = Duration::from_secs(600);

/// The threads that open connections, for all pools of the process.
static OPENERS: LazyLock<Arc<ScheduledThreadPool>> = LazyLock::new(|| {
    Arc::new(
        ScheduledThreadPool::builder().num_threads(4).thread_name_pattern("hilcat-pool-{}").build(),
    )
});

/// A connection, as r2d2 keeps it.
pub(crate) struct Tracked<C> {
    connection: C,
    /// Whether an error made it doubtful that the connection is alive.
    suspect: bool,
    /// Whether a test said that it is not.
    dead: bool,
    used: Instant,
}

impl<C: R2D2Connection> Tracked<C> {
    /// Tests the connection where it may be dead, in the time that is left.
    fn is_alive<D: Dialect<Connection = C>>(
        &mut self,
        lost: Option<Instant>,
        left: Duration,
    ) -> bool {
        let now = Instant::now();
        let doubtful = self.suspect || lost.is_some_and(|lost| self.used <= lost);
        if doubtful || now.duration_since(self.used) > IDLE {
            let ready = match D::ON_SERVER {
                true => D::set_deadline(&mut self.connection, left),
                false => Ok(()),
            };
            self.dead = ready.and_then(|()| self.connection.ping()).is_err();
            self.suspect = self.dead;
        }
        self.used = now;
        !self.dead
    }
}

type Connect<D> = Box<dyn Fn() -> Result<<D as Dialect>::Connection> + Send + Sync>;

/// Opens connections and tests those that may be dead: a test costs a round trip, so the others
/// are not tested.
pub(crate) struct Manager<D: Dialect> {
    connect: Connect<D>,
    /// The connection that was opened to see whether any can be.
    first: Mutex<Option<D::Connection>>,
    /// Whether the database is gone with its connection.
    only: bool,
}

type Taken<D> = r2d2::PooledConnection<Manager<D>>;

/// A pool: r2d2, and in front of it a stack of the connections that it gave out and that nobody
/// uses. r2d2 alone costs about a tenth of a microsecond more a call, most of it for reading the
/// clock four times.
pub(crate) struct Pool<D: Dialect> {
    pool: r2d2::Pool<Manager<D>>,
    idle: Arc<Mutex<Idle<D>>>,
}

/// The connections that nobody uses.
struct Idle<D: Dialect> {
    connections: Vec<Taken<D>>,
    /// When a connection was lost: those that were used before may be, too.
    lost: Option<Instant>,
    /// When all connections were closed that were idle: r2d2 may still have some.
    outdated: Option<Instant>,
    /// How many callers wait for r2d2 to give one out: they go before those that come later.
    waiting: usize,
}

impl<D: Dialect> Idle<D> {
    /// Closes the connection that was used longest ago where that is too long.
    fn close_unused(&mut self, now: Instant) {
        let unused = |taken: &Taken<D>| now.saturating_duration_since(taken.used) > UNUSED;
        if self.connections.first().is_some_and(unused) {
            self.connections.remove(0).dead = true;
        }
    }
}

/// Closes the connections in the thread that drops the last handle of the pool. A thread of r2d2's
/// may hold the pool for a moment longer, and a process that ends meanwhile would leave them
/// unclosed: in SQLite the last connection removes the files beside the database when it is closed.
impl<D: Dialect> Drop for Pool<D> {
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
        // r2d2 closes what comes back dead.
        closing.iter_mut().for_each(|taken| taken.dead = true);
    }
}

impl<D: Dialect> Clone for Pool<D> {
    fn clone(&self) -> Self {
        Self { pool: self.pool.clone(), idle: self.idle.clone() }
    }
}

impl<D: Dialect> fmt::Debug for Manager<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Manager").finish_non_exhaustive()
    }
}

/// A pool of at most `size` connections. Opens the first one at once, so that what is wrong is
/// said now and as it is.
pub(crate) fn open<D: Dialect>(
    size: u32,
    connect: impl Fn() -> Result<D::Connection> + Send + Sync + 'static,
) -> Result<Pool<D>> {
    let first = Mutex::new(Some(connect()?));
    let manager = Manager { connect: Box::new(connect), first, only: false };
    Ok(Pool::new(builder().max_size(size).build_unchecked(manager)))
}

/// A pool of the one connection to a database that lives in it.
pub(crate) fn open_only<D: Dialect>(
    connect: impl Fn() -> Result<D::Connection> + Send + Sync + 'static,
) -> Result<Pool<D>> {
    let first = Mutex::new(Some(connect()?));
    let manager = Manager { connect: Box::new(connect), first, only: true };
    Ok(Pool::new(builder().max_size(1).build_unchecked(manager)))
}

fn builder<D: Dialect>() -> r2d2::Builder<Manager<D>> {
    r2d2::Pool::builder()
        .min_idle(Some(0))
        .test_on_check_out(false)
        // For either of these r2d2 schedules a job that outlives the pool.
        .idle_timeout(None)
        .max_lifetime(None)
        // Half of this is what is waited at the most between two attempts to connect.
        .connection_timeout(Duration::from_secs(2))
        .thread_pool(OPENERS.clone())
        .error_handler(Box::new(r2d2::NopErrorHandler))
}

impl<D: Dialect> r2d2::ManageConnection for Manager<D> {
    type Connection = Tracked<D::Connection>;
    type Error = Error;

    fn connect(&self) -> Result<Self::Connection> {
        let connection = match self.first.lock().take() {
            Some(connection) => connection,
            None => (self.connect)()?,
        };
        Ok(Tracked { connection, suspect: false, dead: false, used: Instant::now() })
    }

    /// Not asked: who takes a connection tests it, and knows how long that may take.
    fn is_valid(&self, _: &mut Self::Connection) -> Result<()> {
        Ok(())
    }

    fn has_broken(&self, tracked: &mut Self::Connection) -> bool {
        // A connection that is used while a thread unwinds is closed, to be on the safe side, but
        // not with the database.
        std::thread::panicking() && !self.only || tracked.dead || tracked.connection.is_broken()
    }
}

impl<D: Dialect> Pool<D> {
    fn new(pool: r2d2::Pool<Manager<D>>) -> Self {
        Self {
            pool,
            idle: Arc::new(Mutex::new(Idle {
                connections: Vec::new(),
                lost: None,
                outdated: None,
                waiting: 0,
            })),
        }
    }

    /// How many connections there can be at once.
    pub(crate) fn size(&self) -> u32 {
        self.pool.max_size()
    }

    /// Runs a call on a connection, for which it waits for at most `timeout`; the call is told how
    /// long it waited. After a call that fails or panics the connection is tested before it is
    /// used again. A call that may not be repeated is `careful`: it is not given a connection that
    /// the server has closed meanwhile.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Timeout`] where no connection was free or could be opened in that time.
    pub(crate) fn run<T, E>(
        &self,
        timeout: Duration,
        careful: bool,
        call: impl FnOnce(&mut D::Connection, Duration) -> Result<T, E>,
    ) -> Result<Result<T, E>> {
        let (mut taken, waited) = match self.idle(careful) {
            Some(taken) => (taken, Duration::ZERO),
            None => self.wait(timeout, careful)?,
        };
        taken.suspect = true;
        let result = call(&mut taken.connection, waited);
        if result.is_ok() {
            taken.suspect = false;
            self.give_back(taken);
        }
        Ok(result)
    }

    /// A connection that nobody uses. Where there is none, the caller is noted as waiting.
    fn idle(&self, careful: bool) -> Option<Taken<D>> {
        let mut idle = self.idle.lock();
        let now = D::ON_SERVER.then(Instant::now);
        while let Some(mut taken) = idle.connections.pop() {
            if careful && !D::is_quiet(&taken.connection) {
                taken.dead = true;
                continue;
            }
            match now {
                // r2d2 gets it back, and tests it when it is wanted next.
                Some(now) if now.duration_since(taken.used) > IDLE => {}
                Some(now) => {
                    taken.used = now;
                    return Some(taken);
                }
                None => return Some(taken),
            }
        }
        idle.waiting += 1;
        None
    }

    fn wait(&self, timeout: Duration, careful: bool) -> Result<(Taken<D>, Duration)> {
        let start = Instant::now();
        let taken = self.take(start, timeout, careful);
        self.idle.lock().waiting -= 1;
        taken.map(|taken| (taken, start.elapsed()))
    }

    /// A connection from r2d2, tested where it may be dead.
    fn take(&self, start: Instant, timeout: Duration, careful: bool) -> Result<Taken<D>> {
        loop {
            let left = timeout.saturating_sub(start.elapsed());
            let mut taken = self.pool.get_timeout(left).map_err(|error| {
                let message = format!(
                    "no connection was free or could be opened until the deadline passed: {error}"
                );
                let error = Error::new(ErrorKind::Timeout, message);
                match self.pool.state().connections >= self.pool.max_size() {
                    true => error.while_waiting(),
                    false => error,
                }
            })?;
            let (lost, outdated) = {
                let idle = self.idle.lock();
                (idle.lost, idle.outdated)
            };
            let outdated = outdated.is_some_and(|outdated| taken.used <= outdated);
            if outdated || careful && !D::is_quiet(&taken.connection) {
                taken.dead = true;
                continue;
            }
            if taken.is_alive::<D>(lost, timeout.saturating_sub(start.elapsed())) {
                return Ok(taken);
            }
        }
    }

    /// Has every connection that nobody uses tested before it is used: one was lost.
    pub(crate) fn suspect_all(&self) {
        let mut idle = self.idle.lock();
        idle.lost = Some(Instant::now());
        let connections = std::mem::take(&mut idle.connections);
        drop(idle);
        // They go back to r2d2.
        drop(connections);
    }

    /// Closes the connections that nobody uses, so that the next calls open others.
    pub(crate) fn close_idle(&self) {
        let mut idle = self.idle.lock();
        idle.outdated = Some(Instant::now());
        idle.connections.drain(..).for_each(|mut taken| taken.dead = true);
    }

    /// Keeps a connection for the next caller; those who wait get it through r2d2.
    fn give_back(&self, mut taken: Taken<D>) {
        if taken.connection.is_broken() {
            return;
        }
        let mut idle = self.idle.lock();
        if D::ON_SERVER {
            idle.close_unused(taken.used);
        }
        if idle.waiting == 0 {
            idle.connections.push(taken);
        }
    }
}

#[cfg(all(test, feature = "sqlite"))]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed test panics")]

    use diesel::sqlite::Sqlite;
    use diesel::{Connection, SqliteConnection};

    use super::*;

    fn in_memory() -> Result<SqliteConnection> {
        SqliteConnection::establish(":memory:")
            .map_err(|error| Error::new(ErrorKind::Unavailable, error.to_string()))
    }

    #[test]
    fn no_pool_leaves_a_job_behind() {
        let only: Pool<Sqlite> = open_only(in_memory).unwrap();
        let many: Pool<Sqlite> = open(3, in_memory).unwrap();
        for (pool, size) in [(&only.pool, 1), (&many.pool, 3)] {
            assert_eq!((pool.idle_timeout(), pool.max_lifetime()), (None, None));
            assert_eq!(pool.max_size(), size);
        }
    }

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_connection_that_failed_goes_back_to_be_tested() {
        let pool: Pool<Sqlite> = open(1, in_memory).unwrap();
        let kept = |pool: &Pool<Sqlite>| pool.idle.lock().connections.len();
        assert_eq!(pool.run(SECOND, false, |_, _| Err::<(), _>("failed")).unwrap(), Err("failed"));
        assert_eq!(kept(&pool), 0);
        assert_eq!(pool.run(SECOND, false, |_, _| Ok::<_, ()>(7)).unwrap(), Ok(7));
        assert_eq!(kept(&pool), 1);
    }

    #[test]
    fn nobody_waits_for_ever_and_no_more_are_opened_than_allowed() {
        use std::sync::atomic::{AtomicUsize, Ordering};

        let pool: Pool<Sqlite> = open(3, in_memory).unwrap();
        let (in_use, most) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let work = || {
            let done = pool.run(SECOND * 20, false, |_, _| {
                most.fetch_max(in_use.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                std::thread::yield_now();
                in_use.fetch_sub(1, Ordering::SeqCst);
                Ok::<_, ()>(())
            });
            assert!(done.unwrap().is_ok());
        };
        std::thread::scope(|threads| {
            for _ in 0..16 {
                threads.spawn(|| (0..500).for_each(|_| work()));
            }
        });
        assert!((1..=3).contains(&most.load(Ordering::SeqCst)));
        assert_eq!(pool.idle.lock().waiting, 0);
    }

    #[test]
    fn a_caller_waits_until_its_deadline() {
        let pool: Pool<Sqlite> = open(1, in_memory).unwrap();
        let inner = pool.run(SECOND, false, |_, _| {
            Ok::<_, ()>(pool.run(SECOND / 50, false, |_, _| Ok::<_, ()>(())))
        });
        let error = inner.unwrap().unwrap().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Timeout);
    }
}
