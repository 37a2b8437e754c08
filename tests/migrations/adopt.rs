//! Scopes of existing tables.

use std::time::Duration;

use hilcat::{Cache, Column, ColumnType, ErrorKind, Migrate, Schema, Shape, Value};
use serde_json::json;

use crate::support::{File, int, null, rows, scope, text};

fn adopting(file: &File) -> Cache {
    Cache::builder(file.uri()).adopt_tables().open().unwrap()
}

fn names(cache: &Cache) -> Vec<&str> {
    cache.schemas().iter().map(|schema| schema.name()).collect()
}

fn skipped_tables<'a>(cache: &'a Cache, table: &str) -> &'a str {
    let found = cache.skipped_tables().iter().find(|(name, _)| name == table);
    found.map(|(_, reason)| reason.as_str()).unwrap()
}

#[test]
fn columns_have_their_types() {
    use ColumnType as Ty;
    let file = File::with(
        "CREATE TABLE t (id INTEGER PRIMARY KEY, s SMALLINT, i INT, b BIGINT, x REAL, y FLOAT, z DOUBLE PRECISION, p DECIMAL(8,2),
           t TEXT NOT NULL, c VARCHAR(7), blob BLOB, yes BOOLEAN, day DATE, hour TIME, at DATETIME)",
    );
    let cache = adopting(&file);
    let schema = cache.schema_for("t").unwrap();
    let types: Vec<_> = schema.columns().iter().map(|column| column.ty).collect();
    assert_eq!(
        types,
        [
            // SQLite's integers are of 64 bits and its floats are doubles.
            Ty::BigInt,
            Ty::SmallInt,
            Ty::BigInt,
            Ty::BigInt,
            Ty::Double,
            Ty::Double,
            Ty::Double,
            Ty::Decimal { precision: 8, scale: 2 },
            Ty::Text,
            Ty::Varchar(7),
            Ty::Bytes,
            Ty::Bool,
            Ty::Date,
            Ty::Time,
            Ty::Timestamp,
        ]
    );
    let required: Vec<_> = schema
        .columns()
        .iter()
        .filter(|column| !column.nullable)
        .map(|column| &column.name[..])
        .collect();
    assert_eq!(required, ["id", "t"]);
    assert!(cache.plan(&schema).unwrap().is_empty());
}

#[test]
fn reads_and_writes_leave_the_table_definition_unchanged() {
    let sql = "CREATE TABLE t (id INTEGER PRIMARY KEY AUTOINCREMENT, name varchar(20) UNIQUE, x real DEFAULT 0.5, at datetime)";
    let file = File::with(sql);
    file.run("INSERT INTO t VALUES (5000000000, 'a', 0.1, '2020-01-02 03:04:05')");
    let before = file.dump();
    let cache = adopting(&file);
    assert!(cache.skipped_tables().is_empty(), "{:?}", cache.skipped_tables());
    let t = cache.dynamic("t").unwrap();
    let first =
        json!({"id": 5_000_000_000_i64, "name": "a", "x": 0.1, "at": "2020-01-02T03:04:05Z"});
    assert_eq!(t.fetch(5_000_000_000_i64).unwrap(), Some(first.clone()));
    assert_eq!(file.dump(), before);
    t.set(6_000_000_000_i64, json!({"name": "b", "x": 0.2})).unwrap();
    assert_eq!(t.pop(6_000_000_000_i64).unwrap().unwrap()["x"], 0.2);
    t.set(5_000_000_000_i64, json!({"x": 0.3})).unwrap();
    assert_eq!(t.pop(5_000_000_000_i64).unwrap().unwrap()["x"], 0.3);
    assert_eq!(file.ddl("t"), sql);
    // hilcat added no table of its own.
    assert!(file.ddl("hilcat_scopes").is_empty());
}

