//! Columns of a table that its schema lacks, and those that it drops.

use hilcat::{Change, Column, ColumnType, ErrorKind};
use serde_json::json;

use crate::support::{File, int, null, scope, text};

/// A table that SQLite has to rebuild keeps them, with their constraints.
#[test]
fn a_rebuilt_table_keeps_unknown_columns() {
    let file = File::new();
    let old = scope([int("n")]);
    file.cache().dynamic_with(old.clone()).unwrap().set("a", json!({"n": 1})).unwrap();
    file.run(
        "ALTER TABLE a ADD COLUMN other TEXT NOT NULL DEFAULT 'x' COLLATE NOCASE;
         ALTER TABLE a ADD COLUMN more INTEGER;
         UPDATE a SET other = 'y', more = 7",
    );
    let wider = scope([Column::new("n", ColumnType::BigInt)]);
    let scope = file.cache().dynamic_with(wider).unwrap();
    scope.set("b", json!({"n": 1_i64 << 40})).unwrap();
    scope.set("a", json!({"n": 2})).unwrap();
    let rows = file.query(
        "SELECT id || ' ' || n || ' ' || other || ' ' || coalesce(more, '-') FROM a ORDER BY 1",
    );
    assert_eq!(rows, ["a 2 y 7", "b 1099511627776 x -"]);
    assert!(file.ddl("a").contains("COLLATE NOCASE"), "{}", file.ddl("a"));
}

/// A column that no schema had is dropped, even if the schema is the registered one.
#[test]
fn a_column_of_another_program_is_dropped_on_demand() {
    let file = File::new();
    let schema = scope([int("n")]);
    file.cache().dynamic_with(schema.clone()).unwrap().set("a", json!({"n": 1})).unwrap();
    file.run("ALTER TABLE a ADD COLUMN other TEXT");
    let dropping = schema.dropped(["other"]);
    let plan = file.cache().plan(&dropping).unwrap();
    assert_eq!(plan.steps[0].change, Change::DropColumn("other".into()));
    assert_eq!(plan.steps[0].sql, ["ALTER TABLE \"a\" DROP COLUMN \"other\""]);
    let scope = file.cache().dynamic_with(dropping).unwrap();
    assert_eq!(scope.fetch("a").unwrap(), Some(json!({"id": "a", "n": 1})));
    assert!(!file.ddl("a").contains("other"));
    assert!(!file.query("SELECT definition FROM hilcat_scopes")[0].contains("dropped"));
}

#[test]
fn a_column_that_an_index_needs_is_not_dropped() {
    let file = File::new();
    let schema = scope([int("n"), null(text("t"))]);
    file.cache().dynamic_with(schema).unwrap().set("a", json!({"n": 1, "t": "x"})).unwrap();
    file.run("CREATE INDEX by_t ON a (t)");
    let before = file.dump();
    file.cache().dynamic_with(scope([int("n")]).dropped(["t"])).unwrap_err();
    assert_eq!(file.dump(), before);
}

/// The table itself is checked, not its registry entry.
#[test]
fn a_required_column_of_another_program_is_refused() {
    let file =
        File::with("CREATE TABLE a (id TEXT PRIMARY KEY, n INTEGER NOT NULL, other TEXT NOT NULL)");
    let error = file.cache().dynamic_with(scope([int("n")])).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::SchemaChange, "{error}");
    assert!(
        error.to_string().contains("column `other` of the table is not in the schema"),
        "{error}"
    );
    file.run("DROP TABLE a; CREATE TABLE a (id TEXT PRIMARY KEY, n INTEGER NOT NULL, other TEXT NOT NULL DEFAULT 'x')");
    let scope = file.cache().dynamic_with(scope([int("n")])).unwrap();
    scope.set("a", json!({"n": 1})).unwrap();
    assert_eq!(file.query("SELECT other FROM a"), ["x"]);
}
