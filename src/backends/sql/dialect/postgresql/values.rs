//! Binding and decoding of values, in PostgreSQL's binary formats.

use std::io::{self, Write};

use diesel::pg::{Pg, PgValue};
use diesel::query_builder::AstPass;
use diesel::serialize::{IsNull, Output, ToSql};
use diesel::{QueryResult, sql_types as st};
use serde_json::ser::{CompactFormatter, Formatter, Serializer};

use super::numeric;
use crate::backends::sql::dialect::{type_mismatch, unreadable_value};
use crate::backends::sql::statement::batch::Column;
use crate::{ColumnType, Error, Result, Value, json, text};

/// Microseconds and days from 1970-01-01 to 2000-01-01, PostgreSQL's epoch.
const EPOCH_MICROS: i64 = 946_684_800_000_000;
const EPOCH_DAYS: i32 = 10_957;

/// Calls a macro with the SQL type of a column type.
macro_rules! with_sql_type {
    ($ty:expr, $then:ident) => {
        match $ty {
            ColumnType::Bool => $then!(st::Bool),
            ColumnType::SmallInt => $then!(st::SmallInt),
            ColumnType::Int => $then!(st::Integer),
            ColumnType::BigInt => $then!(st::BigInt),
            // PostgreSQL has no unsigned integers.
            ColumnType::UBigInt | ColumnType::Decimal { .. } => $then!(st::Numeric),
            ColumnType::Real => $then!(st::Float),
            ColumnType::Double => $then!(st::Double),
            ColumnType::Text | ColumnType::Varchar(_) => $then!(st::Text),
            ColumnType::Bytes => $then!(st::Binary),
            ColumnType::Json => $then!(st::Jsonb),
            ColumnType::Date => $then!(st::Date),
            ColumnType::Time => $then!(st::Time),
            ColumnType::Timestamp => $then!(st::Timestamptz),
            ColumnType::Uuid => $then!(st::Uuid),
        }
    };
}

/// Binds a value of a type.
pub(super) fn bind<'b>(
    mut out: AstPass<'_, 'b, Pg>,
    ty: ColumnType,
    value: &'b Value,
) -> QueryResult<()> {
    macro_rules! bind {
        ($sql:ty) => {
            out.push_bind_param::<$sql, Value>(value)
        };
    }
    with_sql_type!(ty, bind)
}

/// Writes a value that Diesel binds by the type of a column.
pub(super) fn encode<'b>(
    value: &'b Value,
    ty: ColumnType,
    out: &mut Output<'b, '_, Pg>,
) -> diesel::serialize::Result {
    macro_rules! write {
        ($sql:ty) => {
            ToSql::<$sql, Pg>::to_sql(value, out)
        };
    }
    with_sql_type!(ty, write)
}

/// Binds a column of several rows as an array.
pub(super) fn bind_column<'b>(
    mut out: AstPass<'_, 'b, Pg>,
    ty: ColumnType,
    column: &'b Column<'b>,
) -> QueryResult<()> {
    macro_rules! bind {
        ($sql:ty) => {
            out.push_bind_param::<st::Array<st::Nullable<$sql>>, Column<'b>>(column)
        };
    }
    with_sql_type!(ty, bind)
}

/// Implements the binding of values for SQL types, with the function that writes a value and the OID
/// of the type.
macro_rules! sql_types {
    ($($sql:ty => $write:ident, $oid:literal;)*) => {$(
        impl ToSql<$sql, Pg> for Value {
            fn to_sql<'b>(&'b self, out: &mut Output<'b, '_, Pg>) -> diesel::serialize::Result {
                match self {
                    Value::Null | Value::Absent => Ok(IsNull::Yes),
                    value => $write(value, out).map(|()| IsNull::No),
                }
            }
        }

        impl ToSql<st::Array<st::Nullable<$sql>>, Pg> for Column<'_> {
            fn to_sql<'b>(&'b self, out: &mut Output<'b, '_, Pg>) -> diesel::serialize::Result {
                write_array(*self, $oid, $write, out).map(|()| IsNull::No)
            }
        }
    )*};
}
sql_types! {
    st::Bool => write_plain, 16;
    st::SmallInt => write_int2, 21;
    st::Integer => write_int4, 23;
    st::BigInt => write_plain, 20;
    st::Numeric => write_plain, 1700;
    st::Float => write_float4, 700;
    st::Double => write_plain, 701;
    st::Text => write_plain, 25;
    st::Binary => write_plain, 17;
    st::Jsonb => write_plain, 3802;
    st::Date => write_plain, 1082;
    st::Time => write_plain, 1083;
    st::Timestamptz => write_plain, 1184;
    st::Uuid => write_plain, 2950;
}

