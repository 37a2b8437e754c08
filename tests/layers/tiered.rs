//! A near store in front of a far one.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::Duration;

use hilcat::{Cache, Column, ColumnType, ErrorKind, MapScope, Schema};
use serde_json::json;

use crate::spy::{Spy, When, spied};
use crate::{Test, done, tests};

pub const TESTS: &[Test] = tests![
    a_read_fills_the_near_store,
    a_hit_is_one_call_of_the_near_store,
    writes_go_to_the_far_store_first,
    a_failed_write_leaves_the_near_store_without_the_value,
    a_write_with_unknown_outcome_leaves_the_near_store_without_the_value,
    a_key_with_an_unfinished_write_is_not_kept_near,
    a_read_overtaken_by_a_write_does_not_keep_the_older_value,
    a_read_overtaken_by_a_removal_does_not_bring_it_back,
    a_read_overtaken_by_a_clear_does_not_bring_it_back,
    two_concurrent_writes_leave_no_value_in_the_near_store,
    a_partial_write_does_not_invent_other_columns,
    a_failing_near_store_is_bypassed,
    a_near_store_that_missed_a_write_is_emptied,
    a_panic_in_the_far_store_is_survived,
    an_older_handle_does_not_fill_the_near_store,
    two_caches_can_share_a_near_store,
    the_shortest_ttl_applies_to_the_near_store,
];

type Map = MapScope<String, i64>;

/// A tiered cache, and its two stores with their spies.
struct Tiers {
    scope: Map,
    near: (Map, Spy),
    far: (Map, Spy),
}

impl Tiers {
    fn new() -> Self {
        let ((near, near_spy), (far, far_spy)) = (spied(), spied());
        let scope = Cache::tiered(near.clone(), far.clone()).map("m").unwrap();
        let (near, far) = (near.map("m").unwrap(), far.map("m").unwrap());
        Self { scope, near: (near, near_spy), far: (far, far_spy) }
    }

    fn calls(&self) -> (Vec<String>, Vec<String>) {
        (self.near.1.calls(), self.far.1.calls())
    }
}

fn calls(near: &[&str], far: &[&str]) -> (Vec<String>, Vec<String>) {
    let owned = |calls: &[&str]| calls.iter().map(|&call| call.to_owned()).collect();
    (owned(near), owned(far))
}

fn a_read_fills_the_near_store() {
    let tiers = Tiers::new();
    for (key, value) in [("a", 1), ("b", 2), ("c", 3)] {
        tiers.far.0.set(key, &value).unwrap();
    }
    assert_eq!(tiers.scope.fetch("a").unwrap(), Some(1));
    assert_eq!(tiers.near.0.fetch("a").unwrap(), Some(1));
    let many = tiers.scope.fetch_many(["c", "x", "a", "b", "c"]).unwrap();
    assert_eq!(many, [Some(3), None, Some(1), Some(2), Some(3)]);
    assert_eq!(
        tiers.near.0.fetch_many(["a", "b", "c", "x"]).unwrap(),
        [Some(1), Some(2), Some(3), None]
    );
    assert_eq!(tiers.scope.fetch("x").unwrap(), None);
}

fn a_hit_is_one_call_of_the_near_store() {
    let tiers = Tiers::new();
    tiers.scope.set_many([("a", &1), ("b", &2)]).unwrap();
    tiers.calls();
    assert_eq!(tiers.scope.fetch("a").unwrap(), Some(1));
    assert_eq!(tiers.calls(), calls(&["fetch"], &[]));
    assert_eq!(tiers.scope.get("a", || panic!("the value is stored")).unwrap(), 1);
    assert_eq!(tiers.calls(), calls(&["fetch"], &[]));
    assert!(tiers.scope.exists("a").unwrap());
    assert_eq!(tiers.calls(), calls(&["exists"], &[]));
    let many = tiers.scope.get_many(["a", "b"], |_| -> Vec<(String, i64)> { panic!("all are") });
    assert_eq!(many.unwrap(), [1, 2]);
    assert_eq!(tiers.calls(), calls(&["fetch_many"], &[]));
}

