//! The JSON form of values, for dynamic scopes, `hilcat batch` and JSON Lines.
//!
//! Values without a JSON form are tagged: bytes are `{"$bytes": "<base64>"}`, and floats that are
//! not finite are `{"$float": "NaN"}`. Decimals, uuids, dates and times are strings. Integers keep
//! all digits.

use serde_json::{Map, Number, Value as Json};

pub(crate) use crate::json_text::{describe, parse};
use crate::range;
use crate::{ColumnType, Error, Result, Value, decimal, temporal, text};

impl Value {
    /// Converts the value to JSON, as in dynamic scopes.
    ///
    /// Bytes are `{"$bytes": "<base64>"}`, and floats that are not finite are `{"$float": "NaN"}`.
    /// Decimals, uuids, dates and times are strings.
    pub fn into_json(self) -> serde_json::Value {
        from_value(self)
    }

    /// Converts JSON in the form of [`into_json`](Value::into_json) to a value of a type.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidInput`](crate::ErrorKind::InvalidInput) if the JSON is not of the type.
    pub fn from_json(json: serde_json::Value, ty: ColumnType) -> Result<Self> {
        to_value(json, ty)
    }
}

/// Converts a value to JSON.
pub(crate) fn from_value(value: Value) -> Json {
    match value {
        Value::Absent | Value::Null => Json::Null,
        Value::Bool(v) => Json::Bool(v),
        Value::Int(v) => v.into(),
        Value::UInt(v) => v.into(),
        Value::Float(v) => Number::from_f64(v)
            .map(Json::Number)
            .unwrap_or_else(|| tagged("$float", text::float(v))),
        Value::Text(v) | Value::Decimal(v) => Json::String(v),
        Value::Bytes(v) => tagged("$bytes", text::bytes_to_base64(&v)),
        Value::Json(v) => *v,
        other => Json::String(text::from_value(&other).into_owned()),
    }
}

fn tagged(tag: &str, value: String) -> Json {
    Json::Object(Map::from_iter([(tag.to_owned(), Json::String(value))]))
}

/// Converts JSON to a value of a type.
///
/// # Errors
///
/// If the JSON is not of the type.
pub(crate) fn to_value(json: Json, ty: ColumnType) -> Result<Value> {
    if ty == ColumnType::Json {
        return Ok(Value::Json(Box::new(json)));
    }
    let found = kind(&json);
    if json.is_i64() || json.is_u64() {
        check_integer(&json, ty)?;
    }
    let value = match (ty, json) {
        (_, Json::Null) => Some(Value::Null),
        (ColumnType::Bool, Json::Bool(v)) => Some(Value::Bool(v)),
        (ColumnType::SmallInt | ColumnType::Int | ColumnType::BigInt, Json::Number(v)) => {
            v.as_i64().map(Value::Int)
        }
        (ColumnType::UBigInt, Json::Number(v)) => v.as_u64().map(Value::UInt),
        (ColumnType::Real | ColumnType::Double, Json::Number(v)) => {
            Some(range::number_as_float(&v, ty)?)
        }
        (ColumnType::Real | ColumnType::Double, Json::Object(map)) => tagged_float(&map),
        (ColumnType::Text | ColumnType::Varchar(_), Json::String(v)) => Some(Value::Text(v)),
        (ColumnType::Bytes, Json::Object(map)) => match untag(&map, "$bytes") {
            Some(text) => Some(Value::Bytes(text::bytes_from_base64(text)?)),
            None => None,
        },
        (ColumnType::Decimal { precision, scale }, Json::String(v)) => {
            Some(Value::Decimal(decimal::canonical(&v, precision, scale)?))
        }
        (ColumnType::Decimal { precision, scale }, Json::Number(v)) if !v.is_f64() => {
            Some(Value::Decimal(decimal::canonical(&v.to_string(), precision, scale)?))
        }
        (ColumnType::Date, Json::String(v)) => Some(Value::Date(temporal::parse_date(&v)?)),
        (ColumnType::Time, Json::String(v)) => Some(Value::Time(temporal::parse_time(&v)?)),
        (ColumnType::Timestamp, Json::String(v)) => {
            Some(Value::Timestamp(temporal::parse_timestamp(&v)?))
        }
        (ColumnType::Uuid, Json::String(v)) => Some(Value::Uuid(text::parse_uuid(&v)?)),
        _ => None,
    };
    value.ok_or_else(|| {
        Error::invalid_input(format!("expected {} for type {ty}, found {found}", expected(ty)))
    })
}

/// Returns an error for an integer that is out of the range of an integer type.
fn check_integer(json: &Json, ty: ColumnType) -> Result<()> {
    let fits = match ty {
        ColumnType::SmallInt | ColumnType::Int | ColumnType::BigInt => json.is_i64(),
        ColumnType::UBigInt => json.is_u64(),
        _ => true,
    };
    match fits {
        true => Ok(()),
        false => Err(range::out_of_range(ty)),
    }
}

