//! The ranges of column types. Text, JSON, TOML, stored records and Rust values share these rules:
//!
//! - An integer literal converts to a float only if the float represents it exactly.
//! - A literal with a point or an exponent converts to the nearest float. It is rejected if it is
//!   beyond the largest float, or if it is nonzero and would become zero.
//! - A value that is already a float (a field, a [`Value`]) must be represented exactly: a `real`
//!   column rejects an `f64` that is not an `f32`.
//!
//! Parsers of JSON and MessagePack return `f64`s for literals, so a `real` is always rounded from
//! the nearest `f64`: a literal has the same value in every format.

use serde_json::Number;

use crate::{ColumnType, Error, Result, Value, decimal, temporal};

/// The smallest integer beyond the range of `i64`.
const BEYOND_I64: u64 = 1 << 63;

/// The smallest float beyond the range of `i128`.
const BEYOND_I128: f64 = -(i128::MIN as f64);

/// Checks that a value is valid for a type. NULL is valid for every type.
pub(crate) fn check(ty: ColumnType, value: &Value) -> Result<()> {
    let fits = match (ty, value) {
        (_, Value::Null) => true,
        (ColumnType::SmallInt, Value::Int(v)) => i16::try_from(*v).is_ok(),
        (ColumnType::Int, Value::Int(v)) => i32::try_from(*v).is_ok(),
        (ColumnType::Real, Value::Float(v)) => return check_real(*v),
        (ColumnType::Varchar(length), Value::Text(v)) => fits_varchar(v, length),
        (ColumnType::Date, Value::Date(v)) => temporal::DATES.contains(v),
        (ColumnType::Time, Value::Time(v)) => temporal::TIMES.contains(v),
        (ColumnType::Timestamp, Value::Timestamp(v)) => temporal::TIMESTAMPS.contains(v),
        (ColumnType::Decimal { precision, scale }, Value::Decimal(v)) => {
            decimal::canonical(v, precision, scale)? == *v
        }
        (ColumnType::Bool, Value::Bool(_))
        | (ColumnType::BigInt, Value::Int(_))
        | (ColumnType::UBigInt, Value::UInt(_))
        | (ColumnType::Double, Value::Float(_))
        | (ColumnType::Text, Value::Text(_))
        | (ColumnType::Bytes, Value::Bytes(_))
        | (ColumnType::Json, Value::Json(_))
        | (ColumnType::Uuid, Value::Uuid(_)) => true,
        (
            ColumnType::SmallInt | ColumnType::Int | ColumnType::BigInt,
            Value::UInt(BEYOND_I64..),
        )
        | (ColumnType::UBigInt, Value::Int(..0)) => false,
        _ => {
            let kind = value.kind();
            return Err(Error::invalid_input(format!(
                "expected a value of type {ty}, found {kind}"
            )));
        }
    };
    if fits { Ok(()) } else { Err(out_of_range(ty)) }
}

/// Returns the error for a value out of the range of a type.
pub(crate) fn out_of_range(ty: ColumnType) -> Error {
    Error::invalid_input(format!("the value is out of the range of type {ty}"))
}

/// Checks a float that is not a literal.
fn check_real(value: f64) -> Result<()> {
    match value.is_nan() || f64::from(value as f32) == value {
        true => Ok(()),
        false => Err(Error::invalid_input(
            "the number has more digits than a value of type real holds, or is out of its range",
        )),
    }
}

/// Returns whether a text has at most `length` characters.
fn fits_varchar(text: &str, length: u32) -> bool {
    let length = length as usize;
    text.len() <= length || text.chars().count() <= length
}

/// Converts an integer to a float.
///
/// # Errors
///
/// If no float of the type represents the integer exactly.
pub(crate) fn integer_as_float(integer: i128, ty: ColumnType) -> Result<Value> {
    let float = match ty {
        ColumnType::Real => f64::from(integer as f32),
        _ => integer as f64,
    };
    // The cast of a float beyond the range saturates, and could equal the greatest integer.
    match float < BEYOND_I128 && float as i128 == integer {
        true => Ok(Value::Float(float)),
        false => Err(inexact(ty)),
    }
}

fn inexact(ty: ColumnType) -> Error {
    Error::invalid_input(format!(
        "the integer has more digits than a value of type {ty} holds; with a point, as in 1.0, it is rounded"
    ))
}

/// Rounds the literal of a fraction to a float, given the nearest `f64`.
///
/// # Errors
///
/// If it is beyond the largest float of the type, or so small that it would become zero.
pub(crate) fn fraction_as_float(nearest: f64, ty: ColumnType) -> Result<Value> {
    let float = match ty {
        ColumnType::Real => f64::from(nearest as f32),
        _ => nearest,
    };
    match float.is_infinite() && nearest.is_finite() || float == 0.0 && nearest != 0.0 {
        true => Err(out_of_range(ty)),
        false => Ok(Value::Float(float)),
    }
}

