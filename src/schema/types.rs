//! The column types: one set of names on every engine.

use std::fmt;
use std::str::FromStr;

use super::range;
use crate::error::did_you_mean;
use crate::{Error, Result, Value, decimal};

/// The type of a column, by one set of names on every engine.
///
/// # Ranges
///
/// The same value has the same verdict wherever it comes from: a field, a cell of a CSV, a JSON
/// number, a key on the command line, a default in TOML.
///
/// - A value out of its type's range is an error, never cut or wrapped.
/// - An integer literal in a `real` or `double` column must be exactly a float of that type
///   (`16777217` is no `real`). A literal with a point or an exponent is rounded to the nearest
///   float, as in Rust. One beyond the largest float is an error, and so is one other than zero
///   that would be rounded to zero. Infinities and NaN are spelled out (`inf`, `NaN`).
/// - A `Value::Float` or an `f64` field in a `real` column must be exactly an `f32`.
/// - Times and timestamps are cut to whole microseconds, towards the past, when a record is turned
///   into a row: `DateTime<Utc>` of `12:00:00.000000999` is stored as `12:00:00`, and so is the text
///   `12:00:00.000000999`. A leap second is cut to the last microsecond before it. `get` returns
///   what was stored, so that a computed record equals the one that is fetched later; compare
///   with a fetched record, or cut times before `set`.
/// - A decimal is never rounded: digits beyond its scale are an error, unless they are zeros.
///
/// ```
/// use hilcat::ColumnType;
///
/// assert_eq!("varchar(50)".parse::<ColumnType>()?, ColumnType::Varchar(50));
/// assert_eq!("bigint unsigned".parse::<ColumnType>()?, ColumnType::UBigInt);
/// assert_eq!(ColumnType::Decimal { precision: 10, scale: 2 }.to_string(), "decimal(10,2)");
/// # Ok::<(), hilcat::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ColumnType {
    /// `bool`: true or false.
    Bool,
    /// `smallint`: 16 bits, signed.
    SmallInt,
    /// `int`: 32 bits, signed.
    Int,
    /// `bigint`: 64 bits, signed.
    BigInt,
    /// `ubigint`: 64 bits, unsigned.
    UBigInt,
    /// `real`: a 32-bit float.
    Real,
    /// `double`: a 64-bit float.
    Double,
    /// `decimal(p,s)`: `precision` digits, `scale` of them after the point.
    Decimal {
        /// All digits, 1 to 65.
        precision: u16,
        /// The digits after the point, 0 to 30 and no more than the precision.
        scale: u16,
    },
    /// `text`: any Unicode text.
    Text,
    /// `varchar(n)`: Unicode text of at most `n` characters.
    Varchar(u32),
    /// `bytes`.
    Bytes,
    /// `json`.
    Json,
    /// `date`: years 1 to 9999.
    Date,
    /// `time`: of day, to the microsecond.
    Time,
    /// `timestamp`: UTC, to the microsecond, years 1 to 9999.
    Timestamp,
    /// `uuid`.
    Uuid,
}

/// What is meant where `decimal` stands without precision and scale: room for every
/// `rust_decimal::Decimal` of up to nine digits after the point.
pub(crate) const PLAIN_DECIMAL: ColumnType = ColumnType::Decimal { precision: 38, scale: 9 };

