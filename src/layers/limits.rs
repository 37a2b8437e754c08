//! Rejects values that one store of a layer cannot hold before another store gets them.

use crate::store::Capabilities;
use crate::{Error, Result, Row, Schema, Value};

/// The values that all stores of a layer can hold.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    nan: bool,
    negative_zero: bool,
    nul_in_text: bool,
}

impl Limits {
    pub(super) fn of(able: Capabilities) -> Self {
        let Capabilities { nan, negative_zero, nul_in_text, .. } = able;
        Self { nan, negative_zero, nul_in_text }
    }

    /// Returns the row in the form in which all stores can hold it.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Unsupported`](crate::ErrorKind::Unsupported), naming the column.
    pub(super) fn validate(&self, schema: &Schema, mut row: Row) -> Result<Row> {
        if self.nan && self.negative_zero && self.nul_in_text {
            return Ok(row);
        }
        for (column, value) in schema.columns.iter().zip(&mut row) {
            self.check(value).map_err(|error| error.with_column(&column.name))?;
            self.clear_zero_sign(value);
        }
        Ok(row)
    }

    /// Returns the rows in the form in which all stores can hold them.
    pub(super) fn validate_all(&self, schema: &Schema, rows: Vec<Row>) -> Result<Vec<Row>> {
        rows.into_iter().map(|row| self.validate(schema, row)).collect()
    }

    fn check(&self, value: &Value) -> Result<()> {
        let nul = match value {
            Value::Float(v) if v.is_nan() && !self.nan => {
                return Err(Error::unsupported("one of the layer's stores cannot hold NaN"));
            }
            Value::Text(v) if !self.nul_in_text => v.contains('\0'),
            Value::Json(v) if !self.nul_in_text => has_nul(v),
            _ => false,
        };
        match nul {
            true => Err(Error::unsupported(
                "one of the layer's stores cannot hold the character NUL in text",
            )),
            false => Ok(()),
        }
    }

    /// Clears the sign of a zero if a store would lose it, so that all stores return the same value.
    fn clear_zero_sign(&self, value: &mut Value) {
        if !self.negative_zero
            && let Value::Float(zero) = value
            && *zero == 0.0
        {
            *zero = 0.0;
        }
    }
}

fn has_nul(json: &serde_json::Value) -> bool {
    use serde_json::Value as Json;
    match json {
        Json::String(text) => text.contains('\0'),
        Json::Array(items) => items.iter().any(has_nul),
        Json::Object(map) => map.iter().any(|(name, value)| name.contains('\0') || has_nul(value)),
        _ => false,
    }
}