#[test]
fn key_columns_are_in_key_order() {
    let file = File::with(
        "CREATE TABLE t (a TEXT, b INT, c TEXT, PRIMARY KEY (b, a));
         CREATE TABLE u (a TEXT, b INT, c TEXT, PRIMARY KEY (b DESC, a)) WITHOUT ROWID;
         INSERT INTO t VALUES ('x', 1, 'y'); INSERT INTO u SELECT * FROM t",
    );
    let cache = adopting(&file);
    for name in ["t", "u"] {
        let scope = cache.dynamic(name).unwrap();
        let key: Vec<_> = scope.schema().key_columns().map(|column| column.name.clone()).collect();
        assert_eq!(key, ["b", "a"]);
        let found = scope.fetch((json!(1), json!("x"))).unwrap();
        assert_eq!(found, Some(json!({"a": "x", "b": 1, "c": "y"})));
        assert_eq!(scope.fetch((json!(2), json!("x"))).unwrap(), None);
    }
}

#[test]
fn unsuitable_tables_are_skipped_with_a_reason() {
    let file = File::with(
        "CREATE TABLE keyless (a TEXT);
         CREATE TABLE shapes (id INT PRIMARY KEY, shape GEOMETRY);
         CREATE TABLE loose (id TEXT PRIMARY KEY COLLATE NOCASE, n INT);
         CREATE TABLE counted (id INTEGER PRIMARY KEY AUTOINCREMENT);
         CREATE VIEW seen AS SELECT * FROM counted;
         CREATE VIRTUAL TABLE search USING fts5(body);
         CREATE TABLE good (id TEXT PRIMARY KEY);
         CREATE TABLE sqliteish (id TEXT PRIMARY KEY)",
    );
    let cache = adopting(&file);
    assert_eq!(names(&cache), ["counted", "good", "sqliteish"]);
    let tables: Vec<_> = cache.skipped_tables().iter().map(|(table, _)| table.as_str()).collect();
    assert_eq!(tables, ["keyless", "loose", "shapes"]);
    assert_eq!(skipped_tables(&cache, "keyless"), "it has no primary key");
    assert!(
        skipped_tables(&cache, "shapes")
            .contains("its column `shape` is of the unknown type `GEOMETRY`")
    );
    assert!(
        skipped_tables(&cache, "loose").contains("column `id`"),
        "{}",
        skipped_tables(&cache, "loose")
    );
    let error = cache.dynamic("keyless").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::UnknownScope);
    // Opening it by its name is an error, too.
    let schema = Schema::new("loose").unique(text("id")).column(null(int("n")));
    assert_eq!(cache.dynamic_with(schema).unwrap_err().kind(), ErrorKind::Unsupported);
}

#[test]
fn generated_columns_are_not_written() {
    let file = File::with(
        "CREATE TABLE t (id TEXT PRIMARY KEY, n INT, twice INT AS (n * 2) STORED, thrice INT GENERATED ALWAYS AS (n * 3))",
    );
    let t = adopting(&file).dynamic("t").unwrap();
    t.set("x", json!({"n": 2})).unwrap();
    assert_eq!(t.fetch("x").unwrap(), Some(json!({"id": "x", "n": 2})));
    assert_eq!(file.query("SELECT twice || ' ' || thrice FROM t"), ["4 6"]);
}

#[test]
fn odd_names_and_reserved_words() {
    let file = File::with(
        r#"CREATE TABLE "Order" ("Select" TEXT PRIMARY KEY, "group by" INT, `it's "x"` TEXT);
           CREATE TABLE "a`b" ("`" TEXT PRIMARY KEY, [é😀] INT)"#,
    );
    let cache = adopting(&file);
    let order = cache.dynamic("Order").unwrap();
    let record = json!({"Select": "k", "group by": 1, "it's \"x\"": "v"});
    order.set("k", record.clone()).unwrap();
    assert_eq!(order.fetch("k").unwrap(), Some(record));
    let ticks = cache.dynamic("a`b").unwrap();
    ticks.set("k", json!({"é😀": 7})).unwrap();
    assert_eq!(ticks.pop("k").unwrap(), Some(json!({"`": "k", "é😀": 7})));
    assert!(cache.dynamic("order").is_err());
}

