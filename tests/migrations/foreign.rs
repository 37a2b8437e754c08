//! Tables that another program created.

use hilcat::{Cache, Column, ColumnType, ErrorKind, Key, Migrate, Schema, Value};
use serde_json::json;

use crate::support::{File, int, null, rows, scope, text};

fn t(text: &str) -> Value {
    Value::Text(text.into())
}

fn column(name: &str, ty: ColumnType) -> Column {
    Column::new(name, ty)
}

/// Opens a scope on a table of another program, whose definition stays unchanged.
#[track_caller]
fn used_unchanged(sql: &str, schema: &Schema, expected: &[Vec<Value>]) -> File {
    let file = File::with(sql);
    let before = file.ddl(schema.table_name());
    for policy in [Migrate::Manual, Migrate::Safe, Migrate::Recreate] {
        let schema = schema.clone().migrate(policy);
        let plan = file.cache().plan(&schema).unwrap();
        assert!(plan.is_empty(), "{plan}");
        let scope = file.cache().dynamic_with(schema).unwrap();
        assert_eq!(rows(&scope), expected);
        scope.set_rows(expected.to_vec()).unwrap();
        assert_eq!(rows(&scope), expected);
        for row in expected {
            assert!(scope.pop(Key::single(row[0].clone())).unwrap().is_some());
        }
        assert_eq!(scope.len().unwrap(), 0);
        scope.set_rows(expected.to_vec()).unwrap();
        assert_eq!(file.ddl(&schema_table(&scope)), before);
    }
    file
}

fn schema_table(scope: &hilcat::DynScope) -> String {
    scope.schema().table_name().to_owned()
}

#[test]
fn other_spellings_are_used_without_a_rebuild() {
    use ColumnType as Ty;
    let schema = Schema::new("a")
        .unique(column("id", Ty::BigInt))
        .column(null(column("i", Ty::Int)))
        .column(null(column("big", Ty::BigInt)))
        .column(null(column("name", Ty::Text)))
        .column(null(column("short", Ty::Varchar(50))))
        .column(null(column("at", Ty::Timestamp)))
        .column(null(column("day", Ty::Date)))
        .column(null(column("yes", Ty::Bool)))
        .column(null(column("x", Ty::Double)))
        .column(null(column("y", Ty::Double)))
        .column(null(column("data", Ty::Bytes)))
        .column(null(column("price", Ty::Decimal { precision: 10, scale: 2 })));
    used_unchanged(
        "CREATE TABLE a (id INTEGER PRIMARY KEY AUTOINCREMENT, i INT, big INTEGER CHECK (big > 0), name varchar(50) COLLATE NOCASE,
           short character varying(50) UNIQUE, at datetime DEFAULT CURRENT_TIMESTAMP, day date, yes tinyint(1), x REAL, y float, data blob, price DECIMAL(10, 2));
         CREATE INDEX by_i ON a (i);
         INSERT INTO a VALUES (9000000000, -5, 9223372036854775807, '007', 'é', '2020-01-02 03:04:05', '2020-01-02', 1, 0.1, 3, x'00', 12.5)",
        &schema,
        &[vec![
            Value::Int(9_000_000_000),
            Value::Int(-5),
            Value::Int(i64::MAX),
            t("007"),
            t("é"),
            Value::Timestamp(1_577_934_245_000_000),
            Value::Date(18_263),
            Value::Bool(true),
            Value::Float(0.1),
            Value::Float(3.0),
            Value::Bytes(vec![0]),
            Value::Decimal("12.50".into()),
        ]],
    );
}

