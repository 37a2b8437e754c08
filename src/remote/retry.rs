//! The repetition of failed calls.

use std::time::Instant;

use super::Deadline;
use crate::backoff::BackOff;
use crate::{Error, ErrorKind};

/// The effect of a failed attempt, as far as it is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Nothing was changed.
    NotDone,
    /// The connection was lost after a part of the request was sent.
    Unknown,
}

/// The attempts at one call.
///
/// A call that had no effect is repeated with back-off until the deadline. A call whose effect is
/// unknown is repeated once, and only if it is idempotent.
#[derive(Debug)]
pub(crate) struct Attempts {
    deadline: Deadline,
    idempotent: bool,
    /// Whether the outcome of an earlier attempt is unknown.
    unknown: bool,
    back_off: BackOff,
    began: Instant,
}

impl Attempts {
    pub(crate) fn new(deadline: Deadline, idempotent: bool) -> Self {
        let back_off = BackOff::until(deadline.instant());
        Self { deadline, idempotent, unknown: false, back_off, began: Instant::now() }
    }

    /// Starts the time of an attempt.
    pub(crate) fn begin(&mut self) {
        self.began = Instant::now();
    }

    /// Returns whether to repeat a call that the server rejected, and sleeps first. It is not
    /// repeated when less than twice the duration of the last attempt is left: the deadline would
    /// probably interrupt it, and replace a known outcome by an unknown one.
    pub(crate) fn after_refusal(&mut self) -> bool {
        let took = self.began.elapsed();
        self.back_off.pause() && self.deadline.left() >= took * 2
    }

    /// Returns whether to repeat a call after a failed attempt. Sleeps first if the attempt had no
    /// effect.
    pub(crate) fn again(&mut self, outcome: Outcome) -> bool {
        match outcome {
            Outcome::NotDone => self.back_off.pause(),
            Outcome::Unknown => {
                let first = !std::mem::replace(&mut self.unknown, true);
                first && self.idempotent && !self.deadline.has_passed()
            }
        }
    }

    /// Returns the error of a call that is not repeated. If the outcome of an earlier attempt is
    /// unknown, so is that of the call, whatever the last attempt reports.
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
    fn a_call_without_effect_is_repeated_until_the_deadline() {
        let deadline = Deadline::after(SECOND / 10);
        let mut attempts = Attempts::new(deadline, false);
        let attempts = (0..1_000).take_while(|_| attempts.again(Outcome::NotDone)).count();
        assert!((1..200).contains(&attempts), "{attempts}");
    }

    #[test]
    fn no_attempt_starts_with_too_little_time_left() {
        let mut attempts = Attempts::new(Deadline::after(SECOND / 2), false);
        attempts.begin();
        assert!(attempts.after_refusal());
        std::thread::sleep(SECOND / 4);
        assert!(!attempts.after_refusal() && attempts.again(Outcome::NotDone));
    }

    #[test]
    fn a_call_of_unknown_outcome_is_repeated_once_if_idempotent() {
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
