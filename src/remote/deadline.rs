//! Deadlines, and the time budget that the internal steps of one public call share.

#![cfg_attr(
    not(any(unix, feature = "sql", feature = "redis", feature = "elasticsearch")),
    expect(dead_code, reason = "no other backend has deadlines")
)]

use std::cell::Cell;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// The upper limit of a timeout: a hundred years, which cannot overflow an [`Instant`].
pub(crate) const MAX_TIMEOUT: Duration = Duration::from_secs(3_153_600_000);

/// The instant by which a call has to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Deadline(Instant);

impl Deadline {
    /// Returns the deadline that is `timeout` from now.
    pub(crate) fn after(timeout: Duration) -> Self {
        Self(Instant::now() + timeout.min(MAX_TIMEOUT))
    }

    pub(crate) fn instant(self) -> Instant {
        self.0
    }

    /// Returns the remaining time, which is zero once the deadline has passed.
    pub(crate) fn left(self) -> Duration {
        self.0.saturating_duration_since(Instant::now())
    }

    pub(crate) fn has_passed(self) -> bool {
        self.left().is_zero()
    }

    /// Returns the remaining time as a timeout for system calls, which reject zero.
    ///
    /// # Errors
    ///
    /// [`std::io::ErrorKind::TimedOut`] once the deadline has passed.
    #[cfg(any(feature = "server", feature = "redis"))]
    pub(crate) fn remaining(self) -> std::io::Result<Duration> {
        match self.left() {
            Duration::ZERO => Err(std::io::ErrorKind::TimedOut.into()),
            left => Ok(left),
        }
    }

    /// Returns the deadline of the current step of a public call: `timeout` less the time that the
    /// call's earlier steps spent. Outside of a step, it is `timeout` from now. The first use in a
    /// step starts the step's time.
    pub(crate) fn of_call(timeout: Duration) -> Self {
        STEP.with(|step| {
            let Some(running) = step.get() else { return Self::after(timeout) };
            let began = running.began.unwrap_or_else(Instant::now);
            step.set(Some(Step { began: Some(began), ..running }));
            Self(began + timeout.min(MAX_TIMEOUT).saturating_sub(running.spent))
        })
    }
}

/// Starts the time of the current step unless it has started, so that a wait that follows counts
/// towards the deadline.
pub(crate) fn begin_step() {
    STEP.with(|step| {
        if let Some(running @ Step { began: None, .. }) = step.get() {
            step.set(Some(Step { began: Some(Instant::now()), ..running }));
        }
    });
}

/// The current step of a public call.
#[derive(Clone, Copy)]
struct Step {
    /// The time that earlier steps spent.
    spent: Duration,
    /// When the deadline was first used in this step. Stores without a deadline never read the
    /// clock.
    began: Option<Instant>,
}

thread_local! {
    static STEP: Cell<Option<Step>> = const { Cell::new(None) };
}

/// The time that one public call has spent in stores, over all its steps and threads.
///
/// All steps together end by one deadline. The caller's own computation, and the wait for one of
/// another caller, run outside of [`step`](CallClock::step) and do not count.
///
/// Invariant: the steps of a call run one after the other, so that no update of `spent_nanos` is
/// lost although load and store are separate.
#[derive(Debug, Default)]
pub(crate) struct CallClock {
    spent_nanos: AtomicU64,
}

impl CallClock {
    /// Returns the clock of a call that has already spent some time.
    #[cfg(any(
        feature = "server",
        feature = "redis",
        feature = "elasticsearch",
        feature = "async"
    ))]
    pub(crate) fn with_spent(spent: Duration) -> Self {
        let nanos = u64::try_from(spent.as_nanos()).unwrap_or(u64::MAX);
        Self { spent_nanos: AtomicU64::new(nanos) }
    }

    /// Runs one step, inside of which [`Deadline::of_call`] accounts for the earlier steps.
    pub(crate) fn step<T>(&self, step: impl FnOnce() -> T) -> T {
        let spent = Duration::from_nanos(self.spent_nanos.load(Ordering::Relaxed));
        let _running =
            Running { clock: self, outer: STEP.replace(Some(Step { spent, began: None })) };
        step()
    }
}

/// Ends a step on drop, also when it panics.
struct Running<'a> {
    clock: &'a CallClock,
    outer: Option<Step>,
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        let step = STEP.replace(self.outer);
        if let Some(Step { spent, began: Some(began) }) = step {
            let spent = spent + began.elapsed();
            let nanos = u64::try_from(spent.as_nanos()).unwrap_or(u64::MAX);
            self.clock.spent_nanos.store(nanos, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn the_steps_of_a_call_share_one_deadline() {
        let clock = CallClock::default();
        let slow = || {
            let deadline = Deadline::of_call(SECOND);
            std::thread::sleep(SECOND / 20);
            deadline.left()
        };
        assert!(clock.step(slow) <= SECOND * 19 / 20);
        // Time outside of steps does not count.
        std::thread::sleep(SECOND / 5);
        let left = clock.step(slow);
        assert!(left <= SECOND * 18 / 20 && left > SECOND / 2, "{left:?}");
        assert!(clock.step(|| clock.step(slow) <= SECOND * 17 / 20));
        assert!(Deadline::of_call(SECOND).left() > SECOND * 9 / 10);
    }

    #[test]
    fn no_timeout_overflows() {
        assert!(Deadline::after(Duration::MAX).left() > SECOND);
        let deadline = CallClock::default().step(|| Deadline::of_call(Duration::MAX));
        assert!(!deadline.has_passed() && Deadline::after(Duration::ZERO).has_passed());
    }
}
