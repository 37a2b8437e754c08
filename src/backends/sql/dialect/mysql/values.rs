//! Binding and decoding of values, in the binary format of prepared statements, which is exact where
//! text would round.

use std::io::Write;

use diesel::deserialize::FromSql;
use diesel::mysql::data_types::{MysqlTime, MysqlTimestampType};
use diesel::mysql::{Mysql, MysqlType, MysqlValue};
use diesel::query_builder::AstPass;
use diesel::serialize::{IsNull, Output, ToSql};
use diesel::{QueryResult, sql_types as st};

use crate::backends::sql::dialect::{type_mismatch, unreadable_value};
use crate::{ColumnType, Error, Result, Value, json, temporal, text};

const MICROS_A_DAY: i64 = 86_400_000_000;

/// Calls a macro with the SQL type of a column type.
macro_rules! with_sql_type {
    ($ty:expr, $then:ident) => {
        match $ty {
            ColumnType::Bool => $then!(st::Bool),
            ColumnType::SmallInt => $then!(st::SmallInt),
            ColumnType::Int => $then!(st::Integer),
            ColumnType::BigInt => $then!(st::BigInt),
            ColumnType::UBigInt => $then!(st::Unsigned<st::BigInt>),
            ColumnType::Real => $then!(st::Float),
            ColumnType::Double => $then!(st::Double),
            ColumnType::Decimal { .. } => $then!(st::Numeric),
            ColumnType::Text | ColumnType::Varchar(_) => $then!(st::Text),
            ColumnType::Bytes | ColumnType::Uuid => $then!(st::Binary),
            ColumnType::Json => $then!(st::Json),
            ColumnType::Date => $then!(st::Date),
            ColumnType::Time => $then!(st::Time),
            ColumnType::Timestamp => $then!(st::Datetime),
        }
    };
}

/// Binds a value by the type of its column.
pub(super) fn bind<'b>(
    mut out: AstPass<'_, 'b, Mysql>,
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
    out: &mut Output<'b, '_, Mysql>,
) -> diesel::serialize::Result {
    macro_rules! write {
        ($sql:ty) => {
            ToSql::<$sql, Mysql>::to_sql(value, out)
        };
    }
    with_sql_type!(ty, write)
}

/// Decodes a value of a column type. Accepts what hilcat stores, and similar types, because another
/// program may have created the column.
pub(super) fn decode(raw: MysqlValue<'_>, ty: ColumnType) -> Result<Value> {
    use MysqlType::{Date, DateTime, Double, Float, LongLong, Numeric, Time, UnsignedLongLong};
    let stored = raw.value_type();
    let wrong = || type_mismatch(ty, name_of(stored));
    Ok(match (ty, stored) {
        (ColumnType::Bool, LongLong | UnsignedLongLong) => match integer(raw)? {
            0 => Value::Bool(false),
            1 => Value::Bool(true),
            _ => return Err(type_mismatch(ty, "an integer other than 0 and 1")),
        },
        (
            ColumnType::SmallInt | ColumnType::Int | ColumnType::BigInt,
            LongLong | UnsignedLongLong,
        ) => {
            let value = i64::try_from(integer(raw)?).map(Value::Int);
            in_range(value.map_err(|_| type_mismatch(ty, "an integer out of its range"))?, ty)?
        }
        (ColumnType::UBigInt, LongLong | UnsignedLongLong) => {
            let value = u64::try_from(integer(raw)?).map(Value::UInt);
            value.map_err(|_| type_mismatch(ty, "a negative integer"))?
        }
        (ColumnType::Real | ColumnType::Double, Float) => {
            Value::Float(f64::from(f32::from_ne_bytes(array(raw.as_bytes())?)))
        }
        (ColumnType::Real | ColumnType::Double, Double) => {
            in_range(Value::Float(f64::from_ne_bytes(array(raw.as_bytes())?)), ty)?
        }
        (ColumnType::Decimal { .. }, Numeric) => {
            text::to_value(text_of(&raw)?, ty).map_err(unreadable_value)?
        }
        (ColumnType::Text | ColumnType::Varchar(_), MysqlType::String) => {
            Value::Text(text_of(&raw)?.to_owned())
        }
        (ColumnType::Bytes, MysqlType::String) => Value::Bytes(raw.as_bytes().to_vec()),
        (ColumnType::Uuid, MysqlType::String) => match raw.as_bytes().try_into() {
            Ok(bytes) => Value::Uuid(bytes),
            Err(_) => return Err(type_mismatch(ty, "bytes of a length other than 16")),
        },
        (ColumnType::Json, MysqlType::String) => {
            Value::Json(Box::new(json::parse(text_of(&raw)?).map_err(unreadable_value)?))
        }
        (ColumnType::Date, Date) => Value::Date(days(&time(raw)?).ok_or_else(invalid_date)?),
        (ColumnType::Time, Time) => match micros(&time(raw)?) {
            Some(micros) => Value::Time(micros),
            None => return Err(type_mismatch(ty, "a time outside of a day")),
        },
        (ColumnType::Timestamp, DateTime | Date) => {
            let time = time(raw)?;
            let (days, micros) = days(&time).zip(micros(&time)).ok_or_else(invalid_date)?;
            Value::Timestamp(i64::from(days) * MICROS_A_DAY + micros)
        }
        _ => return Err(wrong()),
    })
}

