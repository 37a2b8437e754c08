//! Migration of a scope's index: plans the changes between the existing index and the schema, and
//! applies them.

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

/// How many times a plan is recomputed after concurrent changes of the index.
const MAX_ROUNDS: usize = 5;

/// The request that brings the index under the schema.
enum Action {
    Nothing(Target),
    Create(Json),
    /// Changes the mapping of this index by this body.
    Change(String, Json),
    /// Drops this index and creates another one with this body.
    Recreate(String, Json),
    /// Refuses an unsafe step.
    Refuse,
}

impl Cluster {
    /// Plans a migration without applying it.
    pub(super) fn plan(&self, schema: &Schema) -> Result<Plan> {
        let alias = names::alias(&self.prefix, &schema.table)?;
        let found = self.lookup(&alias, self.deadline()).map_err(CallError::into_error)?;
        let (plan, _) = self.plan_action(&alias, &found, &with_stored_expiry(&found, schema))?;
        Ok(plan)
    }

    /// Returns the target for reading a scope without changing its index; `None` if there is no
    /// index.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::SchemaChange`] with the plan if the documents cannot be read under the schema.
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
                let layout = migrated_layout(&own, &schema, &changes)?.0;
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

    /// Migrates the index to a schema. Returns its target, the merged schema, and the applied plan.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::SchemaChange`] with the plan if the policy does not allow it.
    pub(super) fn ensure(
        &self,
        schema: &Schema,
        when: Apply,
        deadline: Instant,
    ) -> Result<(Target, Schema, Plan)> {
        let alias = names::alias(&self.prefix, &schema.table)?;
        self.forget(&alias);
        let mut applied = None;
        for _ in 0..MAX_ROUNDS {
            let found = self.lookup(&alias, deadline).map_err(CallError::into_error)?;
            let schema = &with_stored_expiry(&found, schema);
            let (plan, action) = self.plan_action(&alias, &found, schema)?;
            if let Action::Nothing(target) = action {
                return Ok((target, schema.clone(), applied.unwrap_or(plan)));
            }
            let manual = schema.migrate == Migrate::Manual
                && when == Apply::OnOpen
                && !plan.steps.is_empty();
            if manual || matches!(action, Action::Refuse) {
                return Err(refused("the index differs", &plan, manual));
            }
            self.apply(&alias, action, deadline).map_err(CallError::into_error)?;
            applied.get_or_insert(plan);
        }
        Err(Error::new(
            ErrorKind::SchemaChange,
            format!(
                "the index `{alias}` could not be migrated: other programs keep changing it, or an index exists without its alias"
            ),
        ))
    }

    fn apply(&self, alias: &str, action: Action, deadline: Instant) -> Result<(), CallError> {
        match action {
            Action::Nothing(_) | Action::Refuse => Ok(()),
            // If the index already exists, another client has created it.
            Action::Create(body) => self.create(&first(alias), &body, deadline).map(drop),
            Action::Change(index, body) => self.put_mapping(&index, &body, deadline),
            Action::Recreate(index, body) => self.swap(alias, &index, &body, deadline, |_| Ok(())),
        }
    }

    fn plan_action(
        &self,
        alias: &str,
        found: &ExistingIndex,
        schema: &Schema,
    ) -> Result<(Plan, Action)> {
        match found {
            ExistingIndex::Missing => {
                let body = self.body(&mappings(schema), Some(alias));
                let sql = vec![request("PUT", &first(alias), &body)];
                let step = Step { change: Change::CreateTable, sql };
                Ok((plan_of(schema, vec![step]), Action::Create(body)))
            }
            ExistingIndex::Own(own) => self.plan_own(alias, own, schema),
            ExistingIndex::Foreign(foreign) => self.plan_foreign(alias, foreign, schema),
        }
    }

