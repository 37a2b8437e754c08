//! Values and keys at PostgreSQL's own limits.

use hilcat::{Column, ColumnType, DynScope, ErrorKind, Schema};
use serde_json::json;

use crate::Test;
use crate::support::{Server, int, null, scope, text};

pub(crate) const TESTS: &[Test] = &[
    ("json_is_exact", json_is_exact),
    ("nul_is_refused_before_anything_is_sent", nul_is_refused_before_anything_is_sent),
    ("unreadable_records_are_kept", unreadable_records_are_kept),
    (
        "an_unreadable_record_fails_only_its_own_fetch",
        an_unreadable_record_fails_only_its_own_fetch,
    ),
    ("errors_contain_no_value", errors_contain_no_value),
];

fn json_is_exact(server: &Server) {
    let a = server.cache().dynamic_with(scope([Column::new("j", ColumnType::Json)])).unwrap();
    let values = [
        json!(null),
        json!([1, 1.0, 1e16, 1e19, -1e22, 1e300, 5e-324, 0.1, 1.5e-7, u64::MAX, i64::MIN]),
        json!({"": {"b": [], "a": {}}, "\u{1f600}": "\u{1}\\\"/"}),
        json!("007"),
    ];
    for value in values {
        a.set("x", json!({"j": value})).unwrap();
        assert_eq!(a.fetch("x").unwrap(), Some(json!({"id": "x", "j": value})));
        a.set_many([("y", json!({"j": value}))]).unwrap();
        assert_eq!(a.pop("y").unwrap(), Some(json!({"id": "y", "j": value})));
    }
}

fn nul_is_refused_before_anything_is_sent(server: &Server) {
    let columns = [null(Column::new("j", ColumnType::Json)), null(text("t"))];
    let a = server.cache().dynamic_with(scope(columns)).unwrap();
    let unsupported = |error: hilcat::Error, column: Option<&str>| {
        assert_eq!((error.kind(), error.column()), (ErrorKind::Unsupported, column), "{error}");
    };
    unsupported(a.set("x", json!({"t": "a\0"})).unwrap_err(), Some("t"));
    unsupported(a.set("x", json!({"j": ["a\0"]})).unwrap_err(), Some("j"));
    unsupported(a.set("x", json!({"j": {"a\0": 1}})).unwrap_err(), Some("j"));
    unsupported(a.set("a\0", json!({"t": "x"})).unwrap_err(), Some("id"));
    unsupported(a.fetch("a\0").unwrap_err(), None);
    unsupported(a.pop_many(["x", "a\0"]).unwrap_err(), None);
    assert_eq!(a.len().unwrap(), 0);
}

/// A record of another program that hilcat cannot read is neither removed nor overwritten by a call
/// that would return it.
fn unreadable_records_are_kept(server: &Server) {
    let hostile = [
        (ColumnType::Timestamp, "'infinity'"),
        (ColumnType::Timestamp, "'10000-01-01 00:00:00Z'"),
        (ColumnType::Date, "'-infinity'"),
        (ColumnType::Date, "'0001-01-01 BC'"),
        (ColumnType::Time, "'24:00'"),
        (ColumnType::UBigInt, "-1"),
        (ColumnType::Decimal { precision: 10, scale: 2 }, "'NaN'"),
        (ColumnType::Json, "'18446744073709551616'"),
    ];
    let cache = server.cache();
    for (at, (ty, value)) in hostile.into_iter().enumerate() {
        let table = format!("t{at}");
        let columns = [null(Column::new("v", ty)), null(int("n"))];
        let schema = scope(columns).renamed(&table).table(&table);
        let a = cache.dynamic_with(schema).unwrap();
        let insert = format!("INSERT INTO {table} VALUES ('x', {value}, 1)");
        server.run(&insert);
        let before = server.query(&format!("SELECT {table}::text FROM {table}"));
        type Call = fn(&DynScope) -> Option<hilcat::Error>;
        let calls: [Call; 5] = [
            |a| a.fetch("x").err(),
            |a| a.pop("x").err(),
            |a| a.pop_many(["x"]).err(),
            |a| a.update("x", json!({"v": null})).err(),
            |a| a.update("x", json!({"n": 2})).err(),
        ];
        for (at, call) in calls.into_iter().enumerate() {
            let error = call(&a).unwrap_or_else(|| panic!("{ty}: call {at} was done"));
            assert_eq!((error.kind(), error.column()), (ErrorKind::InvalidData, Some("v")), "{ty}");
        }
        assert_eq!(server.query(&format!("SELECT {table}::text FROM {table}")), before, "{ty}");
        a.set("x", json!({"v": null, "n": 3})).unwrap();
        assert!(a.pop("x").unwrap().is_some());
        assert!(a.pop("x").unwrap().is_none());
    }
}

/// Concurrent fetches are combined into one statement, but an error of one record or key is returned
/// only by its own fetch.
fn an_unreadable_record_fails_only_its_own_fetch(server: &Server) {
    let cache = server.cache();
    let a = cache.dynamic_with(scope([Column::new("v", ColumnType::Date)])).unwrap();
    a.set_many((0..8).map(|n| (format!("k{n}"), json!({"v": "2026-01-02"})))).unwrap();
    server.run("INSERT INTO a VALUES ('hostile', 'infinity')");
    std::thread::scope(|threads| {
        for n in 0..8 {
            let a = &a;
            let key = format!("k{n}");
            threads.spawn(move || {
                for _ in 0..50 {
                    let found = a.fetch(key.as_str()).unwrap();
                    assert_eq!(found, Some(json!({"id": key, "v": "2026-01-02"})));
                }
            });
            threads.spawn(move || {
                for _ in 0..50 {
                    let error = a.fetch("hostile").unwrap_err();
                    assert_eq!((error.kind(), error.column()), (ErrorKind::InvalidData, Some("v")));
                    assert_eq!(a.fetch("a\0").unwrap_err().kind(), ErrorKind::Unsupported);
                    assert_eq!(a.fetch("none").unwrap(), None);
                }
            });
        }
    });
}

fn errors_contain_no_value(server: &Server) {
    let cache = server.cache();
    let a = cache.dynamic_with(scope([text("t"), null(int("n"))])).unwrap();
    a.set("x", json!({"t": "5"})).unwrap();
    server.run(
        "ALTER TABLE a ALTER t TYPE int USING t::int;
         CREATE TABLE other (id int PRIMARY KEY);
         ALTER TABLE a ADD CHECK (n < 100), ADD FOREIGN KEY (n) REFERENCES other;",
    );
    for error in [
        a.set("x", json!({"t": "secret"})).unwrap_err(),
        a.set_many([("x", json!({"t": "secret", "n": 1}))]).unwrap_err(),
    ] {
        assert!(!format!("{error} {error:?}").contains("secret"), "{error:?}");
    }
    let schema = Schema::new("b").unique(int("id")).column(text("t"));
    let b = cache.dynamic_with(schema).unwrap();
    server.run("ALTER TABLE b ADD UNIQUE (t), ADD CHECK (t <> 'forbidden secret')");
    b.set(1, json!({"t": "secret"})).unwrap();
    for error in [
        b.set(2, json!({"t": "secret"})).unwrap_err(),
        b.set(2, json!({"t": "forbidden secret"})).unwrap_err(),
    ] {
        assert_eq!(error.kind(), ErrorKind::Backend);
        assert!(!format!("{error} {error:?}").contains("secret"), "{error:?}");
    }
}
