//! Schemas in TOML: the examples under `schemas/`, and the errors of invalid ones.
#![allow(clippy::unwrap_used, reason = "a failed test panics")]

use std::path::Path;
use std::time::Duration;

use hilcat::{Column, ColumnType, ErrorKind, Schema, Schemas, Shape, Value};
use serde_json::json;

fn examples() -> Schemas {
    Schemas::from_path(Path::new(env!("CARGO_MANIFEST_DIR")).join("../schemas")).unwrap()
}

/// Writes files into a new directory and reads it. Returns the error without the path of the
/// directory.
fn error_of(files: &[(&str, &str)]) -> (ErrorKind, String) {
    let dir = tempfile::tempdir().unwrap();
    for (name, text) in files {
        std::fs::write(dir.path().join(name), text).unwrap();
    }
    let error = Schemas::from_path(dir.path()).unwrap_err();
    let place = format!("{}", dir.path().display());
    (error.kind(), error.to_string().replace(&format!("{place}/"), "").replace(&place, "DIR"))
}

#[track_caller]
fn assert_error(toml: &str, expected: &str) {
    assert_eq!(error_of(&[("s.toml", toml)]), (ErrorKind::InvalidSchema, expected.to_owned()));
}

#[test]
fn the_examples_are_read() {
    let schemas = examples();
    let names: Vec<&str> = schemas.iter().map(|schema| schema.name()).collect();
    assert_eq!(names, ["a", "airlines", "airports", "d", "flights", "planes"]);
}

#[test]
fn a_schema_is_the_same_in_rust_and_in_toml() {
    let text = |name: &str| Column::new(name, ColumnType::Text);
    let int = |name: &str| Column::new(name, ColumnType::Int);
    let a = Schema::new("a")
        .unique(text("id"))
        .column(text("name").nullable(true))
        .column(text("comment").nullable(true))
        .column(int("count").nullable(true));
    let d = Schema::new("d")
        .table("d_items")
        .unique(text("id1").key_only())
        .unique(text("id2").key_only())
        .column(int("value").nullable(true))
        .shape(Shape::Single)
        .ttl(Duration::from_secs(3600));
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../schemas/demo.toml");
    assert_eq!(Schemas::from_path(file).unwrap(), Schemas::from_iter([a, d]));
}

/// TOML can express every attribute of a derived struct.
#[cfg(feature = "derive")]
#[test]
fn a_derived_schema_is_the_same_in_toml() {
    use hilcat::ScopeRecord;

    #[derive(ScopeRecord)]
    #[scope(name = "a", table = "articles", ttl = "1h30m", migrate = "manual")]
    struct Article {
        #[scope(type = "varchar(50)")]
        name: String,
        #[scope(unique)]
        day: i16,
        comment: Option<String>,
        #[scope(default = 7)]
        count: i32,
        #[scope(json, default, was = "labels")]
        tags: Vec<String>,
        #[scope(column = "body")]
        raw: Vec<u8>,
        #[scope(unique)]
        id: u64,
    }

    let toml = r#"
        [scopes.a]
        table = "articles"
        unique_columns = ["day", "id"]
        columns = ["name", "day", "comment", "count", "tags", "body", "id"]
        not_null = ["name", "count", "tags", "body"]
        defaults = { count = 7, tags = "[]" }
        was = { tags = "labels" }
        ttl = "1h30m"
        migrate = "manual"
        [scopes.a.column_types]
        name = "varchar(50)"
        day = "smallint"
        count = "int"
        tags = "json"
        body = "bytes"
        id = "bigint unsigned"
    "#;
    let schema = Article::schema();
    assert_eq!(Schemas::from_str(toml).unwrap().get("a"), Some(&schema));
    assert_eq!(Schemas::from_str(&schema.to_toml()).unwrap().get("a"), Some(&schema));
}

#[test]
fn the_key_of_flights_is_in_key_order() {
    let schemas = examples();
    let key = schemas.get("flights").unwrap().key_columns().map(|column| column.name.as_str());
    let expected =
        ["year", "month", "day", "carrier", "flight", "origin", "dest", "sched_dep_time"];
    assert_eq!(key.collect::<Vec<_>>(), expected);
}

