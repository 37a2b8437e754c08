//! What the servers cannot hold or do in time.

use std::time::{Duration, Instant};

use hilcat::{Cache, Column, ColumnType, ErrorKind, Schema};
use libtest_mimic::{Completion, Failed};
use mysql::prelude::Queryable;
use serde_json::json;

use crate::server::{Case, PASSED, Server, cases, name, texts};

pub const CASES: &[Case] = cases![
    a_record_over_the_packet_limit,
    rows_that_are_too_wide,
    json_that_is_too_deep,
    a_batch_of_large_records,
    a_row_that_another_holds,
    reads_are_never_stale,
    a_deadlock_is_tried_again,
    refusals_hold_no_value,
];

fn a_record_over_the_packet_limit(server: &Server) -> Result<Completion, Failed> {
    let limit: Option<usize> = server.raw().query_first("SELECT @@max_allowed_packet").unwrap();
    let limit = limit.unwrap();
    let cache = Cache::from_uri(&server.with("timeout=30s"))?;
    let scope = cache.dynamic_with(texts(&name()))?;
    scope.set("a", json!({"v": "1"}))?;
    let large = "x".repeat(limit);
    for error in [
        scope.set("a", json!({"v": large})).unwrap_err(),
        scope.set_many([("b", json!({"v": "1"})), ("c", json!({"v": large}))]).unwrap_err(),
    ] {
        assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
        assert!(error.to_string().contains("max_allowed_packet"), "{error}");
    }
    assert_eq!(scope.fetch_many(["a", "b"])?, [Some(json!({"id": "a", "v": "1"})), None]);
    // Nearly as large goes.
    let large = "y".repeat(limit - 4_096);
    scope.set("a", json!({"v": large}))?;
    assert_eq!(scope.fetch("a")?, Some(json!({"id": "a", "v": large})));
    scope.clear()?;
    PASSED
}

fn rows_that_are_too_wide(server: &Server) -> Result<Completion, Failed> {
    let schema = (0..3).fold(texts(&name()), |schema, n| {
        schema.column(Column::new(format!("c{n}"), ColumnType::Varchar(16_000)).nullable(true))
    });
    let error = server.open().dynamic_with(schema).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
    let decimal = ColumnType::Decimal { precision: 66, scale: 31 };
    let schema = texts(&name()).column(Column::new("n", decimal).nullable(true));
    assert_eq!(server.open().dynamic_with(schema).unwrap_err().kind(), ErrorKind::Unsupported);
    PASSED
}

fn json_that_is_too_deep(server: &Server) -> Result<Completion, Failed> {
    let schema = texts(&name()).column(Column::new("j", ColumnType::Json).nullable(true));
    let scope = server.open().dynamic_with(schema)?;
    let deep = |levels| (0..levels).fold(json!(1), |inner, _| json!([inner]));
    scope.set("a", json!({"j": deep(25)}))?;
    let error = scope.set("a", json!({"j": deep(110)})).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
    assert_eq!(scope.fetch("a")?.unwrap()["j"], deep(25));
    PASSED
}

/// More than one statement can have.
fn a_batch_of_large_records(server: &Server) -> Result<Completion, Failed> {
    let cache = Cache::from_uri(&server.with("timeout=30s"))?;
    let scope = cache.dynamic_with(texts(&name()))?;
    let value = |n: usize| json!({"v": n.to_string().repeat(1_000_000)});
    let keys: Vec<String> = (0..40).map(|n| format!("k{n}")).collect();
    scope.set_many(keys.iter().enumerate().map(|(n, key)| (key.as_str(), value(n))))?;
    let found = scope.fetch_many(keys.iter().map(String::as_str))?;
    for (n, found) in found.into_iter().enumerate() {
        assert_eq!(found.unwrap()["v"], value(n)["v"], "{n}");
    }
    scope.clear()?;
    PASSED
}

