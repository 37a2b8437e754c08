//! Changes of columns that other programs defined.

use hilcat::{Column, ColumnType, ErrorKind, Schema};
use libtest_mimic::{Completion, Failed};
use mysql::prelude::Queryable;
use serde_json::json;

use crate::server::{Case, PASSED, Server, cases, name, shown};

pub const CASES: &[Case] = cases![
    attributes_of_columns_are_kept,
    a_renamed_column_keeps_its_attributes,
    a_change_that_would_break_a_trigger_is_refused,
    a_failed_change_undoes_the_others,
];

/// Creates a table of another program, whose columns have many attributes.
fn foreign(server: &Server, table: &str) {
    let mut raw = server.raw();
    raw.query_drop(format!(
        "CREATE TABLE `{table}` (
           id INT NOT NULL AUTO_INCREMENT COMMENT 'the number',
           n SMALLINT NOT NULL DEFAULT 7 COMMENT 'it''s (n, \\\\) `n`' CHECK (n > 0),
           name VARCHAR(20) CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci NOT NULL DEFAULT 'a''b, (c',
           word VARCHAR(9) CHARACTER SET latin1 NOT NULL DEFAULT 'x' COMMENT 'latin',
           at TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP ON UPDATE CURRENT_TIMESTAMP,
           hidden INT NOT NULL DEFAULT 3 INVISIBLE,
           twice INT GENERATED ALWAYS AS (n * 2) STORED COMMENT 'computed',
           PRIMARY KEY (id), KEY by_n (n)
         ) ENGINE=InnoDB COMMENT='theirs'"
    ))
    .unwrap();
    raw.query_drop(format!("INSERT INTO `{table}` (n) VALUES (5)")).unwrap();
}

/// Returns the schema with which that table is opened.
fn schema(table: &str) -> Schema {
    Schema::new(table)
        .unique(Column::new("id", ColumnType::BigInt))
        .column(Column::new("n", ColumnType::Int).nullable(true))
        .column(Column::new("name", ColumnType::Varchar(60)).nullable(true))
        .column(Column::new("word", ColumnType::Text))
        .column(Column::new("at", ColumnType::Timestamp))
        .column(Column::new("hidden", ColumnType::Int).nullable(true))
        .column(Column::new("more", ColumnType::Text).nullable(true))
}

/// Asserts that the definition of a column has all these parts.
fn assert_has(shown: &str, column: &str, parts: &[&str]) {
    let line = shown.lines().find(|line| line.trim_start().starts_with(&format!("`{column}`")));
    let line = line.unwrap_or_else(|| panic!("no `{column}`: {shown}")).to_lowercase();
    for part in parts {
        assert!(line.contains(&part.to_lowercase()), "{part}: {line}");
    }
}

fn attributes_of_columns_are_kept(server: &Server) -> Result<Completion, Failed> {
    let (table, mut raw) = (name(), server.raw());
    foreign(server, &table);
    let scope = server.open().dynamic_with(schema(&table))?;
    let shown = shown(&mut raw, &table);
    assert_has(&shown, "id", &["bigint", "not null", "auto_increment", "'the number'"]);
    assert_has(&shown, "n", &[" int", "default", "7", "comment 'it''s (n, \\\\) `n`'"]);
    assert_has(&shown, "name", &["varchar(60)", "utf8mb4_unicode_ci", "default 'a''b, (c'"]);
    assert_has(&shown, "word", &["longtext", "not null", "default", "'x'", "comment 'latin'"]);
    assert_has(&shown, "at", &["datetime(6)", "on update current_timestamp(6)", "not null"]);
    assert_has(&shown, "hidden", &["default", "3", "invisible"]);
    assert_has(&shown, "twice", &["`n` * 2", "stored", "'computed'"]);
    assert!(shown.contains("theirs") && shown.contains("KEY `by_n`"), "{shown}");
    assert!(
        shown.to_lowercase().contains("check ((`n` > 0))") || shown.contains("CHECK (`n` > 0)")
    );
    for column in ["n", "name", "hidden"] {
        let line = shown.lines().find(|line| line.trim_start().starts_with(&format!("`{column}`")));
        assert!(!line.unwrap_or_default().contains("NOT NULL"), "{shown}");
    }
    // The other program continues to work.
    raw.query_drop(format!("INSERT INTO `{table}` () VALUES ()"))?;
    let row: Option<(i64, i32, String, String, i32, i32)> = raw.query_first(format!(
        "SELECT id, n, name, word, hidden, twice FROM `{table}` WHERE id = 2"
    ))?;
    assert_eq!(row, Some((2, 7, "a'b, (c".into(), "x".into(), 3, 14)));
    raw.query_drop(format!("UPDATE `{table}` SET at = '2001-01-01' WHERE id = 2"))?;
    raw.query_drop(format!("UPDATE `{table}` SET n = 8 WHERE id = 2"))?;
    let now: Option<bool> =
        raw.query_first(format!("SELECT at > '2002-01-01' FROM `{table}` WHERE id = 2"))?;
    assert_eq!(now, Some(true));
    // hilcat does, too.
    assert_eq!(scope.fetch(1)?.expect("it was there")["n"], 5);
    scope.set(3, json!({"n": null, "word": "\u{1f600}", "at": "2020-01-02T03:04:05.000007Z"}))?;
    assert_eq!(scope.fetch(3)?.expect("it was set")["at"], "2020-01-02T03:04:05.000007Z");
    assert!(server.open().plan(&schema(&table))?.is_empty());
    raw.query_drop(format!("DROP TABLE `{table}`"))?;
    PASSED
}

