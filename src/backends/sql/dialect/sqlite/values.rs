//! Binding and decoding of values.

use diesel::QueryResult;
use diesel::deserialize::FromSql;
use diesel::query_builder::AstPass;
use diesel::serialize::{IsNull, Output, ToSql};
use diesel::sql_types::{BigInt, Binary, Double, Text};
use diesel::sqlite::{Sqlite, SqliteType};

use crate::backends::sql::dialect::{type_mismatch, unreadable_value};
use crate::{ColumnType, Error, Result, Value, json, temporal, text};

type Raw<'a> = <Sqlite as diesel::backend::Backend>::RawValue<'a>;

/// Binds a value by its own type, since SQLite's columns are not typed.
pub(super) fn bind<'b>(mut out: AstPass<'_, 'b, Sqlite>, value: &'b Value) -> QueryResult<()> {
    match value {
        Value::Bool(_) | Value::Int(_) => out.push_bind_param::<BigInt, Value>(value),
        Value::Float(_) => out.push_bind_param::<Double, Value>(value),
        Value::Bytes(_) | Value::Uuid(_) => out.push_bind_param::<Binary, Value>(value),
        _ => out.push_bind_param::<Text, Value>(value),
    }
}

/// Decodes a value of a column type. Accepts what hilcat stores, and decimals from any number.
pub(super) fn decode(mut raw: Raw<'_>, ty: ColumnType) -> Result<Value> {
    use ColumnType as Ty;
    use SqliteType::{Binary, Double, Float, Integer, Long, SmallInt, Text};
    let stored = raw.value_type();
    Ok(match (ty, stored) {
        (_, None) => Value::Null,
        (Ty::BigInt, Some(SmallInt | Integer | Long)) => Value::Int(raw.read_long()),
        (Ty::SmallInt | Ty::Int, Some(SmallInt | Integer | Long)) => {
            in_range(Value::Int(raw.read_long()), ty)?
        }
        (Ty::Text | Ty::Varchar(_), Some(Text)) => Value::Text(read_text(raw)?),
        // Affinity NUMERIC converts texts that look like numbers.
        (Ty::Text | Ty::Varchar(_), Some(SmallInt | Integer | Long)) => {
            in_range(Value::Text(raw.read_long().to_string()), ty)?
        }
        (Ty::Text | Ty::Varchar(_), Some(Float | Double)) => {
            in_range(Value::Text(text::float(raw.read_double())), ty)?
        }
        (Ty::Real | Ty::Double, Some(Float | Double)) => Value::Float(raw.read_double()),
        (Ty::Real | Ty::Double, Some(SmallInt | Integer | Long)) => {
            ty.coerce(Value::Int(raw.read_long())).map_err(unreadable_value)?
        }
        (Ty::Bool, Some(SmallInt | Integer | Long)) => match raw.read_long() {
            0 => Value::Bool(false),
            1 => Value::Bool(true),
            _ => return Err(type_mismatch(ty, "an integer other than 0 and 1")),
        },
        (Ty::Bytes, Some(Binary)) => Value::Bytes(raw.read_blob().to_vec()),
        (Ty::Uuid, Some(Binary)) => match raw.read_blob().try_into() {
            Ok(bytes) => Value::Uuid(bytes),
            Err(_) => return Err(type_mismatch(ty, "bytes of a length other than 16")),
        },
        (Ty::Json, Some(Text)) => {
            Value::Json(Box::new(json::parse(&read_text(raw)?).map_err(unreadable_value)?))
        }
        (Ty::UBigInt | Ty::Date | Ty::Time | Ty::Timestamp, Some(Text)) => {
            text::to_value(&read_text(raw)?, ty).map_err(unreadable_value)?
        }
        // Affinity NUMERIC converts decimals to integers or floats.
        (Ty::Decimal { .. }, Some(Float | Double)) => {
            text::to_value(&raw.read_double().to_string(), ty).map_err(unreadable_value)?
        }
        (Ty::Decimal { .. }, Some(Text | SmallInt | Integer | Long)) => {
            text::to_value(&read_text(raw)?, ty).map_err(unreadable_value)?
        }
        _ => return Err(type_mismatch(ty, name_of(stored))),
    })
}

