//! SQLite: column types, literals and limits.

use diesel::QueryResult;
use diesel::query_builder::AstPass;
use diesel::serialize::Output;
use diesel::sqlite::Sqlite;

use super::values;
use crate::backends::sql::dialect::ColumnTypes;
use crate::backends::sql::statement::ValueCodec;
use crate::{ColumnType, Error, Result, Schema, Value, temporal, text};

impl ValueCodec for Sqlite {
    fn bind<'b>(out: AstPass<'_, 'b, Self>, _: ColumnType, value: &'b Value) -> QueryResult<()> {
        values::bind(out, value)
    }

    fn encode<'b>(
        value: &'b Value,
        ty: ColumnType,
        out: &mut Output<'b, '_, Self>,
    ) -> diesel::serialize::Result {
        values::encode(value, ty, out)
    }

    fn decode(raw: Self::RawValue<'_>, ty: ColumnType) -> Result<Value> {
        values::decode(raw, ty)
    }
}

impl ColumnTypes for Sqlite {
    const NAME: &'static str = "sqlite";

    /// Double quotes are not used: SQLite treats `"n"` as the string `n` if there is no such column.
    fn quote(name: &str) -> String {
        format!("`{}`", name.replace('`', "``"))
    }

    fn quote_in_definition(name: &str) -> String {
        format!("\"{}\"", name.replace('"', "\"\""))
    }

    /// The affinity of the type must not convert values. Text that looks like a number stays text
    /// only with affinity TEXT, and JSON can look like a number. Dates and times never do, so they
    /// have their own type names.
    fn column_type(ty: ColumnType) -> String {
        match ty {
            ColumnType::Bool => "BOOLEAN",
            ColumnType::SmallInt => "SMALLINT",
            ColumnType::Int => "INTEGER",
            ColumnType::BigInt => "BIGINT",
            ColumnType::Real => "REAL",
            ColumnType::Double => "DOUBLE",
            ColumnType::Text
            | ColumnType::Json
            | ColumnType::Decimal { .. }
            // SQLite's integers are signed; the upper half of u64 is stored as digits.
            | ColumnType::UBigInt => "TEXT",
            ColumnType::Varchar(length) => return format!("VARCHAR({length})"),
            ColumnType::Bytes | ColumnType::Uuid => "BLOB",
            ColumnType::Date => "DATE",
            ColumnType::Time => "TIME",
            ColumnType::Timestamp => "TIMESTAMP",
        }
        .to_owned()
    }

    fn holds(declared: &str, ty: ColumnType) -> bool {
        use Affinity::{Blob, Integer, Numeric, Real, Text};
        let affinity = Affinity::of(declared);
        match ty {
            ColumnType::Bool | ColumnType::SmallInt | ColumnType::Int | ColumnType::BigInt => {
                matches!(affinity, Integer | Numeric | Blob)
            }
            ColumnType::Real | ColumnType::Double => matches!(affinity, Real | Numeric),
            // A float returns decimals of up to 15 digits unchanged.
            ColumnType::Decimal { precision: 0..=15, .. } => affinity != Integer,
            ColumnType::UBigInt
            | ColumnType::Decimal { .. }
            | ColumnType::Text
            | ColumnType::Varchar(_)
            | ColumnType::Json => matches!(affinity, Text | Blob),
            ColumnType::Bytes | ColumnType::Uuid => true,
            ColumnType::Date | ColumnType::Time | ColumnType::Timestamp => {
                matches!(affinity, Text | Numeric | Blob)
            }
        }
    }

    fn same_name(a: &str, b: &str) -> bool {
        a.eq_ignore_ascii_case(b)
    }

    /// Integers have 64 bits and floats are doubles, regardless of the declared type.
    fn adopted(ty: ColumnType) -> ColumnType {
        match ty {
            ColumnType::Int => ColumnType::BigInt,
            ColumnType::Real => ColumnType::Double,
            other => other,
        }
    }

