//! Connections that the server closed while they were idle, and servers that became read-only.

use std::thread;
use std::time::{Duration, Instant};

use hilcat::{Cache, DynScope, ErrorKind};
use libtest_mimic::{Completion, Failed};
use mysql::prelude::Queryable;
use serde_json::json;

use crate::server::{Case, PASSED, Server, cases, name, texts};

pub const CASES: &[Case] = cases![
    idle_connections_that_were_killed,
    idle_connections_past_the_wait_timeout,
    the_first_login_of_a_user_on_this_machine,
    a_server_that_is_read_only_for_a_while,
    a_read_only_server,
    a_write_is_not_repeated_with_retry_never,
];

const SECOND: Duration = Duration::from_secs(1);

fn scope(server: &Server, options: &str) -> DynScope {
    Cache::from_uri(&server.with(options)).unwrap().dynamic_with(texts(&name())).unwrap()
}

/// Kills all connections of hilcat, including those of other tests.
fn kill_all(raw: &mut mysql::Conn) {
    let ids: Vec<u64> = raw
        .query("SELECT id FROM information_schema.processlist WHERE id <> CONNECTION_ID() AND user = 'hilcat'")
        .unwrap();
    for id in ids {
        // The connection may have ended already.
        let _ = raw.query_drop(format!("KILL {id}"));
    }
    // The ends of the streams need a moment to arrive.
    thread::sleep(SECOND / 5);
}

/// Makes the calls that are not idempotent.
fn once(scope: &DynScope, mut before: impl FnMut()) {
    for _ in 0..3 {
        scope.set_many(["a", "b", "c"].map(|key| (key, json!({"v": "1"})))).unwrap();
        before();
        assert!(scope.pop("a").unwrap().is_some());
        before();
        assert!(scope.update("b", json!({"v": "2"})).unwrap().is_some());
        before();
        assert_eq!(scope.pop_many(["b", "c"]).unwrap().iter().flatten().count(), 2);
    }
}

fn idle_connections_that_were_killed(server: &Server) -> Result<Completion, Failed> {
    let mut raw = server.raw();
    once(&scope(server, "timeout=10s"), || kill_all(&mut raw));
    PASSED
}

/// A global variable of the server, restored on drop.
struct Global<'a> {
    server: &'a Server,
    name: &'static str,
    before: u64,
}

impl<'a> Global<'a> {
    fn set(server: &'a Server, name: &'static str, value: u64) -> Self {
        let mut raw = server.raw();
        let before = raw.query_first(format!("SELECT @@global.{name}")).unwrap().unwrap();
        raw.query_drop(format!("SET GLOBAL {name} = {value}")).unwrap();
        Self { server, name, before }
    }
}

impl Drop for Global<'_> {
    fn drop(&mut self) {
        let sql = format!("SET GLOBAL {} = {}", self.name, self.before);
        self.server.raw().query_drop(sql).unwrap();
    }
}

fn idle_connections_past_the_wait_timeout(server: &Server) -> Result<Completion, Failed> {
    let schema = texts(&name());
    server.open().dynamic_with(schema.clone())?;
    let _two_seconds = Global::set(server, "wait_timeout", 2);
    let scope = Cache::from_uri(&server.with("timeout=10s"))?.dynamic_with(schema)?;
    once(&scope, || thread::sleep(SECOND * 3));
    PASSED
}

/// Opens a scope as a user without the administrator rights that override `read_only`.
fn scope_of_user(server: &Server, options: &str) -> DynScope {
    Cache::from_uri(&of_user(&server.with(options))).unwrap().dynamic_with(texts(&name())).unwrap()
}

fn of_user(uri: &str) -> String {
    let (scheme, rest) = uri.split_once("://").unwrap();
    format!("{scheme}://{USER}:{USER}@{}", rest.rsplit_once('@').unwrap().1)
}

const USER: &str = "hilcat_plain";

fn create_user(server: &Server) {
    let mut raw = server.raw();
    let database: String = raw.query_first("SELECT DATABASE()").unwrap().unwrap();
    for sql in [
        format!("DROP USER IF EXISTS {USER}"),
        format!("CREATE USER {USER} IDENTIFIED BY '{USER}'"),
        format!("GRANT ALL ON `{database}`.* TO {USER}"),
    ] {
        raw.query_drop(sql).unwrap();
    }
}

/// The server's password cache is empty, so it requests the password, without TLS.
fn the_first_login_of_a_user_on_this_machine(server: &Server) -> Result<Completion, Failed> {
    create_user(server);
    for _ in 0..2 {
        Cache::from_uri(&of_user(&server.with("ssl-mode=disabled")))?.scopes()?;
    }
    PASSED
}

fn a_server_that_is_read_only_for_a_while(server: &Server) -> Result<Completion, Failed> {
    create_user(server);
    let scope = scope_of_user(server, "timeout=10s");
    scope.set("a", json!({"v": "1"})).unwrap();
    let read_only = Global::set(server, "read_only", 1);
    let done = thread::scope(|threads| {
        let start = Instant::now();
        let scope = &scope;
        let calls = threads.spawn(move || {
            scope.set("a", json!({"v": "2"}))?;
            // The call waited until the server accepted writes.
            assert!(start.elapsed() > SECOND / 2);
            scope.update("a", json!({"v": "3"}))
        });
        thread::sleep(SECOND);
        drop(read_only);
        calls.join().unwrap()
    });
    assert_eq!(done.unwrap().unwrap()["v"], json!("2"));
    PASSED
}

fn a_read_only_server(server: &Server) -> Result<Completion, Failed> {
    create_user(server);
    let scope = scope_of_user(server, "timeout=1s");
    scope.set("a", json!({"v": "1"})).unwrap();
    let read_only = Global::set(server, "read_only", 1);
    let start = Instant::now();
    let (refused, read) = (scope.pop("a"), scope.fetch("a"));
    let took = start.elapsed();
    drop(read_only);
    let error = refused.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    assert!(error.to_string().contains("read-only"), "{error}");
    assert!(read.unwrap().is_some() && took < SECOND * 2, "{took:?}");
    assert!(scope.pop("a").unwrap().is_some());
    PASSED
}

fn a_write_is_not_repeated_with_retry_never(server: &Server) -> Result<Completion, Failed> {
    use crate::proxy::{Mode, Proxy};
    let (proxy, uri) = Proxy::before(&server.uri);
    for (retry, done) in [("idempotent", true), ("never", false)] {
        let cache =
            Cache::from_uri(&format!("{uri}?ssl-mode=disabled&timeout=10s&retry={retry}")).unwrap();
        let scope = cache.dynamic_with(texts(&name())).unwrap();
        scope.set("a", json!({"v": "1"})).unwrap();
        proxy.set(Mode::CutOnce);
        let result = scope.set("a", json!({"v": "2"}));
        assert_eq!(result.is_ok(), done, "{retry}: {result:?}");
        if let Err(error) = result {
            assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
            assert!(error.to_string().contains("not known"), "{error}");
        }
    }
    PASSED
}
