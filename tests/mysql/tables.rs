//! Layouts of tables. Released layouts must remain readable.

use hilcat::{Cache, Change, Column, ColumnType, ErrorKind, Migrate, Schema};
use libtest_mimic::{Completion, Failed};
use mysql::prelude::Queryable;
use serde_json::json;

use crate::server::{Case, PASSED, Server, cases, name, shown, texts};

pub const CASES: &[Case] = cases![
    golden_ddl,
    short_keys_are_stored_in_clear,
    long_keys_in_pairs,
    a_varchar_key_becomes_a_text,
    tables_are_adopted_unchanged,
    inexact_keys_become_exact_if_the_policy_allows_it,
    a_reader_of_inexact_keys_finds_its_own,
    a_generated_column_is_refused,
    another_unique_index_is_refused,
    a_foreign_column_is_widened,
    invalid_names_are_refused,
    a_dropped_registry_is_recreated,
];

fn every_type(name: &str) -> Schema {
    let types = [
        ("b", ColumnType::Bool),
        ("s", ColumnType::SmallInt),
        ("i", ColumnType::Int),
        ("l", ColumnType::BigInt),
        ("u", ColumnType::UBigInt),
        ("r", ColumnType::Real),
        ("d", ColumnType::Double),
        ("n", ColumnType::Decimal { precision: 10, scale: 2 }),
        ("t", ColumnType::Text),
        ("v", ColumnType::Varchar(20)),
        ("y", ColumnType::Bytes),
        ("j", ColumnType::Json),
        ("date", ColumnType::Date),
        ("time", ColumnType::Time),
        ("at", ColumnType::Timestamp),
        ("uuid", ColumnType::Uuid),
    ];
    let schema = Schema::new(name)
        .unique(Column::new("id", ColumnType::Text))
        .unique(Column::new("k", ColumnType::Bytes))
        .unique(Column::new("day", ColumnType::Date));
    let schema = types
        .into_iter()
        .fold(schema, |schema, (name, ty)| schema.column(Column::new(name, ty).nullable(true)));
    schema.column(Column::new("x", ColumnType::Text).default_value("it's"))
}

fn golden_ddl(server: &Server) -> Result<Completion, Failed> {
    let schema = every_type(&name());
    let cache = server.open();
    let plan = cache.plan(&schema)?;
    let sql = plan.steps[0].sql[0].replace(schema.table_name(), "TABLE");
    assert_eq!(
        sql,
        "CREATE TABLE `TABLE` (
  `id` varchar(320) NOT NULL,
  `k` varbinary(1280) NOT NULL,
  `day` date NOT NULL,
  `b` tinyint(1),
  `s` smallint,
  `i` int,
  `l` bigint,
  `u` bigint unsigned,
  `r` float,
  `d` double,
  `n` decimal(10,2),
  `t` longtext,
  `v` varchar(20),
  `y` longblob,
  `j` json,
  `date` date,
  `time` time(6),
  `at` datetime(6),
  `uuid` binary(16),
  `x` longtext NOT NULL DEFAULT ('it''s'),
  `hilcat_whole_1` longtext COMMENT 'the key where `id` holds its beginning and its SHA-256',
  `hilcat_whole_2` longblob COMMENT 'the key where `k` holds its beginning and its SHA-256',
  PRIMARY KEY (`id`, `k`, `day`)
) ENGINE=InnoDB ROW_FORMAT=DYNAMIC DEFAULT CHARSET=utf8mb4 /*!80017 COLLATE=utf8mb4_0900_bin */ /*M! COLLATE=utf8mb4_nopad_bin */"
    );
    cache.dynamic_with(schema.clone())?;
    let created = shown(&mut server.raw(), schema.table_name());
    let (collation, json, int) = match server.is_mariadb() {
        true => (
            "utf8mb4_nopad_bin",
            "longtext CHARACTER SET utf8mb4 COLLATE utf8mb4_bin DEFAULT NULL CHECK (json_valid(`j`))",
            "int(11)",
        ),
        false => ("utf8mb4_0900_bin", "json DEFAULT NULL", "int"),
    };
    for part in [
        format!("COLLATE={collation}"),
        format!("`j` {json}"),
        format!("`i` {int} DEFAULT NULL"),
        "PRIMARY KEY (`id`,`k`,`day`)".to_owned(),
    ] {
        assert!(created.contains(&part), "{part}\n{created}");
    }
    assert!(cache.plan(&schema)?.is_empty());
    // Also without the registry, from the table alone.
    server
        .raw()
        .query_drop(format!("DELETE FROM hilcat_scopes WHERE scope = '{}'", schema.name()))?;
    let plan = server.open().plan(&schema)?;
    assert!(plan.is_empty(), "{plan}");
    PASSED
}

