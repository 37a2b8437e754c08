//! Helpers for testing programs that use a cache.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use parking_lot::Mutex;

use crate::Clock;

/// A clock that moves only by [`advance`](ManualClock::advance), so that tests need not sleep.
///
/// Clones share the time.
///
/// ```
/// use std::time::{Duration, SystemTime};
///
/// use hilcat::Cache;
/// use hilcat::testing::ManualClock;
///
/// let clock = ManualClock::new(SystemTime::now());
/// let cache = Cache::builder("memory:?ttl=1h").clock(clock.clone()).open()?;
/// let squares = cache.map::<i64, i64>("squares")?;
/// squares.set(7, &49)?;
/// clock.advance(Duration::from_secs(3_599));
/// assert_eq!(squares.fetch(7)?, Some(49));
/// clock.advance(Duration::from_secs(1));
/// assert_eq!(squares.fetch(7)?, None);
/// # Ok::<(), hilcat::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct ManualClock(Arc<Mutex<SystemTime>>);

impl ManualClock {
    /// Creates a clock set to `now`.
    pub fn new(now: SystemTime) -> Self {
        Self(Arc::new(Mutex::new(now)))
    }

    /// Moves the clock, and all clones of it, forward.
    ///
    /// # Panics
    ///
    /// If the new time is out of the range of [`SystemTime`].
    pub fn advance(&self, duration: Duration) {
        *self.0.lock() += duration;
    }
}

impl Clock for ManualClock {
    fn now(&self) -> SystemTime {
        *self.0.lock()
    }
}
