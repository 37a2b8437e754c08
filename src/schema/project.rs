//! Converts rows between schemas.

use super::{ColumnType, Schema};
use crate::{Error, Result, Row, Value};

/// Converts a row of one schema to another. Columns are matched by name or former name (in either
/// schema). Added columns get their default or NULL, and values are converted to wider types.
///
/// # Errors
///
/// [`ErrorKind::InvalidData`](crate::ErrorKind::InvalidData), naming the column, if a value does not
/// fit the new type, or a column without default and NULL is missing.
pub(crate) fn project(mut row: Row, from: &Schema, to: &Schema) -> Result<Row> {
    let find = |name: &str| from.columns.iter().position(|column| column.name == name);
    let find_later =
        |name: &str| from.columns.iter().position(|column| column.was.as_deref() == Some(name));
    let value = |column: &super::Column| {
        let at = find(&column.name).or_else(|| find(column.was.as_deref()?));
        let at = at.or_else(|| find_later(&column.name));
        match at {
            Some(at) => widen(std::mem::replace(&mut row[at], Value::Null), from.columns[at].ty, column.ty),
            None => match (&column.default, column.nullable) {
                (Some(default), _) => Ok(default.clone()),
                (None, true) => Ok(Value::Null),
                (None, false) => Err(Error::invalid_data(
                    "the stored record is of an older schema without this column, which has no default and cannot be NULL",
                )),
            },
        }
        .map_err(|error| error.with_column(&column.name))
    };
    to.columns.iter().map(value).collect()
}

fn widen(value: Value, from: ColumnType, to: ColumnType) -> Result<Value> {
    if from == to || value.is_null() {
        return Ok(value);
    }
    if !to.widens(from) {
        return Err(Error::invalid_data(format!(
            "the stored record has the type {from} here, the schema {to}"
        )));
    }
    to.coerce(value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Column;

    #[test]
    fn an_older_row_is_upgraded_or_reported() {
        let old = Schema::new("a")
            .unique(Column::new("id", ColumnType::Text))
            .column(Column::new("n", ColumnType::Int))
            .column(Column::new("price", ColumnType::Decimal { precision: 5, scale: 1 }));
        let new = Schema::new("a")
            .unique(Column::new("key", ColumnType::Text).was("id"))
            .column(Column::new("price", ColumnType::Decimal { precision: 8, scale: 3 }))
            .column(Column::new("n", ColumnType::BigInt))
            .column(Column::new("m", ColumnType::Int).default_value(7_i32));
        let row = vec!["a".into(), Value::Int(1), Value::Decimal("2.5".into())];
        let upgraded = project(row.clone(), &old, &new).unwrap();
        assert_eq!(
            upgraded,
            ["a".into(), Value::Decimal("2.500".into()), Value::Int(1), Value::Int(7)]
        );

        let wrong = new.clone().column(Column::new("must", ColumnType::Int));
        assert_eq!(project(row, &old, &wrong).unwrap_err().column(), Some("must"));
        let back = project(upgraded, &new, &old).unwrap_err();
        assert_eq!(back.column(), Some("n"), "the key is found under its former name");
    }
}