fn short_keys_are_stored_in_clear(server: &Server) -> Result<Completion, Failed> {
    let table = name();
    let scope = server.open().dynamic_with(texts(&table))?;
    let long = "k".repeat(2_700);
    scope.set("short", json!({"v": "1"}))?;
    scope.set(long.as_str(), json!({"v": "2"}))?;
    let mut raw = server.raw();
    let rows: Vec<(String, Option<String>)> =
        raw.query(format!("SELECT id, hilcat_whole_1 FROM `{table}` ORDER BY v"))?;
    assert_eq!(rows[0], ("short".to_owned(), None));
    assert!(rows[1].0.starts_with(&"k".repeat(576)) && rows[1].0.len() == 640, "{rows:?}");
    assert_eq!(rows[1].1.as_ref(), Some(&long));
    // A record of another program is read.
    raw.query_drop(format!("INSERT INTO `{table}` (id, v) VALUES ('theirs', '3')"))?;
    assert_eq!(scope.fetch("theirs")?, Some(json!({"id": "theirs", "v": "3"})));
    PASSED
}

fn long_keys_in_pairs(server: &Server) -> Result<Completion, Failed> {
    let schema = Schema::new(name())
        .unique(Column::new("a", ColumnType::Text))
        .unique(Column::new("b", ColumnType::Text))
        .column(Column::new("n", ColumnType::Int));
    let scope = server.open().dynamic_with(schema)?;
    let long = |end: char| format!("{}{end}", "\u{e9}".repeat(1_349));
    let mut keys = Vec::new();
    for a in [long('1'), long('2'), "s".to_owned()] {
        for b in [long('1'), long('2'), "s".to_owned(), String::new()] {
            keys.push((a.clone(), b));
        }
    }
    for (n, (a, b)) in keys.iter().enumerate() {
        scope.set((a.as_str(), b.as_str()), json!({"n": n}))?;
    }
    let expected = |n: usize| Some(json!({"a": keys[n].0, "b": keys[n].1, "n": n}));
    let asked = || keys.iter().map(|(a, b)| (a.as_str(), b.as_str()));
    let all: Vec<_> = (0..keys.len()).map(expected).collect();
    assert_eq!(scope.fetch_many(asked())?, all);
    assert_eq!(scope.iter()?.count(), keys.len());
    for (n, key) in asked().enumerate() {
        assert!(scope.exists(key)?);
        assert_eq!(scope.update(key, json!({"n": n}))?, expected(n));
    }
    assert_eq!(scope.pop(asked().next().unwrap())?, all[0]);
    assert_eq!(scope.pop_many(asked())?[1..], all[1..]);
    assert_eq!(scope.len()?, 0);
    PASSED
}

fn a_varchar_key_becomes_a_text(server: &Server) -> Result<Completion, Failed> {
    let (table, cache) = (name(), server.open());
    let mut schema = texts(&table);
    schema.columns_mut()[0].ty = ColumnType::Varchar(50);
    cache.dynamic_with(schema.clone())?.set("a", json!({"v": "1"}))?;
    for ty in [ColumnType::Varchar(639), ColumnType::Varchar(2_000), ColumnType::Text] {
        schema.columns_mut()[0].ty = ty;
        let plan = cache.plan(&schema)?;
        assert!(plan.is_safe() && plan.steps.len() == 1, "{plan}");
        let scope = server.open().dynamic_with(schema.clone())?;
        assert!(cache.plan(&schema)?.is_empty(), "{ty}");
        assert_eq!(scope.fetch("a")?, Some(json!({"id": "a", "v": "1"})), "{ty}");
        let longest = if ty == ColumnType::Varchar(639) { 639 } else { 2_000 };
        let key = "x".repeat(longest);
        scope.set(key.as_str(), json!({"v": "2"}))?;
        assert!(scope.exists(key.as_str())?);
    }
    assert_eq!(server.open().dynamic_with(schema)?.len()?, 3);
    PASSED
}

