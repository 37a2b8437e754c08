//! Limits of the servers, and deadlines.

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
    columns_narrower_than_their_type,
    a_migration_is_not_bound_by_the_deadline,
    a_batch_of_large_records,
    a_row_locked_by_another_transaction,
    reads_are_never_stale,
    a_deadlock_is_retried,
    errors_of_the_server_contain_no_value,
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
    // A slightly smaller record is stored.
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
    let array = |levels| (0..levels).fold(json!(1), |inner, _| json!([inner]));
    let object = |levels| (0..levels).fold(json!(1), |inner, _| json!({"a": inner}));
    let most = if server.is_mariadb() { 31 } else { 100 };
    for deep in [array, object] as [fn(usize) -> serde_json::Value; 2] {
        scope.set("a", json!({"j": deep(most)}))?;
        for error in [
            scope.set("a", json!({"j": deep(most + 1)})).unwrap_err(),
            scope.update("a", json!({"j": deep(most + 1)})).unwrap_err(),
            scope
                .set_many([("b", json!({"j": 1})), ("a", json!({"j": deep(most + 1)}))])
                .unwrap_err(),
        ] {
            assert_eq!(
                (error.kind(), error.column()),
                (ErrorKind::Unsupported, Some("j")),
                "{error}"
            );
            assert!(error.to_string().contains(&format!("up to {most} levels")), "{error}");
        }
        assert_eq!(scope.fetch("a")?.unwrap()["j"], deep(most));
        assert!(!scope.exists("b")?);
    }
    PASSED
}

/// Columns of another program that are narrower than the type as which they are read: a value that
/// fits is written; any other is an error before anything is sent.
fn columns_narrower_than_their_type(server: &Server) -> Result<Completion, Failed> {
    let (table, mut raw) = (name(), server.raw());
    raw.query_drop(format!(
        "CREATE TABLE `{table}` (id INT PRIMARY KEY, at DATETIME, at3 DATETIME(3), ts TIMESTAMP NULL, ts6 TIMESTAMP(6) NULL, tm TIME, t1 TINYTEXT, t TEXT, c CHAR(5), e ENUM('X','1x'), old VARCHAR(9) CHARACTER SET latin1, f FLOAT(7,3), d DOUBLE(7,3), n TINYINT, u INT UNSIGNED, b BINARY(3), bl BLOB) DEFAULT CHARSET=utf8mb4"
    ))?;
    let adopted =
        || Ok::<_, Failed>(Cache::builder(&server.uri).adopt_tables().open()?.dynamic(&table)?);
    let (long, bytes) =
        ("é".repeat(32_768), |length: usize| json!({"$bytes": "AAAA".repeat(length / 3)}));
    let cases = [
        ("at", json!("2020-01-02T03:04:05Z"), json!("2020-01-02T03:04:05.000001Z")),
        ("at3", json!("2020-01-02T03:04:05.006Z"), json!("2020-01-02T03:04:05.0061Z")),
        ("ts", json!("2020-01-02T03:04:05Z"), json!("2020-01-02T03:04:05.5Z")),
        ("ts", json!("2038-01-19T03:14:07Z"), json!("2038-01-19T03:14:08Z")),
        ("ts6", json!("1970-01-01T00:00:01.000001Z"), json!("1970-01-01T00:00:00Z")),
        ("tm", json!("23:59:59"), json!("23:59:59.999999")),
        ("t1", json!(&long[..254]), json!(&long[..256])),
        ("t", json!(&long[..65_534]), json!(long)),
        ("c", json!(" a"), json!("a ")),
        ("e", json!("1x"), json!("1")),
        ("e", json!("X"), json!("x")),
        ("old", json!("é€"), json!("\u{43a}")),
        ("f", json!(0.5), json!(0.0625)),
        ("d", json!(9999.125), json!(10_000.5)),
        ("n", json!(-128), json!(128)),
        ("u", json!(4_294_967_295_u32), json!(-1)),
        ("b", bytes(3), bytes(6)),
        ("bl", bytes(65_535), bytes(65_538)),
    ];
    // Also after the registry has recorded the unchanged table.
    for known in [false, true] {
        let scope = adopted()?;
        if known {
            let schema = scope.schema().clone();
            let cache = server.open();
            assert!(cache.migrate(&schema)?.is_empty());
            assert!(cache.plan(&schema)?.is_empty());
        }
        let scope = adopted()?;
        for (column, fits, other) in &cases {
            scope.set(1, json!({*column: fits}))?;
            for error in [
                scope.set(1, json!({*column: other})).unwrap_err(),
                scope.update(1, json!({*column: other})).unwrap_err(),
                scope.set_many([(1, json!({*column: other}))]).unwrap_err(),
            ] {
                assert_eq!(error.kind(), ErrorKind::Unsupported, "{column}: {error}");
                assert!(error.to_string().contains("would change the value"), "{column}: {error}");
            }
            assert_eq!(scope.fetch(1)?.unwrap()[*column], *fits, "{column}");
        }
    }
    raw.query_drop(format!("DROP TABLE `{table}`"))?;
    PASSED
}