    fn has_numeric_affinity(declared: &str) -> bool {
        Affinity::of(declared) == Affinity::Numeric
    }

    fn survives_numeric_affinity(text: &str) -> bool {
        values::survives_numeric_affinity(text)
    }

    fn literal(value: &Value) -> String {
        let quoted = |text: &str| format!("'{}'", text.replace('\'', "''"));
        let hex = |bytes: &[u8]| -> String {
            format!("x'{}'", bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>())
        };
        match value {
            Value::Absent | Value::Null => "NULL".to_owned(),
            Value::Bool(v) => u8::from(*v).to_string(),
            Value::Int(v) => v.to_string(),
            Value::Float(v) if v.is_infinite() => {
                if *v > 0.0 { "9e999" } else { "-9e999" }.to_owned()
            }
            Value::Float(v) => format!("{v:?}"),
            Value::Bytes(v) => hex(v),
            Value::Uuid(v) => hex(v),
            // A statement cannot contain NUL.
            Value::Text(v) if v.contains('\0') => format!("(CAST({} AS TEXT))", hex(v.as_bytes())),
            Value::Timestamp(v) => quoted(&temporal::timestamp_to_sql(*v)),
            other => quoted(&text::from_value(other)),
        }
    }

    fn check_schema(schema: &Schema) -> Result<()> {
        let names = || schema.columns.iter().map(|column| column.name.as_str());
        for name in names().chain([schema.table.as_str()]) {
            if name.contains('\0') {
                return Err(Error::unsupported("sqlite: a name cannot contain the character NUL"));
            }
        }
        if schema.table.to_ascii_lowercase().starts_with("sqlite_") {
            return Err(Error::unsupported(
                "sqlite: table names that begin with `sqlite_` are reserved; rename the table",
            ));
        }
        // Names are case-insensitive.
        for (at, name) in names().enumerate() {
            if let Some(other) = names().take(at).find(|other| other.eq_ignore_ascii_case(name)) {
                return Err(Error::unsupported(format!(
                    "sqlite: column names are case-insensitive, so that `{other}` and `{name}` are equal; rename one of them"
                )));
            }
        }
        // The default of `SQLITE_MAX_COLUMN`; the binds of a merge fit too.
        match schema.columns.len() {
            0..=2000 => Ok(()),
            columns => Err(Error::unsupported(format!(
                "sqlite: a table has at most 2000 columns, not {columns}"
            ))),
        }
    }

    fn check_value(value: &Value) -> Result<()> {
        match value {
            // SQLite would store NULL.
            Value::Float(v) if v.is_nan() => Err(Error::unsupported("sqlite cannot hold NaN")),
            Value::Text(v) => check_length(v.len()),
            Value::Bytes(v) => check_length(v.len()),
            _ => Ok(()),
        }
    }
}

/// The type affinity of a column, derived from its declared type
/// (<https://www.sqlite.org/datatype3.html>, section 3.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Affinity {
    Text,
    Numeric,
    Integer,
    Real,
    Blob,
}

impl Affinity {
    fn of(declared: &str) -> Self {
        let declared = declared.to_ascii_uppercase();
        let has = |words: &[&str]| words.iter().any(|word| declared.contains(word));
        match () {
            () if has(&["INT"]) => Self::Integer,
            () if has(&["CHAR", "CLOB", "TEXT"]) => Self::Text,
            () if has(&["BLOB"]) || declared.is_empty() => Self::Blob,
            () if has(&["REAL", "FLOA", "DOUB"]) => Self::Real,
            () => Self::Numeric,
        }
    }
}

/// Checks the length of a value: SQLite's default limit of a billion bytes, less some room for the
/// rest of the row.
fn check_length(length: usize) -> Result<()> {
    match length {
        0..=999_000_000 => Ok(()),
        _ => {
            Err(Error::unsupported("sqlite: the value is too long; the limit is 999,000,000 bytes"))
        }
    }
}
