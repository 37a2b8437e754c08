//! The store of a scope: one table, or one section of a table.

mod freshness;
mod listing;
mod read;
mod scope_store;
pub(crate) mod single_table;
mod store;
mod validate;
mod write;

use std::fmt;
use std::sync::Arc;

use super::database::{DatabaseInner, LeaseKey};
use super::dialect::ValueCheck;
use super::dialect::statements::Statements;
use super::error::CallError;
use super::migration::TableProperties;
use super::statement::Conn;
use super::statement::coalesce::Coalescer;
use crate::backends::sql::dialect::Dialect;
use crate::store::key_to_text;
use crate::{Key, Result, Schema, Value};

pub(crate) use self::validate::check_numeric_affinity;

/// A table of a database, or the section of its rows whose keys begin with fixed values.
pub(crate) struct Table<D: Dialect> {
    inner: Arc<TableInner<D>>,
    /// The first values of every key in the section. Empty for a whole table.
    section: Arc<[Value]>,
}

/// The state that the sections of a table share.
pub(crate) struct TableInner<D: Dialect> {
    database: Arc<DatabaseInner<D>>,
    /// The schema that the table was opened with.
    schema: Arc<Schema>,
    /// Their schema also says how keys are stored.
    statements: Statements,
    /// The schema that the table is created with.
    created_as: Arc<Schema>,
    /// How many values of a key identify its section.
    section_len: usize,
    /// The positions of the columns with values that the engine may not be able to hold.
    checked: Vec<usize>,
    /// The positions of the text columns in which the engine converts numeric text to numbers.
    numeric_affinity: Vec<usize>,
    /// The positions of the columns that cannot hold every value of their type.
    lossy: Vec<(usize, ValueCheck)>,
    repair: RepairTable<D>,
    coalescer: Coalescer,
}

/// Creates a table again that another program dropped, or repairs one that was changed.
type RepairTable<D> = fn(&DatabaseInner<D>, &Schema) -> Result<()>;

impl<D: Dialect> fmt::Debug for Table<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Table").field("name", &self.inner.schema().table).finish_non_exhaustive()
    }
}

impl<D: Dialect> Table<D> {
    /// Creates the store of a table that was opened with these properties.
    pub(crate) fn new(
        database: Arc<DatabaseInner<D>>,
        schema: &Arc<Schema>,
        properties: &TableProperties,
    ) -> Self {
        Self::in_sections(database, schema, schema, 0, properties)
    }

    /// Creates the store of a table that is repaired by a function of the caller's.
    #[cfg(feature = "sqlite")]
    pub(crate) fn with_repair(
        database: Arc<DatabaseInner<D>>,
        schema: &Arc<Schema>,
        repair: RepairTable<D>,
    ) -> Self {
        Self::build(database, schema, schema, 0, &TableProperties::default(), repair)
    }

    /// Creates the store of a table of sections, each identified by the first `section_len` values of
    /// the key. The table is created as `created_as` and used as `schema`. Listings need a
    /// [`section`](Table::section).
    pub(crate) fn in_sections(
        database: Arc<DatabaseInner<D>>,
        schema: &Arc<Schema>,
        created_as: &Arc<Schema>,
        section_len: usize,
        properties: &TableProperties,
    ) -> Self {
        let repair = DatabaseInner::repair_table;
        Self::build(database, schema, created_as, section_len, properties, repair)
    }

    /// Creates the store of a table that is only read, and never repaired.
    pub(crate) fn read_only(
        database: Arc<DatabaseInner<D>>,
        stored: &Arc<Schema>,
        section_len: usize,
        properties: &TableProperties,
    ) -> Self {
        Self::build(database, stored, stored, section_len, properties, |_, _| Ok(()))
    }

