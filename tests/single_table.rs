//! All scopes of a cache in one table.

#![cfg(feature = "sqlite")]
#![allow(clippy::unwrap_used, reason = "a failed test panics")]

use diesel::connection::SimpleConnection;
use diesel::sql_types::Text;
use diesel::{Connection, QueryableByName, RunQueryDsl, SqliteConnection, sql_query};
use hilcat::backend::{SingleTable, Sqlite};
use hilcat::{Cache, Change, Column, ColumnType, DynScope, ErrorKind, Migrate, Schema, Value};
use serde_json::{Value as Json, json};
use tempfile::TempDir;

/// A database in a file, removed after the test.
struct File(TempDir);

#[derive(QueryableByName)]
struct Line {
    #[diesel(sql_type = Text)]
    line: String,
}

impl File {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn uri(&self, options: &str) -> String {
        format!("sqlite:///{}?single_table=cache&{options}", self.path())
    }

    fn path(&self) -> String {
        self.0.path().join("t.db").to_str().unwrap().to_owned()
    }

    fn cache(&self, options: &str) -> Cache {
        Cache::from_uri(&self.uri(options)).unwrap()
    }

    /// A cache whose records have a name and a count.
    fn records(&self) -> Cache {
        self.cache(RECORDS)
    }

    fn connection(&self) -> SqliteConnection {
        SqliteConnection::establish(&self.path()).unwrap()
    }

    fn run(&self, sql: &str) {
        self.connection().batch_execute(sql).unwrap();
    }

    /// The column `line` of a query.
    fn query(&self, sql: &str) -> Vec<String> {
        let lines: Vec<Line> = sql_query(sql).load(&mut self.connection()).unwrap();
        lines.into_iter().map(|line| line.line).collect()
    }
}

const RECORDS: &str = "columns=name,count&column_types=count:int";
const COMPOSITE: &str = "scope_columns=region,kind&key_columns=a,b&columns=v&column_types=b:int";

/// Names that some layer could misinterpret.
const HOSTILE: &[&str] = &[
    "a",
    "A",
    "a ",
    " a",
    "a/b",
    "a/",
    "/",
    "%",
    "%2F",
    "%25",
    "..",
    "\u{e9}",
    "e\u{301}",
    "'",
    "\"",
    "`",
    "--",
    ";",
    "*",
    "{x}",
    "\\",
    "NULL",
    "0",
    "007",
    "7",
    "\u{1f600}",
    "a\nb",
    "a\0b",
];

fn keys(scope: &DynScope) -> Vec<Json> {
    let mut keys: Vec<Json> = scope.keys().unwrap().map(Result::unwrap).collect();
    keys.sort_by_key(Json::to_string);
    keys
}

fn kind<T: std::fmt::Debug>(result: hilcat::Result<T>) -> ErrorKind {
    result.unwrap_err().kind()
}

#[test]
fn a_scope_needs_no_declaration() {
    let file = File::new();
    let cache = file.cache("");
    cache.dynamic("a").unwrap().set("x", json!("in a")).unwrap();
    assert_eq!(cache.dynamic("b").unwrap().fetch("x").unwrap(), None);
    assert_eq!(file.cache("").dynamic("a").unwrap().fetch("x").unwrap(), Some(json!("in a")));
    assert_eq!(cache.schema_for("c").unwrap().name(), "c");
}

#[test]
fn the_key_of_the_table_is_the_scope_and_the_key() {
    let file = File::new();
    file.cache(COMPOSITE).dynamic("eu/x").unwrap();
    let columns = file.query(
        "SELECT name || ' ' || type || ' ' || pk AS line FROM pragma_table_info('cache') ORDER BY cid",
    );
    assert_eq!(columns, ["region TEXT 1", "kind TEXT 2", "a TEXT 3", "b INTEGER 4", "v TEXT 0"]);
}

