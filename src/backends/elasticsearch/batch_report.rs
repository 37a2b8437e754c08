//! Outcomes of batches, and the errors that report a partial batch.

use std::collections::HashSet;

use super::bulk::{Outcome, Progress};
use super::call_error::{CallError, ServerError};
use crate::{Error, ErrorKind, Key, Result};

/// Fails if a write of a batch was not done; the batch is then discarded as a whole.
pub(super) fn all_done(progress: Progress, key: impl Fn(usize) -> Key) -> Result<(), CallError> {
    if let Some(error) = progress.failed {
        return Err(error.into());
    }
    let mut outcomes = progress.outcomes.into_iter().enumerate();
    match outcomes.find(|(_, outcome)| *outcome != Some(Outcome::Done)) {
        None => Ok(()),
        Some((at, Some(Outcome::Refused(server_error)))) => {
            Err(match server_error.into_call_error() {
                CallError::Final(error) | CallError::BadRequest(error) => {
                    error.with_key(key(at)).into()
                }
                failed => failed,
            })
        }
        Some((at, _)) => {
            let error = Error::new(ErrorKind::Backend, "the cluster did not write the record");
            Err(error.with_key(key(at)).into())
        }
    }
}

/// Returns the positions of removals whose document did not exist.
pub(super) fn missing(progress: &Progress) -> HashSet<usize> {
    let outcomes = progress.outcomes.iter().enumerate();
    outcomes.filter(|(_, outcome)| **outcome == Some(Outcome::Missing)).map(|(at, _)| at).collect()
}

/// Describes the progress of a batch in error messages.
#[derive(Clone, Copy)]
pub(super) struct BatchReport {
    /// A verb for the finished records.
    did: &'static str,
    /// What to do about the other records.
    advice: &'static str,
    of: usize,
}

impl BatchReport {
    pub(super) fn of_writes(of: usize) -> Self {
        Self { did: "written", advice: "repeat the batch", of }
    }

    pub(super) fn of_removals(of: usize) -> Self {
        Self { did: "removed", advice: "the others may still exist", of }
    }

    /// Returns the positions of writes that were in conflict with others. A failed or unknown write
    /// is an error that states how many were done.
    pub(super) fn conflicts(
        self,
        progress: Progress,
        done: usize,
        key: impl Fn(usize) -> Key,
    ) -> Result<Vec<usize>, CallError> {
        let Progress { outcomes, failed } = progress;
        let is_done =
            |outcome: &&Option<Outcome>| matches!(outcome, Some(Outcome::Done | Outcome::Missing));
        let done = done + outcomes.iter().filter(is_done).count();
        if let Some(error) = failed {
            // The outcomes of this and all later writes are unknown.
            let first = outcomes.iter().position(Option::is_none).unwrap_or_default();
            return Err(self.partial_error(error, done).with_key(key(first)).into());
        }
        let mut refused = outcomes.iter().enumerate().filter_map(|(at, outcome)| match outcome {
            Some(Outcome::Refused(server_error)) => Some((at, server_error)),
            _ => None,
        });
        if let Some((at, server_error)) = refused.next() {
            let more = refused.count();
            return Err(self.refusal(server_error.clone(), done, more, &key(at)));
        }
        let at = |(at, outcome)| (outcome == Some(Outcome::Conflict)).then_some(at);
        Ok(outcomes.into_iter().enumerate().filter_map(at).collect())
    }

    fn refusal(self, server_error: ServerError, done: usize, more: usize, key: &Key) -> CallError {
        match server_error.into_call_error() {
            failed @ (CallError::Final(_) | CallError::BadRequest(_)) => {
                let is_malformed = matches!(failed, CallError::BadRequest(_));
                let error = failed.into_error();
                let also = match more {
                    0 => String::new(),
                    more => format!(" (and of {more} more)"),
                };
                let message = format!("the record of this key{also}: {}", error.message());
                let error = Error::new(error.kind(), message).with_retryable(error.is_retryable());
                let error = self.partial_error(error, done).with_key(key);
                if is_malformed { CallError::BadRequest(error) } else { CallError::Final(error) }
            }
            // The index is created or migrated, and the batch is repeated.
            failed => failed,
        }
    }

    /// The error of a batch that was done in part, which cannot be rolled back.
    pub(super) fn partial_error(self, error: Error, done: usize) -> Error {
        if done == 0 {
            return error;
        }
        let Self { did, advice, of } = self;
        let message = format!(
            "{done} of {of} records of the batch were {did} before it failed: {}; {advice}",
            error.message()
        );
        let kind = match error.kind() {
            ErrorKind::Timeout => ErrorKind::Unavailable,
            kind => kind,
        };
        Error::new(kind, message).with_retryable(error.is_retryable())
    }
}
