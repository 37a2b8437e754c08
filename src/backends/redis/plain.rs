//! The plain layout: bare values under bare keys.

use std::sync::Arc;

use super::record_layout::{Content, Replaced};
use crate::{ColumnType, Error, Key, Result, Row, Schema, Value, text};

/// Encodes and decodes bare values, as the Python package stores them.
#[derive(Debug)]
pub(super) struct Plain {
    schema: Arc<Schema>,
    /// The position of the non-key column.
    at: usize,
}

impl Plain {
    /// Checks that the schema fits the plain layout.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Unsupported`](crate::ErrorKind::Unsupported) unless the schema has exactly one
    /// unique column and one other column.
    pub(super) fn new(schema: &Arc<Schema>) -> Result<Self> {
        // The expiry is passed to the server as a time to live and is not part of the value.
        let own = usize::from(schema.has_own_expiry_column());
        match (&schema.key[..], schema.columns.len() - own) {
            ([key], 2) => Ok(Self { schema: schema.clone(), at: 1 - key }),
            _ => Err(Error::unsupported(
                "the plain layout needs exactly one unique column and one other column, whose value is stored as it is",
            )),
        }
    }

    pub(super) fn decode(&self, key: &Key, bytes: &[u8]) -> Result<Row> {
        let column = &self.schema.columns[self.at];
        let value = match (column.ty, std::str::from_utf8(bytes)) {
            (ColumnType::Bytes, _) => Ok(Value::Bytes(bytes.into())),
            (ty, Ok(text)) => text::to_value(text, ty),
            (_, Err(_)) => Err(Error::invalid_data("it is not valid UTF-8")),
        };
        let value = value.and_then(|value| column.check(&value).map(|()| value));
        let value = value.map_err(|error| {
            Error::invalid_data(format!("the stored value does not fit: {}", error.message()))
                .with_column(&column.name)
        })?;
        let mut row = vec![Value::Null; self.schema.columns.len()];
        row[self.at] = value;
        row[1 - self.at] = key.values()[0].clone();
        Ok(row)
    }

    pub(super) fn encode(&self, row: &Row) -> Result<Vec<u8>> {
        match &row[self.at] {
            Value::Null | Value::Absent => Err(Error::unsupported(
                "the plain layout stores bare values and cannot represent NULL",
            )
            .with_column(&self.schema.columns[self.at].name)),
            Value::Bytes(bytes) => Ok(bytes.clone()),
            value => Ok(text::from_value(value).into_owned().into_bytes()),
        }
    }

    pub(super) fn replace(&self, key: &Key, old: Option<&[u8]>, mut row: Row) -> Result<Replaced> {
        let old = old.map(|old| self.decode(key, old)).transpose()?;
        if let (true, Some(old)) = (row[self.at].is_absent(), &old) {
            row[self.at] = old[self.at].clone();
        }
        self.schema.fill_absent(&mut row)?;
        let bytes = self.encode(&row)?;
        Ok(Replaced { new: Content::Bytes(bytes.clone()), bytes, old })
    }
}
