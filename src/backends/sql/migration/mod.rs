//! Migrations of scope tables: computed from what stands, run by Diesel's harness.
//!
//! Each step is an object that implements Diesel's `Migration`, so that it is recorded in
//! `__diesel_schema_migrations` like any other. Its version is `0hilcat`, a hash of the table's
//! name and a number that counts up: the leading zero sorts it before the timestamps of an
//! application's own migrations, which can still be reverted one by one.

pub(crate) mod registry;

use std::borrow::Cow;
use std::fmt;

use diesel::backend::Backend;
use diesel::connection::BoxableConnection;
use diesel::migration::{
    Migration, MigrationMetadata, MigrationName, MigrationSource, MigrationVersion,
};
use diesel_migrations::MigrationHarness;

use super::dialect::{Dialect, Fits};
use super::error::{CallError, from_migration};
use super::statement::{Sql, load_one};
use crate::backends::sql::migration::registry::Entry;
use crate::backends::sql::statement::render::{create, create_index, expiry_index};
use crate::backends::sql::table::leases;
use crate::freshness::EXPIRES_AT;
use crate::schema::{
    self, Change, Column, ExistingColumn, ExistingTable, Migrate, Plan, Step, diff, fnv1a,
};
use crate::{ColumnType, Error, Result, Schema, Value};

/// The names that a scope's table cannot have.
pub(crate) const RESERVED: [&str; 3] =
    [registry::TABLE, leases::TABLE, "__diesel_schema_migrations"];

/// Checks that the engine can hold such a table, before anything is sent.
pub(crate) fn check<D: Dialect>(schema: &Schema) -> Result<()> {
    if RESERVED.iter().any(|name| name.eq_ignore_ascii_case(&schema.table)) {
        let message = format!("the table name `{}` is kept for bookkeeping", schema.table);
        return Err(Error::invalid_schema(message));
    }
    D::check_schema(schema)?;
    let defaults =
        schema.columns.iter().filter_map(|column| Some((column, column.default.as_ref()?)));
    for (column, default) in defaults {
        D::check_value(default).map_err(|error| error.with_column(&column.name))?;
    }
    Ok(())
}

/// What has to be done for a scope to be opened.
pub(crate) struct Planned<'a> {
    pub(crate) plan: Plan,
    /// What the scope is opened as: with hilcat's own column for the expiry if the table has it.
    pub(crate) schema: Cow<'a, Schema>,
    /// Whether another program made the table.
    pub(crate) foreign: bool,
}

/// What has to be done for a table to be as its schema says. `noted` is what the registry has of the
/// scope.
pub(crate) fn plan<'a, D: Dialect>(
    connection: &mut D::Connection,
    schema: &'a Schema,
    noted: Option<&Entry>,
) -> Result<Planned<'a>, CallError> {
    let Some(mut standing) = D::table(connection, &schema.table)? else {
        let steps = vec![Step { change: Change::CreateTable, sql: create::<D>(schema) }];
        let (plan, schema) = (plan_of(schema, steps), Cow::Borrowed(schema));
        return Ok(Planned { plan, schema, foreign: false });
    };
    let foreign = is_foreign(&standing, noted, schema);
    if foreign && schema.has_own_expiry_column() {
        return Err(CallError::Hilcat(no_place(schema)));
    }
    let schema = with_expiry_of_table(schema, &standing);
    recall_types::<D>(&mut standing, registry::of_entry(noted, &schema).as_ref());
    recall_names::<D>(&mut standing, &schema);
    check_computed::<D>(&standing, &schema)?;
    let managed = schema.migrate != Migrate::Manual;
    let changes = diff(&standing, &schema, |have, want| same_type::<D>(have, want, managed));
    let mut steps: Vec<Step> = if changes.iter().all(Change::is_safe) {
        let sql = D::alter(connection, &schema, &standing, &changes)?;
        changes.into_iter().zip(sql).map(|(change, sql)| Step { change, sql }).collect()
    } else if schema.migrate == Migrate::Recreate {
        vec![Step { change: Change::Recreate, sql: D::recreate(&schema) }]
    } else {
        changes.into_iter().map(|change| Step { change, sql: Vec::new() }).collect()
    };
    let recreated = steps.iter().any(|step| step.change == Change::Recreate);
    if !foreign && !recreated {
        steps.extend(missing_index::<D>(connection, &schema)?);
    }
    Ok(Planned { plan: plan_of(&schema, steps), schema, foreign: foreign && !recreated })
}

