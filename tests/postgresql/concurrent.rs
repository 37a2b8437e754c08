//! Concurrent writes of the same records.

use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

use hilcat::{Cache, DynScope, ErrorKind};
use serde_json::{Value as Json, json};

use crate::Test;
use crate::support::{SECOND, Server, int, null, scope};

pub(crate) const TESTS: &[Test] = &[
    ("concurrent_updates_lose_nothing", concurrent_updates_lose_nothing),
    ("a_deadlock_is_retried", a_deadlock_is_retried),
    ("batches_in_any_order_do_not_deadlock", batches_in_any_order_do_not_deadlock),
    ("a_lock_is_waited_for_until_the_deadline", a_lock_is_waited_for_until_the_deadline),
    ("a_table_that_changes_under_a_handle", a_table_that_changes_under_a_handle),
];

/// Each update returns the record that it replaced, and the first one `None`: every number except the
/// last is returned once.
fn concurrent_updates_lose_nothing(server: &Server) {
    let a = server.cache().dynamic_with(scope([int("n")])).unwrap();
    const ROUNDS: i64 = 60;
    for id in 0..20 {
        let key = format!("k{id}");
        let start = Barrier::new(4);
        let updates = |from: i64| {
            let (a, key, start) = (&a, &key, &start);
            move || {
                start.wait();
                let one = |n| a.update(key.as_str(), json!({"n": n})).unwrap();
                (from..from + ROUNDS / 4).map(one).collect::<Vec<Option<Json>>>()
            }
        };
        let mut replaced: Vec<Option<i64>> = thread::scope(|threads| {
            let of = [0, 15, 30, 45].map(|from| threads.spawn(updates(from)));
            let given = of.into_iter().flat_map(|thread| thread.join().unwrap());
            given.map(|record| record.map(|record| record["n"].as_i64().unwrap())).collect()
        });
        let last = a.fetch(key.as_str()).unwrap().unwrap()["n"].as_i64().unwrap();
        replaced.push(Some(last));
        replaced.sort();
        let expected: Vec<Option<i64>> = [None].into_iter().chain((0..ROUNDS).map(Some)).collect();
        assert_eq!(replaced, expected);
    }
}

/// Two batches write `x` and `y` in opposite orders, since partial records are written one by one.
fn a_deadlock_is_retried(server: &Server) {
    let a = server.cache().dynamic_with(scope([null(int("n")), null(int("m"))])).unwrap();
    let both = |first: &'static str, second: &'static str| {
        let a = &a;
        move || {
            for n in 0..40 {
                a.set_many([(first, json!({"n": n})), (second, json!({"n": n}))]).unwrap();
            }
        }
    };
    server.run("ALTER DATABASE hilcat_test SET deadlock_timeout = '20ms'");
    thread::scope(|threads| {
        threads.spawn(both("x", "y"));
        threads.spawn(both("y", "x"));
    });
    assert_eq!(a.len().unwrap(), 2);
}

fn batches_in_any_order_do_not_deadlock(server: &Server) {
    let a = server.cache().dynamic_with(scope([int("n")])).unwrap();
    let batch = |reverse: bool| {
        let mut items: Vec<_> = (0..200).map(|n| (format!("k{n}"), json!({"n": n}))).collect();
        if reverse {
            items.reverse();
        }
        let a: &DynScope = &a;
        move || {
            for _ in 0..20 {
                let keys: Vec<String> = items.iter().map(|(key, _)| key.clone()).collect();
                a.set_many(items.clone()).unwrap();
                a.pop_many(keys.iter().map(String::as_str)).unwrap();
            }
        }
    };
    thread::scope(|threads| {
        threads.spawn(batch(false));
        threads.spawn(batch(true));
    });
    assert_eq!(a.len().unwrap(), 0);
}

fn a_lock_is_waited_for_until_the_deadline(server: &Server) {
    server.cache().dynamic_with(scope([int("n")])).unwrap();
    let cache = Cache::from_uri(&server.with("timeout=700ms&pool_size=2")).unwrap();
    let a = cache.dynamic_with(scope([int("n")])).unwrap();
    a.set("x", json!({"n": 1})).unwrap();
    let other = server.sql();
    other.run("BEGIN; UPDATE a SET n = 2");
    type Write = fn(&DynScope) -> hilcat::Result<()>;
    let writes: [Write; 4] = [
        |a| a.set("x", json!({"n": 3})),
        |a| a.update("x", json!({"n": 3})).map(drop),
        |a| a.pop("x").map(drop),
        |a| a.set_many([("w", json!({"n": 3})), ("x", json!({"n": 3}))]).map(drop),
    ];
    for write in writes {
        let start = Instant::now();
        let error = write(&a).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Timeout, "{error}");
        assert!(error.is_retryable());
        let took = start.elapsed();
        // A busy machine may take longer than the tenth that is allowed.
        assert!(took > Duration::from_millis(650) && took < SECOND * 6 / 5, "{took:?}");
        // The error says that nothing was changed, and the connection is free again.
        assert_eq!(a.fetch("x").unwrap(), Some(json!({"id": "x", "n": 1})));
    }
    other.run("COMMIT");
    assert_eq!(a.pop("x").unwrap(), Some(json!({"id": "x", "n": 2})));
    assert_eq!(a.len().unwrap(), 0);
}

fn a_table_that_changes_under_a_handle(server: &Server) {
    let a = server.cache().dynamic_with(scope([int("n")])).unwrap();
    a.set("x", json!({"n": 1})).unwrap();
    let record = Some(json!({"id": "x", "n": 1}));
    assert_eq!(a.fetch("x").unwrap(), record);
    // "cached plan must not change result type", for every prepared statement.
    server.run("ALTER TABLE a ALTER n TYPE smallint");
    assert_eq!(a.fetch("x").unwrap(), record);
    assert_eq!(a.update("x", json!({"n": 1})).unwrap(), record);
    assert_eq!(a.pop("x").unwrap(), record);
    server.run("DROP TABLE a");
    a.set("x", json!({"n": 1})).unwrap();
    assert_eq!(a.fetch("x").unwrap(), record);
    server.run("DROP TABLE a; CREATE TABLE a (id text PRIMARY KEY)");
    let error = a.set("x", json!({"n": 1})).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::SchemaChange, "{error}");
}
