//! The schema that the records of a scope stand under, where no table of typed columns says it: in
//! memory, and in the stores that keep serialised values.

use super::{Change, Column, ExistingTable, Plan, Schema, Schemas, Shape, Step, diff};
use crate::freshness::Freshness;
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
    /// The schema that the records stand under afterwards: the one that is opened, and what other
    /// programs have besides.
    pub stored: Schema,
    /// It is another than the one that stood before, and is to be written down.
    pub other: bool,
}

/// What a schema would change of records that stand under another, and are brought over when they
/// are read.
pub fn plan(standing: &Schema, schema: &Schema) -> Plan {
    let mut changes =
        diff(&ExistingTable::of(standing), schema, |have, want| have.ty == Some(want.ty));
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
        return Err(refused("the stored schema differs", &plan, manual));
    }
    let stored = merged((!recreate).then_some(standing), schema);
    let moved = standing.table != schema.table || standing.freshness != stored.freshness;
    let other = !plan.is_empty() || moved || has_new_default(standing, &stored);
    Ok(Upgrade { plan, recreate, stored, other })
}

/// Whether a column has a default that it lacked before: then a program that does not know the
/// column can insert records.
pub(crate) fn has_new_default(old: &Schema, new: &Schema) -> bool {
    new_defaults(old, new).next().is_some()
}

/// The columns that have a default and lacked it before.
pub(crate) fn new_defaults<'a>(
    old: &'a Schema,
    new: &'a Schema,
) -> impl Iterator<Item = &'a Column> {
    let lacked = |name: &str| {
        old.columns.iter().any(|column| column.name == name && column.default.is_none())
    };
    new.columns.iter().filter(move |column| column.default.is_some() && lacked(&column.name))
}

/// The columns of a stored schema that another schema does not know: what its writes have to keep.
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

/// The schema that records stand under once a scope was opened with `schema`, for which the plan
/// was carried out: its own columns, and after them those that it does not know.
///
/// Opening a scope by two programs in turns gives the same columns each time, so that neither has
/// to write the schema down again.
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

/// The options of freshness that are stored once a scope was opened with `schema`: its own, unless
/// only other programs give its records an expiry.
pub(crate) fn stored_freshness(stored: &Schema, schema: &Schema) -> Freshness {
    let keeps = stored.freshness.uses_expiry() && !schema.freshness.uses_expiry();
    if keeps { stored.freshness.clone() } else { schema.freshness.clone() }
}

/// The error for a schema whose table another scope has: each would read the records of the other.
pub fn table_of_another(schema: &Schema, other: &str) -> Error {
    Error::invalid_schema(format!(
        "the table `{}` is that of the scope `{other}`; give this one another by `table`",
        schema.table
    ))
}

/// The error for a plan that is not applied to what `differs` from a schema, which says what to do
/// for it to be. `manual` says whether it was the schema's policy that forbade it.
pub(crate) fn refused(differs: &str, plan: &Plan, manual: bool) -> Error {
    let why = match manual && plan.is_safe() {
        true => {
            "the schema's policy is manual: apply the plan by the command `hilcat --cache URI --schemas PATH migrate`, with the URI of this cache and a file that has this schema, or by a call of Cache::migrate with this schema"
        }
        false => {
            "nothing applies the steps marked with !, since they can lose records or values: change the schema or the stored table as they say; or, where the records can be lost, say migrate = \"recreate\" in the schema in place of another policy and open the scope or run `hilcat --cache URI --schemas PATH migrate`"
        }
    };
    Error::new(
        ErrorKind::SchemaChange,
        format!("{differs} from the schema, and nothing was changed; {why}\n{plan}"),
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