/// Whether another program made a table. One that the registry does not know is hilcat's if it has
/// columns that only hilcat gives a table.
pub(crate) fn is_foreign(standing: &ExistingTable, noted: Option<&Entry>, schema: &Schema) -> bool {
    if standing.columns.iter().any(|have| have.name == EXPIRES_AT) {
        return false;
    }
    match noted.filter(|entry| entry.is_of(schema)) {
        Some(entry) => entry.is_foreign(schema),
        None => standing.wholes.is_empty(),
    }
}

/// The error for a table that has no place for the expiry of records.
fn no_place(schema: &Schema) -> Error {
    Error::unsupported(format!(
        "`ttl` cannot be honoured: the table `{}` is that of another program and has no column for the expiry; name one of its columns by `expires_at`",
        schema.table
    ))
}

/// The schema with hilcat's own column for the expiry if the table has it.
fn with_expiry_of_table<'a>(schema: &'a Schema, standing: &ExistingTable) -> Cow<'a, Schema> {
    let has_it = standing.columns.iter().any(|have| have.name == EXPIRES_AT);
    match has_it && !schema.has_own_expiry_column() {
        true => Cow::Owned(schema.with_expiry_column()),
        false => Cow::Borrowed(schema),
    }
}

/// The step that adds the index by which expired records are found, where the table has none.
fn missing_index<D: Dialect>(
    connection: &mut D::Connection,
    schema: &Schema,
) -> Result<Option<Step>, CallError> {
    let Some(columns) = expiry_index(schema) else { return Ok(None) };
    let indexes = D::indexes(connection, &schema.table)?;
    if indexes.iter().any(|index| index.starts_with(&columns)) {
        return Ok(None);
    }
    let sql = vec![create_index::<D>(&schema.table, &columns)];
    Ok(Some(Step { change: Change::AddIndex(columns), sql }))
}

/// A table as it can be read under a schema while it stays as it is: the schema by which it is read,
/// and the columns by which it may find the record of another key. `None` if there is no table.
pub(crate) fn readable<D: Dialect>(
    connection: &mut D::Connection,
    schema: &Schema,
    noted: Option<&Entry>,
) -> Result<Option<Readable>, CallError> {
    let Some(mut standing) = D::table(connection, &schema.table)? else { return Ok(None) };
    if is_foreign(&standing, noted, schema) && schema.has_own_expiry_column() {
        return Err(CallError::Hilcat(no_place(schema)));
    }
    let schema = &*with_expiry_of_table(schema, &standing);
    recall_types::<D>(&mut standing, registry::of_entry(noted, schema).as_ref());
    recall_names::<D>(&mut standing, schema);
    check_computed::<D>(&standing, schema)?;
    let managed = schema.migrate != Migrate::Manual;
    let stored = crate::schema::readable(&standing, schema, |have, want| {
        same_type::<D>(have, want, managed)
    })?;
    let is_text = |name: &str| {
        stored.columns.iter().any(|column| column.name == name && column.ty == ColumnType::Text)
    };
    let makes_numbers =
        |have: &ExistingColumn| is_text(&have.name) && D::makes_numbers(&have.declared);
    // A column of the key that takes two texts for one finds the record of another key, too.
    let finds_others = |have: &ExistingColumn| !D::is_exact(&have.declared);
    let numbers = standing.columns.iter().filter(|have| !have.known);
    let numbers = numbers.filter(|have| makes_numbers(have) || finds_others(have));
    let numbers = numbers.map(|have| have.name.clone()).collect();
    Ok(Some(Readable { schema: schema.clone(), stored, numbers }))
}

/// How a table can be read while it stays as it is.
pub(crate) struct Readable {
    /// What the scope is opened as: with hilcat's own column for the expiry if the table has it.
    pub(crate) schema: Schema,
    /// The schema by which the table is read.
    pub(crate) stored: Schema,
    /// The columns of text of which the engine makes numbers.
    pub(crate) numbers: Vec<String>,
}

