//! PostgreSQL: column types, literals and limits.

use diesel::QueryResult;
use diesel::pg::{Pg, PgValue};
use diesel::query_builder::AstPass;
use diesel::serialize::Output;

use super::{keys, values};
use crate::backends::sql::dialect::ColumnTypes;
use crate::backends::sql::dialect::keys::{check_name, long_column, long_columns};
use crate::backends::sql::statement::ValueCodec;
use crate::backends::sql::statement::batch::Column;
use crate::{ColumnType, Error, Result, Row, Schema, Value, schema, text};

impl ValueCodec for Pg {
    fn bind<'b>(out: AstPass<'_, 'b, Self>, ty: ColumnType, value: &'b Value) -> QueryResult<()> {
        values::bind(out, ty, value)
    }

    fn bind_column<'b>(
        out: AstPass<'_, 'b, Self>,
        ty: ColumnType,
        column: &'b Column<'b>,
    ) -> QueryResult<()> {
        values::bind_column(out, ty, column)
    }

    fn encode<'b>(
        value: &'b Value,
        ty: ColumnType,
        out: &mut Output<'b, '_, Self>,
    ) -> diesel::serialize::Result {
        values::encode(value, ty, out)
    }

    fn decode(raw: PgValue<'_>, ty: ColumnType) -> Result<Value> {
        values::decode(raw, ty)
    }
}

impl ColumnTypes for Pg {
    const NAME: &'static str = "postgresql";

    const LONG_SCOPES: bool = false;

    fn quote(name: &str) -> String {
        format!("\"{}\"", name.replace('"', "\"\""))
    }

    fn column_type(ty: ColumnType) -> String {
        match ty {
            ColumnType::Bool => "boolean",
            ColumnType::SmallInt => "smallint",
            ColumnType::Int => "integer",
            ColumnType::BigInt => "bigint",
            // PostgreSQL has no unsigned integers.
            ColumnType::UBigInt => "numeric(20,0)",
            ColumnType::Real => "real",
            ColumnType::Double => "double precision",
            ColumnType::Decimal { precision, scale } => {
                return format!("numeric({precision},{scale})");
            }
            ColumnType::Text => "text",
            ColumnType::Varchar(length) => return format!("varchar({length})"),
            ColumnType::Bytes => "bytea",
            ColumnType::Json => "jsonb",
            ColumnType::Date => "date",
            ColumnType::Time => "time",
            ColumnType::Timestamp => "timestamptz",
            ColumnType::Uuid => "uuid",
        }
        .to_owned()
    }

    /// The collation `C` compares text by bytes, regardless of the database's collation. Its index
    /// stays valid when a library changes the order of a language.
    fn key_type(ty: ColumnType) -> String {
        let name = Self::column_type(ty);
        match ty {
            ColumnType::Text | ColumnType::Varchar(_) => format!("{name} COLLATE \"C\""),
            _ => name,
        }
    }

    fn key_type_in(schema: &Schema, column: &schema::Column) -> String {
        match long_column::<Self>(schema, &column.name) {
            Some(long) => keys::surrogate_type(&long),
            None => Self::key_type(column.ty),
        }
    }

    fn auxiliary_columns(schema: &Schema) -> Vec<String> {
        let full_key_columns = long_columns::<Self>(schema);
        full_key_columns
            .map(|long| {
                format!("{} {}", keys::full_key_definition(&long), keys::surrogate_condition(&long))
            })
            .collect()
    }

    fn holds(declared: &str, ty: ColumnType) -> bool {
        match ty {
            ColumnType::Timestamp => declared == "timestamp",
            ColumnType::Json => declared == "json",
            ColumnType::Text => declared == "varchar",
            _ => declared == Self::column_type(ty),
        }
    }

    fn literal(value: &Value) -> String {
        let quoted = |text: &str| format!("'{}'", text.replace('\'', "''"));
        match value {
            Value::Absent | Value::Null => "NULL".to_owned(),
            Value::Bool(_) | Value::Int(_) | Value::UInt(_) => text::from_value(value).into(),
            Value::Float(v) if v.is_finite() => format!("{v:?}"),
            Value::Bytes(v) => {
                quoted(&v.iter().fold("\\x".to_owned(), |hex, byte| format!("{hex}{byte:02x}")))
            }
            Value::Json(v) => {
                let mut json = Vec::new();
                // Writing to memory cannot fail.
                let _ = values::write_json(v, &mut json);
                quoted(&String::from_utf8_lossy(&json))
            }
            other => quoted(&text::from_value(other)),
        }
    }

    fn check_schema(schema: &Schema) -> Result<()> {
        let columns = schema.columns.iter().map(|column| (column.name.as_str(), "column"));
        for (name, what) in columns.chain([(schema.table.as_str(), "table")]) {
            if name.len() > MAX_NAME {
                return Err(Error::unsupported(format!(
                    "postgresql: the name of the {what} `{name}` has {} bytes, and the limit is {MAX_NAME}; rename it",
                    name.len()
                )));
            }
            if name.contains('\0') {
                return Err(Error::unsupported(
                    "postgresql: a name cannot contain the character NUL",
                ));
            }
        }
        for column in &schema.columns {
            check_name::<Self>(&column.name)?;
        }
        let system_columns = ["tableoid", "xmin", "cmin", "xmax", "cmax", "ctid"];
        for column in &schema.columns {
            if system_columns.contains(&column.name.as_str()) {
                return Err(Error::unsupported(
                    "postgresql: the name of the column is that of a system column; rename it",
                )
                .with_column(&column.name));
            }
            if let ColumnType::Varchar(10_485_761..) = column.ty {
                return Err(Error::unsupported(
                    "postgresql: the maximum length of a varchar is 10485760; use text",
                )
                .with_column(&column.name));
            }
        }
        match (schema.columns.len(), schema.key.len()) {
            (0..=1600, 0..=32) => Ok(()),
            (columns, keys) => Err(Error::unsupported(format!(
                "postgresql: a table has at most 1600 columns, 32 of them in the key, not {columns} and {keys}"
            ))),
        }
    }

    fn check_value(value: &Value) -> Result<()> {
        match value {
            Value::Text(v) if v.contains('\0') => Err(values::nul()),
            Value::Text(v) => check_length(v.len()),
            Value::Bytes(v) => check_length(v.len()),
            Value::Json(v) if has_nul(v) => Err(values::nul()),
            _ => Ok(()),
        }
    }

    fn check_row(schema: &Schema, row: &Row) -> Result<()> {
        keys::check(schema, row)
    }
}

/// The maximum length of a name in bytes; PostgreSQL truncates longer ones.
const MAX_NAME: usize = 63;

/// Returns whether a string in JSON contains the character NUL.
fn has_nul(json: &serde_json::Value) -> bool {
    use serde_json::Value as Json;
    match json {
        Json::String(text) => text.contains('\0'),
        Json::Array(items) => items.iter().any(has_nul),
        Json::Object(map) => map.iter().any(|(name, value)| name.contains('\0') || has_nul(value)),
        _ => false,
    }
}

/// Checks the length of a value: PostgreSQL's limit of a row and of a message is a gigabyte, including
/// escapes.
fn check_length(length: usize) -> Result<()> {
    match length {
        0..=500_000_000 => Ok(()),
        _ => Err(Error::unsupported(
            "postgresql: the value is too long; the limit is 500,000,000 bytes",
        )),
    }
}
