//! `#[cached]` functions.
#![cfg(all(feature = "derive", feature = "sqlite"))]
#![allow(clippy::unwrap_used, reason = "a failed test panics")]

mod errors;
mod methods;

use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Barrier, LazyLock, OnceLock};
use std::thread;
use std::time::Duration;

use hilcat::{Cache, ColumnType, ScopeRecord, cached};
use serde::{Deserialize, Serialize};

static CACHE: LazyLock<Cache> = LazyLock::new(|| Cache::from_uri("sqlite::memory:").unwrap());

/// Counts the runs of a function.
struct Runs(AtomicU32);

impl Runs {
    const fn new() -> Self {
        Self(AtomicU32::new(0))
    }

    fn add(&self) -> u32 {
        self.0.fetch_add(1, Ordering::SeqCst) + 1
    }

    fn get(&self) -> u32 {
        self.0.load(Ordering::SeqCst)
    }
}

static F1: Runs = Runs::new();

#[cached(cache = CACHE, scope = "f1", column = "y")]
fn f1(x: i64) -> i64 {
    F1.add();
    x + 1
}

#[test]
fn arguments_are_the_key_and_the_value_a_column() {
    assert_eq!([f1(1), f1(1), f1(2), f1(1)], [2, 2, 3, 2]);
    assert_eq!(F1.get(), 2);
    let schema = hilcat::Schema::new("f1")
        .unique(hilcat::Column::new("x", ColumnType::BigInt))
        .column(hilcat::Column::new("y", ColumnType::BigInt));
    assert!(CACHE.plan(&schema).unwrap().is_empty(), "the table is f1(x, y)");
    assert_eq!(CACHE.dynamic_with(schema).unwrap().len().unwrap(), 2);
}

#[derive(Debug, Clone, PartialEq, ScopeRecord)]
#[scope(name = "products")]
struct Product {
    #[scope(unique)]
    key: String,
    value: i64,
}

static F3: Runs = Runs::new();

#[hilcat::cached(cache = CACHE, scope = "f3", key = format!("{x}-{y}"))]
fn f3(x: i64, y: i64) -> Product {
    F3.add();
    Product { key: format!("{x}-{y}"), value: x + y }
}

#[test]
fn a_record_is_stored_in_its_columns() {
    for _ in 0..2 {
        assert_eq!(f3(1, 2), Product { key: "1-2".into(), value: 3 });
    }
    assert_eq!(F3.get(), 1);
    assert!(CACHE.scopes().unwrap().contains(&"f3".to_owned()));
}

mod own_scope {
    use super::*;

    static RUNS: Runs = Runs::new();

    #[cached(cache = CACHE)]
    pub(super) fn by_key(key: &str) -> Product {
        RUNS.add();
        Product { key: key.to_owned(), value: 7 }
    }

    #[test]
    fn the_default_scope_is_that_of_the_record() {
        let products = CACHE.scope::<Product>().unwrap();
        assert_eq!(by_key("a").value, 7);
        assert_eq!(products.fetch("a").unwrap(), Some(by_key("a")));
        products.set(&Product { key: "b".into(), value: 9 }).unwrap();
        assert_eq!((by_key("b").value, RUNS.get()), (9, 1));
    }
}

#[test]
fn a_value_forgotten_during_its_computation_is_not_stored() {
    static RUNS: Runs = Runs::new();
    #[cached(cache = CACHE, scope = "forgotten")]
    fn counted(name: &str) -> u32 {
        let run = RUNS.add();
        match name {
            "a" if run == 1 => drop(counted_forget(name).unwrap()),
            "b" if run == 3 => drop(counted_refresh(name)),
            _ => {}
        }
        run
    }
    assert_eq!((counted("a"), counted("a"), counted("a")), (1, 2, 2));
    assert_eq!((counted("b"), counted("b")), (3, 4), "the fourth run was the refresh");
}

#[test]
fn a_value_stored_by_another_process_meanwhile_is_returned() {
    #[cached(cache = CACHE, scope = "elsewhere", column = "v")]
    fn slow(name: &str) -> i64 {
        let schema = hilcat::Schema::new("elsewhere")
            .unique(hilcat::Column::new("name", ColumnType::Text))
            .column(hilcat::Column::new("v", ColumnType::BigInt));
        // A layer acts as another process: it shares only the store.
        let other = CACHE.detached().dynamic_with(schema).unwrap();
        other.set(name, serde_json::json!({"v": 7})).unwrap();
        1
    }
    assert_eq!((slow("a"), slow("a")), (7, 7));
}

