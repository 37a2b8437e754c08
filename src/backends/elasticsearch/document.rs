//! Conversion between rows and the sources of documents, which are JSON objects with a member for
//! each column.
//!
//! Numbers, booleans and JSON are written as JSON values, bytes as base64. Floats without a JSON
//! number are `"NaN"`, `"Infinity"` and `"-Infinity"`. Decimals, dates, times and uuids are
//! strings.

use std::collections::BTreeMap;

use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::Value as Json;
use serde_json::value::RawValue;

use super::target::{LEASE, Target, UNTIL, VACANT};
use crate::{Column, ColumnType, Error, ErrorKind, Key, Result, Row, Schema, Value, json, text};

/// The maximum nesting of JSON values that can be read back.
const MAX_DEPTH: usize = 120;

/// The members of a source, as raw JSON.
type Members<'a> = BTreeMap<String, &'a RawValue>;

/// Checks that Elasticsearch can store a row.
///
/// # Errors
///
/// [`ErrorKind::Unsupported`], naming the column.
pub(super) fn check(row: &[Value], schema: &Schema) -> Result<()> {
    for (value, column) in row.iter().zip(&schema.columns) {
        if let Value::Json(json) = value
            && is_deeper(json, MAX_DEPTH)
        {
            let message = format!("the JSON is nested more than {MAX_DEPTH} deep");
            return Err(Error::unsupported(message).with_column(&column.name));
        }
    }
    Ok(())
}

fn is_deeper(json: &Json, limit: usize) -> bool {
    let Some(left) = limit.checked_sub(1) else { return json.is_array() || json.is_object() };
    match json {
        Json::Array(items) => items.iter().any(|item| is_deeper(item, left)),
        Json::Object(map) => map.values().any(|item| is_deeper(item, left)),
        _ => false,
    }
}

/// Whether a row has a JSON object, which an update would merge into the stored object instead of
/// replacing it.
pub(super) fn has_object(row: &[Value]) -> bool {
    row.iter().any(|value| matches!(value, Value::Json(json) if json.is_object()))
}

/// Returns the source for a row, without its absent columns.
pub(super) fn write(row: &[Value], target: &Target) -> Result<String> {
    to_text(&Source { row, target, rest: None })
}

/// Returns the members to merge into a document that may be a placeholder, which they turn into a
/// record.
pub(super) fn write_merged(row: &[Value], target: &Target) -> Result<String> {
    let null = RawValue::from_string("null".to_owned()).ok();
    let rest = null.as_deref().filter(|_| target.leases);
    let rest = rest.map(|null| [LEASE, VACANT].map(|name| (name.to_owned(), null)).into());
    to_text(&Source { row, target, rest })
}

/// Returns the source for a row written over a stored document. Absent columns and unknown members
/// are taken from the stored document.
pub(super) fn write_over(row: &[Value], old: &RawValue, target: &Target) -> Result<String> {
    let mut rest = members(old)?;
    if target.leases {
        // A write ends the lease.
        rest.retain(|name, _| ![LEASE, UNTIL, VACANT].contains(&name.as_str()));
    }
    for (_, field) in present_fields(row, target) {
        rest.remove(field);
    }
    to_text(&Source { row, target, rest: Some(rest) })
}

fn to_text(source: &Source<'_>) -> Result<String> {
    to_json(source)
}

fn to_json(source: &impl Serialize) -> Result<String> {
    serde_json::to_string(source).map_err(|error| {
        Error::new(ErrorKind::Backend, format!("the record cannot be written as JSON: {error}"))
    })
}

struct Source<'a> {
    row: &'a [Value],
    target: &'a Target,
    rest: Option<Members<'a>>,
}

impl Serialize for Source<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        for (value, field) in present_fields(self.row, self.target) {
            map.serialize_entry(field, &Member(value))?;
        }
        for (field, value) in self.rest.iter().flatten() {
            map.serialize_entry(field, value)?;
        }
        map.end()
    }
}

/// Returns the present columns of a row with the names of their fields. In an index of another
/// program, a column of the key may be stored in the id only.
fn present_fields<'a>(
    row: &'a [Value],
    target: &'a Target,
) -> impl Iterator<Item = (&'a Value, &'a str)> {
    let fields = row.iter().zip(&target.fields);
    let fields = fields.filter(|(value, field)| !value.is_absent() && !field.in_id_alone);
    fields.map(|(value, field)| (value, field.name.as_str()))
}

/// A value as a member of a source.
pub(super) struct Member<'a>(pub(super) &'a Value);

impl Serialize for Member<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Value::Absent | Value::Null => serializer.serialize_unit(),
            Value::Bool(v) => serializer.serialize_bool(*v),
            Value::Int(v) => serializer.serialize_i64(*v),
            Value::UInt(v) => serializer.serialize_u64(*v),
            Value::Float(v) if v.is_finite() => serializer.serialize_f64(*v),
            Value::Json(v) => v.serialize(serializer),
            other => serializer.serialize_str(&text::from_value(other)),
        }
    }
}