fn plan_of(schema: &Schema, steps: Vec<Step>) -> Plan {
    Plan { steps, ..Plan::empty(schema) }
}

/// Several types can be spelled alike by an engine (JSON as text, say): where hilcat made the
/// column, the registry tells which it is.
fn recall_types<D: Dialect>(standing: &mut ExistingTable, registered: Option<&Schema>) {
    for column in &mut standing.columns {
        let known = registered
            .and_then(|schema| schema.columns.iter().find(|known| known.name == column.name));
        if let Some(known) = known
            && D::column_type(known.ty).eq_ignore_ascii_case(&column.declared)
        {
            column.ty = Some(known.ty);
            column.known = true;
        }
    }
}

/// Names columns as the schema does where the engine does not tell the two spellings apart.
fn recall_names<D: Dialect>(standing: &mut ExistingTable, schema: &Schema) {
    let wanted = |name: &String| {
        let mut names = schema.columns.iter().map(|column| &column.name);
        names.find(|wanted| D::same_name(wanted, name)).unwrap_or(name).clone()
    };
    standing.key = standing.key.iter().map(wanted).collect();
    for column in &mut standing.columns {
        column.name = wanted(&column.name);
    }
}

/// Refuses a schema that names a column whose values the database makes itself: nothing can be
/// written to it, and no column of its name can be added.
fn check_computed<D: Dialect>(standing: &ExistingTable, schema: &Schema) -> Result<()> {
    let is_computed = |column: &&Column| {
        standing.computed.iter().any(|computed| D::same_name(&column.name, computed))
    };
    match schema.columns.iter().find(is_computed) {
        None => Ok(()),
        Some(column) => Err(Error::unsupported(
            "the table has a generated column of this name, whose values the database makes itself; leave it out of the schema, or make it a plain column",
        )
        .with_column(&column.name)),
    }
}

/// Whether a column stands as the schema's would be made. A column that another program made may
/// be spelled in another way, as long as it holds every value; where the table is not hilcat's to
/// change, as long as it is of the type.
fn same_type<D: Dialect>(have: &ExistingColumn, want: &Column, managed: bool) -> bool {
    let spelled_alike = D::column_type(want.ty).eq_ignore_ascii_case(&have.declared);
    match have.known {
        true => have.ty == Some(want.ty),
        false => {
            let wider = have.ty.is_some_and(|ty| want.ty.widens(ty));
            let adopted = !managed && have.ty.map(D::adopted) == Some(want.ty);
            let adopted =
                adopted && D::is_exact(&have.declared) && !D::makes_numbers(&have.declared);
            spelled_alike || adopted || wider && D::holds(&have.declared, want.ty)
        }
    }
}

/// The column that a change is about, where all that is wrong with it is that the engine makes
/// numbers of texts in it: it can be used as it stands, with care.
pub(crate) fn makes_numbers<D: Dialect>(change: &Change) -> Option<String> {
    match change {
        Change::WidenColumn { column, from, to: ColumnType::Text } if D::makes_numbers(from) => {
            Some(column.clone())
        }
        _ => None,
    }
}

/// The columns of a table that stands that hold less than their type. A default that would not come
/// back is an error.
pub(crate) fn narrow<D: Dialect>(
    connection: &mut D::Connection,
    schema: &Schema,
) -> Result<Vec<(String, Fits)>, CallError> {
    let standing = D::table(connection, &schema.table)?;
    let mut narrow = Vec::new();
    for have in standing.iter().flat_map(|standing| &standing.columns) {
        let column = schema.columns.iter().find(|column| D::same_name(&column.name, &have.name));
        let fits = column.and_then(|column| D::narrow(&have.declared, column.ty));
        let Some((column, fits)) = column.zip(fits) else { continue };
        if let Some(default) = &column.default {
            fits(default).map_err(|error| error.with_column(&column.name))?;
        }
        narrow.push((column.name.clone(), fits));
    }
    Ok(narrow)
}

