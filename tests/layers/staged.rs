//! Changes in memory that are saved by whole scopes.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use hilcat::{Cache, Column, ColumnType, ErrorKind, MapScope, Schema};
use serde_json::json;

use crate::spy::{When, spied};
use crate::{Test, done, tests};

pub const TESTS: &[Test] = tests![
    work_stays_in_memory_until_it_is_backed_up,
    a_backup_deletes_removed_records,
    a_load_replaces_the_records_in_memory,
    a_scope_opened_after_the_load_is_loaded,
    a_scope_without_unsaved_work_is_not_written,
    a_failed_backup_leaves_the_work_unsaved,
    a_backup_is_a_snapshot,
    an_older_backup_does_not_overwrite_a_newer_one,
    a_scope_that_is_not_opened_is_not_backed_up,
    a_bounded_memory_is_refused,
    a_value_that_the_storage_refuses_is_refused_at_once,
    a_storage_without_replace_all_is_an_error,
    a_backup_has_the_newest_schema,
];

type Map = MapScope<String, i64>;

fn map(cache: &Cache, name: &str) -> Map {
    cache.map(name).unwrap()
}

/// Returns a staged cache and its storage.
fn staged() -> (Cache, Cache) {
    let storage = Cache::memory();
    (Cache::staged(Cache::memory(), storage.clone()), storage)
}

fn all(map: &Map) -> Vec<(String, i64)> {
    let mut all: Vec<_> = map.iter().unwrap().map(Result::unwrap).collect();
    all.sort();
    all
}

fn pairs<const N: usize>(pairs: [(&str, i64); N]) -> Vec<(String, i64)> {
    pairs.map(|(key, value)| (key.to_owned(), value)).into()
}

fn names<const N: usize>(names: [&str; N]) -> Vec<String> {
    names.map(str::to_owned).into()
}

fn work_stays_in_memory_until_it_is_backed_up() {
    let (cache, storage) = staged();
    let (work, kept) = (map(&cache, "a"), map(&storage, "a"));
    assert!(cache.unsaved().unwrap().is_empty());
    work.set("x", &1).unwrap();
    work.set_many([("y", &2), ("z", &3)]).unwrap();
    assert_eq!((kept.len().unwrap(), cache.unsaved().unwrap()), (0, names(["a"])));
    cache.backup(None).unwrap();
    assert_eq!(all(&kept), pairs([("x", 1), ("y", 2), ("z", 3)]));
    assert!(cache.unsaved().unwrap().is_empty());
    for change in [
        |work: &Map| done(work.update("x", &5)),
        |work: &Map| done(work.pop("y")),
        |work: &Map| done(work.pop_many(["z"])),
        |work: &Map| work.clear().unwrap(),
    ] {
        change(&work);
        assert_eq!(cache.unsaved().unwrap(), ["a"]);
        cache.backup(Some(&names(["a"]))).unwrap();
        assert_eq!(all(&kept), all(&work));
        assert!(cache.unsaved().unwrap().is_empty());
    }
    // A call without effect leaves nothing to save.
    assert_eq!(work.pop("nothing").unwrap(), None);
    work.fetch("x").unwrap();
    assert!(cache.unsaved().unwrap().is_empty());
}

fn a_backup_deletes_removed_records() {
    let (cache, storage) = staged();
    let (work, kept) = (map(&cache, "a"), map(&storage, "a"));
    kept.set_many([("old", &1), ("both", &2)]).unwrap();
    work.set_many([("both", &3), ("new", &4)]).unwrap();
    cache.backup(None).unwrap();
    assert_eq!(all(&kept), pairs([("both", 3), ("new", 4)]));
}

