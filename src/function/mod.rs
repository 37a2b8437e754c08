//! The runtime of `#[cached]`, whose expansion is data and one call of this module. Not public API.

#![expect(missing_docs, reason = "used only by the expansion of `#[cached]`")]

#[cfg(feature = "async")]
mod futures;
mod key;
mod kind;

use std::convert::Infallible;
use std::sync::Arc;
#[cfg(feature = "tracing")]
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

#[cfg(feature = "async")]
pub use self::futures::{
    call_async, forget_async, refresh_async, try_call_async, try_refresh_async,
};
pub use self::key::{KeyPart, Part};
pub use self::kind::{Json, Kind, OfColumn, OfNothing, OfRecord, Return};
use crate::cache::FunctionId;
use crate::freshness::{Freshness, OnUnavailable, SingleFlight, Ttl};
use crate::scope::Core;
use crate::{Cache, Error, ErrorKind, Key, Migrate, Result, Row};

/// The data of a cached function; one for each call site in the expansion.
#[derive(Debug)]
pub struct Function {
    scope: Option<&'static str>,
    table: Option<&'static str>,
    /// The name of the value column.
    column: Option<&'static str>,
    freshness: Freshness,
    migrate: Option<Migrate>,
    /// Whether the event of `warn_refused` was emitted.
    #[cfg(feature = "tracing")]
    warned: AtomicBool,
    /// The name of the function.
    name: &'static str,
    /// The names of the key columns, if the arguments are the key.
    keys: &'static [&'static str],
    number: FunctionId,
}

impl Function {
    pub const fn new(name: &'static str, keys: &'static [&'static str]) -> Self {
        let (scope, table, column, migrate) = (None, None, None, None);
        let number = FunctionId::new();
        Self {
            scope,
            table,
            column,
            freshness: Freshness::NONE,
            migrate,
            #[cfg(feature = "tracing")]
            warned: AtomicBool::new(false),
            name,
            keys,
            number,
        }
    }

    pub const fn scope(mut self, scope: &'static str) -> Self {
        self.scope = Some(scope);
        self
    }

    pub const fn table(mut self, table: &'static str) -> Self {
        self.table = Some(table);
        self
    }

    pub const fn column(mut self, column: &'static str) -> Self {
        self.column = Some(column);
        self
    }

    /// Sets the time to live. All durations are in milliseconds.
    pub const fn ttl(mut self, millis: u64) -> Self {
        self.freshness.ttl = Some(Ttl::After(Duration::from_millis(millis)));
        self
    }

    pub const fn ttl_never(mut self) -> Self {
        self.freshness.ttl = Some(Ttl::Never);
        self
    }

    pub const fn stale_while_revalidate(mut self, millis: u64) -> Self {
        self.freshness.stale_while_revalidate = Some(Duration::from_millis(millis));
        self
    }

    pub const fn stale_if_error(mut self, millis: u64) -> Self {
        self.freshness.stale_if_error = Some(Duration::from_millis(millis));
        self
    }

    pub const fn jitter(mut self, jitter: f64) -> Self {
        self.freshness.jitter = Some(jitter);
        self
    }

    pub const fn max_records(mut self, records: u64) -> Self {
        self.freshness.max_records = Some(records);
        self
    }

    pub const fn auto_purge(mut self, on: bool) -> Self {
        self.freshness.auto_purge = Some(on);
        self
    }

    pub const fn single_flight(mut self, single_flight: SingleFlight) -> Self {
        self.freshness.single_flight = Some(single_flight);
        self
    }

    pub const fn on_unavailable(mut self, on_unavailable: OnUnavailable) -> Self {
        self.freshness.on_unavailable = Some(on_unavailable);
        self
    }

    pub const fn migrate(mut self, migrate: Migrate) -> Self {
        self.migrate = Some(migrate);
        self
    }

    /// Emits a `tracing` event, once per process, if the values of the function are not stored
    /// since the stored schema is that of a different signature. A function that does not return a
    /// `Result` cannot report it otherwise.
    fn warn_refused(&self, error: &Error) {
        #[cfg(feature = "tracing")]
        if error.kind() == ErrorKind::SchemaChange && !self.warned.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                function = self.name,
                scope = error.scope(),
                plan = error.message(),
                "the values of a cached function are not stored: its signature does not match the stored schema"
            );
        }
        #[cfg(not(feature = "tracing"))]
        let _ = error;
    }
}