type BoxError = Box<dyn std::error::Error + Send + Sync>;

fn write_int2(value: &Value, out: &mut impl Write) -> Result<(), BoxError> {
    match value {
        Value::Int(v) => Ok(out.write_all(&i16::try_from(*v)?.to_be_bytes())?),
        other => Err(unexpected(other)),
    }
}

fn write_int4(value: &Value, out: &mut impl Write) -> Result<(), BoxError> {
    match value {
        Value::Int(v) => Ok(out.write_all(&i32::try_from(*v)?.to_be_bytes())?),
        other => Err(unexpected(other)),
    }
}

fn write_float4(value: &Value, out: &mut impl Write) -> Result<(), BoxError> {
    match value {
        Value::Float(v) => Ok(out.write_all(&(*v as f32).to_be_bytes())?),
        other => Err(unexpected(other)),
    }
}

/// Writes a value whose kind has only one format.
fn write_plain(value: &Value, out: &mut impl Write) -> Result<(), BoxError> {
    match value {
        Value::Bool(v) => out.write_all(&[u8::from(*v)])?,
        Value::Int(v) => out.write_all(&v.to_be_bytes())?,
        Value::Float(v) => out.write_all(&v.to_be_bytes())?,
        Value::Text(v) if v.contains('\0') => return Err(Box::new(nul())),
        Value::Text(v) => out.write_all(v.as_bytes())?,
        Value::Bytes(v) => out.write_all(v)?,
        Value::Json(v) => {
            // The version of the format.
            out.write_all(&[1])?;
            write_json(v, out)?;
        }
        Value::Decimal(v) => out.write_all(&digits(v)?)?,
        Value::UInt(v) => out.write_all(&digits(&v.to_string())?)?,
        Value::Date(v) => out.write_all(&(v - EPOCH_DAYS).to_be_bytes())?,
        Value::Time(v) => out.write_all(&v.to_be_bytes())?,
        Value::Timestamp(v) => out.write_all(&(v - EPOCH_MICROS).to_be_bytes())?,
        Value::Uuid(v) => out.write_all(v)?,
        Value::Null | Value::Absent => return Err(unexpected(value)),
    }
    Ok(())
}

fn digits(text: &str) -> Result<Vec<u8>, BoxError> {
    numeric::from_text(text).ok_or_else(|| "the decimal is malformed".into())
}

fn unexpected(value: &Value) -> BoxError {
    format!("a value of kind {} does not have the type of its column", value.kind()).into()
}

/// Returns the error of text that contains NUL.
pub(super) fn nul() -> Error {
    Error::unsupported("postgresql: text cannot contain the character NUL")
}

/// Writes an array: the number of dimensions, whether it can contain NULL, the OID of the elements,
/// the length and lower bound of the dimension, and the elements with length prefixes.
fn write_array(
    column: Column<'_>,
    oid: u32,
    write: impl Fn(&Value, &mut Vec<u8>) -> Result<(), BoxError>,
    out: &mut impl Write,
) -> Result<(), BoxError> {
    let values = column.values();
    let count = i32::try_from(values.len())?;
    let mut bytes = Vec::with_capacity(20 + 16 * values.len());
    for part in [1, 1, i32::from_ne_bytes(oid.to_ne_bytes()), count, 1] {
        bytes.extend_from_slice(&part.to_be_bytes());
    }
    for value in values {
        let start = bytes.len();
        bytes.extend_from_slice(&(-1_i32).to_be_bytes());
        if !matches!(value, Value::Null | Value::Absent) {
            write(value, &mut bytes)?;
            let length = i32::try_from(bytes.len() - start - 4)?;
            bytes[start..start + 4].copy_from_slice(&length.to_be_bytes());
        }
    }
    Ok(out.write_all(&bytes)?)
}

/// Writes JSON for `jsonb`, which returns all digits of a number. A float without fraction is written
/// with a point, otherwise it would be returned as an integer.
pub(super) fn write_json(value: &serde_json::Value, out: impl Write) -> Result<(), BoxError> {
    struct WholeFloats(CompactFormatter);
    impl Formatter for WholeFloats {
        fn write_f64<W: ?Sized + Write>(&mut self, out: &mut W, value: f64) -> io::Result<()> {
            match value.fract() == 0.0 {
                true => write!(out, "{value:.1}"),
                false => self.0.write_f64(out, value),
            }
        }
    }
    let mut serializer = Serializer::with_formatter(out, WholeFloats(CompactFormatter));
    Ok(serde::Serialize::serialize(value, &mut serializer)?)
}

