//! Records of the Python package: the bare JSON of the value, without its key and without hilcat's
//! own fields.

use serde_json::Value as Json;

use super::column_value::{ColumnValue, from_json};
use super::upgrade::{UnknownFields, upgrade};
use super::{Codec, Replaced, check_length, json};
use crate::{Error, Key, Result, Row, Schema, Shape, Value};

/// The JSON form of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Bare {
    /// An object of the columns.
    Record,
    /// The value of the single column.
    Single,
    /// An array of the columns' values.
    Tuple,
}

/// Encodes and decodes the bare values of one scope.
#[derive(Debug)]
pub(crate) struct PlainCodec {
    codec: Codec,
    bare: Bare,
}

impl PlainCodec {
    pub(crate) fn new(codec: Codec) -> Self {
        let bare = shape(&codec.schema);
        Self { codec, bare }
    }

    /// See [`Codec::with_stored_schema`].
    pub(crate) fn with_stored_schema(self, stored: &Schema) -> Self {
        Self { codec: self.codec.with_stored_schema(stored), ..self }
    }

    /// Encodes a complete row.
    ///
    /// # Errors
    ///
    /// As [`Codec::encode`].
    pub(crate) fn encode(&self, row: &Row) -> Result<Vec<u8>> {
        self.encode_with(row, UnknownFields::default())
    }

    fn encode_with(&self, row: &Row, unknown: UnknownFields<'_>) -> Result<Vec<u8>> {
        let (open, close) = match self.bare {
            Bare::Record => ("{", "}"),
            Bare::Single => ("", ""),
            Bare::Tuple => ("[", "]"),
        };
        let mut out = open.as_bytes().to_vec();
        for (count, (at, column)) in self.codec.schema.value_columns().enumerate() {
            if count > 0 {
                out.extend_from_slice(b", ");
            }
            if self.bare == Bare::Record {
                out.extend_from_slice(format!("{}: ", Json::from(&*column.name)).as_bytes());
            }
            json::write_value(&mut out, column, &row[at])?;
        }
        for (name, value) in unknown {
            let member = format!(", {}: {}", Json::from(name), value.into_json());
            out.extend_from_slice(member.as_bytes());
        }
        out.extend_from_slice(close.as_bytes());
        check_length(out.len())?;
        Ok(out)
    }

    /// Decodes the value that is stored under a key.
    ///
    /// # Errors
    ///
    /// As [`Codec::decode_at`].
    pub(crate) fn decode(&self, key: &Key, bytes: &[u8]) -> Result<Row> {
        Ok(self.read(key, bytes)?.0)
    }

    /// Merges a row into the stored value, as [`Codec::replace`].
    ///
    /// # Errors
    ///
    /// As [`Codec::replace`].
    pub(crate) fn replace(&self, key: &Key, old: Option<&[u8]>, new: Row) -> Result<Replaced> {
        let (old, unknown) = match old {
            Some(bytes) => {
                let (row, unknown) = self.read(key, bytes)?;
                (Some(row), unknown)
            }
            None => (None, UnknownFields::default()),
        };
        let row = self.codec.merge(old.clone(), new)?;
        Ok(Replaced { bytes: self.encode_with(&row, unknown)?, old })
    }

    fn read<'a>(&self, key: &Key, bytes: &'a [u8]) -> Result<(Row, UnknownFields<'a>)> {
        check_length(bytes.len())?;
        match self.bare {
            Bare::Record => self.read_record(key, bytes),
            _ => Ok((self.read_values(key, bytes)?, UnknownFields::default())),
        }
    }

    /// Columns of the key that the record lacks are taken from `key`.
    fn read_record<'a>(&self, key: &Key, bytes: &'a [u8]) -> Result<(Row, UnknownFields<'a>)> {
        let schema = &self.codec.schema;
        let mut fields = json::fields(bytes)?;
        for (column, value) in schema.key_columns().zip(key.values()) {
            if !fields.iter().any(|(name, _)| *name == column.name) {
                let json = crate::json::from_value(value.clone());
                fields.push((column.name.clone(), ColumnValue::Json(json)));
            }
        }
        let (row, unknown) = upgrade(&self.codec, fields)?;
        self.codec.check_key(key, &row)?;
        Ok((row, unknown))
    }

    fn read_values(&self, key: &Key, bytes: &[u8]) -> Result<Row> {
        let schema = &self.codec.schema;
        let malformed =
            || Error::invalid_data("the stored value is not JSON of the shape that the scope has");
        let json = serde_json::from_slice(bytes).map_err(|_| malformed())?;
        let values: Vec<Json> = match (self.bare, json) {
            (Bare::Tuple, Json::Array(items)) => items,
            (Bare::Tuple, _) => return Err(malformed()),
            (_, json) => vec![json],
        };
        if values.len() > schema.value_columns().count() {
            return Err(malformed());
        }
        let mut row = vec![Value::Absent; schema.columns.len()];
        for ((at, column), json) in schema.value_columns().zip(values) {
            row[at] = from_json(json, column)?;
        }
        for (&at, value) in schema.key.iter().zip(key.values()) {
            if row[at].is_absent() {
                row[at] = value.clone();
            }
        }
        self.codec.check_key(key, &row)?;
        schema.fill_absent(&mut row)?;
        Ok(row)
    }
}

fn shape(schema: &Schema) -> Bare {
    let one = schema.value_columns().count() == 1;
    match schema.shape {
        Shape::Single => Bare::Single,
        Shape::Json if one => Bare::Single,
        Shape::Tuple => Bare::Tuple,
        Shape::Record | Shape::Json => Bare::Record,
    }
}