fn tagged_float(map: &Map<String, Json>) -> Option<Value> {
    Some(Value::Float(match untag(map, "$float")? {
        "NaN" => f64::NAN,
        "Infinity" => f64::INFINITY,
        "-Infinity" => f64::NEG_INFINITY,
        _ => return None,
    }))
}

fn untag<'a>(map: &'a Map<String, Json>, tag: &str) -> Option<&'a str> {
    if map.len() == 1 { map.get(tag)?.as_str() } else { None }
}

/// Returns the kind of a JSON value, for messages.
pub(crate) fn kind(json: &Json) -> &'static str {
    match json {
        Json::Null => "null",
        Json::Bool(_) => "a boolean",
        Json::Number(v) if v.is_f64() => "a number with a fraction",
        Json::Number(_) => "an integer",
        Json::String(_) => "a string",
        Json::Array(_) => "an array",
        Json::Object(_) => "an object",
    }
}

/// Returns the expected JSON for a type, for messages.
fn expected(ty: ColumnType) -> &'static str {
    match ty {
        ColumnType::Bool => "true or false",
        ColumnType::SmallInt | ColumnType::Int | ColumnType::BigInt => "an integer",
        ColumnType::UBigInt => "an integer from 0",
        ColumnType::Real | ColumnType::Double => "a number or {\"$float\": \"NaN\"}",
        ColumnType::Decimal { .. } => "a string of digits",
        ColumnType::Text | ColumnType::Varchar(_) => "a string",
        ColumnType::Bytes => "{\"$bytes\": \"<base64>\"}",
        ColumnType::Json => "any JSON",
        ColumnType::Date => "a string as 2013-01-31",
        ColumnType::Time => "a string as 05:15:00",
        ColumnType::Timestamp => "a string as 2013-01-31T05:15:00Z",
        ColumnType::Uuid => "a string as 67e55044-10b1-426f-9247-bb680e5fe0c8",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn values_without_a_json_form_are_tagged() {
        assert_eq!(from_value(Value::Bytes(vec![1, 2])), json!({"$bytes": "AQI="}));
        assert_eq!(from_value(Value::Float(f64::NAN)), json!({"$float": "NaN"}));
        assert_eq!(from_value(Value::UInt(u64::MAX)).to_string(), "18446744073709551615");
        let back = to_value(json!({"$bytes": "AQI="}), ColumnType::Bytes).unwrap();
        assert_eq!(back, Value::Bytes(vec![1, 2]));
        let infinity = to_value(json!({"$float": "-Infinity"}), ColumnType::Double).unwrap();
        assert_eq!(infinity, Value::Float(f64::NEG_INFINITY));
    }

    #[test]
    fn an_integer_beyond_its_type_is_out_of_range() {
        for (value, ty) in [(json!(u64::MAX), ColumnType::BigInt), (json!(-1), ColumnType::UBigInt)]
        {
            let error = to_value(value, ty).unwrap_err().to_string();
            assert!(error.contains(&format!("out of the range of type {ty}")), "{error}");
        }
    }

    #[test]
    fn a_value_of_a_different_type_is_an_error() {
        for (value, ty) in [
            (json!("7"), ColumnType::Int),
            (json!(7.5), ColumnType::Int),
            (json!(-1), ColumnType::UBigInt),
            (json!(7), ColumnType::Text),
            (json!("x"), ColumnType::Bytes),
            (json!({"$float": "7"}), ColumnType::Double),
            (json!(9_007_199_254_740_993_i64), ColumnType::Double),
            (json!(1.5), ColumnType::Decimal { precision: 5, scale: 2 }),
        ] {
            assert!(to_value(value.clone(), ty).is_err(), "{value} as {ty}");
        }
    }

    #[test]
    fn a_real_is_the_nearest_one() {
        let real = to_value(json!(0.1), ColumnType::Real).unwrap();
        assert_eq!(real, Value::Float(f64::from(0.1_f32)));
        assert_eq!(to_value(from_value(real.clone()), ColumnType::Real).unwrap(), real);
        assert!(to_value(json!(1e300), ColumnType::Real).is_err());
        assert!(to_value(json!(1e-50), ColumnType::Real).is_err());
        assert!(to_value(json!(16_777_217), ColumnType::Real).is_err());
    }

    #[test]
    fn an_integer_beyond_64_bits_is_not_rounded() {
        assert!(parse("[18446744073709551615, -9223372036854775808]").is_ok());
        assert!(parse(r#"{"a": 18446744073709551616}"#).is_err());
        assert!(parse(r#"{"18446744073709551616": "18446744073709551616\""}"#).is_ok());
        assert!(parse("1e400").unwrap_err().to_string().contains("beyond the largest"));
        assert!(parse("[1e-400]").unwrap_err().to_string().contains("become zero"));
        assert!(parse("[0e-400, 0.0, 5e-324]").is_ok());
        assert!(parse("123456789012345678901234.5").is_ok());
    }
}
