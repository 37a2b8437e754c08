//! What becomes of the items of a batch.

use std::sync::atomic::Ordering;
use std::thread;

use elasticsearch::http::Method;
use hilcat::{Cache, ErrorKind};
use serde_json::{Value as Json, json};

use crate::Test;
use crate::connect::Proxy;
use crate::support::{SECOND, Server, int, null, scope, text};

pub const TESTS: &[Test] = &[
    ("a_refused_item_is_told_by_its_key", a_refused_item_is_told_by_its_key),
    ("a_refused_batch_changes_nothing", a_refused_batch_changes_nothing),
    ("a_lost_batch_says_what_is_known", a_lost_batch_says_what_is_known),
    ("what_a_shard_is_not_ready_for_is_sent_again", what_a_shard_is_not_ready_for_is_sent_again),
    ("a_batch_and_others_lose_nothing", a_batch_and_others_lose_nothing),
];

/// Somebody changed the mapping by hand: a text is indexed whole, which a long one cannot be.
fn a_refused_item_is_told_by_its_key(server: &Server) {
    let a = server.cache().dynamic_with(scope([null(text("t"))])).unwrap();
    let field = json!({"type": "keyword", "ignore_above": 100_000});
    let path = format!("{}/_mapping", server.name("a"));
    server.put(&path, json!({"properties": {"t": field}}));
    let long = "secret".repeat(8_000);
    let of = |n: usize| json!({"t": if n % 50 == 7 { long.as_str() } else { "short" }});
    let batch = (0..100).map(|n| (format!("k{n}"), of(n)));
    let error = a.set_many(batch).unwrap_err();
    let message = error.to_string();
    assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::Backend, false), "{message}");
    for part in ["key `k7`", "1 more", "98 of 100 records of the batch were written"] {
        assert!(message.contains(part), "{part} is not in: {message}");
    }
    assert!(!format!("{error:?}").contains("secret"), "{error:?}");
    assert_eq!(a.len().unwrap(), 98, "the others stand, as it says");
    let error = a.set("x", json!({"t": long})).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Backend, "{error}");
    assert!(!format!("{error:?}").contains("secret"), "{error:?}");
}

/// Where nothing was written, no error says otherwise.
fn a_refused_batch_changes_nothing(server: &Server) {
    let a = server.cache().dynamic_with(scope([int("n")])).unwrap();
    a.set_many([("a", json!({"n": 1})), ("b", json!({"n": 2}))]).unwrap();
    let path = format!("{}/_settings", server.name("a"));
    server.put(&path, json!({"index": {"blocks": {"write": true}}}));
    for error in [
        a.set_many([("a", json!({"n": 3})), ("c", json!({"n": 3}))]).map(drop).unwrap_err(),
        a.pop_many(["a", "b"]).map(drop).unwrap_err(),
        a.set("a", json!({"n": 3})).unwrap_err(),
        a.pop("a").map(drop).unwrap_err(),
    ] {
        assert_eq!(error.kind(), ErrorKind::Backend, "{error}");
        assert!(!error.to_string().contains("were written"), "{error}");
    }
    server.put(&path, json!({"index": {"blocks": {"write": false}}}));
    let expected = [Some(json!({"id": "a", "n": 1})), Some(json!({"id": "b", "n": 2})), None];
    assert_eq!(a.fetch_many(["a", "b", "c"]).unwrap(), expected);
}

/// The connection is lost with the second piece of a batch under way, and for good.
fn a_lost_batch_says_what_is_known(server: &Server) {
    let proxy = Proxy::open(server);
    let a = Cache::from_uri(&proxy.uri).unwrap().dynamic_with(scope([int("n")])).unwrap();
    proxy.batches.store(1, Ordering::Relaxed);
    let batch = (0..2_500).map(|n| (format!("k{n}"), json!({"n": n})));
    let error = a.set_many(batch).unwrap_err();
    let message = error.to_string();
    assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::Unavailable, true), "{message}");
    for part in ["key `k1000`", "1000 of 2500 records of the batch were written", "is not known"] {
        assert!(message.contains(part), "{part} is not in: {message}");
    }
    let here = server.cache().dynamic_with(scope([int("n")])).unwrap();
    assert_eq!(here.len().unwrap(), 1_000);
    // Where nothing could be sent, it is known that nothing was done.
    let error = a.set("x", json!({"n": 1})).unwrap_err();
    assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::Unavailable, true), "{error}");
}

/// As of a new index, or while a node starts, the shard is not there for a while.
fn what_a_shard_is_not_ready_for_is_sent_again(server: &Server) {
    let a = server.cache().dynamic_with(scope([int("n")])).unwrap();
    let hasty = server.with("timeout=700ms").dynamic_with(scope([int("n")])).unwrap();
    // The same index once more, for the shard of which there is no node.
    let found = server.get(&server.name("a"));
    let (index, made) = found.as_object().unwrap().iter().next().unwrap();
    let settings =
        json!({"number_of_replicas": 0, "index.routing.allocation.include._name": "none"});
    let body =
        json!({"settings": settings, "mappings": made["mappings"], "aliases": made["aliases"]});
    server.ask(Method::Delete, index, None);
    server.put(&format!("{index}?wait_for_active_shards=0"), body);
    let calls: [fn(&hilcat::DynScope) -> hilcat::Result<()>; 3] = [
        |a| a.set("x", json!({"n": 1})),
        |a| a.update("x", json!({"n": 2})).map(drop),
        |a| a.set_many((0..20).map(|n| (n.to_string(), json!({"n": n})))).map(drop),
    ];
    for call in calls {
        let error = call(&hasty).unwrap_err();
        assert!(error.is_retryable(), "{error}");
        // On a busy machine the deadline may pass in the middle of the last attempt.
        let told = error.to_string().contains("nothing was changed");
        assert_eq!(told, error.kind() == ErrorKind::Timeout, "{error}");
    }
    let error = hasty.fetch("x").unwrap_err();
    assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::Timeout, true), "{error}");
    thread::scope(|threads| {
        let a = &a;
        let calls = calls.map(|call| threads.spawn(move || call(a)));
        thread::sleep(SECOND / 2);
        assert!(calls.iter().all(|call| !call.is_finished()));
        let path = format!("{}/_settings", server.name("a"));
        server.put(&path, json!({"index.routing.allocation.include._name": null}));
        calls.into_iter().for_each(|call| call.join().unwrap().unwrap());
    });
    assert_eq!(a.len().unwrap(), 21);
}

/// Batches of records that are merged, and records that are removed and made anew meanwhile.
fn a_batch_and_others_lose_nothing(server: &Server) {
    let a = server.cache().dynamic_with(scope([null(int("n")), null(int("m"))])).unwrap();
    let keys = || (0..50).map(|n| n.to_string());
    thread::scope(|threads| {
        let (n, m) = (&a, &a);
        let write = |scope: &hilcat::DynScope, name: &str, round: i64| {
            let value = || Json::Object([(name.to_owned(), json!(round))].into_iter().collect());
            scope.set_many(keys().map(|key| (key, value()))).unwrap();
        };
        threads.spawn(move || (0..20).for_each(|round| write(n, "n", round)));
        threads.spawn(move || (0..20).for_each(|round| write(m, "m", round)));
    });
    let expected = |key: String| Some(json!({"id": key, "n": 19, "m": 19}));
    assert_eq!(a.fetch_many(keys()).unwrap(), keys().map(expected).collect::<Vec<_>>());
    let path = format!("{}/_count", server.name("a"));
    assert_eq!(a.len().unwrap(), 50);
    assert_eq!(server.ask(Method::Get, &path, None)["count"], 50);
}