fn writes_go_to_the_far_store_first() {
    let tiers = Tiers::new();
    let order = Arc::new(Mutex::new(Vec::new()));
    for (name, spy) in [("near", &tiers.near.1), ("far", &tiers.far.1)] {
        let order = order.clone();
        spy.hook(move |when, call| {
            let writes = !["fetch", "fetch_many", "exists"].contains(&call);
            if when == When::After && writes {
                order.lock().unwrap().push(format!("{name} {call}"));
            }
            Ok(())
        });
    }
    type Step = (&'static str, fn(&Map), [&'static str; 2]);
    let steps: [Step; 6] = [
        ("set", |map| map.set("a", &1).unwrap(), ["far set", "near set_many"]),
        ("update", |map| done(map.update("a", &2)), ["far update", "near set_many"]),
        (
            "set_many",
            |map| done(map.set_many([("a", &3), ("b", &4)])),
            ["far set_many", "near set_many"],
        ),
        ("pop", |map| done(map.pop("a")), ["far pop", "near pop_many"]),
        ("pop_many", |map| done(map.pop_many(["a", "b"])), ["far pop_many", "near pop_many"]),
        ("clear", |map| map.clear().unwrap(), ["far clear", "near clear"]),
    ];
    for (name, step, expected) in steps {
        step(&tiers.scope);
        assert_eq!(*order.lock().unwrap(), expected, "{name}");
        order.lock().unwrap().clear();
    }
    assert_eq!((tiers.near.0.len().unwrap(), tiers.far.0.len().unwrap()), (0, 0));
}

type Write = (&'static str, fn(&Map) -> hilcat::Result<()>);

/// Every way to write the key `a`, whose value is 1 before.
const WRITES: [Write; 6] = [
    ("set", |map| map.set("a", &2)),
    ("update", |map| map.update("a", &2).map(drop)),
    ("set_many", |map| map.set_many([("z", &9), ("a", &2)]).map(drop)),
    ("pop", |map| map.pop("a").map(drop)),
    ("pop_many", |map| map.pop_many(["z", "a"]).map(drop)),
    ("clear", |map| map.clear()),
];

fn a_failed_write_leaves_the_near_store_without_the_value() {
    for (name, write) in WRITES {
        let tiers = Tiers::new();
        tiers.scope.set("a", &1).unwrap();
        tiers.far.1.fail(name, When::Before, ErrorKind::Backend);
        let error = write(&tiers.scope).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Backend, "{name}");
        assert!(error.to_string().contains("spied"), "the error names the store: {error}");
        assert!(!tiers.near.0.exists("a").unwrap(), "{name}");
        assert_eq!(tiers.scope.fetch("a").unwrap(), Some(1), "{name}: the far store still has it");
        assert_eq!(
            tiers.near.0.fetch("a").unwrap(),
            Some(1),
            "{name}: the read filled the near store"
        );
    }
}

fn a_write_with_unknown_outcome_leaves_the_near_store_without_the_value() {
    for (name, write) in WRITES {
        for when in [When::Before, When::After] {
            let tiers = Tiers::new();
            tiers.scope.set("a", &1).unwrap();
            tiers.far.1.fail(name, when, ErrorKind::Unavailable);
            let error = write(&tiers.scope).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Unavailable, "{name}");
            assert!(!tiers.near.0.exists("a").unwrap(), "{name}");
            let truth = tiers.far.0.fetch("a").unwrap();
            assert_eq!(tiers.scope.fetch("a").unwrap(), truth, "{name}, failed {when:?}");
        }
    }
}

/// The connection is lost after the write was sent, and the write is done only after a later read.
fn a_key_with_an_unfinished_write_is_not_kept_near() {
    for (name, write) in WRITES {
        let tiers = Tiers::new();
        tiers.scope.set("a", &1).unwrap();
        tiers.far.1.fail(name, When::Before, ErrorKind::Unavailable);
        write(&tiers.scope).unwrap_err();
        tiers.far.1.unhook();
        assert_eq!(tiers.scope.fetch("a").unwrap(), Some(1));
        assert_eq!(tiers.scope.fetch_many(["a", "b"]).unwrap(), [Some(1), None]);
        tiers.far.0.set("a", &7).unwrap();
        assert_eq!(tiers.scope.fetch("a").unwrap(), Some(7), "{name}");
    }
}

/// Stops the first call of this name. Returns a receiver that is notified when the call has stopped,
/// and a sender that lets it continue.
fn stop_at(spy: &Spy, when: When, name: &'static str) -> (mpsc::Receiver<()>, mpsc::Sender<()>) {
    let (arrive, arrived) = mpsc::channel();
    let (resume, resumed) = mpsc::channel();
    let (stopped, resumed) = (AtomicBool::new(false), Mutex::new(resumed));
    spy.hook(move |now, call| {
        if now == when && call == name && !stopped.swap(true, Ordering::SeqCst) {
            arrive.send(()).unwrap();
            resumed.lock().unwrap().recv().unwrap();
        }
        Ok(())
    });
    (arrived, resume)
}

