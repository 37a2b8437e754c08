//! Records: Rust structs that are cached as rows.

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::column_value::mismatch;
use crate::{Error, Result, Row, Schema, Value, json_text};

/// A struct that is cached as a row. Derived with `#[derive(ScopeRecord)]`.
pub trait ScopeRecord: Sized {
    /// The type of its key: that of the one unique field, or a tuple of several in field order.
    type Key: crate::RecordKey;

    /// The schema of its scope.
    fn schema() -> Schema;

    /// The record's values, in the order of the schema's columns.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidInput`](crate::ErrorKind::InvalidInput) where a `json` field cannot be
    /// written as JSON.
    fn to_row(&self) -> Result<Row>;

    /// Reads a record back from its values.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidData`](crate::ErrorKind::InvalidData), naming the column, where a value
    /// is not of its field's type.
    fn from_row(row: Row) -> Result<Self>;
}

/// Reads the values of a row one after the other: what derived code calls.
#[doc(hidden)]
#[derive(Debug)]
pub struct Cells {
    values: std::vec::IntoIter<Value>,
    names: std::slice::Iter<'static, &'static str>,
}

impl Cells {
    /// Of a row whose columns have these names.
    ///
    /// # Errors
    ///
    /// Where the row is of another length.
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

    /// The next column, read by the `from_value` of its [`ColumnValue`], which is given and not
    /// asked for as a bound: so a type without it is one error and not two.
    ///
    /// # Errors
    ///
    /// Where its value is not of the type.
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

/// A type that a field under `json` can be of: what derived code calls. JSON's null is SQL's NULL in
/// a field that is an `Option`.
#[doc(hidden)]
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be kept as JSON",
    label = "it does not implement both `serde::Serialize` and `serde::Deserialize`",
    note = "put `#[derive(serde::Serialize, serde::Deserialize)]` on `{Self}`, or leave out `#[scope(json)]` and implement `hilcat::ColumnValue`"
)]
pub trait JsonField: Sized {
    /// # Errors
    ///
    /// If serde cannot write the field as JSON.
    fn to_json_value(&self, nullable: bool, column: &str) -> Result<Value>;

    /// # Errors
    ///
    /// If the value is not JSON of this type.
    fn from_json_value(value: Value) -> Result<Self>;

    /// The default of a column. A default that cannot be written as JSON is NULL, which a schema
    /// refuses where the column cannot be NULL.
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

/// The JSON column of a value. JSON's null is SQL's NULL where the column can be NULL.
///
/// # Errors
///
/// If serde cannot write it as JSON.
pub(crate) fn json_value<T: Serialize>(field: &T, nullable: bool, column: &str) -> Result<Value> {
    match serde_json::to_value(field) {
        Ok(serde_json::Value::Null) if nullable => Ok(Value::Null),
        Ok(json) => Ok(Value::Json(Box::new(json))),
        Err(_) => {
            Err(Error::invalid_input("the field cannot be written as JSON").with_column(column))
        }
    }
}
