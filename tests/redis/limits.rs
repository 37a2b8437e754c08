//! Servers that have reached a limit, or that deny a user something. These tests change settings of
//! the shared server, so each runs alone.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::thread;
use std::time::Instant;

use hilcat::{Cache, ErrorKind};
use serde_json::json;

use crate::Test;
use crate::support::{Other, SECOND, Server, numbers, until};

pub(crate) const TESTS: &[Test] = &[
    ("calls_wait_for_a_full_server", calls_wait_for_a_full_server),
    ("records_can_be_removed_when_memory_is_full", records_can_be_removed_when_memory_is_full),
    ("denied_commands_are_named", denied_commands_are_named),
    ("servers_that_cannot_save_are_reported", servers_that_cannot_save_are_reported),
    ("closed_connections_are_not_used", closed_connections_are_not_used),
    ("writes_are_repeated_only_if_allowed", writes_are_repeated_only_if_allowed),
];

/// A setting of a server, restored on drop.
struct Setting<'a> {
    server: &'a Server,
    other: Other,
    name: &'a str,
    before: String,
}

impl<'a> Setting<'a> {
    fn new(server: &'a Server, name: &'a str, value: &str) -> Self {
        let mut other = server.other();
        let before: Vec<String> = other.ask(&["CONFIG", "GET", name]);
        other.ask::<()>(&["CONFIG", "SET", name, value]);
        Self { server, other, name, before: before[1].clone() }
    }
}

impl Drop for Setting<'_> {
    fn drop(&mut self) {
        let set = ["CONFIG", "SET", self.name, &self.before];
        // Uses its own connection, since there may be no room for another one, unless the server
        // closed it.
        if self.other.ask_or_refusal::<()>(&set).is_none() {
            self.server.other().ask::<()>(&set);
        }
    }
}

fn clients(other: &mut Other) -> usize {
    let info: String = other.ask(&["INFO", "clients"]);
    let line = info.lines().find_map(|line| line.strip_prefix("connected_clients:"));
    line.unwrap().trim().parse().unwrap()
}

/// Calls without a connection wait for one in use.
fn calls_wait_for_a_full_server(server: &Server) {
    for options in ["timeout=20s", "timeout=20s&protocol=resp3", "timeout=20s&db=1"] {
        let uri = server.with(&format!("{options}&pool_size=16"));
        let scope = Cache::from_uri(&uri).unwrap().dynamic_with(numbers()).unwrap();
        let mut other = server.other();
        let most = clients(&mut other) + 3;
        let setting = Setting::new(server, "maxclients", &most.to_string());
        let work = |worker: usize| {
            let scope = &scope;
            move || {
                for n in 0..40 {
                    let key = format!("{worker}-{n}");
                    scope.set(&*key, json!({"n": n})).unwrap();
                    assert_eq!(scope.pop(&*key).unwrap(), Some(json!({"id": key, "n": n})));
                }
            }
        };
        thread::scope(|threads| (0..16).for_each(|worker| drop(threads.spawn(work(worker)))));
        drop(setting);
    }
    // Other programs use all connections of the server.
    let mut other = server.other();
    let most = clients(&mut other) + 1;
    let setting = Setting::new(server, "maxclients", &most.to_string());
    let start = Instant::now();
    let error = Cache::from_uri(&server.with("timeout=500ms")).unwrap_err();
    assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::Timeout, true), "{error}");
    assert!(error.to_string().contains("maxclients"), "{error}");
    assert!(
        start.elapsed() >= SECOND * 9 / 20 && start.elapsed() < SECOND,
        "{:?}",
        start.elapsed()
    );
    let uri = server.with("timeout=20s");
    thread::scope(|threads| {
        let opened = threads.spawn(|| Cache::from_uri(&uri).map(drop));
        thread::sleep(SECOND / 5);
        drop(other);
        opened.join().unwrap().unwrap();
    });
    drop(setting);
}

fn records_can_be_removed_when_memory_is_full(server: &Server) {
    for options in ["layout=record", "layout=hash", "layout=plain", "layout=hash&protocol=resp3"] {
        let cache = Cache::from_uri(&server.with(options)).unwrap();
        let scope = cache.dynamic_with(numbers()).unwrap();
        scope.set_many((0..9).map(|n| (format!("k{n}"), json!({"n": n})))).unwrap();
        let setting = Setting::new(server, "maxmemory", "1");
        let refused = [
            scope.set("x", json!({"n": 1})).unwrap_err(),
            scope.update("k1", json!({"n": 1})).unwrap_err(),
            scope.set_many([("k1", json!({"n": 1})), ("k2", json!({"n": 1}))]).unwrap_err(),
        ];
        for error in refused {
            assert_eq!(
                (error.kind(), error.is_retryable()),
                (ErrorKind::Backend, false),
                "{error}"
            );
            assert!(error.to_string().contains("maxmemory"), "{error}");
        }
        assert_eq!(scope.fetch("k1").unwrap(), Some(json!({"id": "k1", "n": 1})));
        assert_eq!(scope.pop("k1").unwrap(), Some(json!({"id": "k1", "n": 1})));
        assert_eq!(scope.pop("k1").unwrap(), None);
        let popped = scope.pop_many(["k2", "no", "k3", "k2"]).unwrap();
        assert_eq!(
            popped.iter().map(Option::is_some).collect::<Vec<_>>(),
            [true, false, true, false]
        );
        assert_eq!(scope.len().unwrap(), 6);
        scope.clear().unwrap();
        assert_eq!(scope.len().unwrap(), 0);
        drop(setting);
    }
}

