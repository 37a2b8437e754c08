//! The server stops, dies and comes back.

use std::thread;
use std::time::{Duration, Instant};

use hilcat::{Cache, DynScope, Error, ErrorKind};
use serde_json::json;

use crate::Test;
use crate::load::{self, DEADLINE, TORMENTS, Torment, survives};
use crate::support::{SECOND, Server, int, null, scope, services, text};

pub(crate) const TESTS: &[Test] = &[
    ("every_call_ends_while_the_server_is_stopped", every_call_ends_while_the_server_is_stopped),
    ("a_restart_is_not_noticed_by_what_can_be_repeated", a_restart_is_not_noticed),
    ("no_write_is_lost_when_the_server_is_killed", |server| {
        no_acknowledged_write_is_lost(server, TORMENTS[0])
    }),
    ("no_write_is_lost_when_the_server_is_stopped", |server| {
        no_acknowledged_write_is_lost(server, TORMENTS[1])
    }),
    ("no_write_is_lost_when_the_server_is_restarted", |server| {
        no_acknowledged_write_is_lost(server, TORMENTS[2])
    }),
];

const TIMEOUT: Duration = Duration::from_secs(2);

fn open(server: &Server) -> DynScope {
    // Made by a cache that has more time.
    server.cache().dynamic_with(scope([int("n")])).unwrap();
    let cache = Cache::from_uri(&server.with("timeout=2s&pool_size=4")).unwrap();
    cache.dynamic_with(scope([int("n")])).unwrap()
}

type Call = fn(&DynScope) -> Option<Error>;
const CALLS: [Call; 8] = [
    |a| a.fetch("x").err(),
    |a| a.exists("x").err(),
    |a| a.fetch_many(["x", "y"]).err(),
    |a| a.set("x", json!({"n": 2})).err(),
    |a| a.update("x", json!({"n": 2})).err(),
    |a| a.set_many([("x", json!({"n": 2}))]).err(),
    |a| a.pop("x").err(),
    |a| a.len().err(),
];

fn every_call_ends_while_the_server_is_stopped(server: &Server) {
    let a = open(server);
    a.set("x", json!({"n": 1})).unwrap();
    services("pause", server.engine);
    let calls = CALLS.map(|call| {
        let start = Instant::now();
        (call(&a), start.elapsed())
    });
    let at_once = thread::scope(|threads| {
        let threads = [(); 8].map(|()| {
            threads.spawn(|| {
                let start = Instant::now();
                (a.fetch("x").err(), start.elapsed())
            })
        });
        threads.map(|thread| thread.join().unwrap())
    });
    services("resume", server.engine);
    for (error, took) in calls.into_iter().chain(at_once) {
        let error = error.unwrap();
        assert!(matches!(error.kind(), ErrorKind::Unavailable | ErrorKind::Timeout), "{error}");
        assert!(error.is_retryable());
        assert!(took >= TIMEOUT * 9 / 10 && took <= TIMEOUT * 11 / 10, "{took:?}: {error}");
    }
    // No restart of the application is needed.
    let start = Instant::now();
    while let Err(error) = a.set("x", json!({"n": 3})) {
        assert!(start.elapsed() < SECOND * 5, "{error}");
    }
    assert_eq!(a.fetch("x").unwrap(), Some(json!({"id": "x", "n": 3})));
}

fn a_restart_is_not_noticed(server: &Server) {
    let a = open(server);
    a.set("x", json!({"n": 1})).unwrap();
    // As many connections as there can be, all of them dead afterwards.
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
        services("restart", server.engine);
        let error = call(&a);
        let repeated = !matches!(at, 4 | 6);
        match error {
            None => {}
            Some(error) => {
                assert!(!repeated, "call {at}: {error}");
                assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
                assert!(call(&a).is_none());
            }
        }
    }
    services("kill", server.engine);
    let error = a.set("x", json!({"n": 1})).unwrap_err();
    assert!(error.is_retryable(), "{error}");
    services("start", server.engine);
    let start = Instant::now();
    while let Err(error) = a.fetch("x") {
        assert!(start.elapsed() < SECOND * 5, "{error}");
    }
}

fn no_acknowledged_write_is_lost(server: &Server, torment: Torment) {
    let schema = || scope([null(text("v"))]);
    let reader = server.cache().dynamic_with(schema()).unwrap();
    let options = format!("timeout={}ms&pool_size=8", DEADLINE.as_millis());
    let writers = Cache::from_uri(&server.with(&options)).unwrap().dynamic_with(schema()).unwrap();
    print!("{} {}: ", server.engine, torment.0);
    survives(&writers, &reader, || {
        load::torment(torment, |command| services(command, server.engine))
    });
}
