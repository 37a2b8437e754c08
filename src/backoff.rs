//! Pauses between the attempts of one call.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::thread;
use std::time::{Duration, Instant};

/// The longest pause before the second attempt.
const FIRST: Duration = Duration::from_millis(1);

/// The longest pause of all.
const LONGEST: Duration = Duration::from_millis(32);

/// Pauses that grow until a deadline. Each is random, so that callers in conflict with one another
/// do not retry at the same moment.
#[derive(Debug)]
pub(crate) struct BackOff {
    deadline: Instant,
    /// The upper bound of the next pause, and of all pauses.
    next: Duration,
    longest: Duration,
}

impl BackOff {
    /// Short pauses, for conflicts that resolve quickly.
    pub(crate) fn until(deadline: Instant) -> Self {
        Self::with_range(FIRST, LONGEST, deadline)
    }

    /// Pauses whose upper bound grows from `first` to `longest`.
    pub(crate) fn with_range(first: Duration, longest: Duration, deadline: Instant) -> Self {
        Self { deadline, next: first, longest }
    }

    /// The time until the deadline.
    pub(crate) fn left(&self) -> Duration {
        self.deadline.saturating_duration_since(Instant::now())
    }

    /// Sleeps before another attempt. Returns whether time is left for one.
    pub(crate) fn pause(&mut self) -> bool {
        let pause = self.next_pause();
        thread::sleep(pause.min(self.left()));
        !self.left().is_zero()
    }

    /// Returns the next pause, which may end after the deadline.
    pub(crate) fn next_pause(&mut self) -> Duration {
        let pause = random_part(self.next);
        self.next = (self.next * 2).min(self.longest);
        pause
    }
}

/// Between a quarter and the whole of a duration.
fn random_part(duration: Duration) -> Duration {
    let random = RandomState::new().build_hasher().finish() % 1024;
    duration.mul_f64(0.25 + 0.75 * random as f64 / 1024.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_and_end_with_the_deadline() {
        let start = Instant::now();
        let mut back_off = BackOff::until(start + Duration::from_millis(100));
        let mut attempts = 0;
        while back_off.pause() {
            attempts += 1;
        }
        assert!(start.elapsed() >= Duration::from_millis(100));
        assert_eq!(back_off.next, LONGEST);
        assert!((2..=150).contains(&attempts), "{attempts}");
        assert!(!back_off.pause());
    }

    #[test]
    fn pauses_differ() {
        let parts: Vec<Duration> = (0..100).map(|_| random_part(LONGEST)).collect();
        assert!(parts.iter().all(|part| (LONGEST / 4..=LONGEST).contains(part)));
        assert!(parts.iter().any(|part| *part != parts[0]));
    }
}
