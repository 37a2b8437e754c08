//! Planning: the steps that turn an existing table into the one of its schema.

use std::borrow::Cow;

use super::registry::{self, Entry};
use super::{RESERVED, ValueCheck};
use crate::backends::sql::dialect::Dialect;
use crate::backends::sql::dialect::statements::{create, create_index, expiry_index};
use crate::backends::sql::error::CallError;
use crate::freshness::EXPIRES_AT;
use crate::schema::{
    self, Change, Column, ExistingColumn, ExistingTable, Migrate, Plan, Step, diff,
};
use crate::{ColumnType, Error, Result, Schema};

/// Checks that the engine can hold the table of a schema, before anything is sent.
///
/// # Errors
///
/// [`ErrorKind::InvalidSchema`](crate::ErrorKind::InvalidSchema) for a reserved name, and the errors
/// of the dialect's checks.
pub(crate) fn check<D: Dialect>(schema: &Schema) -> Result<()> {
    if RESERVED.iter().any(|name| name.eq_ignore_ascii_case(&schema.table)) {
        let message = format!(
            "the table name `{}` is reserved for hilcat's own tables; choose another one by `table`",
            schema.table
        );
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

/// The steps that opening a scope takes.
pub(crate) struct PlannedMigration<'a> {
    pub(crate) plan: Plan,
    /// The schema that the scope is opened with. It has hilcat's own expiry column if the table does.
    pub(crate) schema: Cow<'a, Schema>,
    /// Whether another program created the table.
    pub(crate) foreign: bool,
}

/// Computes the steps after which a table matches its schema. `entry` is the registry's entry of the
/// scope.
pub(crate) fn plan<'a, D: Dialect>(
    connection: &mut D::Connection,
    schema: &'a Schema,
    entry: Option<&Entry>,
) -> Result<PlannedMigration<'a>, CallError> {
    let Some(mut existing) = D::table(connection, &schema.table)? else {
        let steps = vec![Step { change: Change::CreateTable, sql: create::<D>(schema) }];
        let (plan, schema) = (plan_of(schema, steps), Cow::Borrowed(schema));
        return Ok(PlannedMigration { plan, schema, foreign: false });
    };
    let foreign = is_foreign(&existing, entry, schema);
    if foreign && schema.has_own_expiry_column() {
        return Err(CallError::Hilcat(no_expiry_column(schema)));
    }
    let schema = with_expiry_of_table(schema, &existing);
    apply_registered_types::<D>(
        &mut existing,
        registry::registered_schema(entry, &schema).as_ref(),
    );
    apply_schema_names::<D>(&mut existing, &schema);
    check_generated::<D>(&existing, &schema)?;
    let managed = schema.migrate != Migrate::Manual;
    let changes = diff(&existing, &schema, |have, want| same_type::<D>(have, want, managed));
    let mut steps: Vec<Step> = if changes.iter().all(Change::is_safe) {
        let sql = D::alter(connection, &schema, &existing, &changes)?;
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
    Ok(PlannedMigration { plan: plan_of(&schema, steps), schema, foreign: foreign && !recreated })
}

/// Returns whether another program created a table. A table without a registry entry is hilcat's if
/// it has columns that only hilcat creates.
pub(crate) fn is_foreign(existing: &ExistingTable, entry: Option<&Entry>, schema: &Schema) -> bool {
    if existing.columns.iter().any(|have| have.name == EXPIRES_AT) {
        return false;
    }
    match entry.filter(|entry| entry.is_of(schema)) {
        Some(entry) => entry.is_foreign(schema),
        None => existing.full_key_columns.is_empty(),
    }
}

/// The error for a table that cannot store the expiry of records.
fn no_expiry_column(schema: &Schema) -> Error {
    Error::unsupported(format!(
        "`ttl` cannot be honoured: the table `{}` belongs to another program and has no column for the expiry; name one of its columns by `expires_at`",
        schema.table
    ))
}

/// Adds hilcat's own expiry column to a schema if the table has it.
fn with_expiry_of_table<'a>(schema: &'a Schema, existing: &ExistingTable) -> Cow<'a, Schema> {
    let has_it = existing.columns.iter().any(|have| have.name == EXPIRES_AT);
    match has_it && !schema.has_own_expiry_column() {
        true => Cow::Owned(schema.with_expiry_column()),
        false => Cow::Borrowed(schema),
    }
}

/// Returns the step that adds the index on the expiry, if the table needs it and has none.
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

/// A table that is read without being changed.
pub(crate) struct ReadableTable {
    /// The schema that the scope is opened with. It has hilcat's own expiry column if the table does.
    pub(crate) schema: Schema,
    /// The schema by which the table is read.
    pub(crate) stored: Schema,
    /// The text columns in which a look-up can find the record of another key: the engine converts
    /// numeric text in them, or considers different texts equal.
    pub(crate) numeric_affinity: Vec<String>,
}