#[test]
fn refresh_and_forget_are_generated() {
    static RUNS: Runs = Runs::new();
    #[cached(cache = CACHE)]
    fn counted(name: &str) -> u32 {
        let _ = name;
        RUNS.add()
    }
    assert_eq!((counted("a"), counted("a"), counted("b")), (1, 1, 2));
    assert_eq!((counted_refresh("a"), counted("a")), (3, 3));
    assert_eq!((counted_forget("a").unwrap(), counted_forget("a").unwrap()), (true, false));
    assert_eq!((counted("a"), counted("b")), (4, 2));
}

#[test]
fn keys_of_every_shape() {
    #[cached(cache = CACHE)]
    fn many(a: &str, b: String, c: &[u8], mut d: u64, e: bool, f: &&i32) -> String {
        d += 1;
        format!("{a}{b}{}{d}{e}{f}", c.len())
    }
    #[cached(cache = CACHE, key = (text, number.unwrap_or(-1)))]
    fn pair(text: &String, number: Option<i64>, _ignored: &HashMap<u8, u8>) -> String {
        format!("{text}{number:?}")
    }
    #[cached(cache = CACHE, key = "all")]
    fn alone() -> i32 {
        5
    }
    #[cached(cache = CACHE, key = text)]
    fn moved(text: String) -> String {
        text
    }
    #[cached(cache = CACHE, key = a + b)]
    fn patterns((a, b): (i64, i64)) -> i64 {
        a * b
    }
    #[cached(cache = CACHE)]
    fn value(value: i64) -> i64 {
        value
    }
    #[cached(cache = CACHE)]
    fn raw(r#type: &str) -> String {
        r#type.to_owned()
    }
    for _ in 0..2 {
        assert_eq!(many("x", "y".into(), b"zz", 7, true, &&3), "xy28true3");
        assert_eq!(pair(&"a".into(), None, &HashMap::new()), "aNone");
        assert_eq!((alone(), moved("m".into()), patterns((2, 3))), (5, "m".into(), 6));
        assert_eq!((value(3), raw("t")), (3, "t".to_owned()));
    }
    assert_ne!(
        many("x", "y".into(), b"zz", 8, true, &&3),
        many("x", "y".into(), b"zz", 7, true, &&3)
    );
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Anything {
    words: Vec<String>,
}

#[test]
fn values_of_every_kind() {
    static RUNS: Runs = Runs::new();
    #[cached(cache = CACHE)]
    fn maybe(x: i64) -> Option<String> {
        RUNS.add();
        (x > 0).then(|| "is".to_owned())
    }
    #[cached(cache = CACHE, json)]
    fn any(x: i64) -> Anything {
        RUNS.add();
        Anything { words: vec!["a".into(); x as usize] }
    }
    #[cached(cache = CACHE, json, scope = "any or none")]
    fn any_or_none(x: i64) -> Option<Anything> {
        RUNS.add();
        (x > 0).then(|| Anything { words: Vec::new() })
    }
    #[cached(cache = CACHE)]
    fn json_value(x: i64) -> serde_json::Value {
        RUNS.add();
        serde_json::json!({ "x": x })
    }
    for _ in 0..2 {
        assert_eq!((maybe(1), maybe(0)), (Some("is".into()), None));
        assert_eq!(any(2).words.len(), 2);
        assert_eq!((any_or_none(0), any_or_none(1).is_some()), (None, true));
        assert_eq!(json_value(3), serde_json::json!({"x": 3}));
    }
    assert_eq!(RUNS.get(), 6, "a cached None is a hit");
}

#[test]
fn caches_of_every_kind() {
    static ONCE: OnceLock<Cache> = OnceLock::new();
    fn given() -> &'static Cache {
        ONCE.get_or_init(Cache::memory)
    }
    fn made() -> Cache {
        given().clone()
    }
    #[cached(cache = given(), scope = "s")]
    fn borrowed(x: i64) -> i64 {
        x
    }
    #[cached(cache = made(), scope = "s")]
    fn owned(x: i64) -> i64 {
        x + 100
    }
    #[cached(cache = Arc::new(made()), scope = "s")]
    fn shared(x: i64) -> i64 {
        x + 200
    }
    assert_eq!((borrowed(1), owned(1), shared(1)), (1, 1, 1), "they are one scope");
    #[cached(cache = cache, key = x)]
    fn argument(cache: &Cache, x: i64) -> i64 {
        let _ = cache;
        x
    }
    assert_eq!(argument(&made(), 3), 3);
}

