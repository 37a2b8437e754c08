//! What `#[cached]` expands to: data and one call of this module. Not for use by hand.

#![expect(missing_docs, reason = "code that the macro writes is all that sees it")]

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

/// What the macro knows of a function; one for each place that calls the cache for it.
#[derive(Debug)]
pub struct Function {
    scope: Option<&'static str>,
    table: Option<&'static str>,
    /// The column of the value.
    column: Option<&'static str>,
    freshness: Freshness,
    migrate: Option<Migrate>,
    /// Whether it was said that the stored schema is that of another signature.
    #[cfg(feature = "tracing")]
    said: AtomicBool,
    /// The function's own name.
    name: &'static str,
    /// The names of the key's columns, where the arguments are the key.
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
            said: AtomicBool::new(false),
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

    /// All durations are in milliseconds.
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

    /// Says once for each process, through `tracing`, that the values of the function are not
    /// stored since the stored schema is that of another signature: a function that returns no
    /// `Result` has no other place to say it.
    fn say_refused(&self, error: &Error) {
        #[cfg(feature = "tracing")]
        if error.kind() == ErrorKind::SchemaChange && !self.said.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                function = self.name,
                scope = error.scope(),
                plan = error.message(),
                "the values of a cached function are not stored: its signature does not go with the stored schema"
            );
        }
        #[cfg(not(feature = "tracing"))]
        let _ = error;
    }
}

/// How a call failed.
#[derive(Debug)]
pub enum Failed<V, E> {
    /// The function itself did.
    Function(E),
    /// The cache did; with the value, where it was computed already.
    Cache(Error, Option<V>),
}

/// An error type of a function that can hold an error of the cache.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot hold an error of the cache",
    label = "does not implement `From<hilcat::Error>`",
    note = "implement `From<hilcat::Error>` for it, or say `map_error = ...` with a function from `hilcat::Error` to it, or `on_error = \"compute\"` to compute where the cache fails"
)]
pub trait FromCacheError {
    /// Holds it.
    fn from_cache_error(error: Error) -> Self;
}

#[diagnostic::do_not_recommend]
impl<E: From<Error>> FromCacheError for E {
    fn from_cache_error(error: Error) -> Self {
        error.into()
    }
}

/// The error that goes through the cache's core where the function failed; its own is beside it.
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
    let core = core.inspect_err(|error| function.say_refused(error))?;
    Ok((core, Key::new(parts.into_iter().map(|part| part.value))))
}

/// What is left of a computation for whoever asked: the value or the error that did not go through
/// the core.
struct Left<V, E> {
    value: Option<V>,
    error: Option<E>,
}

impl<V, E> Left<V, E> {
    const NOTHING: Self = Self { value: None, error: None };

    /// Keeps what was computed, and gives the row that is stored of it.
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

    fn finish(self, error: Error) -> Failed<V, E> {
        match self.error {
            Some(own) => Failed::Function(own),
            None => Failed::Cache(error, self.value),
        }
    }
}

/// The stored value of a call, or the one that the function computes.
///
/// # Errors
///
/// The function's own, or the cache's.
pub fn try_call<K: Kind, E>(
    kind: K,
    function: &Function,
    cache: &Cache,
    parts: Vec<Part>,
    compute: impl FnOnce() -> Result<K::Value, E>,
) -> Result<K::Value, Failed<K::Value, E>> {
    let mut compute = Some(compute);
    try_once(Ask::Get, &kind, function, cache, parts, &mut compute)
}

/// What a call asks of the scope of its function.
#[derive(Clone, Copy)]
enum Ask {
    /// The stored value, or a computed one.
    Get,
    /// A computed value, whatever is stored.
    Refresh,
}

