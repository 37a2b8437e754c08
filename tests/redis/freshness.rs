//! Times to live in the server, and leases.

use std::sync::mpsc;
use std::thread;
use std::time::{Duration, UNIX_EPOCH};

use hilcat::testing::ManualClock;
use hilcat::{Cache, Column, ColumnType, DynScope, Schema, SingleFlight};
use serde_json::json;

use crate::Test;
use crate::support::{SECOND, Server, numbers, until};

pub(crate) const TESTS: &[Test] = &[
    ("the_server_keeps_records_for_their_windows", the_server_keeps_records_for_their_windows),
    ("writes_without_an_expiry_clear_it", writes_without_an_expiry_clear_it),
    ("expired_records_are_removed_at_once", expired_records_are_removed_at_once),
    ("a_column_can_carry_the_expiry", a_column_can_carry_the_expiry),
    ("bare_values_expire_in_the_server", bare_values_expire_in_the_server),
    ("older_handles_clear_the_expiry", older_handles_clear_the_expiry),
    ("the_registry_has_the_latest_options", the_registry_has_the_latest_options),
    ("leases_are_separate_keys", leases_are_separate_keys),
    ("a_removal_revokes_the_lease", a_removal_revokes_the_lease),
];

pub(crate) const CLUSTER: &[Test] = &[
    ("leases_are_in_the_slots_of_the_records", leases_are_in_the_slots_of_the_records),
    ("a_removal_revokes_the_lease", a_removal_revokes_the_lease),
    ("expired_records_are_replaced", expired_records_are_replaced),
];

const LAYOUTS: [&str; 3] = ["layout=record", "layout=hash", "slots=scope&format=msgpack"];

fn nullable() -> Schema {
    numbers().column(Column::new("m", ColumnType::BigInt).nullable(true))
}

/// Returns the name of a record.
fn name(server: &Server, options: &str, key: &str) -> String {
    let scope = if options.contains("slots") { "{a}" } else { "a" };
    format!("{}:{scope}:{key}", server.prefix)
}

fn open(server: &Server, options: &str, clock: &ManualClock, schema: Schema) -> DynScope {
    let cache = Cache::builder(server.with(options)).clock(clock.clone()).open().unwrap();
    cache.dynamic_with(schema).unwrap()
}

/// A clock that differs from that of the server, which only receives remaining times.
fn clock() -> ManualClock {
    ManualClock::new(UNIX_EPOCH + SECOND * 1_000_000_000)
}

fn the_server_keeps_records_for_their_windows(server: &Server) {
    let mut other = server.other();
    for options in LAYOUTS {
        let clock = clock();
        let schema = nullable().ttl(SECOND * 60).stale_if_error(SECOND * 40);
        let scope = open(server, options, &clock, schema.stale_while_revalidate(SECOND * 10));
        let whole = json!({"n": 1, "m": 1});
        scope.set("set", whole.clone()).unwrap();
        scope.set("part", json!({"n": 1})).unwrap();
        scope.set("part", json!({"m": 2})).unwrap();
        scope.update("updated", whole.clone()).unwrap();
        scope.set_many([("many", whole.clone()), ("more", json!({"n": 2}))]).unwrap();
        scope.get("computed", || whole.clone()).unwrap();
        scope
            .get_many(["computed many"], |keys| keys.into_iter().map(|key| (key, whole.clone())))
            .unwrap();
        scope.refresh("refreshed", || whole.clone()).unwrap();
        let mut left = |key: &str| -> i64 { other.ask(&["PTTL", &name(server, options, key)]) };
        let keys =
            ["set", "part", "updated", "many", "more", "computed", "computed many", "refreshed"];
        for key in keys {
            assert!((95_000..=100_000).contains(&left(key)), "{options} {key}: {}", left(key));
        }
        scope.set_with_ttl("set", whole.clone(), SECOND).unwrap();
        assert!((36_000..=41_000).contains(&left("set")), "{options}");
        assert!(scope.touch("set").unwrap());
        assert!((95_000..=100_000).contains(&left("set")), "{options}");
        // A stale record keeps its remaining time.
        clock.advance(SECOND * 70);
        assert!(!scope.touch("set").unwrap() && scope.fetch("set").unwrap().is_none());
        assert_eq!(scope.len().unwrap(), 0, "{options}");
        assert!(scope.entry("set").unwrap().unwrap().is_stale());
        assert_eq!(
            scope.get("set", || json!({"n": 9, "m": 9})).unwrap(),
            json!({"id": "set", "n": 9, "m": 9})
        );
        assert!((95_000..=100_000).contains(&left("set")), "{options}");
        scope.clear().unwrap();
    }
}

