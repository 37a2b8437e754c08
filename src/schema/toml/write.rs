//! Writes schemas as TOML.

use std::collections::BTreeMap;

use toml::{Table, Value as Toml};

use crate::{Column, ColumnType, Migrate, Schema, Shape, Value, text};

/// Returns a document with these schemas.
pub(super) fn document<'a>(schemas: impl IntoIterator<Item = &'a Schema>) -> String {
    schemas.into_iter().map(scope).collect::<Vec<_>>().join("\n")
}

fn scope(schema: &Schema) -> String {
    let header = BTreeMap::from([("scopes", BTreeMap::from([(&schema.name, Table::new())]))]);
    let mut text = toml::to_string(&header).unwrap_or_default();
    // The serializer writes each table below a header of its own, but values are inline.
    let mut put = |key: &str, value: Toml| text.extend([key, " = ", &value.to_string(), "\n"]);
    if schema.table != schema.name {
        put("table", schema.table.as_str().into());
    }
    let unique: Vec<&str> = schema.key_columns().map(|column| column.name.as_str()).collect();
    match unique[..] {
        [one] => put("unique_column", one.into()),
        _ => put("unique_columns", unique.into()),
    }
    let declared = schema.value_columns().map(|(_, column)| column.name.as_str());
    put("columns", Vec::from_iter(declared).into());
    let columns = || schema.columns.iter().enumerate();
    let types = columns().filter(|(at, column)| column.ty != default_type(schema, *at));
    put_table(&mut put, "column_types", types, |column| Some(column.ty.to_string().into()));
    if let Some(value) = value(schema) {
        put("value", value.into());
    }
    let not_null = columns().filter(|(at, column)| !column.nullable && !schema.is_key(*at));
    let not_null = Vec::from_iter(not_null.map(|(_, column)| column.name.as_str()));
    if !not_null.is_empty() {
        put("not_null", not_null.into());
    }
    put_table(&mut put, "defaults", columns(), |column| column.default.as_ref().map(default));
    put_table(&mut put, "was", columns(), |column| column.was.as_deref().map(Toml::from));
    for (name, text) in schema.freshness.words() {
        put(name, option(name, text));
    }
    match schema.migrate {
        Migrate::Safe => {}
        Migrate::Recreate => put("migrate", "recreate".into()),
        Migrate::Manual => put("migrate", "manual".into()),
    }
    for (key, columns) in [("dropped", &schema.dropped), ("keep", &schema.keep)] {
        if !columns.is_empty() {
            put(key, columns.clone().into());
        }
    }
    text
}

/// Returns the value of an option, as a number if it is one.
fn option(name: &str, text: String) -> Toml {
    let number = match name {
        "jitter" => text.parse::<f64>().ok().map(Toml::from),
        "max_records" => text.parse::<i64>().ok().map(Toml::from),
        _ => None,
    };
    number.unwrap_or_else(|| text.into())
}

/// Writes a table of a property of columns by name, unless no column has it.
fn put_table<'a>(
    put: &mut impl FnMut(&str, Toml),
    key: &str,
    columns: impl Iterator<Item = (usize, &'a Column)>,
    of: impl Fn(&Column) -> Option<Toml>,
) {
    let values = columns.filter_map(|(_, column)| Some((column.name.clone(), of(column)?)));
    let table = Table::from_iter(values);
    if !table.is_empty() {
        put(key, table.into());
    }
}

/// Returns the type of a column that is not in `column_types`.
fn default_type(schema: &Schema, at: usize) -> ColumnType {
    match schema.shape == Shape::Json && !schema.is_key(at) {
        true => ColumnType::Json,
        false => ColumnType::Text,
    }
}

/// Returns the name of the shape, unless it is the default for these columns.
fn value(schema: &Schema) -> Option<&'static str> {
    let mut columns = schema.value_columns();
    let single = match (columns.next(), columns.next()) {
        (Some((at, _)), None) => !schema.is_key(at),
        _ => false,
    };
    match schema.shape {
        Shape::Record if single => Some("record"),
        Shape::Single if !single => Some("single"),
        Shape::Record | Shape::Single => None,
        Shape::Tuple => Some("tuple"),
        Shape::Json => Some("json"),
    }
}

/// Returns a default as a TOML value: natively if TOML has the type, and else as text.
fn default(value: &Value) -> Toml {
    match value {
        Value::Bool(value) => (*value).into(),
        Value::Int(value) => (*value).into(),
        Value::Float(value) => (*value).into(),
        Value::UInt(value) if i64::try_from(*value).is_ok() => (*value as i64).into(),
        other => text::from_value(other).into_owned().into(),
    }
}
