//! `#[cached]` functions.
#![cfg(all(feature = "derive", feature = "sqlite"))]
#![allow(clippy::unwrap_used, reason = "a failed test panics")]

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Barrier, LazyLock, Mutex, OnceLock};
use std::thread;
use std::time::Duration;

use hilcat::{Cache, ColumnType, Error, ErrorKind, ScopeRecord, cached};
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

/// An error of an application.
#[derive(Debug)]
enum AppError {
    Empty,
    Cache(ErrorKind),
}

impl From<Error> for AppError {
    fn from(error: Error) -> Self {
        Self::Cache(error.kind())
    }
}

/// An error type that implements neither `Error` nor `From<hilcat::Error>`.
#[derive(Debug, PartialEq)]
struct Bare(String);

#[test]
fn only_ok_results_are_stored() {
    static RUNS: Runs = Runs::new();
    #[cached(cache = CACHE)]
    fn checked(text: &str) -> Result<usize_like::Size, AppError> {
        RUNS.add();
        if text.is_empty() {
            return Err(AppError::Empty);
        }
        let parsed: Result<i64, AppError> = text.parse::<i64>().map_err(|_| AppError::Empty);
        let parsed = parsed?;
        Ok(parsed.abs())
    }
    assert!(matches!(checked(""), Err(AppError::Empty)));
    assert!(matches!(checked(""), Err(AppError::Empty)));
    assert!(checked("x").is_err());
    assert_eq!(RUNS.get(), 3);
    assert_eq!((checked("5").unwrap(), checked("5").unwrap(), RUNS.get()), (5, 5, 4));
    assert!(checked_forget("5").unwrap());
    assert_eq!(checked_refresh("5").unwrap(), 5);
}

mod usize_like {
    /// A name outside the prelude.
    pub(super) type Size = i64;
}

/// A cache whose store cannot be reached.
fn down() -> Cache {
    struct Down;
    impl fmt::Debug for Down {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("Down")
        }
    }
    impl hilcat::store::Store for Down {
        fn name(&self) -> &'static str {
            "down"
        }
        fn capabilities(&self) -> hilcat::store::Capabilities {
            hilcat::store::Capabilities::new()
        }
        fn open(
            &self,
            _: &Arc<hilcat::Schema>,
        ) -> hilcat::Result<Arc<dyn hilcat::store::ScopeStore>> {
            Err(Error::new(ErrorKind::Unavailable, "it is down"))
        }
        fn scopes(&self) -> hilcat::Result<Vec<String>> {
            Ok(Vec::new())
        }
    }
    Cache::from_store(Down)
}

#[test]
fn an_unreachable_cache_is_handled_as_declared() {
    static REPORTED: Mutex<Vec<ErrorKind>> = Mutex::new(Vec::new());
    fn report(error: &Error) {
        REPORTED.lock().unwrap().push(error.kind());
    }
    #[cached(cache = down())]
    fn plain(x: i64) -> i64 {
        x
    }
    #[cached(cache = down(), on_error = report)]
    fn reporting(x: i64) -> i64 {
        x
    }
    #[cached(cache = down(), on_error = "panic")]
    fn panics(x: i64) -> i64 {
        x
    }
    #[cached(cache = down())]
    fn from(x: i64) -> Result<i64, AppError> {
        Ok(x)
    }
    #[cached(cache = down(), map_error = |error: Error| Bare(error.kind().to_string()))]
    fn mapped(x: i64) -> Result<i64, Bare> {
        Ok(x)
    }
    #[cached(cache = down(), on_error = "compute")]
    fn computes(x: i64) -> Result<i64, Bare> {
        if x < 0 { Err(Bare("negative".into())) } else { Ok(x) }
    }
    assert_eq!((plain(1), plain_refresh(2), reporting(3)), (1, 2, 3));
    assert_eq!(*REPORTED.lock().unwrap(), [ErrorKind::Unavailable]);
    assert!(std::panic::catch_unwind(|| panics(1)).is_err());
    assert!(matches!(from(1), Err(AppError::Cache(ErrorKind::Unavailable))));
    assert!(matches!(from_refresh(1), Err(AppError::Cache(ErrorKind::Unavailable))));
    assert_eq!(mapped(1), Err(Bare("unavailable".into())));
    assert_eq!((computes(1), computes(-1)), (Ok(1), Err(Bare("negative".into()))));
    assert_eq!(plain_forget(1).unwrap_err().kind(), ErrorKind::Unavailable);
}

