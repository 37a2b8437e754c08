//! How the value of a function is stored: as a record, in a column, or as JSON in a column.
//!
//! The macro has no type information. It expands to `(&&Return::<T>::NEW).kind()`, and method
//! resolution selects the first trait whose bounds the type satisfies.

use std::marker::PhantomData;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{Function, Part};
use crate::record::json_value;
use crate::{
    Column, ColumnType, ColumnValue, Error, Key, Result, Row, Schema, ScopeRecord, Value, json,
};

/// The return type of a function.
#[derive(Debug)]
pub struct Return<T>(PhantomData<fn() -> T>);

impl<T> Return<T> {
    pub const NEW: Self = Self(PhantomData);
}

/// A value stored as a record.
#[derive(Debug)]
pub struct Record<T>(PhantomData<fn() -> T>);

/// A value stored in a column.
#[derive(Debug)]
pub struct InColumn<T>(PhantomData<fn() -> T>);

/// A value stored as JSON in a column, which can be NULL if the type is an `Option`.
#[derive(Debug)]
pub struct Json<T, const NULLABLE: bool>(PhantomData<fn() -> T>);

impl<T, const NULLABLE: bool> Json<T, NULLABLE> {
    pub const NEW: Self = Self(PhantomData);
}

/// A value that cannot be stored.
#[derive(Debug)]
pub struct Neither<T>(PhantomData<fn() -> T>);

pub trait OfRecord<T> {
    fn kind(&self) -> Record<T>;
}

impl<T: ScopeRecord> OfRecord<T> for &&Return<T> {
    fn kind(&self) -> Record<T> {
        Record(PhantomData)
    }
}

pub trait OfColumn<T> {
    fn kind(&self) -> InColumn<T>;
}

impl<T: ColumnValue> OfColumn<T> for &Return<T> {
    fn kind(&self) -> InColumn<T> {
        InColumn(PhantomData)
    }
}

/// The fallback for all other types. Its bound is checked at the return type, so that the compiler
/// reports one error there.
pub trait OfNothing<T> {
    fn kind(&self) -> Neither<T>
    where
        T: Returned;
}

impl<T> OfNothing<T> for Return<T> {
    fn kind(&self) -> Neither<T>
    where
        T: Returned,
    {
        Neither(PhantomData)
    }
}

/// A type whose values can be stored. It has no implementations: the other traits are selected
/// first for such types, and the others get this trait's error message.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be cached",
    label = "neither a record nor a column type",
    note = "derive `hilcat::ScopeRecord` for it, or use `json` to store any serde type as JSON",
    note = "the value in a `Result` is cached: write the return type as `Result<T, E>`"
)]
pub trait Returned {}

/// How values of a type are stored.
pub trait Kind {
    type Value;

    /// Returns the schema of a function that returns such values, for a key of these parts.
    ///
    /// # Errors
    ///
    /// If the function does not match the key of its record.
    fn schema(function: &Function, parts: &[Part]) -> Result<Schema>;

    /// Returns the row of a key and a value.
    ///
    /// # Errors
    ///
    /// If the value cannot be serialized.
    fn to_row(key: &Key, value: &Self::Value) -> Result<Row>;

    /// Reads the value of a row.
    ///
    /// # Errors
    ///
    /// If the stored value is not of this type.
    fn from_row(row: Row) -> Result<Self::Value>;
}

impl<T: ScopeRecord> Kind for Record<T> {
    type Value = T;

    fn schema(function: &Function, parts: &[Part]) -> Result<Schema> {
        let mut schema = T::schema();
        if let Some(scope) = function.scope {
            scope.clone_into(&mut schema.name);
            scope.clone_into(&mut schema.table);
        }
        if let Some(table) = function.table {
            table.clone_into(&mut schema.table);
        }
        schema.freshness = function.freshness.or(&schema.freshness);
        schema.migrate = function.migrate.unwrap_or(schema.migrate);
        check_record(function, parts, &schema)?;
        Ok(schema)
    }

    fn to_row(_: &Key, value: &T) -> Result<Row> {
        value.to_row()
    }

    fn from_row(row: Row) -> Result<T> {
        T::from_row(row)
    }
}

