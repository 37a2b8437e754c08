//! Layouts of tables. Released layouts must remain readable.

use std::time::Instant;

use hilcat::{Cache, Column, ColumnType, ErrorKind, Schema, Value};
use serde_json::json;

use crate::Test;
use crate::support::{SECOND, Server, int, null, scope, text, types};

pub(crate) const TESTS: &[Test] = &[
    ("the_statement_that_creates_a_table", the_statement_that_creates_a_table),
    ("the_plan_after_an_applied_plan_is_empty", the_plan_after_an_applied_plan_is_empty),
    ("a_key_of_every_type_needs_no_migration", a_key_of_every_type_needs_no_migration),
    ("defaults_are_declared_in_the_table", defaults_are_declared_in_the_table),
    ("columns_are_added_renamed_and_widened", columns_are_added_renamed_and_widened),
    ("any_name_that_fits_works", any_name_that_fits_works),
    ("a_name_that_does_not_fit_is_refused", a_name_that_does_not_fit_is_refused),
    ("migrations_are_recorded", migrations_are_recorded),
    ("a_migration_is_not_bound_by_the_deadline", a_migration_is_not_bound_by_the_deadline),
];

fn the_statement_that_creates_a_table(server: &Server) {
    let schema = types()
        .into_iter()
        .fold(scope([]), |schema, (name, ty)| schema.column(null(Column::new(name, ty))))
        .column(int("n").default_value(7));
    let plan = server.cache().plan(&schema).unwrap();
    let expected = r#"CREATE TABLE "a" (
  "id" text COLLATE "C" NOT NULL,
  "bool" boolean,
  "smallint" smallint,
  "int" integer,
  "bigint" bigint,
  "ubigint" numeric(20,0),
  "real" real,
  "double" double precision,
  "decimal" numeric(10,2),
  "text" text,
  "varchar" varchar(50),
  "bytes" bytea,
  "json" jsonb,
  "date" date,
  "time" time,
  "timestamp" timestamptz,
  "uuid" uuid,
  "n" integer NOT NULL DEFAULT 7,
  "hilcat_whole_1" text CHECK (octet_length("id") < 2048 OR octet_length("id") = 2048 AND "hilcat_whole_1" IS NOT NULL),
  PRIMARY KEY ("id")
)"#;
    assert_eq!(plan.steps[0].sql, [expected]);
}

/// This also holds without the registry, from the table alone.
fn the_plan_after_an_applied_plan_is_empty(server: &Server) {
    let schema = types().into_iter().fold(scope([]), |schema, (name, ty)| {
        schema.column(null(Column::new(name, ty))).column(Column::new(format!("{name}!"), ty))
    });
    let cache = server.cache();
    cache.migrate(&schema).unwrap();
    assert!(cache.plan(&schema).unwrap().is_empty());
    assert!(cache.migrate(&schema).unwrap().is_empty());
    server.run("DELETE FROM hilcat_scopes");
    let plan = server.cache().plan(&schema).unwrap();
    assert!(plan.is_empty(), "{plan}");
}

fn a_key_of_every_type_needs_no_migration(server: &Server) {
    let cache = server.cache();
    for (name, ty) in types().into_iter().filter(|(_, ty)| *ty != ColumnType::Json) {
        let schema = Schema::new(name).unique(Column::new("id", ty)).column(text("v"));
        cache.migrate(&schema).unwrap();
        assert!(cache.plan(&schema).unwrap().is_empty(), "{ty}");
    }
    let keys = server.query(
        "SELECT DISTINCT collname FROM pg_attribute a JOIN pg_class c ON c.oid = attrelid JOIN pg_collation l ON l.oid = attcollation WHERE relnamespace = (SELECT oid FROM pg_catalog.pg_namespace WHERE nspname = current_schema()) AND attname = 'id' AND relkind = 'r'",
    );
    assert_eq!(keys, ["C"]);
}