/// The value is returned, although it cannot be written.
#[test]
fn a_value_that_cannot_be_written_is_not_computed_again() {
    static RUNS: Runs = Runs::new();
    #[cached(cache = CACHE)]
    fn nan(x: i64) -> f64 {
        RUNS.add();
        if x == 0 { f64::NAN } else { 1.0 / x as f64 }
    }
    #[cached(cache = CACHE)]
    fn nan_or_error(x: i64) -> Result<f64, AppError> {
        RUNS.add();
        Ok(if x == 0 { f64::NAN } else { 1.0 })
    }
    assert!(nan(0).is_nan());
    assert_eq!(RUNS.get(), 1);
    assert!(matches!(nan_or_error(0), Err(AppError::Cache(ErrorKind::Unsupported))));
    assert_eq!(RUNS.get(), 2);
}

struct Shop {
    cache: Cache,
    runs: u32,
}

impl Shop {
    /// `self` is not part of the key.
    #[cached(cache = self.cache)]
    pub fn price(&self, article: &str) -> i64 {
        article.len() as i64 + i64::from(self.runs)
    }

    #[cached(cache = self.cache, scope = "counts")]
    fn count(&mut self, article: &str) -> u32 {
        self.runs += 1;
        self.runs + article.len() as u32
    }

    #[cached(cache = self.cache, scope = "whole")]
    fn into_count(self, article: &str) -> u32 {
        let shop = self;
        shop.runs + article.len() as u32
    }

    #[cached(cache = CACHE)]
    fn of_all(article: &str) -> String {
        Self::named(article)
    }

    fn named(article: &str) -> String {
        format!("the {article}")
    }
}

#[test]
fn methods() {
    let mut shop = Shop { cache: Cache::memory(), runs: 0 };
    assert_eq!((shop.price("pen"), shop.count("pen"), shop.count("pen")), (3, 4, 4));
    assert_eq!((shop.runs, shop.price("pen"), shop.price_refresh("pen")), (1, 3, 4));
    assert!(shop.price_forget("pen").unwrap());
    let other = Shop { cache: Cache::memory(), runs: 10 };
    assert_eq!(other.price("pen"), 13, "it has another cache");
    let same = Shop { cache: shop.cache.clone(), runs: 50 };
    assert_eq!(same.count_refresh_of_another(), 4);
    assert_eq!((shop.into_count("pen"), same.into_count("pen")), (4, 4));
    assert_eq!(
        (Shop::of_all("pen"), Shop::of_all_refresh("pen")),
        ("the pen".into(), "the pen".into())
    );
}

impl Shop {
    /// Returns the stored value of `count` in this cache.
    fn count_refresh_of_another(&self) -> u32 {
        let mut copy = Self { cache: self.cache.clone(), runs: 99 };
        copy.count("pen")
    }
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
    assert!(message.contains("unique columns key: say `key = ...`"), "{message}");
}

static REPORTED: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// One function before and after a change of its signature, as in two programs.
mod signatures {
    use super::*;

    #[cached(cache = CACHE, scope = "signature")]
    pub fn before(x: i64) -> i64 {
        x
    }

    #[cached(cache = CACHE, scope = "signature")]
    pub fn after(x: i64) -> String {
        x.to_string()
    }

    #[cached(cache = CACHE, scope = "signature", on_error = |error: &Error| REPORTED.lock().unwrap().push(error.to_string()))]
    pub fn reporting(x: i64) -> String {
        x.to_string()
    }

    #[cached(cache = CACHE, scope = "signature", migrate = "recreate")]
    pub fn recreating(x: i64) -> String {
        format!("new {x}")
    }
}

#[test]
fn a_changed_signature_is_an_error_or_recreates_the_scope() {
    assert_eq!(signatures::before(1), 1);
    assert_eq!([signatures::after(1), signatures::after(1)], ["1", "1"], "it is computed");
    let error = signatures::after_forget(1).unwrap_err();
    assert_eq!((error.kind(), error.scope()), (ErrorKind::SchemaChange, Some("signature")));
    assert!(error.to_string().contains("change column `value` from bigint to text"), "{error}");
    assert!(error.to_string().contains("recreate"), "{error}");
    assert_eq!(signatures::reporting(1), "1");
    assert!(REPORTED.lock().unwrap()[0].contains("change column `value`"));
    assert_eq!(signatures::recreating(1), "new 1");
    assert!(signatures::recreating_forget(1).unwrap(), "it was stored");
}
