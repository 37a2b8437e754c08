//! MessagePack records (<https://github.com/msgpack/msgpack/blob/master/spec.md>): a map from the
//! names of the columns to the same values as in JSON, except that bytes and floats have their own
//! types.

use rmpv::ValueRef;
use rmpv::decode::read_value_ref_with_max_depth;
use rmpv::encode::write_value_ref;
use serde_json::{Map, Value as Json, json};

use super::column_value::{ColumnValue, JSON_TAG, from_json, invalid, needs_tag};
use super::json::check_depth;
use super::upgrade::UnknownFields;
use super::{Codec, FINGERPRINT_FIELD, MAX_DEPTH};
use crate::range;
use crate::{Column, ColumnType, Error, Result, Row, Value, text};

pub(super) fn write(codec: &Codec, row: &Row, unknown: UnknownFields<'_>) -> Result<Vec<u8>> {
    let mut out = Vec::with_capacity(64 + 32 * row.len());
    write_map_length(&mut out, 1 + row.len() + unknown.len());
    put(&mut out, &FINGERPRINT_FIELD.into())?;
    put(&mut out, &codec.fingerprint.as_str().into())?;
    for ((name, column), value) in codec.names.iter().zip(&codec.schema.columns).zip(row) {
        put(&mut out, &name.as_str().into())?;
        write_value(&mut out, column, value)?;
    }
    for (name, value) in unknown {
        put(&mut out, &name.as_str().into())?;
        put(&mut out, &of_json(&value.into_json()))?;
    }
    Ok(out)
}

fn write_map_length(out: &mut Vec<u8>, length: usize) {
    match (u8::try_from(length), u16::try_from(length)) {
        (Ok(length @ ..16), _) => out.push(0x80 | length),
        (_, Ok(length)) => {
            out.push(0xde);
            out.extend_from_slice(&length.to_be_bytes());
        }
        _ => {
            out.push(0xdf);
            out.extend_from_slice(&(length as u32).to_be_bytes());
        }
    }
}

fn put(out: &mut Vec<u8>, value: &ValueRef<'_>) -> Result<()> {
    write_value_ref(out, value).map_err(|error| {
        Error::unsupported("the value cannot be written as MessagePack").with_source(error)
    })
}

fn write_value(out: &mut Vec<u8>, column: &Column, value: &Value) -> Result<()> {
    match value {
        Value::Absent => {
            let error = Error::invalid_input("a stored record needs a value");
            Err(error.with_column(&column.name))
        }
        Value::Null => put(out, &ValueRef::Nil),
        Value::Bool(v) => put(out, &ValueRef::Boolean(*v)),
        Value::Int(v) => put(out, &(*v).into()),
        Value::UInt(v) => put(out, &(*v).into()),
        Value::Float(v) => put(out, &ValueRef::F64(*v)),
        Value::Bytes(v) => put(out, &ValueRef::Binary(v)),
        Value::Json(v) => {
            check_depth(column, v)?;
            match column.nullable && needs_tag(v) {
                true => put(out, &ValueRef::Map(vec![(JSON_TAG.into(), of_json(v))])),
                false => put(out, &of_json(v)),
            }
        }
        other => put(out, &(&*text::from_value(other)).into()),
    }
}

fn of_json(json: &Json) -> ValueRef<'_> {
    match json {
        Json::Null => ValueRef::Nil,
        Json::Bool(v) => ValueRef::Boolean(*v),
        Json::Number(v) => match (v.as_i64(), v.as_u64()) {
            (Some(v), _) => v.into(),
            (None, Some(v)) => v.into(),
            (None, None) => ValueRef::F64(v.as_f64().unwrap_or(f64::NAN)),
        },
        Json::String(v) => v.as_str().into(),
        Json::Array(items) => ValueRef::Array(items.iter().map(of_json).collect()),
        Json::Object(map) => {
            ValueRef::Map(map.iter().map(|(k, v)| (k.as_str().into(), of_json(v))).collect())
        }
    }
}

/// Reads the fields of any record.
///
/// # Errors
///
/// Fails if it is not a MessagePack map with string keys, or is nested too deeply.
pub(super) fn fields(bytes: &[u8]) -> Result<Vec<(String, ColumnValue<'_>)>> {
    let broken = || Error::invalid_data("the stored record is not MessagePack in hilcat's format");
    // The reader counts each level of nesting as two; the record and a tag add some more.
    let depth = 2 * (MAX_DEPTH + 4);
    let mut rest = bytes;
    let value = read_value_ref_with_max_depth(&mut rest, depth)
        .map_err(|error| broken().with_source(error))?;
    let ValueRef::Map(members) = value else { return Err(broken()) };
    let value = |(name, value)| match text_of(&name) {
        Some(name) if is_known(&value) => Ok((name.to_owned(), ColumnValue::Message(value))),
        _ => Err(broken()),
    };
    match rest.is_empty() {
        true => members.into_iter().map(value).collect(),
        false => Err(broken()),
    }
}

fn text_of<'a>(value: &'a ValueRef<'_>) -> Option<&'a str> {
    match value {
        ValueRef::String(text) => text.as_str(),
        _ => None,
    }
}

/// Whether a value is bytes or has a JSON form.
fn is_known(value: &ValueRef<'_>) -> bool {
    match value {
        ValueRef::Ext(..) => false,
        ValueRef::String(text) => text.is_str(),
        ValueRef::Array(items) => items.iter().all(is_known),
        ValueRef::Map(members) => {
            members.iter().all(|(name, value)| text_of(name).is_some() && is_known(value))
        }
        _ => true,
    }
}

/// Converts a value of a record to JSON.
pub(super) fn to_json(value: ValueRef<'_>) -> Json {
    match value {
        ValueRef::Nil | ValueRef::Ext(..) => Json::Null,
        ValueRef::Boolean(v) => v.into(),
        ValueRef::Integer(v) => match v.as_i64() {
            Some(v) => v.into(),
            None => v.as_u64().into(),
        },
        ValueRef::F32(v) => float(v.into()),
        ValueRef::F64(v) => float(v),
        ValueRef::String(v) => v.into_string().unwrap_or_default().into(),
        ValueRef::Binary(v) => json!({"$bytes": text::bytes_to_base64(v)}),
        ValueRef::Array(items) => items.into_iter().map(to_json).collect(),
        ValueRef::Map(members) => {
            let member = |(name, value): (ValueRef<'_>, _)| {
                (text_of(&name).unwrap_or_default().to_owned(), to_json(value))
            };
            Json::Object(Map::from_iter(members.into_iter().map(member)))
        }
    }
}

fn float(value: f64) -> Json {
    crate::json::from_value(Value::Float(value))
}

/// Converts a value of a record to that of a column.
///
/// # Errors
///
/// Fails if it is not of the column's type.
pub(super) fn to_value(value: ValueRef<'_>, column: &Column) -> Result<Value> {
    let value = match (column.ty, value) {
        (ColumnType::Bytes, ValueRef::Binary(v)) => Value::Bytes(v.to_vec()),
        (ColumnType::Real | ColumnType::Double, ValueRef::F32(v)) => Value::Float(v.into()),
        (ColumnType::Real | ColumnType::Double, ValueRef::F64(v)) => {
            range::fraction_as_float(v, column.ty)
                .map_err(|error| invalid(column, error.message()))?
        }
        (_, value) => return from_json(to_json(value), column),
    };
    column.check(&value).map_err(|error| invalid(column, error.message()))?;
    Ok(value)
}
