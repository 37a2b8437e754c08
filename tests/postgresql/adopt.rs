//! Tables that another program made.

use hilcat::{Cache, Column, ColumnType, ErrorKind};
use serde_json::json;

use crate::Test;
use crate::support::{Server, scope, text};

pub(crate) const TESTS: &[Test] = &[
    ("tables_become_scopes", tables_become_scopes),
    ("what_cannot_be_a_scope_says_why", what_cannot_be_a_scope_says_why),
    ("a_column_of_a_wider_kind_is_read_and_written", a_column_of_a_wider_kind),
    ("a_collation_that_folds_keys_is_refused", a_collation_that_folds_keys_is_refused),
    ("what_others_gave_a_column_stays", what_others_gave_a_column_stays),
];

fn adopting(server: &Server) -> Cache {
    Cache::builder(server.uri()).adopt_tables().open().unwrap()
}

fn names(cache: &Cache) -> Vec<&str> {
    cache.schemas().iter().map(|schema| schema.name()).collect()
}

fn tables_become_scopes(server: &Server) {
    server.run(
        r#"CREATE TABLE "Mixed Case" ("Second" int, "First" text, v numeric(10,2), at timestamp,
             twice int GENERATED ALWAYS AS ("Second" * 2) STORED, PRIMARY KEY ("First", "Second"));
           CREATE TABLE parted (id int, kind text, v text, PRIMARY KEY (id, kind)) PARTITION BY LIST (kind);
           CREATE TABLE parted_a PARTITION OF parted FOR VALUES IN ('a');"#,
    );
    let cache = adopting(server);
    assert_eq!(names(&cache), ["Mixed Case", "parted"]);
    let mixed = cache.dynamic("Mixed Case").unwrap();
    let record =
        json!({"First": "f", "Second": 2, "v": "1.50", "at": "2024-02-29T01:02:03.000004Z"});
    mixed.set(("f", 2), record.clone()).unwrap();
    assert_eq!(mixed.fetch(("f", 2)).unwrap(), Some(record));
    assert_eq!(server.query(r#"SELECT twice FROM "Mixed Case""#), ["4"]);
    assert_eq!(server.query(r#"SELECT at FROM "Mixed Case""#), ["2024-02-29 01:02:03.000004"]);
    let parted = cache.dynamic("parted").unwrap();
    parted.set((7, "a"), json!({"v": "x"})).unwrap();
    parted.set((7, "a"), json!({"v": "y"})).unwrap();
    assert_eq!(server.query("SELECT v FROM parted_a"), ["y"]);
}

fn what_cannot_be_a_scope_says_why(server: &Server) {
    server.run(
        "CREATE DOMAIN small AS int CHECK (value < 10);
         CREATE TYPE mood AS ENUM ('sad', 'happy');
         CREATE TABLE of_domain (id int PRIMARY KEY, v small);
         CREATE TABLE of_enum (id int PRIMARY KEY, v mood);
         CREATE TABLE of_char (id char(5) PRIMARY KEY, v int);
         CREATE TABLE of_milliseconds (id int PRIMARY KEY, v timestamptz(3));
         CREATE TABLE of_array (id int PRIMARY KEY, v int[]);
         CREATE TABLE keyless (id int);
         CREATE TABLE late (id int PRIMARY KEY DEFERRABLE, v int);
         CREATE TABLE counted (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, v int);
         CREATE VIEW seen AS SELECT 1 AS id;",
    );
    let cache = adopting(server);
    assert_eq!(names(&cache), [""; 0]);
    for (table, reason) in [
        ("of_domain", "small"),
        ("of_enum", "mood"),
        ("of_char", "character(5)"),
        ("of_milliseconds", "timestamp(3) with time zone"),
        ("of_array", "integer[]"),
        ("keyless", "no primary key"),
        ("late", "deferrable"),
        ("counted", "own making"),
    ] {
        let found = cache.skipped_tables().iter().find(|(name, _)| name == table);
        let (_, found) = found.unwrap();
        assert!(found.contains(reason), "{table}: {found}");
    }
    let schema = scope([text("v")]).table("seen");
    let error = server.cache().dynamic_with(schema).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(error.to_string().contains("is a view"), "{error}");
}

/// The types of a table that was made by hand do not have to be hilcat's own.
fn a_column_of_a_wider_kind(server: &Server) {
    server.run("CREATE TABLE a (id varchar PRIMARY KEY, j json, at timestamp, u numeric(20,0))");
    let column = |name: &str, ty| Column::new(name, ty).nullable(true);
    let schema = scope([
        column("j", ColumnType::Json),
        column("at", ColumnType::Timestamp),
        column("u", ColumnType::UBigInt),
    ]);
    let cache = server.cache();
    assert!(cache.plan(&schema).unwrap().is_empty(), "{}", cache.plan(&schema).unwrap());
    let a = cache.dynamic_with(schema).unwrap();
    let record =
        |u: u64| json!({"id": "x", "j": {"b": [1]}, "at": "1999-12-31T23:59:59.999999Z", "u": u});
    a.set_many([("x", record(1)), ("y", json!({"j": null}))]).unwrap();
    assert_eq!(a.update("x", record(u64::MAX)).unwrap(), Some(record(1)));
    assert_eq!(a.fetch_many(["x"]).unwrap(), [Some(record(u64::MAX))]);
}

fn a_collation_that_folds_keys_is_refused(server: &Server) {
    let icu = server.query("SELECT count(*) FROM pg_collation WHERE collname = 'und-x-icu'");
    if icu == ["0"] {
        // This server was built without ICU, and has no such collation.
        return;
    }
    server.run(
        "CREATE COLLATION folding (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
         CREATE TABLE a (id text COLLATE folding PRIMARY KEY, v text)",
    );
    let error = server.cache().dynamic_with(scope([text("v")])).unwrap_err();
    assert_eq!((error.kind(), error.column()), (ErrorKind::Unsupported, Some("id")), "{error}");
}

fn what_others_gave_a_column_stays(server: &Server) {
    server.run(
        r#"CREATE TABLE a (id int GENERATED BY DEFAULT AS IDENTITY (START 100) PRIMARY KEY,
             n smallint NOT NULL DEFAULT 7 CONSTRAINT positive CHECK (n > 0),
             "A b" varchar(20) COLLATE "C" NOT NULL DEFAULT 'x''y',
             was varchar(20) COLLATE "POSIX" DEFAULT 'w',
             m int NOT NULL, twice int GENERATED ALWAYS AS (m * 2) STORED);
           COMMENT ON COLUMN a.n IS 'how many';
           COMMENT ON COLUMN a."A b" IS 'a name';
           INSERT INTO a (n, m) VALUES (5, 1);"#,
    );
    let schema = hilcat::Schema::new("a")
        .unique(Column::new("id", ColumnType::BigInt))
        .column(Column::new("n", ColumnType::Int).nullable(true))
        .column(Column::new("A b", ColumnType::Varchar(60)).nullable(true))
        .column(Column::new("now", ColumnType::Text).nullable(true).was("was"))
        .column(Column::new("m", ColumnType::Int).nullable(true))
        .column(text("more").nullable(true));
    let scope = server.cache().dynamic_with(schema.clone()).unwrap();
    assert!(server.cache().plan(&schema).unwrap().is_empty());
    server.run("INSERT INTO a (m) VALUES (3)");
    let row =
        "SELECT id || ' ' || n || ' ' || \"A b\" || ' ' || now || ' ' || twice FROM a WHERE m = 3";
    assert_eq!(server.query(row), ["101 7 x'y w 6"]);
    assert_eq!(scope.fetch(100).unwrap().unwrap()["n"], 5);
    scope.set(1, json!({"n": null, "A b": null, "now": "z".repeat(90), "m": null})).unwrap();
    assert!(server.sql().fails("INSERT INTO a (n, m) VALUES (-1, 1)"));
    let kept = "SELECT attname || ' ' || collname || ' ' || coalesce(col_description(attrelid, attnum), '') FROM pg_attribute JOIN pg_collation c ON c.oid = attcollation WHERE attrelid = 'a'::regclass AND collname <> 'default' ORDER BY 1";
    assert_eq!(server.query(kept), ["A b C a name", "now POSIX "]);
    assert_eq!(server.query("SELECT col_description('a'::regclass, 2)"), ["how many"]);
}
