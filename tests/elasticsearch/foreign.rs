//! Indices of the Python package: the index is the scope, the id is the key, the source is the
//! value, and the mapping is dynamic.

use elasticsearch::http::Method;
use hilcat::{Cache, Column, ColumnType, Error, ErrorKind, Migrate, Schema};
use serde_json::{Value as Json, json};

use crate::Test;
use crate::support::{Server, int, null, scope, text};

pub const TESTS: &[Test] = &[
    ("documents_of_python_are_read", documents_of_python_are_read),
    ("documents_of_python_are_written", documents_of_python_are_written),
    ("indices_of_python_are_adopted", indices_of_python_are_adopted),
    ("mismatches_are_refused_or_reported", mismatches_are_refused_or_reported),
    ("columns_are_added", columns_are_added),
    ("foreign_indices_are_dropped_only_on_request", foreign_indices_are_dropped_only_on_request),
];

/// Writes like `ElasticSearchCache.set(key, value, scope=table)`.
fn python_sets(server: &Server, table: &str, key: &str, value: Json) {
    let key = percent_encoding::utf8_percent_encode(key, percent_encoding::NON_ALPHANUMERIC);
    let path = format!("{}/_doc/{key}?refresh=true", server.name(table));
    server.put(&path, value);
}

fn python_has(server: &Server, table: &str, key: &str) -> Json {
    server.get(&format!("{}/_doc/{key}", server.name(table)))["_source"].clone()
}

fn some(server: &Server) {
    python_sets(server, "a", "a1", json!({"name": "jii", "count": 1, "more": {"x": [1]}}));
    python_sets(server, "a", "a/b,%", json!({"name": "ai", "count": null, "rate": 1.5}));
    python_sets(server, "a", "A1", json!({"id": "A1", "name": "other"}));
}

fn key_only(columns: impl IntoIterator<Item = Column>) -> Schema {
    columns.into_iter().fold(Schema::new("a").unique(text("id").key_only()), Schema::column)
}

