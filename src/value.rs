//! The values of columns, the same for every backend.

use std::cmp::Ordering;
use std::hash::{Hash, Hasher};

/// The value of one column: plain data, the same on every backend.
///
/// A column of a given [`ColumnType`](crate::ColumnType) always holds the variant named there, or
/// [`Null`](Value::Null).
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Value {
    /// Not given. Only in rows to be written: the stored value of the column is kept, and a new
    /// record has the column's default.
    Absent,
    /// NULL.
    Null,
    /// `bool`.
    Bool(bool),
    /// `smallint`, `int` and `bigint`.
    Int(i64),
    /// `ubigint`.
    UInt(u64),
    /// `real` (every `f32` is an `f64` exactly) and `double`.
    Float(f64),
    /// `text` and `varchar(n)`.
    Text(String),
    /// `bytes`.
    Bytes(Vec<u8>),
    /// `json`.
    Json(Box<serde_json::Value>),
    /// `decimal(p,s)`: digits with exactly `s` of them after the point, as in `-12.50`.
    Decimal(String),
    /// `date`: days since 1970-01-01.
    Date(i32),
    /// `time`: microseconds since midnight.
    Time(i64),
    /// `timestamp`: microseconds since 1970-01-01 00:00:00 UTC.
    Timestamp(i64),
    /// `uuid`: its sixteen bytes in network order.
    Uuid([u8; 16]),
}

/// The values of one record, in the order of the schema's columns.
pub type Row = Vec<Value>;

impl Value {
    /// Returns whether this is [`Value::Absent`].
    pub fn is_absent(&self) -> bool {
        matches!(self, Self::Absent)
    }

    /// Returns whether this is [`Value::Null`].
    pub fn is_null(&self) -> bool {
        matches!(self, Self::Null)
    }

    /// Returns the kind of the value for error messages, which never contain the value itself.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Absent => "nothing",
            Self::Null => "null",
            Self::Bool(_) => "a boolean",
            Self::Int(_) | Self::UInt(_) => "an integer",
            Self::Float(_) => "a floating-point number",
            Self::Text(_) => "text",
            Self::Bytes(_) => "bytes",
            Self::Json(_) => "json",
            Self::Decimal(_) => "a decimal",
            Self::Date(_) => "a date",
            Self::Time(_) => "a time",
            Self::Timestamp(_) => "a timestamp",
            Self::Uuid(_) => "a uuid",
        }
    }

    /// Compares as keys do: floats by their bits, with `-0.0` equal to `0.0`.
    pub(crate) fn same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Float(a), Self::Float(b)) => float_bits(*a) == float_bits(*b),
            (a, b) => a == b,
        }
    }

    /// Hashes the value consistently with [`same`](Self::same).
    pub(crate) fn hash_into<H: Hasher>(&self, state: &mut H) {
        std::mem::discriminant(self).hash(state);
        match self {
            Self::Absent | Self::Null => {}
            Self::Bool(v) => v.hash(state),
            Self::Int(v) | Self::Time(v) | Self::Timestamp(v) => v.hash(state),
            Self::UInt(v) => v.hash(state),
            Self::Float(v) => float_bits(*v).hash(state),
            Self::Text(v) | Self::Decimal(v) => v.hash(state),
            Self::Bytes(v) => v.hash(state),
            Self::Json(v) => v.to_string().hash(state),
            Self::Date(v) => v.hash(state),
            Self::Uuid(v) => v.hash(state),
        }
    }

    /// Compares by a total order consistent with [`same`](Self::same): values of the same type by
    /// size or bytes, values of different types by type.
    pub(crate) fn total_cmp(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Self::Bool(a), Self::Bool(b)) => a.cmp(b),
            (Self::Int(a), Self::Int(b))
            | (Self::Time(a), Self::Time(b))
            | (Self::Timestamp(a), Self::Timestamp(b)) => a.cmp(b),
            (Self::UInt(a), Self::UInt(b)) => a.cmp(b),
            (Self::Float(a), Self::Float(b)) => {
                f64::from_bits(float_bits(*a)).total_cmp(&f64::from_bits(float_bits(*b)))
            }
            (Self::Text(a), Self::Text(b)) => a.cmp(b),
            (Self::Bytes(a), Self::Bytes(b)) => a.cmp(b),
            (Self::Json(a), Self::Json(b)) if a == b => Ordering::Equal,
            (Self::Json(a), Self::Json(b)) => a.to_string().cmp(&b.to_string()),
            (Self::Decimal(a), Self::Decimal(b)) => crate::decimal::compare(a, b),
            (Self::Date(a), Self::Date(b)) => a.cmp(b),
            (Self::Uuid(a), Self::Uuid(b)) => a.cmp(b),
            (a, b) => a.rank().cmp(&b.rank()),
        }
    }

    /// Returns the position of the value's type in [`total_cmp`](Self::total_cmp).
    fn rank(&self) -> u8 {
        match self {
            Self::Absent => 0,
            Self::Null => 1,
            Self::Bool(_) => 2,
            Self::Int(_) => 3,
            Self::UInt(_) => 4,
            Self::Float(_) => 5,
            Self::Decimal(_) => 6,
            Self::Text(_) => 7,
            Self::Bytes(_) => 8,
            Self::Json(_) => 9,
            Self::Date(_) => 10,
            Self::Time(_) => 11,
            Self::Timestamp(_) => 12,
            Self::Uuid(_) => 13,
        }
    }

    /// Returns the approximate size of the value in memory, in bytes.
    pub(crate) fn size(&self) -> usize {
        let outside = match self {
            Self::Text(v) | Self::Decimal(v) => v.len(),
            Self::Bytes(v) => v.len(),
            Self::Json(v) => json_size(v),
            _ => 0,
        };
        size_of::<Self>() + outside
    }
}

/// Returns the bits of a float, with `-0.0` as `0.0`.
fn float_bits(value: f64) -> u64 {
    if value == 0.0 { 0 } else { value.to_bits() }
}

fn json_size(value: &serde_json::Value) -> usize {
    use serde_json::Value as Json;
    let inside = match value {
        Json::String(text) => text.len(),
        Json::Array(items) => items.iter().map(json_size).sum(),
        Json::Object(map) => map.iter().map(|(name, value)| name.len() + json_size(value)).sum(),
        _ => 0,
    };
    size_of::<Json>() + inside
}

macro_rules! from {
    ($($rust:ty => $variant:ident),* $(,)?) => {$(
        impl From<$rust> for Value {
            fn from(value: $rust) -> Self {
                Self::$variant(value.into())
            }
        }
    )*};
}
from! {
    bool => Bool, i8 => Int, i16 => Int, i32 => Int, i64 => Int, u8 => Int, u16 => Int, u32 => Int,
    u64 => UInt, f32 => Float, f64 => Float, &str => Text, String => Text, &[u8] => Bytes,
    Vec<u8> => Bytes,
}

impl From<serde_json::Value> for Value {
    fn from(value: serde_json::Value) -> Self {
        Self::Json(Box::new(value))
    }
}

impl<T: Into<Value>> From<Option<T>> for Value {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Into::into)
    }
}