/// Converts a JSON number to a float.
///
/// # Errors
///
/// As [`integer_as_float`] and [`fraction_as_float`].
pub(crate) fn number_as_float(number: &Number, ty: ColumnType) -> Result<Value> {
    match (number.as_i128(), number.as_f64()) {
        (Some(integer), _) => integer_as_float(integer, ty),
        (None, Some(fraction)) => fraction_as_float(fraction, ty),
        (None, None) => Err(out_of_range(ty)),
    }
}

/// Parses a float: an integer, a fraction, `inf`, `infinity` or `NaN` (in any case).
///
/// # Errors
///
/// If the text is not a float, and as [`integer_as_float`] and [`fraction_as_float`].
pub(crate) fn text_as_float(text: &str, ty: ColumnType) -> Result<Value> {
    let nearest: f64 =
        text.parse().map_err(|_| Error::invalid_input(format!("the text is not of type {ty}")))?;
    match spelling(text) {
        Spelling::Word => Ok(Value::Float(nearest)),
        Spelling::Integer => match text.parse() {
            Ok(integer) => signed_zero(integer_as_float(integer, ty)?, text),
            // It has more digits than an `i128`.
            Err(_) => Err(inexact(ty)),
        },
        Spelling::Fraction if nearest.is_infinite() || is_lost(text, nearest) => {
            Err(out_of_range(ty))
        }
        Spelling::Fraction => fraction_as_float(nearest, ty),
    }
}

/// Restores the sign of `-0`, which an integer does not have.
fn signed_zero(value: Value, text: &str) -> Result<Value> {
    match value {
        Value::Float(0.0) if text.starts_with('-') => Ok(Value::Float(-0.0)),
        value => Ok(value),
    }
}

/// The spelling of a float as text.
enum Spelling {
    Word,
    Integer,
    Fraction,
}

fn spelling(text: &str) -> Spelling {
    match text.trim_start_matches(['+', '-']).as_bytes() {
        digits if digits.iter().all(u8::is_ascii_digit) => Spelling::Integer,
        [b'0'..=b'9' | b'.', ..] => Spelling::Fraction,
        _ => Spelling::Word,
    }
}

/// Returns whether a nonzero literal has become zero.
pub(crate) fn is_lost(literal: &str, nearest: f64) -> bool {
    let digits = literal.split(['e', 'E']).next().unwrap_or_default();
    nearest == 0.0 && digits.contains(|digit: char| matches!(digit, '1'..='9'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_integer_becomes_a_float_only_if_exact() {
        for (text, ty, exact) in [
            ("9007199254740992", ColumnType::Double, true),
            ("9007199254740993", ColumnType::Double, false),
            ("-9007199254740993", ColumnType::Double, false),
            ("16777216", ColumnType::Real, true),
            ("16777217", ColumnType::Real, false),
            ("16777217", ColumnType::Double, true),
            ("18446744073709551615", ColumnType::Double, false),
            ("18446744073709551616", ColumnType::Double, true),
            ("1000000000000000000000000000000000000000000000", ColumnType::Double, false),
            ("170141183460469231731687303715884105727", ColumnType::Double, false),
            ("-170141183460469231731687303715884105728", ColumnType::Real, true),
        ] {
            assert_eq!(text_as_float(text, ty).is_ok(), exact, "{text} as {ty}");
        }
        assert_eq!(text_as_float("-0", ColumnType::Double).unwrap().to_text(), "-0.0");
    }

    #[test]
    fn a_fraction_is_rounded_within_the_range() {
        for (text, ty, fits) in [
            ("0.1", ColumnType::Real, true),
            ("16777217.0", ColumnType::Real, true),
            ("9007199254740993.0", ColumnType::Double, true),
            ("1e400", ColumnType::Double, false),
            ("-1e400", ColumnType::Double, false),
            ("1e39", ColumnType::Real, false),
            ("1e-50", ColumnType::Real, false),
            ("1e-400", ColumnType::Double, false),
            ("5e-324", ColumnType::Double, true),
            ("0e-400", ColumnType::Double, true),
            ("0.000", ColumnType::Real, true),
            ("inf", ColumnType::Double, true),
            ("-Infinity", ColumnType::Real, true),
            ("NaN", ColumnType::Real, true),
            ("0x10", ColumnType::Double, false),
            ("", ColumnType::Double, false),
        ] {
            assert_eq!(text_as_float(text, ty).is_ok(), fits, "{text} as {ty}");
        }
    }
}
