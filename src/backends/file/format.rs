//! The content of files.

use std::sync::Arc;

use crate::codec::{Codec, CodecOptions, PlainCodec, Replaced};
use crate::{Column, ColumnType, Error, Key, Result, Row, Schema, Value};

/// What the files of a cache contain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Content {
    /// Records, as encoded by the codec.
    Records(CodecOptions),
    /// The text of the single non-unique column.
    Text,
    /// The bytes of the single non-unique column.
    Binary,
    /// The bare JSON of the value, as written by the Python package.
    Bare,
}

/// Encodes and decodes the files of one scope.
#[derive(Debug)]
pub(super) enum Format {
    Records(Codec),
    /// The file is the value of one column.
    Value {
        codec: Codec,
        at: usize,
    },
    Bare(PlainCodec),
}

impl Format {
    /// Returns the format for a schema.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidSchema`](crate::ErrorKind::InvalidSchema) if files are single values and
    /// the schema does not have exactly one non-unique column of the right type.
    pub(super) fn new(schema: &Arc<Schema>, content: Content) -> Result<Self> {
        let codec = |options| Codec::new(schema, options);
        Ok(match content {
            Content::Records(options) => Self::Records(codec(options)),
            Content::Bare => Self::Bare(PlainCodec::new(codec(CodecOptions::default()))),
            Content::Text | Content::Binary => {
                let at = only_column(schema, content)?;
                Self::Value { codec: codec(CodecOptions::default()), at }
            }
        })
    }

    /// See [`Codec::with_stored_schema`].
    pub(super) fn with_stored_schema(self, stored: &Schema) -> Self {
        match self {
            Self::Records(codec) => Self::Records(codec.with_stored_schema(stored)),
            Self::Bare(codec) => Self::Bare(codec.with_stored_schema(stored)),
            value @ Self::Value { .. } => value,
        }
    }

    /// Whether a file contains its key.
    pub(super) fn has_key(&self) -> bool {
        matches!(self, Self::Records(_))
    }

    /// Encodes a complete row.
    pub(super) fn encode(&self, row: &Row) -> Result<Vec<u8>> {
        match self {
            Self::Records(codec) => codec.encode(row),
            Self::Bare(codec) => codec.encode(row),
            Self::Value { codec, at } => encode_value(&codec.schema().columns[*at], &row[*at]),
        }
    }

    /// Decodes the row that is stored under a key.
    pub(super) fn decode(&self, key: &Key, bytes: Vec<u8>) -> Result<Row> {
        match self {
            Self::Records(codec) => codec.decode_at(key, &bytes),
            Self::Bare(codec) => codec.decode(key, &bytes),
            Self::Value { codec, at } => {
                let schema = codec.schema();
                let mut row = vec![Value::Null; schema.columns.len()];
                for (&at, value) in schema.key.iter().zip(key.values()) {
                    row[at] = value.clone();
                }
                row[*at] = decode_value(&schema.columns[*at], bytes)?;
                Ok(row)
            }
        }
    }

    /// Returns the key that a file contains.
    pub(super) fn key_of(&self, bytes: &[u8]) -> Result<Option<Key>> {
        match self {
            Self::Records(codec) => Ok(Some(codec.schema().key_of(&codec.decode(bytes)?))),
            _ => Ok(None),
        }
    }

    /// Merges a row into the stored record.
    pub(super) fn replace(&self, key: &Key, old: Option<Vec<u8>>, new: Row) -> Result<Replaced> {
        match self {
            Self::Records(codec) => codec.replace(old.as_deref(), new),
            Self::Bare(codec) => codec.replace(key, old.as_deref(), new),
            Self::Value { codec, .. } => {
                let old = old.map(|old| self.decode(key, old)).transpose()?;
                let row = codec.merge(old.clone(), new)?;
                Ok(Replaced { bytes: self.encode(&row)?, old })
            }
        }
    }
}

fn only_column(schema: &Schema, content: Content) -> Result<usize> {
    let mut others = (0..schema.columns.len()).filter(|&at| !schema.is_key(at));
    let only = match (others.next(), others.next()) {
        (Some(at), None) => at,
        _ => {
            return Err(Error::invalid_schema(
                "with `format=text` and `format=binary` a file is a single value; the scope needs exactly one column besides its unique ones",
            ));
        }
    };
    let Column { name, ty, .. } = &schema.columns[only];
    match (content, ty) {
        (Content::Text, ColumnType::Text | ColumnType::Varchar(_))
        | (Content::Binary, ColumnType::Bytes) => Ok(only),
        (Content::Text, _) => Err(Error::invalid_schema(
            "with `format=text` the column must be of type text or varchar(n)",
        )
        .with_column(name)),
        _ => Err(Error::invalid_schema("with `format=binary` the column must be of type bytes")
            .with_column(name)),
    }
}

fn encode_value(column: &Column, value: &Value) -> Result<Vec<u8>> {
    match value {
        Value::Text(text) => Ok(text.as_bytes().to_vec()),
        Value::Bytes(bytes) => Ok(bytes.clone()),
        _ => Err(Error::unsupported("text and binary files cannot represent NULL")
            .with_column(&column.name)),
    }
}

fn decode_value(column: &Column, bytes: Vec<u8>) -> Result<Value> {
    let value = match column.ty {
        ColumnType::Bytes => Value::Bytes(bytes),
        _ => Value::Text(String::from_utf8(bytes).map_err(|_| {
            Error::invalid_data("the file is not valid UTF-8").with_column(&column.name)
        })?),
    };
    let checked = column.check(&value);
    checked.map_err(|error| {
        Error::invalid_data(format!("the file does not fit: {}", error.message()))
            .with_column(&column.name)
    })?;
    Ok(value)
}