/// A column of affinity NUMERIC converts numeric text to numbers. Until the column is migrated, text
/// that would not come back is refused.
#[test]
fn a_table_of_the_python_package_is_changed_only_on_demand() {
    let file = File::with(
        "CREATE TABLE a (id str,name str,count int, PRIMARY KEY (id)); INSERT INTO a VALUES ('x', 'y', 1)",
    );
    let before = file.dump();
    let cache = adopting(&file);
    let error = cache.dynamic("a").unwrap().set("y", json!({"name": "1e3"})).unwrap_err();
    assert_eq!((error.kind(), error.column()), (ErrorKind::Unsupported, Some("name")));
    let plan = cache.plan(&cache.schema_for("a").unwrap()).unwrap();
    assert!(plan.to_string().contains("widen column `name` from str to text"), "{plan}");
    assert_eq!(file.dump(), before);
    cache.migrate(&cache.schema_for("a").unwrap()).unwrap();
    let a = cache.dynamic("a").unwrap();
    a.set("007", json!({"name": "1e3", "count": 2})).unwrap();
    assert_eq!(a.fetch("007").unwrap(), Some(json!({"id": "007", "name": "1e3", "count": 2})));
    assert_eq!(a.fetch("x").unwrap(), Some(json!({"id": "x", "name": "y", "count": 1})));
}

#[test]
fn own_tables_are_adopted_with_their_schemas() {
    let file = File::new();
    let d = Schema::new("d")
        .table("d_items")
        .unique(Column::new("k1", ColumnType::Uuid).key_only())
        .unique(Column::new("k2", ColumnType::UBigInt).key_only())
        .column(null(Column::new("value", ColumnType::Json)))
        .shape(Shape::Single)
        .ttl(Duration::from_secs(3600));
    let a = scope([
        Column::new("price", ColumnType::Decimal { precision: 30, scale: 4 }),
        int("n").default_value(7_i32),
    ]);
    let cache = file.cache();
    for schema in [&a, &d] {
        cache.dynamic_with(schema.clone()).unwrap();
    }
    file.run("CREATE TABLE other (id TEXT PRIMARY KEY)");
    let cache = adopting(&file);
    assert_eq!(names(&cache), ["a", "d", "other"]);
    assert!(cache.skipped_tables().is_empty());
    assert_eq!(cache.schema_for("a").unwrap(), a);
    assert_eq!(cache.schema_for("d").unwrap(), d);
    let uuid = "67e55044-10b1-426f-9247-bb680e5fe0c8";
    let scope = cache.dynamic("d").unwrap();
    scope.set((json!(uuid), json!(u64::MAX)), json!({"a": [1.5, null]})).unwrap();
    assert_eq!(
        adopting(&file).dynamic("d").unwrap().fetch((json!(uuid), json!(u64::MAX))).unwrap(),
        Some(json!({"a": [1.5, null]}))
    );
}

#[test]
fn a_declared_scope_takes_precedence() {
    let file =
        File::with("CREATE TABLE a (id TEXT PRIMARY KEY, n INT); INSERT INTO a VALUES ('x', 1)");
    let schema = scope([null(int("n"))]);
    let schemas = hilcat::Schemas::from_iter([schema.clone()]);
    let cache = Cache::builder(file.uri()).schemas(schemas).adopt_tables().open().unwrap();
    assert_eq!(cache.schema_for("a").unwrap().migrate_policy(), Migrate::Safe);
    let scope = cache.dynamic("a").unwrap();
    assert_eq!(rows(&scope), [vec![Value::Text("x".into()), Value::Int(1)]]);
    // From now on it is a table of hilcat's.
    assert_eq!(adopting(&file).schema_for("a").unwrap(), schema);
}

#[test]
fn adoption_on_a_backend_without_tables_is_an_error() {
    let error = Cache::builder("memory:").adopt_tables().open().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
}
