//! A cache that is opened before its server is reachable.

use std::sync::{LazyLock, OnceLock};
use std::time::Duration;

use hilcat::testing::ManualClock;
use hilcat::{Cache, Column, ColumnType, ErrorKind, OnUnavailable, cached};
use serde_json::json;

use crate::Test;
use crate::server::{LateServer, SECOND, Server, name, schema, timed, until};
use crate::tests;

pub(crate) const TESTS: &[Test] = tests![
    a_lazy_cache_is_used_once_its_server_is_reachable,
    a_cached_function_works_before_its_server_starts,
    schema_errors_are_returned_by_the_first_call,
    opening_counts_towards_the_deadline_of_the_call,
    a_lazy_cache_honours_stored_expiries,
];

fn a_lazy_cache_is_used_once_its_server_is_reachable(server: &Server) {
    let (late, name) = (LateServer::of(server), name());
    let cache = Cache::from_uri(&late.with("lazy=true&timeout=2s")).unwrap();
    let a = cache.dynamic_with(schema(&name)).unwrap();
    // The capabilities are known before the server is contacted.
    let (known, able) = (cache.capabilities(), server.open("timeout=5s").capabilities());
    assert_eq!((known.expiry, known.max_records), (able.expiry, able.max_records));
    assert_eq!(known.shared_single_flight, able.shared_single_flight);
    let (error, took) = timed(|| a.set("x", json!({"n": 1})).unwrap_err());
    println!("{}: a closed port failed after {took:?}", server.engine);
    assert!(error.is_retryable(), "{error}");
    late.open();
    let back = until(|| a.set("x", json!({"n": 1})).is_ok());
    assert!(back < 3 * SECOND, "{back:?}");
    let direct = server.open("timeout=5s").dynamic_with(schema(&name)).unwrap();
    assert_eq!(direct.fetch("x").unwrap().unwrap()["n"], 1);
    assert_eq!(cache.backend(), server.open("timeout=5s").backend());
    assert!(cache.scopes().unwrap().contains(&name));
    a.clear().unwrap();
}

static URI: OnceLock<String> = OnceLock::new();
static CACHE: LazyLock<Cache> = LazyLock::new(|| {
    let cache = Cache::builder(URI.get().unwrap()).lazy(true);
    cache.on_unavailable(OnUnavailable::Compute).open().unwrap()
});

#[cached(cache = CACHE, scope = "lazy_squares")]
fn square(n: i64) -> hilcat::Result<i64> {
    Ok(n * n)
}

#[cached(cache = CACHE, scope = "lazy_cubes", on_error = "compute")]
fn cube(n: i64) -> i64 {
    n * n * n
}

#[cached(cache = CACHE, scope = "lazy_halves")]
async fn half(n: i64) -> hilcat::Result<i64> {
    Ok(n / 2)
}

fn a_cached_function_works_before_its_server_starts(server: &Server) {
    let late = LateServer::of(server);
    // A static can be set for one server only.
    if URI.set(late.with("timeout=2s")).is_err() {
        return;
    }
    let at_once = |(value, took): (i64, Duration)| {
        assert!(took < SECOND, "{took:?}");
        value
    };
    let block_on = |future| {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(future)
    };
    for n in 0..10 {
        assert_eq!(at_once(timed(|| square(n).unwrap())), n * n);
        assert_eq!(at_once(timed(|| cube(n))), n * n * n);
        assert_eq!(at_once(timed(|| block_on(half(n)).unwrap())), n / 2);
    }
    late.open();
    let stored = until(|| {
        (0..10).for_each(|n| {
            assert_eq!(square(n).unwrap(), n * n);
            assert_eq!(cube(n), n * n * n);
            assert_eq!(block_on(half(n)).unwrap(), n / 2);
        });
        CACHE.scopes().is_ok_and(|scopes| {
            ["lazy_squares", "lazy_cubes", "lazy_halves"]
                .iter()
                .all(|scope| scopes.contains(&(*scope).to_owned()))
        })
    });
    println!("{}: functions are stored {stored:?} after the server is there", server.engine);
    assert!(stored < 3 * SECOND, "{stored:?}");
}

