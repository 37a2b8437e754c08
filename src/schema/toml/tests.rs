//! Reading and writing schemas, and the round trip.

use std::time::Duration;

use super::*;
use crate::{Column, ColumnType, Migrate, Shape, Value};

fn error(text: &str) -> String {
    Schemas::from_str(text).unwrap_err().to_string()
}

#[test]
fn omitted_keys_have_defaults() {
    let schemas = Schemas::from_str("[scopes.a]").unwrap();
    let data = Column::new("data", ColumnType::Text).nullable(true);
    let expected = Schema::new("a")
        .unique(Column::new("id", ColumnType::Text).key_only())
        .column(data)
        .shape(Shape::Single);
    assert_eq!(schemas.get("a"), Some(&expected));
}

#[test]
fn undeclared_unique_columns_come_first() {
    let text = "[scopes.a]\nuniq_columns = ['k', 'b', 'j']\ncolumns = ['a', 'b']\n";
    let schemas = Schemas::from_str(text).unwrap();
    let schema = schemas.get("a").unwrap();
    let names: Vec<&str> = schema.columns.iter().map(|column| column.name.as_str()).collect();
    assert_eq!(names, ["k", "j", "a", "b"]);
    assert_eq!(schema.key, [0, 3, 1]);
    assert_eq!(schema.shape, Shape::Record);
}

#[test]
fn the_shape_is_named_or_follows_from_the_columns() {
    let shape = |rest: &str| {
        let schemas = Schemas::from_str(&format!("[scopes.a]\n{rest}")).unwrap();
        schemas.get("a").unwrap().shape
    };
    assert_eq!(shape("columns = ['v']"), Shape::Single);
    assert_eq!(shape("columns = ['id']"), Shape::Record);
    assert_eq!(shape("columns = ['v']\nvalue = 'record'"), Shape::Record);
    assert_eq!(shape("columns = ['v', 'w']\nvalue = 'immutable'"), Shape::Record);
    assert_eq!(shape("columns = ['v']\nvalue = 'immutable'"), Shape::Record);
    assert_eq!(shape("columns = ['v', 'w']\nvalue = 'list'"), Shape::Tuple);
    assert_eq!(shape("value = 'json'"), Shape::Json);
}

