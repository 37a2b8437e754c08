//! Layouts of SQLite databases. Released layouts must remain readable.
#![cfg(feature = "sqlite")]
#![allow(clippy::unwrap_used, reason = "a failed test panics")]

use std::path::Path;

use diesel::connection::SimpleConnection;
use diesel::sql_types::Text;
use diesel::{Connection, QueryableByName, RunQueryDsl, SqliteConnection, sql_query};
use hilcat::{Cache, Column, ColumnType, Schema, Schemas, Value};

#[derive(QueryableByName)]
struct Line {
    #[diesel(sql_type = Text)]
    line: String,
}

/// Returns the lines of a query on a database that has scopes of these schemas.
fn query(schemas: impl IntoIterator<Item = Schema>, sql: &str) -> String {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("t.db");
    let cache = Cache::from_uri(&format!("sqlite:///{}", path.display())).unwrap();
    for schema in schemas {
        cache.dynamic_with(schema).unwrap();
    }
    let mut connection = SqliteConnection::establish(path.to_str().unwrap()).unwrap();
    connection.batch_execute("PRAGMA busy_timeout = 5000").unwrap();
    let lines: Vec<Line> = sql_query(sql).load(&mut connection).unwrap();
    lines.into_iter().map(|line| line.line).collect::<Vec<_>>().join("\n")
}

/// Returns the statement that created the table of a schema.
fn ddl(schema: Schema) -> String {
    query(
        [schema],
        "SELECT sql AS line FROM sqlite_schema WHERE name NOT IN ('hilcat_scopes', '__diesel_schema_migrations') AND sql IS NOT NULL",
    )
}

fn types() -> Vec<(&'static str, ColumnType)> {
    use ColumnType as Ty;
    vec![
        ("bool", Ty::Bool),
        ("smallint", Ty::SmallInt),
        ("int", Ty::Int),
        ("bigint", Ty::BigInt),
        ("ubigint", Ty::UBigInt),
        ("real", Ty::Real),
        ("double", Ty::Double),
        ("decimal", Ty::Decimal { precision: 12, scale: 3 }),
        ("text", Ty::Text),
        ("varchar", Ty::Varchar(50)),
        ("bytes", Ty::Bytes),
        ("json", Ty::Json),
        ("date", Ty::Date),
        ("time", Ty::Time),
        ("timestamp", Ty::Timestamp),
        ("uuid", Ty::Uuid),
    ]
}

