//! SQLite as a plain key-value file: a table of keys and serialised records for each scope, as the
//! Python package's `SqliteDict` has them.

mod registry;
mod scope;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use diesel::sqlite;

use self::registry::Registry;
use self::scope::KvScope;
use super::database::Inner;
use super::dialect::Dialect;
use super::error::CallError;
use super::sqlite::{SqliteBuilder, Synchronous};
use super::table::{Found, Table};
use crate::codec::CodecOptions;
use crate::schema::{Apply, check_readable, merged, plan, upgrade};
use crate::store::{Capabilities, ExpirySupport, Options, ScopeStore, Store, Uri};
use crate::{Column, ColumnType, Error, Plan, Result, Schema};

/// The one dialect that has it.
type Engine = sqlite::Sqlite;

/// A SQLite file of keys and serialised records: a table `(key TEXT PRIMARY KEY, value BLOB)` for
/// each scope, which is the layout of the Python package's `SqliteDict`.
///
/// Its values are JSON that other programs can read; those that the Python package pickled are
/// reported, not read. Where the columns are to be seen by SQL,
/// [`Sqlite`](crate::backend::Sqlite) is the backend.
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
    database: Arc<Inner<Engine>>,
    registry: Arc<Registry>,
    options: CodecOptions,
    capabilities: Capabilities,
}

impl SqliteKv {
    /// A builder for the database in a file, which is made where it does not stand.
    pub fn builder(path: impl AsRef<Path>) -> SqliteKvBuilder {
        let sqlite = super::sqlite::Sqlite::builder(path);
        SqliteKvBuilder { sqlite, codec: CodecOptions::default() }
    }

    /// A builder for a database in memory, which is gone with its store.
    pub fn in_memory() -> SqliteKvBuilder {
        let sqlite = super::sqlite::Sqlite::in_memory();
        SqliteKvBuilder { sqlite, codec: CodecOptions::default() }
    }

    /// Brings a scope under a schema, in one transaction. Gives the schema that its records stand
    /// under then, and what that changed.
    fn apply(&self, schema: &Schema, when: Apply) -> Result<(Schema, Plan)> {
        self.database.write(|connection| {
            Engine::write_transaction(connection, |connection| {
                self.registry.make(connection)?;
                self.registry.check_table(connection, schema)?;
                let standing = self.registry.find(connection, &schema.name)?;
                let upgrade = match &standing {
                    Some(standing) => Some(upgrade(standing, schema, when)?),
                    None => None,
                };
                let stored = upgrade.as_ref().map_or(schema, |upgrade| &upgrade.stored);
                registry::make_table(connection, &table_of(stored))?;
                let (Some(standing), Some(upgrade)) = (standing, upgrade) else {
                    let stored = merged(None, schema);
                    self.registry.note(connection, &stored)?;
                    return Ok((stored, Plan::empty(schema)));
                };
                if upgrade.recreate {
                    registry::clear_table(connection, schema)?;
                }
                if !upgrade.other {
                    return Ok((standing, upgrade.plan));
                }
                self.registry.note(connection, &upgrade.stored)?;
                Ok((upgrade.stored, upgrade.plan))
            })
        })
    }

    /// The schema that a scope stands under; none where it was never opened.
    fn standing(&self, schema: &Schema) -> Result<Option<Schema>> {
        check(schema)?;
        self.database.read(|connection| self.registry.find_if_any(connection, &schema.name))
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
    /// When an acknowledged write is on the disk; [`Synchronous::Full`] by default.
    pub fn synchronous(mut self, synchronous: Synchronous) -> Self {
        self.sqlite = self.sqlite.synchronous(synchronous);
        self
    }

    /// The deadline of one call; 5 seconds by default.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.sqlite = self.sqlite.timeout(timeout);
        self
    }

    /// How many connections read at the most, at least 1; 8 by default.
    pub fn pool_size(mut self, pool_size: u32) -> Self {
        self.sqlite = self.sqlite.pool_size(pool_size);
        self
    }

    /// Writes records as MessagePack. Those that stand are read whatever they are.
    #[cfg(feature = "msgpack")]
    pub fn message_pack(mut self) -> Self {
        self.codec.format = crate::codec::Format::MessagePack;
        self
    }