#[test]
fn columns_of_json_values_are_json() {
    let types = |rest: &str| {
        let text = format!("[scopes.a]\nvalue = 'json'\ncolumns = ['id', 'v', 'w']\n{rest}");
        let schemas = Schemas::from_str(&text).unwrap();
        let columns = &schemas.get("a").unwrap().columns;
        columns.iter().map(|column| column.ty.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(types(""), ["text", "json", "json"]);
    assert_eq!(types("column_types = { v = 'int' }"), ["text", "int", "json"]);
    assert_eq!(types("default_column_type = 'bigint'"), ["bigint", "bigint", "bigint"]);
}

#[test]
fn defaults_are_read_by_the_type_of_their_column() {
    let text = r#"
            [scopes.a]
            columns = ["id", "n", "big", "f", "b", "d", "at", "raw", "tags", "price"]
            defaults.n = 7
            defaults.big = "18446744073709551615"
            defaults.f = 2
            defaults.b = true
            defaults.d = 2013-01-31
            defaults.at = 2013-01-31T05:15:00Z
            defaults.raw = "AAE="
            defaults.tags = '["new", null]'
            defaults.price = "9.5"
            [scopes.a.column_types]
            n = "smallint"
            big = "ubigint"
            f = "double"
            b = "bool"
            d = "date"
            at = "timestamp"
            raw = "bytes"
            tags = "json"
            price = "decimal(6,2)"
        "#;
    let schemas = Schemas::from_str(text).unwrap();
    let defaults = schemas.get("a").unwrap().columns.iter().map(|column| column.default.clone());
    let expected = [
        Value::Int(7),
        Value::UInt(u64::MAX),
        Value::Float(2.0),
        Value::Bool(true),
        Value::Date(15_736),
        Value::Timestamp(1_359_609_300_000_000),
        Value::Bytes(vec![0, 1]),
        Value::Json(Box::new(serde_json::json!(["new", null]))),
        Value::Decimal("9.50".into()),
    ];
    assert_eq!(defaults.flatten().collect::<Vec<_>>(), expected);
    assert_eq!(schemas.to_string().parse::<Schemas>().unwrap(), schemas);
}

#[test]
fn a_schema_is_written_without_defaults() {
    let schema = Schema::new("a")
        .unique(Column::new("id", ColumnType::Text))
        .column(Column::new("name", ColumnType::Varchar(9)).was("title"))
        .column(Column::new("n", ColumnType::Int).nullable(true).default_value(0))
        .ttl(Duration::from_secs(5400))
        .migrate(Migrate::Manual);
    let text = "\
[scopes.a]
unique_column = \"id\"
columns = [\"id\", \"name\", \"n\"]
column_types = { name = \"varchar(9)\", n = \"int\" }
not_null = [\"name\"]
defaults = { n = 0 }
was = { name = \"title\" }
ttl = \"1h30m\"
migrate = \"manual\"
";
    assert_eq!(schema.to_toml(), text);
    assert_eq!(Schemas::from_str(text).unwrap().get("a"), Some(&schema));
}

#[test]
fn an_error_names_its_place() {
    assert_eq!(
        error("\n[scopes.a]\n  colums = ['x']"),
        "3:3: unknown key `colums`; the keys of a scope are table, unique_column, \
             unique_columns, columns, column_types, default_column_type, value, not_null, \
             defaults, was, ttl, stale_while_revalidate, stale_if_error, jitter, negative_ttl, \
             expires_at, max_records, auto_purge, single_flight, lease, on_unavailable, migrate, \
             dropped, keep; did you mean `columns`?"
    );
    assert_eq!(
        error("[scopes.'é']\ntable = 'é'\n[scopes.b]\n'é' = 1\n").split(';').next(),
        Some("4:1: unknown key `é`")
    );
    assert!(
        error("[scopes.a]\ntable = 'a").starts_with("2:"),
        "{}",
        error("[scopes.a]\ntable = 'a")
    );
}

#[test]
fn an_error_names_the_type_of_a_value() {
    let kind =
        |rest: &str| error(&format!("[scopes.a]\n{rest}")).split(';').next().map(str::to_owned);
    let names = |place: &str, ty: &str| Some(format!("{place}: `columns` is of type {ty}"));
    assert_eq!(kind("columns = {}"), names("2:11", "inline table"));
    assert_eq!(kind("columns.x = 1"), names("2:1", "table"));
    assert_eq!(kind("[[scopes.a.columns]]"), names("2:1", "array of tables"));
    assert_eq!(kind("columns = [['x']]"), names("2:11", "array"));
    assert_eq!(
        kind("max_records = 0x8000000000000000"),
        Some("2:15: integer number overflowed".into())
    );
    assert_eq!(kind("jitter = 1e999"), Some("2:10: floating-point number overflowed".into()));
}

#[test]
fn dropped_and_kept_columns_are_not_declared() {
    let text = "[scopes.a]\nunique_column = \"id\"\ncolumns = [\"v\"]\ndropped = [\"old\", \"x\"]\nkeep = [\"y\"]\n";
    let schemas = Schemas::from_str(text).unwrap();
    let schema = schemas.get("a").unwrap();
    assert_eq!(
        (&*schema.dropped, &*schema.keep),
        (&["old".into(), "x".into()][..], &["y".into()][..])
    );
    assert_eq!(schema.to_toml(), text);
    assert_eq!(
        error("[scopes.a]\ncolumns = ['v']\ndropped = ['v']"),
        "3:12: `dropped` names the column `v`, which is declared"
    );
    assert!(error("[scopes.a]\nkeep = ['x', 'x']").contains("duplicate column `x`"));
    assert!(error("[scopes.a]\nkeep = ['x']\ndropped = ['x']").contains("only once"));
    assert!(error("[scopes.a]\nkeep = ['x']\nwas = { data = 'x' }").contains("it is renamed"));
    assert!(error("[scopes.a]\ndropped = ['id']").contains("which is declared"));
}
