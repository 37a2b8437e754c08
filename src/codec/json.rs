//! Records as JSON, written and read without a tree of values between.

use std::fmt;

use serde::Deserialize;
use serde::de::{self, DeserializeSeed, Deserializer as _, MapAccess, Visitor};
use serde_json::Value as Json;

use super::column_value::{ColumnValue, JSON_TAG, from_json, invalid, needs_tag, untag};
use super::upgrade::UnknownFields;
use super::{Codec, FINGERPRINT_FIELD, MAX_DEPTH};
use crate::json::describe;
use crate::{Column, ColumnType, Error, Result, Row, Value, text};

/// What stands before the value of a column: before the first one the fingerprint, too.
pub(super) fn prefix(at: usize, name: &str, fingerprint: &str) -> Vec<u8> {
    let name = Json::from(name);
    match at {
        0 => format!("{{\"{FINGERPRINT_FIELD}\":\"{fingerprint}\",{name}:").into_bytes(),
        _ => format!(",{name}:").into_bytes(),
    }
}

pub(super) fn write(codec: &Codec, row: &Row, unknown: UnknownFields<'_>) -> Result<Vec<u8>> {
    let mut out = Vec::with_capacity(64 + 32 * row.len());
    for ((head, column), value) in codec.prefixes.iter().zip(&codec.schema.columns).zip(row) {
        out.extend_from_slice(head);
        write_value(&mut out, column, value)?;
    }
    for (name, cell) in unknown {
        let member = format!(",{}:{}", Json::from(name), cell.into_json());
        out.extend_from_slice(member.as_bytes());
    }
    out.push(b'}');
    Ok(out)
}

/// Writes the value of a column.
///
/// # Errors
///
/// Where it is JSON that is nested too deep to be read back.
pub(super) fn write_value(out: &mut Vec<u8>, column: &Column, value: &Value) -> Result<()> {
    match value {
        Value::Absent => {
            return Err(
                Error::invalid_input("a stored record needs a value").with_column(&column.name)
            );
        }
        Value::Null => out.extend_from_slice(b"null"),
        Value::Bool(v) => out.extend_from_slice(if *v { b"true" } else { b"false" }),
        Value::Int(v) => put(out, v)?,
        Value::UInt(v) => put(out, v)?,
        Value::Float(v) if v.is_finite() => put(out, v)?,
        Value::Float(v) => write_tagged(out, "$float", &text::float(*v)),
        Value::Text(v) | Value::Decimal(v) => put(out, v)?,
        Value::Bytes(v) => write_tagged(out, "$bytes", &text::bytes_to_base64(v)),
        Value::Json(v) => return write_json(out, column, v),
        Value::Date(_) | Value::Time(_) | Value::Timestamp(_) | Value::Uuid(_) => {
            write_plain(out, &text::from_value(value));
        }
    }
    Ok(())
}

fn put(out: &mut Vec<u8>, value: &(impl serde::Serialize + ?Sized)) -> Result<()> {
    serde_json::to_writer(out, value)
        .map_err(|error| Error::unsupported("it cannot be written as JSON").with_source(error))
}

/// A text that needs no escapes.
fn write_plain(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    out.extend_from_slice(text.as_bytes());
    out.push(b'"');
}

fn write_tagged(out: &mut Vec<u8>, tag: &str, text: &str) {
    out.push(b'{');
    write_plain(out, tag);
    out.push(b':');
    write_plain(out, text);
    out.push(b'}');
}

fn write_json(out: &mut Vec<u8>, column: &Column, json: &Json) -> Result<()> {
    check_depth(column, json)?;
    if !(column.nullable && needs_tag(json)) {
        return put(out, json);
    }
    out.extend_from_slice(format!("{{\"{JSON_TAG}\":").as_bytes());
    put(out, json)?;
    out.push(b'}');
    Ok(())
}

