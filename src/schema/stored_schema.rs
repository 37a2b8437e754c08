//! The stored schema of a scope, in stores without typed tables: in memory, and in stores of
//! serialised values.

use super::{Change, Column, ExistingTable, Plan, Schema, Schemas, Shape, Step, diff};
use crate::freshness::Freshness;
use crate::{Error, ErrorKind, Migrate, Result};

/// The call that a schema change comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Apply {
    /// The opening of a scope, for which the schema's [`Migrate`] policy is decisive.
    OnOpen,
    /// An explicit migration.
    OnDemand,
}

/// The decision about a schema that differs from the stored schema of a scope.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Upgrade {
    /// The changes.
    pub plan: Plan,
    /// Whether all records must be removed.
    pub recreate: bool,
    /// The new stored schema: the opened one, with the columns that only other programs have.
    pub stored: Schema,
    /// Whether `stored` differs from the current stored schema, and must be stored.
    pub other: bool,
}

/// Returns the plan for opening a scope with `schema`, if `current` is its stored schema. Its steps
/// have no SQL, since records are converted when they are read.
pub fn plan(current: &Schema, schema: &Schema) -> Plan {
    let mut changes =
        diff(&ExistingTable::of(current), schema, |have, want| have.ty == Some(want.ty));
    if schema.migrate == Migrate::Recreate && !changes.iter().all(Change::is_safe) {
        changes = vec![Change::Recreate];
    }
    let steps = changes.into_iter().map(|change| Step { change, sql: Vec::new() });
    Plan { steps: steps.collect(), ..Plan::empty(schema) }
}

/// Decides about a schema that is opened or migrated, if `current` is the stored schema.
///
/// # Errors
///
/// [`ErrorKind::SchemaChange`] with the plan if the policy does not allow it.
pub(crate) fn upgrade(current: &Schema, schema: &Schema, when: Apply) -> Result<Upgrade> {
    let plan = plan(current, schema);
    let manual = schema.migrate == Migrate::Manual && when == Apply::OnOpen;
    let recreate = plan.steps.iter().any(|step| step.change == Change::Recreate);
    if !recreate && (!plan.is_safe() || manual && !plan.is_empty()) {
        return Err(refused("the stored schema differs", &plan, manual));
    }
    let stored = merged((!recreate).then_some(current), schema);
    let moved = current.table != schema.table || current.freshness != stored.freshness;
    let other = !plan.is_empty() || moved || has_new_default(current, &stored);
    Ok(Upgrade { plan, recreate, stored, other })
}

/// Returns whether a column has a default that it lacked before. If so, a program without the
/// column in its schema can now insert records.
pub(crate) fn has_new_default(old: &Schema, new: &Schema) -> bool {
    new_defaults(old, new).next().is_some()
}

/// Returns the columns with a default that they lacked before.
pub(crate) fn new_defaults<'a>(
    old: &'a Schema,
    new: &'a Schema,
) -> impl Iterator<Item = &'a Column> {
    let lacked = |name: &str| {
        old.columns.iter().any(|column| column.name == name && column.default.is_none())
    };
    new.columns.iter().filter(move |column| column.default.is_some() && lacked(&column.name))
}

/// Returns the columns of the stored schema that are not in `schema`. Writes under `schema` must
/// keep them.
pub(crate) fn unknown_columns<'a>(
    stored: &'a Schema,
    schema: &'a Schema,
) -> impl Iterator<Item = &'a Column> {
    let has = |name: &str| stored.columns.iter().any(|column| column.name == name);
    stored.columns.iter().filter(move |column| {
        let is = |known: &Column| {
            known.name == column.name
                || known.was.as_ref() == Some(&column.name) && !has(&known.name)
        };
        !schema.columns.iter().any(is) && !schema.dropped.contains(&column.name)
    })
}

/// Returns the new stored schema after a scope was opened with `schema`: the columns of `schema`,
/// and after them the other columns of the stored schema.
///
/// The result has the same columns whichever of two programs opens the scope last, so programs that
/// open it in turns do not store the schema again each time.
pub(crate) fn merged(stored: Option<&Schema>, schema: &Schema) -> Schema {
    let mut merged =
        Schema { dropped: Vec::new(), keep: Vec::new(), exact: false, ..schema.clone() };
    let Some(stored) = stored else { return merged };
    merged.freshness = stored_freshness(stored, schema);
    for column in &mut merged.columns {
        let by = |name: &str| stored.columns.iter().find(|known| known.name == name);
        if let Some(known) = by(&column.name).or_else(|| by(column.was.as_deref()?)) {
            // A column that could be NULL may still hold one.
            column.nullable |= known.nullable && !schema.is_key_name(&column.name);
            let default = known.default.clone().filter(|default| column.check(default).is_ok());
            column.default = column.default.take().or(default);
        }
    }
    merged.columns.extend(unknown_columns(stored, schema).cloned());
    if merged.columns.len() > schema.columns.len() {
        merged.shape = Shape::Record;
    }
    merged
}

/// Returns the freshness options to store after a scope was opened with `schema`: its own, unless
/// only the stored ones use expiry.
pub(crate) fn stored_freshness(stored: &Schema, schema: &Schema) -> Freshness {
    let keeps = stored.freshness.uses_expiry() && !schema.freshness.uses_expiry();
    if keeps { stored.freshness.clone() } else { schema.freshness.clone() }
}

/// Returns the error for a schema with the table of another scope: each scope would read the records
/// of the other.
pub fn table_of_another(schema: &Schema, other: &str) -> Error {
    Error::invalid_schema(format!(
        "the table `{}` is that of the scope `{other}`; choose another one by `table`",
        schema.table
    ))
}

/// Returns the error for a plan that was not applied, with instructions how to apply it. `differs`
/// is the start of the message; `manual` means that the schema's policy forbade the plan.
pub(crate) fn refused(differs: &str, plan: &Plan, manual: bool) -> Error {
    let why = match manual && plan.is_safe() {
        true => {
            "the schema's policy is manual: apply the plan by the command `hilcat --cache URI --schemas PATH migrate`, with the URI of this cache and a file that has this schema, or by a call of Cache::migrate with this schema"
        }
        false => {
            "the steps marked with ! are never applied, since they can lose records or values: change the schema or the stored table as they say; or, if the records can be lost, set migrate = \"recreate\" in the schema and open the scope or run `hilcat --cache URI --schemas PATH migrate`"
        }
    };
    Error::new(
        ErrorKind::SchemaChange,
        format!("{differs} from the schema, and nothing was changed; {why}\n{plan}"),
    )
}

impl Schema {
    /// Reads a schema that [`to_toml`](Schema::to_toml) wrote.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidData`] if the text is not exactly one schema.
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
