//! SQLite as a key-value file: for each scope a table of keys and serialised records, in the layout
//! of the Python package's `SqliteDict`.

mod registry;
mod scope;
mod scope_store;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use diesel::sqlite;

use self::registry::Registry;
use self::scope::KvScope;
use super::database::DatabaseInner;
use super::error::CallError;
use super::migration::TableProperties;
use super::sqlite::{SqliteBuilder, Synchronous};
use super::table::Table;
use crate::backends::sql::dialect::{ColumnTypes, Dialect, Tables};
use crate::codec::CodecOptions;
use crate::schema::{Apply, check_readable, merged, plan, upgrade};
use crate::store::{Capabilities, ExpirySupport, Options, ScopeStore, Store, Uri};
use crate::{Column, ColumnType, Error, Plan, Result, Schema};

/// The dialect of the backend.
type Engine = sqlite::Sqlite;

/// A SQLite file of keys and serialised records: a table `(key TEXT PRIMARY KEY, value BLOB)` for
/// each scope, which is the layout of the Python package's `SqliteDict`.
///
/// Values are JSON, which other programs can read. Values that the Python package pickled are
/// reported as errors. To access columns by SQL, use [`Sqlite`](crate::backend::Sqlite).
///
/// ```
/// use hilcat::{Cache, backend::SqliteKv};
///
/// # let directory = tempfile::tempdir().unwrap();
/// # let path = directory.path().join("cache.db");
/// let cache = Cache::from_store(SqliteKv::builder(path).open()?);
/// let squares = cache.map::<i64, i64>("squares")?;
/// assert_eq!(squares.get(7, || 49)?, 49);
/// # Ok::<(), hilcat::Error>(())
/// ```
#[derive(Clone)]
pub struct SqliteKv {
    database: Arc<DatabaseInner<Engine>>,
    registry: Arc<Registry>,
    options: CodecOptions,
    capabilities: Capabilities,
}

impl SqliteKv {
    /// Returns a builder for a database in a file, which is created if it does not exist.
    pub fn builder(path: impl AsRef<Path>) -> SqliteKvBuilder {
        let sqlite = super::sqlite::Sqlite::builder(path);
        SqliteKvBuilder { sqlite, codec: CodecOptions::default() }
    }

    /// Returns a builder for a database in memory, which is dropped with its store.
    pub fn in_memory() -> SqliteKvBuilder {
        let sqlite = super::sqlite::Sqlite::in_memory();
        SqliteKvBuilder { sqlite, codec: CodecOptions::default() }
    }

    /// Upgrades a scope to a schema, in one transaction. Returns the stored schema and what was
    /// changed.
    fn apply(&self, schema: &Schema, when: Apply) -> Result<(Schema, Plan)> {
        self.database.write(|connection| {
            Engine::write_transaction(connection, |connection| {
                self.registry.create(connection)?;
                self.registry.check_table(connection, schema)?;
                let stored = self.registry.find(connection, &schema.name)?;
                let upgrade =
                    stored.as_ref().map(|stored| upgrade(stored, schema, when)).transpose()?;
                let upgraded = upgrade.as_ref().map_or(schema, |upgrade| &upgrade.stored);
                registry::create_table(connection, &table_of(upgraded))?;
                let (Some(stored), Some(upgrade)) = (stored, upgrade) else {
                    let stored = merged(None, schema);
                    self.registry.store(connection, &stored)?;
                    return Ok((stored, Plan::empty(schema)));
                };
                if upgrade.recreate {
                    registry::clear_table(connection, schema)?;
                }
                if !upgrade.other {
                    return Ok((stored, upgrade.plan));
                }
                self.registry.store(connection, &upgrade.stored)?;
                Ok((upgrade.stored, upgrade.plan))
            })
        })
    }

