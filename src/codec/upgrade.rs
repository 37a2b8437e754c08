//! Reading of records that were written under another schema or by another program.

use super::column_value::{ColumnValue, invalid};
use super::{Codec, FINGERPRINT_FIELD, stored_name};
use crate::freshness::EXPIRES_AT;
use crate::{Column, Error, Result, Row, Value};

/// The fields of a record that are no columns of the schema, by name.
pub(super) type UnknownFields<'a> = Vec<(String, ColumnValue<'a>)>;

/// Returns the row of a record, and the fields that are left.
///
/// A column is found by its name or its previous name. A missing column has its default, or NULL.
/// If the record has unknown fields instead, which may be the column under another name, the record
/// is refused, unless these fields are known to belong to other programs. Columns that the schema
/// drops are removed.
///
/// # Errors
///
/// [`ErrorKind::InvalidData`](crate::ErrorKind::InvalidData), naming the column.
pub(super) fn upgrade<'a>(
    codec: &Codec,
    fields: UnknownFields<'a>,
) -> Result<(Row, UnknownFields<'a>)> {
    check_duplicates(&fields)?;
    let mut fields = fields;
    let fingerprint =
        fields.iter().position(|(name, _)| name == FINGERPRINT_FIELD).map(|at| fields.remove(at).1);
    let fingerprint = fingerprint.map(ColumnValue::into_json);
    let mut found: Vec<Option<ColumnValue>> = Vec::new();
    let names: Vec<Option<String>> =
        codec.schema.columns.iter().map(|column| stored_field(codec, column, &fields)).collect();
    for name in names {
        let at = name.and_then(|name| fields.iter().position(|(known, _)| *known == name));
        found.push(at.map(|at| fields.swap_remove(at).1));
    }
    let missing = match fingerprint {
        Some(fingerprint) if fingerprint == codec.fingerprint.as_str() => Missing::Malformed,
        Some(_) if !fields.iter().all(|(name, _)| codec.is_known(name)) => Missing::OtherSchema,
        _ => Missing::New,
    };
    let columns = codec.schema.columns.iter().zip(found);
    let row = columns.map(|(column, value)| match value {
        Some(value) => value.into_value(column),
        None => missing.value(column),
    });
    let row = row.collect::<Result<Row>>()?;
    // A write by a program without the expiry clears the expiry of another program.
    fields.retain(|(name, _)| !codec.dropped().contains(name) && name != EXPIRES_AT);
    Ok((row, fields))
}

/// Returns the name under which a record has a column. A previous name of another column belongs to
/// that column, unless the record has it under its current name.
fn stored_field(codec: &Codec, column: &Column, fields: &UnknownFields<'_>) -> Option<String> {
    let has = |name: &str| fields.iter().any(|(known, _)| known == name);
    let taken = codec.schema.columns.iter().any(|other| {
        other.was.as_ref() == Some(&column.name)
            && other.name != column.name
            && !has(&stored_name(&other.name))
    });
    let names = [(!taken).then_some(&column.name), column.was.as_ref()];
    names.into_iter().flatten().map(|name| stored_name(name)).find(|name| has(name))
}

fn check_duplicates(fields: &UnknownFields<'_>) -> Result<()> {
    let mut names: Vec<&str> = fields.iter().map(|(name, _)| name.as_str()).collect();
    names.sort_unstable();
    match names.windows(2).find(|pair| pair[0] == pair[1]) {
        None => Ok(()),
        Some(pair) => {
            Err(Error::invalid_data("the stored record has a duplicate column")
                .with_column(pair[0]))
        }
    }
}

/// The meaning of a missing column.
#[derive(Clone, Copy)]
enum Missing {
    /// The record is older than the column, or from a program that left it out.
    New,
    /// The record has the fingerprint of this schema, so the column must not be missing.
    Malformed,
    /// The record has unknown fields, one of which may be this column under another name.
    OtherSchema,
}

impl Missing {
    fn value(self, column: &Column) -> Result<Value> {
        match (self, &column.default) {
            (Self::Malformed, _) => Err(invalid(column, "it lacks this column")),
            (Self::OtherSchema, _) => Err(invalid(
                column,
                "it was written under another schema with other columns instead; open the scope again under that schema",
            )),
            (Self::New, Some(default)) => Ok(default.clone()),
            (Self::New, None) if column.nullable => Ok(Value::Null),
            (Self::New, None) => Err(invalid(
                column,
                "it is older than this column, which has no default and cannot be NULL",
            )),
        }
    }
}