fn invalid_date() -> Error {
    Error::invalid_data("the stored value is not a valid date, like 0000-00-00")
}

/// Checks that a stored value is in the range of its type.
fn in_range(value: Value, ty: ColumnType) -> Result<Value> {
    ty.check(&value).map_err(unreadable_value)?;
    Ok(value)
}

fn array<const N: usize>(bytes: &[u8]) -> Result<[u8; N]> {
    bytes.try_into().map_err(|_| Error::invalid_data("the stored number is truncated"))
}

/// Returns an integer, which has 64 bits in the connection's rows.
fn integer(raw: MysqlValue<'_>) -> Result<i128> {
    Ok(match raw.value_type() {
        MysqlType::UnsignedLongLong => u64::from_ne_bytes(array(raw.as_bytes())?).into(),
        _ => i64::from_ne_bytes(array(raw.as_bytes())?).into(),
    })
}

fn text_of<'a>(raw: &'a MysqlValue<'_>) -> Result<&'a str> {
    std::str::from_utf8(raw.as_bytes())
        .map_err(|_| Error::invalid_data("the stored text is not UTF-8"))
}

fn time(raw: MysqlValue<'_>) -> Result<MysqlTime> {
    <MysqlTime as FromSql<st::Timestamp, Mysql>>::from_sql(raw)
        .map_err(|_| Error::invalid_data("the stored time is truncated"))
}

/// Returns the days of a date since 1970-01-01, or `None` for an invalid date.
fn days(time: &MysqlTime) -> Option<i32> {
    let date = chrono::NaiveDate::from_ymd_opt(time.year.try_into().ok()?, time.month, time.day)?;
    Some(temporal::date_from_chrono(date)).filter(|days| temporal::DATES.contains(days))
}

/// Returns the microseconds since midnight, or `None` for a time outside of a day.
fn micros(time: &MysqlTime) -> Option<i64> {
    let of_time = time.time_type == MysqlTimestampType::MYSQL_TIMESTAMP_TIME;
    if time.neg || of_time && time.day > 0 {
        return None;
    }
    let seconds = i64::from(time.hour * 3600 + time.minute * 60 + time.second);
    let micros = seconds * 1_000_000 + i64::try_from(time.second_part).ok()?;
    Some(micros).filter(|micros| temporal::TIMES.contains(micros))
}

fn name_of(stored: MysqlType) -> &'static str {
    match stored {
        MysqlType::String => "text or bytes",
        MysqlType::Float | MysqlType::Double => "a floating-point number",
        MysqlType::Numeric => "a decimal",
        MysqlType::Date => "a date",
        MysqlType::Time => "a time",
        MysqlType::DateTime | MysqlType::Timestamp => "a timestamp",
        MysqlType::Bit => "bits",
        _ => "an integer",
    }
}

