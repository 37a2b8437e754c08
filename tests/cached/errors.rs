//! Errors of functions and of the cache.

use std::fmt;
use std::sync::Mutex;

use hilcat::{Error, ErrorKind};

use super::*;

/// An error of an application.
#[derive(Debug)]
enum AppError {
    Empty,
    Cache(ErrorKind),
}

impl From<Error> for AppError {
    fn from(error: Error) -> Self {
        Self::Cache(error.kind())
    }
}

/// An error type that implements neither `Error` nor `From<hilcat::Error>`.
#[derive(Debug, PartialEq)]
struct Bare(String);

#[test]
fn only_ok_results_are_stored() {
    static RUNS: Runs = Runs::new();
    #[cached(cache = CACHE)]
    fn checked(text: &str) -> Result<usize_like::Size, AppError> {
        RUNS.add();
        if text.is_empty() {
            return Err(AppError::Empty);
        }
        let parsed: Result<i64, AppError> = text.parse::<i64>().map_err(|_| AppError::Empty);
        let parsed = parsed?;
        Ok(parsed.abs())
    }
    assert!(matches!(checked(""), Err(AppError::Empty)));
    assert!(matches!(checked(""), Err(AppError::Empty)));
    assert!(checked("x").is_err());
    assert_eq!(RUNS.get(), 3);
    assert_eq!((checked("5").unwrap(), checked("5").unwrap(), RUNS.get()), (5, 5, 4));
    assert!(checked_forget("5").unwrap());
    assert_eq!(checked_refresh("5").unwrap(), 5);
}

mod usize_like {
    /// A name outside the prelude.
    pub(super) type Size = i64;
}

/// A cache whose store cannot be reached.
fn down() -> Cache {
    struct Down;
    impl fmt::Debug for Down {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("Down")
        }
    }
    impl hilcat::store::Store for Down {
        fn name(&self) -> &'static str {
            "down"
        }
        fn capabilities(&self) -> hilcat::store::Capabilities {
            hilcat::store::Capabilities::new()
        }
        fn open(
            &self,
            _: &Arc<hilcat::Schema>,
        ) -> hilcat::Result<Arc<dyn hilcat::store::ScopeStore>> {
            Err(Error::new(ErrorKind::Unavailable, "it is down"))
        }
        fn scopes(&self) -> hilcat::Result<Vec<String>> {
            Ok(Vec::new())
        }
    }
    Cache::from_store(Down)
}

#[test]
fn an_unreachable_cache_is_handled_as_declared() {
    static REPORTED: Mutex<Vec<ErrorKind>> = Mutex::new(Vec::new());
    fn report(error: &Error) {
        REPORTED.lock().unwrap().push(error.kind());
    }
    #[cached(cache = down())]
    fn plain(x: i64) -> i64 {
        x
    }
    #[cached(cache = down(), on_error = report)]
    fn reporting(x: i64) -> i64 {
        x
    }
    #[cached(cache = down(), on_error = "panic")]
    fn panics(x: i64) -> i64 {
        x
    }
    #[cached(cache = down())]
    fn from(x: i64) -> Result<i64, AppError> {
        Ok(x)
    }
    #[cached(cache = down(), map_error = |error: Error| Bare(error.kind().to_string()))]
    fn mapped(x: i64) -> Result<i64, Bare> {
        Ok(x)
    }
    #[cached(cache = down(), on_error = "compute")]
    fn computes(x: i64) -> Result<i64, Bare> {
        if x < 0 { Err(Bare("negative".into())) } else { Ok(x) }
    }
    assert_eq!((plain(1), plain_refresh(2), reporting(3)), (1, 2, 3));
    assert_eq!(*REPORTED.lock().unwrap(), [ErrorKind::Unavailable]);
    assert!(std::panic::catch_unwind(|| panics(1)).is_err());
    assert!(matches!(from(1), Err(AppError::Cache(ErrorKind::Unavailable))));
    assert!(matches!(from_refresh(1), Err(AppError::Cache(ErrorKind::Unavailable))));
    assert_eq!(mapped(1), Err(Bare("unavailable".into())));
    assert_eq!((computes(1), computes(-1)), (Ok(1), Err(Bare("negative".into()))));
    assert_eq!(plain_forget(1).unwrap_err().kind(), ErrorKind::Unavailable);
}

/// The value is returned, although it cannot be written.
#[test]
fn a_value_that_cannot_be_written_is_not_computed_again() {
    static RUNS: Runs = Runs::new();
    #[cached(cache = CACHE)]
    fn nan(x: i64) -> f64 {
        RUNS.add();
        if x == 0 { f64::NAN } else { 1.0 / x as f64 }
    }
    #[cached(cache = CACHE)]
    fn nan_or_error(x: i64) -> Result<f64, AppError> {
        RUNS.add();
        Ok(if x == 0 { f64::NAN } else { 1.0 })
    }
    assert!(nan(0).is_nan());
    assert_eq!(RUNS.get(), 1);
    assert!(matches!(nan_or_error(0), Err(AppError::Cache(ErrorKind::Unsupported))));
    assert_eq!(RUNS.get(), 2);
}

static REPORTED: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// One function before and after a change of its signature, as in two programs.
mod signatures {
    use super::*;

    #[cached(cache = CACHE, scope = "signature")]
    pub fn before(x: i64) -> i64 {
        x
    }

    #[cached(cache = CACHE, scope = "signature")]
    pub fn after(x: i64) -> String {
        x.to_string()
    }

    #[cached(cache = CACHE, scope = "signature", on_error = |error: &Error| REPORTED.lock().unwrap().push(error.to_string()))]
    pub fn reporting(x: i64) -> String {
        x.to_string()
    }

    #[cached(cache = CACHE, scope = "signature", migrate = "recreate")]
    pub fn recreating(x: i64) -> String {
        format!("new {x}")
    }
}

#[test]
fn a_changed_signature_is_an_error_or_recreates_the_scope() {
    assert_eq!(signatures::before(1), 1);
    assert_eq!([signatures::after(1), signatures::after(1)], ["1", "1"], "it is computed");
    let error = signatures::after_forget(1).unwrap_err();
    assert_eq!((error.kind(), error.scope()), (ErrorKind::SchemaChange, Some("signature")));
    assert!(error.to_string().contains("change column `value` from bigint to text"), "{error}");
    assert!(error.to_string().contains("recreate"), "{error}");
    assert_eq!(signatures::reporting(1), "1");
    assert!(REPORTED.lock().unwrap()[0].contains("change column `value`"));
    assert_eq!(signatures::recreating(1), "new 1");
    assert!(signatures::recreating_forget(1).unwrap(), "it was stored");
}
