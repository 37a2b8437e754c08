//! A primary store that is read, and writers that receive every write.

use std::thread;

use hilcat::{Cache, Error, ErrorKind, MapScope, OnFailure};

use crate::spy::{Spy, When, spied};
use crate::{Test, done, tests};

pub const TESTS: &[Test] = tests![
    reads_use_the_primary_store_only,
    writes_reach_all_stores_in_order,
    the_first_failure_stops,
    with_continue_all_stores_are_written_and_failures_reported,
    an_unknown_outcome_is_reported,
    a_failed_primary_leaves_the_writers_unchanged,
    a_value_that_one_store_cannot_hold_is_written_to_none,
    writes_of_one_key_reach_all_stores_in_one_order,
    load_and_backup_reach_all_stores,
];

type Map = MapScope<String, i64>;

/// A fan-out over three stores, with their contents and spies.
struct Three {
    scope: Map,
    maps: [Map; 3],
    spies: [Spy; 3],
}

impl Three {
    fn new(on_failure: OnFailure) -> Self {
        let ((a, a_spy), (b, b_spy), (c, c_spy)) = (spied(), spied(), spied());
        let cache = Cache::fan_out_with(a.clone(), [b.clone(), c.clone()], on_failure);
        let maps = [a, b, c].map(|cache| cache.map("m").unwrap());
        let three = Self { scope: cache.map("m").unwrap(), maps, spies: [a_spy, b_spy, c_spy] };
        three.scope.set("a", &1).unwrap();
        three.calls();
        three
    }

    fn calls(&self) -> [Vec<String>; 3] {
        self.spies.each_ref().map(Spy::calls)
    }

    /// Returns the value of the key `a` in each store.
    fn held(&self) -> [Option<i64>; 3] {
        self.spies.iter().for_each(Spy::unhook);
        self.maps.each_ref().map(|map| map.fetch("a").unwrap())
    }
}

type Write = (&'static str, fn(&Map) -> hilcat::Result<()>, Option<i64>);

/// Every way to write the key `a`, and its value afterwards.
const WRITES: [Write; 6] = [
    ("set", |map| map.set("a", &2), Some(2)),
    ("update", |map| map.update("a", &2).map(|old| assert_eq!(old, Some(1))), Some(2)),
    ("set_many", |map| map.set_many([("z", &9), ("a", &2)]).map(drop), Some(2)),
    ("pop", |map| map.pop("a").map(|old| assert_eq!(old, Some(1))), None),
    ("pop_many", |map| map.pop_many(["a"]).map(drop), None),
    ("clear", |map| map.clear(), None),
];

fn reads_use_the_primary_store_only() {
    let three = Three::new(OnFailure::Stop);
    let scope = &three.scope;
    assert_eq!((scope.fetch("a").unwrap(), scope.exists("b").unwrap()), (Some(1), false));
    assert_eq!(scope.fetch_many(["a", "b"]).unwrap(), [Some(1), None]);
    assert_eq!(scope.get("a", || panic!("the value is stored")).unwrap(), 1);
    assert_eq!((scope.len().unwrap(), scope.keys().unwrap().count()), (1, 1));
    assert_eq!(scope.iter().unwrap().count(), 1);
    let asked = ["fetch", "exists", "fetch_many", "fetch", "len", "keys", "rows"];
    assert_eq!(three.calls(), [asked.map(String::from).to_vec(), vec![], vec![]]);
}

fn writes_reach_all_stores_in_order() {
    for (name, write, after) in WRITES {
        let three = Three::new(OnFailure::Stop);
        let order = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
        for (at, spy) in three.spies.iter().enumerate() {
            let order = order.clone();
            spy.hook(move |when, _| {
                if when == When::After {
                    order.lock().unwrap().push(at);
                }
                Ok(())
            });
        }
        write(&three.scope).unwrap();
        assert_eq!(*order.lock().unwrap(), [0, 1, 2], "{name}");
        assert_eq!(three.held(), [after; 3], "{name}");
    }
}

fn lines_of(error: &Error) -> Vec<&str> {
    error.message().split("; ").collect()
}

fn the_first_failure_stops() {
    for (name, write, after) in WRITES {
        let three = Three::new(OnFailure::Stop);
        three.spies[1].fail("*", When::Before, ErrorKind::Backend);
        let error = write(&three.scope).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::PartialWrite, "{name}");
        assert_eq!(
            lines_of(&error),
            [
                "the primary store (spied) has it",
                "writer 1 (spied) does not have it: on purpose",
                "writer 2 (spied) was skipped and does not have it",
            ]
        );
        assert!(error.to_string().starts_with(&format!("fan-out {name}, scope `m`")), "{error}");
        assert_eq!(three.held(), [after, Some(1), Some(1)], "{name}");
    }
}

