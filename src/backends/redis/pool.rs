//! The connections to one server.
//!
//! A connection is opened by the caller who needs it, within the deadline of the call, so that what
//! is wrong is said as it is; and it is used by one call at a time.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

use super::command::Commands;
use super::failed::{Elsewhere, Failed};
use super::link::Link;
use super::place::{Address, Login};
use super::servers::Call;
use crate::remote::Deadline;
use crate::{Error, ErrorKind};

/// A connection idle for longer than this is tested before it is used.
const IDLE: Duration = Duration::from_secs(30);

/// How long a caller waits, at first and at the most, before it asks a server anew for a connection
/// that the server had no room for.
const PAUSES: (Duration, Duration) = (Duration::from_millis(5), Duration::from_millis(100));

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
        call: Call,
        work: impl FnOnce(&mut Link) -> Result<T, Failed>,
    ) -> Result<T, Failed> {
        work(self.take(call)?.link())
    }

    /// A connection to use alone, for which the caller waits until the deadline.
    pub(super) fn take(&self, call: Call) -> Result<Taken<'_>, Failed> {
        let deadline = call.deadline;
        let (mut pause, mut full) = (PAUSES.0, false);
        loop {
            let mut taken = self.reserve(deadline)?;
            let Some(link) = &mut taken.link else {
                match self.open(&mut taken, deadline) {
                    Ok(()) => return Ok(taken),
                    Err(Failed::Elsewhere(Elsewhere::Full)) => full = true,
                    Err(failed) if !full || Instant::now() < deadline => return Err(failed),
                    Err(_) => return Err(Failed::Elsewhere(Elsewhere::Full)),
                }
                drop(taken);
                self.wait(pause, deadline)?;
                pause = (pause * 2).min(PAUSES.1);
                continue;
            };
            let idle = link.used.elapsed();
            link.begin(deadline);
            // A look at the socket costs no round trip. A call that can be repeated does without
            // where the connection was used a moment ago.
            let closed = (idle > RECENT || !call.twice) && !link.is_quiet();
            if !closed && (idle <= IDLE || link.ask_one(&Commands::one(&[b"PING"])).is_ok()) {
                return Ok(taken);
            }
            link.give_up();
            self.give_up();
        }
    }

    fn open(&self, taken: &mut Taken<'_>, deadline: Instant) -> Result<(), Failed> {
        let by = deadline.min(Deadline::after(self.limits.connect_timeout).instant());
        let mut link = Link::open(&self.address, &self.limits.login, by)?;
        link.begin(deadline);
        link.lineage = taken.lineage;
        taken.link = Some(link);
        Ok(())
    }

    /// Waits until a connection of this pool is free, but not for long: the server, which has
    /// reached its `maxclients`, may have room for another one before that.
    fn wait(&self, pause: Duration, deadline: Instant) -> Result<(), Failed> {
        let now = Instant::now();
        if now >= deadline {
            return Err(Failed::Elsewhere(Elsewhere::Full));
        }
        let mut state = self.state.lock();
        if state.idle.is_empty() {
            self.freed.wait_until(&mut state, deadline.min(now + pause));
        }
        Ok(())
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
                return Err(Failed::Own(Error::new(ErrorKind::Timeout, message).while_waiting()));
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
