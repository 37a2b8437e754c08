//! What a scope's index needs to be as its schema says: planned from what stands, and applied.

use std::collections::BTreeSet;
use std::time::Instant;

use serde_json::{Map, Value as Json, json};

use super::call_error::CallError;
use super::cluster::{Cluster, ExistingIndex, ForeignIndex, OwnIndex, check_scope};
use super::mapping::{can_be, column_type, lease_properties, properties, property};
use super::names;
use super::target::{Field, Layout, Target};
use crate::schema::{
    Apply, ExistingTable, check_readable, diff, new_defaults, refused, unreadable,
};
use crate::{Change, Column, Error, ErrorKind, Migrate, Plan, Result, Schema, Step};

/// How often a plan is computed anew because others changed the index meanwhile.
const ROUNDS: usize = 5;

/// What is to be sent.
enum Action {
    Nothing(Target),
    Create(Json),
    /// The body for the mapping of the index.
    Change(String, Json),
    /// The index that is dropped, and the body for the new one.
    Recreate(String, Json),
    /// There is an unsafe step.
    Refuse,
}

impl Cluster {
    /// What would be done.
    pub(super) fn plan(&self, schema: &Schema) -> Result<Plan> {
        let alias = names::alias(&self.prefix, &schema.table)?;
        let found = self.lookup(&alias, self.deadline()).map_err(CallError::into_error)?;
        let (plan, _) = self.work(&alias, &found, &stored_with(&found, schema))?;
        Ok(plan)
    }

    /// Where a scope can be read while its index stays as it is; `None` if there is no index.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::SchemaChange`] with the plan if its documents cannot be read under the schema.
    pub(super) fn readable(
        &self,
        schema: &Schema,
        deadline: Instant,
    ) -> Result<Option<(Target, Schema)>> {
        let alias = names::alias(&self.prefix, &schema.table)?;
        match self.lookup(&alias, deadline).map_err(CallError::into_error)? {
            ExistingIndex::Missing => Ok(None),
            ExistingIndex::Own(own) => {
                check_scope(&own, schema)?;
                let schema = schema.with_expiry_of(&own.layout.schema);
                check_readable(&own.layout.schema, &schema)?;
                let wanted = schema.clone().migrate(Migrate::Safe);
                let changes = changes_of(&own, &wanted);
                let layout = evolved(&own, &schema, &changes)?.0;
                Ok(Some((layout.target(&alias, &schema)?, schema)))
            }
            ExistingIndex::Foreign(foreign) => {
                let changes = foreign_changes(&foreign, schema);
                match changes.iter().all(Change::is_safe) {
                    true => Ok(Some((foreign_target(&alias, schema), schema.clone()))),
                    false => Err(unreadable(schema, changes)),
                }
            }
        }
    }

    /// Brings the index under a schema, and gives where it is and what that changed.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::SchemaChange`] with the plan where the policy does not allow it.
    pub(super) fn ensure(
        &self,
        schema: &Schema,
        when: Apply,
        deadline: Instant,
    ) -> Result<(Target, Schema, Plan)> {
        let alias = names::alias(&self.prefix, &schema.table)?;
        self.forget(&alias);
        let mut applied = None;
        for _ in 0..ROUNDS {
            let found = self.lookup(&alias, deadline).map_err(CallError::into_error)?;
            let schema = &stored_with(&found, schema);
            let (plan, work) = self.work(&alias, &found, schema)?;
            if let Action::Nothing(target) = work {
                return Ok((target, schema.clone(), applied.unwrap_or(plan)));
            }
            let manual = schema.migrate == Migrate::Manual
                && when == Apply::OnOpen
                && !plan.steps.is_empty();
            if manual || matches!(work, Action::Refuse) {
                return Err(refused("the index differs", &plan, manual));
            }
            self.apply(&alias, work, deadline).map_err(CallError::into_error)?;
            applied.get_or_insert(plan);
        }
        Err(Error::new(
            ErrorKind::SchemaChange,
            format!(
                "other programs change the index `{alias}`, or one stands there without its alias"
            ),
        ))
    }

    fn apply(&self, alias: &str, work: Action, deadline: Instant) -> Result<(), CallError> {
        match work {
            Action::Nothing(_) | Action::Refuse => Ok(()),
            // Where it stands already, somebody else was first.
            Action::Create(body) => self.create(&first(alias), &body, deadline).map(drop),
            Action::Change(index, body) => self.put_mapping(&index, &body, deadline),
            Action::Recreate(index, body) => self.swap(alias, &index, &body, deadline, |_| Ok(())),
        }
    }