#[test]
fn decimals_in_a_numeric_column_come_back() {
    let ty = ColumnType::Decimal { precision: 15, scale: 5 };
    let schema = Schema::new("a").unique(column("k", ty)).column(null(int("n")));
    let file = used_unchanged(
        "CREATE TABLE a (k NUMERIC(15, 5) PRIMARY KEY, n INT); INSERT INTO a VALUES (1.1, 1), (-3, 2)",
        &schema,
        &[
            vec![Value::Decimal("-3.00000".into()), Value::Int(2)],
            vec![Value::Decimal("1.10000".into()), Value::Int(1)],
        ],
    );
    let scope = file.cache().dynamic_with(schema).unwrap();
    for digits in ["9999999999.99999", "-9999999999.99999", "0.00001", "1234567890.12345"] {
        scope.set(digits, json!({"n": 1})).unwrap();
        assert_eq!(scope.fetch(digits).unwrap(), Some(json!({"k": digits, "n": 1})));
    }
}

#[test]
fn names_are_compared_without_regard_to_case() {
    let schema = Schema::new("a").unique(text("id")).column(null(text("name")));
    used_unchanged(
        "CREATE TABLE a (Id TEXT PRIMARY KEY, NAME TEXT); INSERT INTO a VALUES ('x', 'y')",
        &schema,
        &[vec![t("x"), t("y")]],
    );
}

/// The default type of the Python package has affinity NUMERIC: numeric text is stored as numbers. A
/// migration converts them to text once, if the policy allows it. Under `manual` the table stays
/// unchanged, and text that would not come back is refused.
#[test]
fn a_str_column_becomes_text_and_no_longer_converts_numeric_text() {
    let file = File::with(
        "CREATE TABLE a (id str,name str,count int, PRIMARY KEY (id));
         INSERT INTO a VALUES ('007', '1e3', 1), ('x', '  12 ', 2), ('1.50', NULL, NULL)",
    );
    let schema = scope([null(text("name")), null(int("count"))]);
    let before = file.dump();
    let manual = file.cache().dynamic_with(schema.clone().migrate(Migrate::Manual)).unwrap();
    assert_eq!(
        rows(&manual),
        [
            vec![t("1.5"), Value::Null, Value::Null],
            vec![t("7"), t("1000"), Value::Int(1)],
            vec![t("x"), t("12"), Value::Int(2)],
        ]
    );
    for (key, value) in [("007", "x"), ("x", "1e3"), ("x", " 12")] {
        let error = manual.set(key, json!({"name": value})).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
        assert!(!manual.exists("007").unwrap());
        assert_eq!(manual.pop("007").unwrap(), None);
        let found = manual.fetch_many(["007", "7"]).unwrap();
        assert_eq!(found, [None, Some(json!({"id": "7", "name": "1000", "count": 1}))]);
    }
    assert_eq!(file.dump(), before);
    let plan = file.cache().plan(&schema.clone().migrate(Migrate::Manual)).unwrap();
    assert!(plan.to_string().contains("+ widen column `id` from str to text"), "{plan}");

    let cache = file.cache();
    let scope = cache.dynamic_with(schema.clone()).unwrap();
    // What was lost when the value was written cannot be restored; the stored value is read.
    assert_eq!(
        rows(&scope),
        [
            vec![t("1.5"), Value::Null, Value::Null],
            vec![t("7"), t("1000"), Value::Int(1)],
            vec![t("x"), t("12"), Value::Int(2)],
        ]
    );
    scope.set("007", json!({"name": "1e3", "count": 3})).unwrap();
    assert_eq!(scope.fetch("007").unwrap(), Some(json!({"id": "007", "name": "1e3", "count": 3})));
    assert_eq!(scope.fetch("7").unwrap(), Some(json!({"id": "7", "name": "1000", "count": 1})));
    assert!(cache.plan(&schema).unwrap().is_empty());
}