#[test]
fn the_examples_round_trip() {
    let schemas = examples();
    assert_eq!(Schemas::from_str(&schemas.to_string()).unwrap(), schemas);
    for schema in &schemas {
        assert_eq!(Schemas::from_str(&schema.to_toml()).unwrap().get(schema.name()), Some(schema));
    }
}

#[test]
fn invalid_toml_is_reported_with_its_position() {
    assert_error("[scopes.a]\ncolumns = [\"a\"\n", "s.toml:2:15: unclosed array, expected `]`");
    assert_error(
        "[scope.a]\n",
        "s.toml:1:2: unknown key `scope`; a file of schemas has a table [scopes.NAME] for each \
         scope; did you mean `scopes`?",
    );
    assert_error(
        "scopes = 1\n",
        "s.toml:1:1: `scopes` is not a table; write [scopes.NAME] for each scope",
    );
    assert_error(
        "[scopes]\na = 'x'\n",
        "s.toml:2:1: the scope `a` is not a table; write [scopes.a]",
    );
    assert_eq!(
        error_of(&[("s.toml", "[scopes.a]\ntables = 'x'\n")]).1,
        "s.toml:2:1: unknown key `tables`; the keys of a scope are table, unique_column, \
         unique_columns, columns, column_types, default_column_type, value, not_null, defaults, \
         was, ttl, stale_while_revalidate, stale_if_error, jitter, negative_ttl, expires_at, \
         max_records, auto_purge, single_flight, lease, on_unavailable, migrate, dropped, keep; did you mean `table`?"
    );
}

#[test]
fn invalid_unique_columns_are_reported() {
    assert_error(
        "[scopes.a]\nunique_column = 'id'\nuniq_columns = ['id']\n",
        "s.toml:3:1: both `unique_column` and `unique_columns`; keep one of them",
    );
    assert_error(
        "[scopes.a]\nunique_column = 'id'\nuniq_column = 'id'\n",
        "s.toml:3:1: both `uniq_column` and `unique_column`, which are the same; keep one",
    );
    assert_error(
        "[scopes.a]\nunique_columns = []\n",
        "s.toml:2:1: a scope needs at least one unique column",
    );
    assert_error(
        "[scopes.a]\nunique_columns = 'id'\n",
        "s.toml:2:18: `unique_columns` is of type string; it should be an array of strings, as \
         [\"NAME\", ...]",
    );
    assert_error(
        "[scopes.a]\nunique_columns = ['x', 'y', 'x']\n",
        "s.toml:2:29: duplicate column `x`",
    );
    assert_error(
        "[scopes.a]\ncolumn_types = { id = 'json' }\n",
        "s.toml:1:9: scope `a`: the unique column `id` can be neither nullable nor of type json",
    );
}

#[test]
fn invalid_columns_are_reported() {
    assert_error("[scopes.a]\ncolumns = ['id', 'n', 'n']\n", "s.toml:2:23: duplicate column `n`");
    assert_error(
        "[scopes.a]\ncolumns = ['count']\ncolumn_types = { conut = 'int' }\n",
        "s.toml:3:18: `column_types` names the column `conut`, which is not declared; the \
         columns are id, count; did you mean `count`?",
    );
    assert_error(
        "[scopes.a]\ncolumns = ['n']\ncolumn_types.n = 'bigit'\n",
        "s.toml:3:18: unknown column type `bigit`; the types are bool, smallint, int, bigint, \
         ubigint, real, double, decimal(p,s), text, varchar(n), bytes, json, date, time, \
         timestamp, uuid; did you mean `bigint`?",
    );
    assert_error(
        "[scopes.a]\ncolumns = ['n']\n[scopes.a.column_types]\nn = 5\n",
        "s.toml:4:5: `n` is of type integer; it should be a string",
    );
    assert_error(
        "[scopes.a]\nnot_null = ['n']\n",
        "s.toml:2:13: `not_null` names the column `n`, which is not declared; the columns are \
         id, data",
    );
    assert_error(
        "[scopes.a]\ndefaults = { data = ['x'] }\n",
        "s.toml:2:21: `data` is of type array; it should be a boolean, a number, a date, a time \
         or a string (for json: its text)",
    );
    assert_error(
        "[scopes.a]\ncolumn_types = { data = 'smallint' }\ndefaults = { data = 40000 }\n",
        "s.toml:3:21: the default of `data` does not fit: the value is out of the range of type \
         smallint",
    );
}