#[test]
fn scopes_are_isolated() {
    let file = File::new();
    let cache = file.records();
    let [a, b, c] = ["a", "b", "c"].map(|name| cache.dynamic(name).unwrap());
    for scope in [&a, &b, &c] {
        let name = json!({"name": scope.schema().name()});
        scope.set_many(["x", "y"].map(|key| (key, name.clone()))).unwrap();
    }
    b.set("x", json!({"count": 2})).unwrap();
    assert_eq!(a.fetch("x").unwrap(), Some(json!({"name": "a", "count": null})));
    assert_eq!(b.fetch("x").unwrap(), Some(json!({"name": "b", "count": 2})));
    assert_eq!(b.pop("y").unwrap(), Some(json!({"name": "b", "count": null})));
    assert_eq!((a.len().unwrap(), b.len().unwrap()), (2, 1));
    assert_eq!((keys(&a), keys(&b)), (vec![json!("x"), json!("y")], vec![json!("x")]));
    b.clear().unwrap();
    assert_eq!((a.len().unwrap(), b.len().unwrap(), c.len().unwrap()), (2, 0, 2));
    assert_eq!(b.iter().unwrap().count(), 0);
    let names: Vec<Json> = c.iter().unwrap().map(|row| row.unwrap()["name"].clone()).collect();
    assert_eq!(names, ["c", "c"]);
}

#[test]
fn hostile_scope_names_are_stored_exactly() {
    let file = File::new();
    let cache = file.records();
    for &name in HOSTILE {
        cache.dynamic(name).unwrap().set(name, json!({"name": name})).unwrap();
    }
    let cache = file.records();
    let mut names = HOSTILE.to_vec();
    names.sort_unstable();
    assert_eq!(cache.scopes().unwrap(), names);
    for &name in HOSTILE {
        let scope = cache.dynamic(name).unwrap();
        assert_eq!(keys(&scope), [json!(name)], "{name:?}");
        assert_eq!(scope.pop(name).unwrap(), Some(json!({"name": name, "count": null})));
    }
    assert_eq!(cache.scopes().unwrap(), [] as [&str; 0]);
}

#[test]
fn hostile_parts_of_a_scope_name_are_stored_exactly() {
    let file = File::new();
    let cache = file.cache("scope_columns=a,b");
    let pairs = || HOSTILE.iter().flat_map(|a| HOSTILE.iter().map(move |b| (*a, *b)));
    for (a, b) in pairs() {
        let scope = cache.dynamic(&SingleTable::scope((a, b))).unwrap();
        scope.set("k", json!(format!("{a}|{b}"))).unwrap();
    }
    assert_eq!(cache.scopes().unwrap().len(), pairs().count());
    for (a, b) in pairs() {
        let scope = cache.dynamic(&SingleTable::scope((a, b))).unwrap();
        assert_eq!(scope.fetch("k").unwrap(), Some(json!(format!("{a}|{b}"))), "{a:?} {b:?}");
    }
    let stored = file.query("SELECT a || b AS line FROM cache WHERE a = 'a/b' AND b = '%2F'");
    assert_eq!(stored, ["a/b%2F"]);
}

#[test]
fn scopes_and_keys_of_several_columns() {
    let file = File::new();
    let cache = file.cache(COMPOSITE);
    let scope = cache.dynamic(&SingleTable::scope(("eu", "x"))).unwrap();
    scope.set_many([(("k", 1), json!("one")), (("k", 2), json!("two"))]).unwrap();
    cache.dynamic("eu/y").unwrap().set(("k", 1), json!("other")).unwrap();
    assert_eq!(cache.scopes().unwrap(), ["eu/x", "eu/y"]);
    assert_eq!(keys(&scope), [json!(["k", 1]), json!(["k", 2])]);
    assert_eq!(scope.fetch(("k", 2)).unwrap(), Some(json!("two")));
    assert_eq!(scope.pop_many([("k", 2), ("z", 2)]).unwrap(), [Some(json!("two")), None]);
    assert_eq!(kind(scope.fetch("k")), ErrorKind::InvalidInput);
}

#[test]
fn an_invalid_scope_name_is_an_error() {
    let file = File::new();
    let cache = file.cache(COMPOSITE);
    for wrong in ["eu", "eu/x/y", "eu%/x", "a%2f/x"] {
        assert_eq!(kind(cache.dynamic(wrong)), ErrorKind::InvalidInput, "{wrong}");
    }
    let error = cache.dynamic("eu").unwrap_err().to_string();
    assert!(error.contains("write it as region/kind"), "{error}");
    assert_eq!(kind(file.cache("").dynamic("")), ErrorKind::InvalidSchema);
}

#[test]
fn a_scope_can_be_a_number() {
    let file = File::new();
    let cache = file.cache("scope_columns=year&column_types=year:int");
    for year in ["2020", "-7", "3"] {
        cache.dynamic(year).unwrap().set("k", json!(year)).unwrap();
    }
    assert_eq!(cache.scopes().unwrap(), ["-7", "2020", "3"]);
    assert_eq!(file.query("SELECT typeof(year) AS line FROM cache"), ["integer"; 3]);
    for wrong in ["02020", "+3", "x", "3.0", "9999999999"] {
        assert_eq!(kind(cache.dynamic(wrong)), ErrorKind::InvalidInput, "{wrong}");
    }
}

