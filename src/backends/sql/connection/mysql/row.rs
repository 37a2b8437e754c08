//! Conversion of rows and parameters between `mysql_common` values and Diesel's bytes.

use std::ops::Range;

use diesel::QueryResult;
use diesel::backend::Backend;
use diesel::deserialize::FromSql;
use diesel::mysql::data_types::{MysqlTime, MysqlTimestampType};
use diesel::mysql::{Mysql, MysqlType, MysqlValue};
use diesel::query_builder::bind_collector::RawBytesBindCollector;
use diesel::result::Error;
use diesel::row::{Field, PartialRow, Row, RowIndex, RowSealed};
use mysql_common::constants::ColumnType;
use mysql_common::packets::Column;
use mysql_common::value::Value;

/// Converts the binds of a query to parameters.
pub(super) fn parameters(binds: RawBytesBindCollector<Mysql>) -> QueryResult<Vec<Value>> {
    let values = binds.metadata.into_iter().zip(binds.binds).map(|(ty, bytes)| bind(ty, bytes));
    values.collect()
}

/// Converts Diesel's bytes to a value.
fn bind(ty: MysqlType, bytes: Option<Vec<u8>>) -> QueryResult<Value> {
    let Some(bytes) = bytes else { return Ok(Value::NULL) };
    fn array<const N: usize>(bytes: &[u8]) -> QueryResult<[u8; N]> {
        bytes.try_into().map_err(|_| Error::SerializationError("a truncated number".into()))
    }
    Ok(match ty {
        // Diesel writes a boolean as an integer of 32 bits.
        MysqlType::Tiny if bytes.len() == 4 => {
            Value::Int(i32::from_ne_bytes(array(&bytes)?).into())
        }
        MysqlType::Tiny => Value::Int(i8::from_ne_bytes(array(&bytes)?).into()),
        MysqlType::Short => Value::Int(i16::from_ne_bytes(array(&bytes)?).into()),
        MysqlType::Long => Value::Int(i32::from_ne_bytes(array(&bytes)?).into()),
        MysqlType::LongLong => Value::Int(i64::from_ne_bytes(array(&bytes)?)),
        MysqlType::UnsignedTiny => Value::UInt(u8::from_ne_bytes(array(&bytes)?).into()),
        MysqlType::UnsignedShort => Value::UInt(u16::from_ne_bytes(array(&bytes)?).into()),
        MysqlType::UnsignedLong => Value::UInt(u32::from_ne_bytes(array(&bytes)?).into()),
        MysqlType::UnsignedLongLong => Value::UInt(u64::from_ne_bytes(array(&bytes)?)),
        MysqlType::Float => Value::Float(f32::from_ne_bytes(array(&bytes)?)),
        MysqlType::Double => Value::Double(f64::from_ne_bytes(array(&bytes)?)),
        MysqlType::Time | MysqlType::Date | MysqlType::DateTime | MysqlType::Timestamp => {
            let time = MysqlValue::new(&bytes, ty);
            let time = <MysqlTime as FromSql<diesel::sql_types::Timestamp, Mysql>>::from_sql(time)
                .map_err(Error::SerializationError)?;
            bind_time(ty, &time)
        }
        _ => Value::Bytes(bytes),
    })
}

fn bind_time(ty: MysqlType, time: &MysqlTime) -> Value {
    let (hour, minute, second) = (time.hour as u8, time.minute as u8, time.second as u8);
    let micros = time.second_part as u32;
    match ty {
        MysqlType::Time => Value::Time(time.neg, time.day, hour, minute, second, micros),
        _ => {
            let (year, month, day) = (time.year as u16, time.month as u8, time.day as u8);
            Value::Date(year, month, day, hour, minute, second, micros)
        }
    }
}

/// A row of a result.
pub struct MysqlRow(mysql_common::Row);

impl MysqlRow {
    pub(super) fn new(row: mysql_common::Row) -> Self {
        Self(row)
    }
}

impl RowSealed for MysqlRow {}

impl RowIndex<usize> for MysqlRow {
    fn idx(&self, at: usize) -> Option<usize> {
        (at < self.0.len()).then_some(at)
    }
}