/// Returns whether a column of affinity NUMERIC returns a text unchanged: the text does not look like
/// a number to SQLite, or [`decode`] formats the number as the same text.
pub(super) fn survives_numeric_affinity(text: &str) -> bool {
    // Some versions of SQLite stop at NUL.
    let bare = text.split('\0').next().unwrap_or_default();
    let bare = bare.trim_matches([' ', '\t', '\n', '\x0b', '\x0c', '\r']);
    if !looks_like_number(bare) {
        return true;
    }
    match (text.parse::<i64>(), text.parse::<f64>()) {
        (Ok(number), _) => number.to_string() == text,
        // A float without fraction is converted to an integer.
        (_, Ok(number)) => {
            let whole = number.fract() == 0.0 && number.abs() < 9.3e18;
            !whole && number.is_finite() && text::float(number) == text
        }
        _ => false,
    }
}

/// Returns whether a text is a number in SQL: a sign, digits, a point and digits, an exponent.
fn looks_like_number(text: &str) -> bool {
    let digits = |text: &str| text.trim_start_matches(|letter: char| letter.is_ascii_digit()).len();
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    let rest = &unsigned[unsigned.len() - digits(unsigned)..];
    let whole = unsigned.len() - rest.len();
    let (fraction, rest) = match rest.strip_prefix('.') {
        None => (0, rest),
        Some(after) => (after.len() - digits(after), &after[after.len() - digits(after)..]),
    };
    let exponent =
        rest.strip_prefix(['e', 'E']).map(|rest| rest.strip_prefix(['+', '-']).unwrap_or(rest));
    whole + fraction > 0
        && exponent.map_or(rest.is_empty(), |rest| !rest.is_empty() && digits(rest) == 0)
}

/// Checks that a stored value is in the range of its type.
fn in_range(value: Value, ty: ColumnType) -> Result<Value> {
    ty.check(&value).map_err(unreadable_value)?;
    Ok(value)
}

fn read_text(raw: Raw<'_>) -> Result<String> {
    let text = <String as FromSql<Text, Sqlite>>::from_sql(raw);
    text.map_err(|_| Error::invalid_data("the stored text is not UTF-8"))
}

fn name_of(stored: Option<SqliteType>) -> &'static str {
    match stored {
        None => "NULL",
        Some(SqliteType::Binary) => "bytes",
        Some(SqliteType::Text) => "text",
        Some(SqliteType::Float | SqliteType::Double) => "a floating-point number",
        Some(_) => "an integer",
    }
}

/// Implements the binding of values for SQL types.
macro_rules! stored_as {
    ($($ty:ty),*) => {$(
        impl ToSql<$ty, Sqlite> for Value {
            fn to_sql<'b>(&'b self, out: &mut Output<'b, '_, Sqlite>) -> diesel::serialize::Result {
                Ok(store(self, out))
            }
        }
    )*};
}
stored_as!(BigInt, Double, Binary, Text);

/// Writes a value that Diesel binds by the type of a column. Small integers must then have 32 bits.
pub(super) fn encode<'b>(
    value: &'b Value,
    ty: ColumnType,
    out: &mut Output<'b, '_, Sqlite>,
) -> diesel::serialize::Result {
    match (value, ty) {
        (Value::Bool(v), _) => out.set_value(i32::from(*v)),
        (Value::Int(v), ColumnType::SmallInt | ColumnType::Int) => {
            out.set_value(i32::try_from(*v)?)
        }
        _ => return Ok(store(value, out)),
    }
    Ok(IsNull::No)
}

