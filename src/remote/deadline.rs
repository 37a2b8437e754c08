//! Deadlines, and the time that one public call has left for all of its internal steps.

#![cfg_attr(
    not(any(unix, feature = "sql", feature = "redis", feature = "elasticsearch")),
    expect(dead_code, reason = "no other backend has deadlines")
)]

use std::cell::Cell;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// A hundred years: as good as no deadline, and never an overflow.
pub(crate) const LONGEST: Duration = Duration::from_secs(3_153_600_000);

/// The moment by which a call ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Deadline(Instant);

impl Deadline {
    /// A deadline this long from now.
    pub(crate) fn after(timeout: Duration) -> Self {
        Self(Instant::now() + timeout.min(LONGEST))
    }

    pub(crate) fn instant(self) -> Instant {
        self.0
    }

    /// The remaining time; zero once the deadline has passed.
    pub(crate) fn left(self) -> Duration {
        self.0.saturating_duration_since(Instant::now())
    }

    pub(crate) fn has_passed(self) -> bool {
        self.left().is_zero()
    }

    /// The remaining time, as an argument of system calls, of which none takes zero.
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

    /// The deadline of the running public call, of which a step begins now; each of its steps has
    /// what the steps before it have left of `timeout`.
    pub(crate) fn of_call(timeout: Duration) -> Self {
        STEP.with(|step| {
            let Some(running) = step.get() else { return Self::after(timeout) };
            let began = running.began.unwrap_or_else(Instant::now);
            step.set(Some(Step { began: Some(began), ..running }));
            Self(began + timeout.min(LONGEST).saturating_sub(running.spent))
        })
    }
}

/// Begins the time of the running step, if it has not begun: what the step waits for from now on
/// counts for its deadline.
pub(crate) fn begin_step() {
    STEP.with(|step| {
        if let Some(running @ Step { began: None, .. }) = step.get() {
            step.set(Some(Step { began: Some(Instant::now()), ..running }));
        }
    });
}

/// A step of a public call, as the store sees it that runs it.
#[derive(Clone, Copy)]
struct Step {
    /// What the steps before it took.
    spent: Duration,
    /// When a store with a deadline was first asked in this step: others need no clock.
    began: Option<Instant>,
}

thread_local! {
    static STEP: Cell<Option<Step>> = const { Cell::new(None) };
}

/// Adds up the time that a public call spends in stores, in however many steps and on whichever
/// threads, so that all of them together end by one deadline. A caller's own computation runs
/// outside of [`step`](CallClock::step), and so does the wait for another caller's.
///
/// The steps of a call follow one another: none is run while another is.
#[derive(Debug, Default)]
pub(crate) struct CallClock {
    spent_nanos: AtomicU64,
}

impl CallClock {
    /// The time of a call that has spent some of it.
    #[cfg(any(feature = "server", feature = "redis", feature = "elasticsearch"))]
    pub(crate) fn with_spent(spent: Duration) -> Self {
        let nanos = u64::try_from(spent.as_nanos()).unwrap_or(u64::MAX);
        Self { spent_nanos: AtomicU64::new(nanos) }
    }

    /// Runs one step: [`Deadline::of_call`] inside of it has what is left of the call.
    pub(crate) fn step<T>(&self, step: impl FnOnce() -> T) -> T {
        let spent = Duration::from_nanos(self.spent_nanos.load(Ordering::Relaxed));
        let _running =
            Running { clock: self, outer: STEP.replace(Some(Step { spent, began: None })) };
        step()
    }
}

/// Ends a step, also where it panics.
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
        // What is not a step costs nothing.
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