impl RowIndex<&str> for MysqlRow {
    fn idx(&self, name: &str) -> Option<usize> {
        self.0.columns_ref().iter().position(|column| column.name_ref() == name.as_bytes())
    }
}

impl<'a> Row<'a, Mysql> for MysqlRow {
    type Field<'f>
        = MysqlField<'f>
    where
        'a: 'f;
    type InnerPartialRow = Self;

    fn field_count(&self) -> usize {
        self.0.len()
    }

    fn get<'b, I>(&'b self, at: I) -> Option<MysqlField<'b>>
    where
        'a: 'b,
        Self: RowIndex<I>,
    {
        let at = self.idx(at)?;
        let column = &self.0.columns_ref()[at];
        let (bytes, ty) = bytes_of(self.0.as_ref(at)?, column.column_type());
        Some(MysqlField { column, bytes, ty })
    }

    fn partial_row(&self, range: Range<usize>) -> PartialRow<'_, Self> {
        PartialRow::new(self, range)
    }
}

/// The bytes of a field in the format of Diesel's own client.
enum Bytes<'a> {
    Null,
    Borrowed(&'a [u8]),
    Number([u8; 8]),
    Float([u8; 4]),
    Time([u8; size_of::<MysqlTime>()]),
}

/// Converts a value to bytes. Numbers have their widest type; Diesel narrows them with a check.
fn bytes_of(value: &Value, column: ColumnType) -> (Bytes<'_>, MysqlType) {
    match value {
        Value::NULL => (Bytes::Null, MysqlType::String),
        Value::Int(v) => (Bytes::Number(v.to_ne_bytes()), MysqlType::LongLong),
        Value::UInt(v) => (Bytes::Number(v.to_ne_bytes()), MysqlType::UnsignedLongLong),
        Value::Float(v) => (Bytes::Float(v.to_ne_bytes()), MysqlType::Float),
        Value::Double(v) => (Bytes::Number(v.to_ne_bytes()), MysqlType::Double),
        Value::Bytes(v) => {
            let ty = match column {
                ColumnType::MYSQL_TYPE_NEWDECIMAL | ColumnType::MYSQL_TYPE_DECIMAL => {
                    MysqlType::Numeric
                }
                ColumnType::MYSQL_TYPE_BIT => MysqlType::Bit,
                _ => MysqlType::String,
            };
            (Bytes::Borrowed(v), ty)
        }
        &Value::Date(year, month, day, hour, minute, second, micros) => {
            let (kind, ty) = match column {
                ColumnType::MYSQL_TYPE_DATE => {
                    (MysqlTimestampType::MYSQL_TIMESTAMP_DATE, MysqlType::Date)
                }
                _ => (MysqlTimestampType::MYSQL_TIMESTAMP_DATETIME, MysqlType::DateTime),
            };
            let time = MysqlTime::new(
                year.into(),
                month.into(),
                day.into(),
                hour.into(),
                minute.into(),
                second.into(),
                micros.into(),
                false,
                kind,
                0,
            );
            (Bytes::Time(time.serialize()), ty)
        }
        &Value::Time(negative, days, hours, minutes, seconds, micros) => {
            let time = MysqlTime::new(
                0,
                0,
                days,
                hours.into(),
                minutes.into(),
                seconds.into(),
                micros.into(),
                negative,
                MysqlTimestampType::MYSQL_TIMESTAMP_TIME,
                0,
            );
            (Bytes::Time(time.serialize()), MysqlType::Time)
        }
    }
}

/// A field of a row.
pub struct MysqlField<'a> {
    column: &'a Column,
    bytes: Bytes<'a>,
    ty: MysqlType,
}

impl Field<'_, Mysql> for MysqlField<'_> {
    fn field_name(&self) -> Option<&str> {
        std::str::from_utf8(self.column.name_ref()).ok()
    }

    fn value(&self) -> Option<<Mysql as Backend>::RawValue<'_>> {
        let bytes = match &self.bytes {
            Bytes::Null => return None,
            Bytes::Borrowed(bytes) => bytes,
            Bytes::Number(bytes) => &bytes[..],
            Bytes::Float(bytes) => &bytes[..],
            Bytes::Time(bytes) => &bytes[..],
        };
        Some(MysqlValue::new(bytes, self.ty))
    }
}
