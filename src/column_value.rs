//! The Rust types of columns.

use crate::{ColumnType, Error, Result, Value};

/// A Rust type that can be the type of a column.
///
/// Implemented for `bool`, the integers up to 64 bits, `f32`, `f64`, `String`, `Vec<u8>`,
/// `serde_json::Value`, the types behind the features `chrono`, `uuid` and `rust_decimal`, and
/// `Option` of each. Implement it for your own types by means of one of these:
///
/// ```
/// use hilcat::{ColumnType, ColumnValue, Error, ErrorKind, Result, Value};
///
/// #[derive(Debug, Clone, Copy, PartialEq)]
/// enum Color { Red, Green }
///
/// impl ColumnValue for Color {
///     const TYPE: ColumnType = ColumnType::Text;
///
///     fn to_value(&self) -> Value {
///         match self { Self::Red => "red", Self::Green => "green" }.into()
///     }
///
///     fn from_value(value: Value) -> Result<Self> {
///         match String::from_value(value)?.as_str() {
///             "red" => Ok(Self::Red),
///             "green" => Ok(Self::Green),
///             _ => Err(Error::new(ErrorKind::InvalidData, "a color is red or green")),
///         }
///     }
/// }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be used as a column type",
    label = "not a column type",
    note = "a column can be of bool, an integer of up to 64 bits, f32, f64, String, Vec<u8>, serde_json::Value, \
            an Option of these, and, with the features `chrono`, `uuid` and `rust_decimal`, the types of these crates",
    note = "put `#[scope(json)]` on the field to store any serde type as JSON, or implement `hilcat::ColumnValue` for `{Self}`"
)]
#[cfg_attr(
    not(feature = "chrono"),
    diagnostic::on_unimplemented(
        note = "hilcat's feature `chrono` is off: add it to its features in Cargo.toml for fields of `DateTime<Utc>`, `NaiveDate`, `NaiveTime` and `NaiveDateTime`"
    )
)]
#[cfg_attr(
    not(feature = "uuid"),
    diagnostic::on_unimplemented(
        note = "hilcat's feature `uuid` is off: add it to its features in Cargo.toml for fields of `Uuid`"
    )
)]
#[cfg_attr(
    not(feature = "rust_decimal"),
    diagnostic::on_unimplemented(
        note = "hilcat's feature `rust_decimal` is off: add it to its features in Cargo.toml for fields of `Decimal`"
    )
)]
pub trait ColumnValue: Sized {
    /// The default column type of this Rust type.
    const TYPE: ColumnType;

    /// Whether the column can be NULL.
    const NULLABLE: bool = false;

    /// Converts to the value of a column.
    fn to_value(&self) -> Value;

    /// Converts to the value of a column, without a copy if possible.
    fn into_value(self) -> Value {
        self.to_value()
    }

    /// Converts from the value of a column.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidData`](crate::ErrorKind::InvalidData) if the value is not of this type.
    fn from_value(value: Value) -> Result<Self>;
}

/// Returns the error for a value that is not of the Rust type.
pub(crate) fn mismatch<T: ColumnValue>(value: &Value) -> Error {
    let found = value.kind();
    match value {
        Value::Null => Error::invalid_data("it is NULL; the field can be NULL only as an Option"),
        _ => Error::invalid_data(format!("expected a value of type {}, found {found}", T::TYPE)),
    }
}

macro_rules! columns {
    ($($rust:ty, $ty:ident, $variant:ident;)*) => {$(
        #[diagnostic::do_not_recommend]
        impl ColumnValue for $rust {
            const TYPE: ColumnType = ColumnType::$ty;

            fn to_value(&self) -> Value {
                Value::$variant(self.clone())
            }

            fn into_value(self) -> Value {
                Value::$variant(self)
            }

            fn from_value(value: Value) -> Result<Self> {
                match value {
                    Value::$variant(value) => Ok(value),
                    other => Err(mismatch::<Self>(&other)),
                }
            }
        }
    )*};
}
columns! {
    bool, Bool, Bool;
    u64, UBigInt, UInt;
    f64, Double, Float;
    String, Text, Text;
    Vec<u8>, Bytes, Bytes;
}

/// Implements the integers. A column of a wider or narrower type can be read if the value fits.
macro_rules! integers {
    ($($rust:ty, $ty:ident;)*) => {$(
        #[diagnostic::do_not_recommend]
        impl ColumnValue for $rust {
            const TYPE: ColumnType = ColumnType::$ty;

            fn to_value(&self) -> Value {
                Value::Int(i64::from(*self))
            }

            fn from_value(value: Value) -> Result<Self> {
                match value {
                    Value::Int(value) => <$rust>::try_from(value).map_err(|_| {
                        Error::invalid_data(concat!("the integer is out of the range of ", stringify!($rust)))
                    }),
                    other => Err(mismatch::<Self>(&other)),
                }
            }
        }
    )*};
}
integers! {
    i8, SmallInt;
    i16, SmallInt;
    i32, Int;
    i64, BigInt;
    u8, SmallInt;
    u16, Int;
    u32, BigInt;
}

