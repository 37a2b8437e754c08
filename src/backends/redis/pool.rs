//! The connections to one server.
//!
//! A connection is opened by the caller who needs it, within the deadline of the call, so that what
//! is wrong is said as it is; and it is used by one call at a time.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

use super::command::Commands;
use super::failed::Failed;
use super::link::Link;
use super::place::{Address, Login};
use crate::{Error, ErrorKind};

/// A connection idle for longer than this is tested before it is used.
const IDLE: Duration = Duration::from_secs(30);

/// One idle for longer than this may have been closed by the server.
const RECENT: Duration = Duration::from_millis(100);

/// How connections are opened, and how many there may be to one server.
#[derive(Debug, Clone)]
pub(super) struct Limits {
    pub(super) login: Arc<Login>,
    pub(super) size: u32,
    pub(super) connect_timeout: Duration,
}

/// The connections to one server.
pub(super) struct Pool {
    pub(super) address: Address,
    limits: Limits,
    state: Mutex<State>,
    freed: Condvar,
}

impl std::fmt::Debug for Pool {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pool").field("address", &self.address).finish_non_exhaustive()
    }
}

struct State {
    idle: Vec<Link>,
    /// How many there are, those in use included.
    open: u32,
    /// What the connections have in common that were opened since all were given up.
    lineage: u64,
}

/// A lineage that no other connections have.
fn lineage() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

/// A connection in use. It goes back to the pool, unless it is broken.
pub(super) struct Taken<'a> {
    pool: &'a Pool,
    link: Option<Link>,
    lineage: u64,
}

impl Pool {
    pub(super) fn new(address: Address, limits: Limits) -> Self {
        let state = State { idle: Vec::new(), open: 0, lineage: lineage() };
        Self { address, limits, state: Mutex::new(state), freed: Condvar::new() }
    }

    /// Runs a call on a connection.
    pub(super) fn run<T>(
        &self,
        deadline: Instant,
        call: impl FnOnce(&mut Link) -> Result<T, Failed>,
    ) -> Result<T, Failed> {
        call(self.take(deadline)?.link())
    }

    /// A connection to use alone, for which the caller waits until the deadline.
    pub(super) fn take(&self, deadline: Instant) -> Result<Taken<'_>, Failed> {
        loop {
            let mut taken = self.reserve(deadline)?;
            let Some(link) = &mut taken.link else {
                let by = deadline.min(Instant::now() + self.limits.connect_timeout);
                let mut link = Link::open(&self.address, &self.limits.login, by)?;
                link.begin(deadline);
                link.lineage = taken.lineage;
                taken.link = Some(link);
                return Ok(taken);
            };
            let idle = link.used.elapsed();
            link.begin(deadline);
            // A look at the socket costs no round trip.
            let closed = idle > RECENT && !link.is_quiet();
            if !closed && (idle <= IDLE || link.ask_one(&Commands::one(&[b"PING"])).is_ok()) {
                return Ok(taken);
            }
            link.give_up();
            self.give_up();
        }
    }

    /// An idle connection, or leave to open one.
    fn reserve(&self, deadline: Instant) -> Result<Taken<'_>, Failed> {
        let mut state = self.state.lock();
        loop {
            let link = state.idle.pop();
            if link.is_some() || state.open < self.limits.size {
                state.open += u32::from(link.is_none());
                return Ok(Taken { pool: self, link, lineage: state.lineage });
            }
            if self.freed.wait_until(&mut state, deadline).timed_out() {
                let message = "no connection was free until the deadline passed";
                return Err(Failed::Own(Error::new(ErrorKind::Timeout, message)));
            }
        }
    }

    /// Gives up the connections that nobody uses, and those in use when they come back: one was
    /// lost, and they probably are, too.
    pub(super) fn give_up(&self) {
        let mut state = self.state.lock();
        state.lineage = lineage();
        let idle = std::mem::take(&mut state.idle);
        state.open -= idle.len() as u32;
        drop(state);
        self.freed.notify_all();
    }
}

impl Taken<'_> {
    pub(super) fn link(&mut self) -> &mut Link {
        // It is there from the moment that it is given out.
        #[expect(clippy::unwrap_used, reason = "`take` gives none out without a link")]
        self.link.as_mut().unwrap()
    }
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        let mut state = self.pool.state.lock();
        let good = |link: &Link| !link.is_broken() && !std::thread::panicking();
        match self.link.take().filter(good) {
            Some(mut link) if self.lineage == state.lineage => {
                link.used = Instant::now();
                state.idle.push(link);
            }
            _ => state.open -= 1,
        }
        drop(state);
        self.pool.freed.notify_one();
    }
}
