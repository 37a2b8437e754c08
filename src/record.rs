//! Records: Rust structs that are cached as rows.

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::column_value::mismatch;
use crate::{Error, Result, Row, Schema, Value, json_text};

/// A struct that is cached as a row. Derived with `#[derive(ScopeRecord)]`.
pub trait ScopeRecord: Sized {
    /// The type of the key: that of the unique field, or a tuple of several in field order.
    type Key: crate::RecordKey;

    /// Returns the schema of the record's scope.
    fn schema() -> Schema;

    /// Returns the record's values, in the order of the schema's columns.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidInput`](crate::ErrorKind::InvalidInput) if a `json` field cannot be
    /// serialized.
    fn to_row(&self) -> Result<Row>;

    /// Creates a record from its values.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidData`](crate::ErrorKind::InvalidData), naming the column, if a value is
    /// not of its field's type.
    fn from_row(row: Row) -> Result<Self>;
}

/// Reads the values of a row in order. Called by derived code.
#[doc(hidden)]
#[derive(Debug)]
pub struct Cells {
    values: std::vec::IntoIter<Value>,
    names: std::slice::Iter<'static, &'static str>,
}

impl Cells {
    /// Creates a reader of a row whose columns have these names.
    ///
    /// # Errors
    ///
    /// If the row has a different number of values.
    #[inline]
    pub fn new(row: Row, names: &'static [&'static str]) -> Result<Self> {
        match row.len() == names.len() {
            true => Ok(Self { values: row.into_iter(), names: names.iter() }),
            false => Err(Error::invalid_data(format!(
                "the row has {} values for {} columns",
                row.len(),
                names.len()
            ))),
        }
    }

    /// Reads the next column by the `from_value` of its [`ColumnValue`].
    ///
    /// It takes the function instead of a bound, so that the compiler reports a type without the
    /// trait only once.
    ///
    /// # Errors
    ///
    /// If the value is not of the type.
    pub fn next<T>(&mut self, from_value: impl FnOnce(Value) -> Result<T>) -> Result<T> {
        let (value, name) = self.take();
        from_value(value).map_err(|error| error.with_column(name))
    }

    #[inline]
    fn take(&mut self) -> (Value, &'static str) {
        let value = self.values.next().unwrap_or(Value::Null);
        (value, self.names.next().copied().unwrap_or_default())
    }
}

/// The type of a field with `json`. Called by derived code. In a field that is an `Option`, JSON's
/// null is SQL's NULL.
#[doc(hidden)]
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be stored as JSON",
    label = "it does not implement both `serde::Serialize` and `serde::Deserialize`",
    note = "put `#[derive(serde::Serialize, serde::Deserialize)]` on `{Self}`, or leave out `#[scope(json)]` and implement `hilcat::ColumnValue`"
)]
pub trait JsonField: Sized {
    /// Serializes the field as JSON.
    ///
    /// # Errors
    ///
    /// If serde cannot serialize it.
    fn to_json_value(&self, nullable: bool, column: &str) -> Result<Value>;

    /// Deserializes the field from JSON.
    ///
    /// # Errors
    ///
    /// If the value is not JSON of this type.
    fn from_json_value(value: Value) -> Result<Self>;

    /// Returns the default of a column. A default that cannot be serialized becomes NULL, which the
    /// schema rejects unless the column is nullable.
    fn json_default(&self, nullable: bool) -> Value {
        self.to_json_value(nullable, "").unwrap_or(Value::Null)
    }
}

#[diagnostic::do_not_recommend]
impl<T: Serialize + DeserializeOwned> JsonField for T {
    fn to_json_value(&self, nullable: bool, column: &str) -> Result<Value> {
        json_value(self, nullable, column)
    }

    fn from_json_value(value: Value) -> Result<Self> {
        let json = match value {
            Value::Json(json) => *json,
            Value::Null => serde_json::Value::Null,
            other => return Err(mismatch::<serde_json::Value>(&other)),
        };
        serde_json::from_value(json).map_err(|error| {
            let what =
                format!("the JSON is not of the field's type: {}", json_text::describe(&error));
            Error::invalid_data(what)
        })
    }
}

/// Serializes a field as JSON. In a nullable column, JSON's null is SQL's NULL.
///
/// # Errors
///
/// If serde cannot serialize it.
pub(crate) fn json_value<T: Serialize>(field: &T, nullable: bool, column: &str) -> Result<Value> {
    match serde_json::to_value(field) {
        Ok(serde_json::Value::Null) if nullable => Ok(Value::Null),
        Ok(json) => Ok(Value::Json(Box::new(json))),
        Err(_) => {
            Err(Error::invalid_input("the field cannot be written as JSON").with_column(column))
        }
    }
}
