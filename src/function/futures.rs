//! The calls for `async` functions: a thin adapter over the blocking store.
//!
//! Calls of a store that may wait run on the threads of the cache's executor, and calls of a store in
//! memory at once. Futures that wait for one another's values hold no thread.

use std::future::Future;
use std::sync::Arc;

use super::{CallError, Function, Kind, Mode, Outcome, Part, function_failed};
use crate::scope::Core;
use crate::{Cache, Error, Key, Result};

async fn open<K: Kind + 'static>(
    function: &'static Function,
    cache: Cache,
    parts: Vec<Part>,
) -> Result<(Arc<Core>, Key)> {
    let core = match cache.opened_function(&function.number) {
        Some(core) => core,
        None => {
            let types = parts.clone();
            let executor = cache.executor().clone();
            let open =
                move || cache.function_scope(&function.number, || K::schema(function, &types));
            let opened = executor.run(open).await;
            opened.inspect_err(|error| function.warn_refused(error))?
        }
    };
    Ok((core, Key::new(parts.into_iter().map(|part| part.value))))
}

/// Like [`try_call`](super::try_call).
///
/// # Errors
///
/// The error of the function or of the cache.
pub async fn try_call_async<K, E, F>(
    _: K,
    function: &'static Function,
    cache: Cache,
    parts: Vec<Part>,
    compute: impl FnOnce() -> F,
) -> Result<K::Value, CallError<K::Value, E>>
where
    K: Kind + 'static,
    F: Future<Output = Result<K::Value, E>>,
{
    let mut compute = Some(compute);
    try_once::<K, E, F>(Mode::Get, function, cache, parts, &mut compute).await
}

/// Fixes the type of a closure as `FnOnce`, so that it may move its captures into its future.
fn called_once<F>(closure: impl FnOnce() -> F) -> impl FnOnce() -> F {
    closure
}

async fn try_once<K, E, F>(
    mode: Mode,
    function: &'static Function,
    cache: Cache,
    parts: Vec<Part>,
    compute: &mut Option<impl FnOnce() -> F>,
) -> Result<K::Value, CallError<K::Value, E>>
where
    K: Kind + 'static,
    F: Future<Output = Result<K::Value, E>>,
{
    let opened = open::<K>(function, cache, parts).await;
    let (core, key) = opened.map_err(|error| CallError::Cache(error, None))?;
    let mut outcome = Outcome::NONE;
    let row_key = key.clone();
    let compute = called_once(|| async {
        match compute.take() {
            Some(compute) => outcome.keep::<K>(&row_key, compute().await),
            None => Err(function_failed()),
        }
    });
    let row = match mode {
        Mode::Get => core.get_async(Ok(key), compute).await,
        Mode::Refresh => core.refresh_async(Ok(key), compute).await,
    };
    match row {
        Ok(row) => K::from_row(row).map_err(|error| CallError::Cache(error, outcome.value)),
        Err(error) => Err(outcome.finish(error)),
    }
}

/// Like [`call`](super::call).
///
/// # Errors
///
/// The error of the function.
pub async fn call_async<K, E, F>(
    _: K,
    function: &'static Function,
    cache: Cache,
    parts: Vec<Part>,
    on_error: impl FnOnce(&Error),
    compute: impl FnOnce() -> F,
) -> Result<K::Value, E>
where
    K: Kind + 'static,
    F: Future<Output = Result<K::Value, E>>,
{
    let mut compute = Some(compute);
    let called = try_once::<K, E, F>(Mode::Get, function, cache, parts, &mut compute).await;
    without_cache(called, on_error, compute).await
}

/// Returns the result of a call, and computes if the cache failed before the function ran.
async fn without_cache<V, E, F>(
    called: Result<V, CallError<V, E>>,
    on_error: impl FnOnce(&Error),
    compute: Option<impl FnOnce() -> F>,
) -> Result<V, E>
where
    F: Future<Output = Result<V, E>>,
{
    let (error, value) = match called {
        Ok(value) => return Ok(value),
        Err(CallError::Function(error)) => return Err(error),
        Err(CallError::Cache(error, value)) => (error, value),
    };
    on_error(&error);
    match (value, compute) {
        (Some(value), _) => Ok(value),
        (None, Some(compute)) => compute().await,
        (None, None) => unreachable!("a computed value is kept"),
    }
}

/// Like [`try_refresh`](super::try_refresh).
///
/// # Errors
///
/// The error of the function or of the cache.
pub async fn try_refresh_async<K, E, F>(
    _: K,
    function: &'static Function,
    cache: Cache,
    parts: Vec<Part>,
    compute: impl FnOnce() -> F,
) -> Result<K::Value, CallError<K::Value, E>>
where
    K: Kind + 'static,
    F: Future<Output = Result<K::Value, E>>,
{
    let mut compute = Some(compute);
    try_once::<K, E, F>(Mode::Refresh, function, cache, parts, &mut compute).await
}

/// Like [`refresh`](super::refresh).
///
/// # Errors
///
/// The error of the function.
pub async fn refresh_async<K, E, F>(
    _: K,
    function: &'static Function,
    cache: Cache,
    parts: Vec<Part>,
    on_error: impl FnOnce(&Error),
    compute: impl FnOnce() -> F,
) -> Result<K::Value, E>
where
    K: Kind + 'static,
    F: Future<Output = Result<K::Value, E>>,
{
    let mut compute = Some(compute);
    let called = try_once::<K, E, F>(Mode::Refresh, function, cache, parts, &mut compute).await;
    without_cache(called, on_error, compute).await
}

/// Like [`forget`](super::forget).
///
/// # Errors
///
/// The error of the cache.
pub async fn forget_async<K: Kind + 'static>(
    _: K,
    function: &'static Function,
    cache: Cache,
    parts: Vec<Part>,
) -> Result<bool> {
    let (core, key) = open::<K>(function, cache, parts).await?;
    Ok(core.run_blocking(move |core| core.pop(Ok(key))).await?.is_some())
}
