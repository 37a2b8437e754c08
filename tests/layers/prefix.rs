//! Prefixes as namespaces.

use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;

use hilcat::{Cache, Column, ColumnType, ErrorKind, Schema, Schemas};
use serde_json::json;

use crate::backends::{Backend, unique};
use crate::{BackendTest, Test, tests};

pub const TESTS: &[Test] = tests![
    namespaces_are_separate,
    a_namespace_in_a_namespace,
    an_empty_prefix_is_refused,
    one_prefix_computes_once,
    declared_scopes_are_available,
    a_prefix_of_a_staged_cache_moves_its_own_scopes,
];

pub const ON_BACKENDS: &[BackendTest] =
    tests![every_prefix_works, tables_are_adopted_under_their_names];

fn put(cache: &Cache, value: i64) {
    cache.map::<String, i64>("m").unwrap().set("a", &value).unwrap();
}

fn held(cache: &Cache) -> Option<i64> {
    cache.map::<String, i64>("m").unwrap().fetch("a").unwrap()
}

fn namespaces_are_separate() {
    let cache = Cache::memory();
    let (one, two) = (cache.prefix("tenant1"), cache.prefix("tenant2"));
    put(&cache, 0);
    put(&one, 1);
    put(&two, 2);
    assert_eq!([&cache, &one, &two].map(held), [Some(0), Some(1), Some(2)]);
    assert_eq!(one.scopes().unwrap(), ["m"]);
    assert_eq!(cache.scopes().unwrap(), ["m", "tenant1__m", "tenant2__m"]);
    two.map::<String, i64>("m").unwrap().clear().unwrap();
    assert_eq!([&cache, &one, &two].map(held), [Some(0), Some(1), None]);
    assert!(cache.prefix("tenant").scopes().unwrap().is_empty());
    assert!(format!("{one:?}").contains("memory"));
}

fn a_namespace_in_a_namespace() {
    let cache = Cache::memory();
    let outer = cache.prefix("a");
    let inner = outer.prefix("b");
    put(&inner, 1);
    assert_eq!(cache.scopes().unwrap(), ["a__b__m"]);
    assert_eq!(inner.scopes().unwrap(), ["m"]);
    assert!(outer.scopes().unwrap().is_empty());
    let other = outer.map::<String, i64>("b__m").unwrap();
    assert_eq!(other.fetch("a").unwrap(), None);
}

fn an_empty_prefix_is_refused() {
    let cache = Cache::memory().prefix("");
    assert_eq!(cache.map::<String, i64>("m").unwrap_err().kind(), ErrorKind::InvalidConfig);
    assert!(cache.scopes().unwrap().is_empty());
}

/// All caches with one prefix share computations.
fn one_prefix_computes_once() {
    let cache = Cache::memory();
    let computed = AtomicU32::new(0);
    thread::scope(|threads| {
        for _ in 0..16 {
            threads.spawn(|| {
                let map = cache.prefix("t").map::<String, i64>("m").unwrap();
                map.get("a", || {
                    thread::sleep(std::time::Duration::from_millis(20));
                    i64::from(computed.fetch_add(1, Ordering::SeqCst))
                })
                .unwrap();
            });
        }
    });
    assert_eq!(computed.load(Ordering::SeqCst), 1);
}

fn declared_scopes_are_available() {
    let schemas: Schemas = [schema("a")].into_iter().collect();
    let cache = Cache::builder("memory:").schemas(schemas).open().unwrap();
    let scope = cache.prefix("t").dynamic("a").unwrap();
    scope.set("x", json!({"v": 1})).unwrap();
    assert_eq!(scope.schema().name(), "a");
    assert_eq!(cache.dynamic("a").unwrap().len().unwrap(), 0);
    let tiered = Cache::tiered(Cache::memory(), cache);
    assert_eq!(tiered.dynamic("a").unwrap().len().unwrap(), 0);
}

fn a_prefix_of_a_staged_cache_moves_its_own_scopes() {
    let storage = Cache::memory();
    let cache = Cache::staged(Cache::memory(), storage.clone());
    let (one, two) = (cache.prefix("one"), cache.prefix("two"));
    put(&one, 1);
    put(&two, 2);
    assert_eq!((one.unsaved().unwrap(), cache.unsaved().unwrap().len()), (vec!["m".into()], 2));
    one.backup(None).unwrap();
    assert_eq!(cache.unsaved().unwrap(), ["two__m"]);
    put(&one, 5);
    put(&two, 6);
    one.load(None).unwrap();
    assert_eq!((held(&one), held(&two)), (Some(1), Some(6)));
}

fn schema(name: &str) -> Schema {
    Schema::new(name)
        .unique(Column::new("id", ColumnType::Text))
        .column(Column::new("v", ColumnType::BigInt).nullable(true))
}

/// Prefixed names are valid on every backend, or refused as too long.
fn every_prefix_works(backend: &Backend) {
    let (uri, _directory) = (backend.uri)().unwrap();
    let root = Cache::from_uri(&uri).unwrap().prefix(&unique());
    let odd = ["a", "A", "a_b", "a__b", "_", "a.b", "/", "Ünï", "a b", "%", "'", "x-", "1"];
    for (at, prefix) in odd.iter().enumerate() {
        put(&root.prefix(prefix), at as i64);
    }
    for (at, prefix) in odd.iter().enumerate() {
        let cache = root.prefix(prefix);
        assert_eq!((held(&cache), cache.scopes().unwrap()), (Some(at as i64), vec!["m".into()]));
    }
    assert!(root.scopes().unwrap().is_empty());
    if let Err(error) = root.prefix(&"long".repeat(40)).map::<String, i64>("m") {
        assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
    }
}

fn tables_are_adopted_under_their_names(backend: &Backend) {
    let ((uri, _directory), prefix) = ((backend.uri)().unwrap(), unique());
    let cache = Cache::from_uri(&uri).unwrap();
    let own = cache.prefix(&prefix);
    if !cache.capabilities().tables {
        return;
    }
    own.dynamic_with(schema("a").table("t")).unwrap().set("x", json!({"v": 1})).unwrap();
    let adopted = Cache::builder(format!("prefix:?name={prefix}&cache={}", encoded(&uri)));
    let adopted = adopted.adopt_tables().open().unwrap();
    let names: Vec<&str> = adopted.schemas().iter().map(|schema| schema.name()).collect();
    assert_eq!(names, ["a"]);
    assert_eq!(adopted.dynamic("a").unwrap().fetch("x").unwrap(), Some(json!({"id": "x", "v": 1})));
    assert_eq!(adopted.schemas().get("a").unwrap().table_name(), "t");
}

/// Encodes a URI as the value of an option.
pub fn encoded(uri: &str) -> String {
    uri.bytes().map(|byte| format!("%{byte:02X}")).collect()
}
