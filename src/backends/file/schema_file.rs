//! The file with the stored schema of a scope.

use super::dir::Dir;
use super::journal::{Directories, SCHEMA, Step};
use super::lock::Lock;
use super::scope::SchemaState;
use super::write::STAGED;
use crate::schema::{Apply, merged, table_of_another, upgrade};
use crate::{Error, Plan, Result, Schema};

/// Recovers an interrupted batch and migrates a scope to a schema. Returns the new stored schema
/// and the applied plan.
pub(super) fn apply(
    at: &Directories,
    lock: &Lock<SchemaState>,
    schema: &Schema,
    when: Apply,
) -> Result<(Schema, Plan)> {
    let _guard = lock.lock()?;
    at.recover()?;
    let Some(stored) = stored_schema(&at.own, schema)? else {
        let stored = merged(None, schema);
        write_schema(at, &stored, &[])?;
        return Ok((stored, Plan::empty(schema)));
    };
    let schema = &schema.with_expiry_of(&stored);
    let upgrade = upgrade(&stored, schema, when)?;
    match (upgrade.recreate, upgrade.other) {
        (true, _) => write_schema(at, &upgrade.stored, &[Step::Clear])?,
        (false, true) => write_schema(at, &upgrade.stored, &[])?,
        (false, false) => return Ok((stored, upgrade.plan)),
    }
    Ok((upgrade.stored, upgrade.plan))
}

/// Stores a schema after these steps.
fn write_schema(at: &Directories, schema: &Schema, before: &[Step]) -> Result<()> {
    at.temporary.write(STAGED, schema.to_toml().as_bytes(), at.durable)?;
    let mut steps = before.to_vec();
    steps.push(Step::Schema(STAGED.to_owned()));
    at.commit(&steps)
}

/// Returns the stored schema of a scope; `None` if it was never opened.
pub(super) fn stored_schema(own: &Dir, schema: &Schema) -> Result<Option<Schema>> {
    let Some(stored) = read_schema(own)? else { return Ok(None) };
    match stored.name == schema.name {
        true => Ok(Some(stored)),
        false => Err(table_of_another(schema, &stored.name)),
    }
}

pub(super) fn read_schema(own: &Dir) -> Result<Option<Schema>> {
    let broken = || Error::invalid_data("the stored schema of the scope is not valid UTF-8");
    let text = own.read(SCHEMA)?.map(|bytes| String::from_utf8(bytes).map_err(|_| broken()));
    text.transpose()?.map(|text| Schema::from_stored(&text)).transpose()
}