/// Executes `write` after a read has obtained its row from the far store and before it continues.
fn overtaken(write: fn(&Map), (call, read): Read, truth: Option<i64>) {
    let tiers = Tiers::new();
    tiers.far.0.set("a", &1).unwrap();
    let (arrived, resume) = stop_at(&tiers.far.1, When::After, call);
    thread::scope(|threads| {
        let reader = threads.spawn(|| read(&tiers.scope));
        arrived.recv().unwrap();
        write(&tiers.scope);
        resume.send(()).unwrap();
        assert_eq!(reader.join().unwrap(), Some(1), "the row is from before the write");
    });
    assert_ne!(tiers.near.0.fetch("a").unwrap(), Some(1));
    assert_eq!(tiers.scope.fetch("a").unwrap(), truth);
}

/// A way to read the key `a`, and the call of the far store that it makes.
type Read = (&'static str, fn(&Map) -> Option<i64>);

const READS: [Read; 2] = [("fetch", read_one), ("fetch_many", read_many)];

fn read_one(map: &Map) -> Option<i64> {
    map.fetch("a").unwrap()
}

fn read_many(map: &Map) -> Option<i64> {
    map.fetch_many(["b", "a"]).unwrap()[1]
}

fn a_read_overtaken_by_a_write_does_not_keep_the_older_value() {
    for read in READS {
        overtaken(|map| map.set("a", &2).unwrap(), read, Some(2));
        overtaken(|map| done(map.set_many([("b", &3), ("a", &2)])), read, Some(2));
    }
}

fn a_read_overtaken_by_a_removal_does_not_bring_it_back() {
    for read in READS {
        overtaken(|map| done(map.pop("a")), read, None);
        overtaken(|map| done(map.pop_many(["a"])), read, None);
    }
}

fn a_read_overtaken_by_a_clear_does_not_bring_it_back() {
    for read in READS {
        overtaken(|map| map.clear().unwrap(), read, None);
    }
}

/// The far store executes the first write and then the second one; the near store is updated in the
/// opposite order.
fn two_concurrent_writes_leave_no_value_in_the_near_store() {
    let tiers = Tiers::new();
    let (arrived, resume) = stop_at(&tiers.far.1, When::After, "set");
    thread::scope(|threads| {
        let first = threads.spawn(|| tiers.scope.set("a", &1).unwrap());
        arrived.recv().unwrap();
        tiers.scope.set("a", &2).unwrap();
        resume.send(()).unwrap();
        first.join().unwrap();
    });
    assert_eq!(tiers.near.0.fetch("a").unwrap(), None);
    assert_eq!(tiers.scope.fetch("a").unwrap(), Some(2));
    assert_eq!(tiers.near.0.fetch("a").unwrap(), Some(2));
}

fn two_columns(name: &str) -> Schema {
    let null = |name: &str| Column::new(name, ColumnType::Int).nullable(true);
    Schema::new(name)
        .unique(Column::new("id", ColumnType::Text))
        .column(null("x"))
        .column(null("y").default_value(5_i32))
}

fn a_partial_write_does_not_invent_other_columns() {
    let (near, far) = (Cache::from_uri("memory:?max_entries=100").unwrap(), Cache::memory());
    let scope = Cache::tiered(near.clone(), far).dynamic_with(two_columns("p")).unwrap();
    scope.set("a", json!({"x": 1, "y": 2})).unwrap();
    near.dynamic_with(two_columns("p")).unwrap().pop("a").unwrap();
    scope.set("a", json!({"x": 3})).unwrap();
    assert_eq!(scope.fetch("a").unwrap(), Some(json!({"id": "a", "x": 3, "y": 2})));
    scope.set_many([("a", json!({"y": 4})), ("a", json!({"x": 7}))]).unwrap();
    assert_eq!(scope.fetch("a").unwrap(), Some(json!({"id": "a", "x": 7, "y": 4})));
}

fn a_failing_near_store_is_bypassed() {
    let tiers = Tiers::new();
    tiers.near.1.fail("*", When::Before, ErrorKind::Unavailable);
    tiers.scope.set("a", &1).unwrap();
    assert_eq!(tiers.scope.fetch("a").unwrap(), Some(1));
    assert_eq!(tiers.scope.fetch_many(["a", "b"]).unwrap(), [Some(1), None]);
    assert!(tiers.scope.exists("a").unwrap());
    assert_eq!(tiers.scope.pop("a").unwrap(), Some(1));
    assert_eq!(tiers.scope.fetch("a").unwrap(), None);
}

/// The near store holds 1, and cannot be updated when the value becomes 2.
fn a_near_store_that_missed_a_write_is_emptied() {
    let tiers = Tiers::new();
    tiers.scope.set("a", &1).unwrap();
    tiers.near.1.fail("*", When::Before, ErrorKind::Unavailable);
    tiers.scope.set("a", &2).unwrap();
    assert_eq!(tiers.scope.fetch("a").unwrap(), Some(2));
    // The near store is reachable again, and still holds 1.
    tiers.near.1.unhook();
    assert_eq!(tiers.near.0.fetch("a").unwrap(), Some(1));
    for _ in 0..3 {
        assert_eq!(tiers.scope.fetch("a").unwrap(), Some(2));
    }
    thread::sleep(Duration::from_millis(1_100));
    assert_eq!(tiers.scope.fetch("a").unwrap(), Some(2));
    assert_eq!(tiers.scope.fetch("a").unwrap(), Some(2));
    assert_eq!(tiers.near.0.fetch("a").unwrap(), Some(2), "the near store is used again");
}

fn a_panic_in_the_far_store_is_survived() {
    let tiers = Tiers::new();
    tiers.scope.set("a", &1).unwrap();
    tiers.far.1.hook(|when, call| match (when, call) {
        (When::After, "set") => std::panic::resume_unwind(Box::new("on purpose")),
        _ => Ok(()),
    });
    let panicked = thread::scope(|threads| threads.spawn(|| tiers.scope.set("a", &2)).join());
    assert!(panicked.is_err());
    tiers.far.1.unhook();
    assert_eq!(tiers.scope.fetch("a").unwrap(), Some(2), "the value of the far store");
    tiers.scope.set("a", &3).unwrap();
    assert_eq!(tiers.scope.fetch("a").unwrap(), Some(3));
}

/// The rows of an older handle lack a column, which a newer handle must not read as NULL.
fn an_older_handle_does_not_fill_the_near_store() {
    let old = Schema::new("p")
        .unique(Column::new("id", ColumnType::Text))
        .column(Column::new("x", ColumnType::Int).nullable(true));
    let cache = Cache::tiered(Cache::memory(), Cache::memory());
    let older = cache.dynamic_with(old.clone()).unwrap();
    older.set("b", json!({"x": 1})).unwrap();
    let newer = cache.dynamic_with(two_columns("p")).unwrap();
    let whole = |x: i32, y: i32| Some(json!({"id": "a", "x": x, "y": y}));
    newer.set("a", json!({"x": 1, "y": 2})).unwrap();
    assert_eq!(older.fetch("a").unwrap(), Some(json!({"id": "a", "x": 1})));
    assert_eq!(newer.fetch("a").unwrap(), whole(1, 2));
    older.set("a", json!({"x": 3})).unwrap();
    assert_eq!(older.fetch_many(["a"]).unwrap(), [Some(json!({"id": "a", "x": 3}))]);
    assert_eq!(newer.fetch("a").unwrap(), whole(3, 2));
    older.clear().unwrap();
    assert_eq!(newer.fetch("a").unwrap(), None);
}

fn two_caches_can_share_a_near_store() {
    let (near, far) = (Cache::memory(), Cache::memory());
    let open = || Cache::tiered(near.clone(), far.clone()).map::<String, i64>("m").unwrap();
    let (here, there) = (open(), open());
    for value in 0..10 {
        here.set("a", &value).unwrap();
        assert_eq!(there.fetch("a").unwrap(), Some(value));
        there.set("a", &-value).unwrap();
        assert_eq!(here.fetch("a").unwrap(), Some(-value));
    }
}

fn the_shortest_ttl_applies_to_the_near_store() {
    let open = |uri: &str| Cache::from_uri(uri).unwrap();
    // After the record expires in the far store, the near store must not return it.
    let cache = Cache::tiered(open("memory:"), open("memory:?ttl=30ms"));
    let scope: Map = cache.map("m").unwrap();
    scope.set("a", &1).unwrap();
    assert_eq!(scope.fetch("a").unwrap(), Some(1));
    thread::sleep(Duration::from_millis(60));
    assert_eq!(scope.fetch("a").unwrap(), None);
    // Writes of others are visible after the record expires in the near store, whatever the scope's ttl.
    let (near, far) = (open("memory:?ttl=30ms"), Cache::memory());
    let lasting = two_columns("p").ttl(Duration::from_secs(3600));
    let scope = Cache::tiered(near, far.clone()).dynamic_with(lasting.clone()).unwrap();
    scope.set("a", json!({"x": 1})).unwrap();
    far.dynamic_with(lasting).unwrap().set("a", json!({"x": 2})).unwrap();
    thread::sleep(Duration::from_millis(60));
    assert_eq!(scope.fetch("a").unwrap().unwrap()["x"], 2);
}