/// A rebuilt table keeps what another program added to it.
#[test]
fn a_rebuilt_table_keeps_everything_it_had() {
    for (column, rest) in [
        ("n INTEGER NOT NULL UNIQUE", ")"),
        ("n INTEGER NOT NULL CHECK (n > 0)", ")"),
        ("n INTEGER NOT NULL COLLATE NOCASE", ")"),
        ("n INTEGER NOT NULL REFERENCES b (x) ON DELETE CASCADE", ")"),
        ("n INTEGER NOT NULL", ") STRICT"),
        ("n INTEGER NOT NULL DEFAULT 7", ")"),
        ("n INTEGER NOT NULL, [CHECK] INT AS (n + 1)", ", CHECK ([CHECK] > 1) /* so */)"),
    ] {
        let sql = format!("CREATE TABLE a (id TEXT NOT NULL PRIMARY KEY, {column}{rest}");
        let file = File::with(&sql);
        file.run("CREATE TABLE b (x INTEGER PRIMARY KEY); INSERT INTO b VALUES (7)");
        file.run("INSERT INTO a (rowid, id, n) VALUES (5, 'x', 7)");
        let scope = file.cache().dynamic_with(scope([null(int("n"))])).unwrap();
        let expected =
            sql.replacen(" NOT NULL", "", 2).replacen(" PRIMARY", " NOT NULL PRIMARY", 1);
        assert_eq!(file.ddl("a").replacen("\"a\"", "a", 1), expected);
        assert_eq!(file.query("SELECT rowid || id || n FROM a"), ["5x7"]);
        scope.set("y", json!({"n": null})).unwrap();
        assert_eq!(scope.len().unwrap(), 2);
    }
}

#[test]
fn a_rebuild_that_would_lose_something_is_refused_without_changes() {
    // A row that violates the check.
    let file = File::with(
        "CREATE TABLE a (id TEXT PRIMARY KEY, n INT NOT NULL CHECK (n > 0), v varchar(9));
         PRAGMA ignore_check_constraints = ON; INSERT INTO a VALUES ('x', 0, 'v')",
    );
    let before = file.query("SELECT * FROM (SELECT sql FROM sqlite_schema ORDER BY name)");
    let schema = scope([null(int("n")), null(text("v")), null(int("m"))]);
    let error = file.cache().dynamic_with(schema).unwrap_err();
    assert!(error.to_string().contains("CHECK constraint failed"), "{error}");
    let after = file
        .query("SELECT * FROM (SELECT sql FROM sqlite_schema WHERE tbl_name = 'a' ORDER BY name)");
    assert_eq!(after, before);
    assert_eq!(file.query("SELECT id || n || v FROM a"), ["x0v"]);
}

/// A full-text index with external content, which refers to row numbers, and its triggers.
#[test]
fn a_full_text_index_works_after_its_table_is_rebuilt() {
    let file = File::with(
        "CREATE TABLE a (id TEXT PRIMARY KEY, body str NOT NULL, n INT NOT NULL DEFAULT 3);
         CREATE VIRTUAL TABLE words USING fts5(body, content='a');
         CREATE TRIGGER made AFTER INSERT ON A BEGIN
           INSERT INTO words (rowid, body) VALUES (new.rowid, new.body); END;
         CREATE TRIGGER gone AFTER DELETE ON a BEGIN
           INSERT INTO words (words, rowid, body) VALUES ('delete', old.rowid, old.body); END;
         CREATE TRIGGER other AFTER UPDATE ON a BEGIN
           INSERT INTO words (words, rowid, body) VALUES ('delete', old.rowid, old.body);
           INSERT INTO words (rowid, body) VALUES (new.rowid, new.body); END;
         INSERT INTO a (rowid, id, body) VALUES (7, 'x', 'one two'), (3, 'y', 'three'), (11, 'z', 'four')",
    );
    let schema = scope([null(text("body")), null(int("n")), null(int("more"))]);
    let scope = file.cache().dynamic_with(schema).unwrap();
    assert!(!file.ddl("a").contains("ROWID"), "{}", file.ddl("a"));
    assert_eq!(
        file.query("SELECT * FROM (SELECT rowid || id FROM a ORDER BY rowid)"),
        ["3y", "7x", "11z"]
    );
    let found = |word: &str| {
        file.query(&format!(
            "SELECT id FROM words JOIN a ON a.rowid = words.rowid WHERE words MATCH '{word}'"
        ))
    };
    assert_eq!(found("two"), ["x"]);
    scope.set("x", json!({"body": "five"})).unwrap();
    scope.set("w", json!({"body": "six"})).unwrap();
    scope.pop("y").unwrap();
    assert_eq!(
        (found("two"), found("five"), found("six"), found("three")),
        (vec![], vec!["x".into()], vec!["w".into()], vec![])
    );
    file.run("INSERT INTO words (words) VALUES ('integrity-check')");
    assert_eq!(file.query("SELECT n FROM a WHERE id = 'z'"), ["3"]);
}