fn writes_without_an_expiry_clear_it(server: &Server) {
    let mut other = server.other();
    for options in LAYOUTS {
        let clock = clock();
        let with = open(server, options, &clock, nullable().ttl(SECOND));
        let keys = ["a", "b", "c", "d"];
        with.set_many(keys.map(|key| (key, json!({"n": 1, "m": 1})))).unwrap();
        let without = open(server, options, &clock, nullable());
        without.set("a", json!({"n": 2, "m": 2})).unwrap();
        without.set("b", json!({"n": 2})).unwrap();
        without.update("c", json!({"n": 2})).unwrap();
        without.set_many([("d", json!({"n": 2, "m": 2}))]).unwrap();
        clock.advance(SECOND * 100);
        for key in keys {
            let left: i64 = other.ask(&["PTTL", &name(server, options, key)]);
            assert_eq!(left, -1, "{options} {key}");
            assert_eq!(with.fetch(key).unwrap().unwrap()["n"], json!(2), "{options} {key}");
        }
        with.clear().unwrap();
    }
}

fn expired_records_are_removed_at_once(server: &Server) {
    let mut other = server.other();
    for options in LAYOUTS {
        let schema = Schema::new("a")
            .unique(Column::new("id", ColumnType::Text))
            .column(Column::new("until", ColumnType::Timestamp).nullable(true))
            .expires_at("until");
        let clock = clock();
        let scope = open(server, options, &clock, schema);
        let past = json!({"until": "2001-01-01T00:00:00Z"});
        scope.set("a", json!({"until": null})).unwrap();
        scope.set("a", past.clone()).unwrap();
        scope.set_many([("b", past.clone())]).unwrap();
        scope.update("c", past.clone()).unwrap();
        assert!(!scope.exists("a").unwrap());
        for key in ["a", "b", "c"] {
            let name = name(server, options, key);
            until(SECOND * 5, || other.ask::<i64>(&["EXISTS", &name]) == 0);
        }
        scope.clear().unwrap();
    }
}

fn a_column_can_carry_the_expiry(server: &Server) {
    let mut other = server.other();
    for options in LAYOUTS {
        let schema = nullable().column(Column::new("until", ColumnType::Timestamp).nullable(true));
        let schema = schema.expires_at("until").stale_if_error(SECOND * 10);
        let clock = clock();
        let scope = open(server, options, &clock, schema);
        let mut left = |key: &str| -> i64 { other.ask(&["PTTL", &name(server, options, key)]) };
        let until = "2001-09-09T01:47:40Z"; // in a minute
        scope.set("a", json!({"n": 1, "m": 1, "until": until})).unwrap();
        assert!((65_000..=70_000).contains(&left("a")), "{options}: {}", left("a"));
        // A partial write keeps the column and the time to live.
        scope.set("a", json!({"n": 2})).unwrap();
        assert!((65_000..=70_000).contains(&left("a")), "{options}: {}", left("a"));
        scope.set("a", json!({"until": null})).unwrap();
        assert_eq!(left("a"), -1, "{options}");
        scope.clear().unwrap();
    }
}