    fn work(&self, alias: &str, found: &ExistingIndex, schema: &Schema) -> Result<(Plan, Action)> {
        match found {
            ExistingIndex::Missing => {
                let body = self.body(&mappings(schema), Some(alias));
                let sql = vec![request("PUT", &first(alias), &body)];
                let step = Step { change: Change::CreateTable, sql };
                Ok((plan_of(schema, vec![step]), Action::Create(body)))
            }
            ExistingIndex::Own(own) => self.work_on_own(alias, own, schema),
            ExistingIndex::Foreign(foreign) => self.work_on_foreign(alias, foreign, schema),
        }
    }

    fn work_on_own(&self, alias: &str, own: &OwnIndex, schema: &Schema) -> Result<(Plan, Action)> {
        check_scope(own, schema)?;
        let changes = changes_of(own, schema);
        let policy = schema.migrate;
        let lacks_leases = schema.freshness.lease().is_some() && !own.layout.leases;
        let let_be = changes.is_empty() && policy == Migrate::Manual && !lacks_leases;
        if own.layout.covers(schema) || let_be {
            return Ok((plan_of(schema, []), Action::Nothing(own.layout.target(alias, schema)?)));
        }
        if !changes.iter().all(Change::is_safe) {
            return Ok(self.unsafe_work(alias, &own.index, schema, changes, true));
        }
        let body = changed(own, schema, &changes)?;
        Ok((
            plan_of(schema, steps(&own.index, changes, &body)),
            Action::Change(own.index.clone(), body),
        ))
    }

    fn work_on_foreign(
        &self,
        alias: &str,
        foreign: &ForeignIndex,
        schema: &Schema,
    ) -> Result<(Plan, Action)> {
        if schema.freshness.lease().is_some() {
            return Err(Error::unsupported(
                "`single_flight = \"shared\"` cannot be honoured in an index of another program, which has no place for leases",
            ));
        }
        let changes = foreign_changes(foreign, schema);
        if changes.is_empty() {
            return Ok((plan_of(schema, []), Action::Nothing(foreign_target(alias, schema))));
        }
        if !changes.iter().all(Change::is_safe) {
            return Ok(self.unsafe_work(alias, &foreign.index, schema, changes, !foreign.is_alias));
        }
        let new = changes.iter().filter_map(|change| match change {
            Change::AddColumn(column) => Some((column.name.as_str(), column)),
            _ => None,
        });
        let body = json!({"properties": properties(new)});
        let index = foreign.index.clone();
        Ok((plan_of(schema, steps(&index, changes, &body)), Action::Change(index, body)))
    }

    /// What is done where not every step is safe.
    fn unsafe_work(
        &self,
        alias: &str,
        index: &str,
        schema: &Schema,
        changes: Vec<Change>,
        can_be_dropped: bool,
    ) -> (Plan, Action) {
        if schema.migrate == Migrate::Recreate && can_be_dropped {
            let body = self.body(&mappings(schema), None);
            let sql = vec![format!("DELETE /{index}"), request("PUT", &first(alias), &body)];
            let plan = plan_of(schema, [Step { change: Change::Recreate, sql }]);
            return (plan, Action::Recreate(index.to_owned(), body));
        }
        let step = |change| Step { change, sql: Vec::new() };
        (plan_of(schema, changes.into_iter().map(step)), Action::Refuse)
    }
}

/// The index that a scope has when it is made.
fn first(alias: &str) -> String {
    names::index(alias, "1")
}

fn plan_of(schema: &Schema, steps: impl IntoIterator<Item = Step>) -> Plan {
    Plan { steps: steps.into_iter().collect(), ..Plan::empty(schema) }
}

/// One request makes all the changes.
fn steps(index: &str, changes: Vec<Change>, body: &Json) -> Vec<Step> {
    let mut sql = vec![request("PUT", &format!("{index}/_mapping"), body)];
    changes.into_iter().map(|change| Step { change, sql: std::mem::take(&mut sql) }).collect()
}

fn request(method: &str, path: &str, body: &Json) -> String {
    format!("{method} /{path} {body}")
}

