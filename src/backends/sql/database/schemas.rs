//! The tables of a database: opening, planning and migrating them by their schemas.

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use super::DatabaseInner;
use crate::backends::sql::dialect::Dialect;
use crate::backends::sql::error::CallError;
use crate::backends::sql::migration::registry::{self, Entry};
use crate::backends::sql::migration::{
    self, PlannedMigration, ReadableTable, TableProperties, numeric_affinity_column,
};
use crate::schema::{Change, Migrate, Plan};
use crate::{Result, Schema};

/// How many times a migration starts over because another process was faster.
const MAX_MIGRATION_RACES: u32 = 10;

/// A table that matches its schema.
pub(crate) struct MigratedTable {
    /// What was done.
    pub(crate) plan: Plan,
    schema: Schema,
    properties: TableProperties,
}

impl<D: Dialect> DatabaseInner<D> {
    /// Ensures that a scope's table matches the schema, as far as its migration policy allows.
    /// Needs no statement if the registry's entry matches.
    ///
    /// Returns the schema that the scope is opened with, which has hilcat's own expiry column if the
    /// table has it, and the properties of the table.
    pub(crate) fn ensure(&self, schema: &Arc<Schema>) -> Result<(Arc<Schema>, TableProperties)> {
        migration::check::<D>(schema)?;
        let entry = self.entry(&schema.name)?;
        let schema = match entry.as_ref().map(|entry| entry.with_expiry(schema)) {
            Some(Cow::Owned(schema)) => Arc::new(schema),
            _ => schema.clone(),
        };
        if let Some(verbatim_keys) = entry.and_then(|entry| entry.is_for::<D>(&schema)) {
            return Ok((schema, TableProperties { verbatim_keys, ..TableProperties::default() }));
        }
        let (opened, properties) = match schema.migrate {
            Migrate::Manual => self.open_unchanged(&schema)?,
            _ => {
                let migrated = self.migrate(&schema)?;
                (migrated.schema, migrated.properties)
            }
        };
        Ok((if opened == *schema { schema } else { Arc::new(opened) }, properties))
    }

    /// Opens a table without changing it, if its columns allow that. A missing index is accepted.
    fn open_unchanged(&self, schema: &Schema) -> Result<(Schema, TableProperties)> {
        migration::check::<D>(schema)?;
        self.read(|connection| {
            let planned = self.plan_on(connection, schema)?;
            let PlannedMigration { plan, schema, foreign } = planned;
            let steps = plan.steps.iter();
            let steps = steps.filter(|step| !matches!(step.change, Change::AddIndex(_)));
            let columns = steps.map(|step| numeric_affinity_column::<D>(&step.change));
            let columns: Option<Vec<String>> = columns.collect();
            let numeric_affinity =
                columns.ok_or_else(|| migration::refusal(&plan, schema.migrate))?;
            let properties = self.properties(connection, &schema)?;
            let properties = TableProperties { numeric_affinity, foreign, ..properties };
            Ok((schema.into_owned(), properties))
        })
    }

    /// Returns how a table can be read without changing it, and its properties. Returns `None` if
    /// there is no table.
    pub(crate) fn readable(
        &self,
        schema: &Schema,
    ) -> Result<Option<(ReadableTable, TableProperties)>> {
        migration::check::<D>(schema)?;
        self.read(|connection| {
            let entries = self.registry.load::<D>(connection)?;
            let readable = migration::readable::<D>(connection, schema, entries.get(&schema.name))?;
            let Some(readable) = readable else { return Ok(None) };
            let verbatim_keys =
                schema.verbatim_keys || D::verbatim_keys(connection, &readable.stored)?;
            let numeric_affinity = readable.numeric_affinity.clone();
            let properties =
                TableProperties { numeric_affinity, verbatim_keys, ..TableProperties::default() };
            Ok(Some((readable, properties)))
        })
    }

    /// Returns the properties of an existing table.
    fn properties(
        &self,
        connection: &mut D::Connection,
        schema: &Schema,
    ) -> Result<TableProperties, CallError> {
        let lossy_columns = match schema.migrate {
            Migrate::Manual => migration::lossy_columns::<D>(connection, schema)?,
            _ => Vec::new(),
        };
        let verbatim_keys = schema.verbatim_keys || D::verbatim_keys(connection, schema)?;
        Ok(TableProperties { lossy_columns, verbatim_keys, ..TableProperties::default() })
    }