fn schema_errors_are_returned_by_the_first_call(server: &Server) {
    let name = name();
    server
        .open("timeout=5s")
        .dynamic_with(schema(&name))
        .unwrap()
        .set("x", json!({"n": 1}))
        .unwrap();
    let lazy = server.open("lazy=true");
    let other = hilcat::Schema::new(&name)
        .unique(Column::new("id", ColumnType::Text))
        .column(Column::new("n", ColumnType::Text));
    let a = lazy.dynamic_with(other).unwrap();
    for _ in 0..2 {
        let error = a.fetch("x").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::SchemaChange, "{error}");
    }
    // A call with the right schema succeeds.
    assert_eq!(lazy.dynamic_with(schema(&name)).unwrap().fetch("x").unwrap().unwrap()["n"], 1);
    // An invalid URI is reported at once.
    let error = Cache::from_uri(&server.with("lazy=true&colour=red")).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidConfig, "{error}");
    assert!(Cache::from_uri(&server.with("lazy=perhaps")).is_err());
}

fn opening_counts_towards_the_deadline_of_the_call(server: &Server) {
    let a = server.open("lazy=true&timeout=2s").dynamic_with(schema(&name())).unwrap();
    let took = server.stopped(|| {
        let once = || timed(|| a.fetch("x").unwrap_err()).1;
        std::thread::scope(|threads| {
            let threads: Vec<_> = (0..3).map(|_| threads.spawn(once)).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect::<Vec<_>>()
        })
    });
    assert!(took.iter().all(|took| *took < SECOND * 5 / 2), "{took:?}");
    until(|| a.fetch("x").is_ok());
}

/// Lazy opening adds no expiry column to a table or mapping, and honours an existing one.
fn a_lazy_cache_honours_stored_expiries(server: &Server) {
    let clock = ManualClock::new(std::time::SystemTime::now());
    let with =
        |options: &str| Cache::builder(server.with(options)).clock(clock.clone()).open().unwrap();
    let (plain, expiring) = (name(), name());
    let lazy = with("lazy=true");
    let a = lazy.dynamic_with(schema(&plain)).unwrap();
    a.set_many([("x", json!({"n": 1})), ("y", json!({"n": 2}))]).unwrap();
    assert_eq!(a.iter().unwrap().map(Result::unwrap).count(), 2);
    assert_eq!(a.update("x", json!({"n": 3})).unwrap().unwrap()["n"], 1);
    assert_eq!(a.pop("y").unwrap().unwrap()["n"], 2);
    assert_eq!(a.len().unwrap(), 1);
    assert_eq!(a.get("z", || json!({"id": "z", "n": 4})).unwrap()["n"], 4);
    assert_eq!(a.refresh("z", || json!({"id": "z", "n": 5})).unwrap()["n"], 5);
    assert_eq!(
        a.get_many(["x", "w"], |keys| keys
            .into_iter()
            .map(|key| (key, json!({"id": "w", "n": 6})))
            .collect::<Vec<_>>())
            .unwrap()
            .len(),
        2
    );
    // No step remains.
    let eager = with("timeout=5s");
    assert!(eager.plan(&schema(&plain)).unwrap().is_empty());
    assert_eq!(eager.dynamic_with(schema(&plain)).unwrap().len().unwrap(), 3);
    assert!(a.set_with_ttl("x", json!({"n": 1}), SECOND).is_err());
    if lazy.capabilities().expiry != hilcat::store::ExpirySupport::Full {
        return;
    }
    let ttl = schema(&expiring).ttl(60 * SECOND);
    let writer = eager.dynamic_with(ttl.clone()).unwrap();
    writer.set_many([("x", json!({"n": 1})), ("y", json!({"n": 2}))]).unwrap();
    let reader = with("lazy=true").dynamic_with(schema(&expiring)).unwrap();
    let same = with("lazy=true").dynamic_with(ttl).unwrap();
    assert_eq!((reader.len().unwrap(), same.len().unwrap()), (2, 2));
    reader.set("y", json!({"n": 3})).unwrap();
    clock.advance(61 * SECOND);
    for scope in [&reader, &same, &writer] {
        assert_eq!(scope.fetch("x").unwrap(), None);
        // The record was written by a program without a time to live.
        assert_eq!(scope.fetch("y").unwrap().unwrap()["n"], 3);
        assert_eq!(scope.len().unwrap(), 1);
    }
    same.set("z", json!({"n": 1})).unwrap();
    assert!(same.touch("z").unwrap());
}
