//! The cases of every store.

use std::sync::{Arc, Barrier};
use std::thread;
use std::time::Duration;

use hilcat::store::ScopeStore;
use hilcat::{Cache, Column, ColumnType, ErrorKind, Key, Row, Value};

use super::{Case, list};
use crate::stores::{TestContext, row};

pub const CASES: &[Case] = list![
    an_insert_keeps_the_stored_record,
    absent_columns_have_their_defaults,
    an_invalid_record_is_refused,
    keys_longer_than_an_index_entry,
    a_record_of_a_key_only,
    a_batch_inserts_the_missing_records,
    large_batches,
    a_batch_with_an_incomplete_row,
    one_of_many_threads_inserts,
    batches_in_opposite_orders,
    a_removed_record_can_be_inserted_again,
    no_timeout_is_too_long,
];

fn key(text: &str) -> Key {
    Key::single(text.into())
}

fn an_insert_keeps_the_stored_record(context: &TestContext) {
    let store = context.store(&context.texts());
    assert_eq!(store.insert(row(["a", "1"])).unwrap(), None);
    assert_eq!(store.insert(row(["a", "2"])).unwrap(), Some(row(["a", "1"])));
    assert_eq!(store.fetch(&key("a")).unwrap(), Some(row(["a", "1"])));
    store.set(row(["a", "3"])).unwrap();
    assert_eq!(store.insert(row(["a", "4"])).unwrap(), Some(row(["a", "3"])));
    assert_eq!(store.pop(&key("a")).unwrap(), Some(row(["a", "3"])));
    assert_eq!(store.insert(row(["a", "5"])).unwrap(), None);
    assert_eq!(store.fetch(&key("a")).unwrap(), Some(row(["a", "5"])));
}

fn absent_columns_have_their_defaults(context: &TestContext) {
    if context.tested.name.contains("single") {
        // The options of its URI cannot declare defaults.
        return;
    }
    let column = |name| Column::new(name, ColumnType::Text);
    let schema = context.texts().column(column("d").default_value("x")).column(column("must"));
    let store = context.store(&schema);
    let some = |must: Value| vec!["a".into(), Value::Absent, Value::Absent, must];
    let error = store.insert(some(Value::Absent)).unwrap_err();
    assert_eq!((error.kind(), error.column()), (ErrorKind::InvalidInput, Some("must")));
    assert_eq!(store.len().unwrap(), 0);
    assert_eq!(store.insert(some("m".into())).unwrap(), None);
    let stored: Row = vec!["a".into(), Value::Null, "x".into(), "m".into()];
    assert_eq!(store.fetch(&key("a")).unwrap(), Some(stored.clone()));
    // A record is stored, so the columns that the row lacks do not matter.
    assert_eq!(store.insert(some(Value::Absent)).unwrap(), Some(stored));
}

fn an_invalid_record_is_refused(context: &TestContext) {
    let schema = context.schema().unique(Column::new("id", ColumnType::Text));
    let schema = schema.column(Column::new("n", ColumnType::Double).nullable(true));
    let store = context.store(&schema);
    let numbers = vec!["a".into(), Value::Float(f64::NAN)];
    match context.tested.name {
        name if !["sqlite-", "mysql", "mariadb"].iter().any(|head| name.starts_with(head)) => {
            assert_eq!(store.insert(numbers).unwrap(), None);
        }
        _ => {
            let error = store.insert(numbers.clone()).unwrap_err();
            assert_eq!((error.kind(), error.column()), (ErrorKind::Unsupported, Some("n")));
            let rows = vec![vec!["b".into(), Value::Null], numbers];
            assert_eq!(store.insert_many(rows).unwrap_err().kind(), ErrorKind::Unsupported);
            assert_eq!(store.len().unwrap(), 0);
        }
    }
}

fn keys_longer_than_an_index_entry(context: &TestContext) {
    let store = context.store(&context.texts());
    let long = |end: &str| format!("{}{end}", "k".repeat(5_000));
    let (a, b, c) = (long("a"), long("b"), long("c"));
    assert_eq!(store.insert(row([&a, "1"])).unwrap(), None);
    assert_eq!(store.insert(row([&b, "2"])).unwrap(), None);
    assert_eq!(store.insert(row([&a, "3"])).unwrap(), Some(row([&a, "1"])));
    let rows = [[&*c, "4"], [&*b, "5"], ["short", "6"]].map(row).to_vec();
    assert_eq!(store.insert_many(rows).unwrap(), [None, Some(row([&b, "2"])), None]);
    assert_eq!(store.fetch(&key(&c)).unwrap(), Some(row([&c, "4"])));
    assert_eq!(store.len().unwrap(), 4);
}

