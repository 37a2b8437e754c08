//! Converts between the JSON values of dynamic scopes and rows.

use serde_json::{Map, Value as Json};

use crate::schema::Shape;
use crate::{Column, ColumnType, Error, Key, Result, Row, Schema, Value, json};

/// Builds the row of a key and a JSON value; columns that the value does not name are absent.
pub(super) fn row_of(schema: &Schema, key: &Key, value: Json) -> Result<Row> {
    let mut row: Row = vec![Value::Absent; schema.columns.len()];
    for (&at, value) in schema.key.iter().zip(key.values()) {
        row[at] = value.clone();
    }
    match schema.shape {
        Shape::Record => fill_record(schema, &mut row, value)?,
        Shape::Tuple => fill_tuple(schema, &mut row, value)?,
        Shape::Single => fill_first(schema, &mut row, value)?,
        Shape::Json if schema.value_columns().count() == 1 => fill_first(schema, &mut row, value)?,
        Shape::Json => fill_record(schema, &mut row, value)?,
    }
    Ok(row)
}

fn fill_record(schema: &Schema, row: &mut Row, value: Json) -> Result<()> {
    let Json::Object(map) = value else {
        return Err(Error::invalid_input(format!(
            "expected an object of the scope's columns, found {}",
            json::kind(&value)
        )));
    };
    for (name, value) in map {
        let at = schema.position(&name)?;
        fill(schema, row, at, value)?;
    }
    Ok(())
}

fn fill_tuple(schema: &Schema, row: &mut Row, value: Json) -> Result<()> {
    let columns: Vec<usize> = schema.value_columns().map(|(at, _)| at).collect();
    match value {
        Json::Array(items) if items.len() <= columns.len() => {
            columns.into_iter().zip(items).try_for_each(|(at, item)| fill(schema, row, at, item))
        }
        Json::Array(items) => Err(Error::invalid_input(format!(
            "the array has {} items for {} columns",
            items.len(),
            columns.len()
        ))),
        other => Err(Error::invalid_input(format!(
            "expected an array of the columns' values, found {}",
            json::kind(&other)
        ))),
    }
}

fn fill_first(schema: &Schema, row: &mut Row, value: Json) -> Result<()> {
    match schema.value_columns().next() {
        Some((at, _)) => fill(schema, row, at, value),
        None => Err(Error::invalid_schema("the scope has no column for a value")),
    }
}

/// Sets a column of a row. The value of a key column must equal that of the key.
fn fill(schema: &Schema, row: &mut Row, at: usize, value: Json) -> Result<()> {
    let column = &schema.columns[at];
    let value = match is_json_as_text(schema, at) {
        true => column.coerce(Value::Text(value.to_string()))?,
        false => column_value(column, value)?,
    };
    if schema.is_key(at) && !value.same(&row[at]) {
        return Err(Error::invalid_input(
            "the key column of the value differs from the key of the call",
        )
        .with_column(&column.name));
    }
    row[at] = value;
    Ok(())
}

fn column_value(column: &Column, value: Json) -> Result<Value> {
    let value = match (column.ty, value) {
        // In a JSON column that can be NULL, JSON's null is NULL.
        (ColumnType::Json, Json::Null) if column.nullable => Value::Null,
        (ty, value) => {
            json::to_value(value, ty).map_err(|error| error.with_column(&column.name))?
        }
    };
    column.coerce(value)
}

/// Returns whether a column stores JSON as text, as text columns do with [`Shape::Json`].
fn is_json_as_text(schema: &Schema, at: usize) -> bool {
    let of_text = matches!(schema.columns[at].ty, ColumnType::Text | ColumnType::Varchar(_));
    schema.shape == Shape::Json && of_text && !schema.is_key(at)
}

pub(super) fn value_json(schema: &Schema, row: Row) -> Result<Json> {
    let values = row.into_iter().enumerate().filter(|(at, _)| schema.columns[*at].in_value);
    let mut values = values.map(|(at, value)| {
        let name = &schema.columns[at].name;
        match value {
            Value::Text(text) if is_json_as_text(schema, at) => {
                let json = json::parse(&text).map_err(|error| {
                    let message = format!("the stored text cannot be read: {}", error.message());
                    Error::invalid_data(message).with_scope(&schema.name).with_column(name)
                });
                Ok((name, json?))
            }
            value => Ok((name, json::from_value(value))),
        }
    });
    let bare = match schema.shape {
        Shape::Single => true,
        Shape::Json => schema.value_columns().count() == 1,
        _ => false,
    };
    if bare {
        return values.next().map_or(Ok(Json::Null), |value| Ok(value?.1));
    }
    match schema.shape {
        Shape::Tuple => values.map(|value| Ok(value?.1)).collect::<Result<_>>().map(Json::Array),
        _ => {
            let fields = values.map(|value| value.map(|(name, value)| (name.clone(), value)));
            Ok(Json::Object(fields.collect::<Result<Map<_, _>>>()?))
        }
    }
}

/// Converts a key: one of a single column to its value, one of several columns to an array.
pub(super) fn key_json(key: Key) -> Json {
    let mut values: Vec<Json> = key.into_values().map(json::from_value).collect();
    match values.len() {
        1 => values.remove(0),
        _ => Json::Array(values),
    }
}
