//! The text form of values: fields of a CSV file, command-line arguments, parts of a key.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

use crate::range;
use crate::{ColumnType, Error, Result, Value, decimal, json_text, temporal};

impl Value {
    /// Formats the value as text, as in a CSV file: floats in the fewest digits that round-trip,
    /// bytes in base64, dates and times in RFC 3339, NULL as empty text.
    pub fn to_text(&self) -> Cow<'_, str> {
        from_value(self)
    }

    /// Parses a value of a type from the output of [`to_text`](Value::to_text) or other common
    /// spellings.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidInput`](crate::ErrorKind::InvalidInput) if the text is not of the type.
    pub fn from_text(text: &str, ty: ColumnType) -> Result<Self> {
        to_value(text, ty)
    }
}

/// Formats a value as text; NULL is the empty text.
pub(crate) fn from_value(value: &Value) -> Cow<'_, str> {
    match value {
        Value::Absent | Value::Null => "".into(),
        Value::Bool(v) => if *v { "true" } else { "false" }.into(),
        Value::Int(v) => v.to_string().into(),
        Value::UInt(v) => v.to_string().into(),
        Value::Float(v) => float(*v).into(),
        Value::Text(v) | Value::Decimal(v) => v.into(),
        Value::Bytes(v) => BASE64.encode(v).into(),
        Value::Json(v) => v.to_string().into(),
        Value::Date(v) => temporal::date_to_text(*v).into(),
        Value::Time(v) => temporal::time_to_text(*v).into(),
        Value::Timestamp(v) => temporal::timestamp_to_text(*v).into(),
        Value::Uuid(v) => uuid(v).into(),
    }
}

/// Parses a value of a type from text.
///
/// # Errors
///
/// If the text is not of the type.
pub(crate) fn to_value(text: &str, ty: ColumnType) -> Result<Value> {
    let not = || Error::invalid_input(format!("the text is not of type {ty}"));
    Ok(match ty {
        ColumnType::Bool => Value::Bool(match text {
            "true" | "t" | "TRUE" | "True" | "1" => true,
            "false" | "f" | "FALSE" | "False" | "0" => false,
            _ => {
                return Err(Error::invalid_input(
                    "the text is not of type bool: write true or false",
                ));
            }
        }),
        ColumnType::SmallInt | ColumnType::Int | ColumnType::BigInt => {
            Value::Int(text.parse().map_err(|_| not())?)
        }
        ColumnType::UBigInt => Value::UInt(text.parse().map_err(|_| not())?),
        ColumnType::Real | ColumnType::Double => range::text_as_float(text, ty)?,
        ColumnType::Decimal { precision, scale } => {
            Value::Decimal(decimal::canonical(text, precision, scale)?)
        }
        ColumnType::Text | ColumnType::Varchar(_) => Value::Text(text.to_owned()),
        ColumnType::Bytes => Value::Bytes(bytes_from_base64(text)?),
        ColumnType::Json => Value::Json(Box::new(json_text::parse(text)?)),
        ColumnType::Date => Value::Date(temporal::parse_date(text)?),
        ColumnType::Time => Value::Time(temporal::parse_time(text)?),
        ColumnType::Timestamp => Value::Timestamp(temporal::parse_timestamp(text)?),
        ColumnType::Uuid => Value::Uuid(parse_uuid(text)?),
    })
}

/// Returns the shortest text that parses to the same float.
pub(crate) fn float(value: f64) -> String {
    if value.is_nan() {
        "NaN".to_owned()
    } else if value.is_infinite() {
        if value > 0.0 { "Infinity" } else { "-Infinity" }.to_owned()
    } else {
        format!("{value:?}")
    }
}

pub(crate) fn bytes_to_base64(bytes: &[u8]) -> String {
    BASE64.encode(bytes)
}

pub(crate) fn bytes_from_base64(text: &str) -> Result<Vec<u8>> {
    BASE64.decode(text).map_err(|_| Error::invalid_input("the text is not base64"))
}

/// Formats a UUID as `67e55044-10b1-426f-9247-bb680e5fe0c8`.
pub(crate) fn uuid(bytes: &[u8; 16]) -> String {
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-")
}

/// Parses a UUID of 32 hexadecimal digits, with or without the four hyphens.
pub(crate) fn parse_uuid(text: &str) -> Result<[u8; 16]> {
    let wrong =
        || Error::invalid_input("not a uuid; write it as 67e55044-10b1-426f-9247-bb680e5fe0c8");
    let well_formed = text.len() == 32
        || text.len() == 36 && [8, 13, 18, 23].iter().all(|&at| text.as_bytes()[at] == b'-');
    let digits: Vec<u8> = text.bytes().filter(|byte| *byte != b'-').collect();
    if !well_formed || digits.len() != 32 {
        return Err(wrong());
    }
    let mut bytes = [0; 16];
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        let digit = |byte: u8| (byte as char).to_digit(16).ok_or_else(wrong);
        *byte = (digit(pair[0])? * 16 + digit(pair[1])?) as u8;
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_round_trips() {
        let decimal = ColumnType::Decimal { precision: 10, scale: 2 };
        let cases = [
            (Value::Bool(true), ColumnType::Bool),
            (Value::Int(i64::MIN), ColumnType::BigInt),
            (Value::UInt(u64::MAX), ColumnType::UBigInt),
            (Value::Float(0.1 + 0.2), ColumnType::Double),
            (Value::Float(1e300), ColumnType::Double),
            (Value::Float(f64::NEG_INFINITY), ColumnType::Double),
            (Value::Text(" a, \"b\"\n".into()), ColumnType::Text),
            (Value::Bytes(vec![0, 255]), ColumnType::Bytes),
            (Value::Json(Box::new(serde_json::json!({"a": [1, null]}))), ColumnType::Json),
            (Value::Decimal("-1.50".into()), decimal),
            (Value::Date(0), ColumnType::Date),
            (Value::Time(1), ColumnType::Time),
            (Value::Timestamp(-1), ColumnType::Timestamp),
            (Value::Uuid(*b"0123456789abcdef"), ColumnType::Uuid),
        ];
        for (value, ty) in cases {
            assert_eq!(to_value(&from_value(&value), ty).unwrap(), value, "{ty}");
        }
    }

    #[test]
    fn a_uuid_is_read_with_or_without_hyphens() {
        let text = "67e55044-10b1-426f-9247-bb680e5fe0c8";
        assert_eq!(uuid(&parse_uuid(text).unwrap()), text);
        assert_eq!(parse_uuid(&text.replace('-', "")).unwrap(), parse_uuid(text).unwrap());
        for wrong in [
            "",
            "67e55044",
            "67e5504410b1-426f-9247-bb680e5fe0c8----",
            "ü7e55044-10b1-426f-9247-bb680e5fe0c",
        ] {
            assert!(parse_uuid(wrong).is_err(), "{wrong}");
        }
    }
}
