//! Every server backend behind a proxy that delays data or closes idle connections: each call ends by
//! its deadline, and the cache works again afterwards.

#![allow(clippy::unwrap_used, reason = "a failed test panics")]
#![allow(unreachable_pub, reason = "the modules of a test are its own")]

mod proxy;

use std::hash::{BuildHasher, RandomState};
use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant};

use hilcat::{Cache, Column, ColumnType, DynScope, ErrorKind, Schema};
use libtest_mimic::{Arguments, Completion, Trial};
use serde_json::json;

use self::proxy::{Mode, Proxy};

/// The servers, by the environment variables with their URIs.
const SERVERS: [(&str, &str); 6] = [
    ("postgresql15", "HILCAT_TEST_POSTGRESQL15"),
    ("postgresql18", "HILCAT_TEST_POSTGRESQL18"),
    ("mysql8", "HILCAT_TEST_MYSQL8"),
    ("mariadb", "HILCAT_TEST_MARIADB"),
    ("redis", "HILCAT_TEST_REDIS"),
    ("elasticsearch8", "HILCAT_TEST_ELASTICSEARCH8"),
];

type Case = (&'static str, fn(&Test));

const CASES: [Case; 6] = [
    ("a_slow_link", a_slow_link),
    ("a_server_that_drips", a_server_that_drips),
    ("opening_through_a_server_that_drips", opening_through_a_server_that_drips),
    ("idle_connections_that_are_closed", idle_connections_that_are_closed),
    ("one_deadline_for_all_steps_of_get", one_deadline_for_all_steps_of_get),
    ("an_answer_larger_than_allowed", an_answer_larger_than_allowed),
];

const SECOND: Duration = Duration::from_secs(1);

/// The deadline, with a tolerance for a busy machine.
const LATEST: Duration = Duration::from_millis(1_600);

/// A server behind a proxy, with its own scope.
struct Test {
    proxy: Proxy,
    uri: String,
    direct: DynScope,
    schema: Schema,
}

impl Test {
    fn of(uri: &str) -> Self {
        let (proxy, through) = Proxy::before(uri);
        let name = format!("tr{:016x}", RandomState::new().hash_one(std::process::id()));
        let schema = Schema::new(name)
            .unique(Column::new("id", ColumnType::Text))
            .column(Column::new("v", ColumnType::Text).nullable(true));
        let direct = Cache::from_uri(uri).unwrap().dynamic_with(schema.clone()).unwrap();
        Self { proxy, uri: through, direct, schema }
    }

    fn through(&self, options: &str) -> DynScope {
        self.cache(options).dynamic_with(self.schema.clone()).unwrap()
    }

    fn cache(&self, options: &str) -> Cache {
        let sign = if self.uri.contains('?') { '&' } else { '?' };
        Cache::from_uri(&format!("{}{sign}{options}", self.uri)).unwrap()
    }
}

type Call = (&'static str, fn(&DynScope) -> hilcat::Result<()>);

/// A call of each kind.
const CALLS: [Call; 12] = [
    ("fetch", |scope| scope.fetch("big").map(drop)),
    ("exists", |scope| scope.exists("big").map(drop)),
    ("fetch_many", |scope| scope.fetch_many(["big", "other"]).map(drop)),
    ("get", |scope| scope.get("big", || json!({"v": "computed"})).map(drop)),
    ("set", |scope| scope.set("small", json!({"v": "x"}))),
    ("set_many", |scope| scope.set_many([("small", json!({"v": "x"}))]).map(drop)),
    ("update", |scope| scope.update("big", json!({"v": "x"})).map(drop)),
    ("pop", |scope| scope.pop("big").map(drop)),
    ("pop_many", |scope| scope.pop_many(["big", "other"]).map(drop)),
    ("keys", |scope| scope.keys()?.try_for_each(|key| key.map(drop))),
    ("iter", |scope| scope.iter()?.try_for_each(|record| record.map(drop))),
    ("len", |scope| scope.len().map(drop)),
];

fn big() -> serde_json::Value {
    json!({"v": "x".repeat(1_500_000)})
}

/// Runs a call, which must end in time, and may fail only as after a deadline. Returns whether it
/// succeeded.
fn bounded(name: &str, call: impl FnOnce() -> hilcat::Result<()>) -> bool {
    let start = Instant::now();
    let result = call();
    let took = start.elapsed();
    assert!(took < LATEST, "{name} took {took:?}: {result:?}");
    if let Err(error) = &result {
        let expected = matches!(error.kind(), ErrorKind::Timeout | ErrorKind::Unavailable);
        assert!(expected && error.is_retryable(), "{name}: {error}");
    }
    result.is_ok()
}

/// Checks that the cache works again, and that the record of another program is read completely.
fn works_again(test: &Test, scope: &DynScope) {
    test.proxy.set(Mode::Pass);
    let deadline = Instant::now() + SECOND * 20;
    while scope.set("again", json!({"v": "1"})).is_err() {
        assert!(Instant::now() < deadline, "the cache does not work again");
        thread::sleep(SECOND / 20);
    }
    test.direct.set("again", json!({"v": "2"})).unwrap();
    assert_eq!(scope.fetch("again").unwrap().unwrap()["v"], json!("2"));
}

fn a_slow_link(test: &Test) {
    let scope = test.through("timeout=1s");
    scope.fetch("big").unwrap();
    for (name, call) in CALLS {
        test.direct.set("big", big()).unwrap();
        test.proxy.set(Mode::Throttle(100_000));
        let done = bounded(name, || call(&scope));
        let large = matches!(name, "fetch" | "fetch_many" | "get" | "iter");
        assert!(!done || !large, "{name} of 1.5 MB through 100 kB/s");
        works_again(test, &scope);
    }
    test.proxy.set(Mode::Throttle(100_000));
    bounded("set of 1.5 MB", || scope.set("big", big()));
    works_again(test, &scope);
}

fn a_server_that_drips(test: &Test) {
    let scope = test.through("timeout=1s");
    test.direct.set("big", json!({"v": "x".repeat(1_000)})).unwrap();
    scope.fetch("big").unwrap();
    for (name, call) in CALLS {
        test.proxy.set(Mode::Drip(SECOND / 5));
        bounded(name, || call(&scope));
        works_again(test, &scope);
    }
}

fn opening_through_a_server_that_drips(test: &Test) {
    test.proxy.set(Mode::Drip(SECOND / 5));
    let sign = if test.uri.contains('?') { '&' } else { '?' };
    let uri = format!("{}{sign}timeout=1s", test.uri);
    bounded("opening", || Cache::from_uri(&uri)?.scopes().map(drop));
}

fn idle_connections_that_are_closed(test: &Test) {
    let scope = test.through("timeout=5s");
    test.proxy.set(Mode::CloseIdle(SECOND / 5));
    for (name, call) in CALLS {
        test.direct.set("big", json!({"v": "x"})).unwrap();
        scope.fetch("big").unwrap();
        thread::sleep(SECOND / 2);
        call(&scope).unwrap_or_else(|error| panic!("{name}: {error}"));
    }
}

fn one_deadline_for_all_steps_of_get(test: &Test) {
    let scope = test.through("timeout=1s");
    scope.fetch("slow").unwrap();
    test.proxy.set(Mode::Delay(SECOND * 7 / 10));
    let start = Instant::now();
    let result = scope.get("slow", || json!({"v": "computed"}));
    let took = start.elapsed();
    assert!(took < LATEST && result.is_err(), "{took:?}: {result:?}");
    works_again(test, &scope);
    // The time of the computation does not count.
    let slow = || {
        thread::sleep(SECOND * 2);
        json!({"v": "computed"})
    };
    assert_eq!(scope.get("computed", slow).unwrap()["v"], json!("computed"));
    assert_eq!(test.direct.fetch("computed").unwrap().unwrap()["v"], json!("computed"));
}

fn an_answer_larger_than_allowed(test: &Test) {
    test.direct.set("big", big()).unwrap();
    let scope = test.through("max_response=1mb");
    for _ in 0..3 {
        let error = scope.fetch("big").unwrap_err();
        assert!(error.to_string().contains("`max_response`"), "{error}");
        assert!(!error.is_retryable(), "{error}");
        works_again(test, &scope);
    }
    let scope = test.through("max_response=2mb");
    assert_eq!(scope.fetch("big").unwrap().unwrap()["v"], big()["v"]);
}

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    // The tests measure times, so they run one at a time.
    arguments.test_threads = Some(1);
    let mut trials = Vec::new();
    for (engine, variable) in SERVERS {
        for (name, run) in CASES {
            trials.push(Trial::ignorable_test(format!("{engine}::{name}"), move || {
                let Ok(uri) = std::env::var(variable) else {
                    return Ok(Completion::ignored_with(format!("{variable} is not set")));
                };
                let test = Test::of(&uri);
                run(&test);
                test.proxy.set(Mode::Pass);
                test.direct.clear()?;
                Ok(Completion::Completed)
            }));
        }
    }
    libtest_mimic::run(&arguments, trials).exit_code()
}
