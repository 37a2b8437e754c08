//! Pooled connections that know whether they may be dead.

use std::fmt;
use std::ops::{Deref, DerefMut};
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use diesel::r2d2::R2D2Connection;
use parking_lot::Mutex;
use scheduled_thread_pool::ScheduledThreadPool;

use super::dialect::Dialect;
use super::error::Failed;
use crate::{Error, ErrorKind, Result};

/// A connection idle for longer than this is tested before it is used.
const IDLE: Duration = Duration::from_secs(30);

/// The threads that open connections, for all pools of the process.
static OPENERS: LazyLock<Arc<ScheduledThreadPool>> = LazyLock::new(|| {
    Arc::new(
        ScheduledThreadPool::builder().num_threads(2).thread_name_pattern("hilcat-pool-{}").build(),
    )
});

/// A pooled connection.
pub(super) struct Tracked<C> {
    connection: C,
    /// Whether an error made it doubtful that the connection is alive.
    pub(super) suspect: bool,
    used: Instant,
}

impl<C> Deref for Tracked<C> {
    type Target = C;

    fn deref(&self) -> &C {
        &self.connection
    }
}

impl<C> DerefMut for Tracked<C> {
    fn deref_mut(&mut self) -> &mut C {
        &mut self.connection
    }
}

type Connect<D> = Box<dyn Fn() -> Result<<D as Dialect>::Connection> + Send + Sync>;

/// Opens connections and tests those that may be dead: a test costs a round trip, so the others
/// are not tested.
pub(super) struct Manager<D: Dialect> {
    connect: Connect<D>,
    /// The connection that was opened to see whether any can be.
    first: Mutex<Option<D::Connection>>,
    /// Whether the database is gone with its connection.
    only: bool,
}

pub(super) type Pool<D> = r2d2::Pool<Manager<D>>;
pub(super) type Pooled<D> = r2d2::PooledConnection<Manager<D>>;

impl<D: Dialect> fmt::Debug for Manager<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Manager").finish_non_exhaustive()
    }
}

/// A pool of at most `size` connections. Opens the first one at once, so that what is wrong is
/// said now and as it is.
pub(super) fn open<D: Dialect>(
    size: u32,
    connect: impl Fn() -> Result<D::Connection> + Send + Sync + 'static,
) -> Result<Pool<D>> {
    let first = Mutex::new(Some(connect()?));
    let manager = Manager { connect: Box::new(connect), first, only: false };
    Ok(builder().max_size(size).build_unchecked(manager))
}

/// A pool of the one connection to a database that lives in it: never closed for being idle or
/// old.
pub(super) fn open_only<D: Dialect>(
    connect: impl Fn() -> Result<D::Connection> + Send + Sync + 'static,
) -> Result<Pool<D>> {
    let first = Mutex::new(Some(connect()?));
    let manager = Manager { connect: Box::new(connect), first, only: true };
    Ok(builder().max_size(1).idle_timeout(None).max_lifetime(None).build_unchecked(manager))
}

fn builder<D: Dialect>() -> r2d2::Builder<Manager<D>> {
    r2d2::Pool::builder()
        .min_idle(Some(0))
        .test_on_check_out(true)
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
        Ok(Tracked { connection, suspect: false, used: Instant::now() })
    }

    fn is_valid(&self, tracked: &mut Self::Connection) -> Result<()> {
        let now = Instant::now();
        if tracked.suspect || now.duration_since(tracked.used) > IDLE {
            tracked.connection.ping().map_err(|error| Failed::from(error).into_error::<D>())?;
            tracked.suspect = false;
        }
        tracked.used = now;
        Ok(())
    }

    fn has_broken(&self, tracked: &mut Self::Connection) -> bool {
        // A connection that is used while a thread unwinds is closed, to be on the safe side, but
        // not with the database.
        std::thread::panicking() && !self.only || tracked.connection.is_broken()
    }
}

/// Takes a connection, waiting for at most `timeout`; gives how long it waited, too.
pub(super) fn take<D: Dialect>(pool: &Pool<D>, timeout: Duration) -> Result<(Pooled<D>, Duration)> {
    if let Some(connection) = pool.try_get() {
        return Ok((connection, Duration::ZERO));
    }
    let start = Instant::now();
    let connection = pool.get_timeout(timeout).map_err(|error| {
        let message =
            format!("no connection was free or could be opened until the deadline passed: {error}");
        Error::new(ErrorKind::Timeout, message)
    })?;
    Ok((connection, start.elapsed()))
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
    fn only_a_connection_that_is_the_database_is_kept_for_ever() {
        let only: Pool<Sqlite> = open_only(in_memory).unwrap();
        assert_eq!((only.idle_timeout(), only.max_lifetime(), only.max_size()), (None, None, 1));
        let many: Pool<Sqlite> = open(3, in_memory).unwrap();
        assert!(many.idle_timeout().is_some() && many.max_lifetime().is_some());
        assert_eq!(many.max_size(), 3);
    }
}