/// Refuses JSON that could not be read back.
pub(super) fn check_depth(column: &Column, json: &Json) -> Result<()> {
    match is_deeper(json, MAX_DEPTH) {
        false => Ok(()),
        true => {
            Err(Error::unsupported(format!("the JSON is nested deeper than {MAX_DEPTH} levels"))
                .with_column(&column.name))
        }
    }
}

fn is_deeper(json: &Json, limit: usize) -> bool {
    let inner = |json: &Json| limit == 0 || is_deeper(json, limit - 1);
    match json {
        Json::Array(items) => items.iter().any(inner),
        Json::Object(map) => map.values().any(inner),
        _ => false,
    }
}

/// Reads a record of this very schema; none where it is of another.
///
/// # Errors
///
/// [`ErrorKind::InvalidData`](crate::ErrorKind::InvalidData), naming the column.
pub(super) fn read(codec: &Codec, bytes: &[u8]) -> Result<Option<Row>> {
    let mut row = vec![Value::Absent; codec.names.len()];
    let mut state = State::default();
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    let seed = Record { codec, row: &mut row, state: &mut state };
    match seed.deserialize(&mut deserializer).and_then(|()| deserializer.end()) {
        Ok(()) if state.stamped && state.count == row.len() => Ok(Some(row)),
        Ok(()) => Ok(None),
        Err(_) if state.other => Ok(None),
        Err(error) => Err(match state.column.map(|at| &codec.schema.columns[at]) {
            Some(column) => invalid(column, &message(&error)),
            None => broken(&error),
        }),
    }
}

/// The column_values of any record.
///
/// # Errors
///
/// Where it is not a JSON object.
pub(super) fn column_values<'a>(bytes: &[u8]) -> Result<Vec<(String, ColumnValue<'a>)>> {
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    let column_values = deserializer.deserialize_map(Cells).and_then(|column_values| {
        deserializer.end()?;
        Ok(column_values)
    });
    let column_values = column_values.map_err(|error| broken(&error))?;
    Ok(column_values.into_iter().map(|(name, json)| (name, ColumnValue::Json(json))).collect())
}

/// Reads the value of a column that stands alone.
///
/// # Errors
///
/// [`ErrorKind::InvalidData`](crate::ErrorKind::InvalidData), naming the column.
pub(super) fn read_value(column: &Column, bytes: &[u8]) -> Result<Value> {
    let json = serde_json::from_slice(bytes).map_err(|error| invalid(column, &describe(&error)))?;
    from_json(json, column)
}

fn broken(error: &serde_json::Error) -> Error {
    Error::invalid_data(format!(
        "the stored record is not JSON as hilcat writes it: {}",
        describe(error)
    ))
}

/// What went wrong with a value. The messages of category `Data` are those of [`Typed`].
fn message(error: &serde_json::Error) -> String {
    match error.classify() {
        serde_json::error::Category::Data => error.to_string(),
        _ => describe(error),
    }
}

#[derive(Default)]
struct State {
    /// The fingerprint is that of the schema.
    stamped: bool,
    /// The record is of another schema.
    other: bool,
    /// The column that is being read.
    column: Option<usize>,
    /// How many were.
    count: usize,
}

/// A record of the schema itself. It stops where it sees that it is none.
struct Record<'c, 's> {
    codec: &'c Codec,
    row: &'s mut Row,
    state: &'s mut State,
}

impl<'de> DeserializeSeed<'de> for Record<'_, '_> {
    type Value = ();

    fn deserialize<D: de::Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Record<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a record")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let Self { codec, row, state } = self;
        while let Some(name) = map.next_key_seed(Name { codec, next: state.count })? {
            match name {
                Named::Stamp => state.stamped = map.next_value_seed(Is(&codec.fingerprint))?,
                Named::Column(at) if row[at].is_absent() => {
                    state.column = Some(at);
                    row[at] = map.next_value_seed(Typed(&codec.schema.columns[at]))?;
                    state.column = None;
                    state.count += 1;
                }
                Named::Column(_) | Named::Other => state.other = true,
            }
            if state.other || !state.stamped {
                state.other = true;
                return Err(de::Error::custom("of another schema"));
            }
        }
        Ok(())
    }
}