fn documents_of_python_are_read(server: &Server) {
    some(server);
    for policy in [Migrate::Manual, Migrate::Safe] {
        let schema = scope([text("name"), null(int("count"))]).migrate(policy);
        let cache = server.cache();
        assert!(cache.plan(&schema).unwrap().is_empty());
        let a = cache.dynamic_with(schema).unwrap();
        let first = json!({"id": "a1", "name": "jii", "count": 1});
        assert_eq!(a.fetch("a1").unwrap(), Some(first.clone()));
        let odd = json!({"id": "a/b,%", "name": "ai", "count": null});
        assert_eq!(a.fetch_many(["a/b,%", "no"]).unwrap(), [Some(odd), None]);
        assert!(a.exists("A1").unwrap() && !a.exists("b1").unwrap());
        assert_eq!(a.len().unwrap(), 3);
        let mut keys: Vec<_> = a.keys().unwrap().map(|key| key.unwrap().to_string()).collect();
        keys.sort();
        assert_eq!(keys, [r#""A1""#, r#""a/b,%""#, r#""a1""#]);
        assert!(a.iter().unwrap().any(|row| row.unwrap() == first));
        assert!(cache.scopes().unwrap().is_empty(), "the index is not hilcat's own");
    }
    assert!(server.mappings("a")["_meta"].is_null());
}

fn documents_of_python_are_written(server: &Server) {
    some(server);
    let a = server.cache().dynamic_with(key_only([text("name"), null(int("count"))])).unwrap();
    a.set("a1", json!({"count": 2})).unwrap();
    let value = json!({"name": "jii", "count": 2, "more": {"x": [1]}});
    assert_eq!(python_has(server, "a", "a1"), value, "unknown fields are kept");
    let old = a.update("a1", json!({"name": "new"})).unwrap();
    assert_eq!(old, Some(json!({"name": "jii", "count": 2})));
    a.set_many([("n,1", json!({"name": "n"})), ("n2", json!({"name": "m", "count": 7}))]).unwrap();
    assert_eq!(python_has(server, "a", "n%2C1"), json!({"name": "n", "count": null}));
    assert_eq!(a.pop("n2").unwrap(), Some(json!({"name": "m", "count": 7})));
    for wrong in ["", ".", "..", &"k".repeat(513)] {
        let error = a.set(wrong, json!({"name": "n"})).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
    }
    a.clear().unwrap();
    assert_eq!(a.len().unwrap(), 0);
    assert!(server.mappings("a")["properties"]["more"].is_object(), "the index is the same");
}

fn indices_of_python_are_adopted(server: &Server) {
    some(server);
    python_sets(server, "b", "b1", json!({"seen": "2013-01-31", "ok": true, "rate": 0.5}));
    server.cache().dynamic_with(Schema::new("own").unique(text("id")).column(int("n"))).unwrap();
    server.put(&server.name("empty"), json!({}));
    let uri = server.indices.uri("timeout=30s");
    let cache = Cache::builder(uri).adopt_tables().open().unwrap();
    let a = cache.dynamic("a").unwrap();
    let all = json!({"id": "a1", "name": "jii", "count": 1, "more": {"x": [1]}, "rate": null});
    assert_eq!(a.fetch("a1").unwrap(), Some(all));
    let b = cache.dynamic("b").unwrap();
    let value = json!({"seen": "2013-01-31", "ok": true, "rate": 0.5});
    assert_eq!(b.fetch("b1").unwrap(), Some(value));
    let names: Vec<&str> = cache.skipped_tables().iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, [format!("{}empty", server.indices.prefix)]);
    assert_eq!(cache.dynamic("own").unwrap_err().kind(), ErrorKind::UnknownScope);
}

fn mismatches_are_refused_or_reported(server: &Server) {
    some(server);
    let refused = |schema: Schema, reason: &str| {
        let error = server.cache().dynamic_with(schema.clone()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::SchemaChange, "{error}");
        assert!(error.to_string().contains(reason), "{error}");
        assert!(!server.cache().plan(&schema).unwrap().is_safe());
    };
    refused(scope([int("name")]), "change column `name` from text to int");
    refused(scope([int("must")]), "add column `must`");
    let pair = Schema::new("a").unique(text("id")).unique(text("name")).column(null(int("count")));
    refused(pair, "change the key");
    // Each value is checked, since a mapping does not restrict the source.
    python_sets(server, "a", "list", json!({"name": ["a", "b"], "count": 1}));
    python_sets(server, "a", "word", json!({"name": "x", "count": "7"}));
    python_sets(server, "a", "other", json!({"id": "another", "name": "x"}));
    let a = server.cache().dynamic_with(scope([null(text("name")), null(int("count"))])).unwrap();
    for (key, column) in [("list", "name"), ("word", "count"), ("other", "id")] {
        let error = a.fetch(key).unwrap_err();
        let told = |error: &Error| (error.kind(), error.column().map(str::to_owned));
        let expected = (ErrorKind::InvalidData, Some(column.to_owned()));
        assert_eq!(told(&error), expected, "{error}");
        // Unreadable records are neither removed nor overwritten by operations that return them.
        let before = python_has(server, "a", key);
        for error in [
            a.pop(key).unwrap_err(),
            a.pop_many(["a1", key]).unwrap_err(),
            a.update(key, json!({"name": "new", "count": 2})).unwrap_err(),
        ] {
            assert_eq!(told(&error), expected, "{error}");
        }
        assert_eq!(python_has(server, "a", key), before);
        assert!(a.exists("a1").unwrap());
    }
    let number = Schema::new("a").unique(int("id")).column(null(text("name")));
    let by_number = server.cache().dynamic_with(number).unwrap();
    let error = by_number.keys().unwrap().find_map(Result::err).unwrap();
    assert_eq!((error.kind(), error.column()), (ErrorKind::InvalidData, Some("id")), "{error}");
}

fn columns_are_added(server: &Server) {
    some(server);
    let columns = || [text("name"), null(int("size")), text("kind").default_value("plain")];
    let manual = key_only(columns()).migrate(Migrate::Manual);
    let error = server.cache().dynamic_with(manual).unwrap_err();
    assert!(error.to_string().contains("add column `size`"), "{error}");
    let a = server.cache().dynamic_with(key_only(columns())).unwrap();
    let value = json!({"name": "jii", "size": null, "kind": "plain"});
    assert_eq!(a.fetch("a1").unwrap(), Some(value));
    let mappings = server.mappings("a");
    assert_eq!(mappings["properties"]["size"]["type"], "long");
    assert!(mappings["_meta"].is_null());
    // An exact number and JSON of any shape, in an index with a dynamic mapping.
    let big = null(Column::new("big", ColumnType::UBigInt));
    let any = null(Column::new("any", ColumnType::Json));
    let schema = columns().into_iter().chain([big, any]);
    let a = server.cache().dynamic_with(key_only(schema)).unwrap();
    a.set("x", json!({"name": "n", "big": u64::MAX, "any": {"a": 1}})).unwrap();
    a.set("x", json!({"any": {"b": [null]}})).unwrap();
    let value =
        json!({"name": "n", "size": null, "kind": "plain", "big": u64::MAX, "any": {"b": [null]}});
    assert_eq!(a.fetch("x").unwrap(), Some(value));
}

fn foreign_indices_are_dropped_only_on_request(server: &Server) {
    some(server);
    let schema = scope([int("name")]);
    assert!(server.cache().dynamic_with(schema.clone()).is_err());
    assert_eq!(python_has(server, "a", "a1")["name"], "jii");
    let a = server.cache().dynamic_with(schema.migrate(Migrate::Recreate)).unwrap();
    assert_eq!(a.len().unwrap(), 0);
    a.set("x", json!({"name": 1})).unwrap();
    assert_eq!(server.cache().scopes().unwrap(), ["a"]);
    // An alias of another program's index is not an index with the name of the scope.
    python_sets(server, "theirs", "a1", json!({"name": "jii"}));
    let alias = format!("{}/_alias/{}", server.name("theirs"), server.name("b"));
    server.ask(Method::Put, &alias, None);
    let schema = Schema::new("b").unique(text("id")).column(int("name"));
    let error = server.cache().dynamic_with(schema.migrate(Migrate::Recreate)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::SchemaChange, "{error}");
}
