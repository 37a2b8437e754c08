//! Migrations of scope tables: planned from the existing table, applied by Diesel's harness.

mod apply;
mod plan;
pub(crate) mod registry;

pub(crate) use self::apply::{apply, make_registry, refusal};
pub(crate) use self::plan::{
    PlannedMigration, ReadableTable, check, is_foreign, lossy_columns, numeric_affinity_column,
    plan, readable,
};
use super::dialect::{LEASE_TABLE, REGISTRY_TABLE, ValueCheck};

/// The names that a scope's table cannot have.
pub(crate) const RESERVED: [&str; 3] = [REGISTRY_TABLE, LEASE_TABLE, "__diesel_schema_migrations"];

/// The properties of an existing table that do not follow from its schema.
#[derive(Clone, Default)]
pub(crate) struct TableProperties {
    /// The text columns that are used although the engine converts numeric text in them to numbers.
    pub(crate) numeric_affinity: Vec<String>,
    /// The columns that cannot hold every value of their type, with the check of a value.
    pub(crate) lossy_columns: Vec<(String, ValueCheck)>,
    /// Whether the table has no auxiliary columns for keys that are too long for an index.
    pub(crate) verbatim_keys: bool,
    /// Whether another program created the table.
    pub(crate) foreign: bool,
}