#[test]
fn autoincrement_survives_a_rebuild() {
    let file = File::with(
        "CREATE TABLE a (id INTEGER PRIMARY KEY AUTOINCREMENT, n INT NOT NULL);
         INSERT INTO a (n) VALUES (1), (2), (3); DELETE FROM a",
    );
    let schema = Schema::new("a").unique(column("id", ColumnType::BigInt)).column(null(int("n")));
    let scope = file.cache().dynamic_with(schema).unwrap();
    file.run("INSERT INTO a (n) VALUES (NULL)");
    assert_eq!(scope.fetch(4).unwrap(), Some(json!({"id": 4, "n": null})));
    assert_eq!(file.query("SELECT name || seq FROM sqlite_sequence"), ["a4"]);
}

#[test]
fn an_integer_primary_key_survives_a_rebuild() {
    let file = File::with(
        "CREATE TABLE a (\"id CHECK\" INTEGER PRIMARY KEY, n INT NOT NULL); INSERT INTO a (n) VALUES (5)",
    );
    let schema =
        Schema::new("a").unique(column("id CHECK", ColumnType::BigInt)).column(null(int("n")));
    let scope = file.cache().dynamic_with(schema.clone()).unwrap();
    assert_eq!(rows(&scope), [vec![Value::Int(1), Value::Int(5)]]);
    file.run("INSERT INTO a (n) VALUES (NULL)");
    assert_eq!(scope.fetch(2).unwrap(), Some(json!({"id CHECK": 2, "n": null})));
    assert!(file.cache().plan(&schema).unwrap().is_empty());
}