    /// Returns the stored schema of a scope, or `None` if it was never opened.
    fn existing_schema(&self, schema: &Schema) -> Result<Option<Schema>> {
        check(schema)?;
        self.database.read(|connection| self.registry.find_if_exists(connection, &schema.name))
    }
}

impl std::fmt::Debug for SqliteKv {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SqliteKv").finish_non_exhaustive()
    }
}

/// Builds a [`SqliteKv`].
#[derive(Debug, Clone)]
#[must_use = "a builder does nothing until it is opened"]
pub struct SqliteKvBuilder {
    sqlite: SqliteBuilder,
    codec: CodecOptions,
}

impl SqliteKvBuilder {
    /// Sets when an acknowledged write is on the disk. The default is [`Synchronous::Full`].
    pub fn synchronous(mut self, synchronous: Synchronous) -> Self {
        self.sqlite = self.sqlite.synchronous(synchronous);
        self
    }

    /// Sets the deadline of a call. The default is 5 seconds.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.sqlite = self.sqlite.timeout(timeout);
        self
    }

    /// Sets the maximum number of connections that read, at least 1. The default is 8.
    pub fn pool_size(mut self, pool_size: u32) -> Self {
        self.sqlite = self.sqlite.pool_size(pool_size);
        self
    }

    /// Writes records as MessagePack. Existing records are read in either format.
    #[cfg(feature = "msgpack")]
    pub fn message_pack(mut self) -> Self {
        self.codec.format = crate::codec::Format::MessagePack;
        self
    }

    /// Compresses records that are longer than this many bytes.
    #[cfg(feature = "zstd")]
    pub fn compress_above(mut self, bytes: usize) -> Self {
        self.codec.compress_above = Some(bytes);
        self
    }

    /// Opens the database.
    ///
    /// # Errors
    ///
    /// Those of [`SqliteBuilder::open`](crate::backend::SqliteBuilder::open).
    pub fn open(self) -> Result<SqliteKv> {
        let (database, persistent) = self.sqlite.open()?.into_database();
        Ok(SqliteKv {
            database,
            registry: Arc::new(Registry::new()),
            options: self.codec,
            capabilities: Capabilities {
                persistent,
                expiry: ExpirySupport::Full,
                max_records: true,
                shared_single_flight: persistent,
                ..Capabilities::new()
            },
        })
    }
}

/// Opens `sqlite+kv:`.
pub(crate) fn open(mut uri: Uri, options: Options) -> Result<(Arc<dyn Store>, Options)> {
    let codec = CodecOptions::take(&mut uri)?;
    let (sqlite, options) = SqliteBuilder::from_uri(&mut uri, options)?;
    uri.finish(&[&["synchronous"], CodecOptions::NAMES].concat())?;
    Ok((Arc::new(SqliteKvBuilder { sqlite, codec }.open()?), options))
}

/// Returns the schema of the SQLite table that stores the records of a scope. If they expire, it has
/// an indexed expiry column.
fn table_of(stored: &Schema) -> Schema {
    let table = Schema::new(&stored.name)
        .table(&stored.table)
        .unique(Column::new("key", ColumnType::Text))
        .column(Column::new("value", ColumnType::Bytes).nullable(true));
    match stored.expiry_column() {
        Some(_) => table.with_expiry_column(),
        None => table,
    }
}

/// Returns the schema of the table of a scope, with the option of leases.
fn table_for(schema: &Schema, stored: &Schema) -> Schema {
    let mut table = table_of(stored);
    table.freshness.single_flight = schema.freshness.single_flight;
    table
}

/// Creates the table of a scope again that another program dropped.
fn repair_table(database: &DatabaseInner<Engine>, table: &Schema) -> Result<()> {
    database.write(|connection| registry::create_table(connection, table))
}

fn check(schema: &Schema) -> Result<()> {
    if schema.table.eq_ignore_ascii_case(registry::TABLE) {
        return Err(Error::invalid_schema(format!(
            "the table name `{}` is reserved for hilcat's own tables; choose another one by `table`",
            schema.table
        )));
    }
    Engine::check_schema(&table_of(schema))
}