fn members(source: &RawValue) -> Result<Members<'_>> {
    serde_json::from_str(source.get())
        .map_err(|error| Error::invalid_data(format!("the document: {}", json::describe(&error))))
}

/// Reads the row of a document.
///
/// # Errors
///
/// [`ErrorKind::InvalidData`], naming the column, if the document does not match the schema.
pub(super) fn read(id: &str, source: &RawValue, schema: &Schema, target: &Target) -> Result<Row> {
    let members = members(source)?;
    let columns = schema.columns.iter().zip(&target.fields).enumerate();
    let read = |(at, (column, field)): (usize, (&Column, &super::target::Field))| {
        let found = members.get(&field.name).map(|raw| decode(raw.get(), column));
        match found {
            _ if target.foreign && schema.is_key(at) => from_id(id, found, column),
            Some(found) => found,
            None => missing(field.fill.as_ref(), column),
        }
        .map_err(|error| error.with_column(&column.name))
    };
    columns.map(read).collect()
}

/// Reads the key of a document, whose source needs only the fields of the key.
///
/// # Errors
///
/// As [`read`].
pub(super) fn read_key(
    id: &str,
    source: Option<&RawValue>,
    schema: &Schema,
    target: &Target,
) -> Result<Key> {
    let members = source.map(members).transpose()?.unwrap_or_default();
    let value = |at: &usize| {
        let (column, field) = (&schema.columns[*at], &target.fields[*at]);
        match (target.foreign, members.get(&field.name)) {
            (true, _) => from_id(id, None, column),
            (false, Some(raw)) => decode(raw.get(), column),
            (false, None) => missing(None, column),
        }
        .map_err(|error| error.with_column(&column.name))
    };
    Ok(Key::new(schema.key.iter().map(value).collect::<Result<Vec<_>>>()?))
}

/// Reads the expiry of a document.
///
/// # Errors
///
/// [`ErrorKind::InvalidData`], naming the column, if it is not a timestamp.
pub(super) fn expiry(source: &RawValue, column: &Column, field: &str) -> Result<Option<i64>> {
    let members = members(source)?;
    let value = members.get(field).map(|raw| decode(raw.get(), column)).transpose();
    match value.map_err(|error| error.with_column(&column.name))? {
        Some(Value::Timestamp(expires)) => Ok(Some(expires)),
        _ => Ok(None),
    }
}

/// Whether a document is a placeholder: it lacks the key, which every record has.
pub(super) fn is_vacant(source: &RawValue, schema: &Schema, target: &Target) -> Result<bool> {
    let key = schema.key.first().map(|&at| &target.fields[at].name);
    let has = |key: &String| members(source).map(|members| members.contains_key(key));
    Ok(target.leases && !key.map_or(Ok(true), has)?)
}

/// Returns a source with these members added or replaced.
pub(super) fn with_members(source: &RawValue, new: &[(&str, Json)]) -> Result<String> {
    let new: Vec<(String, Box<RawValue>)> = new
        .iter()
        .filter_map(|(name, value)| {
            Some(((*name).to_owned(), serde_json::value::to_raw_value(value).ok()?))
        })
        .collect();
    let mut all = members(source)?;
    all.extend(new.iter().map(|(name, value)| (name.clone(), &**value)));
    to_json(&all)
}

/// Returns a source without these members.
pub(super) fn without_members(source: &RawValue, names: &[&str]) -> Result<String> {
    let mut all = members(source)?;
    all.retain(|name, _| !names.contains(&name.as_str()));
    to_json(&all)
}

/// Returns the value of a column that a document lacks.
fn missing(fill: Option<&Value>, column: &Column) -> Result<Value> {
    match fill {
        Some(fill) => Ok(fill.clone()),
        None if column.nullable => Ok(Value::Null),
        None => Err(Error::invalid_data(
            "the stored document lacks this column, which has no default and cannot be NULL",
        )),
    }
}

/// Reads a key column of another program's document from its id, which the source must not
/// contradict.
fn from_id(id: &str, found: Option<Result<Value>>, column: &Column) -> Result<Value> {
    let value = text::to_value(id, column.ty).map_err(|_| {
        Error::invalid_data(format!("the id of the stored document is not of type {}", column.ty))
    })?;
    match found.transpose()? {
        Some(found) if !found.same(&value) => {
            Err(Error::invalid_data("the stored document has another value than its id"))
        }
        _ => Ok(value),
    }
}

