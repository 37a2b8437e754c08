//! The column types: one set of names on every engine.

use std::fmt;
use std::str::FromStr;

use crate::spelling::column_type;
pub use crate::spelling::column_type::ColumnType;
use crate::{Error, Result, Value, decimal, range};

impl fmt::Display for ColumnType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self {
            Self::Bool => "bool",
            Self::SmallInt => "smallint",
            Self::Int => "int",
            Self::BigInt => "bigint",
            Self::UBigInt => "ubigint",
            Self::Real => "real",
            Self::Double => "double",
            Self::Decimal { precision, scale } => return write!(f, "decimal({precision},{scale})"),
            Self::Text => "text",
            Self::Varchar(length) => return write!(f, "varchar({length})"),
            Self::Bytes => "bytes",
            Self::Json => "json",
            Self::Date => "date",
            Self::Time => "time",
            Self::Timestamp => "timestamp",
            Self::Uuid => "uuid",
        };
        f.write_str(name)
    }
}

impl FromStr for ColumnType {
    type Err = Error;

    /// Parses a type from its name or a usual spelling (`str`, `integer`, `float8`, `blob`,
    /// `bytea`, `boolean`, `bigint unsigned`, `datetime`, ...), in any case.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidSchema`](crate::ErrorKind::InvalidSchema); the message lists the types.
    fn from_str(text: &str) -> Result<Self> {
        column_type::parse(text).map_err(Error::invalid_schema)
    }
}

impl ColumnType {
    /// Returns whether every value of the type `other` is a value of this type, too.
    pub fn widens(self, other: Self) -> bool {
        use ColumnType::{BigInt, Decimal, Double, Int, Real, SmallInt, Text, Varchar};
        match (other, self) {
            (a, b) if a == b => true,
            (SmallInt, Int | BigInt) | (Int, BigInt) | (Real, Double) | (Varchar(_), Text) => true,
            (Varchar(a), Varchar(b)) => a <= b,
            (Decimal { precision: p1, scale: s1 }, Decimal { precision: p2, scale: s2 }) => {
                s1 <= s2 && p1 - s1 <= p2 - s2
            }
            _ => false,
        }
    }

    /// Checks that a value is of this type. NULL is a value of every type.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidInput`](crate::ErrorKind::InvalidInput) if it is of another kind or out
    /// of the type's range.
    pub fn check(self, value: &Value) -> Result<()> {
        range::check(self, value)
    }