fn defaults_are_declared_in_the_table(server: &Server) {
    let values = [
        ("bool", Value::Bool(true)),
        ("int", Value::Int(-7)),
        ("double", Value::Float(f64::NEG_INFINITY)),
        ("real", Value::Float(f64::from(0.1_f32))),
        ("text", Value::Text("it's \\ \"quoted\"".into())),
        ("bytes", Value::Bytes(vec![0, 255])),
        ("json", Value::Json(Box::new(json!({"a": [1.0, "'"]})))),
        ("timestamp", Value::Timestamp(-1)),
        ("date", Value::Date(-719_162)),
        ("time", Value::Time(1)),
        ("decimal", Value::Decimal("-1.50".into())),
        ("ubigint", Value::UInt(u64::MAX)),
        ("uuid", Value::Uuid(*b"0123456789abcdef")),
    ];
    let all = types();
    let ty = |name: &str| all.iter().find(|(known, _)| *known == name).unwrap().1;
    let schema = values.iter().fold(scope([null(int("n"))]), |schema, (name, value)| {
        schema.column(Column::new(*name, ty(name)).default_value(value.clone()))
    });
    let a = server.cache().dynamic_with(schema).unwrap();
    server.run("INSERT INTO a (id) VALUES ('by hand')");
    a.set("by hilcat", json!({"n": null})).unwrap();
    let rows: Vec<_> = a.rows().unwrap().map(Result::unwrap).collect();
    for row in rows {
        let expected: Vec<Value> = values.iter().map(|(_, value)| value.clone()).collect();
        assert_eq!(row[2..], expected);
    }
}

fn columns_are_added_renamed_and_widened(server: &Server) {
    let cache = server.cache();
    let old = Schema::new("a")
        .unique(Column::new("id", ColumnType::Varchar(10)))
        .column(Column::new("n", ColumnType::SmallInt))
        .column(text("old"));
    let a = cache.dynamic_with(old).unwrap();
    a.set("x", json!({"n": 1, "old": "o"})).unwrap();
    let renamed = text("new").nullable(true).was("old");
    let new = Schema::new("a")
        .unique(text("id"))
        .column(Column::new("n", ColumnType::BigInt))
        .column(renamed)
        .column(text("added").default_value("d"));
    let plan = cache.plan(&new).unwrap();
    assert!(plan.is_safe(), "{plan}");
    let sql: Vec<&str> = plan.steps.iter().flat_map(|step| &step.sql).map(String::as_str).collect();
    assert_eq!(
        sql,
        [
            r#"ALTER TABLE "a" RENAME COLUMN "old" TO "new""#,
            r#"ALTER TABLE "a" ADD COLUMN "added" text NOT NULL DEFAULT 'd'"#,
            r#"ALTER TABLE "a" ALTER COLUMN "id" TYPE text COLLATE "C", ADD COLUMN "hilcat_whole_1" text CHECK (octet_length("id") < 2048 OR octet_length("id") = 2048 AND "hilcat_whole_1" IS NOT NULL)"#,
            r#"ALTER TABLE "a" ALTER COLUMN "n" TYPE bigint"#,
            r#"ALTER TABLE "a" ALTER COLUMN "new" DROP NOT NULL"#,
        ]
    );
    let newer = server.cache().dynamic_with(new.clone()).unwrap();
    assert!(cache.plan(&new).unwrap().is_empty());
    let record = json!({"id": "x", "n": 1, "new": "o", "added": "d"});
    assert_eq!(newer.fetch("x").unwrap(), Some(record));
    // The older handle has prepared statements for the previous table, in which `n` had 16 bits.
    let error = a.fetch("x").unwrap_err();
    assert!(error.to_string().contains("old"), "{error}");
}

