//! The same calls for functions that are `async`: a thin face over the blocking store.
//!
//! What waits for a store runs in threads of the `blocking` crate, which needs no runtime; a store
//! in memory is asked at once. Futures that wait for one another's values hold no thread.

use std::future::Future;
use std::sync::Arc;

use super::{Ask, Failed, Function, Kind, Left, Part, function_failed};
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
            let open =
                move || cache.function_scope(&function.number, || K::schema(function, &types));
            let opened = blocking::unblock(open).await;
            opened.inspect_err(|error| function.say_refused(error))?
        }
    };
    Ok((core, Key::new(parts.into_iter().map(|part| part.value))))
}

/// As [`try_call`](super::try_call).
///
/// # Errors
///
/// The function's own, or the cache's.
pub async fn try_call_async<K, E, F>(
    _: K,
    function: &'static Function,
    cache: Cache,
    parts: Vec<Part>,
    compute: impl FnOnce() -> F,
) -> Result<K::Value, Failed<K::Value, E>>
where
    K: Kind + 'static,
    F: Future<Output = Result<K::Value, E>>,
{
    let mut compute = Some(compute);
    try_once::<K, E, F>(Ask::Get, function, cache, parts, &mut compute).await
}

/// The closure, as one that may move what it captures into its future.
fn called_once<F>(closure: impl FnOnce() -> F) -> impl FnOnce() -> F {
    closure
}

async fn try_once<K, E, F>(
    ask: Ask,
    function: &'static Function,
    cache: Cache,
    parts: Vec<Part>,
    compute: &mut Option<impl FnOnce() -> F>,
) -> Result<K::Value, Failed<K::Value, E>>
where
    K: Kind + 'static,
    F: Future<Output = Result<K::Value, E>>,
{
    let opened = open::<K>(function, cache, parts).await;
    let (core, key) = opened.map_err(|error| Failed::Cache(error, None))?;
    let mut left = Left::NOTHING;
    let asked = key.clone();
    let compute = called_once(|| async {
        match compute.take() {
            Some(compute) => left.keep::<K>(&asked, compute().await),
            None => Err(function_failed()),
        }
    });
    let row = match ask {
        Ask::Get => core.get_async(Ok(key), compute).await,
        Ask::Refresh => core.refresh_async(Ok(key), compute).await,
    };
    match row {
        Ok(row) => K::from_row(row).map_err(|error| Failed::Cache(error, left.value)),
        Err(error) => Err(left.finish(error)),
    }
}

/// As [`call`](super::call).
///
/// # Errors
///
/// The function's own.
pub async fn call_async<K, E, F>(
    _: K,
    function: &'static Function,
    cache: Cache,
    parts: Vec<Part>,
    told: impl FnOnce(&Error),
    compute: impl FnOnce() -> F,
) -> Result<K::Value, E>
where
    K: Kind + 'static,
    F: Future<Output = Result<K::Value, E>>,
{
    let mut compute = Some(compute);
    let called = try_once::<K, E, F>(Ask::Get, function, cache, parts, &mut compute).await;
    without_cache(called, told, compute).await
}

/// What a call gives where the function computes if the cache failed.
async fn without_cache<V, E, F>(
    called: Result<V, Failed<V, E>>,
    told: impl FnOnce(&Error),
    compute: Option<impl FnOnce() -> F>,
) -> Result<V, E>
where
    F: Future<Output = Result<V, E>>,
{
    let (error, value) = match called {
        Ok(value) => return Ok(value),
        Err(Failed::Function(error)) => return Err(error),
        Err(Failed::Cache(error, value)) => (error, value),
    };
    told(&error);
    match (value, compute) {
        (Some(value), _) => Ok(value),
        (None, Some(compute)) => compute().await,
        (None, None) => unreachable!("what was computed is kept"),
    }
}

/// As [`try_refresh`](super::try_refresh).
///
/// # Errors
///
/// The function's own, or the cache's.
pub async fn try_refresh_async<K, E, F>(
    _: K,
    function: &'static Function,
    cache: Cache,
    parts: Vec<Part>,
    compute: impl FnOnce() -> F,
) -> Result<K::Value, Failed<K::Value, E>>
where
    K: Kind + 'static,
    F: Future<Output = Result<K::Value, E>>,
{
    let mut compute = Some(compute);
    try_once::<K, E, F>(Ask::Refresh, function, cache, parts, &mut compute).await
}

/// As [`refresh`](super::refresh).
///
/// # Errors
///
/// The function's own.
pub async fn refresh_async<K, E, F>(
    _: K,
    function: &'static Function,
    cache: Cache,
    parts: Vec<Part>,
    told: impl FnOnce(&Error),
    compute: impl FnOnce() -> F,
) -> Result<K::Value, E>
where
    K: Kind + 'static,
    F: Future<Output = Result<K::Value, E>>,
{
    let mut compute = Some(compute);
    let called = try_once::<K, E, F>(Ask::Refresh, function, cache, parts, &mut compute).await;
    without_cache(called, told, compute).await
}

/// As [`forget`](super::forget).
///
/// # Errors
///
/// The cache's.
pub async fn forget_async<K: Kind + 'static>(
    _: K,
    function: &'static Function,
    cache: Cache,
    parts: Vec<Part>,
) -> Result<bool> {
    let (core, key) = open::<K>(function, cache, parts).await?;
    Ok(core.run_blocking(move |core| core.pop(Ok(key))).await?.is_some())
}