#[test]
fn every_type() {
    let schema = types().into_iter().fold(
        Schema::new("a").unique(Column::new("id", ColumnType::Text)),
        |schema, (name, ty)| {
            let null = Column::new(format!("{name}_null"), ty).nullable(true);
            schema.column(Column::new(name, ty)).column(null)
        },
    );
    insta::assert_snapshot!(ddl(schema), @r##"
    CREATE TABLE "a" (
      "id" TEXT NOT NULL,
      "bool" BOOLEAN NOT NULL,
      "bool_null" BOOLEAN,
      "smallint" SMALLINT NOT NULL,
      "smallint_null" SMALLINT,
      "int" INTEGER NOT NULL,
      "int_null" INTEGER,
      "bigint" BIGINT NOT NULL,
      "bigint_null" BIGINT,
      "ubigint" TEXT NOT NULL,
      "ubigint_null" TEXT,
      "real" REAL NOT NULL,
      "real_null" REAL,
      "double" DOUBLE NOT NULL,
      "double_null" DOUBLE,
      "decimal" TEXT NOT NULL,
      "decimal_null" TEXT,
      "text" TEXT NOT NULL,
      "text_null" TEXT,
      "varchar" VARCHAR(50) NOT NULL,
      "varchar_null" VARCHAR(50),
      "bytes" BLOB NOT NULL,
      "bytes_null" BLOB,
      "json" TEXT NOT NULL,
      "json_null" TEXT,
      "date" DATE NOT NULL,
      "date_null" DATE,
      "time" TIME NOT NULL,
      "time_null" TIME,
      "timestamp" TIMESTAMP NOT NULL,
      "timestamp_null" TIMESTAMP,
      "uuid" BLOB NOT NULL,
      "uuid_null" BLOB,
      PRIMARY KEY ("id")
    ) WITHOUT ROWID
    "##);
}

#[test]
fn every_type_as_a_key() {
    let schema = types()
        .into_iter()
        .filter(|(_, ty)| *ty != ColumnType::Json)
        .fold(Schema::new("keys"), |schema, (name, ty)| schema.unique(Column::new(name, ty)));
    insta::assert_snapshot!(ddl(schema), @r##"
    CREATE TABLE "keys" (
      "bool" BOOLEAN NOT NULL,
      "smallint" SMALLINT NOT NULL,
      "int" INTEGER NOT NULL,
      "bigint" BIGINT NOT NULL,
      "ubigint" TEXT NOT NULL,
      "real" REAL NOT NULL,
      "double" DOUBLE NOT NULL,
      "decimal" TEXT NOT NULL,
      "text" TEXT NOT NULL,
      "varchar" VARCHAR(50) NOT NULL,
      "bytes" BLOB NOT NULL,
      "date" DATE NOT NULL,
      "time" TIME NOT NULL,
      "timestamp" TIMESTAMP NOT NULL,
      "uuid" BLOB NOT NULL,
      PRIMARY KEY ("bool", "smallint", "int", "bigint", "ubigint", "real", "double", "decimal", "text", "varchar", "bytes", "date", "time", "timestamp", "uuid")
    ) WITHOUT ROWID
    "##);
}

#[test]
fn every_default() {
    let defaults = [
        Value::Bool(true),
        Value::Int(-32_768),
        Value::Int(0),
        Value::Int(i64::MIN),
        Value::UInt(u64::MAX),
        Value::Float(f64::from(0.1_f32)),
        Value::Float(f64::NEG_INFINITY),
        Value::Decimal("-1.500".into()),
        Value::Text("it's \"a\0b\"".into()),
        Value::Text("it's \"quoted\"\n".into()),
        Value::Bytes(vec![0, 39, 255]),
        Value::Json(Box::new(serde_json::json!({"it's": [1.0, null, "\u{0}"]}))),
        Value::Date(-1),
        Value::Time(86_399_999_999),
        Value::Timestamp(1),
        Value::Uuid(*b"0123456789abcdef"),
    ];
    let schema = types().into_iter().zip(defaults).fold(
        Schema::new("a").unique(Column::new("id", ColumnType::Text)),
        |schema, ((name, ty), default)| schema.column(Column::new(name, ty).default_value(default)),
    );
    insta::assert_snapshot!(ddl(schema), @r##"
    CREATE TABLE "a" (
      "id" TEXT NOT NULL,
      "bool" BOOLEAN NOT NULL DEFAULT 1,
      "smallint" SMALLINT NOT NULL DEFAULT -32768,
      "int" INTEGER NOT NULL DEFAULT 0,
      "bigint" BIGINT NOT NULL DEFAULT -9223372036854775808,
      "ubigint" TEXT NOT NULL DEFAULT '18446744073709551615',
      "real" REAL NOT NULL DEFAULT 0.10000000149011612,
      "double" DOUBLE NOT NULL DEFAULT -9e999,
      "decimal" TEXT NOT NULL DEFAULT '-1.500',
      "text" TEXT NOT NULL DEFAULT (CAST(x'69742773202261006222' AS TEXT)),
      "varchar" VARCHAR(50) NOT NULL DEFAULT 'it''s "quoted"
    ',
      "bytes" BLOB NOT NULL DEFAULT x'0027ff',
      "json" TEXT NOT NULL DEFAULT '{"it''s":[1.0,null,"\u0000"]}',
      "date" DATE NOT NULL DEFAULT '1969-12-31',
      "time" TIME NOT NULL DEFAULT '23:59:59.999999',
      "timestamp" TIMESTAMP NOT NULL DEFAULT '1970-01-01 00:00:00.000001',
      "uuid" BLOB NOT NULL DEFAULT x'30313233343536373839616263646566',
      PRIMARY KEY ("id")
    ) WITHOUT ROWID
    "##);
}

#[test]
fn a_composite_key_in_its_own_order() {
    let schema = Schemas::from_str(
        "[scopes.routes]
         table = \"order\"
         unique_columns = [\"a\", \"b\"]
         columns = [\"b\", \"n\", \"a\"]
         column_types = { n = \"double\", a = \"int\" }",
    );
    let schema = schema.unwrap().get("routes").unwrap().clone();
    insta::assert_snapshot!(ddl(schema), @r##"
    CREATE TABLE "order" (
      "b" TEXT NOT NULL,
      "n" DOUBLE,
      "a" INTEGER NOT NULL,
      PRIMARY KEY ("a", "b")
    ) WITHOUT ROWID
    "##);
}

#[test]
fn odd_names() {
    let schema = Schema::new("odd")
        .table("group by; -- \"x\" 'y' é😀")
        .unique(Column::new("select", ColumnType::Text))
        .column(Column::new("a \"quoted\" name", ColumnType::Text))
        .column(Column::new("it's", ColumnType::Text).nullable(true))
        .column(Column::new("rowid", ColumnType::Int))
        .column(Column::new(" ", ColumnType::Int))
        .column(Column::new("[x]`y`", ColumnType::Int));
    insta::assert_snapshot!(ddl(schema), @r##"
    CREATE TABLE "group by; -- ""x"" 'y' é😀" (
      "select" TEXT NOT NULL,
      "a ""quoted"" name" TEXT NOT NULL,
      "it's" TEXT,
      "rowid" INTEGER NOT NULL,
      " " INTEGER NOT NULL,
      "[x]`y`" INTEGER NOT NULL,
      PRIMARY KEY ("select")
    ) WITHOUT ROWID
    "##);
}

#[test]
fn the_example_scopes() {
    let schemas = Schemas::from_path(Path::new(env!("CARGO_MANIFEST_DIR")).join("../schemas"));
    let all = "SELECT sql AS line FROM sqlite_schema WHERE sql IS NOT NULL ORDER BY name";
    insta::assert_snapshot!(query(schemas.unwrap().iter().cloned(), all), @r##"
    CREATE TABLE __diesel_schema_migrations (
           version VARCHAR(50) PRIMARY KEY NOT NULL,
           run_on TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP
    )
    CREATE TABLE "a" (
      "id" TEXT NOT NULL,
      "name" TEXT,
      "comment" TEXT,
      "count" INTEGER,
      PRIMARY KEY ("id")
    ) WITHOUT ROWID
    CREATE TABLE "airlines" (
      "carrier" VARCHAR(2) NOT NULL,
      "name" TEXT NOT NULL,
      PRIMARY KEY ("carrier")
    ) WITHOUT ROWID
    CREATE TABLE "airports" (
      "faa" VARCHAR(3) NOT NULL,
      "name" TEXT NOT NULL,
      "lat" DOUBLE NOT NULL,
      "lon" DOUBLE NOT NULL,
      "alt" SMALLINT NOT NULL,
      "tz" SMALLINT NOT NULL,
      "dst" VARCHAR(1) NOT NULL,
      "tzone" TEXT,
      PRIMARY KEY ("faa")
    ) WITHOUT ROWID
    CREATE TABLE "d_items" (
      "id1" TEXT NOT NULL,
      "id2" TEXT NOT NULL,
      "value" INTEGER,
      "hilcat_expires_at" TIMESTAMP,
      PRIMARY KEY ("id1", "id2")
    ) WITHOUT ROWID
    CREATE TABLE "flights" (
      "year" SMALLINT NOT NULL,
      "month" SMALLINT NOT NULL,
      "day" SMALLINT NOT NULL,
      "dep_time" SMALLINT,
      "sched_dep_time" SMALLINT NOT NULL,
      "dep_delay" SMALLINT,
      "arr_time" SMALLINT,
      "sched_arr_time" SMALLINT NOT NULL,
      "arr_delay" SMALLINT,
      "carrier" VARCHAR(2) NOT NULL,
      "flight" INTEGER NOT NULL,
      "tailnum" VARCHAR(6),
      "origin" VARCHAR(3) NOT NULL,
      "dest" VARCHAR(3) NOT NULL,
      "air_time" SMALLINT,
      "distance" SMALLINT NOT NULL,
      "hour" SMALLINT NOT NULL,
      "minute" SMALLINT NOT NULL,
      "time_hour" TIMESTAMP NOT NULL,
      PRIMARY KEY ("year", "month", "day", "carrier", "flight", "origin", "dest", "sched_dep_time")
    ) WITHOUT ROWID
    CREATE INDEX "hilcat_ix_3dbd571a59019644" ON "d_items" ("hilcat_expires_at")
    CREATE TABLE hilcat_scopes (
      scope TEXT NOT NULL,
      table_name TEXT NOT NULL,
      fingerprint TEXT NOT NULL,
      definition TEXT NOT NULL,
      PRIMARY KEY (scope)
    ) WITHOUT ROWID
    CREATE TABLE "planes" (
      "tailnum" VARCHAR(6) NOT NULL,
      "year" SMALLINT,
      "type" TEXT NOT NULL,
      "manufacturer" TEXT NOT NULL,
      "model" TEXT NOT NULL,
      "engines" SMALLINT NOT NULL,
      "seats" SMALLINT NOT NULL,
      "speed" SMALLINT,
      "engine" TEXT NOT NULL,
      PRIMARY KEY ("tailnum")
    ) WITHOUT ROWID
    "##);
}

#[test]
fn a_map() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("t.db");
    let cache = Cache::from_uri(&format!("sqlite:///{}", path.display())).unwrap();
    cache.map::<(String, i32), Option<f64>>("d").unwrap();
    let mut connection = SqliteConnection::establish(path.to_str().unwrap()).unwrap();
    connection.batch_execute("PRAGMA busy_timeout = 5000").unwrap();
    let sql = sql_query("SELECT sql AS line FROM sqlite_schema WHERE name = 'd'");
    let ddl: Line = sql.get_result(&mut connection).unwrap();
    insta::assert_snapshot!(ddl.line, @r##"
    CREATE TABLE "d" (
      "key1" TEXT NOT NULL,
      "key2" INTEGER NOT NULL,
      "value" DOUBLE,
      PRIMARY KEY ("key1", "key2")
    ) WITHOUT ROWID
    "##);
}

#[test]
fn the_registry() {
    let schemas = || {
        let a = Schema::new("a")
            .table("articles")
            .unique(Column::new("id", ColumnType::Text))
            .column(Column::new("count", ColumnType::Int).default_value(7_i32).was("n"));
        let d = Schema::new("d")
            .unique(Column::new("k1", ColumnType::Int).key_only())
            .unique(Column::new("k2", ColumnType::Uuid).key_only())
            .column(Column::new("value", ColumnType::Json).nullable(true))
            .shape(hilcat::Shape::Json)
            .ttl(std::time::Duration::from_secs(3600));
        [a, d]
    };
    let rows = "SELECT scope || ' | ' || table_name || ' | ' || fingerprint || char(10) || definition AS line FROM hilcat_scopes ORDER BY scope";
    insta::assert_snapshot!(query(schemas(), rows), @r##"
    a | articles | ab2240ffe8994f9f
    [scopes.a]
    table = "articles"
    unique_column = "id"
    columns = ["id", "count"]
    column_types = { count = "int" }
    not_null = ["count"]
    defaults = { count = 7 }
    was = { count = "n" }

    d | d | bb0a92c319b57a82, expiry
    [scopes.d]
    unique_columns = ["k1", "k2"]
    columns = ["value"]
    column_types = { k1 = "int", k2 = "uuid" }
    value = "json"
    ttl = "1h"
    "##);
    let versions = "SELECT version AS line FROM __diesel_schema_migrations ORDER BY version";
    insta::assert_snapshot!(query(schemas(), versions), @r##"
    0hilcataf3f3aa865e0387e000001
    0hilcataf63d94c8601e773000001
    0hilcatregistry000001
    "##);
}