fn tables_are_adopted_unchanged(server: &Server) -> Result<Completion, Failed> {
    let (table, mut raw) = (format!("{} Mixed", name()), server.raw());
    raw.query_drop(format!(
        "CREATE TABLE `{table}` (`B` INT UNSIGNED NOT NULL, `a b` VARCHAR(20) CHARACTER SET utf8mb4 COLLATE {} NOT NULL, flag BOOLEAN, n DECIMAL(8,3), at DATETIME, body TEXT, kind ENUM('x','y'), r FLOAT, PRIMARY KEY (`a b`, `B`))",
        if server.is_mariadb() { "utf8mb4_nopad_bin" } else { "utf8mb4_0900_bin" }
    ))?;
    raw.query_drop(format!(
        "INSERT INTO `{table}` VALUES (7, 'k', TRUE, 1.5, '2020-01-02 03:04:05', 'text', 'y', 0.5)"
    ))?;
    let cache = Cache::builder(&server.uri).adopt_tables().open()?;
    let scope = cache.dynamic(&table)?;
    let record = json!({"B": 7, "a b": "k", "flag": true, "n": "1.500", "at": "2020-01-02T03:04:05Z", "body": "text", "kind": "y", "r": 0.5});
    assert_eq!(scope.fetch(("k", 7))?, Some(record));
    scope.set(("k", 8), json!({"kind": "x", "n": "2"}))?;
    assert_eq!(scope.len()?, 2);
    // A table of another database is not adopted.
    assert!(cache.dynamic("user").is_err());
    raw.query_drop(format!("DROP TABLE `{table}`"))?;
    PASSED
}

/// Another program created the key with a collation that treats different texts as equal.
fn inexact_keys_become_exact_if_the_policy_allows_it(
    server: &Server,
) -> Result<Completion, Failed> {
    let (table, mut raw) = (name(), server.raw());
    raw.query_drop(format!(
        "CREATE TABLE `{table}` (id VARCHAR(20) CHARACTER SET utf8mb4 COLLATE utf8mb4_general_ci PRIMARY KEY, v LONGTEXT)"
    ))?;
    raw.query_drop(format!("INSERT INTO `{table}` VALUES ('k', 'old')"))?;
    let mut schema = texts(&table);
    schema.columns_mut()[0].ty = ColumnType::Varchar(20);
    let manual = schema.clone().migrate(Migrate::Manual);
    let error = server.open().dynamic_with(manual).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::SchemaChange, "{error}");
    assert!(error.to_string().contains("collate utf8mb4_general_ci"), "{error}");
    let scope = server.open().dynamic_with(schema.clone())?;
    for key in ["K", "k ", "\u{43a}"] {
        assert_eq!(scope.fetch(key)?, None, "{key:?}");
        scope.set(key, json!({"v": key}))?;
    }
    assert_eq!(scope.fetch("k")?.unwrap()["v"], "old");
    assert_eq!(scope.len()?, 4);
    assert!(server.open().plan(&schema)?.is_empty());
    raw.query_drop(format!("DROP TABLE `{table}`"))?;
    PASSED
}

fn another_unique_index_is_refused(server: &Server) -> Result<Completion, Failed> {
    let (table, mut raw) = (name(), server.raw());
    raw.query_drop(format!("CREATE TABLE `{table}` (id INT PRIMARY KEY, v INT UNIQUE)"))?;
    let schema = Schema::new(&table)
        .unique(Column::new("id", ColumnType::Int))
        .column(Column::new("v", ColumnType::Int).nullable(true));
    let error = server.open().dynamic_with(schema).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
    raw.query_drop(format!("DROP TABLE `{table}`"))?;
    PASSED
}

/// The column is narrower than in the schema, and has another character set.
fn a_foreign_column_is_widened(server: &Server) -> Result<Completion, Failed> {
    let (table, mut raw) = (name(), server.raw());
    raw.query_drop(format!(
        "CREATE TABLE `{table}` (id INT PRIMARY KEY, t VARCHAR(9), at DATETIME NOT NULL) DEFAULT CHARSET=latin1"
    ))?;
    raw.query_drop(format!("INSERT INTO `{table}` VALUES (1, '\u{e9}', '2020-01-02 03:04:05')"))?;
    let schema = Schema::new(&table)
        .unique(Column::new("id", ColumnType::Int))
        .column(Column::new("t", ColumnType::Text).nullable(true))
        .column(Column::new("at", ColumnType::Timestamp))
        .column(Column::new("x", ColumnType::Varchar(9)).nullable(true));
    let cache = server.open();
    let manual = cache.plan(&schema.clone().migrate(Migrate::Manual))?;
    assert!(
        manual.steps.iter().any(|step| matches!(step.change, Change::AddColumn(_))),
        "{manual}"
    );
    let scope = cache.dynamic_with(schema.clone())?;
    let old = json!({"id": 1, "t": "\u{e9}", "at": "2020-01-02T03:04:05Z", "x": null});
    assert_eq!(scope.fetch(1)?, Some(old));
    let new =
        json!({"id": 2, "t": "\u{1f600}", "at": "2020-01-02T03:04:05.000007Z", "x": "\u{1f600}"});
    scope.set(2, new.clone())?;
    assert_eq!(scope.fetch(2)?, Some(new));
    assert!(server.open().plan(&schema)?.is_empty());
    PASSED
}

