//! JSON records, encoded and decoded without an intermediate tree of values.

use std::fmt;

use serde::Deserialize;
use serde::de::{self, DeserializeSeed, Deserializer as _, MapAccess, Visitor};
use serde_json::Value as Json;

use super::column_value::{ColumnValue, JSON_TAG, invalid, needs_tag, untag};
use super::upgrade::UnknownFields;
use super::{Codec, FINGERPRINT_FIELD, MAX_DEPTH};
use crate::json::describe;
use crate::{Column, ColumnType, Error, Result, Row, Value, text};

/// Returns the JSON before the value of a column; for the first one, it includes the fingerprint.
pub(super) fn prefix(at: usize, name: &str, fingerprint: &str) -> Vec<u8> {
    let name = Json::from(name);
    match at {
        0 => format!("{{\"{FINGERPRINT_FIELD}\":\"{fingerprint}\",{name}:").into_bytes(),
        _ => format!(",{name}:").into_bytes(),
    }
}

pub(super) fn write(codec: &Codec, row: &Row, unknown: UnknownFields<'_>) -> Result<Vec<u8>> {
    let mut out = Vec::with_capacity(64 + 32 * row.len());
    for ((prefix, column), value) in codec.prefixes.iter().zip(&codec.schema.columns).zip(row) {
        out.extend_from_slice(prefix);
        write_value(&mut out, column, value)?;
    }
    for (name, value) in unknown {
        let member = format!(",{}:{}", Json::from(name), value.into_json());
        out.extend_from_slice(member.as_bytes());
    }
    out.push(b'}');
    Ok(out)
}

/// Writes the value of a column.
///
/// # Errors
///
/// Fails for JSON that is nested too deeply to be read back.
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
    serde_json::to_writer(out, value).map_err(|error| {
        Error::unsupported("the value cannot be written as JSON").with_source(error)
    })
}

/// Writes a string that needs no escapes.
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

/// Reads a record of this schema; `None` if it has another schema.
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
        Ok(()) if state.has_fingerprint && state.count == row.len() => Ok(Some(row)),
        Ok(()) => Ok(None),
        Err(_) if state.other_schema => Ok(None),
        Err(error) => Err(match state.column.map(|at| &codec.schema.columns[at]) {
            Some(column) => invalid(column, &message(&error)),
            None => broken(&error),
        }),
    }
}

/// Reads the fields of any record.
///
/// # Errors
///
/// Fails if it is not a JSON object.
pub(super) fn fields<'a>(bytes: &[u8]) -> Result<Vec<(String, ColumnValue<'a>)>> {
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    let fields = deserializer.deserialize_map(Fields).and_then(|fields| {
        deserializer.end()?;
        Ok(fields)
    });
    let fields = fields.map_err(|error| broken(&error))?;
    Ok(fields.into_iter().map(|(name, json)| (name, ColumnValue::Json(json))).collect())
}

fn broken(error: &serde_json::Error) -> Error {
    Error::invalid_data(format!(
        "the stored record is not JSON in hilcat's format: {}",
        describe(error)
    ))
}

/// Returns the message of an error. Messages of the category `Data` come from [`Typed`].
fn message(error: &serde_json::Error) -> String {
    match error.classify() {
        serde_json::error::Category::Data => error.to_string(),
        _ => describe(error),
    }
}

#[derive(Default)]
struct State {
    /// Whether the record has the fingerprint of the schema.
    has_fingerprint: bool,
    /// Whether the record has another schema.
    other_schema: bool,
    /// The column being read.
    column: Option<usize>,
    /// The number of columns that have been read.
    count: usize,
}

/// Reads a record of this schema. Deserialization ends with an error once it turns out to have
/// another one.
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
                Named::Stamp => {
                    state.has_fingerprint = map.next_value_seed(Is(&codec.fingerprint))?
                }
                Named::Column(at) if row[at].is_absent() => {
                    state.column = Some(at);
                    row[at] = map.next_value_seed(Typed(&codec.schema.columns[at]))?;
                    state.column = None;
                    state.count += 1;
                }
                Named::Column(_) | Named::Other => state.other_schema = true,
            }
            if state.other_schema || !state.has_fingerprint {
                state.other_schema = true;
                return Err(de::Error::custom("the record has another schema"));
            }
        }
        Ok(())
    }
}

/// The meaning of a field name.
enum Named {
    Stamp,
    Column(usize),
    Other,
}

/// Reads a field name. hilcat itself writes columns in order, so the next one is tried first.
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

/// Whether a string equals this one.
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

/// Reads the value of a column. All messages are its own, so that none contains a value.
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

/// Reads all members of an object, including duplicates.
struct Fields;

impl<'de> Visitor<'de> for Fields {
    type Value = Vec<(String, Json)>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut fields = Vec::new();
        while let Some(value) = map.next_entry()? {
            fields.push(value);
        }
        Ok(fields)
    }
}
