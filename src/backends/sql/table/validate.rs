//! Checking rows before they are sent.

use super::TableInner;
use crate::backends::sql::dialect::{Dialect, check_depth};
use crate::{ColumnType, Error, Key, Result, Row, Value};

/// Checks that a value comes back unchanged from a column in which the engine converts numeric text
/// to numbers.
///
/// # Errors
///
/// [`ErrorKind::Unsupported`](crate::ErrorKind::Unsupported) for text that the engine would rewrite.
pub(crate) fn check_numeric_affinity<D: Dialect>(value: &Value) -> Result<()> {
    match value {
        Value::Text(text) if !D::survives_numeric_affinity(text) => Err(Error::unsupported(
            "the column stores numbers, and would rewrite this numeric text; migrate the table, so that the column becomes one of text",
        )),
        _ => Ok(()),
    }
}

/// Returns whether an engine may be unable to hold some value of a type.
pub(super) fn needs_check(ty: ColumnType) -> bool {
    use ColumnType::{Bytes, Double, Json, Real, Text, Varchar};
    matches!(ty, Real | Double | Text | Varchar(_) | Bytes | Json)
}

impl<D: Dialect> TableInner<D> {
    /// Checks that the engine can hold a row. The error names the column.
    fn check_row(&self, row: &Row) -> Result<()> {
        let named = |at: usize, checked: Result<()>| {
            checked.map_err(|error| error.with_column(&self.schema().columns[at].name))
        };
        for &at in &self.checked {
            named(at, D::check_value(&row[at]))?;
            if let (Value::Json(json), Some(depth)) = (&row[at], self.database.max_json_depth) {
                named(at, check_depth::<D>(json, depth))?;
            }
        }
        D::check_row(self.schema(), row)?;
        let mut numeric = self.numeric_affinity.iter();
        numeric.try_for_each(|&at| named(at, check_numeric_affinity::<D>(&row[at])))?;
        self.lossy.iter().try_for_each(|(at, fits)| named(*at, fits(&row[*at])))
    }

    /// Checks a row, and returns it as it is stored.
    pub(crate) fn validate_row(&self, row: Row) -> Result<Row> {
        self.check_row(&row)?;
        Ok(D::stored_row(self.schema(), row))
    }

    /// Checks rows, and returns them as they are stored. The error names the key of the invalid row.
    pub(crate) fn validate_rows(&self, rows: Vec<Row>) -> Result<Vec<Row>> {
        for row in &rows {
            self.check_row(row).map_err(|error| self.with_row_key(row, error))?;
        }
        Ok(rows.into_iter().map(|row| D::stored_row(self.schema(), row)).collect())
    }

    /// Checks rows that may become new records, and returns each with its key: as it is stored, with
    /// the defaults of absent columns, or why a column cannot be absent from a new record.
    pub(super) fn validate_new(&self, rows: Vec<Row>) -> Result<Vec<(Key, Result<Row>)>> {
        let keys: Vec<Key> = rows.iter().map(|row| self.schema().key_of(row)).collect();
        let rows = self.validate_rows(rows)?.into_iter().map(|row| self.with_defaults(row));
        Ok(keys.into_iter().zip(rows).collect())
    }

    /// Fills the absent columns of a row with their defaults.
    pub(super) fn with_defaults(&self, mut row: Row) -> Result<Row> {
        self.schema().fill_absent(&mut row)?;
        Ok(row)
    }

    /// Adds the key of a row to an error.
    pub(super) fn with_row_key(&self, row: &Row, error: Error) -> Error {
        self.with_key(&self.schema().key_of(row), error)
    }

    /// Adds a key to an error.
    pub(super) fn with_key(&self, key: &Key, error: Error) -> Error {
        error.with_key(self.without_section(key))
    }
}