fn a_load_replaces_the_records_in_memory() {
    let (cache, storage) = staged();
    let (work, kept) = (map(&cache, "a"), map(&storage, "a"));
    let (other, _) = (map(&cache, "b"), map(&storage, "b").set("k", &9).unwrap());
    kept.set_many([("x", &1), ("y", &2)]).unwrap();
    work.set_many([("y", &7), ("z", &8)]).unwrap();
    cache.load(Some(&names(["a"]))).unwrap();
    assert_eq!((all(&work), other.len().unwrap()), (pairs([("x", 1), ("y", 2)]), 0));
    assert!(cache.unsaved().unwrap().is_empty());
    cache.load(None).unwrap();
    assert_eq!(all(&other), pairs([("k", 9)]));
}

fn a_scope_opened_after_the_load_is_loaded() {
    let (cache, storage) = staged();
    map(&storage, "a").set("x", &1).unwrap();
    map(&storage, "b").set("x", &2).unwrap();
    assert_eq!(cache.scopes().unwrap(), ["a", "b"]);
    cache.load(Some(&names(["b"]))).unwrap();
    assert_eq!((map(&cache, "a").len().unwrap(), map(&cache, "b").len().unwrap()), (0, 1));
    let all = Cache::staged(Cache::memory(), storage);
    all.load(None).unwrap();
    assert_eq!((map(&all, "a").len().unwrap(), map(&all, "new").len().unwrap()), (1, 0));
    // The scope is loaded once: opening it again keeps the changes.
    map(&all, "a").set("y", &3).unwrap();
    assert_eq!(map(&all, "a").len().unwrap(), 2);
}

fn a_scope_without_unsaved_work_is_not_written() {
    let (cache, storage) = staged();
    let (_, kept) = (map(&cache, "a"), map(&storage, "a"));
    kept.set("x", &1).unwrap();
    cache.backup(None).unwrap();
    assert_eq!(all(&kept), pairs([("x", 1)]), "the scope has no changes");
    cache.backup(Some(&names(["a"]))).unwrap();
    assert_eq!(kept.len().unwrap(), 0, "the scope was requested by name");
}

fn a_failed_backup_leaves_the_work_unsaved() {
    let (storage, spy) = spied();
    let cache = Cache::staged(Cache::memory(), storage.clone());
    let work = map(&cache, "a");
    work.set("x", &1).unwrap();
    spy.fail("replace_all", When::Before, ErrorKind::Unavailable);
    let error = cache.backup(None).unwrap_err();
    assert_eq!((error.kind(), error.scope()), (ErrorKind::Unavailable, Some("a")));
    assert_eq!((cache.unsaved().unwrap(), all(&work)), (names(["a"]), pairs([("x", 1)])));
    spy.unhook();
    cache.backup(None).unwrap();
    assert_eq!(all(&map(&storage, "a")), pairs([("x", 1)]));
    spy.fail("rows", When::Before, ErrorKind::Unavailable);
    work.set("y", &2).unwrap();
    cache.load(None).unwrap_err();
    assert_eq!(all(&work), pairs([("x", 1), ("y", 2)]), "a failed load changes nothing");
}

/// Each batch writes one number to all keys, so no backup contains two numbers.
fn a_backup_is_a_snapshot() {
    let (cache, storage) = staged();
    let work: MapScope<i64, i64> = cache.map("a").unwrap();
    let kept: MapScope<i64, i64> = storage.map("a").unwrap();
    let done = AtomicBool::new(false);
    thread::scope(|threads| {
        let writer = threads.spawn(|| {
            for value in 0..300 {
                work.set_many((0..200).map(|key| (key, &value))).unwrap();
            }
            done.store(true, Ordering::SeqCst);
        });
        while !done.load(Ordering::SeqCst) {
            cache.backup(None).unwrap();
            let mut values: Vec<i64> = kept.iter().unwrap().map(|item| item.unwrap().1).collect();
            assert!(values.is_empty() || values.len() == 200, "{}", values.len());
            values.dedup();
            assert!(values.len() <= 1, "{values:?}");
        }
        writer.join().unwrap();
    });
    cache.backup(None).unwrap();
    assert_eq!(kept.fetch(0).unwrap(), Some(299));
    assert!(cache.unsaved().unwrap().is_empty());
}

