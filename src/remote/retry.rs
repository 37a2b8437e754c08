//! When a call that failed is made again.

use std::time::Instant;

use super::Deadline;
use crate::backoff::BackOff;
use crate::{Error, ErrorKind};

/// What is known of the effect of an attempt that failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Nothing was changed.
    NotDone,
    /// The connection was lost after bytes of the request were sent.
    Unknown,
}

/// The attempts at one call.
///
/// What was not done is tried again until the deadline, with growing pauses. What may have been
/// done is tried once more, and only where doing it twice is the same as doing it once.
#[derive(Debug)]
pub(crate) struct Attempts {
    deadline: Deadline,
    idempotent: bool,
    /// The outcome of an attempt was unknown.
    unknown: bool,
    back_off: BackOff,
    began: Instant,
}

impl Attempts {
    pub(crate) fn new(deadline: Deadline, idempotent: bool) -> Self {
        let back_off = BackOff::until(deadline.instant());
        Self { deadline, idempotent, unknown: false, back_off, began: Instant::now() }
    }

    /// Starts an attempt.
    pub(crate) fn begin(&mut self) {
        self.began = Instant::now();
    }

    /// Whether a call that was refused is made again, after a pause. No attempt starts in less than
    /// twice the time that the last one took: the deadline would probably interrupt it, and its
    /// outcome would be unknown where that of the last one is known.
    pub(crate) fn after_refusal(&mut self) -> bool {
        let took = self.began.elapsed();
        self.back_off.pause() && self.deadline.left() >= took * 2
    }

    /// Whether a call whose attempt failed is made again; waits before that where it is of use.
    pub(crate) fn again(&mut self, outcome: Outcome) -> bool {
        match outcome {
            Outcome::NotDone => self.back_off.pause(),
            Outcome::Unknown => {
                let first = !std::mem::replace(&mut self.unknown, true);
                first && self.idempotent && !self.deadline.has_passed()
            }
        }
    }

    /// The error of a call that is given up. Where an earlier attempt may have been done, it says
    /// nothing that the last one was not.
    pub(crate) fn conclude(&self, last: Outcome, error: Error) -> Error {
        if !self.unknown || last == Outcome::Unknown {
            return error;
        }
        let message = format!(
            "the connection was lost; whether the call was done is not known; a second attempt failed: {}",
            error.message()
        );
        Error::new(ErrorKind::Unavailable, message)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn what_was_not_done_is_tried_until_the_deadline() {
        let deadline = Deadline::after(SECOND / 10);
        let mut attempts = Attempts::new(deadline, false);
        let tried = (0..1_000).take_while(|_| attempts.again(Outcome::NotDone)).count();
        assert!((1..200).contains(&tried), "{tried}");
    }

    #[test]
    fn no_attempt_starts_that_has_too_little_time() {
        let mut attempts = Attempts::new(Deadline::after(SECOND / 2), false);
        attempts.begin();
        assert!(attempts.after_refusal());
        std::thread::sleep(SECOND / 4);
        assert!(!attempts.after_refusal() && attempts.again(Outcome::NotDone));
    }

    #[test]
    fn what_may_have_been_done_is_repeated_once_where_that_is_the_same() {
        let deadline = Deadline::after(SECOND * 10);
        let mut once = Attempts::new(deadline, true);
        assert!(once.again(Outcome::Unknown) && !once.again(Outcome::Unknown));
        let refused = Error::new(ErrorKind::Timeout, "nothing was changed");
        let kind =
            |attempts: &Attempts| attempts.conclude(Outcome::NotDone, refused.clone()).kind();
        assert_eq!(kind(&once), ErrorKind::Unavailable);
        assert_eq!(kind(&Attempts::new(deadline, true)), ErrorKind::Timeout);
        assert!(!Attempts::new(deadline, false).again(Outcome::Unknown));
        assert!(!Attempts::new(Deadline::after(Duration::ZERO), true).again(Outcome::Unknown));
    }
}
