//! Servers that are stopped, die and restart.

use std::thread;
use std::time::{Duration, Instant};

use hilcat::{DynScope, Error, ErrorKind};
use serde_json::json;

use crate::Test;
use crate::support::{SECOND, Server, int, scope, services};

pub const TESTS: &[Test] = &[
    ("every_call_ends_while_the_server_is_stopped", every_call_ends_while_the_server_is_stopped),
    ("idempotent_calls_survive_a_restart", idempotent_calls_survive_a_restart),
    ("no_acknowledged_write_is_lost_in_a_crash", no_acknowledged_write_is_lost),
];

const TIMEOUT: Duration = Duration::from_millis(1000);

fn open(server: &Server) -> DynScope {
    // Created by a cache with a longer timeout.
    server.cache().dynamic_with(scope([int("n")])).unwrap();
    let cache = server.with("timeout=1s&pool_size=8");
    cache.dynamic_with(scope([int("n")])).unwrap()
}

type Call = fn(&DynScope) -> Option<Error>;
const CALLS: [(Call, bool); 11] = [
    (|a| a.fetch("x").err(), false),
    (|a| a.exists("x").err(), false),
    (|a| a.fetch_many(["x", "y"]).err(), false),
    (|a| a.len().err(), false),
    (|a| a.keys().err(), false),
    (|a| a.set("x", json!({"n": 2})).err(), true),
    (|a| a.set_many([("x", json!({"n": 2}))]).err(), true),
    // These calls read first, so nothing was written.
    (|a| a.update("x", json!({"n": 2})).err(), false),
    (|a| a.pop("x").err(), false),
    (|a| a.pop_many(["x"]).err(), false),
    (|a| a.clear().err(), false),
];

fn every_call_ends_while_the_server_is_stopped(server: &Server) {
    let a = open(server);
    a.set("x", json!({"n": 1})).unwrap();
    let mut listing =
        server.with("timeout=1s").dynamic_with(scope([int("n")])).unwrap().keys().unwrap();
    // Each call has its own cache: the circuit breaker of a shared one would let later calls fail
    // at once.
    let each = CALLS.map(|(call, writes)| (call, writes, open(server)));
    services("pause", server.engine);
    let timed = |call: &dyn Fn() -> Option<Error>| {
        let start = Instant::now();
        (call(), start.elapsed())
    };
    let calls = each.map(|(call, writes, a)| (timed(&|| call(&a)), writes));
    let at_once = thread::scope(|threads| {
        let run = |_| threads.spawn(|| timed(&|| a.fetch("x").err()));
        let threads: Vec<_> = (0..20).map(run).collect();
        threads.into_iter().map(|thread| (thread.join().unwrap(), false)).collect::<Vec<_>>()
    });
    let start = Instant::now();
    let listed = (listing.next().unwrap().err(), start.elapsed());
    services("resume", server.engine);
    for ((error, took), writes) in calls.into_iter().chain(at_once).chain([(listed, false)]) {
        let error = error.unwrap();
        let kind = if writes { ErrorKind::Unavailable } else { ErrorKind::Timeout };
        assert_eq!((error.kind(), error.is_retryable()), (kind, true), "{error}");
        assert!(took >= TIMEOUT * 9 / 10 && took <= TIMEOUT * 11 / 10, "{took:?}: {error}");
    }
    // The application need not be restarted.
    let start = Instant::now();
    while let Err(error) = a.set("x", json!({"n": 3})) {
        assert!(start.elapsed() < SECOND * 10, "{error}");
    }
    assert_eq!(a.fetch("x").unwrap(), Some(json!({"id": "x", "n": 3})));
}

fn idempotent_calls_survive_a_restart(server: &Server) {
    let a = server.with("timeout=20s&pool_size=8").dynamic_with(scope([int("n")])).unwrap();
    // All connections of the pool, all of which are dead afterwards.
    thread::scope(|threads| {
        (0..8).for_each(|_| {
            drop(threads.spawn(|| (0..20).for_each(|_| assert!(!a.exists("x").unwrap()))))
        });
    });
    a.set_many((0..500).map(|n| (format!("k{n}"), json!({"n": n})))).unwrap();
    let mut listing = a.keys().unwrap();
    listing.next().unwrap().unwrap();
    services("restart", server.engine);
    // The state of the listing is lost with the server, which is reported and does not end the
    // listing silently.
    let error = listing.find_map(Result::err).unwrap();
    assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::Unavailable, true), "{error}");
    assert!(error.to_string().contains("start the listing again"), "{error}");
    assert!(listing.next().is_none());
    for (call, _) in CALLS {
        assert!(call(&a).is_none_or(|error| panic!("{error}")));
    }
}

fn no_acknowledged_write_is_lost(server: &Server) {
    let a = open(server);
    let write = |writer: usize| {
        let a = &a;
        move || {
            let (mut acknowledged, start) = (Vec::new(), Instant::now());
            for n in 0.. {
                if start.elapsed() > SECOND * 3 {
                    break;
                }
                let (key, before) = (format!("{writer}-{n}"), Instant::now());
                if a.set(key.as_str(), json!({"n": 1})).is_ok() {
                    acknowledged.push(key);
                }
                assert!(before.elapsed() <= TIMEOUT * 11 / 10, "{:?}", before.elapsed());
            }
            acknowledged
        }
    };
    let acknowledged: Vec<String> = thread::scope(|threads| {
        let writers: Vec<_> = (0..4).map(|writer| threads.spawn(write(writer))).collect();
        thread::sleep(SECOND * 3 / 2);
        services("kill", server.engine);
        let error = a.set("x", json!({"n": 1})).unwrap_err();
        assert!(error.is_retryable(), "{error}");
        services("start", server.engine);
        writers.into_iter().flat_map(|writer| writer.join().unwrap()).collect()
    });
    let start = Instant::now();
    while let Err(error) = a.len() {
        assert!(start.elapsed() < SECOND * 20, "{error}");
    }
    assert!(acknowledged.len() > 50, "{}", acknowledged.len());
    let patient = server.cache().dynamic_with(scope([int("n")])).unwrap();
    let found = patient.fetch_many(acknowledged.iter().map(String::as_str)).unwrap();
    assert_eq!(found.iter().filter(|record| record.is_none()).count(), 0);
}