    fn build(
        database: Arc<DatabaseInner<D>>,
        schema: &Arc<Schema>,
        created_as: &Arc<Schema>,
        section_len: usize,
        properties: &TableProperties,
        repair: RepairTable<D>,
    ) -> Self {
        let stored = |schema: &Arc<Schema>| match properties.verbatim_keys {
            true => Arc::new(Schema::clone(schema).with_verbatim_keys(true)),
            false => schema.clone(),
        };
        let columns = || schema.columns.iter().enumerate();
        let checked = columns().filter(|(_, column)| validate::needs_check(column.ty));
        let numeric =
            columns().filter(|(_, column)| properties.numeric_affinity.contains(&column.name));
        let position = |name: &str| schema.columns.iter().position(|column| column.name == name);
        let lossy = properties.lossy_columns.iter();
        let lossy = lossy.filter_map(|(name, fits)| Some((position(name)?, fits.clone())));
        let inner = TableInner {
            schema: schema.clone(),
            statements: Statements::in_sections::<D>(&stored(schema), section_len),
            created_as: stored(created_as),
            section_len,
            checked: checked.map(|(at, _)| at).collect(),
            numeric_affinity: numeric.map(|(at, _)| at).collect(),
            lossy: lossy.collect(),
            repair,
            coalescer: Coalescer::new(database.reader_count(), database.timeout()),
            database,
        };
        Self { inner: Arc::new(inner), section: Arc::new([]) }
    }

    #[cfg(feature = "sqlite")]
    pub(crate) fn inner(&self) -> &TableInner<D> {
        &self.inner
    }

    /// Returns the store of the rows whose keys begin with these values. Its keys and rows contain
    /// the values, as those of the whole table do.
    pub(crate) fn section(&self, values: &[Value]) -> Self {
        let key = Key::new(values.iter().cloned());
        let section = D::stored_key(self.inner.schema(), &key).values().into();
        Self { inner: self.inner.clone(), section }
    }
}

impl<D: Dialect> TableInner<D> {
    pub(crate) fn schema(&self) -> &Schema {
        &self.statements.schema
    }

    /// Runs a call. If another program dropped or changed the table, repairs it and runs the call
    /// once more.
    pub(crate) fn with_table_repair<T>(
        &self,
        call: impl Fn(&DatabaseInner<D>) -> Result<T>,
    ) -> Result<T> {
        match call(&self.database) {
            Err(error) if error.is_changed_table() => {
                if self.has_leases() {
                    self.database.create_leases()?;
                }
                (self.repair)(&self.database, &self.created_as)?;
                call(&self.database)
            }
            result => result,
        }
    }

    /// Runs a call that reads, with table repair.
    pub(crate) fn read<T>(
        &self,
        call: impl Fn(&mut D::Connection) -> Result<T, CallError>,
    ) -> Result<T> {
        self.with_table_repair(|database| database.read(&call))
    }

    /// Runs a call that writes, with table repair.
    pub(crate) fn write<T>(
        &self,
        call: impl Fn(&mut D::Connection) -> Result<T, CallError>,
    ) -> Result<T> {
        self.with_table_repair(|database| database.write(&call))
    }

    /// Runs an idempotent call that writes, with table repair.
    pub(crate) fn write_idempotent<T>(
        &self,
        call: impl Fn(&mut D::Connection) -> Result<T, CallError>,
    ) -> Result<T> {
        self.with_table_repair(|database| database.write_idempotent(&call))
    }

    /// Returns whether processes share the computations of the scope.
    fn has_leases(&self) -> bool {
        self.schema.freshness.lease().is_some() && self.database.capabilities().shared_single_flight
    }

    pub(crate) fn lock_lease(
        &self,
        connection: &mut impl Conn<D>,
        key: &Key,
        holder: &str,
    ) -> Result<bool, CallError> {
        self.database.lock_lease(connection, &self.lease_key(key), holder)
    }

    pub(crate) fn release_lease(
        &self,
        connection: &mut impl Conn<D>,
        key: &Key,
        holder: &str,
    ) -> Result<(), CallError> {
        self.database.release_lease(connection, &self.lease_key(key), holder)
    }

    /// Returns the lease key of a record. Each section of a table has leases of its own.
    fn lease_key(&self, key: &Key) -> LeaseKey {
        let stored = D::stored_key(self.schema(), key);
        let scope = self.lease_scope(&stored.values()[..self.section_len]);
        LeaseKey::new(&scope, &self.without_section(key))
    }

    fn lease_scope(&self, section: &[Value]) -> String {
        match section {
            [] => self.schema.name.clone(),
            section => {
                let section = Key::new(section.iter().cloned());
                format!("{}/{}", self.schema.name, key_to_text(&section))
            }
        }
    }

    /// Returns a key without the values that identify its section.
    fn without_section(&self, key: &Key) -> Key {
        Key::new(key.values()[self.section_len..].iter().cloned())
    }
}
