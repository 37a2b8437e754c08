//! The schema that the records of a scope stand under, where no table of typed columns says it: in
//! memory, and in the stores that keep serialised values.

use super::{Change, Plan, Schema, Schemas, Standing, Step, diff};
use crate::{Error, ErrorKind, Migrate, Result};

/// When a change of the schema is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Apply {
    /// When the scope is opened: the schema's policy counts.
    OnOpen,
    /// By a call of its own.
    OnDemand,
}

/// What is to be done with the records of a scope for them to stand under a schema.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Upgrade {
    /// What changes.
    pub plan: Plan,
    /// The records are dropped.
    pub recreate: bool,
    /// The schema is another than the one that stands, if only in what is no step of a plan: it
    /// is to be the one that stands.
    pub other: bool,
}

/// What a schema would change of records that stand under another, and are brought over when they
/// are read.
pub fn plan(standing: &Schema, schema: &Schema) -> Plan {
    let mut changes = diff(&Standing::of(standing), schema, |have, want| have.ty == Some(want.ty));
    if schema.migrate == Migrate::Recreate && !changes.iter().all(Change::is_safe) {
        changes = vec![Change::Recreate];
    }
    let steps = changes.into_iter().map(|change| Step { change, sql: Vec::new() });
    Plan { steps: steps.collect(), ..Plan::empty(schema) }
}

/// Decides about a schema.
///
/// # Errors
///
/// [`ErrorKind::SchemaChange`] with the plan where the policy does not allow it.
pub(crate) fn upgrade(standing: &Schema, schema: &Schema, when: Apply) -> Result<Upgrade> {
    let plan = plan(standing, schema);
    let manual = schema.migrate == Migrate::Manual && when == Apply::OnOpen;
    let recreate = plan.steps.iter().any(|step| step.change == Change::Recreate);
    if !recreate && (!plan.is_safe() || manual && !plan.is_empty()) {
        return Err(refusal(&plan, manual && plan.is_safe()));
    }
    let other = standing.columns != schema.columns || standing.key != schema.key;
    Ok(Upgrade { plan, recreate, other })
}

/// The error for a plan that is not applied.
fn refusal(plan: &Plan, manual: bool) -> Error {
    let why = match manual {
        true => "the schema's policy is manual: apply it with Cache::migrate",
        false => {
            "steps marked with ! can lose records or values: let the scope be made anew with migrate = \"recreate\""
        }
    };
    Error::new(
        ErrorKind::SchemaChange,
        format!("the records stand under another schema, and nothing was changed; {why}\n{plan}"),
    )
}

impl Schema {
    /// Reads the one schema of a text that [`to_toml`](Schema::to_toml) wrote.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidData`] where it is none.
    #[allow(dead_code, reason = "not every choice of features has a backend for it")]
    pub(crate) fn from_stored(toml: &str) -> Result<Self> {
        let broken =
            || Error::invalid_data("the stored schema of the scope is not as hilcat writes it");
        let mut schemas =
            Schemas::from_str(toml).map_err(|error| broken().with_source(error))?.into_iter();
        match (schemas.next(), schemas.next()) {
            (Some(schema), None) => Ok(schema),
            _ => Err(broken()),
        }
    }
}