/// Decodes a value of a column type, according to the type that the server reports: a table of another
/// program can have wider types.
pub(super) fn decode(raw: PgValue<'_>, ty: ColumnType) -> Result<Value> {
    use ColumnType as Ty;
    let bytes = raw.as_bytes();
    let value = match (raw.get_oid().get(), ty) {
        (16, Ty::Bool) => Value::Bool(bytes == [1]),
        (oid @ (20 | 21 | 23), Ty::SmallInt | Ty::Int | Ty::BigInt) => {
            let value = Value::Int(integer(oid, bytes)?);
            if ty != Ty::BigInt {
                ty.check(&value).map_err(unreadable_value)?;
            }
            value
        }
        (oid @ (20 | 21 | 23), Ty::UBigInt | Ty::Decimal { .. } | Ty::Double | Ty::Real) => {
            ty.coerce(Value::Int(integer(oid, bytes)?)).map_err(unreadable_value)?
        }
        (700, Ty::Real | Ty::Double) => Value::Float(f32::from_be_bytes(array(bytes)?).into()),
        (701, Ty::Double) => Value::Float(f64::from_be_bytes(array(bytes)?)),
        (1700, Ty::UBigInt | Ty::Decimal { .. }) => {
            let digits =
                numeric::to_text(bytes).ok_or_else(|| type_mismatch(ty, "not a number"))?;
            text::to_value(&digits, ty).map_err(unreadable_value)?
        }
        (25 | 1043, Ty::Text | Ty::Varchar(_)) => Value::Text(utf8(bytes)?.to_owned()),
        (17, Ty::Bytes) => Value::Bytes(bytes.to_vec()),
        (114, Ty::Json) => {
            Value::Json(Box::new(json::parse(utf8(bytes)?).map_err(unreadable_value)?))
        }
        (3802, Ty::Json) => match bytes.split_first() {
            Some((1, bytes)) => {
                Value::Json(Box::new(json::parse(utf8(bytes)?).map_err(unreadable_value)?))
            }
            _ => return Err(type_mismatch(ty, "jsonb of an unknown version")),
        },
        // The maximum and minimum represent the infinities.
        (1114 | 1184, Ty::Timestamp) => {
            let micros = i64::from_be_bytes(array(bytes)?).checked_add(EPOCH_MICROS);
            in_range(micros.map(Value::Timestamp), ty)?
        }
        (1082, Ty::Date) => {
            let days = i32::from_be_bytes(array(bytes)?).checked_add(EPOCH_DAYS);
            in_range(days.map(Value::Date), ty)?
        }
        (1083, Ty::Time) => in_range(Some(Value::Time(i64::from_be_bytes(array(bytes)?))), ty)?,
        (2950, Ty::Uuid) => Value::Uuid(array(bytes)?),
        (oid, _) => return Err(type_mismatch(ty, &name_of(oid))),
    };
    Ok(value)
}

fn integer(oid: u32, bytes: &[u8]) -> Result<i64> {
    Ok(match oid {
        21 => i16::from_be_bytes(array(bytes)?).into(),
        23 => i32::from_be_bytes(array(bytes)?).into(),
        _ => i64::from_be_bytes(array(bytes)?),
    })
}

fn array<const N: usize>(bytes: &[u8]) -> Result<[u8; N]> {
    bytes.try_into().map_err(|_| Error::invalid_data("the stored value has an unexpected length"))
}

fn utf8(bytes: &[u8]) -> Result<&str> {
    std::str::from_utf8(bytes).map_err(|_| Error::invalid_data("the stored text is not UTF-8"))
}

fn in_range(value: Option<Value>, ty: ColumnType) -> Result<Value> {
    let value = value.ok_or_else(|| type_mismatch(ty, "out of range"))?;
    ty.check(&value).map_err(unreadable_value)?;
    Ok(value)
}

fn name_of(oid: u32) -> String {
    match tokio_postgres::types::Type::from_oid(oid) {
        Some(ty) => format!("of the type {}", ty.name()),
        None => "of a type that is not built in".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn floats_without_fraction_in_json_have_a_point() {
        let value = serde_json::json!([1, 1.0, 1e19, -2e300, 0.5, 1.5e-7, u64::MAX, "1e5"]);
        let mut out = Vec::new();
        write_json(&value, &mut out).unwrap();
        let text = String::from_utf8(out).unwrap();
        assert!(text.starts_with("[1,1.0,10000000000000000000.0,-2000"), "{text}");
        assert_eq!(json::parse(&text).unwrap(), value);
    }
}