fn denied_commands_are_named(server: &Server) {
    let setup = server.cache().dynamic_with(numbers()).unwrap();
    setup.set("x", json!({"n": 1})).unwrap();
    let (mut other, user) = (server.other(), format!("u{}", server.prefix));
    let setup = ["ACL", "SETUSER", &user, "on", ">pw", "~*", "&*", "+@all", "-set", "-get"];
    other.ask::<()>(&setup);
    let open = || {
        let place = format!("redis://{user}:pw@{}/?prefix={}", server.address(), server.prefix);
        Cache::from_uri(&format!("{place}&timeout=5s")).unwrap().dynamic_with(numbers()).unwrap()
    };
    let scope = open();
    let start = Instant::now();
    let refused = |error: hilcat::Error, reason: &str| {
        assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::Backend, false), "{error}");
        assert!(error.to_string().contains(reason), "{error}");
        assert!(!error.to_string().contains("login"), "{error}");
    };
    refused(scope.set("x", json!({"n": 2})).unwrap_err(), "`set`");
    refused(scope.fetch("x").unwrap_err(), "`get`");
    refused(scope.pop("x").unwrap_err(), "`get`");
    other.ask::<()>(&["ACL", "SETUSER", &user, "+set", "+get", "-exec", "-eval"]);
    refused(scope.update("x", json!({"n": 2})).unwrap_err(), "`exec`");
    refused(scope.pop("x").unwrap_err(), "`eval`");
    other.ask::<()>(&["ACL", "SETUSER", &user, "+@all", "resetkeys", "~*::scopes", "~*:a:y"]);
    refused(scope.fetch("x").unwrap_err(), "key");
    assert_eq!(scope.fetch("y").unwrap(), None);
    assert!(start.elapsed() < SECOND * 4, "{:?}", start.elapsed());
    other.ask::<()>(&["ACL", "DELUSER", &user]);
    assert_eq!(server.cache().dynamic_with(numbers()).unwrap().len().unwrap(), 1);
}

fn servers_that_cannot_save_are_reported(server: &Server) {
    let scope = server.cache().dynamic_with(numbers()).unwrap();
    let mut other = server.other();
    let dir: Vec<String> = other.ask(&["CONFIG", "GET", "dir"]);
    let before = fs::metadata(&dir[1]).unwrap().permissions();
    let saved = |other: &mut Other, status: &str| {
        other.ask::<()>(&["BGSAVE"]);
        until(SECOND * 10, || {
            let info: String = other.ask(&["INFO", "persistence"]);
            info.contains(&format!("rdb_last_bgsave_status:{status}"))
        });
    };
    let setting = Setting::new(server, "save", "3600 1");
    fs::set_permissions(&dir[1], Permissions::from_mode(0o500)).unwrap();
    saved(&mut other, "err");
    let refused = [
        scope.set("x", json!({"n": 1})).unwrap_err(),
        scope.update("x", json!({"n": 1})).unwrap_err(),
    ];
    fs::set_permissions(&dir[1], before).unwrap();
    saved(&mut other, "ok");
    drop(setting);
    for error in refused {
        assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::Backend, false), "{error}");
        assert!(error.to_string().contains("disk"), "{error}");
    }
    scope.set("x", json!({"n": 1})).unwrap();
}

/// A call that is not idempotent is not sent on a connection that the server has closed.
fn closed_connections_are_not_used(server: &Server) {
    let mut other = server.other();
    let kill = |other: &mut Other| {
        other.ask::<()>(&["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"]);
        thread::sleep(SECOND / 20);
    };
    let setting = Setting::new(server, "timeout", "0");
    for options in ["layout=record", "layout=hash", "layout=record&protocol=resp3"] {
        let uri = server.with(&format!("{options}&timeout=10s&retry=never"));
        let scope = Cache::from_uri(&uri).unwrap().dynamic_with(numbers()).unwrap();
        let calls = |mut before: Box<dyn FnMut() + '_>| {
            scope.set_many(["a", "b", "c"].map(|key| (key, json!({"n": 1})))).unwrap();
            before();
            assert!(scope.pop("a").unwrap().is_some(), "{options}");
            before();
            assert!(scope.update("b", json!({"n": 2})).unwrap().is_some(), "{options}");
            before();
            scope.set("d", json!({"n": 2})).unwrap();
            before();
            assert_eq!(scope.pop_many(["b", "c"]).unwrap().iter().flatten().count(), 2);
        };
        for _ in 0..3 {
            calls(Box::new(|| kill(&mut other)));
        }
        let mut idle = server.other();
        idle.ask::<()>(&["CONFIG", "SET", "timeout", "1"]);
        calls(Box::new(|| thread::sleep(SECOND * 5 / 2)));
        server.other().ask::<()>(&["CONFIG", "SET", "timeout", "0"]);
        other = server.other();
    }
    drop(setting);
}

fn writes_are_repeated_only_if_allowed(server: &Server) {
    for (retry, done) in [("idempotent", true), ("never", false)] {
        let uri = server.with(&format!("timeout=20s&retry={retry}"));
        let scope = Cache::from_uri(&uri).unwrap().dynamic_with(numbers()).unwrap();
        scope.set("x", json!({"n": 1})).unwrap();
        let mut other = server.other();
        other.ask::<()>(&["CLIENT", "PAUSE", "1500", "WRITE"]);
        let result = thread::scope(|threads| {
            let set = threads.spawn(|| scope.set("x", json!({"n": 2})));
            thread::sleep(SECOND / 2);
            other.ask::<()>(&["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"]);
            set.join().unwrap()
        });
        assert_eq!(result.is_ok(), done, "{retry}: {result:?}");
        if let Err(error) = result {
            assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
        }
        other.ask::<()>(&["CLIENT", "UNPAUSE"]);
        let n = if done { 2 } else { 1 };
        assert_eq!(scope.fetch("x").unwrap(), Some(json!({"id": "x", "n": n})), "{retry}");
    }
}
