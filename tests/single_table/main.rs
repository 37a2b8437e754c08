//! All scopes of a cache in one table.

#![cfg(feature = "sqlite")]
#![allow(clippy::unwrap_used, reason = "a failed test panics")]

mod table;

use diesel::connection::SimpleConnection;
use diesel::sql_types::Text;
use diesel::{Connection, QueryableByName, RunQueryDsl, SqliteConnection, sql_query};
use hilcat::backend::SingleTable;
use hilcat::{Cache, DynScope, ErrorKind};
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
