//! A server that is stopped and resumed.

use std::time::Duration;

use hilcat::{DynScope, ErrorKind};
use serde_json::json;

use crate::Test;
use crate::server::{SECOND, Server, median, name, schema, timed, until};
use crate::tests;

pub(crate) const TESTS: &[Test] = tests![
    records_are_computed_at_once_while_the_server_is_stopped,
    calls_fail_at_once_while_the_server_is_stopped,
    a_scope_that_cannot_be_opened_is_opened_later,
];

const TIMEOUT: Duration = Duration::from_secs(2);

/// A generous limit: a call usually takes less than a millisecond.
const AT_ONCE: Duration = Duration::from_millis(50);

fn get(a: &DynScope, key: &str) -> i64 {
    let record = a.get(key, || json!({"id": key, "n": 7})).unwrap();
    record["n"].as_i64().unwrap()
}

fn records_are_computed_at_once_while_the_server_is_stopped(server: &Server) {
    let name = name();
    let a = server.open("timeout=2s&on_unavailable=compute").dynamic_with(schema(&name)).unwrap();
    a.set("x", json!({"n": 1})).unwrap();
    let (first, later) = server.stopped(|| {
        let get = |key: &str| {
            let (n, took) = timed(|| get(&a, key));
            assert_eq!(n, 7);
            took
        };
        let first: Vec<Duration> = (0..5).map(|_| get("x")).collect();
        let later: Vec<Duration> = (0..99).map(|n| get(&format!("y{n}"))).collect();
        let error = a.set("x", json!({"n": 2})).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
        (first, later)
    });
    let back = until(|| a.fetch("x").is_ok_and(|record| record.is_some()));
    println!(
        "{}: the first calls took {first:.2?}, later ones {:?} (median), and it was used again {back:?} after it went on",
        server.engine,
        median(later.clone()),
    );
    assert!(first.iter().all(|took| *took <= TIMEOUT * 12 / 10), "{first:?}");
    assert!(median(later) < AT_ONCE);
    assert!(back < 3 * SECOND, "{back:?}");
    // The computed values were not stored.
    assert_eq!(a.fetch("x").unwrap().unwrap()["n"], 1);
    assert_eq!(a.fetch("y1").unwrap(), None);
    assert_eq!(get(&a, "y1"), 7);
    assert!(a.exists("y1").unwrap());
    a.clear().unwrap();
}

fn calls_fail_at_once_while_the_server_is_stopped(server: &Server) {
    let a = server.open("timeout=2s").dynamic_with(schema(&name())).unwrap();
    a.set("x", json!({"n": 1})).unwrap();
    let times = server.stopped(|| {
        for _ in 0..5 {
            let error = a.fetch("x").unwrap_err();
            assert!(!error.message().contains("circuit breaker"), "{error}");
        }
        let refused = |result: Result<(), hilcat::Error>| {
            let error = result.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Unavailable);
            assert!(error.is_retryable());
            assert!(error.message().contains("circuit breaker of the cache is open"), "{error}");
            assert!(error.message().contains("last failure"), "{error}");
        };
        let mut times = Vec::new();
        for _ in 0..20 {
            times.push(timed(|| refused(a.fetch("x").map(drop))).1);
            times.push(timed(|| refused(a.set("x", json!({"n": 2})))).1);
            times.push(timed(|| refused(a.len().map(drop))).1);
            times.push(
                timed(|| refused(a.try_get("x", || Ok::<_, hilcat::Error>(json!({}))).map(drop))).1,
            );
        }
        times
    });
    let back = until(|| a.fetch("x").is_ok());
    println!(
        "{}: calls failed in {:?} (median), back in {back:?}",
        server.engine,
        median(times.clone())
    );
    assert!(median(times) < AT_ONCE);
    assert!(back < 3 * SECOND, "{back:?}");
    assert_eq!(a.fetch("x").unwrap().unwrap()["n"], 1);
    a.clear().unwrap();
}

fn a_scope_that_cannot_be_opened_is_opened_later(server: &Server) {
    let cache = server.open("timeout=2s&on_unavailable=compute");
    let name = name();
    let a = server.stopped(|| {
        let a = cache.dynamic_with(schema(&name)).unwrap();
        assert_eq!(get(&a, "x"), 7);
        assert!(a.fetch("x").unwrap_err().is_retryable());
        a
    });
    until(|| a.fetch("x").is_ok());
    assert_eq!(get(&a, "x"), 7);
    assert!(server.open("timeout=5s").dynamic_with(schema(&name)).unwrap().exists("x").unwrap());
    a.clear().unwrap();
}
