//! The outcomes of one write in several stores.

use super::OnFailure;
use crate::{Error, ErrorKind, Result};

/// The outcome of a write in each store.
pub(super) struct Outcomes {
    names: Vec<&'static str>,
    /// In the order of `names`; stores that were not called have no entry.
    results: Vec<Result<()>>,
    on_failure: OnFailure,
}

impl Outcomes {
    /// Starts with the names of the stores, the primary one first.
    pub(super) fn new(
        names: impl IntoIterator<Item = &'static str>,
        on_failure: OnFailure,
    ) -> Self {
        Self { names: names.into_iter().collect(), results: Vec::new(), on_failure }
    }

    /// Returns whether the next store is to be called.
    pub(super) fn go_on(&self) -> bool {
        self.on_failure == OnFailure::Continue || self.results.iter().all(Result::is_ok)
    }

    pub(super) fn note(&mut self, result: Result<()>) {
        self.results.push(result);
    }

    /// Returns `value` if all stores have the write.
    ///
    /// # Errors
    ///
    /// The message lists the stores with and without the write. The kind is
    /// [`ErrorKind::PartialWrite`] if a store has it, and else the kind of the first failure.
    pub(super) fn finish<T>(self, value: T) -> Result<T> {
        let first = self.results.iter().find_map(|result| result.as_ref().err());
        match first {
            None => Ok(value),
            Some(first) => Err(self.error(first)),
        }
    }

    fn error(&self, first: &Error) -> Error {
        let kind = match self.results.iter().any(Result::is_ok) {
            true => ErrorKind::PartialWrite,
            false => first.kind(),
        };
        let stores = (0..self.names.len()).map(|at| self.describe(at));
        let message = stores.collect::<Vec<_>>().join("; ");
        let error = Error::new(kind, message).with_retryable(first.is_retryable());
        let error = match first.column() {
            Some(column) => error.with_column(column),
            None => error,
        };
        error.with_source(first.clone())
    }

    fn describe(&self, at: usize) -> String {
        let name = self.names[at];
        let name = match at {
            0 => format!("the primary store ({name})"),
            at => format!("writer {at} ({name})"),
        };
        match self.results.get(at) {
            None => format!("{name} was skipped and does not have it"),
            Some(Ok(())) => format!("{name} has it"),
            Some(Err(error)) if error.kind() == ErrorKind::Unavailable => {
                format!("{name} may have it or not: {}", error.message())
            }
            Some(Err(error)) if error.kind() == ErrorKind::PartialWrite => {
                format!("{name} has it in part: {}", error.message())
            }
            Some(Err(error)) => format!("{name} does not have it: {}", error.message()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcomes(on_failure: OnFailure, results: [Result<()>; 3]) -> Outcomes {
        let mut outcomes = Outcomes::new(["memory", "sqlite", "redis"], on_failure);
        for result in results {
            if outcomes.go_on() {
                outcomes.note(result);
            }
        }
        outcomes
    }

    fn failed(kind: ErrorKind) -> Result<()> {
        Err(Error::new(kind, "it is full"))
    }

    #[test]
    fn stop_skips_stores_after_a_failure() {
        let error = outcomes(OnFailure::Stop, [Ok(()), failed(ErrorKind::Backend), Ok(())])
            .finish(())
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::PartialWrite);
        assert_eq!(
            error.message(),
            "the primary store (memory) has it; writer 1 (sqlite) does not have it: it is full; \
             writer 2 (redis) was skipped and does not have it"
        );
    }

    #[test]
    fn continue_calls_all_stores() {
        let results = [failed(ErrorKind::Unavailable), failed(ErrorKind::Backend), Ok(())];
        let error = outcomes(OnFailure::Continue, results).finish(()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::PartialWrite);
        assert!(error.is_retryable());
        assert_eq!(
            error.message(),
            "the primary store (memory) may have it or not: it is full; writer 1 (sqlite) does not \
             have it: it is full; writer 2 (redis) has it"
        );
    }

    #[test]
    fn a_write_that_no_store_has_is_the_first_failure() {
        let results = [failed(ErrorKind::Unsupported), Ok(()), Ok(())];
        let error = outcomes(OnFailure::Stop, results).finish(()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported);
    }
}