#[test]
fn listings_of_many_pages_stay_in_their_scope() {
    let file = File::new();
    let cache = file.cache("key_columns=a,b&columns=v&column_types=a:int,b:int,v:int");
    let count = 2_500_i64;
    for (name, shift) in [("l", 0), ("m", 1), ("n", 2)] {
        let entries = (0..count).map(|n| ((n % 7, n), json!(n + shift)));
        cache.dynamic(name).unwrap().set_many(entries).unwrap();
    }
    let scope = cache.dynamic("m").unwrap();
    let listed: Vec<Json> = scope.keys().unwrap().map(Result::unwrap).collect();
    let mut expected: Vec<(i64, i64)> = (0..count).map(|n| (n % 7, n)).collect();
    expected.sort_unstable();
    assert_eq!(listed, expected.iter().map(|(a, b)| json!([a, b])).collect::<Vec<_>>());
    let values: Vec<Json> = scope.iter().unwrap().map(Result::unwrap).collect();
    assert_eq!(values, expected.iter().map(|(_, b)| json!(b + 1)).collect::<Vec<_>>());
    assert_eq!(scope.len().unwrap(), 2_500);
}

#[test]
fn batches_are_ordered_and_atomic() {
    let file = File::new();
    let cache = file.records();
    let (a, b) = (cache.dynamic("a").unwrap(), cache.dynamic("b").unwrap());
    b.set("2", json!({"count": -2})).unwrap();
    a.set_many((0..300).map(|n| (n.to_string(), json!({"name": "n", "count": n})))).unwrap();
    a.set_many([("7", json!({"name": "x"})), ("7", json!({"count": 70}))]).unwrap();
    let found = a.fetch_many(["7", "zz", "299", "7"]).unwrap();
    let seven = Some(json!({"name": "x", "count": 70}));
    assert_eq!(found, [seven.clone(), None, Some(json!({"name": "n", "count": 299})), seven]);
    let error = a.set_many([("8", json!({"count": 1})), ("9", json!({"count": "x"}))]).unwrap_err();
    assert_eq!(error.column(), Some("count"));
    assert_eq!(a.fetch("8").unwrap(), Some(json!({"name": "n", "count": 8})));
    let popped = a.pop_many(["2", "2", "zz"]).unwrap();
    assert_eq!(popped, [Some(json!({"name": "n", "count": 2})), None, None]);
    assert_eq!(b.fetch("2").unwrap(), Some(json!({"name": null, "count": -2})));
}

#[test]
fn a_partial_set_keeps_the_other_columns() {
    let file = File::new();
    let scope = file.records().dynamic("a").unwrap();
    scope.set("x", json!({"name": "jii", "count": 1})).unwrap();
    scope.set("x", json!({"count": 2})).unwrap();
    let old = scope.update("x", json!({"name": null})).unwrap();
    assert_eq!(old, Some(json!({"name": "jii", "count": 2})));
    assert_eq!(scope.fetch("x").unwrap(), Some(json!({"name": null, "count": 2})));
}

#[test]
fn each_scope_computes_its_own_value() {
    let file = File::new();
    let cache = file.records();
    for name in ["a", "b"] {
        let scope = cache.dynamic(name).unwrap();
        let value = json!({"name": name, "count": null});
        assert_eq!(scope.get("x", || json!({"name": name})).unwrap(), value);
        assert_eq!(scope.get("x", || panic!("it is stored")).unwrap(), value);
    }
}

#[test]
fn scopes_lists_those_with_records() {
    let file = File::new();
    let cache = file.records();
    assert_eq!(cache.scopes().unwrap(), [] as [&str; 0], "the table does not exist");
    for name in ["b", "a", "c", "a"] {
        let scope = cache.dynamic(name).unwrap();
        scope.set_many(["x", "y", "z"].map(|key| (key, json!({"count": 1})))).unwrap();
    }
    assert_eq!(cache.scopes().unwrap(), ["a", "b", "c"]);
    cache.dynamic("b").unwrap().clear().unwrap();
    assert_eq!(cache.scopes().unwrap(), ["a", "c"]);
}

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
    for (schema, says) in [
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
        assert!(error.to_string().contains(says), "{error}");
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
