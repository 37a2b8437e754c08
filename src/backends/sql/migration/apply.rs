//! Applying a plan by Diesel's migration harness.
//!
//! Each step is an object that implements Diesel's [`Migration`], and is therefore recorded in
//! `__diesel_schema_migrations` like any other. Its version is `0hilcat`, a hash of the table's
//! name, and a number that counts up. The leading zero sorts it before the timestamps of an
//! application's own migrations, which can still be reverted one by one.
//!
//! # Invariant
//!
//! An interrupted migration is completed by the next one. Where a transaction undoes changes of
//! tables, a plan is applied as a whole or not at all. Elsewhere each statement is a migration of its
//! own, and leaves a table from which the rest of the plan can be computed.

use std::fmt;

use diesel::backend::Backend;
use diesel::connection::BoxableConnection;
use diesel::migration::{
    Migration, MigrationMetadata, MigrationName, MigrationSource, MigrationVersion,
};
use diesel::result::Error as DieselError;
use diesel_migrations::MigrationHarness;

use crate::backends::sql::dialect::Dialect;
use crate::backends::sql::error::CallError;
use crate::backends::sql::statement::{Sql, load_one};
use crate::schema::{self, Migrate, Plan, fnv1a};
use crate::{ColumnType, Error, ErrorKind, Result, Value};

/// Creates hilcat's own tables unless they exist.
///
/// The tables themselves are looked up, not only Diesel's record of migrations: another program may
/// have dropped either.
pub(crate) fn make_registry<D: Dialect>(connection: &mut D::Connection) -> Result<(), CallError> {
    let applied = connection.applied_migrations().map_err(untyped::<D>)?;
    let exists = D::has_registry(connection)?;
    let migrations: Vec<Box<dyn Migration<D>>> =
        D::MIGRATIONS.migrations().map_err(untyped::<D>)?;
    for (at, migration) in migrations.iter().enumerate() {
        let version = migration.name().version().as_owned();
        let recorded = applied.contains(&version);
        // The first migration creates the registry.
        if !exists || at > 0 && !recorded {
            migration.run(connection).map_err(untyped::<D>)?;
        }
        if !recorded {
            let (version, label) = (version.to_string(), migration.name().to_string());
            let record = PlannedStep { version, label, sql: Vec::new() };
            connection.run_migration(&record).map_err(untyped::<D>)?;
        }
    }
    Ok(())
}

/// Applies a plan. The caller holds the migration lock and has called [`make_registry`].
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
        for sql in migrations_of::<D>(&step.sql) {
            number += 1;
            let migration = PlannedStep {
                version: format!("{prefix}{number:06}"),
                label: format!("{} of {}", step.change, plan.table),
                sql: sql.to_vec(),
            };
            connection.run_migration(&migration).map_err(untyped::<D>)?;
        }
    }
    Ok(())
}

/// Splits the statements of a step into migrations: one migration if a transaction can undo them,
/// otherwise one for each statement.
fn migrations_of<D: Dialect>(sql: &[String]) -> std::slice::Chunks<'_, String> {
    sql.chunks(if D::MIGRATES_IN_TRANSACTION { sql.len() } else { 1 })
}

/// Returns the number of the last migration of a table, or 0 if there is none.
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

/// Converts the untyped error of a failed migration.
fn untyped<D: Dialect>(error: Box<dyn std::error::Error + Send + Sync>) -> CallError {
    match error.downcast::<DieselError>() {
        Ok(error) => CallError::Diesel(*error),
        Err(other) => CallError::Hilcat(Error::new(
            ErrorKind::Backend,
            format!("{} could not be migrated: {other}", D::NAME),
        )),
    }
}

/// The error for a plan that the policy does not allow.
pub(crate) fn refusal(plan: &Plan, policy: Migrate) -> Error {
    schema::refused("the table differs", plan, policy == Migrate::Manual)
}

/// A step of a plan as a migration of Diesel's.
#[derive(Clone)]
struct PlannedStep {
    version: String,
    label: String,
    sql: Vec<String>,
}

impl<DB: Backend> Migration<DB> for PlannedStep {
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

impl MigrationMetadata for PlannedStep {
    fn run_in_transaction(&self) -> bool {
        // Where a transaction can undo the step, the caller has begun one.
        false
    }
}

impl MigrationName for PlannedStep {
    fn version(&self) -> MigrationVersion<'_> {
        MigrationVersion::from(&self.version)
    }
}

impl fmt::Display for PlannedStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}_{}", self.version, self.label)
    }
}
