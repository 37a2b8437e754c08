//! The schema of the table, and other ways to open it.

use hilcat::backend::Sqlite;
use hilcat::{Change, Column, ColumnType, Migrate, Schema, Value};

use super::*;

/// A type with the columns of [`RECORDS`].
#[cfg(feature = "derive")]
#[derive(Debug, Clone, PartialEq, hilcat::ScopeRecord)]
#[scope(name = "typed")]
struct Record {
    #[scope(unique)]
    id: String,
    count: i32,
    name: Option<String>,
}

#[cfg(feature = "derive")]
#[test]
fn a_typed_scope_has_the_columns_of_the_table() {
    let file = File::new();
    let cache = file.records();
    let typed = cache.scope::<Record>().unwrap();
    let record = Record { id: "x".into(), count: 1, name: Some("jii".into()) };
    typed.set(&record).unwrap();
    let dynamic = cache.dynamic("typed").unwrap();
    assert_eq!(dynamic.fetch("x").unwrap(), Some(json!({"name": "jii", "count": 1})));
    assert_eq!(typed.iter().unwrap().next().unwrap().unwrap(), record);
    // The column is nullable in the table, and not in the type.
    dynamic.set("y", json!({"name": "no count"})).unwrap();
    let error = typed.fetch("y").unwrap_err();
    assert_eq!((error.kind(), error.column()), (ErrorKind::InvalidData, Some("count")));
    assert!(cache.plan(&<Record as hilcat::ScopeRecord>::schema()).unwrap().is_empty());
}

#[test]
fn a_scope_of_other_columns_is_refused() {
    let file = File::new();
    let cache = file.records();
    let text = |name: &str| Column::new(name, ColumnType::Text);
    let int = |name: &str| Column::new(name, ColumnType::Int);
    let id = || Schema::new("a").unique(text("id"));
    for (schema, reason) in [
        (id().column(text("name")), "the scope has no column `count`"),
        (id().column(text("nme")).column(int("count")), "there is no column `nme`"),
        (id().column(text("name")).column(text("count")), "it is of type int, not text"),
        (
            Schema::new("a").unique(text("name")).column(text("id")).column(int("count")),
            "the key is made of id, not of name",
        ),
    ] {
        let error = cache.dynamic_with(schema.clone()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidSchema, "{error}");
        assert!(error.to_string().contains(reason), "{error}");
        assert!(error.to_string().contains("id text, name text, count int"), "{error}");
        assert_eq!(kind(cache.plan(&schema)), ErrorKind::InvalidSchema);
        assert_eq!(kind(cache.migrate(&schema)), ErrorKind::InvalidSchema);
    }
}

#[test]
fn a_map_is_a_scope_too() {
    let file = File::new();
    let cache =
        file.cache("key_columns=key1,key2&columns=value&column_types=key2:bigint,value:double");
    let map = cache.map::<(String, i64), f64>("m").unwrap();
    map.set(("a", 1), &0.5).unwrap();
    assert_eq!(map.fetch(("a", 1)).unwrap(), Some(0.5));
    assert_eq!(cache.dynamic("m").unwrap().fetch(("a", 1)).unwrap(), Some(json!(0.5)));
    assert_eq!(kind(cache.map::<String, f64>("m")), ErrorKind::InvalidSchema);
}

#[test]
fn values_have_the_declared_shape() {
    let file = File::new();
    let tuple = file.cache("columns=x,y&column_types=y:int&value=tuple").dynamic("a").unwrap();
    tuple.set("k", json!(["one", 1])).unwrap();
    assert_eq!(tuple.fetch("k").unwrap(), Some(json!(["one", 1])));
    let file = File::new();
    let whole = file.cache("value=json").dynamic("a").unwrap();
    whole.set("k", json!({"any": [1, null]})).unwrap();
    assert_eq!(whole.fetch("k").unwrap(), Some(json!({"any": [1, null]})));
}

#[test]
fn the_table_is_upgraded_like_that_of_a_scope() {
    let file = File::new();
    file.records().dynamic("a").unwrap().set("x", json!({"name": "jii", "count": 1})).unwrap();
    let wider = "columns=name,count,more&column_types=count:bigint";
    let manual = file.cache(&format!("{wider}&migrate=manual"));
    let error = manual.dynamic("a").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::SchemaChange);
    assert!(error.to_string().contains("add column `more`"), "{error}");
    let cache = file.cache(wider);
    let plan = cache.plan(&cache.schema_for("a").unwrap()).unwrap();
    assert!(matches!(plan.steps[0].change, Change::AddColumn(_)), "{plan}");
    let scope = cache.dynamic("a").unwrap();
    let expected = json!({"name": "jii", "count": 1, "more": null});
    assert_eq!(scope.fetch("x").unwrap(), Some(expected));
    assert!(cache.plan(scope.schema()).unwrap().is_empty());
    assert_eq!(kind(file.records().dynamic("a")), ErrorKind::SchemaChange);
}