impl Store for SqliteKv {
    fn name(&self) -> &'static str {
        "sqlite+kv"
    }

    fn capabilities(&self) -> Capabilities {
        self.capabilities
    }

    fn open(&self, schema: &Arc<Schema>) -> Result<Arc<dyn ScopeStore>> {
        let existing = self.existing_schema(schema)?;
        let schema = match &existing {
            Some(stored) => Arc::new(schema.with_expiry_of(stored)),
            None => schema.clone(),
        };
        let covers = |stored: &Schema| {
            let same = !schema.freshness.uses_expiry() || stored.freshness == schema.freshness;
            same && stored.table == schema.table && plan(stored, &schema).is_empty()
        };
        let stored = match existing.filter(covers) {
            Some(stored) => stored,
            None => self.apply(&schema, Apply::OnOpen)?.0,
        };
        if schema.freshness.lease().is_some() {
            self.database.ensure_leases()?;
        }
        let table = Arc::new(table_for(&schema, &stored));
        let table = Table::with_repair(self.database.clone(), &table, repair_table);
        let scope = KvScope::new(&schema, &stored, table, self.registry.clone(), self.options);
        scope.check_layout()?;
        Ok(Arc::new(scope))
    }

    /// Also reads a table that another program created, whose schema is unknown.
    fn open_read_only(&self, schema: &Arc<Schema>) -> Result<Option<Arc<dyn ScopeStore>>> {
        let existing = self.existing_schema(schema)?;
        let schema = match &existing {
            Some(stored) => {
                check_readable(stored, schema)?;
                Arc::new(schema.with_expiry_of(stored))
            }
            None => schema.clone(),
        };
        // A table of another program has no expiry column.
        let table = match &existing {
            Some(stored) => table_of(stored),
            None => table_of(&Schema::new(&schema.name).table(&schema.table)),
        };
        let table = Table::read_only(
            self.database.clone(),
            &Arc::new(table),
            0,
            &TableProperties::default(),
        );
        let stored = existing.as_ref().unwrap_or(&schema);
        let scope = KvScope::new(&schema, stored, table, self.registry.clone(), self.options);
        match scope.check_layout() {
            Ok(()) => Ok(Some(Arc::new(scope))),
            Err(error) if error.is_changed_table() => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn plan(&self, schema: &Schema) -> Result<Plan> {
        let existing = self.existing_schema(schema)?;
        self.database.read(|connection| self.registry.check_table(connection, schema))?;
        let planned = |stored: Schema| plan(&stored, &schema.with_expiry_of(&stored));
        Ok(existing.map_or_else(|| Plan::empty(schema), planned))
    }

    fn migrate(&self, schema: &Schema) -> Result<Plan> {
        match self.existing_schema(schema)? {
            Some(stored) => Ok(self.apply(&schema.with_expiry_of(&stored), Apply::OnDemand)?.1),
            None => Ok(Plan::empty(schema)),
        }
    }

    fn stored_schema(&self, scope: &str) -> Result<Option<Schema>> {
        self.database.read(|connection| self.registry.find_if_exists(connection, scope))
    }

    /// The table of another program gets no expiry column: only a column of the records can store
    /// the expiry there.
    fn expiry_of(&self, schema: &Schema) -> Result<ExpirySupport> {
        if schema.freshness.expires_at.is_some() || self.existing_schema(schema)?.is_some() {
            return Ok(ExpirySupport::Full);
        }
        let table =
            self.database.read(|connection| Ok(Engine::table(connection, &schema.table)?))?;
        Ok(match table {
            Some(_) => ExpirySupport::Unsupported,
            None => ExpirySupport::Full,
        })
    }

    fn scopes(&self) -> Result<Vec<String>> {
        self.database.read(|connection| self.registry.scopes(connection).map_err(CallError::from))
    }
}
