//! The column types and their spellings.

use super::did_you_mean;

/// The type of a column, with the same name on every engine.
///
/// # Ranges
///
/// The rules are the same for all sources of a value: a field, a cell of a CSV, a JSON number, a key
/// on the command line, a default in TOML.
///
/// - A value out of its type's range is an error; it is never truncated or wrapped.
/// - An integer literal in a `real` or `double` column must be exactly a float of that type
///   (`16777217` is no `real`). A literal with a point or an exponent is rounded to the nearest
///   float, as in Rust. One beyond the largest float is an error, and so is one other than zero
///   that would be rounded to zero. Infinities and NaN are spelled out (`inf`, `NaN`).
/// - A `Value::Float` or an `f64` field in a `real` column must be exactly an `f32`.
/// - Times and timestamps are truncated to whole microseconds, towards the past, when a record is
///   converted to a row: `DateTime<Utc>` of `12:00:00.000000999` is stored as `12:00:00`, and so is
///   the text `12:00:00.000000999`. A leap second becomes the last microsecond before it. `get`
///   returns the stored values, so a computed record equals the one that is fetched later. In tests,
///   compare with a fetched record, or truncate times before `set`.
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
#[non_exhaustive]
#[allow(unreachable_pub, reason = "public in the library and private in its macros")]
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
        /// The total number of digits, 1 to 65.
        precision: u16,
        /// The number of digits after the point, 0 to 30 and no more than the precision.
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

/// The meaning of `decimal` without precision and scale. It holds every `rust_decimal::Decimal` with
/// up to nine digits after the point.
pub(crate) const PLAIN_DECIMAL: ColumnType = ColumnType::Decimal { precision: 38, scale: 9 };

