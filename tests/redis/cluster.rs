//! Scopes spread over a cluster, or stored in one slot.

use std::collections::HashSet;

use hilcat::{Cache, Column, ColumnType, ErrorKind, Schema};
use serde_json::json;

use crate::Test;
use crate::support::{Other, Server, numbers};

pub(crate) const TESTS: &[Test] = &[
    ("records_are_spread_over_the_masters", records_are_spread_over_the_masters),
    ("a_scope_can_be_in_one_slot", a_scope_can_be_in_one_slot),
    ("migrated_slots_are_followed", migrated_slots_are_followed),
    ("a_scope_is_opened_while_the_registry_moves", a_scope_is_opened_while_the_registry_moves),
    ("unreadable_records_are_kept", unreadable_records_are_kept),
    ("missing_replicas_are_reported", missing_replicas_are_reported),
];

/// Returns the addresses of the masters.
fn masters(server: &Server) -> Vec<String> {
    let nodes: String = server.other().ask(&["CLUSTER", "NODES"]);
    let masters = nodes.lines().filter(|line| line.contains("master") && !line.contains("fail"));
    masters
        .map(|line| line.split(' ').nth(1).unwrap().split('@').next().unwrap().to_owned())
        .collect()
}

fn records_are_spread_over_the_masters(server: &Server) {
    let scope = server.cache().dynamic_with(numbers()).unwrap();
    let records = || (0..3_000).map(|n| (format!("k{n}"), json!({"n": n})));
    scope.set_many(records()).unwrap();
    let masters = masters(server);
    assert_eq!(masters.len(), 3);
    let mut all = HashSet::new();
    for master in &masters {
        let names = Other::at(master).names(&format!("{}:a:", server.prefix));
        assert!(names.len() > 500, "{master} has {}", names.len());
        all.extend(names);
    }
    assert_eq!(all.len(), 3_000);
    let keys: Vec<_> = scope.keys().unwrap().map(|key| key.unwrap().to_string()).collect();
    assert_eq!((keys.len(), keys.iter().collect::<HashSet<_>>().len()), (3_000, 3_000));
    assert_eq!(scope.len().unwrap(), 3_000);
    let found = scope.fetch_many(["k7", "no", "k2999"]).unwrap();
    assert_eq!(found.iter().filter(|record| record.is_some()).count(), 2);
    scope.clear().unwrap();
    for master in &masters {
        assert_eq!(Other::at(master).names(&format!("{}:a:", server.prefix)), [] as [&str; 0]);
    }
}

fn a_scope_can_be_in_one_slot(server: &Server) {
    for uri in [
        server.with("slots=scope"),
        server.with("timeout=9s").replace(&server.prefix, &format!("{{{}}}", server.prefix)),
    ] {
        let scope = Cache::from_uri(&uri).unwrap().dynamic_with(numbers()).unwrap();
        scope.set_many((0..500).map(|n| (format!("k{n}"), json!({"n": n})))).unwrap();
        let with_any = masters(server)
            .iter()
            .filter(|master| !Other::at(master).names(&format!("*{}*k", server.prefix)).is_empty())
            .count();
        assert_eq!((with_any, scope.len().unwrap()), (1, 500));
        assert_eq!(scope.pop_many(["k1", "no", "k1"]).unwrap()[1..], [None, None]);
        scope.clear().unwrap();
    }
}

/// A slot that is being migrated: the old master replies with ASK.
struct Moving {
    slot: String,
    source: Other,
    target: Other,
    to_id: String,
}

impl Moving {
    /// Starts to migrate the slot of a stored key, and moves all keys in it.
    fn begin(server: &Server, name: &str) -> Self {
        let slot: u16 = server.other().ask(&["CLUSTER", "KEYSLOT", name]);
        let slot = slot.to_string();
        let (from, to): (Vec<_>, Vec<_>) =
            masters(server).into_iter().partition(|at| !Other::at(at).names(name).is_empty());
        let [from] = &from[..] else { panic!("`{name}` is at {from:?}") };
        let (mut source, mut target) = (Other::at(from), Other::at(&to[0]));
        let from_id: String = source.ask(&["CLUSTER", "MYID"]);
        let to_id: String = target.ask(&["CLUSTER", "MYID"]);
        target.ask::<()>(&["CLUSTER", "SETSLOT", &slot, "IMPORTING", &from_id]);
        source.ask::<()>(&["CLUSTER", "SETSLOT", &slot, "MIGRATING", &to_id]);
        let (host, port) = to[0].rsplit_once(':').unwrap();
        // Other tests may have keys in the slot.
        let keys: Vec<String> = source.ask(&["CLUSTER", "GETKEYSINSLOT", &slot, "1000"]);
        for key in &keys {
            source.ask::<()>(&["MIGRATE", host, port, key, "0", "5000"]);
        }
        assert!(keys.iter().any(|key| key == name));
        Self { slot, source, target, to_id }
    }

    /// Completes the migration: the old master replies with MOVED.
    fn end(mut self) {
        for node in [&mut self.target, &mut self.source] {
            node.ask::<()>(&["CLUSTER", "SETSLOT", &self.slot, "NODE", &self.to_id]);
        }
    }
}

fn of_name(name: &str) -> Schema {
    Schema::new(name)
        .unique(Column::new("id", ColumnType::Text))
        .column(Column::new("n", ColumnType::BigInt))
}