fn a_record_of_a_key_only(context: &TestContext) {
    if context.tested.name.contains("single") {
        return;
    }
    let column = |name, ty| Column::new(name, ty);
    let schema = context.schema().unique(column("a", ColumnType::Text));
    let store = context.store(&schema.unique(column("b", ColumnType::BigInt)));
    let pair = |a: &str, b: i64| vec![a.into(), b.into()];
    assert_eq!(store.insert(pair("x", 1)).unwrap(), None);
    assert_eq!(store.insert(pair("x", 1)).unwrap(), Some(pair("x", 1)));
    let inserted = store.insert_many(vec![pair("x", 2), pair("x", 1), pair("a", 2)]).unwrap();
    assert_eq!(inserted, [None, Some(pair("x", 1)), None]);
}

fn a_batch_inserts_the_missing_records(context: &TestContext) {
    let store = context.store(&context.texts());
    assert_eq!(store.insert_many(Vec::new()).unwrap(), Vec::<Option<Row>>::new());
    let rows = |ids: &[&str], value: &str| ids.iter().map(|id| row([id, value])).collect();
    assert_eq!(store.insert_many(rows(&["d", "b"], "1")).unwrap(), [None, None]);
    let found = store.insert_many(rows(&["c", "b", "a", "d"], "2")).unwrap();
    assert_eq!(found, [None, Some(row(["b", "1"])), None, Some(row(["d", "1"]))]);
    let found = store.insert_many(rows(&["a", "b"], "3")).unwrap();
    assert_eq!(found, [Some(row(["a", "2"])), Some(row(["b", "1"]))]);
}

fn large_batches(context: &TestContext) {
    let store = context.store(&context.texts());
    let one = |n: usize, value: &str| row([&format!("k{n:05}"), value]);
    store.set_many((0..1_200).step_by(4).map(|n| one(n, "old")).collect()).unwrap();
    // In reverse order, and larger than one statement.
    let found = store.insert_many((0..1_111).rev().map(|n| one(n, "new")).collect()).unwrap();
    for (n, found) in (0..1_111).rev().zip(found) {
        assert_eq!(found, (n % 4 == 0).then(|| one(n, "old")), "{n}");
    }
    assert_eq!(store.len().unwrap(), 1_111 + (1_200 - 1_112) / 4);
    let big = "x".repeat(300_000);
    let big = |n: usize| row([&format!("big{n}"), &big]);
    let found = store.insert_many((0..70).map(big).collect()).unwrap();
    assert!(found.iter().all(Option::is_none));
    assert_eq!(store.fetch(&key("big69")).unwrap(), Some(big(69)));
}

fn a_batch_with_an_incomplete_row(context: &TestContext) {
    if context.tested.name.contains("single") {
        return;
    }
    let store = context.store(&context.texts().column(Column::new("must", ColumnType::Text)));
    let row = |id: &str, must: Value| vec![id.into(), Value::Absent, must];
    let rows = vec![row("a", "1".into()), row("b", Value::Absent)];
    let error = store.insert_many(rows.clone()).unwrap_err();
    assert_eq!((error.kind(), error.column()), (ErrorKind::InvalidInput, Some("must")));
    assert!(error.to_string().contains("b"), "{error}");
    assert_eq!(store.len().unwrap(), 0, "{error}");
    let stored = |id: &str, must: &str| vec![id.into(), Value::Null, must.into()];
    store.set(stored("b", "0")).unwrap();
    assert_eq!(store.insert_many(rows).unwrap(), [None, Some(stored("b", "0"))]);
}