fn any_name_that_fits_works(server: &Server) {
    let cache = server.cache();
    let names =
        ["select", "Mixed", "a b", "a\"b", "a'b", "$1", "é", "x;--", "excluded", "hilcat_new"];
    let long = "n".repeat(63);
    for name in names.into_iter().chain([long.as_str()]) {
        let schema = Schema::new(name).unique(text("id")).column(int(name)).column(int("v"));
        let a = cache.dynamic_with(schema.clone()).unwrap();
        let record = |n: i32| json!({"id": "x", name: n, "v": n});
        a.set("x", record(1)).unwrap();
        a.set("x", json!({"v": 2})).unwrap();
        assert_eq!(a.fetch("x").unwrap(), Some(json!({"id": "x", name: 1, "v": 2})), "{name}");
        if name != "hilcat_new" {
            assert!(a.update("x", record(3)).unwrap().is_some(), "{name}");
        }
        a.set_many([("y", json!({name: 4, "v": 4}))]).unwrap();
        assert_eq!(a.pop_many(["y", "x"]).unwrap().iter().flatten().count(), 2, "{name}");
        assert!(cache.plan(&schema).unwrap().is_empty(), "{name}");
    }
}

fn a_name_that_does_not_fit_is_refused(server: &Server) {
    let cache = server.cache();
    let long = "é".repeat(32);
    for (schema, part) in [
        (Schema::new(&long).unique(text("id")).column(text("v")), "64 bytes"),
        (scope([text(&long)]), "64 bytes"),
        (scope([text("a\0b")]), "NUL"),
        (scope([text("xmin")]), "system column"),
        (scope([text("hilcat_whole_2")]), "reserved for long keys"),
        (scope([Column::new("v", ColumnType::Varchar(10_485_761))]), "10485760"),
    ] {
        let error = cache.dynamic_with(schema).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
        assert!(error.to_string().contains(part), "{error}");
    }
    assert_eq!(
        server.query(
            "SELECT count(*) FROM pg_class WHERE relnamespace = (SELECT oid FROM pg_catalog.pg_namespace WHERE nspname = current_schema())"
        ),
        ["0"]
    );
}

fn migrations_are_recorded(server: &Server) {
    let cache = server.cache();
    cache.dynamic_with(scope([int("n")])).unwrap();
    cache.dynamic_with(scope([int("n"), null(int("m"))])).unwrap();
    let versions = server.query("SELECT version FROM __diesel_schema_migrations ORDER BY 1");
    assert_eq!(versions.len(), 3, "{versions:?}");
    assert_eq!(versions[2], "0hilcatregistry000001");
    assert!(versions[1].ends_with("000002") && versions[1].len() <= 50, "{versions:?}");
}

/// The deadline bounds the wait for locks, but not the time of rewriting a large table.
fn a_migration_is_not_bound_by_the_deadline(server: &Server) {
    let of = |ty| scope([Column::new("n", ty)]);
    let a = server.cache().dynamic_with(of(ColumnType::Int)).unwrap();
    a.set("x", json!({"n": 1})).unwrap();
    server.run(
        "CREATE FUNCTION slow(bigint) RETURNS bigint LANGUAGE plpgsql IMMUTABLE AS 'BEGIN PERFORM pg_sleep(2); RETURN $1; END';
         CREATE INDEX ON a (slow(n));",
    );
    let open = || {
        let cache = Cache::from_uri(&server.with("timeout=1s&connect_timeout=5s")).unwrap();
        cache.dynamic_with(of(ColumnType::BigInt))
    };
    let (sql, start) = (server.sql(), Instant::now());
    sql.run("BEGIN; SELECT FROM a");
    let error = open().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout, "{error}");
    assert!(start.elapsed() < SECOND * 5, "{:?}", start.elapsed());
    sql.run("ROLLBACK");
    let start = Instant::now();
    let a = open().unwrap();
    assert!(start.elapsed() > SECOND * 2, "{:?}", start.elapsed());
    // Later calls have their usual limits.
    assert_eq!(a.fetch("x").unwrap(), Some(json!({"id": "x", "n": 1})));
    let error = a.set("y", json!({"n": 2})).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout, "{error}");
}
