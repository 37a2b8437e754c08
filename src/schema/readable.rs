//! Whether what is stored can be read under a schema as it is, and how.

use super::diff::ExistingColumn;
use super::{Change, Column, ExistingTable, Plan, Schema, Step, diff};
use crate::{Error, ErrorKind, Migrate, Result};

/// The schema by which stored records are read, so that [`project`](super::project()) makes rows of
/// the wanted schema of them: the wanted columns that are stored, under the names and types that
/// they have there.
///
/// A column that no schema names is passed over, and one that is not stored reads as its default or
/// NULL.
///
/// # Errors
///
/// [`ErrorKind::SchemaChange`] with the plan if a wanted column cannot be read: it is not stored and
/// has no default, it is stored as another type, or it may be one that is stored under a name that
/// the schema does not know.
pub(crate) fn readable(
    standing: &ExistingTable,
    schema: &Schema,
    same_type: impl Fn(&ExistingColumn, &Column) -> bool,
) -> Result<Schema> {
    // Nothing is made anew when it is only read.
    let wanted = schema.clone().migrate(Migrate::Safe);
    let changes = diff(standing, &wanted, &same_type);
    // A column that an insert has to fill is of no interest to a reader.
    let is_unknown = |change: &Change| matches!(change, Change::UnknownRequiredColumn(_));
    if changes.iter().any(|change| !change.is_safe() && !is_unknown(change)) {
        return Err(unreadable(schema, changes));
    }
    let find = |name: &str| standing.columns.iter().find(|have| have.name == name);
    let mut stored = Schema { columns: Vec::new(), key: Vec::new(), ..wanted };
    let mut places = vec![None; schema.columns.len()];
    for (at, column) in schema.columns.iter().enumerate() {
        let have = find(&column.name).or_else(|| find(column.was.as_deref()?));
        let Some(have) = have else { continue };
        places[at] = Some(stored.columns.len());
        stored.columns.push(as_stored(have, column, same_type(have, column)));
    }
    stored.key = schema.key.iter().filter_map(|at| places[*at]).collect();
    Ok(stored)
}

/// Checks the same where records say themselves which columns they have.
///
/// # Errors
///
/// As [`readable`].
pub(crate) fn check_readable(standing: &Schema, schema: &Schema) -> Result<()> {
    let same_type = |have: &ExistingColumn, want: &Column| have.ty == Some(want.ty);
    readable(&ExistingTable::of(standing), schema, same_type).map(drop)
}

fn as_stored(have: &ExistingColumn, column: &Column, same: bool) -> Column {
    let ty = match have.ty {
        Some(ty) if !same => ty,
        _ => column.ty,
    };
    Column { name: have.name.clone(), ty, was: None, default: None, ..column.clone() }
}

/// The error for records that cannot be read as they are stored.
pub(crate) fn unreadable(schema: &Schema, changes: Vec<Change>) -> Error {
    let steps = changes.into_iter().map(|change| Step { change, sql: Vec::new() });
    let plan = Plan { steps: steps.collect(), ..Plan::empty(schema) };
    Error::new(
        ErrorKind::SchemaChange,
        format!(
            "what is stored cannot be read under the schema, and the cache is opened read-only; migrate the scope first, or read it under the schema that it has\n{plan}"
        ),
    )
}