/// The error of a call.
#[derive(Debug)]
pub enum CallError<V, E> {
    /// The error of the function.
    Function(E),
    /// The error of the cache, with the value if it was already computed.
    Cache(Error, Option<V>),
}

/// An error type of a function that can hold an error of the cache.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot hold an error of the cache",
    label = "does not implement `From<hilcat::Error>`",
    note = "implement `From<hilcat::Error>` for it, or use `map_error = ...` with a function from `hilcat::Error` to it, or `on_error = \"compute\"` to compute if the cache fails"
)]
pub trait FromCacheError {
    /// Converts an error of the cache.
    fn from_cache_error(error: Error) -> Self;
}

#[diagnostic::do_not_recommend]
impl<E: From<Error>> FromCacheError for E {
    fn from_cache_error(error: Error) -> Self {
        error.into()
    }
}

/// Returns the error that passes through the core if the function failed. [`Outcome`] keeps the
/// error of the function.
fn function_failed() -> Error {
    Error::new(ErrorKind::Compute, "the function failed")
}

fn open<K: Kind>(
    _: &K,
    function: &Function,
    cache: &Cache,
    parts: Vec<Part>,
) -> Result<(Arc<Core>, Key)> {
    let core = cache.function_scope(&function.number, || K::schema(function, &parts));
    let core = core.inspect_err(|error| function.warn_refused(error))?;
    Ok((core, Key::new(parts.into_iter().map(|part| part.value))))
}

/// The result of the function, kept for its caller: only rows and errors of hilcat pass through the
/// core.
struct Outcome<V, E> {
    value: Option<V>,
    error: Option<E>,
}

impl<V, E> Outcome<V, E> {
    const NONE: Self = Self { value: None, error: None };

    /// Keeps the result of the function, and returns the row to store.
    fn keep<K: Kind<Value = V>>(&mut self, key: &Key, computed: Result<V, E>) -> Result<Row> {
        match computed {
            Ok(value) => {
                let row = K::to_row(key, &value);
                self.value = Some(value);
                row
            }
            Err(error) => {
                self.error = Some(error);
                Err(function_failed())
            }
        }
    }

    fn finish(self, error: Error) -> CallError<V, E> {
        match self.error {
            Some(own) => CallError::Function(own),
            None => CallError::Cache(error, self.value),
        }
    }
}

/// Returns the stored value of a call, or computes and stores it.
///
/// # Errors
///
/// The error of the function or of the cache.
pub fn try_call<K: Kind, E>(
    kind: K,
    function: &Function,
    cache: &Cache,
    parts: Vec<Part>,
    compute: impl FnOnce() -> Result<K::Value, E>,
) -> Result<K::Value, CallError<K::Value, E>> {
    let mut compute = Some(compute);
    try_once(Mode::Get, &kind, function, cache, parts, &mut compute)
}

/// Whether a stored value is used.
#[derive(Clone, Copy)]
enum Mode {
    /// Use a stored value, or compute.
    Get,
    /// Compute even if a value is stored.
    Refresh,
}