/// Implements the binding of values for SQL types.
macro_rules! stored_as {
    ($($sql:ty => |$value:pat_param, $out:ident| $write:expr;)*) => {$(
        impl ToSql<$sql, Mysql> for Value {
            fn to_sql<'b>(&'b self, $out: &mut Output<'b, '_, Mysql>) -> diesel::serialize::Result {
                match self {
                    Value::Null | Value::Absent => return Ok(IsNull::Yes),
                    $value => $write,
                    #[allow(unreachable_patterns, reason = "one of them takes every value")]
                    other => return Err(unbindable(other, stringify!($sql))),
                }
                Ok(IsNull::No)
            }
        }
    )*};
}

stored_as! {
    st::Bool => |Value::Bool(v), out| out.write_all(&[u8::from(*v)])?;
    st::SmallInt => |Value::Int(v), out| out.write_all(&i16::try_from(*v)?.to_ne_bytes())?;
    st::Integer => |Value::Int(v), out| out.write_all(&i32::try_from(*v)?.to_ne_bytes())?;
    st::BigInt => |Value::Int(v), out| out.write_all(&v.to_ne_bytes())?;
    st::Unsigned<st::BigInt> => |Value::UInt(v), out| out.write_all(&v.to_ne_bytes())?;
    st::Float => |Value::Float(v), out| out.write_all(&(*v as f32).to_ne_bytes())?;
    st::Double => |Value::Float(v), out| out.write_all(&v.to_ne_bytes())?;
    st::Numeric => |Value::Decimal(v), out| out.write_all(v.as_bytes())?;
    st::Text => |Value::Text(v), out| out.write_all(v.as_bytes())?;
    st::Json => |Value::Json(v), out| serde_json::to_writer(&mut *out, v)?;
    st::Binary => |value, out| match value {
        Value::Bytes(v) => out.write_all(v)?,
        Value::Uuid(v) => out.write_all(v)?,
        other => return Err(unbindable(other, "Binary")),
    };
    st::Date => |Value::Date(v), out| {
        let time = date_and_time(*v, 0, MysqlTimestampType::MYSQL_TIMESTAMP_DATE);
        ToSql::<st::Date, Mysql>::to_sql(&time, &mut out.reborrow())?;
    };
    st::Time => |Value::Time(v), out| {
        let time = time_of_day(*v);
        ToSql::<st::Time, Mysql>::to_sql(&time, &mut out.reborrow())?;
    };
    st::Datetime => |Value::Timestamp(v), out| {
        let (days, micros) = (v.div_euclid(MICROS_A_DAY), v.rem_euclid(MICROS_A_DAY));
        let kind = MysqlTimestampType::MYSQL_TIMESTAMP_DATETIME;
        let time = date_and_time(i32::try_from(days)?, micros, kind);
        ToSql::<st::Datetime, Mysql>::to_sql(&time, &mut out.reborrow())?;
    };
}

fn unbindable(value: &Value, sql: &str) -> Box<dyn std::error::Error + Send + Sync> {
    Box::new(Error::invalid_input(format!("{} cannot be bound as {sql}", value.kind())))
}

fn date_and_time(days: i32, micros: i64, kind: MysqlTimestampType) -> MysqlTime {
    use chrono::Datelike;
    // The value was checked before.
    let date = temporal::date_to_chrono(days).unwrap_or_default();
    let mut time = time_of_day(micros);
    time.year = date.year().unsigned_abs();
    time.month = date.month();
    time.day = date.day();
    time.time_type = kind;
    time
}

fn time_of_day(micros: i64) -> MysqlTime {
    let seconds = micros / 1_000_000;
    MysqlTime::new(
        0,
        0,
        0,
        (seconds / 3600) as u32,
        (seconds / 60 % 60) as u32,
        (seconds % 60) as u32,
        (micros % 1_000_000) as _,
        false,
        MysqlTimestampType::MYSQL_TIMESTAMP_TIME,
        0,
    )
}
