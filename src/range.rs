//! Which values a column type holds: the one place of these rules, for text, JSON, TOML, stored
//! records and the values of Rust types.
//!
//! - An integer literal becomes a float only where the float holds it exactly.
//! - A literal with a point or an exponent becomes the nearest float. Beyond the largest float it
//!   is refused, and so is one other than zero that would become zero.
//! - A float that is already one (a field, a [`Value`]) must be held exactly: a `real` column
//!   takes no `f64` that is not an `f32`.
//!
//! JSON and MessagePack give `f64`s for literals, so a `real` is always rounded from the nearest
//! `f64`: the same literal is the same value, wherever it was read.

use serde_json::Number;

use crate::{ColumnType, Error, Result, Value, decimal, temporal};

/// The first integer that an `i64` does not hold.
const BEYOND_I64: u64 = 1 << 63;

/// The first float that an `i128` does not hold.
const BEYOND_I128: f64 = -(i128::MIN as f64);

/// Checks that a value is one of a type, NULL included.
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

/// The error for a value beyond what a type holds.
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

/// Whether a text has at most `length` characters.
fn fits_varchar(text: &str, length: u32) -> bool {
    let length = length as usize;
    text.len() <= length || text.chars().count() <= length
}

/// The float that an integer is.
///
/// # Errors
///
/// Where no float of the type is exactly that integer.
pub(crate) fn integer_as_float(integer: i128, ty: ColumnType) -> Result<Value> {
    let float = match ty {
        ColumnType::Real => f64::from(integer as f32),
        _ => integer as f64,
    };
    // A float beyond the range would be taken for the greatest integer.
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

/// The float that the literal of a fraction becomes, of which `nearest` is the nearest `f64`.
///
/// # Errors
///
/// Where it is beyond the largest float of the type, or too small to be other than zero.
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

/// The float of a JSON number.
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

/// The float that a text spells: an integer, a fraction, `inf`, `infinity` or `NaN` (in any case).
///
/// # Errors
///
/// Where it spells none, and as [`integer_as_float`] and [`fraction_as_float`].
pub(crate) fn text_as_float(text: &str, ty: ColumnType) -> Result<Value> {
    let nearest: f64 =
        text.parse().map_err(|_| Error::invalid_input(format!("the text is not of type {ty}")))?;
    match spelling(text) {
        Spelling::Word => Ok(Value::Float(nearest)),
        Spelling::Integer => match text.parse() {
            Ok(integer) => signed_zero(integer_as_float(integer, ty)?, text),
            // More digits than an `i128` has.
            Err(_) => Err(inexact(ty)),
        },
        Spelling::Fraction if nearest.is_infinite() || is_lost(text, nearest) => {
            Err(out_of_range(ty))
        }
        Spelling::Fraction => fraction_as_float(nearest, ty),
    }
}

/// `-0` is the negative zero, which no integer is.
fn signed_zero(value: Value, text: &str) -> Result<Value> {
    match value {
        Value::Float(0.0) if text.starts_with('-') => Ok(Value::Float(-0.0)),
        value => Ok(value),
    }
}

/// How the text of a float is written.
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

/// Whether a literal other than zero has become zero.
pub(crate) fn is_lost(literal: &str, nearest: f64) -> bool {
    let digits = literal.split(['e', 'E']).next().unwrap_or_default();
    nearest == 0.0 && digits.contains(|digit: char| matches!(digit, '1'..='9'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_integer_is_a_float_only_where_it_is_exact() {
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