fn bare_values_expire_in_the_server(server: &Server) {
    let mut other = server.other();
    let cache = Cache::from_uri(&server.with("layout=plain&ttl=60s")).unwrap();
    let scope = cache.map::<String, i64>("m").unwrap();
    let mut left = |key: &str| -> i64 { other.ask(&["PTTL", &format!("{}{key}", server.prefix)]) };
    scope.set("a", &1).unwrap();
    scope.set_many([("b".to_owned(), 2)]).unwrap();
    assert_eq!(scope.get("c".to_owned(), || 3).unwrap(), 3);
    for key in ["a", "b", "c"] {
        assert!((55_000..=60_000).contains(&left(key)), "{key}: {}", left(key));
    }
    scope.set_with_ttl("a", &1, SECOND * 5).unwrap();
    assert!((1..=5_000).contains(&left("a")));
    assert!(scope.touch("a").unwrap() && !scope.touch("no").unwrap());
    assert!((55_000..=60_000).contains(&left("a")));
    assert_eq!((scope.fetch("a").unwrap(), scope.len().unwrap()), (Some(1), 3));
    scope.set_with_ttl("a", &1, Duration::from_millis(50)).unwrap();
    until(SECOND * 5, || scope.fetch("a").unwrap().is_none());
    assert_eq!(scope.keys().unwrap().count(), 2);
    for options in ["stale_if_error=1s", "negative_ttl=1s"] {
        // Defaults apply only where they are supported.
        let cache = Cache::from_uri(&server.with(&format!("layout=plain&ttl=60s&{options}")));
        cache.unwrap().map::<String, i64>("m").unwrap();
    }
    let stale = numbers().ttl(SECOND).stale_if_error(SECOND);
    let shared = numbers().single_flight(SingleFlight::Shared { lease: SECOND });
    for (schema, option) in [(stale, "stale_if_error"), (shared, "single_flight")] {
        let cache = Cache::from_uri(&server.with("layout=plain")).unwrap();
        let error = cache.dynamic_with(schema).unwrap_err();
        assert_eq!(error.kind(), hilcat::ErrorKind::Unsupported);
        assert!(error.to_string().contains(option), "{error}");
    }
}

/// The older handle was opened before another program gave the scope a time to live.
fn older_handles_clear_the_expiry(server: &Server) {
    for options in LAYOUTS {
        let clock = clock();
        let older = open(server, options, &clock, nullable());
        older.set("first", json!({"n": 1, "m": 1})).unwrap();
        let newer = open(server, options, &clock, nullable().ttl(SECOND));
        thread::sleep(SECOND / 4);
        for key in ["whole", "part", "updated"] {
            newer.set(key, json!({"n": 1, "m": 1})).unwrap();
        }
        older.set("whole", json!({"n": 2, "m": 2})).unwrap();
        older.set("part", json!({"n": 2})).unwrap();
        older.update("updated", json!({"n": 2})).unwrap();
        clock.advance(SECOND * 2);
        for key in ["whole", "part", "updated"] {
            let found = newer.fetch(key).unwrap();
            assert_eq!(found.map(|found| found["n"].clone()), Some(json!(2)), "{options} {key}");
        }
        assert!(newer.fetch("first").unwrap().is_some(), "the record had no expiry");
        newer.clear().unwrap();
    }
}

fn the_registry_has_the_latest_options(server: &Server) {
    let mut other = server.other();
    let mut stored =
        || -> String { other.ask(&["HGET", &format!("{}::scopes", server.prefix), "a"]) };
    let clock = clock();
    open(server, "layout=record", &clock, numbers());
    assert!(!stored().contains("ttl"));
    open(server, "layout=record", &clock, numbers().ttl(SECOND * 90));
    assert!(stored().contains("ttl = \"1m30s\"") && stored().contains("hilcat_expires_at"));
    open(server, "layout=record", &clock, numbers().ttl(SECOND * 30));
    assert!(stored().contains("ttl = \"30s\""));
    // A program without an expiry does not change that of other programs.
    open(server, "layout=record", &clock, numbers());
    assert!(stored().contains("ttl = \"30s\"") && stored().contains("hilcat_expires_at"));
}

fn shared(server: &Server, options: &str) -> DynScope {
    let schema = numbers().ttl(SECOND * 60).stale_while_revalidate(SECOND * 60);
    let schema = schema.single_flight(SingleFlight::Shared { lease: SECOND * 3 });
    Cache::from_uri(&server.with(options)).unwrap().dynamic_with(schema).unwrap()
}

