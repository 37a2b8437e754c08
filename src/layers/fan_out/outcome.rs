//! Which of several stores have a write, and which have not.

use super::OnFailure;
use crate::{Error, ErrorKind, Result};

/// What a write came to in each store.
pub(super) struct Outcomes {
    names: Vec<&'static str>,
    /// In the order of the names, as far as they were asked.
    results: Vec<Result<()>>,
    on_failure: OnFailure,
}

impl Outcomes {
    /// Of stores of these names, the primary one first.
    pub(super) fn new(
        names: impl IntoIterator<Item = &'static str>,
        on_failure: OnFailure,
    ) -> Self {
        Self { names: names.into_iter().collect(), results: Vec::new(), on_failure }
    }

    /// Whether the next store is to be asked.
    pub(super) fn go_on(&self) -> bool {
        self.on_failure == OnFailure::Continue || self.results.iter().all(Result::is_ok)
    }

    pub(super) fn note(&mut self, result: Result<()>) {
        self.results.push(result);
    }

    /// The value of a write that all stores have.
    ///
    /// # Errors
    ///
    /// One that says which store has the write and which has not: of the kind of the first failure
    /// where no store has it, and else [`ErrorKind::PartialWrite`].
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
        let told = (0..self.names.len()).map(|at| self.tell(at));
        let message = told.collect::<Vec<_>>().join("; ");
        let error = Error::new(kind, message).with_retryable(first.is_retryable());
        let error = match first.column() {
            Some(column) => error.with_column(column),
            None => error,
        };
        error.with_source(first.clone())
    }

    fn tell(&self, at: usize) -> String {
        let name = self.names[at];
        let name = match at {
            0 => format!("the primary store ({name})"),
            at => format!("writer {at} ({name})"),
        };
        match self.results.get(at) {
            None => format!("{name} was not asked and does not have it"),
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
    fn the_first_failure_stops() {
        let error = outcomes(OnFailure::Stop, [Ok(()), failed(ErrorKind::Backend), Ok(())])
            .finish(())
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::PartialWrite);
        assert_eq!(
            error.message(),
            "the primary store (memory) has it; writer 1 (sqlite) does not have it: it is full; \
             writer 2 (redis) was not asked and does not have it"
        );
    }

    #[test]
    fn or_all_are_asked() {
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
    fn what_no_store_has_is_the_first_failure() {
        let results = [failed(ErrorKind::Unsupported), Ok(()), Ok(())];
        let error = outcomes(OnFailure::Stop, results).finish(()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported);
    }
}
