//! Records of another shape: an older schema's, a newer one's, another program's.

use super::column_value::{ColumnValue, invalid};
use super::{Codec, FINGERPRINT_FIELD, stored_name};
use crate::freshness::EXPIRES_AT;
use crate::{Column, Error, Result, Row, Value};

/// What a record has in columns that the schema does not know, by the names in the record.
pub(super) type UnknownFields<'a> = Vec<(String, ColumnValue<'a>)>;

/// The row of a record whose column_values are at hand by name, and the column_values that are left.
///
/// A column is found by its name, or by the name that it had; one that is new has its default, or
/// NULL. Of a record that has other columns instead nothing is guessed, unless these are known to
/// belong to other programs. What the schema drops is left out.
///
/// # Errors
///
/// [`ErrorKind::InvalidData`](crate::ErrorKind::InvalidData), naming the column.
pub(super) fn upgrade<'a>(
    codec: &Codec,
    column_values: UnknownFields<'a>,
) -> Result<(Row, UnknownFields<'a>)> {
    check_twice(&column_values)?;
    let mut column_values = column_values;
    let stamp = column_values
        .iter()
        .position(|(name, _)| name == FINGERPRINT_FIELD)
        .map(|at| column_values.remove(at).1);
    let stamp = stamp.map(ColumnValue::into_json);
    let mut found: Vec<Option<ColumnValue>> = Vec::new();
    let places: Vec<Option<String>> =
        codec.schema.columns.iter().map(|column| place(codec, column, &column_values)).collect();
    for place in places {
        let at = place.and_then(|name| column_values.iter().position(|(known, _)| *known == name));
        found.push(at.map(|at| column_values.swap_remove(at).1));
    }
    let missing = match stamp {
        Some(stamp) if stamp == codec.fingerprint.as_str() => Missing::Broken,
        Some(_) if !column_values.iter().all(|(name, _)| codec.is_known(name)) => {
            Missing::Elsewhere
        }
        _ => Missing::New,
    };
    let columns = codec.schema.columns.iter().zip(found);
    let row = columns.map(|(column, cell)| match cell {
        Some(cell) => cell.into_value(column),
        None => missing.value(column),
    });
    let row = row.collect::<Result<Row>>()?;
    // A write by a program that gives records no expiry ends the one that another program gave.
    column_values.retain(|(name, _)| !codec.dropped().contains(name) && name != EXPIRES_AT);
    Ok((row, column_values))
}

/// The name under which a record has a column. A name that another column had before, and does not
/// have in this record, is that one's.
fn place(codec: &Codec, column: &Column, column_values: &UnknownFields<'_>) -> Option<String> {
    let has = |name: &str| column_values.iter().any(|(known, _)| known == name);
    let taken = codec.schema.columns.iter().any(|other| {
        other.was.as_ref() == Some(&column.name)
            && other.name != column.name
            && !has(&stored_name(&other.name))
    });
    let names = [(!taken).then_some(&column.name), column.was.as_ref()];
    names.into_iter().flatten().map(|name| stored_name(name)).find(|name| has(name))
}

fn check_twice(column_values: &UnknownFields<'_>) -> Result<()> {
    let mut names: Vec<&str> = column_values.iter().map(|(name, _)| name.as_str()).collect();
    names.sort_unstable();
    match names.windows(2).find(|pair| pair[0] == pair[1]) {
        None => Ok(()),
        Some(pair) => {
            Err(Error::invalid_data("the stored record has this column twice").with_column(pair[0]))
        }
    }
}

/// What it means that a record has not a column.
#[derive(Clone, Copy)]
enum Missing {
    /// The record is older than the column, or of a program that left it out.
    New,
    /// It says that it is of this schema.
    Broken,
    /// It has columns that the schema does not know: this one may be among them by another name.
    Elsewhere,
}

impl Missing {
    fn value(self, column: &Column) -> Result<Value> {
        match (self, &column.default) {
            (Self::Broken, _) => Err(invalid(column, "it has no such column")),
            (Self::Elsewhere, _) => Err(invalid(
                column,
                "it was written under another schema, which has other columns instead; open the scope again under that",
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