    fn plan_own(&self, alias: &str, own: &OwnIndex, schema: &Schema) -> Result<(Plan, Action)> {
        check_scope(own, schema)?;
        let changes = changes_of(own, schema);
        let policy = schema.migrate;
        let lacks_leases = schema.freshness.lease().is_some() && !own.layout.leases;
        let is_unchanged = changes.is_empty() && policy == Migrate::Manual && !lacks_leases;
        if own.layout.covers(schema) || is_unchanged {
            return Ok((plan_of(schema, []), Action::Nothing(own.layout.target(alias, schema)?)));
        }
        if !changes.iter().all(Change::is_safe) {
            return Ok(self.plan_unsafe(alias, &own.index, schema, changes, true));
        }
        let body = mapping_changes(own, schema, &changes)?;
        Ok((
            plan_of(schema, steps(&own.index, changes, &body)),
            Action::Change(own.index.clone(), body),
        ))
    }

    fn plan_foreign(
        &self,
        alias: &str,
        foreign: &ForeignIndex,
        schema: &Schema,
    ) -> Result<(Plan, Action)> {
        if schema.freshness.lease().is_some() {
            return Err(Error::unsupported(
                "`single_flight = \"shared\"` is not possible in an index of another program, which has no fields for leases",
            ));
        }
        let changes = foreign_changes(foreign, schema);
        if changes.is_empty() {
            return Ok((plan_of(schema, []), Action::Nothing(foreign_target(alias, schema))));
        }
        if !changes.iter().all(Change::is_safe) {
            return Ok(self.plan_unsafe(alias, &foreign.index, schema, changes, !foreign.is_alias));
        }
        let new = changes.iter().filter_map(|change| match change {
            Change::AddColumn(column) => Some((column.name.as_str(), column)),
            _ => None,
        });
        let body = json!({"properties": properties(new)});
        let index = foreign.index.clone();
        Ok((plan_of(schema, steps(&index, changes, &body)), Action::Change(index, body)))
    }

    /// Plans a migration with unsafe changes.
    fn plan_unsafe(
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

/// Returns the name of the first index of a scope.
fn first(alias: &str) -> String {
    names::index(alias, "1")
}

fn plan_of(schema: &Schema, steps: impl IntoIterator<Item = Step>) -> Plan {
    Plan { steps: steps.into_iter().collect(), ..Plan::empty(schema) }
}

/// All changes are made by a single request.
fn steps(index: &str, changes: Vec<Change>, body: &Json) -> Vec<Step> {
    let mut sql = vec![request("PUT", &format!("{index}/_mapping"), body)];
    changes.into_iter().map(|change| Step { change, sql: std::mem::take(&mut sql) }).collect()
}

fn request(method: &str, path: &str, body: &Json) -> String {
    format!("{method} /{path} {body}")
}

/// Returns the mapping of a new index.
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

/// Returns the schema with the expiry column of the existing index, if it has one.
fn with_stored_expiry(found: &ExistingIndex, schema: &Schema) -> Schema {
    match found {
        ExistingIndex::Own(own) => schema.with_expiry_of(&own.layout.schema),
        _ => schema.clone(),
    }
}

fn changes_of(own: &OwnIndex, schema: &Schema) -> Vec<Change> {
    diff(&ExistingTable::of(&own.layout.schema), schema, |a, b| a.ty == Some(b.ty))
}

/// Returns the body that applies safe changes to the mapping. Other content of `_meta` is kept.
fn mapping_changes(own: &OwnIndex, schema: &Schema, changes: &[Change]) -> Result<Json> {
    let (layout, new) = migrated_layout(own, schema, changes)?;
    let mut meta = own.mappings["_meta"].clone();
    meta["hilcat"] = layout.to_json();
    Ok(json!({"_meta": meta, "properties": new}))
}

/// Returns the layout after safe changes, and the fields that they add.
fn migrated_layout(
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
        // Searches find a renamed column under its new name as well.
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
    layout.merge(schema);
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

/// Returns the changes that would make another program's index readable as a scope. Its ids are the
/// keys, and additional fields are ignored.
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