#[test]
fn invalid_options_are_reported() {
    assert_error(
        "[scopes.a]\nvalue = 'tupel'\n",
        "s.toml:2:9: `value = \"tupel\"` is unknown; it is one of default, immutable, record, \
         single, tuple, list, json; did you mean `tuple`?",
    );
    assert_error(
        "[scopes.a]\ncolumns = ['x', 'y']\nvalue = 'single'\n",
        "s.toml:3:9: `value = \"single\"` is for one column; `columns` declares 2",
    );
    assert_error(
        "[scopes.a]\nmigrate = 'save'\n",
        "s.toml:2:11: `migrate = \"save\"` is unknown; it is one of safe, recreate, manual; did \
         you mean `safe`?",
    );
    assert_error(
        "[scopes.a]\nttl = '1 hour'\n",
        "s.toml:2:7: `ttl`: `1 hour` is not a duration; write it as 30s, 5m, 1h30m, 2d or 250ms, more \
         than zero",
    );
}

#[test]
fn a_duplicate_scope_or_table_is_an_error() {
    let twice = error_of(&[("a.toml", "[scopes.x]\n"), ("b.toml", "\n[scopes.x]\ntable = 'y'\n")]);
    assert_eq!(twice.0, ErrorKind::InvalidSchema);
    assert!(twice.1.starts_with("b.toml:2:9: the scope `x` is declared at "), "{}", twice.1);
    assert!(twice.1.ends_with("a.toml:1:9 already"), "{}", twice.1);
    assert_error(
        "[scopes.x]\n[scopes.y]\ntable = 'x'\n",
        "s.toml:2:9: the table `x` is that of the scope `x` at s.toml:1:9 already; give one of \
         them another `table`",
    );
}

#[test]
fn a_directory_has_schemas_and_a_file_can_be_read() {
    let none = error_of(&[("readme.txt", "")]);
    assert_eq!(none, (ErrorKind::InvalidSchema, "DIR: the directory has no .toml file".into()));
    let missing = Schemas::from_path("no/such.toml").unwrap_err();
    assert_eq!(missing.kind(), ErrorKind::Io);
    assert_eq!(
        missing.to_string(),
        "no/such.toml: no such file; name the TOML file of the schemas, or a directory of such files"
    );
}

#[test]
fn a_file_that_is_not_utf_8_is_reported_with_its_position() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("s.toml");
    std::fs::write(&file, b"[scopes.a]\ntable = '\xff'\n").unwrap();
    let error = Schemas::from_path(&file).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidSchema);
    let expected = format!("{}:2:10: not UTF-8, which TOML is written in", file.display());
    assert_eq!(error.to_string(), expected);
}

#[test]
fn json_in_a_column_of_text_is_its_text() {
    let toml = "[scopes.a]\nvalue = 'json'\ndefault_column_type = 'text'\n\
                [scopes.b]\nvalue = 'json'\ncolumns = ['x', 'y']\ncolumn_types = { x = 'text' }";
    let schemas = Schemas::from_str(toml).unwrap();
    let cache = hilcat::Cache::builder("memory:").schemas(schemas).open().unwrap();
    let (a, b) = (cache.dynamic("a").unwrap(), cache.dynamic("b").unwrap());
    for value in [json!({"n": [1, null]}), json!("007"), json!(7), json!(null), json!(false)] {
        a.set("k", value.clone()).unwrap();
        assert_eq!(a.fetch("k").unwrap(), Some(value.clone()));
        assert_eq!(a.iter().unwrap().next().unwrap().unwrap(), value);
        let row = a.rows().unwrap().next().unwrap().unwrap();
        assert_eq!(row[1], Value::Text(value.to_string()));
        b.set("k", json!({"x": value, "y": value})).unwrap();
        assert_eq!(b.fetch("k").unwrap(), Some(json!({"x": value, "y": value})));
    }
    a.set_rows([vec!["k".into(), "{".into()]]).unwrap();
    let error = a.fetch("k").unwrap_err();
    assert_eq!((error.kind(), error.column()), (ErrorKind::InvalidData, Some("data")));
}
