//! One column of a schema.

use super::ColumnType;
use crate::{Error, Result, Value};

/// One column of a scope.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Column {
    /// The name, in the table and in records.
    pub name: String,
    /// The type.
    pub ty: ColumnType,
    /// Whether the column can be NULL.
    pub nullable: bool,
    /// The value of the column in a record that omits it, and in older records when the column is
    /// added.
    pub default: Option<Value>,
    /// The former name. A column of that name in an existing table is renamed.
    pub was: Option<String>,
    /// Whether the column is part of the value of a dynamic scope. A unique column that is not
    /// declared among the columns is part of the key only.
    pub in_value: bool,
}

impl Column {
    /// Creates a column that cannot be NULL and has no default.
    pub fn new(name: impl Into<String>, ty: ColumnType) -> Self {
        Self { name: name.into(), ty, nullable: false, default: None, was: None, in_value: true }
    }

    /// Sets whether the column can be NULL.
    pub fn nullable(mut self, nullable: bool) -> Self {
        self.nullable = nullable;
        self
    }

    /// Sets the value of the column in a record that omits it. A value of a similar kind is
    /// converted to the column's type; [`Schema::validate`](super::Schema::validate) reports one that does not fit. NULL
    /// means no default: an omitted nullable column is NULL anyway.
    pub fn default_value(mut self, value: impl Into<Value>) -> Self {
        let value = value.into();
        let value = self.ty.coerce(value.clone()).unwrap_or(value);
        self.default = Some(value).filter(|value| !value.is_null());
        self
    }

    /// Sets the former name of the column.
    pub fn was(mut self, name: impl Into<String>) -> Self {
        self.was = Some(name.into());
        self
    }

    /// Excludes a unique column from the value of a dynamic scope.
    pub fn key_only(mut self) -> Self {
        self.in_value = false;
        self
    }

    /// Checks a value to be written into this column.
    pub(crate) fn check(&self, value: &Value) -> Result<()> {
        match value {
            Value::Null if !self.nullable => Err(Error::invalid_input("it cannot be NULL")),
            Value::Absent => Ok(()),
            value => self.ty.check(value),
        }
        .map_err(|error| error.with_column(&self.name))
    }

    /// Checks a value to be written, and pads a decimal to the scale of the column.
    pub(super) fn validate(&self, value: &mut Value) -> Result<()> {
        if let (ColumnType::Decimal { .. }, Value::Decimal(_)) = (self.ty, &*value) {
            *value = self.coerce(std::mem::replace(value, Value::Null))?;
        }
        self.check(value)
    }

    /// Converts a value to be written to this column's type.
    pub(crate) fn coerce(&self, value: Value) -> Result<Value> {
        let value = match value {
            Value::Absent => Ok(Value::Absent),
            // In a nullable JSON column, JSON's null is stored as SQL's NULL.
            Value::Json(json) if json.is_null() && self.nullable => Ok(Value::Null),
            value => self.ty.coerce(value),
        };
        let value = value.map_err(|error| error.with_column(&self.name))?;
        self.check(&value)?;
        Ok(value)
    }
}
