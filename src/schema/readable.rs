//! Reads stored records under a schema without migrating them.

use super::diff::ExistingColumn;
use super::{Change, Column, ExistingTable, Plan, Schema, Step, diff};
use crate::{Error, ErrorKind, Migrate, Result};

/// Returns the schema to read stored records with: the wanted columns that are stored, with their
/// stored names and types. [`project`](super::project()) converts the rows to the wanted schema.
///
/// A stored column that `schema` does not name is ignored. A column that is not stored reads as its
/// default or NULL.
///
/// # Errors
///
/// [`ErrorKind::SchemaChange`] with the plan if a wanted column cannot be read: it is not stored and
/// has no default, it is stored as another type, or it may be stored under a former name.
pub(crate) fn readable(
    existing: &ExistingTable,
    schema: &Schema,
    same_type: impl Fn(&ExistingColumn, &Column) -> bool,
) -> Result<Schema> {
    // A read never recreates anything.
    let wanted = schema.clone().migrate(Migrate::Safe);
    let changes = diff(existing, &wanted, &same_type);
    // A column that only inserts need does not matter for reads.
    let is_unknown = |change: &Change| matches!(change, Change::UnknownRequiredColumn(_));
    if changes.iter().any(|change| !change.is_safe() && !is_unknown(change)) {
        return Err(unreadable(schema, changes));
    }
    let find = |name: &str| existing.columns.iter().find(|have| have.name == name);
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

/// Checks the same for stores whose records name their columns.
///
/// # Errors
///
/// As [`readable`].
pub(crate) fn check_readable(existing: &Schema, schema: &Schema) -> Result<()> {
    let same_type = |have: &ExistingColumn, want: &Column| have.ty == Some(want.ty);
    readable(&ExistingTable::of(existing), schema, same_type).map(drop)
}

fn as_stored(have: &ExistingColumn, column: &Column, same: bool) -> Column {
    let ty = match have.ty {
        Some(ty) if !same => ty,
        _ => column.ty,
    };
    Column { name: have.name.clone(), ty, was: None, default: None, ..column.clone() }
}

/// Returns the error for records that cannot be read without a migration.
pub(crate) fn unreadable(schema: &Schema, changes: Vec<Change>) -> Error {
    let steps = changes.into_iter().map(|change| Step { change, sql: Vec::new() });
    let plan = Plan { steps: steps.collect(), ..Plan::empty(schema) };
    Error::new(
        ErrorKind::SchemaChange,
        format!(
            "the stored records cannot be read under the schema, and the cache is opened read-only; migrate the scope first, or read it under its stored schema\n{plan}"
        ),
    )
}
