//! A value of a stored record, before it is converted to the type of its column.

use serde_json::Value as Json;

use crate::{Column, ColumnType, Error, Result, Value};

/// Tags a JSON value that would otherwise be mistaken for NULL or for a tagged value.
pub(super) const JSON_TAG: &str = "$json";

#[derive(Debug)]
pub(super) enum ColumnValue<'a> {
    Json(Json),
    #[cfg(feature = "msgpack")]
    Message(rmpv::ValueRef<'a>),
    #[cfg(not(feature = "msgpack"))]
    #[expect(dead_code, reason = "without MessagePack no value is borrowed")]
    Borrowed(std::marker::PhantomData<&'a ()>, std::convert::Infallible),
}

impl ColumnValue<'_> {
    /// Converts the value to JSON; values without a JSON form are tagged.
    pub(super) fn into_json(self) -> Json {
        match self {
            Self::Json(json) => json,
            #[cfg(feature = "msgpack")]
            Self::Message(value) => super::message::to_json(value),
            #[cfg(not(feature = "msgpack"))]
            Self::Borrowed(_, never) => match never {},
        }
    }

    /// Converts the value to that of a column.
    ///
    /// # Errors
    ///
    /// Fails if it is not of the column's type.
    pub(super) fn into_value(self, column: &Column) -> Result<Value> {
        match self {
            #[cfg(feature = "msgpack")]
            Self::Message(value) => super::message::to_value(value, column),
            other => from_json(other.into_json(), column),
        }
    }
}

/// Converts a JSON value to that of a column.
pub(super) fn from_json(json: Json, column: &Column) -> Result<Value> {
    if column.ty == ColumnType::Json {
        return Ok(untag(json, column.nullable));
    }
    let value = crate::json::to_value(json, column.ty).and_then(|value| {
        column.check(&value)?;
        Ok(value)
    });
    value.map_err(|error| invalid(column, error.message()))
}

/// The error of a value that does not fit its column.
pub(super) fn invalid(column: &Column, message: &str) -> Error {
    Error::invalid_data(format!("the stored record does not fit the schema: {message}"))
        .with_column(&column.name)
}

/// Reads the value of a JSON column; in a nullable column, `null` is NULL.
pub(super) fn untag(json: Json, nullable: bool) -> Value {
    match json {
        Json::Null if nullable => Value::Null,
        Json::Object(mut map) if nullable && map.len() == 1 => match map.remove(JSON_TAG) {
            Some(inner) => Value::Json(Box::new(inner)),
            None => Value::Json(Box::new(Json::Object(map))),
        },
        json => Value::Json(Box::new(json)),
    }
}

/// Whether the JSON of a nullable column must be tagged.
pub(super) fn needs_tag(json: &Json) -> bool {
    match json {
        Json::Null => true,
        Json::Object(map) => map.len() == 1 && map.contains_key(JSON_TAG),
        _ => false,
    }
}
