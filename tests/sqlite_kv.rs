//! The `sqlite+kv:` backend: its tables, and data of other programs in them.
#![cfg(feature = "sqlite")]
#![allow(clippy::unwrap_used, reason = "a failed test panics")]

use diesel::connection::SimpleConnection;
use diesel::sql_types::Text;
use diesel::{Connection, QueryableByName, RunQueryDsl, SqliteConnection, sql_query};
use hilcat::{Cache, Column, ColumnType, ErrorKind, Schema, backend::SqliteKv};
use serde_json::json;

#[derive(QueryableByName)]
struct Line {
    #[diesel(sql_type = Text)]
    line: String,
}

struct TestContext {
    directory: tempfile::TempDir,
}

impl TestContext {
    fn new() -> Self {
        Self { directory: tempfile::tempdir().unwrap() }
    }

    fn path(&self) -> String {
        self.directory.path().join("t.db").to_str().unwrap().to_owned()
    }

    fn cache(&self, options: &str) -> Cache {
        Cache::from_uri(&format!("sqlite+kv:///{}{options}", self.path())).unwrap()
    }

    fn connection(&self) -> SqliteConnection {
        let mut connection = SqliteConnection::establish(&self.path()).unwrap();
        connection.batch_execute("PRAGMA busy_timeout = 5000").unwrap();
        connection
    }

    fn run(&self, sql: &str) {
        self.connection().batch_execute(sql).unwrap();
    }

    fn query(&self, sql: &str) -> Vec<String> {
        let lines: Vec<Line> = sql_query(sql).load(&mut self.connection()).unwrap();
        lines.into_iter().map(|line| line.line).collect()
    }
}

fn articles() -> Schema {
    Schema::new("articles")
        .unique(Column::new("id", ColumnType::Text))
        .column(Column::new("count", ColumnType::Int).nullable(true))
}

