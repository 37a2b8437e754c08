//! Records spread over a cluster, or put together in it.

use std::collections::HashSet;

use hilcat::{Cache, ErrorKind};
use serde_json::json;

use crate::Test;
use crate::support::{Other, Server, numbers};

pub(crate) const TESTS: &[Test] = &[
    ("records_are_spread_over_the_masters", records_are_spread_over_the_masters),
    ("a_scope_can_be_in_one_slot", a_scope_can_be_in_one_slot),
    ("a_slot_that_moves_is_followed", a_slot_that_moves_is_followed),
    ("what_cannot_be_read_is_left_as_it_is", what_cannot_be_read_is_left_as_it_is),
    ("replicas_that_are_not_there_are_missed", replicas_that_are_not_there_are_missed),
];

/// The addresses of the masters.
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

/// While a slot moves, some of its keys are here and some there already; afterwards none is here.
fn a_slot_that_moves_is_followed(server: &Server) {
    for (layout, options) in [("record", ""), ("hash", ""), ("hash", "&slots=scope")] {
        follows(&Server::open(server.engine).unwrap(), &format!("layout={layout}{options}"));
    }
}

fn follows(server: &Server, options: &str) {
    let uri = server.with(&format!("{options}&timeout=10s"));
    let scope = Cache::from_uri(&uri).unwrap().dynamic_with(numbers()).unwrap();
    scope.set("x", json!({"n": 1})).unwrap();
    let at = if options.contains("slots") { ":{a}:x" } else { ":a:x" };
    let name = format!("{}{at}", server.prefix);
    let slot: u16 = server.other().ask(&["CLUSTER", "KEYSLOT", &name]);
    let slot = slot.to_string();
    let nodes: Vec<(String, String)> = masters(server)
        .into_iter()
        .map(|address| (Other::at(&address).ask(&["CLUSTER", "MYID"]), address))
        .collect();
    let has = |address: &str| !Other::at(address).names(&name).is_empty();
    let (from, to): (Vec<_>, Vec<_>) = nodes.into_iter().partition(|(_, address)| has(address));
    let ((from_id, from), (to_id, to)) = (&from[0], &to[0]);
    let (mut source, mut target) = (Other::at(from), Other::at(to));
    target.ask::<()>(&["CLUSTER", "SETSLOT", &slot, "IMPORTING", from_id]);
    source.ask::<()>(&["CLUSTER", "SETSLOT", &slot, "MIGRATING", to_id]);
    let (host, port) = to.rsplit_once(':').unwrap();
    // Other tests may have keys in it.
    let keys: Vec<String> = source.ask(&["CLUSTER", "GETKEYSINSLOT", &slot, "1000"]);
    for key in &keys {
        source.ask::<()>(&["MIGRATE", host, port, key, "0", "5000"]);
    }
    assert!(keys.contains(&name));
    // The old master says ASK.
    assert_eq!(scope.fetch("x").unwrap(), Some(json!({"id": "x", "n": 1})));
    scope.set("x", json!({"n": 2})).unwrap();
    assert_eq!(scope.fetch_many(["x", "x"]).unwrap()[1], Some(json!({"id": "x", "n": 2})));
    assert_eq!(scope.update("x", json!({"n": 5})).unwrap(), Some(json!({"id": "x", "n": 2})));
    assert_eq!(scope.pop("x").unwrap(), Some(json!({"id": "x", "n": 5})));
    // The new one has none yet.
    assert_eq!(scope.get("x", || json!({"n": 4})).unwrap(), json!({"id": "x", "n": 4}));
    assert_eq!(scope.get("x", || json!({"n": 6})).unwrap(), json!({"id": "x", "n": 4}));
    assert_eq!(scope.pop("x").unwrap(), Some(json!({"id": "x", "n": 4})));
    assert_eq!(scope.update("x", json!({"n": 2})).unwrap(), None);
    target.ask::<()>(&["CLUSTER", "SETSLOT", &slot, "NODE", to_id]);
    source.ask::<()>(&["CLUSTER", "SETSLOT", &slot, "NODE", to_id]);
    // And now MOVED.
    assert_eq!(scope.update("x", json!({"n": 3})).unwrap(), Some(json!({"id": "x", "n": 2})));
    scope.set_many((0..100).map(|n| (format!("k{n}"), json!({"n": n})))).unwrap();
    assert_eq!(scope.len().unwrap(), 101);
}

fn what_cannot_be_read_is_left_as_it_is(server: &Server) {
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

fn replicas_that_are_not_there_are_missed(server: &Server) {
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
    assert!(error.to_string().contains("1 replicas"), "{error}");
    assert_eq!(scope.fetch("x").unwrap(), Some(json!({"id": "x", "n": 2})));
}