/// Returns how a table can be read under a schema without changing it, or `None` if there is no
/// table.
pub(crate) fn readable<D: Dialect>(
    connection: &mut D::Connection,
    schema: &Schema,
    entry: Option<&Entry>,
) -> Result<Option<ReadableTable>, CallError> {
    let Some(mut existing) = D::table(connection, &schema.table)? else { return Ok(None) };
    if is_foreign(&existing, entry, schema) && schema.has_own_expiry_column() {
        return Err(CallError::Hilcat(no_expiry_column(schema)));
    }
    let schema = &*with_expiry_of_table(schema, &existing);
    apply_registered_types::<D>(&mut existing, registry::registered_schema(entry, schema).as_ref());
    apply_schema_names::<D>(&mut existing, schema);
    check_generated::<D>(&existing, schema)?;
    let managed = schema.migrate != Migrate::Manual;
    let stored =
        schema::readable(&existing, schema, |have, want| same_type::<D>(have, want, managed))?;
    let is_text = |name: &str| {
        stored.columns.iter().any(|column| column.name == name && column.ty == ColumnType::Text)
    };
    let is_numeric =
        |have: &ExistingColumn| is_text(&have.name) && D::has_numeric_affinity(&have.declared);
    let is_inexact = |have: &ExistingColumn| !D::is_exact(&have.declared);
    let columns = existing.columns.iter().filter(|have| !have.known);
    let columns = columns.filter(|have| is_numeric(have) || is_inexact(have));
    let numeric_affinity = columns.map(|have| have.name.clone()).collect();
    Ok(Some(ReadableTable { schema: schema.clone(), stored, numeric_affinity }))
}

fn plan_of(schema: &Schema, steps: Vec<Step>) -> Plan {
    Plan { steps, ..Plan::empty(schema) }
}

/// Sets the types of columns that hilcat created to those in the registry. An engine can spell
/// several types alike, such as JSON and text.
fn apply_registered_types<D: Dialect>(existing: &mut ExistingTable, registered: Option<&Schema>) {
    for column in &mut existing.columns {
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

/// Spells the names of columns as the schema does where the engine considers both names equal.
fn apply_schema_names<D: Dialect>(existing: &mut ExistingTable, schema: &Schema) {
    let wanted = |name: &String| {
        let mut names = schema.columns.iter().map(|column| &column.name);
        names.find(|wanted| D::same_name(wanted, name)).unwrap_or(name).clone()
    };
    existing.key = existing.key.iter().map(wanted).collect();
    for column in &mut existing.columns {
        column.name = wanted(&column.name);
    }
}

/// Checks that no column of a schema is a generated column of the table. Such a column cannot be
/// written, and no other column can have its name.
fn check_generated<D: Dialect>(existing: &ExistingTable, schema: &Schema) -> Result<()> {
    let is_generated = |column: &&Column| {
        existing.computed.iter().any(|computed| D::same_name(&column.name, computed))
    };
    match schema.columns.iter().find(is_generated) {
        None => Ok(()),
        Some(column) => Err(Error::unsupported(
            "the table has a generated column of this name, whose values the database computes; remove it from the schema, or make it a plain column",
        )
        .with_column(&column.name)),
    }
}

/// Returns whether an existing column can be used as one of the schema.
///
/// hilcat's own column must have the very type. Another program's column may be declared
/// differently if it holds every value of the type, or, in a table that hilcat does not migrate, if
/// it has the type.
fn same_type<D: Dialect>(have: &ExistingColumn, want: &Column, managed: bool) -> bool {
    let spelled_alike = D::column_type(want.ty).eq_ignore_ascii_case(&have.declared);
    match have.known {
        true => have.ty == Some(want.ty),
        false => {
            let wider = have.ty.is_some_and(|ty| want.ty.widens(ty));
            let adopted = !managed && have.ty.map(D::adopted) == Some(want.ty);
            let adopted =
                adopted && D::is_exact(&have.declared) && !D::has_numeric_affinity(&have.declared);
            spelled_alike || adopted || wider && D::holds(&have.declared, want.ty)
        }
    }
}

/// Returns the column of a change that is needed only because the engine converts numeric text in
/// it to numbers. The column can be used unchanged if each value is checked.
pub(crate) fn numeric_affinity_column<D: Dialect>(change: &Change) -> Option<String> {
    match change {
        Change::WidenColumn { column, from, to: ColumnType::Text }
            if D::has_numeric_affinity(from) =>
        {
            Some(column.clone())
        }
        _ => None,
    }
}

/// Returns the columns of an existing table that cannot hold every value of their type.
///
/// # Errors
///
/// Fails if such a column cannot hold its default.
pub(crate) fn lossy_columns<D: Dialect>(
    connection: &mut D::Connection,
    schema: &Schema,
) -> Result<Vec<(String, ValueCheck)>, CallError> {
    let existing = D::table(connection, &schema.table)?;
    let mut lossy = Vec::new();
    for have in existing.iter().flat_map(|existing| &existing.columns) {
        let column = schema.columns.iter().find(|column| D::same_name(&column.name, &have.name));
        let fits = column.and_then(|column| D::lossy_column(&have.declared, column.ty));
        let Some((column, fits)) = column.zip(fits) else { continue };
        if let Some(default) = &column.default {
            fits(default).map_err(|error| error.with_column(&column.name))?;
        }
        lossy.push((column.name.clone(), fits));
    }
    Ok(lossy)
}