/// The mapping of a new index.
pub(super) fn mappings(schema: &Schema) -> Json {
    let layout = Layout::new(schema);
    let fields: Vec<String> =
        schema.columns.iter().map(|column| layout.field(&column.name)).collect();
    let columns = fields.iter().map(String::as_str).zip(&schema.columns);
    let mut properties = properties(columns);
    if layout.leases {
        properties.extend(lease_properties());
    }
    json!({
        "dynamic": "strict",
        "_meta": {"hilcat": layout.to_json()},
        "properties": properties,
    })
}

/// A schema with the expiry of the documents that are found.
fn stored_with(found: &ExistingIndex, schema: &Schema) -> Schema {
    match found {
        ExistingIndex::Own(own) => schema.with_expiry_of(&own.layout.schema),
        _ => schema.clone(),
    }
}

fn changes_of(own: &OwnIndex, schema: &Schema) -> Vec<Change> {
    diff(&ExistingTable::of(&own.layout.schema), schema, |a, b| a.ty == Some(b.ty))
}

/// What is put into the mapping for safe changes. What else stands in `_meta` stays.
fn changed(own: &OwnIndex, schema: &Schema, changes: &[Change]) -> Result<Json> {
    let (layout, new) = evolved(own, schema, changes)?;
    let mut meta = own.mappings["_meta"].clone();
    meta["hilcat"] = layout.to_json();
    Ok(json!({"_meta": meta, "properties": new}))
}

/// The layout after safe changes, and the fields that they add.
fn evolved(
    own: &OwnIndex,
    schema: &Schema,
    changes: &[Change],
) -> Result<(Layout, Map<String, Json>)> {
    let mut layout = own.layout.clone();
    let mut new = Map::new();
    let mut taken: BTreeSet<String> = match own.mappings["properties"].as_object() {
        Some(properties) => properties.keys().cloned().collect(),
        None => BTreeSet::new(),
    };
    let renamed: Vec<(&str, &str)> = changes.iter().filter_map(renamed).collect();
    layout.rename(&renamed);
    for (_, to) in renamed {
        // Those who search find it under its new name, too.
        let (alias, path) = (names::field(to), layout.field(to));
        if taken.insert(alias.clone()) {
            new.insert(alias, json!({"type": "alias", "path": path}));
        }
    }
    for column in new_defaults(&own.layout.schema, schema) {
        let field = layout.field(&column.name);
        layout.add(column, field)?;
    }
    for change in changes {
        let Change::AddColumn(column) = change else { continue };
        let field = names::free_field(&column.name, |name| taken.contains(name));
        taken.insert(field.clone());
        new.insert(field.clone(), property(column.ty));
        layout.add(column, field)?;
    }
    layout.take(schema);
    if layout.leases && !own.layout.leases {
        new.extend(lease_properties());
    }
    Ok((layout, new))
}

fn renamed(change: &Change) -> Option<(&str, &str)> {
    match change {
        Change::RenameColumn { from, to } => Some((from, to)),
        _ => None,
    }
}

/// What another program's index lacks to be read as a scope. Its ids are the keys; what else it
/// has is left alone.
fn foreign_changes(foreign: &ForeignIndex, schema: &Schema) -> Vec<Change> {
    let mut changes = Vec::new();
    for (at, column) in schema.columns.iter().enumerate() {
        match foreign.properties.get(&column.name) {
            _ if schema.is_key(at) => {}
            Some(property) if can_be(property, column) => {}
            Some(property) => changes.push(Change::ChangeType {
                column: column.name.clone(),
                from: column_type(property).to_string(),
                to: column.ty,
            }),
            None if column.nullable || column.default.is_some() => {
                changes.push(Change::AddColumn(column.clone()));
            }
            None => changes.push(Change::AddRequiredColumn(column.clone())),
        }
    }
    if schema.key.len() != 1 {
        changes.push(Change::ChangeKey {
            from: vec!["_id".to_owned()],
            to: schema.key_columns().map(|column| column.name.clone()).collect(),
        });
    }
    changes
}

fn foreign_target(name: &str, schema: &Schema) -> Target {
    let field = |column: &Column| Field {
        name: column.name.clone(),
        fill: column.default.clone(),
        in_id_alone: !column.in_value,
    };
    Target::new(name.to_owned(), schema.columns.iter().map(field).collect(), true)
}