/// Runs the same work in several threads that start at the same time, on two stores.
fn in_threads<T: Send>(
    context: &TestContext,
    count: usize,
    work: impl Fn(usize, &dyn ScopeStore) -> T + Sync,
) -> Vec<T> {
    let schema = context.texts();
    let one = context.store(&schema);
    let other = match context.tested.is_volatile() {
        true => one.clone(),
        false => context.store(&schema),
    };
    let start = Barrier::new(count);
    thread::scope(|threads| {
        let run = |n: usize| {
            let store: Arc<dyn ScopeStore> =
                if n.is_multiple_of(2) { one.clone() } else { other.clone() };
            let (start, work) = (&start, &work);
            threads.spawn(move || {
                start.wait();
                work(n, &*store)
            })
        };
        let threads: Vec<_> = (0..count).map(run).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    })
}

fn one_of_many_threads_inserts(context: &TestContext) {
    let insert = |n: usize, store: &dyn ScopeStore| {
        let insert = |k| store.insert(row([&format!("k{k}"), &format!("by {n}")])).unwrap();
        (0..20).map(insert).collect::<Vec<_>>()
    };
    let found = in_threads(context, 12, insert);
    let store = context.store(&context.texts());
    for k in 0..20 {
        let inserted: Vec<usize> = (0..12).filter(|&n| found[n][k].is_none()).collect();
        assert_eq!(inserted.len(), 1, "k{k} by {inserted:?}");
        let stored = row([&format!("k{k}"), &format!("by {}", inserted[0])]);
        assert!(found.iter().all(|found| found[k].as_ref().is_none_or(|found| *found == stored)));
        if !context.tested.is_volatile() {
            assert_eq!(store.fetch(&key(&format!("k{k}"))).unwrap(), Some(stored));
        }
    }
}

fn batches_in_opposite_orders(context: &TestContext) {
    let insert = |n: usize, store: &dyn ScopeStore| {
        let batch = |round: usize| {
            let ids = (0..60).map(|k| if n % 4 < 2 { k } else { 59 - k });
            let row = |k| row([&format!("{round} {k:02}"), &format!("by {n}")]);
            let found = store.insert_many(ids.map(row).collect()).unwrap();
            found.iter().filter(|found| found.is_none()).count()
        };
        (0..5).map(batch).sum::<usize>()
    };
    assert_eq!(in_threads(context, 8, insert).into_iter().sum::<usize>(), 5 * 60);
}

/// Every inserted record is popped once, or is stored at the end.
fn a_removed_record_can_be_inserted_again(context: &TestContext) {
    let work = |n: usize, store: &dyn ScopeStore| {
        let (mut inserted, mut popped) = (0, 0);
        for round in 0..60 {
            let id = format!("k{}", round % 2);
            match (n + round) % 3 {
                0 => popped += usize::from(store.pop(&key(&id)).unwrap().is_some()),
                1 => inserted += usize::from(store.insert(row([&id, "v"])).unwrap().is_none()),
                _ => {
                    let rows = vec![row(["k1", "v"]), row(["k0", "v"])];
                    let found = store.insert_many(rows).unwrap();
                    inserted += found.iter().filter(|found| found.is_none()).count();
                }
            }
        }
        (inserted, popped, store.len().unwrap())
    };
    let done = in_threads(context, 8, work);
    let inserted: usize = done.iter().map(|(inserted, ..)| inserted).sum();
    let popped: usize = done.iter().map(|(_, popped, _)| popped).sum();
    let left = match context.tested.is_volatile() {
        // The record is gone with its store.
        true => inserted - popped,
        false => usize::try_from(context.store(&context.texts()).len().unwrap()).unwrap(),
    };
    assert_eq!(inserted, popped + left);
    assert!(popped > 0);
}

fn no_timeout_is_too_long(context: &TestContext) {
    let cache = Cache::builder(context.uri("pool_size=2")).timeout(Duration::MAX).open().unwrap();
    let scope = cache.dynamic_with(context.texts()).unwrap();
    let record = serde_json::json!({"id": "a", "v": "x"});
    assert_eq!(scope.get("a", || serde_json::json!({"v": "x"})).unwrap(), record);
    scope.set_many([("b", serde_json::json!({"v": "y"}))]).unwrap();
    assert_eq!(scope.update("a", serde_json::json!({"v": "z"})).unwrap(), Some(record));
    assert_eq!(scope.keys().unwrap().count(), 2);
    assert_eq!(scope.pop_many(["a", "b"]).unwrap().iter().flatten().count(), 2);
}
