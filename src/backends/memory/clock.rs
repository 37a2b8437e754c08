//! The time, which tests can move.

#[cfg(test)]
use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};
#[cfg(test)]
use std::time::Duration;
use std::time::Instant;

/// What time it is. Every clone is the same clock.
#[derive(Debug, Clone, Default)]
pub(super) struct Clock {
    /// How many seconds a test has moved it.
    #[cfg(test)]
    ahead: Arc<AtomicU64>,
}

impl Clock {
    pub(super) fn now(&self) -> Instant {
        let now = Instant::now();
        #[cfg(test)]
        let now = now + Duration::from_secs(self.ahead.load(Ordering::Relaxed));
        now
    }

    #[cfg(test)]
    pub(super) fn advance(&self, seconds: u64) {
        self.ahead.fetch_add(seconds, Ordering::Relaxed);
    }
}