/// The layout of the Python package's `SqliteDict`. Released format: it must remain readable.
#[test]
fn tables_have_keys_and_values() {
    let context = TestContext::new();
    let scope = context.cache("").dynamic_with(articles()).unwrap();
    scope.set("a1", json!({"count": 3})).unwrap();
    let routes = context.cache("").map::<(String, String), i64>("a \"b\"").unwrap();
    routes.set(("JFK", "L,X"), &1).unwrap();
    let tables = "SELECT sql AS line FROM sqlite_schema WHERE sql IS NOT NULL AND name <> 'hilcat_kv' ORDER BY name";
    assert_eq!(
        context.query(tables),
        [
            r#"CREATE TABLE "a ""b""" (key TEXT PRIMARY KEY, value BLOB)"#,
            r#"CREATE TABLE "articles" (key TEXT PRIMARY KEY, value BLOB)"#,
        ]
    );
    let all = "SELECT key || ' ' || typeof(value) || ' ' || CAST(value AS TEXT) AS line FROM";
    let golden =
        format!(r#"a1 blob {{"$hilcat":"{}","id":"a1","count":3}}"#, articles().fingerprint());
    assert_eq!(context.query(&format!("{all} articles")), [golden]);
    let key = "SELECT key AS line FROM \"a \"\"b\"\"\"";
    assert_eq!(context.query(key), ["JFK,L%2CX"]);
    assert_eq!(
        context.query("SELECT scope AS line FROM hilcat_kv ORDER BY scope"),
        ["a \"b\"", "articles"]
    );
}

#[test]
fn tables_of_python_are_found_and_pickles_reported() {
    let context = TestContext::new();
    // A table as `SqliteDict` creates it; the value is the pickle of {"count": 3}.
    context.run(
        "CREATE TABLE \"articles\" (key TEXT PRIMARY KEY, value BLOB);
         INSERT INTO articles VALUES ('p', x'80049510000000000000007d948c05636f756e74944b03732e');
         INSERT INTO articles VALUES ('j', CAST('{\"id\": \"j\", \"count\": 7}' AS BLOB));
         INSERT INTO articles VALUES ('n', NULL);",
    );
    let scope = context.cache("").dynamic_with(articles()).unwrap();
    assert_eq!((scope.len().unwrap(), scope.keys().unwrap().count()), (3, 3));
    assert_eq!(scope.fetch("j").unwrap(), Some(json!({"id": "j", "count": 7})));
    for key in ["p", "n"] {
        assert!(scope.exists(key).unwrap());
        assert_eq!(scope.fetch(key).unwrap_err().kind(), ErrorKind::InvalidData);
        assert_eq!(scope.pop(key).unwrap_err().kind(), ErrorKind::InvalidData);
        assert_eq!(scope.pop_many(["j", key]).unwrap_err().kind(), ErrorKind::InvalidData);
    }
    assert_eq!(scope.len().unwrap(), 3, "unreadable records are not removed");
    scope.set("p", json!({"count": 1})).unwrap();
    assert_eq!(scope.fetch("p").unwrap(), Some(json!({"id": "p", "count": 1})));
}

#[test]
fn tables_with_other_columns_are_refused() {
    let context = TestContext::new();
    context.run("CREATE TABLE articles (id TEXT PRIMARY KEY, count INT); INSERT INTO articles VALUES ('a', 1)");
    let error = context.cache("").dynamic_with(articles()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
    assert!(error.to_string().contains("does not have the columns `key` and `value`"), "{error}");
    assert_eq!(context.query("SELECT id AS line FROM articles"), ["a"]);
    for table in ["hilcat_kv", "HILCAT_KV", "sqlite_x"] {
        assert!(context.cache("").dynamic_with(articles().table(table)).is_err(), "{table}");
    }
}

#[test]
fn scope_names_that_differ_only_in_case_are_refused() {
    let context = TestContext::new();
    let cache = context.cache("");
    cache.map::<String, i64>("x").unwrap().set("a", &1).unwrap();
    let error = cache.map::<String, i64>("X").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
    assert_eq!(cache.scopes().unwrap(), ["x"]);
}

#[test]
fn dropped_tables_are_recreated() {
    let context = TestContext::new();
    let scope = context.cache("").map::<String, i64>("s").unwrap();
    scope.set("a", &1).unwrap();
    context.run("DROP TABLE s");
    assert_eq!(scope.fetch("a").unwrap(), None);
    context.run("DROP TABLE s");
    scope.set_many([("a".to_owned(), 1), ("b".to_owned(), 2)]).unwrap();
    assert_eq!(scope.len().unwrap(), 2);
    let tables = "SELECT sql AS line FROM sqlite_schema WHERE name = 's'";
    assert_eq!(context.query(tables), [r#"CREATE TABLE "s" (key TEXT PRIMARY KEY, value BLOB)"#]);
}

/// An older handle must not write records that the new schema cannot read.
#[test]
fn handles_from_before_a_recreation_are_refused() {
    let context = TestContext::new();
    let old = context.cache("").dynamic_with(articles()).unwrap();
    old.set("a", json!({"count": 1})).unwrap();
    let mut other = articles().migrate(hilcat::Migrate::Recreate);
    other.columns_mut()[1].ty = ColumnType::Text;
    let new = context.cache("").dynamic_with(other).unwrap();
    for result in [
        old.set("a", json!({"count": 2})),
        old.set_many([("a", json!({"count": 2}))]).map(drop),
        old.update("a", json!({"count": 2})).map(drop),
    ] {
        assert_eq!(result.unwrap_err().kind(), ErrorKind::SchemaChange);
    }
    assert_eq!(new.len().unwrap(), 0);
}

#[cfg(all(feature = "msgpack", feature = "zstd"))]
#[test]
fn the_options_can_change_at_any_time() {
    let context = TestContext::new();
    for (at, options) in
        ["", "?format=msgpack", "?compress=0", "?format=msgpack&compress=1kb"].iter().enumerate()
    {
        let scope = context.cache(options).map::<i64, String>("s").unwrap();
        scope.set(at as i64, &"x".repeat(2_000)).unwrap();
        scope.iter().unwrap().for_each(|record| assert_eq!(record.unwrap().1.len(), 2_000));
        assert_eq!(scope.len().unwrap(), at as u64 + 1);
    }
    let kinds = "SELECT hex(substr(value, 1, 4)) AS line FROM s ORDER BY key";
    assert_eq!(context.query(kinds), ["7B222468", "83A72468", "28B52FFD", "28B52FFD"]);
    let store = SqliteKv::builder(context.path()).message_pack().compress_above(10).open().unwrap();
    assert_eq!(Cache::from_store(store).map::<i64, String>("s").unwrap().len().unwrap(), 4);
}

/// Both while a cache is open and between two openings.
#[test]
fn a_dropped_registry_is_recreated() {
    let context = TestContext::new();
    let cache = context.cache("");
    let a = cache.dynamic_with(articles()).unwrap();
    a.set("old", json!({"count": 1})).unwrap();
    type Write = fn(&hilcat::DynScope) -> hilcat::Result<()>;
    let writes: [Write; 5] = [
        |a| a.set("x", json!({"count": 1})),
        |a| a.set("x", json!({})),
        |a| a.set_many([("x", json!({"count": 1}))]).map(drop),
        |a| a.update("x", json!({"count": 1})).map(drop),
        |a| a.get("new", || json!({"count": 1})).map(drop),
    ];
    for write in writes {
        context.run("DROP TABLE hilcat_kv");
        write(&a).unwrap();
        assert_eq!(context.query("SELECT scope AS line FROM hilcat_kv"), ["articles"]);
    }
    context.run("DROP TABLE hilcat_kv; DROP TABLE articles");
    a.set("x", json!({"count": 1})).unwrap();
    context.run("DROP TABLE hilcat_kv");
    let again = context.cache("").dynamic_with(articles()).unwrap();
    assert_eq!(again.fetch("x").unwrap(), Some(json!({"id": "x", "count": 1})));
}

/// With a trigger that suppresses a write.
#[test]
fn suppressed_writes_are_errors() {
    let context = TestContext::new();
    let a = context.cache("").dynamic_with(articles()).unwrap();
    context.run("CREATE TRIGGER no BEFORE INSERT ON articles BEGIN SELECT RAISE(IGNORE); END");
    for result in [
        a.set("x", json!({"count": 1})),
        a.set_many([("x", json!({"count": 1}))]).map(drop),
        a.update("x", json!({"count": 1})).map(drop),
        a.get("x", || json!({"count": 1})).map(drop),
    ] {
        let error = result.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Backend, "{error}");
        assert!(error.to_string().contains("stored nothing"), "{error}");
    }
}

/// With a trigger that suppresses a removal.
#[test]
fn suppressed_removals_are_errors() {
    let context = TestContext::new();
    let a = context.cache("").dynamic_with(articles()).unwrap();
    a.set("x", json!({"count": 1})).unwrap();
    context.run("CREATE TRIGGER no BEFORE DELETE ON articles BEGIN SELECT RAISE(IGNORE); END");
    for result in [a.pop("x").map(drop), a.pop_many(["x"]).map(drop), a.clear()] {
        let error = result.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Backend, "{error}");
        assert!(error.to_string().contains("kept records that it was to remove"), "{error}");
    }
    assert!(a.exists("x").unwrap());
}