/// Values that another program stored with another type than their column's.
#[test]
fn a_value_of_the_wrong_type_is_reported_with_its_column() {
    use ColumnType as Ty;
    let decimal = Ty::Decimal { precision: 5, scale: 2 };
    for (ty, stored) in [
        (Ty::Int, "'abc'"),
        (Ty::Int, "1.5"),
        (Ty::Int, "x'31'"),
        (Ty::Int, "2147483648"),
        (Ty::SmallInt, "-32769"),
        (Ty::BigInt, "9223372036854775808"),
        (Ty::BigInt, "''"),
        (Ty::UBigInt, "-1"),
        (Ty::UBigInt, "'1e3'"),
        (Ty::UBigInt, "18446744073709551616"),
        (Ty::Bool, "2"),
        (Ty::Bool, "'true'"),
        (Ty::Double, "'nan'"),
        (Ty::Double, "'abc'"),
        (Ty::Double, "x'00'"),
        (Ty::Real, "'inf'"),
        (decimal, "'1.234'"),
        (decimal, "'1,5'"),
        (decimal, "1e9"),
        (decimal, "x'31'"),
        (Ty::Text, "x'616263'"),
        (Ty::Text, "CAST(x'ff00ff' AS TEXT)"),
        (Ty::Varchar(9), "x'616263'"),
        (Ty::Bytes, "'some words'"),
        (Ty::Bytes, "7"),
        (Ty::Json, "'{'"),
        (Ty::Json, "x'7b7d'"),
        (Ty::Date, "'2020-13-01'"),
        (Ty::Date, "20200101"),
        (Ty::Date, "x'00'"),
        (Ty::Time, "'25:00:00'"),
        (Ty::Time, "5"),
        (Ty::Timestamp, "1577836800"),
        (Ty::Timestamp, "'yesterday'"),
        (Ty::Uuid, "x'00'"),
        (Ty::Uuid, "'67e55044-10b1-426f-9247-bb680e5fe0c8'"),
    ] {
        let file = File::new();
        let schema = scope([null(column("v", ty)), null(int("n"))]);
        let scope = file.cache().dynamic_with(schema).unwrap();
        file.run(&format!("INSERT INTO a VALUES ('good', NULL, 1), ('wrong', {stored}, 2)"));
        let errors = [
            scope.fetch("wrong").unwrap_err(),
            scope.fetch_many(["good", "wrong"]).unwrap_err(),
            scope.iter().map(drop).unwrap_err(),
        ];
        for error in errors {
            assert_eq!(error.kind(), ErrorKind::InvalidData, "{ty} {stored}: {error}");
            assert_eq!(error.column(), Some("v"), "{error}");
            assert!(
                !error.to_string().contains(stored.trim_matches('\'')) || stored.len() < 5,
                "{error}"
            );
        }
        let before = file.dump();
        assert_eq!(scope.pop("wrong").unwrap_err().kind(), ErrorKind::InvalidData);
        assert_eq!(file.dump(), before, "a record that could not be read was removed");
        // The other records are read, and a new value replaces the invalid one.
        assert_eq!(scope.fetch("good").unwrap(), Some(json!({"id": "good", "v": null, "n": 1})));
        assert!(scope.exists("wrong").unwrap());
        scope.set("wrong", json!({"v": null})).unwrap();
        assert_eq!(scope.fetch("wrong").unwrap(), Some(json!({"id": "wrong", "v": null, "n": 2})));
    }
}

#[test]
fn exact_integers_in_a_float_column_are_read() {
    let file = File::with(
        "CREATE TABLE a (id TEXT PRIMARY KEY, x f64); INSERT INTO a VALUES ('a', 3), ('b', 9007199254740993)",
    );
    let schema = scope([null(column("x", ColumnType::Double))]);
    let scope = file.cache().dynamic_with(schema).unwrap();
    assert_eq!(scope.fetch("a").unwrap(), Some(json!({"id": "a", "x": 3.0})));
    let error = scope.fetch("b").unwrap_err();
    assert_eq!((error.kind(), error.column()), (ErrorKind::InvalidData, Some("x")));
}

#[test]
fn an_unknown_type_is_reported() {
    let file = File::with("CREATE TABLE a (id TEXT PRIMARY KEY, shape GEOMETRY, void)");
    let error = Cache::from_uri(&file.uri())
        .unwrap()
        .dynamic_with(scope([null(text("shape")), null(text("void"))]))
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::SchemaChange);
    assert!(error.to_string().contains("! change column `shape` from GEOMETRY to text"), "{error}");
}

#[test]
fn a_generated_column_in_a_schema_is_refused() {
    for kind in ["STORED", "VIRTUAL"] {
        let file = File::with(&format!(
            "CREATE TABLE a (id TEXT PRIMARY KEY, n INT AS (length(id)) {kind});
             INSERT INTO a (id) VALUES ('x')"
        ));
        let schema = scope([null(int("n"))]);
        let read = Cache::builder(file.uri()).read_only(true).open().unwrap();
        for error in [
            file.cache().plan(&schema).unwrap_err(),
            file.cache().dynamic_with(schema.clone()).unwrap_err(),
            read.dynamic_with(schema.clone()).unwrap_err(),
        ] {
            assert_eq!((error.kind(), error.column()), (ErrorKind::Unsupported, Some("n")));
            assert!(error.to_string().contains("generated column"), "{error}");
        }
        assert!(file.cache().dynamic_with(scope([])).unwrap().exists("x").unwrap());
    }
}