/// Whose value a name is before.
enum Named {
    Stamp,
    Column(usize),
    Other,
}

/// Reads a name. Columns stand in their order where hilcat itself has written the record.
struct Name<'c> {
    codec: &'c Codec,
    next: usize,
}

impl<'de> DeserializeSeed<'de> for Name<'_> {
    type Value = Named;

    fn deserialize<D: de::Deserializer<'de>>(self, deserializer: D) -> Result<Named, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for Name<'_> {
    type Value = Named;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the name of a column")
    }

    fn visit_str<E>(self, name: &str) -> Result<Named, E> {
        let names = &self.codec.names;
        Ok(match names.get(self.next).is_some_and(|next| next == name) {
            true => Named::Column(self.next),
            false if name == FINGERPRINT_FIELD => Named::Stamp,
            false => names.iter().position(|n| n == name).map_or(Named::Other, Named::Column),
        })
    }
}

/// Whether a text is this one.
struct Is<'c>(&'c str);

impl<'de> DeserializeSeed<'de> for Is<'_> {
    type Value = bool;

    fn deserialize<D: de::Deserializer<'de>>(self, deserializer: D) -> Result<bool, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for Is<'_> {
    type Value = bool;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a fingerprint")
    }

    fn visit_str<E>(self, text: &str) -> Result<bool, E> {
        Ok(text == self.0)
    }
}

/// Reads the value of a column. Every message is its own, so that none holds a value.
struct Typed<'c>(&'c Column);

impl<'de> DeserializeSeed<'de> for Typed<'_> {
    type Value = Value;

    fn deserialize<D: de::Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        match self.0.ty {
            ColumnType::Json => Ok(untag(Json::deserialize(deserializer)?, self.0.nullable)),
            _ => deserializer.deserialize_any(self),
        }
    }
}

impl Typed<'_> {
    fn of<E: de::Error>(&self, json: impl Into<Json>) -> Result<Value, E> {
        self.checked(crate::json::to_value(json.into(), self.0.ty))
    }

    fn checked<E: de::Error>(&self, value: Result<Value>) -> Result<Value, E> {
        let checked = value.and_then(|value| self.0.check(&value).map(|()| value));
        checked.map_err(|error| E::custom(error.message()))
    }
}

impl<'de> Visitor<'de> for Typed<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a value of type {}", self.0.ty)
    }

    fn visit_unit<E: de::Error>(self) -> Result<Value, E> {
        self.checked(Ok(Value::Null))
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<Value, E> {
        self.of(value)
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<Value, E> {
        match self.0.ty {
            ColumnType::SmallInt | ColumnType::Int | ColumnType::BigInt => {
                self.checked(Ok(Value::Int(value)))
            }
            _ => self.of(value),
        }
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<Value, E> {
        match (self.0.ty, i64::try_from(value)) {
            (ColumnType::SmallInt | ColumnType::Int | ColumnType::BigInt, Ok(value)) => {
                self.checked(Ok(Value::Int(value)))
            }
            _ => self.of(value),
        }
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Value, E> {
        self.of(value)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Value, E> {
        match self.0.ty {
            ColumnType::Text | ColumnType::Varchar(_) => {
                self.checked(Ok(Value::Text(text.to_owned())))
            }
            _ => self.of(text),
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Value, A::Error> {
        self.of(Json::deserialize(de::value::MapAccessDeserializer::new(map))?)
    }

    fn visit_seq<A: de::SeqAccess<'de>>(self, _: A) -> Result<Value, A::Error> {
        self.of(Json::Array(Vec::new()))
    }
}

/// All members of an object, also those that stand twice.
struct Cells;

impl<'de> Visitor<'de> for Cells {
    type Value = Vec<(String, Json)>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut column_values = Vec::new();
        while let Some(cell) = map.next_entry()? {
            column_values.push(cell);
        }
        Ok(column_values)
    }
}