/// The canonical names, which are written and suggested.
pub(crate) const NAMES: [&str; 16] = [
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

/// Every spelling of the types without arguments, or whose arguments are ignored.
pub(crate) const PLAIN: [(ColumnType, &[&str]); 14] = [
    (ColumnType::Bool, &["bool", "boolean"]),
    (
        ColumnType::SmallInt,
        &["smallint", "int2", "i16", "tinyint", "smallserial", "tinyint unsigned"],
    ),
    (
        ColumnType::Int,
        &[
            "int",
            "integer",
            "int4",
            "i32",
            "mediumint",
            "serial",
            "smallint unsigned",
            "mediumint unsigned",
        ],
    ),
    (
        ColumnType::BigInt,
        &["bigint", "int8", "i64", "long", "bigserial", "int unsigned", "integer unsigned"],
    ),
    (
        ColumnType::UBigInt,
        &["ubigint", "bigint unsigned", "u64", "unsigned bigint", "unsigned big int"],
    ),
    (ColumnType::Real, &["real", "float4", "f32"]),
    (ColumnType::Double, &["float", "double", "double precision", "float8", "f64"]),
    (ColumnType::Text, &["text", "str", "string", "tinytext", "mediumtext", "longtext", "clob"]),
    (
        ColumnType::Bytes,
        &["bytes", "blob", "bytea", "binary", "varbinary", "tinyblob", "mediumblob", "longblob"],
    ),
    (ColumnType::Json, &["json", "jsonb"]),
    (ColumnType::Date, &["date"]),
    (ColumnType::Time, &["time", "time without time zone"]),
    (
        ColumnType::Timestamp,
        &[
            "timestamp",
            "datetime",
            "timestamptz",
            "timestamp with time zone",
            "timestamp without time zone",
        ],
    ),
    (ColumnType::Uuid, &["uuid"]),
];

/// The spellings of `decimal(p,s)`.
pub(crate) const DECIMAL: [&str; 4] = ["decimal", "numeric", "dec", "number"];
/// The spellings of `varchar(n)`; without a length they are `text`.
pub(crate) const VARCHAR: [&str; 6] =
    ["varchar", "character varying", "nvarchar", "char", "character", "nchar"];

/// Parses a type from its name or a usual spelling, in any case.
///
/// # Errors
///
/// A message that lists the types, or the allowed range.
pub(crate) fn parse(text: &str) -> Result<ColumnType, String> {
    let lower = text.to_ascii_lowercase();
    let (name, arguments) =
        split_arguments(&lower).ok_or_else(|| format!("malformed column type `{text}`"))?;
    let name = name.as_str();
    if name == "tinyint" && arguments.first() == Some(&1) {
        return Ok(ColumnType::Bool);
    }
    if DECIMAL.contains(&name) {
        return decimal(text, &arguments);
    }
    if VARCHAR.contains(&name) {
        return varchar(text, arguments.first());
    }
    let plain = PLAIN.iter().find(|(_, spellings)| spellings.contains(&name));
    plain.map(|(ty, _)| *ty).ok_or_else(|| unknown(text, name))
}

/// Splits a type into name and arguments: `decimal(10, 2) unsigned` is `decimal unsigned` with the
/// arguments 10 and 2.
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

fn decimal(text: &str, arguments: &[u32]) -> Result<ColumnType, String> {
    let (precision, scale) = match *arguments {
        [] => return Ok(PLAIN_DECIMAL),
        [precision] => (precision, 0),
        [precision, scale, ..] => (precision, scale),
    };
    if !(1..=65).contains(&precision) || scale > 30 || scale > precision {
        return Err(format!(
            "`{text}` is out of range: precision is 1 to 65, scale 0 to 30 and no more than the precision"
        ));
    }
    Ok(ColumnType::Decimal { precision: precision as u16, scale: scale as u16 })
}

fn varchar(text: &str, length: Option<&u32>) -> Result<ColumnType, String> {
    match length {
        None => Ok(ColumnType::Text),
        Some(0) => Err(format!("`{text}` holds nothing: its length is from 1")),
        Some(length) => Ok(ColumnType::Varchar(*length)),
    }
}

fn unknown(text: &str, name: &str) -> String {
    let heads = NAMES.iter().map(|known| known.split('(').next().unwrap_or(known));
    format!(
        "unknown column type `{text}`; the types are {}{}",
        NAMES.join(", "),
        did_you_mean(name, heads)
    )
}

/// Returns whether columns of the two types hold the same kind of value, so that a field can have a
/// column of either type.
pub(crate) const fn same_kind(a: ColumnType, b: ColumnType) -> bool {
    kind(a) == kind(b)
}

/// Returns a number for each kind of value.
const fn kind(ty: ColumnType) -> u8 {
    match ty {
        ColumnType::Bool => 0,
        ColumnType::SmallInt | ColumnType::Int | ColumnType::BigInt => 1,
        ColumnType::UBigInt => 2,
        ColumnType::Real | ColumnType::Double => 3,
        ColumnType::Decimal { .. } => 4,
        ColumnType::Text | ColumnType::Varchar(_) => 5,
        ColumnType::Bytes => 6,
        ColumnType::Json => 7,
        ColumnType::Date => 8,
        ColumnType::Time => 9,
        ColumnType::Timestamp => 10,
        ColumnType::Uuid => 11,
    }
}

/// Returns a message with the column types that a field of this type can have.
pub(crate) const fn what_fits(natural: ColumnType) -> &'static str {
    match natural {
        ColumnType::SmallInt | ColumnType::Int | ColumnType::BigInt => {
            "the field is an integer: its column can be `smallint`, `int` or `bigint`; for a column of text make the field a `String`"
        }
        ColumnType::Real | ColumnType::Double => {
            "the field is a float: its column can be `real` or `double`"
        }
        ColumnType::Text | ColumnType::Varchar(_) => {
            "the field is text: its column can be `text` or `varchar(n)`"
        }
        ColumnType::Decimal { .. } => "the field is a decimal: its column can be `decimal(p,s)`",
        ColumnType::Bool => "the field is a boolean: its column can be `bool`",
        ColumnType::UBigInt => {
            "the field is an unsigned integer of 64 bits: its column can be `ubigint`"
        }
        ColumnType::Bytes => "the field is bytes: its column can be `bytes`",
        ColumnType::Json => "the field is JSON: its column can be `json`",
        ColumnType::Date => "the field is a date: its column can be `date`",
        ColumnType::Time => "the field is a time of day: its column can be `time`",
        ColumnType::Timestamp => "the field is a timestamp: its column can be `timestamp`",
        ColumnType::Uuid => "the field is a UUID: its column can be `uuid`",
    }
}