    /// Compresses records of more bytes than this.
    #[cfg(feature = "zstd")]
    pub fn compress_above(mut self, bytes: usize) -> Self {
        self.codec.compress_above = Some(bytes);
        self
    }

    /// Opens the database.
    ///
    /// # Errors
    ///
    /// As [`SqliteBuilder::open`](crate::backend::SqliteBuilder::open).
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

/// The schema of the SQLite table that holds the records of a scope. If they expire, it has an
/// indexed column for the expiry.
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

/// The same as a scope uses it: with its leases.
fn table_for(schema: &Schema, stored: &Schema) -> Schema {
    let mut table = table_of(stored);
    table.freshness.single_flight = schema.freshness.single_flight;
    table
}

/// Makes the table of a scope again that was dropped behind hilcat's back.
fn restore(database: &Inner<Engine>, table: &Schema) -> Result<()> {
    database.write(|connection| registry::make_table(connection, table))
}

fn check(schema: &Schema) -> Result<()> {
    if schema.table.eq_ignore_ascii_case(registry::TABLE) {
        return Err(Error::invalid_schema(format!(
            "the table name `{}` is kept for bookkeeping",
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
        let standing = self.standing(schema)?;
        let schema = match &standing {
            Some(stored) => Arc::new(schema.with_expiry_of(stored)),
            None => schema.clone(),
        };
        let covers = |stored: &Schema| {
            let same = !schema.freshness.uses_expiry() || stored.freshness == schema.freshness;
            same && stored.table == schema.table && plan(stored, &schema).is_empty()
        };
        let stored = match standing.filter(covers) {
            Some(stored) => stored,
            None => self.apply(&schema, Apply::OnOpen)?.0,
        };
        if schema.freshness.lease().is_some() {
            self.database.ensure_leases()?;
        }
        let table = Arc::new(table_for(&schema, &stored));
        let table = Table::restored_by(self.database.clone(), &table, restore);
        let scope = KvScope::new(&schema, &stored, table, self.registry.clone(), self.options);
        scope.check_layout()?;
        Ok(Arc::new(scope))
    }

    /// A table that another program made is read, too, though no schema is known of it.
    fn open_read_only(&self, schema: &Arc<Schema>) -> Result<Option<Arc<dyn ScopeStore>>> {
        let standing = self.standing(schema)?;
        let schema = match &standing {
            Some(standing) => {
                check_readable(standing, schema)?;
                Arc::new(schema.with_expiry_of(standing))
            }
            None => schema.clone(),
        };
        // A table that no schema is known of has no column for the expiry.
        let stored = match &standing {
            Some(standing) => table_of(standing),
            None => table_of(&Schema::new(&schema.name).table(&schema.table)),
        };
        let table =
            Table::read_only(self.database.clone(), &Arc::new(stored), 0, &Found::default());
        let beside = standing.as_ref().unwrap_or(&schema);
        let scope = KvScope::new(&schema, beside, table, self.registry.clone(), self.options);
        match scope.check_layout() {
            Ok(()) => Ok(Some(Arc::new(scope))),
            Err(error) if error.is_changed_table() => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn plan(&self, schema: &Schema) -> Result<Plan> {
        let standing = self.standing(schema)?;
        self.database.read(|connection| self.registry.check_table(connection, schema))?;
        let planned = |standing: Schema| plan(&standing, &schema.with_expiry_of(&standing));
        Ok(standing.map_or_else(|| Plan::empty(schema), planned))
    }

    fn migrate(&self, schema: &Schema) -> Result<Plan> {
        match self.standing(schema)? {
            Some(standing) => Ok(self.apply(&schema.with_expiry_of(&standing), Apply::OnDemand)?.1),
            None => Ok(Plan::empty(schema)),
        }
    }

    fn stored_schema(&self, scope: &str) -> Result<Option<Schema>> {
        self.database.read(|connection| self.registry.find_if_any(connection, scope))
    }

    /// The table of another program is given no column but for an expiry that records have anyway.
    fn expiry_of(&self, schema: &Schema) -> Result<ExpirySupport> {
        if schema.freshness.expires_at.is_some() || self.standing(schema)?.is_some() {
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