fn try_once<K: Kind, E>(
    mode: Mode,
    kind: &K,
    function: &Function,
    cache: &Cache,
    parts: Vec<Part>,
    compute: &mut Option<impl FnOnce() -> Result<K::Value, E>>,
) -> Result<K::Value, CallError<K::Value, E>> {
    let cache_failed = |error| CallError::Cache(error, None);
    let (core, key) = open(kind, function, cache, parts).map_err(cache_failed)?;
    let mut outcome = Outcome::NONE;
    let compute = || match compute.take() {
        Some(compute) => outcome.keep::<K>(&key, compute()),
        None => Err(function_failed()),
    };
    let row = match mode {
        Mode::Get => core.get(Ok(key.clone()), compute),
        Mode::Refresh => core.refresh(Ok(key.clone()), compute),
    };
    match row {
        Ok(row) => K::from_row(row).map_err(|error| CallError::Cache(error, outcome.value)),
        Err(error) => Err(outcome.finish(error)),
    }
}

/// Like [`try_call`], but computes if the cache fails; `on_error` receives the error of the cache.
///
/// # Errors
///
/// The error of the function.
pub fn call<K: Kind, E>(
    kind: K,
    function: &Function,
    cache: &Cache,
    parts: Vec<Part>,
    on_error: impl FnOnce(&Error),
    compute: impl FnOnce() -> Result<K::Value, E>,
) -> Result<K::Value, E> {
    let mut compute = Some(compute);
    let called = try_once(Mode::Get, &kind, function, cache, parts, &mut compute);
    without_cache(called, on_error, compute)
}

/// Returns the result of a call, and computes if the cache failed before the function ran.
fn without_cache<V, E>(
    called: Result<V, CallError<V, E>>,
    on_error: impl FnOnce(&Error),
    compute: Option<impl FnOnce() -> Result<V, E>>,
) -> Result<V, E> {
    let (error, value) = match called {
        Ok(value) => return Ok(value),
        Err(CallError::Function(error)) => return Err(error),
        Err(CallError::Cache(error, value)) => (error, value),
    };
    on_error(&error);
    match (value, compute) {
        (Some(value), _) => Ok(value),
        (None, Some(compute)) => compute(),
        (None, None) => unreachable!("a computed value is kept"),
    }
}

/// Computes a value even if one is stored, and stores it.
///
/// # Errors
///
/// The error of the function or of the cache.
pub fn try_refresh<K: Kind, E>(
    kind: K,
    function: &Function,
    cache: &Cache,
    parts: Vec<Part>,
    compute: impl FnOnce() -> Result<K::Value, E>,
) -> Result<K::Value, CallError<K::Value, E>> {
    let mut compute = Some(compute);
    try_once(Mode::Refresh, &kind, function, cache, parts, &mut compute)
}

/// Like [`try_refresh`], but returns the computed value if the cache fails; `on_error` receives the
/// error of the cache.
///
/// # Errors
///
/// The error of the function.
pub fn refresh<K: Kind, E>(
    kind: K,
    function: &Function,
    cache: &Cache,
    parts: Vec<Part>,
    on_error: impl FnOnce(&Error),
    compute: impl FnOnce() -> Result<K::Value, E>,
) -> Result<K::Value, E> {
    let mut compute = Some(compute);
    let called = try_once(Mode::Refresh, &kind, function, cache, parts, &mut compute);
    without_cache(called, on_error, compute)
}

/// Removes the stored value of a call. Returns whether there was one.
///
/// # Errors
///
/// The error of the cache.
pub fn forget<K: Kind>(
    kind: K,
    function: &Function,
    cache: &Cache,
    parts: Vec<Part>,
) -> Result<bool> {
    let (core, key) = open(&kind, function, cache, parts)?;
    Ok(core.pop(Ok(key))?.is_some())
}

/// Wraps the value of a function that cannot fail.
///
/// # Errors
///
/// Never.
pub fn fine<V>(value: V) -> Result<V, Infallible> {
    Ok(value)
}

/// Unwraps the result of a call that cannot fail.
pub fn unfailing<V>(result: Result<V, Infallible>) -> V {
    match result {
        Ok(value) => value,
        Err(never) => match never {},
    }
}

/// Panics, for `on_error = "panic"`.
pub fn panic_with(function: &Function, error: &Error) -> ! {
    panic!("the cache of the function `{}` failed: {error}", function.name)
}