#[diagnostic::do_not_recommend]
impl ColumnValue for f32 {
    const TYPE: ColumnType = ColumnType::Real;

    fn to_value(&self) -> Value {
        Value::Float(f64::from(*self))
    }

    fn from_value(value: Value) -> Result<Self> {
        match value {
            Value::Float(value) if value.is_nan() || f64::from(value as f32) == value => {
                Ok(value as f32)
            }
            Value::Float(_) => {
                Err(Error::invalid_data("the number has more digits than f32 holds"))
            }
            other => Err(mismatch::<Self>(&other)),
        }
    }
}

#[diagnostic::do_not_recommend]
impl ColumnValue for serde_json::Value {
    const TYPE: ColumnType = ColumnType::Json;

    fn to_value(&self) -> Value {
        Value::Json(Box::new(self.clone()))
    }

    fn into_value(self) -> Value {
        Value::Json(Box::new(self))
    }

    fn from_value(value: Value) -> Result<Self> {
        match value {
            Value::Json(value) => Ok(*value),
            other => Err(mismatch::<Self>(&other)),
        }
    }
}

#[diagnostic::do_not_recommend]
impl<T: ColumnValue> ColumnValue for Option<T> {
    const TYPE: ColumnType = T::TYPE;
    const NULLABLE: bool = true;

    fn to_value(&self) -> Value {
        self.as_ref().map_or(Value::Null, T::to_value)
    }

    fn into_value(self) -> Value {
        self.map_or(Value::Null, T::into_value)
    }

    fn from_value(value: Value) -> Result<Self> {
        match value {
            Value::Null => Ok(None),
            value => T::from_value(value).map(Some),
        }
    }
}

#[cfg(feature = "chrono")]
mod chrono_columns {
    use chrono::{DateTime, NaiveDate, NaiveDateTime, NaiveTime, Utc};

    use super::{ColumnType, ColumnValue, Error, Result, Value, mismatch};
    use crate::temporal;

    macro_rules! temporals {
        ($($rust:ty, $ty:ident, $to:expr, $from:expr;)*) => {$(
            #[diagnostic::do_not_recommend]
            impl ColumnValue for $rust {
                const TYPE: ColumnType = ColumnType::$ty;

                fn to_value(&self) -> Value {
                    Value::$ty($to(*self))
                }

                fn from_value(value: Value) -> Result<Self> {
                    match value {
                        Value::$ty(value) => $from(value).ok_or_else(|| {
                            Error::invalid_data(concat!("it is out of the range of ", stringify!($rust)))
                        }),
                        other => Err(mismatch::<Self>(&other)),
                    }
                }
            }
        )*};
    }
    temporals! {
        NaiveDate, Date, temporal::date_from_chrono, temporal::date_to_chrono;
        NaiveTime, Time, temporal::time_from_chrono, temporal::time_to_chrono;
        DateTime<Utc>, Timestamp, temporal::timestamp_from_chrono, temporal::timestamp_to_chrono;
        NaiveDateTime, Timestamp, |time: NaiveDateTime| temporal::timestamp_from_chrono(time.and_utc()),
            |micros| temporal::timestamp_to_chrono(micros).map(|time| time.naive_utc());
    }
}

#[diagnostic::do_not_recommend]
impl ColumnValue for std::time::SystemTime {
    const TYPE: ColumnType = ColumnType::Timestamp;

    /// Rounds down to whole microseconds.
    fn to_value(&self) -> Value {
        Value::Timestamp(crate::clock::exact_micros(*self))
    }

    fn from_value(value: Value) -> Result<Self> {
        match value {
            Value::Timestamp(micros) => Ok(crate::clock::from_micros(micros)),
            other => Err(mismatch::<Self>(&other)),
        }
    }
}

#[cfg(feature = "uuid")]
#[diagnostic::do_not_recommend]
impl ColumnValue for uuid::Uuid {
    const TYPE: ColumnType = ColumnType::Uuid;

    fn to_value(&self) -> Value {
        Value::Uuid(*self.as_bytes())
    }

    fn from_value(value: Value) -> Result<Self> {
        match value {
            Value::Uuid(bytes) => Ok(Self::from_bytes(bytes)),
            other => Err(mismatch::<Self>(&other)),
        }
    }
}

#[cfg(feature = "rust_decimal")]
#[diagnostic::do_not_recommend]
impl ColumnValue for rust_decimal::Decimal {
    const TYPE: ColumnType = crate::spelling::column_type::PLAIN_DECIMAL;

    fn to_value(&self) -> Value {
        Value::Decimal(self.to_string())
    }

    fn from_value(value: Value) -> Result<Self> {
        match value {
            Value::Decimal(text) => {
                Self::from_str_exact(&text).map(|value| value.normalize()).map_err(|_| {
                    Error::invalid_data(
                        "the number has more digits than rust_decimal::Decimal holds",
                    )
                })
            }
            other => Err(mismatch::<Self>(&other)),
        }
    }
}