    /// Converts a value of a similar kind to this type: an integer of another width, a number or
    /// text to a decimal, text to a date, time, timestamp or UUID, or any value to or from JSON.
    ///
    /// # Errors
    ///
    /// As [`check`](ColumnType::check).
    pub fn coerce(self, value: Value) -> Result<Value> {
        let value = match (self, value) {
            (Self::Json, value @ (Value::Json(_) | Value::Null)) => value,
            (Self::Json, value) => Value::Json(Box::new(crate::json::from_value(value))),
            (_, Value::Json(json)) => crate::json::to_value(*json, self)?,
            (Self::UBigInt, Value::Int(v)) if v >= 0 => Value::UInt(v as u64),
            (Self::SmallInt | Self::Int | Self::BigInt, Value::UInt(v)) => {
                i64::try_from(v).map(Value::Int).unwrap_or(Value::UInt(v))
            }
            (Self::Decimal { precision, scale }, Value::Decimal(v) | Value::Text(v)) => {
                Value::Decimal(decimal::canonical(&v, precision, scale)?)
            }
            (Self::Decimal { precision, scale }, Value::Int(v)) => {
                Value::Decimal(decimal::canonical(&v.to_string(), precision, scale)?)
            }
            (Self::Decimal { precision, scale }, Value::UInt(v)) => {
                Value::Decimal(decimal::canonical(&v.to_string(), precision, scale)?)
            }
            (Self::Real | Self::Double, Value::Int(v)) => range::integer_as_float(v.into(), self)?,
            (Self::Real | Self::Double, Value::UInt(v)) => range::integer_as_float(v.into(), self)?,
            (Self::Date | Self::Time | Self::Timestamp | Self::Uuid, Value::Text(v)) => {
                crate::text::to_value(&v, self)?
            }
            (_, value) => value,
        };
        self.check(&value)?;
        Ok(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_reads_back() {
        for name in column_type::NAMES {
            let name = name.replace("(p,s)", "(12,3)").replace("(n)", "(50)");
            assert_eq!(name.parse::<ColumnType>().unwrap().to_string(), name);
        }
    }

    #[test]
    fn every_spelling_is_read_in_any_case() {
        for (ty, spellings) in column_type::PLAIN {
            for spelling in spellings {
                assert_eq!(spelling.parse::<ColumnType>().unwrap(), ty, "{spelling}");
                assert_eq!(spelling.to_ascii_uppercase().parse::<ColumnType>().unwrap(), ty);
            }
        }
        for spelling in column_type::DECIMAL {
            let ty = format!("{spelling}(3,2)").parse::<ColumnType>().unwrap();
            assert_eq!(ty, ColumnType::Decimal { precision: 3, scale: 2 }, "{spelling}");
        }
        for spelling in column_type::VARCHAR {
            assert_eq!(spelling.parse::<ColumnType>().unwrap(), ColumnType::Text, "{spelling}");
            let bounded = format!("{spelling}(10)").parse::<ColumnType>().unwrap();
            assert_eq!(bounded, ColumnType::Varchar(10), "{spelling}");
        }
    }

    #[test]
    fn usual_spellings_are_read() {
        for (text, ty) in [
            ("STR", ColumnType::Text),
            ("Integer", ColumnType::Int),
            ("float", ColumnType::Double),
            ("BIGINT UNSIGNED", ColumnType::UBigInt),
            ("bigint(20) unsigned", ColumnType::UBigInt),
            ("tinyint(1)", ColumnType::Bool),
            ("NUMERIC(10, 2)", ColumnType::Decimal { precision: 10, scale: 2 }),
            ("decimal(10)", ColumnType::Decimal { precision: 10, scale: 0 }),
            ("timestamp(6) with time zone", ColumnType::Timestamp),
            ("character varying(50)", ColumnType::Varchar(50)),
            ("double precision", ColumnType::Double),
        ] {
            assert_eq!(text.parse::<ColumnType>().unwrap(), ty, "{text}");
        }
    }

    #[test]
    fn an_unknown_type_names_the_known_ones() {
        let error = "bigit".parse::<ColumnType>().unwrap_err().to_string();
        assert!(error.contains("smallint") && error.contains("did you mean `bigint`?"), "{error}");
        for wrong in ["", "varchar(", "varchar(x)", "varchar(0)", "decimal(5,6)", "decimal(99,1)"] {
            assert!(wrong.parse::<ColumnType>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_range_of_a_type_is_checked() {
        assert!(ColumnType::SmallInt.check(&Value::Int(32_767)).is_ok());
        assert!(ColumnType::SmallInt.check(&Value::Int(32_768)).is_err());
        assert!(ColumnType::Real.check(&Value::Float(0.1)).is_err());
        assert!(ColumnType::Varchar(2).check(&Value::Text("éé".into())).is_ok());
        assert!(ColumnType::Varchar(2).check(&Value::Text("abc".into())).is_err());
        assert!(ColumnType::Text.check(&Value::Int(1)).is_err());
    }

    #[test]
    fn similar_kinds_are_converted() {
        assert_eq!(ColumnType::UBigInt.coerce(Value::Int(7)).unwrap(), Value::UInt(7));
        assert_eq!(ColumnType::Double.coerce(Value::Int(7)).unwrap(), Value::Float(7.0));
        assert_eq!(ColumnType::Date.coerce("1970-01-02".into()).unwrap(), Value::Date(1));
        assert!(ColumnType::Int.coerce("7".into()).is_err());
        assert!(ColumnType::Text.coerce(Value::Int(7)).is_err());
        assert!(ColumnType::UBigInt.coerce(Value::Int(-7)).is_err());
    }
}
