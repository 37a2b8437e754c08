//! Outcomes of the items of a batch.

use std::sync::atomic::Ordering;
use std::thread;

use elasticsearch::http::Method;
use hilcat::{Cache, ErrorKind};
use serde_json::{Value as Json, json};

use crate::Test;
use crate::connect::Proxy;
use crate::support::{SECOND, Server, int, null, scope, text};

pub const TESTS: &[Test] = &[
    ("refused_items_are_reported_by_key", refused_items_are_reported_by_key),
    ("refused_batches_change_nothing", refused_batches_change_nothing),
    ("interrupted_batches_report_what_is_known", interrupted_batches_report_what_is_known),
    ("unavailable_shards_are_retried", unavailable_shards_are_retried),
    ("concurrent_batches_lose_nothing", concurrent_batches_lose_nothing),
];

/// The mapping was changed by hand: texts are indexed without a limit, which refuses long ones.
fn refused_items_are_reported_by_key(server: &Server) {
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
    assert_eq!(a.len().unwrap(), 98, "the other records exist, as reported");
    let error = a.set("x", json!({"t": long})).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Backend, "{error}");
    assert!(!format!("{error:?}").contains("secret"), "{error:?}");
}

/// If nothing was written, the errors do not report a partial write.
fn refused_batches_change_nothing(server: &Server) {
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

/// The connection is lost during the second chunk of a batch and cannot be restored.
fn interrupted_batches_report_what_is_known(server: &Server) {
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
    // If nothing could be sent, it is known that nothing was changed.
    let error = a.set("x", json!({"n": 1})).unwrap_err();
    assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::Unavailable, true), "{error}");
}

/// The shard of an index may be unavailable for a while, as for a new index or during the start of
/// a node.
fn unavailable_shards_are_retried(server: &Server) {
    let a = server.cache().dynamic_with(scope([int("n")])).unwrap();
    let hasty = server.with("timeout=700ms").dynamic_with(scope([int("n")])).unwrap();
    // The same index again, with a shard that no node can have.
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
        // On a busy machine the deadline may interrupt the last attempt.
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

/// Batches of merged records, while records are removed and recreated.
fn concurrent_batches_lose_nothing(server: &Server) {
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
