//! Calls to a server that stops responding, and to one that is restarted.

use std::thread;
use std::time::{Duration, Instant};

use hilcat::{DynScope, Error, ErrorKind};
use serde_json::json;

/// The time within which calls succeed after the server is back.
const BACK: Duration = Duration::from_secs(5);

type Call = fn(&DynScope) -> Option<Error>;
const CALLS: [Call; 11] = [
    |a| a.fetch("x").err(),
    |a| a.exists("x").err(),
    |a| a.fetch_many(["x", "y"]).err(),
    |a| a.set("x", json!({"n": 2})).err(),
    |a| a.update("x", json!({"n": 2})).err(),
    |a| a.set_many([("x", json!({"n": 2}))]).err(),
    |a| a.pop("x").err(),
    |a| a.pop_many(["x", "y"]).err(),
    |a| a.len().err(),
    |a| a.keys().err(),
    |a| a.clear().err(),
];

/// The positions of the calls that are not idempotent, so that they are not repeated.
const ONCE: [usize; 3] = [4, 6, 7];

/// Checks that every call ends by its deadline while the server is stopped, and that all work again
/// afterwards. `open` opens the scope, which has a column `n`, each time in another cache: the circuit
/// breaker of a shared one would let later calls fail at once. `services` runs one command on the
/// server.
pub(crate) fn every_call_ends(
    open: impl Fn() -> DynScope,
    timeout: Duration,
    services: impl Fn(&str),
) {
    let a = &open();
    let each = CALLS.map(|call| (call, open()));
    a.set("x", json!({"n": 1})).unwrap();
    services("pause");
    let calls = each.map(|(call, a)| {
        let start = Instant::now();
        (call(&a), start.elapsed())
    });
    let at_once = thread::scope(|threads| {
        let threads = [(); 32].map(|()| {
            threads.spawn(|| {
                let start = Instant::now();
                (a.fetch("x").err(), start.elapsed())
            })
        });
        threads.map(|thread| thread.join().unwrap())
    });
    services("resume");
    for (error, took) in calls.into_iter().chain(at_once) {
        let error = error.unwrap();
        assert!(matches!(error.kind(), ErrorKind::Unavailable | ErrorKind::Timeout), "{error}");
        assert!(error.is_retryable());
        assert!(took >= timeout * 9 / 10 && took <= timeout * 11 / 10, "{took:?}: {error}");
    }
    // The application need not be restarted.
    succeeds(|| a.set("x", json!({"n": 3})));
    assert_eq!(a.fetch("x").unwrap(), Some(json!({"id": "x", "n": 3})));
}

/// Checks that after a restart only calls that are not idempotent fail, each at most once.
pub(crate) fn idempotent_calls_survive_a_restart(a: &DynScope, services: impl Fn(&str)) {
    // All connections of the pool, all of which are dead afterwards.
    let fill = || {
        thread::scope(|threads| {
            (0..4).for_each(|_| {
                drop(threads.spawn(|| (0..50).for_each(|_| drop(a.fetch("x").unwrap()))))
            });
        });
    };
    for (at, call) in CALLS.into_iter().enumerate() {
        a.set("x", json!({"n": 1})).unwrap();
        fill();
        services("restart");
        if let Some(error) = call(a) {
            assert!(ONCE.contains(&at), "call {at}: {error}");
            assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
            assert!(call(a).is_none());
        }
    }
    services("kill");
    let error = a.set("x", json!({"n": 1})).unwrap_err();
    assert!(error.is_retryable(), "{error}");
    services("start");
    succeeds(|| a.fetch("x"));
}

fn succeeds<T>(call: impl Fn() -> Result<T, Error>) {
    let start = Instant::now();
    while let Err(error) = call() {
        assert!(start.elapsed() < BACK, "{error}");
        thread::sleep(Duration::from_millis(20));
    }
}