fn an_older_backup_does_not_overwrite_a_newer_one() {
    let (cache, storage) = staged();
    let (work, kept) = (map(&cache, "a"), map(&storage, "a"));
    thread::scope(|threads| {
        for _ in 0..4 {
            threads.spawn(|| (0..200).for_each(|_| cache.backup(None).unwrap()));
        }
        (0..500).for_each(|value| work.set("x", &value).unwrap());
    });
    cache.backup(None).unwrap();
    assert_eq!(all(&kept), pairs([("x", 499)]));
}

fn a_scope_that_is_not_opened_is_not_backed_up() {
    let (cache, storage) = staged();
    map(&cache, "articles").set("x", &1).unwrap();
    let error = cache.backup(Some(&names(["articles", "artikles"]))).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::UnknownScope);
    assert!(error.to_string().ends_with("did you mean `articles`?"), "{error}");
    assert_eq!(map(&storage, "articles").len().unwrap(), 0, "nothing was backed up");
}

fn a_bounded_memory_is_refused() {
    let memory = Cache::from_uri("memory:?max_entries=10").unwrap();
    let cache = Cache::staged(memory, Cache::memory());
    let error = cache.map::<String, i64>("a").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(cache.scopes().unwrap().is_empty());
}

/// A schema is refused when the scope is opened, and a value when it is set, not by a later backup.
fn a_value_that_the_storage_refuses_is_refused_at_once() {
    let (cache, storage) = staged();
    let schema = |ty| {
        let id = Column::new("id", ColumnType::Text);
        Schema::new("a").unique(id).column(Column::new("v", ty).nullable(true))
    };
    storage.dynamic_with(schema(ColumnType::Text)).unwrap().set("x", json!({"v": "1"})).unwrap();
    let error = cache.dynamic_with(schema(ColumnType::Int)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::SchemaChange);
    #[cfg(feature = "sqlite")]
    {
        let storage = Cache::from_uri("sqlite::memory:").unwrap();
        let cache = Cache::staged(Cache::memory(), storage);
        let work: MapScope<String, f64> = cache.map("f").unwrap();
        let error = work.set("x", &f64::NAN).unwrap_err();
        assert_eq!((error.kind(), error.column()), (ErrorKind::Unsupported, Some("value")));
        assert!(!cache.capabilities().nan && cache.unsaved().unwrap().is_empty());
    }
}

/// A third-party store need not implement `replace_all`.
fn a_storage_without_replace_all_is_an_error() {
    let (storage, spy) = spied();
    spy.fail("replace_all", When::Before, ErrorKind::Unsupported);
    let cache = Cache::staged(Cache::memory(), storage);
    map(&cache, "a").set("x", &1).unwrap();
    assert_eq!(cache.backup(None).unwrap_err().kind(), ErrorKind::Unsupported);
    assert_eq!(cache.unsaved().unwrap(), ["a"]);
}

fn a_backup_has_the_newest_schema() {
    let (cache, storage) = staged();
    let old = Schema::new("a")
        .unique(Column::new("id", ColumnType::Text))
        .column(Column::new("v", ColumnType::Int));
    let new = old.clone().column(Column::new("w", ColumnType::Int).default_value(7_i32));
    cache.dynamic_with(old).unwrap().set("x", json!({"v": 1})).unwrap();
    cache.dynamic_with(new.clone()).unwrap().set("y", json!({"v": 2, "w": 3})).unwrap();
    cache.backup(None).unwrap();
    let kept = storage.dynamic_with(new).unwrap();
    assert_eq!(kept.fetch("x").unwrap(), Some(json!({"id": "x", "v": 1, "w": 7})));
    assert_eq!(kept.fetch("y").unwrap(), Some(json!({"id": "y", "v": 2, "w": 3})));
}