#[test]
fn no_table_is_touched_before_the_first_call() {
    static OWN: LazyLock<Cache> = LazyLock::new(|| Cache::from_uri("sqlite::memory:").unwrap());
    #[cached(cache = OWN)]
    fn first(x: i64) -> i64 {
        x
    }
    assert!(OWN.scopes().unwrap().is_empty());
    first(1);
    assert_eq!(OWN.scopes().unwrap(), ["first"]);
}

#[test]
fn the_ttl_is_applied() {
    static OWN: LazyLock<Cache> = LazyLock::new(Cache::memory);
    static RUNS: Runs = Runs::new();
    #[cached(cache = OWN, ttl = "30ms")]
    fn short(x: i64) -> i64 {
        RUNS.add();
        x
    }
    assert_eq!((short(1), short(1), RUNS.get()), (1, 1, 1));
    thread::sleep(Duration::from_millis(50));
    assert_eq!((short(1), RUNS.get()), (1, 2));
}

#[test]
fn concurrent_calls_compute_once() {
    static RUNS: Runs = Runs::new();
    #[cached(cache = CACHE)]
    fn slow(x: i64) -> i64 {
        RUNS.add();
        thread::sleep(Duration::from_millis(20));
        x
    }
    let start = Barrier::new(16);
    thread::scope(|threads| {
        for n in 0..16 {
            let start = &start;
            threads.spawn(move || {
                start.wait();
                assert_eq!(slow(n % 2), n % 2);
            });
        }
    });
    assert_eq!(RUNS.get(), 2);
}

#[test]
fn a_recursive_function() {
    #[cached(cache = CACHE)]
    fn fibonacci(n: u32) -> i64 {
        if n < 2 { i64::from(n) } else { fibonacci(n - 1) + fibonacci(n - 2) }
    }
    assert_eq!(fibonacci(60), 1_548_008_755_920);
}

#[test]
fn after_a_panic_the_next_call_computes() {
    static RUNS: Runs = Runs::new();
    #[cached(cache = CACHE)]
    fn fragile(x: i64) -> i64 {
        if RUNS.add() == 1 {
            std::panic::resume_unwind(Box::new("on purpose"));
        }
        x
    }
    assert!(std::panic::catch_unwind(|| fragile(1)).is_err());
    assert_eq!((fragile(1), fragile(1), RUNS.get()), (1, 1, 2));
}

/// Lifetimes, attributes, visibility and the names in the body are unchanged.
mod kept {
    use super::*;

    #[cached(cache = CACHE, scope = "kept")]
    #[must_use]
    #[inline]
    pub(super) fn longer<'a>(
        a: &'a str,
        #[allow(unused, reason = "of the argument")] b: &'a str,
    ) -> String
    where
        'a: 'a,
    {
        let function = a;
        let cache = function;
        let (parts, kind) = (cache, "x");
        format!("{parts}{kind}")
    }

    #[test]
    fn the_body_does_not_see_the_names_of_the_macro() {
        assert_eq!(longer("a", "b"), "ax");
        let value = longer_refresh("a", "c");
        assert_eq!(value, "ax");
    }
}

#[test]
fn a_record_with_another_key_is_refused() {
    #[cached(cache = CACHE, scope = "other", on_error = "panic")]
    fn other(name: &str) -> Product {
        Product { key: name.to_owned(), value: 1 }
    }
    let panic = std::panic::catch_unwind(|| other("a")).unwrap_err();
    let message = panic.downcast_ref::<String>().unwrap();
    assert!(message.contains("unique columns key: set `key = ...`"), "{message}");
}