fn a_renamed_column_keeps_its_attributes(server: &Server) -> Result<Completion, Failed> {
    let (table, mut raw) = (name(), server.raw());
    raw.query_drop(format!(
        "CREATE TABLE `{table}` (id INT PRIMARY KEY, a VARCHAR(9) NOT NULL DEFAULT 'x' COMMENT 'one', b SMALLINT NOT NULL COMMENT 'two', j JSON NOT NULL)"
    ))?;
    raw.query_drop(format!("INSERT INTO `{table}` VALUES (1, 'y', 2, '[1]')"))?;
    let schema = Schema::new(&table)
        .unique(Column::new("id", ColumnType::Int))
        .column(Column::new("a2", ColumnType::Varchar(9)).was("a"))
        .column(Column::new("b2", ColumnType::Int).nullable(true).was("b"))
        .column(Column::new("j2", ColumnType::Json).nullable(true).was("j"));
    let scope = server.open().dynamic_with(schema.clone())?;
    let expected = json!({"id": 1, "a2": "y", "b2": 2, "j2": [1]});
    assert_eq!(scope.fetch(1)?, Some(expected));
    let shown = shown(&mut raw, &table);
    assert_has(&shown, "a2", &["varchar(9)", "not null default 'x'", "'one'"]);
    assert_has(&shown, "b2", &["int", "'two'"]);
    scope.set(2, json!({"a2": "z", "b2": null, "j2": null}))?;
    assert!(server.open().plan(&schema)?.is_empty());
    raw.query_drop(format!("DROP TABLE `{table}`"))?;
    PASSED
}

/// The definition of the table is unchanged.
fn a_change_that_would_break_a_trigger_is_refused(server: &Server) -> Result<Completion, Failed> {
    let (table, mut raw) = (name(), server.raw());
    raw.query_drop(format!("CREATE TABLE `{table}` (id INT PRIMARY KEY, a INT, n SMALLINT)"))?;
    raw.query_drop(format!(
        "CREATE TRIGGER `{table}_t` BEFORE INSERT ON `{table}` FOR EACH ROW SET NEW.a = NEW.a + 1"
    ))?;
    let renamed = Schema::new(&table)
        .unique(Column::new("id", ColumnType::Int))
        .column(Column::new("b", ColumnType::Int).nullable(true).was("a"))
        .column(Column::new("n", ColumnType::Int).nullable(true));
    let before = shown(&mut raw, &table);
    let error = server.open().dynamic_with(renamed).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::SchemaChange, "{error}");
    assert!(error.to_string().contains(&format!("the trigger `{table}_t`")), "{error}");
    assert_eq!(shown(&mut raw, &table), before);
    raw.query_drop(format!("DROP TABLE `{table}`"))?;
    PASSED
}

/// A column to be added exists already as a generated column.
fn a_failed_change_undoes_the_others(server: &Server) -> Result<Completion, Failed> {
    let (table, mut raw) = (name(), server.raw());
    foreign(server, &table);
    let before = shown(&mut raw, &table);
    let twice = schema(&table).column(Column::new("twice", ColumnType::Int).nullable(true));
    assert!(server.open().dynamic_with(twice).is_err());
    assert_eq!(shown(&mut raw, &table), before);
    raw.query_drop(format!("DROP TABLE `{table}`"))?;
    PASSED
}
