//! Conversion of rows between schemas.

use std::sync::Arc;

use super::rows::Stored;
use crate::freshness::EXPIRES_AT;
use crate::schema::project;
use crate::{Error, ErrorKind, Result, Row, Schema, Value};

/// Returns the row of a record under a schema. For the schema that it was written under, this is a
/// copy.
pub(super) fn read(stored: &Stored, layout: &Arc<Schema>) -> Result<Row> {
    let row = stored.row.clone();
    match Arc::ptr_eq(&stored.layout, layout) {
        true => Ok(row),
        false => project(row, &stored.layout, layout),
    }
}

/// Fills the absent columns of a row from the stored one.
pub(super) fn fill_absent_from(new: &mut Row, old: &[Value]) {
    for (new, old) in new.iter_mut().zip(old).filter(|(new, _)| new.is_absent()) {
        *new = old.clone();
    }
}

/// Converts a row to another layout. Columns that its own layout lacks become absent, so that they
/// are kept.
pub(super) fn translate(mut row: Row, from: &Schema, to: &Schema) -> Result<Row> {
    let value = |column: &crate::Column| {
        let same = |other: &crate::Column| {
            other.name == column.name
                || column.was.as_ref() == Some(&other.name)
                || other.was.as_ref() == Some(&column.name)
        };
        let Some(at) = from.columns.iter().position(same) else {
            // A write by a program without the expiry clears the expiry of another program.
            let ends = column.name == EXPIRES_AT;
            return Ok(if ends { Value::Null } else { Value::Absent });
        };
        let value = std::mem::replace(&mut row[at], Value::Absent);
        match (value, from.columns[at].ty) {
            (value @ (Value::Absent | Value::Null), _) => Ok(value),
            (value, ty) if ty == column.ty => Ok(value),
            (value, ty) if column.ty.widens(ty) => column.ty.coerce(value),
            _ => Err(Error::new(
                ErrorKind::SchemaChange,
                "the scope was opened under a newer schema, in which this column has another type; open the scope again with it",
            )
            .with_column(&column.name)),
        }
    };
    to.columns.iter().map(value).collect()
}