/// Makes hilcat's own table where it does not exist. That it exists is asked, and not what Diesel's
/// table of migrations says: another program may have dropped either.
pub(crate) fn make_registry<D: Dialect>(connection: &mut D::Connection) -> Result<(), CallError> {
    let applied = connection.applied_migrations().map_err(from_migration::<D>)?;
    let exists = D::has_registry(connection)?;
    let migrations: Vec<Box<dyn Migration<D>>> =
        D::MIGRATIONS.migrations().map_err(from_migration::<D>)?;
    for (at, migration) in migrations.iter().enumerate() {
        let version = migration.name().version().as_owned();
        let recorded = applied.contains(&version);
        // The first one makes the table.
        if !exists || at > 0 && !recorded {
            migration.run(connection).map_err(from_migration::<D>)?;
        }
        if !recorded {
            let (version, label) = (version.to_string(), migration.name().to_string());
            let done = Computed { version, label, sql: Vec::new() };
            connection.run_migration(&done).map_err(from_migration::<D>)?;
        }
    }
    Ok(())
}

/// Runs the steps of a plan; the caller has the engine's lock and has run hilcat's own migrations.
pub(crate) fn apply<D: Dialect>(
    connection: &mut D::Connection,
    plan: &Plan,
) -> Result<(), CallError> {
    if plan.is_empty() {
        return Ok(());
    }
    let prefix = format!("0hilcat{:016x}", fnv1a(plan.table.as_bytes()));
    let mut number = last_number::<D>(connection, &prefix)?;
    for step in plan.steps.iter().filter(|step| !step.sql.is_empty()) {
        for sql in pieces::<D>(&step.sql) {
            number += 1;
            let migration = Computed {
                version: format!("{prefix}{number:06}"),
                label: format!("{} of {}", step.change, plan.table),
                sql: sql.to_vec(),
            };
            connection.run_migration(&migration).map_err(from_migration::<D>)?;
        }
    }
    Ok(())
}

/// The statements of a step that are one migration: all of them, or one where a transaction
/// could not undo them. Then what an interruption leaves is what stands between two migrations,
/// and the plan that is computed next goes on from there.
fn pieces<D: Dialect>(sql: &[String]) -> std::slice::Chunks<'_, String> {
    sql.chunks(if D::MIGRATES_IN_TRANSACTION { sql.len() } else { 1 })
}

/// The number of the last migration of a table; 0 where there is none.
fn last_number<D: Dialect>(connection: &mut D::Connection, prefix: &str) -> Result<u32, CallError> {
    let last = Sql::new("SELECT max(version) FROM __diesel_schema_migrations WHERE version LIKE ")
        .bind(ColumnType::Text);
    let pattern = [Value::Text(format!("{prefix}%"))];
    let row = load_one::<D>(connection, last.with(&pattern), &[ColumnType::Text])?;
    Ok(match row.as_deref() {
        Some([Value::Text(version)]) => {
            version.strip_prefix(prefix).and_then(|number| number.parse().ok()).unwrap_or(0)
        }
        _ => 0,
    })
}

/// The error for a plan that is not applied.
pub(crate) fn refused(plan: &Plan, policy: Migrate) -> Error {
    schema::refused("the table differs", plan, policy == Migrate::Manual)
}

/// A migration that was computed.
#[derive(Clone)]
struct Computed {
    version: String,
    label: String,
    sql: Vec<String>,
}

impl<DB: Backend> Migration<DB> for Computed {
    fn run(&self, connection: &mut dyn BoxableConnection<DB>) -> diesel::migration::Result<()> {
        Ok(self.sql.iter().try_for_each(|statement| connection.batch_execute(statement))?)
    }

    fn revert(&self, _: &mut dyn BoxableConnection<DB>) -> diesel::migration::Result<()> {
        Err("a migration of a scope's table cannot be reverted".into())
    }

    fn metadata(&self) -> &dyn MigrationMetadata {
        self
    }

    fn name(&self) -> &dyn MigrationName {
        self
    }
}

impl MigrationMetadata for Computed {
    fn run_in_transaction(&self) -> bool {
        // Where a transaction undoes it, the caller has begun one.
        false
    }
}

impl MigrationName for Computed {
    fn version(&self) -> MigrationVersion<'_> {
        MigrationVersion::from(&self.version)
    }
}

impl fmt::Display for Computed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}_{}", self.version, self.label)
    }
}
