//! One value of a stored record whose column is not known yet.

use serde_json::Value as Json;

use crate::{Column, ColumnType, Error, Result, Value};

/// The name that tags a JSON value which would be taken for NULL, or for a tagged one.
pub(super) const JSON_TAG: &str = "$json";

#[derive(Debug)]
pub(super) enum ColumnValue<'a> {
    Json(Json),
    #[cfg(feature = "msgpack")]
    Message(rmpv::ValueRef<'a>),
    #[cfg(not(feature = "msgpack"))]
    #[expect(dead_code, reason = "without MessagePack nothing is lent")]
    Lent(std::marker::PhantomData<&'a ()>, std::convert::Infallible),
}

impl ColumnValue<'_> {
    /// The cell as JSON, with what JSON cannot say tagged.
    pub(super) fn into_json(self) -> Json {
        match self {
            Self::Json(json) => json,
            #[cfg(feature = "msgpack")]
            Self::Message(value) => super::message::to_json(value),
            #[cfg(not(feature = "msgpack"))]
            Self::Lent(_, never) => match never {},
        }
    }

    /// The cell as the value of a column.
    ///
    /// # Errors
    ///
    /// Where it is not one of the column's type.
    pub(super) fn into_value(self, column: &Column) -> Result<Value> {
        match self {
            #[cfg(feature = "msgpack")]
            Self::Message(value) => super::message::to_value(value, column),
            other => from_json(other.into_json(), column),
        }
    }
}

/// A JSON value as the value of a column.
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

/// The error of a cell that is not what its column says.
pub(super) fn invalid(column: &Column, message: &str) -> Error {
    Error::invalid_data(format!("the stored record does not fit: {message}"))
        .with_column(&column.name)
}

/// The value of a JSON column. Where it can be NULL, that is what `null` is.
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

/// Whether the JSON of a column that can be NULL has to be tagged to come back as itself.
pub(super) fn needs_tag(json: &Json) -> bool {
    match json {
        Json::Null => true,
        Json::Object(map) => map.len() == 1 && map.contains_key(JSON_TAG),
        _ => false,
    }
}