fn leases_are_separate_keys(server: &Server) {
    for options in LAYOUTS {
        let scope = shared(server, options);
        scope
            .get("a", || {
                let name = name(server, options, "a");
                let lease = match options.contains("slots") {
                    true => format!("{name}::lease"),
                    false => format!("{{{name}}}::lease"),
                };
                let left: i64 = server.other().ask(&["PTTL", &lease]);
                assert!((1..=3_000).contains(&left), "{lease}: {left}");
                // A lease does not count as a record.
                assert_eq!(scope.len().unwrap(), 0, "{options}");
                json!({"n": 1})
            })
            .unwrap();
        let left: Vec<String> = server.other().ask(&["KEYS", &format!("*{}*lease", server.prefix)]);
        assert_eq!(left, [] as [&str; 0], "{options}");
        assert_eq!(scope.len().unwrap(), 1);
        scope.clear().unwrap();
    }
}

fn a_removal_revokes_the_lease(server: &Server) {
    let removals: [fn(&DynScope); 3] = [
        |scope| assert_eq!(scope.pop("a").unwrap(), None),
        |scope| assert_eq!(scope.pop_many(["x", "a"]).unwrap(), [None, None]),
        |scope| scope.clear().unwrap(),
    ];
    for (options, remove) in LAYOUTS.into_iter().flat_map(|o| removals.map(|remove| (o, remove))) {
        let (first, second) = (shared(server, options), shared(server, options));
        let (began, has_begun) = mpsc::channel();
        let (go_on, is_to_go_on) = mpsc::channel();
        let computed = thread::scope(|threads| {
            let first = &first;
            let computing = threads.spawn(move || {
                first.get("a", move || {
                    began.send(()).unwrap();
                    is_to_go_on.recv().unwrap();
                    json!({"n": 1})
                })
            });
            has_begun.recv().unwrap();
            remove(&second);
            go_on.send(()).unwrap();
            computing.join().unwrap().unwrap()
        });
        assert_eq!(computed, json!({"id": "a", "n": 1}));
        assert_eq!(second.fetch("a").unwrap(), None, "{options}");
        // A record written meanwhile is kept.
        let stored = first.get("a", || {
            second.set("a", json!({"n": 2})).unwrap();
            json!({"n": 3})
        });
        assert_eq!(stored.unwrap(), json!({"id": "a", "n": 2}), "{options}");
        second.clear().unwrap();
    }
}

fn expired_records_are_replaced(server: &Server) {
    for options in ["layout=record", "layout=hash"] {
        let clock = clock();
        let schema = numbers().ttl(SECOND * 60).stale_if_error(SECOND * 60);
        let scope = open(server, options, &clock, schema);
        let keys: Vec<String> = (0..40).map(|n| format!("k{n}")).collect();
        scope.set_many(keys.iter().map(|key| (key, json!({"n": 1})))).unwrap();
        clock.advance(SECOND * 61);
        scope.set("k0", json!({"n": 2})).unwrap();
        let compute = |missing: Vec<serde_json::Value>| {
            assert_eq!(missing.len(), 39);
            missing.into_iter().map(|key| (key, json!({"n": 3})))
        };
        let all = scope.get_many(keys.clone(), compute).unwrap();
        assert_eq!((&all[0]["n"], &all[1]["n"]), (&json!(2), &json!(3)));
        assert_eq!(scope.len().unwrap(), 40);
        scope.clear().unwrap();
    }
}

fn leases_are_in_the_slots_of_the_records(server: &Server) {
    for options in ["layout=record", "slots=scope"] {
        let scope = shared(server, options);
        for key in ["a", "b b", "{x}", "c:d"] {
            scope
                .get(key, || {
                    let all: Vec<String> = ["a", "b b", "%7Bx%7D", "c%3Ad"]
                        .map(|key| name(server, options, key))
                        .into();
                    let slot =
                        |name: &str| -> i64 { server.other().ask(&["CLUSTER", "KEYSLOT", name]) };
                    for name in all {
                        let lease = match options == "slots=scope" {
                            true => format!("{name}::lease"),
                            false => format!("{{{name}}}::lease"),
                        };
                        assert_eq!(slot(&name), slot(&lease));
                    }
                    json!({"n": 1})
                })
                .unwrap();
        }
        assert_eq!(scope.len().unwrap(), 4, "{options}");
        scope.clear().unwrap();
    }
}