fn migrated_slots_are_followed(server: &Server) {
    for (scope, options, at) in [
        ("a", "layout=record", ":a:x"),
        ("b", "layout=hash", ":b:x"),
        ("c", "layout=record&slots=scope", ":{c}:x"),
        ("d", "layout=hash&slots=scope", ":{d}:x"),
    ] {
        let cache = Cache::from_uri(&server.with(&format!("timeout=10s&{options}"))).unwrap();
        let scope = cache.dynamic_with(of_name(scope)).unwrap();
        let record = |n: i32| json!({"id": "x", "n": n});
        scope.set("x", json!({"n": 1})).unwrap();
        let moving = Moving::begin(server, &format!("{}{at}", server.prefix));
        assert_eq!(scope.fetch("x").unwrap(), Some(record(1)));
        scope.set("x", json!({"n": 2})).unwrap();
        assert_eq!(scope.fetch_many(["x", "x"]).unwrap()[1], Some(record(2)), "{options}");
        if options == "layout=record&slots=scope" {
            is_deferred(server, options);
        }
        assert_eq!(scope.update("x", json!({"n": 5})).unwrap(), Some(record(2)));
        assert_eq!(scope.pop("x").unwrap(), Some(record(5)));
        // The new scope has no records yet.
        assert_eq!(scope.get("x", || json!({"n": 6})).unwrap(), record(6), "{options}");
        assert_eq!(scope.get("x", || json!({"n": 8})).unwrap(), record(6), "{options}");
        assert_eq!(scope.pop("x").unwrap(), Some(record(6)));
        let got = scope.get_many(["x"], |_| [("x", json!({"n": 7}))]).unwrap();
        assert_eq!(got, [record(7)], "{options}");
        assert_eq!(scope.pop_many(["x"]).unwrap(), [Some(record(7))]);
        assert_eq!(scope.update("x", json!({"n": 2})).unwrap(), None);
        moving.end();
        assert_eq!(scope.update("x", json!({"n": 3})).unwrap(), Some(record(2)));
        scope.set_many((0..100).map(|n| (format!("k{n}"), json!({"n": n})))).unwrap();
        assert_eq!(scope.len().unwrap(), 101);
    }
}

/// A command with several keys is refused while these may be on either server.
fn is_deferred(server: &Server, options: &str) {
    let cache = Cache::from_uri(&server.with(&format!("timeout=1s&{options}"))).unwrap();
    let error = cache.dynamic_with(of_name("c")).unwrap().fetch_many(["no", "x"]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout, "{error}");
    assert!(error.to_string().contains("moving data"), "{error}");
}

/// The registry of scopes is a key like any other.
fn a_scope_is_opened_while_the_registry_moves(server: &Server) {
    server.cache().dynamic_with(of_name("first")).unwrap();
    let names: HashSet<String> =
        masters(server).iter().flat_map(|master| Other::at(master).names(&server.prefix)).collect();
    assert_eq!(names.len(), 1, "{names:?}");
    let moving = Moving::begin(server, names.iter().next().unwrap());
    let scope = server.cache().dynamic_with(of_name("second")).unwrap();
    scope.set("x", json!({"n": 1})).unwrap();
    assert_eq!(server.cache().scopes().unwrap(), ["first", "second"]);
    moving.end();
    assert_eq!(server.cache().scopes().unwrap(), ["first", "second"]);
}

fn unreadable_records_are_kept(server: &Server) {
    let masters = masters(server);
    let ask = |words: &[&str]| -> Option<String> {
        let names = |address: &&String| Other::at(address).ask_or_refusal(words);
        masters.iter().find_map(|address| names(&address)).unwrap()
    };
    for (options, at) in [("layout=record", ":a:"), ("slots=scope", ":{a}:")] {
        let scope =
            Cache::from_uri(&server.with(options)).unwrap().dynamic_with(numbers()).unwrap();
        let bad = format!("{}{at}bad", server.prefix);
        ask(&["SET", &bad, "what is this"]);
        let keys = || (0..50).map(|n| format!("k{n}"));
        scope.set_many(keys().map(|key| (key, json!({"n": 1})))).unwrap();
        for error in [
            scope.pop("bad").unwrap_err(),
            scope.pop_many(keys().chain(["bad".to_owned()])).unwrap_err(),
            scope.update("bad", json!({"n": 1})).unwrap_err(),
        ] {
            assert_eq!(error.kind(), ErrorKind::InvalidData, "{error}");
        }
        assert_eq!(scope.len().unwrap(), 51, "{options}");
        assert_eq!(ask(&["GET", &bad]).as_deref(), Some("what is this"));
        assert_eq!(scope.pop_many(keys()).unwrap().iter().flatten().count(), 50);
        ask(&["DEL", &bad]);
    }
}

fn missing_replicas_are_reported(server: &Server) {
    let open = |replicas: u32| {
        let options = format!("timeout=4s&replicas={replicas}");
        Cache::from_uri(&server.with(&options)).unwrap().dynamic_with(numbers()).unwrap()
    };
    let scope = open(1);
    scope.set("x", json!({"n": 1})).unwrap();
    scope.set_many((0..100).map(|n| (format!("k{n}"), json!({"n": n})))).unwrap();
    assert_eq!(scope.pop_many(["x", "k1"]).unwrap().iter().flatten().count(), 2);
    let error = open(5).set("x", json!({"n": 2})).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    assert!(error.to_string().contains("1 of 5 replicas"), "{error}");
    assert_eq!(scope.fetch("x").unwrap(), Some(json!({"id": "x", "n": 2})));
}