fn with_continue_all_stores_are_written_and_failures_reported() {
    for (name, write, after) in WRITES {
        let three = Three::new(OnFailure::Continue);
        three.spies[0].fail("*", When::Before, ErrorKind::Timeout);
        three.spies[1].fail("*", When::Before, ErrorKind::Backend);
        let error = write(&three.scope).unwrap_err();
        assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::PartialWrite, true), "{name}");
        assert_eq!(
            lines_of(&error),
            [
                "the primary store (spied) does not have it: on purpose",
                "writer 1 (spied) does not have it: on purpose",
                "writer 2 (spied) has it",
            ]
        );
        assert_eq!(three.held(), [Some(1), Some(1), after], "{name}");
    }
}

fn an_unknown_outcome_is_reported() {
    let three = Three::new(OnFailure::Continue);
    three.spies[2].fail("*", When::After, ErrorKind::Unavailable);
    let error = three.scope.set("a", &2).unwrap_err();
    assert_eq!(lines_of(&error)[2], "writer 2 (spied) may have it or not: on purpose");
    assert!(error.is_retryable());
    let source = std::error::Error::source(&error).unwrap();
    assert_eq!(source.to_string(), "on purpose");
}

fn a_failed_primary_leaves_the_writers_unchanged() {
    for (name, write, _) in WRITES {
        let three = Three::new(OnFailure::Stop);
        three.spies[0].fail("*", When::Before, ErrorKind::Timeout);
        let error = write(&three.scope).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Timeout, "{name}: nothing was changed");
        assert_eq!(three.held(), [Some(1); 3], "{name}");
    }
}

fn a_value_that_one_store_cannot_hold_is_written_to_none() {
    #[cfg(feature = "sqlite")]
    {
        let (primary, writer) = (Cache::memory(), Cache::from_uri("sqlite::memory:").unwrap());
        let cache = Cache::fan_out(primary.clone(), [writer]);
        let scope: MapScope<String, f64> = cache.map("m").unwrap();
        let error = scope.set_many([("a", &1.0), ("b", &f64::NAN)]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported);
        assert_eq!(primary.map::<String, f64>("m").unwrap().len().unwrap(), 0);
    }
}

fn writes_of_one_key_reach_all_stores_in_one_order() {
    let three = Three::new(OnFailure::Stop);
    three.spies[1].hook(|_, _| {
        thread::yield_now();
        Ok(())
    });
    for round in 0..50 {
        thread::scope(|threads| {
            for thread in 0..4_i64 {
                let scope = &three.scope;
                threads.spawn(move || match thread {
                    3 => done(scope.set_many([("b", &round), ("a", &(round * 10 + 3))])),
                    _ => scope.set("a", &(round * 10 + thread)).unwrap(),
                });
            }
        });
        let [a, b, c] = three.maps.each_ref().map(|map| map.fetch("a").unwrap());
        assert!(a == b && b == c, "{a:?} {b:?} {c:?}");
    }
}

fn load_and_backup_reach_all_stores() {
    let storages = [Cache::memory(), Cache::memory()];
    let [one, two] = storages.clone().map(|storage| Cache::staged(Cache::memory(), storage));
    let cache = Cache::fan_out(one, [two]);
    let scope: Map = cache.map("m").unwrap();
    scope.set("a", &1).unwrap();
    assert_eq!(cache.unsaved().unwrap(), ["m"]);
    cache.backup(None).unwrap();
    let kept = storages.map(|storage| storage.map::<String, i64>("m").unwrap());
    assert_eq!(kept.each_ref().map(|map| map.fetch("a").unwrap()), [Some(1); 2]);
    kept[0].set("a", &2).unwrap();
    cache.load(None).unwrap();
    assert_eq!(scope.fetch("a").unwrap(), Some(2));
    assert!(cache.unsaved().unwrap().is_empty());
}
