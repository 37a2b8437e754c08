//! One column of a schema.

use super::ColumnType;
use crate::{Error, Result, Value};

/// One column of a scope.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Column {
    /// Its name, in the table and in records.
    pub name: String,
    /// Its type.
    pub ty: ColumnType,
    /// Whether it can be NULL.
    pub nullable: bool,
    /// What a record has that does not give it, and what older records get when it is added.
    pub default: Option<Value>,
    /// Its former name: a table that has a column of that name has it renamed.
    pub was: Option<String>,
    /// Whether it is part of the value of a dynamic scope. A unique column that is not declared
    /// among the columns is part of the key only.
    pub in_value: bool,
}

impl Column {
    /// A column that is not NULL and has no default.
    pub fn new(name: impl Into<String>, ty: ColumnType) -> Self {
        Self { name: name.into(), ty, nullable: false, default: None, was: None, in_value: true }
    }

    /// Lets the column be NULL.
    pub fn nullable(mut self, nullable: bool) -> Self {
        self.nullable = nullable;
        self
    }

    /// What the column holds where a record does not give it. A value of a near kind is brought
    /// into the column's type; one that does not fit is found by [`Schema::validate`]. NULL is what
    /// a nullable column holds anyway, and no default.
    pub fn default_value(mut self, value: impl Into<Value>) -> Self {
        let value = value.into();
        let value = self.ty.coerce(value.clone()).unwrap_or(value);
        self.default = Some(value).filter(|value| !value.is_null());
        self
    }

    /// The column's former name.
    pub fn was(mut self, name: impl Into<String>) -> Self {
        self.was = Some(name.into());
        self
    }

    /// Keeps a unique column out of the value of a dynamic scope.
    pub fn key_only(mut self) -> Self {
        self.in_value = false;
        self
    }

    /// Checks a value that is to be written into this column.
    pub(crate) fn check(&self, value: &Value) -> Result<()> {
        match value {
            Value::Null if !self.nullable => Err(Error::invalid_input("it cannot be NULL")),
            Value::Absent => Ok(()),
            value => self.ty.check(value),
        }
        .map_err(|error| error.with_column(&self.name))
    }

    /// Checks a value of the column's Rust type that is to be written, and gives a decimal its
    /// digits after the point.
    pub(super) fn admit(&self, value: &mut Value) -> Result<()> {
        if let (ColumnType::Decimal { .. }, Value::Decimal(_)) = (self.ty, &*value) {
            *value = self.coerce(std::mem::replace(value, Value::Null))?;
        }
        self.check(value)
    }

    /// Brings a value that is to be written into this column's type.
    pub(crate) fn coerce(&self, value: Value) -> Result<Value> {
        let value = match value {
            Value::Absent => Ok(Value::Absent),
            // A NULL in a JSON column is SQL's NULL where the column can be NULL.
            Value::Json(json) if json.is_null() && self.nullable => Ok(Value::Null),
            value => self.ty.coerce(value),
        };
        let value = value.map_err(|error| error.with_column(&self.name))?;
        self.check(&value)?;
        Ok(value)
    }
}
