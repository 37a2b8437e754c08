//! MySQL and MariaDB: column types, literals and limits.

use diesel::QueryResult;
use diesel::mysql::Mysql;
use diesel::query_builder::AstPass;
use diesel::serialize::Output;

use super::{introspect, keys, lossy_columns, values};
use crate::backends::sql::dialect::keys::{
    check_name as check_own, long_column, long_columns, sized_columns,
};
use crate::backends::sql::dialect::{ColumnTypes, ValueCheck, check_depth};
use crate::backends::sql::statement::ValueCodec;
use crate::{Column, ColumnType, Error, Result, Schema, Value, temporal, text};

impl ValueCodec for Mysql {
    fn bind<'b>(out: AstPass<'_, 'b, Self>, ty: ColumnType, value: &'b Value) -> QueryResult<()> {
        values::bind(out, ty, value)
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

impl ColumnTypes for Mysql {
    const NAME: &'static str = "mysql";

    fn quote(name: &str) -> String {
        format!("`{}`", name.replace('`', "``"))
    }

    fn column_type(ty: ColumnType) -> String {
        match ty {
            ColumnType::Bool => "tinyint(1)",
            ColumnType::SmallInt => "smallint",
            ColumnType::Int => "int",
            ColumnType::BigInt => "bigint",
            ColumnType::UBigInt => "bigint unsigned",
            ColumnType::Real => "float",
            ColumnType::Double => "double",
            ColumnType::Decimal { precision, scale } => {
                return format!("decimal({precision},{scale})");
            }
            ColumnType::Varchar(length @ ..=MAX_VARCHAR) => {
                return format!("varchar({length})");
            }
            ColumnType::Text | ColumnType::Varchar(_) => "longtext",
            ColumnType::Bytes => "longblob",
            ColumnType::Json => "json",
            ColumnType::Date => "date",
            ColumnType::Time => "time(6)",
            ColumnType::Timestamp => "datetime(6)",
            ColumnType::Uuid => "binary(16)",
        }
        .to_owned()
    }

    fn holds(declared: &str, ty: ColumnType) -> bool {
        match ty {
            ColumnType::Bool | ColumnType::SmallInt => {
                matches!(declared, "smallint" | "mediumint" | "int" | "bigint")
            }
            ColumnType::Int => matches!(declared, "int" | "bigint"),
            ColumnType::Double => declared == "double",
            ColumnType::Text => declared == "longtext",
            ColumnType::Varchar(length) => {
                matches!(declared, "longtext" | "mediumtext")
                    || declared == "text" && length <= MAX_VARCHAR
            }
            ColumnType::Bytes => declared == "longblob",
            _ => declared == Self::column_type(ty),
        }
    }

    fn is_exact(declared: &str) -> bool {
        introspect::is_exact(declared)
    }

    fn same_name(a: &str, b: &str) -> bool {
        a.to_lowercase() == b.to_lowercase()
    }

    /// The default of text, JSON and bytes must be an expression, not a literal.
    fn default_of(column: &Column, value: &Value) -> String {
        let literal = Self::literal(value);
        match column.ty {
            ColumnType::Text | ColumnType::Json | ColumnType::Bytes => format!("({literal})"),
            ColumnType::Varchar(length) if length > MAX_VARCHAR => format!("({literal})"),
            _ => literal,
        }
    }

    fn literal(value: &Value) -> String {
        let quoted = |text: &str| {
            let text = text.replace('\\', "\\\\").replace('\'', "''").replace('\0', "\\0");
            format!("'{text}'")
        };
        let hex = |bytes: &[u8]| -> String {
            format!("x'{}'", bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>())
        };
        match value {
            Value::Absent | Value::Null => "NULL".to_owned(),
            Value::Bool(v) => u8::from(*v).to_string(),
            Value::Int(v) => v.to_string(),
            Value::UInt(v) => v.to_string(),
            // Without an exponent it would be a decimal.
            Value::Float(v) => format!("{v:e}"),
            Value::Bytes(v) => hex(v),
            Value::Uuid(v) => hex(v),
            Value::Timestamp(v) => quoted(&temporal::timestamp_to_sql(*v)),
            other => quoted(&text::from_value(other)),
        }
    }

    fn check_schema(schema: &Schema) -> Result<()> {
        check_name(&schema.table, "table")?;
        let names = || schema.columns.iter().map(|column| column.name.as_str());
        for (at, name) in names().enumerate() {
            check_name(name, "column")?;
            check_own::<Self>(name)?;
            if let Some(other) = names().take(at).find(|other| Self::same_name(other, name)) {
                return Err(Error::unsupported(format!(
                    "mysql: column names are case-insensitive, so that `{other}` and `{name}` are equal; rename one of them"
                )));
            }
        }
        check_size(schema)
    }

    fn check_value(value: &Value) -> Result<()> {
        match value {
            Value::Float(v) if v.is_nan() => Err(Error::unsupported("mysql cannot hold NaN")),
            Value::Float(v) if v.is_infinite() => {
                Err(Error::unsupported("mysql cannot hold an infinity"))
            }
            Value::Json(json) => check_depth::<Self>(json, MAX_JSON_DEPTH),
            _ => Ok(()),
        }
    }

    fn lossy_column(declared: &str, ty: ColumnType) -> Option<ValueCheck> {
        lossy_columns::check_for(declared, ty)
    }

    fn key_type_in(schema: &Schema, column: &Column) -> String {
        match long_column::<Self>(schema, &column.name) {
            Some(long) => keys::surrogate_type(&long),
            None => Self::column_type(column.ty),
        }
    }

    fn auxiliary_columns(schema: &Schema) -> Vec<String> {
        let definitions = long_columns::<Self>(schema).map(|long| {
            let ty = Self::column_type(long.column.ty);
            let comment =
                format!("the key where `{}` holds its beginning and its SHA-256", long.column.name);
            let comment = Self::literal(&Value::Text(comment));
            format!("{} {ty} COMMENT {comment}", Self::quote(&long.full_key))
        });
        definitions.collect()
    }
}

/// The maximum length of a `VARCHAR`: a row has 65,535 bytes, not counting long texts.
const MAX_VARCHAR: u32 = 16_383;

/// The maximum nesting of JSON; MariaDB can have a lower limit.
const MAX_JSON_DEPTH: usize = 100;

fn check_name(name: &str, what: &str) -> Result<()> {
    let wrong = |why: &str| {
        Err(Error::unsupported(format!("mysql: the name of a {what} {why}; rename it")))
    };
    match () {
        () if name.chars().count() > 64 => wrong("has at most 64 characters"),
        () if name.contains('\0') => wrong("cannot contain the character NUL"),
        () if name.chars().any(|c| c > '\u{ffff}') => {
            wrong("cannot contain characters beyond U+FFFF, such as emoji")
        }
        () if name.ends_with(' ') => wrong("cannot end with a space"),
        () => Ok(()),
    }
}

/// Checks the limits of a table and its rows.
fn check_size(schema: &Schema) -> Result<()> {
    let too_many = |what: &str, limit: usize, count: usize| {
        Err(Error::unsupported(format!("mysql: a table has at most {limit} {what}, not {count}")))
    };
    if schema.columns.len() > 1000 {
        return too_many("columns", 1000, schema.columns.len());
    }
    if schema.key.len() > 16 {
        return too_many("columns in a key", 16, schema.key.len());
    }
    if sized_columns(schema) > keys::MAX_SIZED {
        let (limit, count) = (keys::MAX_SIZED, sized_columns(schema));
        return too_many("columns of text or bytes in a key", limit, count);
    }
    for column in &schema.columns {
        if let ColumnType::Decimal { precision, scale } = column.ty
            && (precision > 65 || scale > 30)
        {
            return Err(Error::unsupported("mysql: the limit of a decimal is decimal(65,30)")
                .with_column(&column.name));
        }
    }
    let key_bytes = long_columns::<Mysql>(schema).map(|_| 2560 + 12).sum::<usize>();
    match schema.columns.iter().map(|column| row_bytes(column.ty)).sum::<usize>() + key_bytes {
        0..=65_000 => Ok(()),
        bytes => Err(Error::unsupported(format!(
            "mysql: a row has at most 65,535 bytes, not {bytes}, without columns of type text, bytes and json; change the longest varchar columns to text"
        ))),
    }
}

/// Returns the maximum size of a value in a row, in bytes.
fn row_bytes(ty: ColumnType) -> usize {
    match ty {
        ColumnType::Varchar(length @ ..=MAX_VARCHAR) => length as usize * 4 + 2,
        ColumnType::Decimal { .. } => 32,
        ColumnType::Uuid => 16,
        _ => 12,
    }
}
