//! Rows that were written under another schema than they are read or overwritten with.

use std::sync::Arc;

use super::rows::Stored;
use crate::freshness::EXPIRES_AT;
use crate::schema::project;
use crate::{Error, ErrorKind, Result, Row, Schema, Value};

/// The row of a record as a schema has it. Where it was written under that very one, as nearly
/// all are, that is a copy.
pub(super) fn read(stored: &Stored, layout: &Arc<Schema>) -> Result<Row> {
    let row = stored.row.clone();
    match Arc::ptr_eq(&stored.layout, layout) {
        true => Ok(row),
        false => project(row, &stored.layout, layout),
    }
}

/// Gives the columns that are absent from a new row what the stored one has.
pub(super) fn keep(new: &mut Row, old: &[Value]) {
    for (new, old) in new.iter_mut().zip(old).filter(|(new, _)| new.is_absent()) {
        *new = old.clone();
    }
}

/// Brings a row that is to be written into another layout. A column that the row's own layout
/// does not know is absent: it stays as it was.
pub(super) fn translate(mut row: Row, from: &Schema, to: &Schema) -> Result<Row> {
    let value = |column: &crate::Column| {
        let same = |have: &crate::Column| {
            have.name == column.name
                || column.was.as_ref() == Some(&have.name)
                || have.was.as_ref() == Some(&column.name)
        };
        let Some(at) = from.columns.iter().position(same) else {
            // A write by a program that gives records no expiry ends that of another program.
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
                "the scope was opened under a newer schema, which has another type here",
            )
            .with_column(&column.name)),
        }
    };
    to.columns.iter().map(value).collect()
}