fn invalid_names_are_refused(server: &Server) -> Result<Completion, Failed> {
    let cache = server.open();
    let wide = "\u{e9}".repeat(65 - name().len());
    for odd in ["ends with a space ", "nul\0", "\u{1f600}", wide.as_str()] {
        let error = cache.dynamic_with(texts(&format!("{}{odd}", name()))).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
        let schema = texts(&name())
            .column(Column::new(format!("{}{odd}", name()), ColumnType::Int).nullable(true));
        let error = cache.dynamic_with(schema).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
    }
    for twice in ["V", "hilcat_whole_1"] {
        let schema = texts(&name()).column(Column::new(twice, ColumnType::Int).nullable(true));
        assert_eq!(cache.dynamic_with(schema).unwrap_err().kind(), ErrorKind::Unsupported);
    }
    PASSED
}

/// Another program drops one of hilcat's own tables, while a cache is open or between two openings.
fn a_dropped_registry_is_recreated(server: &Server) -> Result<Completion, Failed> {
    let (database, mut raw) = (name(), server.raw());
    raw.query_drop(format!("CREATE DATABASE {database}"))?;
    raw.query_drop(format!("USE {database}"))?;
    let old = server.uri.split('?').next().unwrap().rsplit('/').next().unwrap();
    let uri = server.uri.replacen(&format!("/{old}"), &format!("/{database}"), 1);
    let cache = Cache::from_uri(&uri)?;
    let a = cache.dynamic_with(texts("a"))?;
    for (name, dropped) in [
        ("b", "hilcat_scopes"),
        ("c", "__diesel_schema_migrations"),
        ("d", "hilcat_scopes, __diesel_schema_migrations"),
    ] {
        let scopes = |raw: &mut mysql::Conn| -> Vec<String> {
            raw.query("SELECT CAST(scope AS CHAR) FROM hilcat_scopes").unwrap()
        };
        raw.query_drop(format!("DROP TABLE IF EXISTS {dropped}"))?;
        a.set("x", json!({"v": "1"}))?;
        cache.dynamic_with(texts(name))?.set("x", json!({"v": "1"}))?;
        assert!(scopes(&mut raw).contains(&name.to_owned()));
        raw.query_drop(format!("DROP TABLE IF EXISTS {dropped}"))?;
        let again = Cache::from_uri(&uri)?.dynamic_with(texts("a"))?;
        assert_eq!(again.fetch("x")?, Some(json!({"id": "x", "v": "1"})));
        assert!(scopes(&mut raw).contains(&"a".to_owned()));
    }
    raw.query_drop(format!("DROP DATABASE {database}"))?;
    PASSED
}

/// A read-only cache cannot change the collation, under which different texts are equal.
fn a_reader_of_inexact_keys_finds_its_own(server: &Server) -> Result<Completion, Failed> {
    let (table, mut raw) = (name(), server.raw());
    raw.query_drop(format!(
        "CREATE TABLE `{table}` (id VARCHAR(20) CHARACTER SET utf8mb4 COLLATE utf8mb4_general_ci PRIMARY KEY, v LONGTEXT CHARACTER SET utf8mb4)"
    ))?;
    raw.query_drop(format!("INSERT INTO `{table}` VALUES ('k', 'old'), ('L', 'old')"))?;
    let before = shown(&mut raw, &table);
    let cache = Cache::builder(&server.uri).read_only(true).open()?;
    let scope = cache.dynamic_with(texts(&table))?;
    for key in ["K", "k ", "l"] {
        assert_eq!(scope.fetch(key)?, None, "{key:?}");
        assert!(!scope.exists(key)?, "{key:?}");
    }
    assert!(scope.exists("k")?);
    let found = scope.fetch_many(["K", "k", "l", "L"])?;
    let found: Vec<bool> = found.iter().map(Option::is_some).collect();
    assert_eq!(found, [false, true, false, true]);
    assert_eq!(scope.keys()?.collect::<hilcat::Result<Vec<_>>>()?, ["k", "L"]);
    assert_eq!(shown(&mut raw, &table), before);
    PASSED
}

fn a_generated_column_is_refused(server: &Server) -> Result<Completion, Failed> {
    for kind in ["STORED", "VIRTUAL"] {
        let (table, mut raw) = (name(), server.raw());
        raw.query_drop(format!(
            "CREATE TABLE `{table}` (id VARCHAR(20) PRIMARY KEY, v VARCHAR(40) AS (concat(id, 'x')) {kind})"
        ))?;
        let schema = texts(&table);
        for error in [
            server.open().dynamic_with(schema.clone()).unwrap_err(),
            server.open().read_only().dynamic_with(schema).unwrap_err(),
        ] {
            assert_eq!((error.kind(), error.column()), (ErrorKind::Unsupported, Some("v")));
            assert!(error.to_string().contains("generated column"), "{error}");
        }
    }
    PASSED
}