/// Checks that the key of a function is the key of the record that it returns.
fn check_record(function: &Function, parts: &[Part], schema: &Schema) -> Result<()> {
    let unique: Vec<&str> = schema.key_columns().map(|column| column.name.as_str()).collect();
    let wrong = |what: String| Err(Error::invalid_schema(what).with_scope(&schema.name));
    if function.column.is_some() {
        return wrong(
            "a function that returns a record uses the columns of the record: remove `column`"
                .into(),
        );
    }
    let (given, wanted) = (function.keys.join(", "), unique.join(", "));
    match function.keys.is_empty() {
        true if parts.len() != unique.len() => wrong(format!(
            "`key` has {} parts, and the record that the function returns has the unique columns {wanted}",
            parts.len()
        )),
        false if function.keys != unique => wrong(format!(
            "the arguments of the function are {given}, and the record that it returns has the unique columns {wanted}: set `key = ...`"
        )),
        _ => Ok(()),
    }
}

/// Returns the schema of a function with one value per key.
fn of_value(function: &Function, parts: &[Part], ty: ColumnType, nullable: bool) -> Schema {
    let name = function.scope.unwrap_or(function.name);
    let mut schema = Schema::new(name).table(function.table.unwrap_or(name));
    for (at, part) in parts.iter().enumerate() {
        let column = match function.keys.get(at) {
            Some(name) => (*name).to_owned(),
            None if parts.len() == 1 => "key".to_owned(),
            None => format!("key{}", at + 1),
        };
        schema = schema.unique(Column::new(column, part.ty));
    }
    schema.freshness = function.freshness.clone();
    schema.migrate = function.migrate.unwrap_or_default();
    schema.column(Column::new(value_column(function), ty).nullable(nullable))
}

/// Returns the name of the value column: `value`, unless an argument has this name.
fn value_column(function: &Function) -> &'static str {
    let named = |name| function.keys.contains(&name);
    function.column.unwrap_or(if named("value") { "result" } else { "value" })
}

fn row_of(key: &Key, value: Value) -> Row {
    key.values().iter().cloned().chain([value]).collect()
}

fn value_of(mut row: Row) -> Result<Value> {
    row.pop().ok_or_else(|| Error::invalid_data("the row is empty"))
}

impl<T: ColumnValue> Kind for InColumn<T> {
    type Value = T;

    fn schema(function: &Function, parts: &[Part]) -> Result<Schema> {
        Ok(of_value(function, parts, T::TYPE, T::NULLABLE))
    }

    fn to_row(key: &Key, value: &T) -> Result<Row> {
        Ok(row_of(key, value.to_value()))
    }

    fn from_row(row: Row) -> Result<T> {
        T::from_value(value_of(row)?)
    }
}

impl<T: Serialize + DeserializeOwned, const NULLABLE: bool> Kind for Json<T, NULLABLE> {
    type Value = T;

    fn schema(function: &Function, parts: &[Part]) -> Result<Schema> {
        Ok(of_value(function, parts, ColumnType::Json, NULLABLE))
    }

    fn to_row(key: &Key, value: &T) -> Result<Row> {
        Ok(row_of(key, json_value(value, NULLABLE, "value")?))
    }

    fn from_row(row: Row) -> Result<T> {
        let json = match value_of(row)? {
            Value::Json(json) => *json,
            Value::Null => serde_json::Value::Null,
            _ => return Err(Error::invalid_data("the stored value is not JSON")),
        };
        serde_json::from_value(json).map_err(|error| {
            let what = json::describe(&error);
            Error::invalid_data(format!("the stored JSON does not match the return type: {what}"))
        })
    }
}

impl<T> Kind for Neither<T> {
    type Value = T;

    fn schema(function: &Function, _: &[Part]) -> Result<Schema> {
        Err(Error::unsupported(format!("the value of `{}` cannot be stored", function.name)))
    }

    fn to_row(_: &Key, _: &T) -> Result<Row> {
        Ok(Row::new())
    }

    fn from_row(_: Row) -> Result<T> {
        Err(Error::unsupported("the value cannot be stored"))
    }
}