#[test]
fn a_manual_migration_is_applied_on_demand() {
    let file = File::new();
    let cache = file.cache(&format!("{RECORDS}&migrate=manual"));
    let schema = cache.schema_for("a").unwrap();
    assert_eq!(kind(cache.dynamic("a")), ErrorKind::SchemaChange);
    assert_eq!(cache.migrate(&schema).unwrap().steps.len(), 1);
    cache.dynamic("a").unwrap().set("x", json!({"count": 1})).unwrap();
    assert_eq!(cache.scopes().unwrap(), ["a"]);
}

#[test]
fn a_dropped_table_is_created_again_with_its_definition() {
    let file = File::new();
    let cache = file.records();
    let scope = cache.dynamic("a").unwrap();
    scope.set("x", json!({"count": 1})).unwrap();
    let definition = "SELECT sql AS line FROM sqlite_schema WHERE name = 'cache'";
    let before = file.query(definition);
    file.run("DROP TABLE cache");
    assert_eq!(scope.fetch("x").unwrap(), None);
    scope.set("y", json!({"count": 2})).unwrap();
    assert_eq!((file.query(definition), scope.len().unwrap()), (before, 1));
}

#[test]
fn two_caches_share_the_table() {
    let file = File::new();
    let (here, there) = (file.records(), file.records());
    here.dynamic("a").unwrap().set("x", json!({"count": 1})).unwrap();
    assert_eq!(there.scopes().unwrap(), ["a"]);
    assert_eq!(there.dynamic("a").unwrap().pop("x").unwrap().unwrap()["count"], 1);
    assert_eq!(here.dynamic("a").unwrap().len().unwrap(), 0);
}

/// A cache with a table for each scope opens it as one scope, whose keys begin with the scope column.
#[test]
fn the_table_can_be_opened_as_one_scope() {
    let file = File::new();
    file.records().dynamic("a").unwrap().set("x", json!({"count": 1})).unwrap();
    let uri = format!("sqlite:///{}", file.path());
    let cache = Cache::builder(uri).adopt_tables().open().unwrap();
    let scope = cache.dynamic("cache").unwrap();
    assert_eq!(keys(&scope), [json!(["a", "x"])]);
    assert_eq!(scope.fetch(("a", "x")).unwrap().unwrap()["count"], 1);
    let adopting = Cache::builder(file.uri(RECORDS)).adopt_tables().open();
    assert_eq!(kind(adopting), ErrorKind::Unsupported);
}

#[test]
fn the_builder_supports_names_that_a_uri_cannot_express() {
    let records = Schema::new("r")
        .table("all, \"of\" them")
        .unique(Column::new("the id", ColumnType::Int))
        .column(Column::new("n", ColumnType::Int).default_value(7))
        .column(Column::new("t", ColumnType::Timestamp).nullable(true))
        .migrate(Migrate::Safe);
    let scope = [Column::new("a,b", ColumnType::Text), Column::new("c", ColumnType::BigInt)];
    let store = Sqlite::in_memory().open().unwrap();
    let store = SingleTable::with_scope_columns(store, scope, records).unwrap();
    let cache = Cache::from_store(store);
    let name = SingleTable::scope(("x/y", i64::MIN));
    assert_eq!(name, "x%2Fy/-9223372036854775808");
    let scope = cache.dynamic(&name).unwrap();
    scope.set(5, json!({"t": "2020-01-02T03:04:05Z"})).unwrap();
    let value = json!({"the id": 5, "n": 7, "t": "2020-01-02T03:04:05Z"});
    assert_eq!(scope.fetch(5).unwrap(), Some(value));
    assert_eq!(cache.scopes().unwrap(), [name]);
}

#[test]
fn an_invalid_layout_is_refused() {
    let records = || Schema::new("r").unique(Column::new("id", ColumnType::Text));
    let store = || Sqlite::in_memory().open().unwrap();
    let duplicate = records().column(Column::new("scope", ColumnType::Text));
    assert_eq!(kind(SingleTable::new(store(), duplicate)), ErrorKind::InvalidSchema);
    assert_eq!(kind(SingleTable::new(store(), Schema::new("r"))), ErrorKind::InvalidSchema);
    let none = SingleTable::with_scope_columns(store(), [], records());
    assert_eq!(kind(none), ErrorKind::InvalidSchema);
    let error = Cache::from_uri("sqlite::memory:?columns=a").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidConfig);
}

#[test]
fn an_error_names_the_scope_and_its_key() {
    let file = File::new();
    let scope = file.records().dynamic("a").unwrap();
    let wrong = vec![Value::Text("k".into()), Value::Null, Value::Int(i64::MAX)];
    let error = scope.set_rows([wrong]).unwrap_err();
    assert_eq!((error.scope(), error.column()), (Some("a"), Some("count")));
    file.run("INSERT INTO cache VALUES ('a', 'x', NULL, 'no number')");
    let error = scope.fetch("x").unwrap_err();
    assert_eq!((error.kind(), error.column()), (ErrorKind::InvalidData, Some("count")));
    assert!(error.to_string().contains("scope `a`, key `x`"), "{error}");
}