fn store<'b>(value: &'b Value, out: &mut Output<'b, '_, Sqlite>) -> IsNull {
    match value {
        Value::Absent | Value::Null => return IsNull::Yes,
        Value::Bool(v) => out.set_value(i64::from(*v)),
        Value::Int(v) => out.set_value(*v),
        Value::Float(v) => out.set_value(*v),
        Value::Text(v) | Value::Decimal(v) => out.set_value(v.as_str()),
        Value::Bytes(v) => out.set_value(v.as_slice()),
        Value::Uuid(v) => out.set_value(v.as_slice()),
        Value::Timestamp(v) => out.set_value(temporal::timestamp_to_sql(*v)),
        other => out.set_value(text::from_value(other).into_owned()),
    }
    IsNull::No
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed test panics")]

    use super::*;
    use diesel::connection::SimpleConnection;
    use diesel::{Connection, QueryableByName, RunQueryDsl, SqliteConnection, sql_query};

    #[derive(QueryableByName)]
    struct Stored {
        #[diesel(sql_type = BigInt)]
        is_text: i64,
        #[diesel(sql_type = BigInt)]
        is_found: i64,
        #[diesel(sql_type = Double)]
        number: f64,
        #[diesel(sql_type = BigInt)]
        integer: i64,
        #[diesel(sql_type = BigInt)]
        is_integer: i64,
    }

    /// Stores a text in a column of affinity NUMERIC. Returns the decoded text, and whether the row is
    /// found by the original text.
    fn through(connection: &mut SqliteConnection, given: &str) -> (String, bool) {
        sql_query("REPLACE INTO t VALUES (1, ?)")
            .bind::<Text, _>(given)
            .execute(connection)
            .unwrap();
        let stored: Stored = sql_query(
            "SELECT typeof(v) = 'text' AS is_text, v = ? AS is_found, CAST(v AS REAL) AS number,
               CAST(v AS INTEGER) AS integer, typeof(v) = 'integer' AS is_integer FROM t",
        )
        .bind::<Text, _>(given)
        .get_result(connection)
        .unwrap();
        let text = match (stored.is_text, stored.is_integer) {
            (1, _) => given.to_owned(),
            (_, 1) => stored.integer.to_string(),
            _ => text::float(stored.number),
        };
        (text, stored.is_found == 1)
    }

    fn connection() -> SqliteConnection {
        let mut connection = SqliteConnection::establish(":memory:").unwrap();
        connection.batch_execute("CREATE TABLE t (id INTEGER PRIMARY KEY, v str)").unwrap();
        connection
    }

    #[test]
    fn texts_changed_by_numeric_affinity_are_detected() {
        let mut connection = connection();
        for (text, same) in [
            ("abc", true),
            ("", true),
            ("12", true),
            ("-12", true),
            ("9223372036854775807", true),
            ("1.5", true),
            ("0.1", true),
            ("1e30", true),
            ("0x1F", true),
            ("1e", true),
            ("1 2", true),
            ("--1", true),
            (".", true),
            ("Infinity", true),
            ("nan", true),
            ("a\0", true),
            ("1,5", true),
            ("\u{661}", true),
            ("\u{a0}12", true),
            ("007", false),
            ("1e3", false),
            ("+12", false),
            (" 12", false),
            ("12\n", false),
            ("-0", false),
            ("1.0", false),
            ("1.50", false),
            (".5", false),
            ("5.", false),
            ("1E30", false),
            ("1e999", false),
            ("12345678901234567890", false),
            ("9223372036854775808", false),
            ("12\0", false),
        ] {
            assert_eq!(survives_numeric_affinity(text), same, "{text:?}");
            assert_eq!(through(&mut connection, text).0 == text, same, "{text:?}");
        }
    }

    /// Texts that look like numbers: each combination of a sign, digits, a fraction, an exponent and white space.
    fn number_like_texts() -> impl Iterator<Item = String> {
        let signs = ["", "+", "-", " ", " -"];
        let digits = ["", "0", "7", "007", "12", "9007199254740993", "9223372036854775808"];
        let fractions = ["", ".", ".0", ".5", ".50", ".1234"];
        let exponents = ["", "e", "e0", "E3", "e-3", "e+22", "e308", "e999"];
        let ends = ["", " ", "\n"];
        let mut texts = vec![String::new()];
        for parts in [&signs[..], &digits, &fractions, &exponents, &ends] {
            let extended = |text: String| parts.iter().map(move |part| format!("{text}{part}"));
            texts = texts.into_iter().flat_map(extended).collect();
        }
        texts.into_iter()
    }

    #[test]
    fn an_accepted_text_reads_back_unchanged() {
        let mut connection = connection();
        for text in number_like_texts().filter(|text| survives_numeric_affinity(text)) {
            assert_eq!(through(&mut connection, &text), (text, true));
        }
    }

    #[test]
    fn a_number_is_found_by_its_text() {
        let mut connection = connection();
        // Multiples of an odd constant visit all bits.
        let bits = (1..500_u64).map(|n| n.wrapping_mul(0x9E37_79B9_7F4A_7C15));
        for bits in bits.chain([0, 1, u64::MAX, i64::MIN.unsigned_abs()]) {
            let integer = bits.cast_signed().to_string();
            assert_eq!(through(&mut connection, &integer), (integer, true));
            let number = f64::from_bits(bits);
            let text = text::float(number);
            if number.is_finite() && survives_numeric_affinity(&text) {
                assert_eq!(through(&mut connection, &text), (text, true));
            }
        }
    }
}