/// More data than one statement can contain.
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

fn a_row_locked_by_another_transaction(server: &Server) -> Result<Completion, Failed> {
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
    // Reads do not wait.
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

/// hilcat's transaction and another one deadlock: whichever is rolled back, hilcat's call succeeds.
fn a_deadlock_is_retried(server: &Server) -> Result<Completion, Failed> {
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
                // In the opposite order, so that the two transactions deadlock.
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

fn errors_of_the_server_contain_no_value(server: &Server) -> Result<Completion, Failed> {
    let (table, mut raw) = (name(), server.raw());
    raw.query_drop(format!("CREATE TABLE `{table}` (id INT PRIMARY KEY, v TEXT, CHECK (v <> 'secret-value')) DEFAULT CHARSET=latin1"))?;
    let schema = Schema::new(&table)
        .unique(Column::new("id", ColumnType::Int))
        .column(Column::new("v", ColumnType::Text).nullable(true))
        .migrate(hilcat::Migrate::Manual);
    let scope = server.open().dynamic_with(schema)?;
    // One value violates the check, the other is outside the character set.
    for value in ["secret-value", "secret-\u{1f600}"] {
        let error = scope.set(1, json!({"v": value})).unwrap_err();
        assert!(!format!("{error} {error:?}").contains("secret"), "{error}");
    }
    raw.query_drop(format!("DROP TABLE `{table}`"))?;
    PASSED
}

/// The deadline bounds the wait for locks, but not the time of rewriting a large table.
fn a_migration_is_not_bound_by_the_deadline(server: &Server) -> Result<Completion, Failed> {
    let table = name();
    let of = |ty| {
        Schema::new(&table).unique(Column::new("id", ColumnType::Int)).column(Column::new("n", ty))
    };
    server.open().dynamic_with(of(ColumnType::Int))?;
    let mut raw = server.raw();
    let digits = "(SELECT 0 d UNION ALL SELECT 1 UNION ALL SELECT 2 UNION ALL SELECT 3 UNION ALL SELECT 4 UNION ALL SELECT 5 UNION ALL SELECT 6 UNION ALL SELECT 7 UNION ALL SELECT 8 UNION ALL SELECT 9)";
    raw.query_drop(format!(
        "INSERT INTO `{table}` SELECT a.d + 10 * b.d + 100 * c.d + 1000 * d.d + 10000 * e.d + 100000 * f.d, 1 FROM {digits} a, {digits} b, {digits} c, {digits} d, {digits} e, {digits} f WHERE f.d < 5"
    ))?;
    let open = || {
        let cache = Cache::from_uri(&server.with("timeout=1s&connect_timeout=5s"))?;
        cache.dynamic_with(of(ColumnType::BigInt))
    };
    raw.query_drop("BEGIN")?;
    raw.query_drop(format!("SELECT n FROM `{table}` LIMIT 1"))?;
    let start = Instant::now();
    let error = open().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout, "{error}");
    assert!(start.elapsed() < Duration::from_secs(6), "{:?}", start.elapsed());
    raw.query_drop("ROLLBACK")?;
    let start = Instant::now();
    let scope = open()?;
    println!("{}: a column of 500,000 rows was widened in {:?}", server.engine, start.elapsed());
    assert_eq!(scope.fetch(7)?, Some(json!({"id": 7, "n": 1})));
    raw.query_drop(format!("DROP TABLE `{table}`"))?;
    PASSED
}