/// The names that are written and suggested.
const NAMES: [&str; 16] = [
    "bool",
    "smallint",
    "int",
    "bigint",
    "ubigint",
    "real",
    "double",
    "decimal(p,s)",
    "text",
    "varchar(n)",
    "bytes",
    "json",
    "date",
    "time",
    "timestamp",
    "uuid",
];

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

    /// Reads a type by its name or one of the usual spellings (`str`, `integer`, `float8`, `blob`,
    /// `bytea`, `boolean`, `bigint unsigned`, `datetime`, ...), in any case.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidSchema`](crate::ErrorKind::InvalidSchema), naming the types there are.
    fn from_str(text: &str) -> Result<Self> {
        let lower = text.to_ascii_lowercase();
        let (name, arguments) = split_arguments(&lower)
            .ok_or_else(|| Error::invalid_schema(format!("malformed column type `{text}`")))?;
        let first = arguments.first().copied();
        Ok(match name.as_str() {
            "bool" | "boolean" => Self::Bool,
            "tinyint" if first == Some(1) => Self::Bool,
            "smallint" | "int2" | "i16" | "tinyint" | "smallserial" | "tinyint unsigned" => {
                Self::SmallInt
            }
            "int" | "integer" | "int4" | "i32" | "mediumint" | "serial" | "smallint unsigned"
            | "mediumint unsigned" => Self::Int,
            "bigint" | "int8" | "i64" | "long" | "bigserial" | "int unsigned"
            | "integer unsigned" => Self::BigInt,
            "ubigint" | "bigint unsigned" | "u64" | "unsigned bigint" | "unsigned big int" => {
                Self::UBigInt
            }
            "real" | "float4" | "f32" => Self::Real,
            "float" | "double" | "double precision" | "float8" | "f64" => Self::Double,
            "decimal" | "numeric" | "dec" | "number" => return decimal_type(text, &arguments),
            "text" | "str" | "string" | "tinytext" | "mediumtext" | "longtext" | "clob" => {
                Self::Text
            }
            "varchar" | "character varying" | "nvarchar" | "char" | "character" | "nchar" => {
                match first {
                    None => Self::Text,
                    Some(0) => {
                        return Err(Error::invalid_schema(format!(
                            "`{text}` holds nothing: its length is from 1"
                        )));
                    }
                    Some(length) => Self::Varchar(length),
                }
            }
            "bytes" | "blob" | "bytea" | "binary" | "varbinary" | "tinyblob" | "mediumblob"
            | "longblob" => Self::Bytes,
            "json" | "jsonb" => Self::Json,
            "date" => Self::Date,
            "time" | "time without time zone" => Self::Time,
            "timestamp"
            | "datetime"
            | "timestamptz"
            | "timestamp with time zone"
            | "timestamp without time zone" => Self::Timestamp,
            "uuid" => Self::Uuid,
            _ => {
                return Err(Error::invalid_schema(format!(
                    "unknown column type `{text}`; the types are {}{}",
                    NAMES.join(", "),
                    did_you_mean(
                        &name,
                        NAMES.map(|known| known.split('(').next().unwrap_or(known))
                    ),
                )));
            }
        })
    }
}

/// `decimal(10, 2) unsigned` is `decimal unsigned` with the arguments 10 and 2.
fn split_arguments(text: &str) -> Option<(String, Vec<u32>)> {
    let (before, inside, after) = match text.split_once('(') {
        None => (text, None, ""),
        Some((before, rest)) => {
            let (inside, after) = rest.split_once(')')?;
            (before, Some(inside), after)
        }
    };
    let words: Vec<&str> = before.split_whitespace().chain(after.split_whitespace()).collect();
    let arguments = inside.into_iter().flat_map(|inside| inside.split(','));
    let arguments =
        arguments.map(|argument| argument.trim().parse().ok()).collect::<Option<_>>()?;
    Some((words.join(" "), arguments))
}

fn decimal_type(text: &str, arguments: &[u32]) -> Result<ColumnType> {
    let (precision, scale) = match *arguments {
        [] => return Ok(PLAIN_DECIMAL),
        [precision] => (precision, 0),
        [precision, scale, ..] => (precision, scale),
    };
    if !(1..=65).contains(&precision) || scale > 30 || scale > precision {
        return Err(Error::invalid_schema(format!(
            "`{text}` is out of range: precision is 1 to 65, scale 0 to 30 and no more than the precision"
        )));
    }
    Ok(ColumnType::Decimal { precision: precision as u16, scale: scale as u16 })
}

impl ColumnType {
    /// Whether every value of the type `other` is one of this type, too.
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

    /// Checks that a value is one of this type, NULL included.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidInput`](crate::ErrorKind::InvalidInput) where it is of another kind or
    /// out of the type's range.
    pub fn check(self, value: &Value) -> Result<()> {
        range::check(self, value)
    }

    /// Brings a value of a near kind into this type: an integer of another width, a number or a
    /// text that spells a decimal, a text that spells a date, time, timestamp or uuid, or JSON.
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
        for name in NAMES {
            let name = name.replace("(p,s)", "(12,3)").replace("(n)", "(50)");
            assert_eq!(name.parse::<ColumnType>().unwrap().to_string(), name);
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
    fn near_kinds_are_brought_into_the_type() {
        assert_eq!(ColumnType::UBigInt.coerce(Value::Int(7)).unwrap(), Value::UInt(7));
        assert_eq!(ColumnType::Double.coerce(Value::Int(7)).unwrap(), Value::Float(7.0));
        assert_eq!(ColumnType::Date.coerce("1970-01-02".into()).unwrap(), Value::Date(1));
        assert!(ColumnType::Int.coerce("7".into()).is_err());
        assert!(ColumnType::Text.coerce(Value::Int(7)).is_err());
        assert!(ColumnType::UBigInt.coerce(Value::Int(-7)).is_err());
    }
}