/// Reads a member of a source.
///
/// # Errors
///
/// [`ErrorKind::InvalidData`] if it is not of the column's type.
pub(super) fn decode(raw: &str, column: &Column) -> Result<Value> {
    let value = parse(raw, column).and_then(|json| match (json, column.ty) {
        (Json::Null, ColumnType::Json) if !column.nullable => Ok(Json::Null.into()),
        (Json::Null, _) => Ok(Value::Null),
        (Json::String(text), ColumnType::Bytes) => text::bytes_from_base64(&text).map(Value::Bytes),
        (Json::String(text), ColumnType::Real | ColumnType::Double) => no_number(&text),
        (json, ty) => json::to_value(json, ty),
    });
    let checked = value.and_then(|value| {
        column.check(&value)?;
        Ok(value)
    });
    checked.map_err(|error| {
        Error::invalid_data(format!(
            "the stored document has an invalid value: {}",
            error.message()
        ))
    })
}

fn parse(raw: &str, column: &Column) -> Result<Json> {
    match column.ty {
        ColumnType::Json => json::parse(raw),
        _ => {
            serde_json::from_str(raw).map_err(|error| Error::invalid_input(json::describe(&error)))
        }
    }
}

fn no_number(text: &str) -> Result<Value> {
    match text {
        "NaN" => Ok(Value::Float(f64::NAN)),
        "Infinity" => Ok(Value::Float(f64::INFINITY)),
        "-Infinity" => Ok(Value::Float(f64::NEG_INFINITY)),
        _ => Err(Error::invalid_input("expected a number, found a string")),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::backends::elasticsearch::target::Field;

    fn raw(json: &Json) -> Box<RawValue> {
        RawValue::from_string(json.to_string()).unwrap()
    }

    fn target(schema: &Schema, foreign: bool) -> Target {
        let field = |column: &Column| Field {
            name: column.name.clone(),
            fill: None,
            in_id_alone: foreign && !column.in_value,
        };
        Target::new("a".into(), schema.columns.iter().map(field).collect(), foreign)
    }

    fn schema() -> Schema {
        Schema::new("a")
            .unique(Column::new("id", ColumnType::Text))
            .column(Column::new("n", ColumnType::Int).nullable(true))
            .column(Column::new("j", ColumnType::Json).nullable(true))
    }

    #[test]
    fn absent_columns_and_unknown_members_are_kept() {
        let target = target(&schema(), false);
        let old =
            raw(&json!({"id": "a", "n": 1, "other": 12345678901234567890_u64, "j": {"a": 1}}));
        let row = ["a".into(), Value::Absent, json!({"b": 2}).into()];
        let new = write_over(&row, &old, &target).unwrap();
        assert_eq!(new, r#"{"id":"a","j":{"b":2},"n":1,"other":12345678901234567890}"#);
        assert_eq!(write(&row, &target).unwrap(), r#"{"id":"a","j":{"b":2}}"#);
    }

    #[test]
    fn invalid_documents_are_reported_by_column() {
        let (schema, own) = (schema(), target(&schema(), false));
        let column = |source: Json| {
            let error = read("a", &raw(&source), &schema, &own).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidData);
            error.column().unwrap().to_owned()
        };
        assert_eq!(column(json!({"n": 1})), "id");
        assert_eq!(column(json!({"id": "a", "n": "1"})), "n");
        assert_eq!(column(json!({"id": "a", "n": [1, 2]})), "n");
        assert_eq!(column(json!({"id": "a", "n": 3_000_000_000_u64})), "n");
        let long =
            RawValue::from_string(r#"{"id":"a","j":[18446744073709551616]}"#.into()).unwrap();
        assert_eq!(read("a", &long, &schema, &own).unwrap_err().column(), Some("j"));
        let short = read("a", &raw(&json!({"id": "a"})), &schema, &own).unwrap();
        assert_eq!(short, ["a".into(), Value::Null, Value::Null]);
    }

    #[test]
    fn the_key_of_another_programs_document_is_its_id() {
        let (schema, foreign) = (schema(), target(&schema(), true));
        let read = |source: Json| read("a", &raw(&source), &schema, &foreign);
        let row = ["a".into(), Value::Int(1), Value::Null];
        assert_eq!(read(json!({"n": 1, "more": 2})).unwrap(), row);
        assert_eq!(read(json!({"n": 1, "id": "a"})).unwrap(), row);
        assert_eq!(read(json!({"id": "b"})).unwrap_err().column(), Some("id"));
    }

    #[test]
    fn deep_json_is_refused() {
        let nested = |depth| (0..depth).fold(json!(0), |inner, _| json!([inner]));
        let check = |json: Json| check(&["a".into(), Value::Null, json.into()], &schema());
        check(nested(MAX_DEPTH)).unwrap();
        let error = check(nested(MAX_DEPTH + 1)).unwrap_err();
        assert_eq!((error.kind(), error.column()), (ErrorKind::Unsupported, Some("j")));
    }
}
