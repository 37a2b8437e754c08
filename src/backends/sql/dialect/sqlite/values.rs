//! Values of SQLite: how they are bound and read.

use diesel::QueryResult;
use diesel::deserialize::FromSql;
use diesel::query_builder::AstPass;
use diesel::serialize::{IsNull, Output, ToSql};
use diesel::sql_types::{BigInt, Binary, Double, Text};
use diesel::sqlite::{Sqlite, SqliteType};

use crate::backends::sql::dialect::{misfit, unreadable};
use crate::{ColumnType, Error, Result, Value, json, temporal, text};

type Raw<'a> = <Sqlite as diesel::backend::Backend>::RawValue<'a>;

/// Binds a value: SQLite has a type for each value, not for each column.
pub(super) fn bind<'b>(mut out: AstPass<'_, 'b, Sqlite>, value: &'b Value) -> QueryResult<()> {
    match value {
        Value::Bool(_) | Value::Int(_) => out.push_bind_param::<BigInt, Value>(value),
        Value::Float(_) => out.push_bind_param::<Double, Value>(value),
        Value::Bytes(_) | Value::Uuid(_) => out.push_bind_param::<Binary, Value>(value),
        _ => out.push_bind_param::<Text, Value>(value),
    }
}

/// Reads a value of a type. Only what hilcat itself would have stored is read, and decimals from
/// any number.
pub(super) fn decode(mut raw: Raw<'_>, ty: ColumnType) -> Result<Value> {
    use ColumnType as Ty;
    use SqliteType::{Binary, Double, Float, Integer, Long, SmallInt, Text};
    let stored = raw.value_type();
    Ok(match (ty, stored) {
        (_, None) => Value::Null,
        (Ty::BigInt, Some(SmallInt | Integer | Long)) => Value::Int(raw.read_long()),
        (Ty::SmallInt | Ty::Int, Some(SmallInt | Integer | Long)) => {
            in_range(Value::Int(raw.read_long()), ty)?
        }
        (Ty::Text | Ty::Varchar(_), Some(Text)) => Value::Text(read_text(raw)?),
        (Ty::Real | Ty::Double, Some(Float | Double)) => Value::Float(raw.read_double()),
        (Ty::Real | Ty::Double, Some(SmallInt | Integer | Long)) => {
            ty.coerce(Value::Int(raw.read_long())).map_err(unreadable)?
        }
        (Ty::Bool, Some(SmallInt | Integer | Long)) => match raw.read_long() {
            0 => Value::Bool(false),
            1 => Value::Bool(true),
            _ => return Err(misfit(ty, "an integer beyond 0 and 1")),
        },
        (Ty::Bytes, Some(Binary)) => Value::Bytes(raw.read_blob().to_vec()),
        (Ty::Uuid, Some(Binary)) => match raw.read_blob().try_into() {
            Ok(bytes) => Value::Uuid(bytes),
            Err(_) => return Err(misfit(ty, "bytes, but not sixteen")),
        },
        (Ty::Json, Some(Text)) => {
            Value::Json(Box::new(json::parse(&read_text(raw)?).map_err(unreadable)?))
        }
        (Ty::UBigInt | Ty::Date | Ty::Time | Ty::Timestamp, Some(Text)) => {
            text::to_value(&read_text(raw)?, ty).map_err(unreadable)?
        }
        // In a column of affinity NUMERIC a decimal is an integer or a float.
        (Ty::Decimal { .. }, Some(Float | Double)) => {
            text::to_value(&raw.read_double().to_string(), ty).map_err(unreadable)?
        }
        (Ty::Decimal { .. }, Some(Text | SmallInt | Integer | Long)) => {
            text::to_value(&read_text(raw)?, ty).map_err(unreadable)?
        }
        _ => return Err(misfit(ty, name_of(stored))),
    })
}

/// A stored value that has to be in the range of its type.
fn in_range(value: Value, ty: ColumnType) -> Result<Value> {
    ty.check(&value).map_err(unreadable)?;
    Ok(value)
}

fn read_text(raw: Raw<'_>) -> Result<String> {
    let text = <String as FromSql<Text, Sqlite>>::from_sql(raw);
    text.map_err(|_| Error::invalid_data("the stored text is not UTF-8"))
}

fn name_of(stored: Option<SqliteType>) -> &'static str {
    match stored {
        None => "NULL",
        Some(SqliteType::Binary) => "bytes",
        Some(SqliteType::Text) => "text",
        Some(SqliteType::Float | SqliteType::Double) => "a floating-point number",
        Some(_) => "an integer",
    }
}

/// Binds a value as what it is stored as.
macro_rules! stored_as {
    ($($ty:ty),*) => {$(
        impl ToSql<$ty, Sqlite> for Value {
            fn to_sql<'b>(&'b self, out: &mut Output<'b, '_, Sqlite>) -> diesel::serialize::Result {
                Ok(store(self, out))
            }
        }
    )*};
}
stored_as!(BigInt, Double, Binary, Text);

/// Writes a value where Diesel has it bound by the type of a column: small integers must then be of
/// 32 bits.
pub(super) fn encode<'b>(
    value: &'b Value,
    ty: ColumnType,
    out: &mut Output<'b, '_, Sqlite>,
) -> diesel::serialize::Result {
    match (value, ty) {
        (Value::Bool(v), _) => out.set_value(i32::from(*v)),
        (Value::Int(v), ColumnType::SmallInt | ColumnType::Int) => {
            out.set_value(i32::try_from(*v)?)
        }
        _ => return Ok(store(value, out)),
    }
    Ok(IsNull::No)
}

fn store<'b>(value: &'b Value, out: &mut Output<'b, '_, Sqlite>) -> IsNull {
    match value {
        Value::Absent | Value::Null => return IsNull::Yes,
        Value::Bool(v) => out.set_value(i64::from(*v)),
        Value::Int(v) => out.set_value(*v),
        Value::Float(v) => out.set_value(*v),
        Value::Text(v) | Value::Decimal(v) => out.set_value(v.as_str()),
        Value::Bytes(v) => out.set_value(v.as_slice()),
        Value::Uuid(v) => out.set_value(v.as_slice()),
        Value::Timestamp(v) => out.set_value(temporal::timestamp_to_sql(*v)),
        other => out.set_value(text::from_value(other).into_owned()),
    }
    IsNull::No
}