fn a_row_that_another_holds(server: &Server) -> Result<Completion, Failed> {
    let table = name();
    let cache = Cache::from_uri(&server.with("timeout=2s"))?;
    let scope = cache.dynamic_with(texts(&table))?;
    scope.set("a", json!({"v": "1"}))?;
    let mut raw = server.raw();
    raw.query_drop("BEGIN")?;
    raw.query_drop(format!("UPDATE `{table}` SET v = '2' WHERE id = 'a'"))?;
    for call in [0, 1, 2] {
        let start = Instant::now();
        let error = match call {
            0 => scope.set("a", json!({"v": "3"})).unwrap_err(),
            1 => scope.update("a", json!({"v": "3"})).unwrap_err(),
            _ => scope.pop("a").unwrap_err(),
        };
        assert!(start.elapsed() < Duration::from_millis(2_200), "{:?}", start.elapsed());
        assert_eq!(error.kind(), ErrorKind::Timeout, "{call}: {error}");
        assert!(error.is_retryable(), "{error}");
    }
    // Nobody waits to read.
    assert_eq!(scope.fetch("a")?, Some(json!({"id": "a", "v": "1"})));
    raw.query_drop("COMMIT")?;
    assert_eq!(scope.fetch("a")?, Some(json!({"id": "a", "v": "2"})));
    scope.set("a", json!({"v": "3"}))?;
    PASSED
}

fn reads_are_never_stale(server: &Server) -> Result<Completion, Failed> {
    let schema = texts(&name());
    let (here, there) =
        (server.open().dynamic_with(schema.clone())?, server.open().dynamic_with(schema)?);
    for n in 0..50 {
        let record = json!({"id": "a", "v": n.to_string()});
        here.set("a", json!({"v": n.to_string()}))?;
        assert_eq!(there.fetch("a")?.as_ref(), Some(&record));
        assert_eq!(there.fetch_many(["a"])?, [Some(record)]);
    }
    PASSED
}

/// Two raw transactions and ours in a circle: ours is rolled back, or theirs; ours is done.
fn a_deadlock_is_tried_again(server: &Server) -> Result<Completion, Failed> {
    let table = name();
    let cache = server.open();
    let scope = cache.dynamic_with(texts(&table))?;
    let keys: Vec<String> = (0..600).map(|n| format!("k{n:03}")).collect();
    let records = |v: &'static str| keys.iter().map(move |key| (key.as_str(), json!({"v": v})));
    scope.set_many(records("0"))?;
    std::thread::scope(|threads| -> Result<(), Failed> {
        let theirs = threads.spawn(|| {
            let mut raw = server.raw();
            for _ in 0..40 {
                // In the opposite order, so that the two meet.
                let change = |key: &str| format!("UPDATE `{table}` SET v = 'x' WHERE id = '{key}'");
                raw.query_drop("BEGIN").unwrap();
                let done = raw
                    .query_drop(change(&keys[599]))
                    .and_then(|()| raw.query_drop(change(&keys[0])));
                raw.query_drop(if done.is_ok() { "COMMIT" } else { "ROLLBACK" }).unwrap();
            }
        });
        for _ in 0..20 {
            scope.set_many(records("1"))?;
        }
        theirs.join().unwrap();
        Ok(())
    })?;
    PASSED
}

fn refusals_hold_no_value(server: &Server) -> Result<Completion, Failed> {
    let (table, mut raw) = (name(), server.raw());
    raw.query_drop(format!("CREATE TABLE `{table}` (id INT PRIMARY KEY, v TEXT, CHECK (v <> 'secret-value')) DEFAULT CHARSET=latin1"))?;
    let schema = Schema::new(&table)
        .unique(Column::new("id", ColumnType::Int))
        .column(Column::new("v", ColumnType::Text).nullable(true))
        .migrate(hilcat::Migrate::Manual);
    let scope = server.open().dynamic_with(schema)?;
    // The one does not pass the check, the other cannot be written in the character set.
    for value in ["secret-value", "secret-\u{1f600}"] {
        let error = scope.set(1, json!({"v": value})).unwrap_err();
        assert!(!format!("{error} {error:?}").contains("secret"), "{error}");
    }
    raw.query_drop(format!("DROP TABLE `{table}`"))?;
    PASSED
}