fn try_once<K: Kind, E>(
    ask: Ask,
    kind: &K,
    function: &Function,
    cache: &Cache,
    parts: Vec<Part>,
    compute: &mut Option<impl FnOnce() -> Result<K::Value, E>>,
) -> Result<K::Value, Failed<K::Value, E>> {
    let cache_failed = |error| Failed::Cache(error, None);
    let (core, key) = open(kind, function, cache, parts).map_err(cache_failed)?;
    let mut left = Left::NOTHING;
    let compute = || match compute.take() {
        Some(compute) => left.keep::<K>(&key, compute()),
        None => Err(function_failed()),
    };
    let row = match ask {
        Ask::Get => core.get(Ok(key.clone()), compute),
        Ask::Refresh => core.refresh(Ok(key.clone()), compute),
    };
    match row {
        Ok(row) => K::from_row(row).map_err(|error| Failed::Cache(error, left.value)),
        Err(error) => Err(left.finish(error)),
    }
}

/// The same where the function computes if the cache fails, which `told` is told.
///
/// # Errors
///
/// The function's own.
pub fn call<K: Kind, E>(
    kind: K,
    function: &Function,
    cache: &Cache,
    parts: Vec<Part>,
    told: impl FnOnce(&Error),
    compute: impl FnOnce() -> Result<K::Value, E>,
) -> Result<K::Value, E> {
    let mut compute = Some(compute);
    let called = try_once(Ask::Get, &kind, function, cache, parts, &mut compute);
    without_cache(called, told, compute)
}

/// What a call gives where the function computes if the cache failed.
fn without_cache<V, E>(
    called: Result<V, Failed<V, E>>,
    told: impl FnOnce(&Error),
    compute: Option<impl FnOnce() -> Result<V, E>>,
) -> Result<V, E> {
    let (error, value) = match called {
        Ok(value) => return Ok(value),
        Err(Failed::Function(error)) => return Err(error),
        Err(Failed::Cache(error, value)) => (error, value),
    };
    told(&error);
    match (value, compute) {
        (Some(value), _) => Ok(value),
        (None, Some(compute)) => compute(),
        (None, None) => unreachable!("what was computed is kept"),
    }
}

/// Computes, and stores in place of what there is.
///
/// # Errors
///
/// The function's own, or the cache's.
pub fn try_refresh<K: Kind, E>(
    kind: K,
    function: &Function,
    cache: &Cache,
    parts: Vec<Part>,
    compute: impl FnOnce() -> Result<K::Value, E>,
) -> Result<K::Value, Failed<K::Value, E>> {
    let mut compute = Some(compute);
    try_once(Ask::Refresh, &kind, function, cache, parts, &mut compute)
}

/// The same where a failure of the cache, which `told` is told, leaves what was computed.
///
/// # Errors
///
/// The function's own.
pub fn refresh<K: Kind, E>(
    kind: K,
    function: &Function,
    cache: &Cache,
    parts: Vec<Part>,
    told: impl FnOnce(&Error),
    compute: impl FnOnce() -> Result<K::Value, E>,
) -> Result<K::Value, E> {
    let mut compute = Some(compute);
    let called = try_once(Ask::Refresh, &kind, function, cache, parts, &mut compute);
    without_cache(called, told, compute)
}

/// Removes what is stored of a call; says whether there was anything.
///
/// # Errors
///
/// The cache's.
pub fn forget<K: Kind>(
    kind: K,
    function: &Function,
    cache: &Cache,
    parts: Vec<Part>,
) -> Result<bool> {
    let (core, key) = open(&kind, function, cache, parts)?;
    Ok(core.pop(Ok(key))?.is_some())
}

/// A function that cannot fail, for those above.
///
/// # Errors
///
/// Never.
pub fn fine<V>(value: V) -> Result<V, Infallible> {
    Ok(value)
}

/// The value of a call that cannot fail.
pub fn unfailing<V>(result: Result<V, Infallible>) -> V {
    match result {
        Ok(value) => value,
        Err(never) => match never {},
    }
}

/// What is done under `on_error = "panic"`.
pub fn panic_with(function: &Function, error: &Error) -> ! {
    panic!("the cache of the function `{}` failed: {error}", function.name)
}