    /// Whether the table of a schema can store the expiry of records, whether it exists or not.
    pub(crate) fn can_store_expiry(&self, schema: &Schema) -> Result<bool> {
        if let Some(entry) = self.entry(&schema.name)?.filter(|entry| entry.is_of(schema)) {
            return Ok(!entry.is_foreign(schema));
        }
        if let Some(known) = self.expiry_support.lock().get(&schema.table) {
            return Ok(*known);
        }
        let existing = self.read(|connection| Ok(D::table(connection, &schema.table)?))?;
        let Some(existing) = existing else { return Ok(true) };
        let supported = !migration::is_foreign(&existing, None, schema);
        self.expiry_support.lock().insert(schema.table.clone(), supported);
        Ok(supported)
    }

    /// Creates a table again that another program dropped, or applies the safe steps if it was
    /// changed. Never recreates a table: it may hold records of the program that changed it.
    pub(crate) fn repair_table(&self, schema: &Schema) -> Result<()> {
        match schema.migrate {
            Migrate::Manual => self.open_unchanged(schema).map(drop),
            _ => self.migrate(&schema.clone().migrate(Migrate::Safe)).map(drop),
        }
    }

    fn entry(&self, scope: &str) -> Result<Option<Entry>> {
        let mut entries = self.entries.lock();
        if entries.is_none() {
            *entries = Some(self.read(|connection| self.registry.load::<D>(connection))?);
        }
        Ok(entries.as_ref().and_then(|entries| entries.get(scope)).cloned())
    }

    /// Returns the steps that opening a scope would take.
    pub(crate) fn plan(&self, schema: &Schema) -> Result<Plan> {
        migration::check::<D>(schema)?;
        self.read(|connection| Ok(self.plan_on(connection, schema)?.plan))
    }

    fn plan_on<'a>(
        &self,
        connection: &mut D::Connection,
        schema: &'a Schema,
    ) -> Result<PlannedMigration<'a>, CallError> {
        let entries = self.registry.load::<D>(connection)?;
        registry::check_table(&entries, schema)?;
        migration::plan::<D>(connection, schema, entries.get(&schema.name))
    }

    /// Plans and applies a migration under the engine's migration lock.
    ///
    /// Of several processes that do this at the same time one migrates, and the others find nothing
    /// left to do. MySQL's lock is local to one server. On a cluster a node that loses the race
    /// starts over.
    pub(crate) fn migrate(&self, schema: &Schema) -> Result<MigratedTable> {
        migration::check::<D>(schema)?;
        let races = AtomicU32::new(0);
        let (migrated, entry) = self.write(|connection| {
            let migrated = D::with_migration_lock(connection, |connection| {
                self.migrate_on(connection, schema)
            });
            migrated.map_err(|error| match races.fetch_add(1, Ordering::Relaxed) {
                ..MAX_MIGRATION_RACES => error.into_conflict_if(D::is_race),
                _ => error,
            })
        })?;
        if let Some(entries) = self.entries.lock().as_mut() {
            entries.insert(schema.name.clone(), entry);
        }
        Ok(migrated)
    }

    fn migrate_on(
        &self,
        connection: &mut D::Connection,
        schema: &Schema,
    ) -> Result<(MigratedTable, Entry), CallError> {
        migration::make_registry::<D>(connection)?;
        D::drop_leftovers(connection, schema)?;
        let entries = self.registry.load::<D>(connection)?;
        registry::check_table(&entries, schema)?;
        let entry = entries.get(&schema.name);
        let planned = migration::plan::<D>(connection, schema, entry)?;
        let PlannedMigration { plan, schema, foreign } = planned;
        let applicable = plan.is_safe() || schema.migrate == Migrate::Recreate;
        if !applicable {
            return Err(CallError::Hilcat(migration::refusal(&plan, Migrate::Safe)));
        }
        match plan.steps.iter().all(|step| step.change == Change::CreateTable) {
            true => migration::apply::<D>(connection, &plan)?,
            false => D::without_statement_timeout(connection, self.timeout, |connection| {
                migration::apply::<D>(connection, &plan)
            })?,
        }
        let properties = TableProperties { foreign, ..self.properties(connection, &schema)? };
        let recreated = plan.steps.iter().any(|step| step.change == Change::Recreate);
        let registered = registry::registered_schema(entry, &schema).filter(|_| !recreated);
        let entry =
            self.registry.store::<D>(connection, &schema, registered.as_ref(), &properties)?;
        Ok((MigratedTable { plan, schema: schema.into_owned(), properties }, entry))
    }
}
