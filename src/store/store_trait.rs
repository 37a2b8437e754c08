//! The trait of opened engines, and their capabilities.

use std::any::Any;
use std::fmt;
use std::sync::Arc;

use super::{ExpirySupport, ScopeStore};
use crate::schema::{Migrate, Plan};
use crate::{Result, Schema};

/// The capabilities of a backend beyond the common contract.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Capabilities {
    /// Records outlive the process.
    pub persistent: bool,
    /// NaN can be stored. If not, it is an error before anything is written.
    pub nan: bool,
    /// The sign of a negative zero is kept. If not, zero is returned.
    pub negative_zero: bool,
    /// Text can contain the character NUL. If not, it is an error before anything is written.
    pub nul_in_text: bool,
    /// Records are stored in tables of typed columns, to which `plan` and `migrate` apply.
    pub tables: bool,
    /// Records are stored at all; `false` for `noop:`.
    pub stores: bool,
    /// The size is bounded, and records may be evicted.
    pub evicts: bool,
    /// No call ever waits for a file or a server, so futures call the store on their own thread.
    #[doc(alias = "immediate")]
    pub non_blocking: bool,
    /// The store is opened read-only: every write is an error of
    /// [`ErrorKind::ReadOnly`](crate::ErrorKind::ReadOnly).
    pub read_only: bool,
    /// The support for the expiry of records. With [`Unsupported`](ExpirySupport::Unsupported), a
    /// scope with a time to live is an error.
    pub expiry: ExpirySupport,
    /// The backend removes expired records itself, after their last stale window, so
    /// [`purge`](ScopeStore::purge) finds none.
    pub removes_expired: bool,
    /// The number of records in a scope can be bounded by
    /// [`max_records`](crate::Schema::max_records).
    pub max_records: bool,
    /// Processes can share computations by
    /// [`SingleFlight::Shared`](crate::SingleFlight::Shared).
    pub shared_single_flight: bool,
}

impl Capabilities {
    /// Returns the capabilities of a store in memory that holds any value and supports nothing
    /// beyond the common contract.
    pub const fn new() -> Self {
        Self {
            persistent: false,
            nan: true,
            negative_zero: true,
            nul_in_text: true,
            tables: false,
            stores: true,
            evicts: false,
            non_blocking: false,
            read_only: false,
            expiry: ExpirySupport::Unsupported,
            removes_expired: false,
            max_records: false,
            shared_single_flight: false,
        }
    }
}

impl Default for Capabilities {
    fn default() -> Self {
        Self::new()
    }
}

/// The existing tables of a database, as scopes.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct Adopted {
    /// A schema for each table that can be a scope.
    pub schemas: Vec<Schema>,
    /// The tables that cannot, each with the reason.
    #[doc(alias = "left_out")]
    pub skipped_tables: Vec<(String, String)>,
}

/// An opened engine that stores rows.
pub trait Store: Send + Sync + fmt::Debug {
    /// Returns the name of the backend, for messages.
    fn name(&self) -> &'static str;

    /// Returns the capabilities of the backend beyond the common contract.
    fn capabilities(&self) -> Capabilities {
        Capabilities::new()
    }

    /// Opens a scope. Creates its table, or migrates it as the schema's policy allows.
    ///
    /// The schema is valid. All handles on a scope, in one process or in many, see the same records.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::SchemaChange`](crate::ErrorKind::SchemaChange) with the plan if the table
    /// differs in a way that the policy does not allow to change;
    /// [`ErrorKind::Unsupported`](crate::ErrorKind::Unsupported) if the engine cannot hold the
    /// schema.
    fn open(&self, schema: &Arc<Schema>) -> Result<Arc<dyn ScopeStore>>;

    /// Opens a scope for reading, or returns `None` if it does not exist. Changes nothing that is
    /// stored: it creates no table, directory, column or registry, and never drops records.
    ///
    /// A column of the schema that the stored records lack reads as its default, or NULL. Only the
    /// reading methods of the returned scope are called. A backend without this method cannot be
    /// opened read-only.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::SchemaChange`](crate::ErrorKind::SchemaChange) with the plan if the records
    /// cannot be read under the schema without a migration;
    /// [`ErrorKind::Unsupported`](crate::ErrorKind::Unsupported) as [`open`](Store::open), and if
    /// the backend does not implement this method.
    fn open_read_only(&self, schema: &Arc<Schema>) -> Result<Option<Arc<dyn ScopeStore>>> {
        let _ = schema;
        Err(crate::Error::unsupported(format!("{} cannot be opened read-only", self.name())))
    }

    /// Returns what [`open`](Store::open) or [`migrate`](Store::migrate) would change. Changes
    /// nothing.
    ///
    /// # Errors
    ///
    /// If the engine cannot be queried.
    fn plan(&self, schema: &Schema) -> Result<Plan> {
        Ok(Plan::empty(schema))
    }

    /// Applies the safe steps, and under [`Migrate::Recreate`] also the others. Returns the applied
    /// plan.
    ///
    /// # Errors
    ///
    /// As [`open`](Store::open).
    fn migrate(&self, schema: &Schema) -> Result<Plan> {
        let plan = self.plan(schema)?;
        let mut schema = schema.clone();
        if schema.migrate == Migrate::Manual {
            schema.migrate = Migrate::Safe;
        }
        self.open(&Arc::new(schema))?;
        Ok(plan)
    }

    /// Returns the sorted names of the scopes. The list contains every scope whose opening or first
    /// write was acknowledged before the call. A backend that stores nothing but records may omit
    /// empty scopes.
    ///
    /// # Errors
    ///
    /// If the engine cannot be queried.
    fn scopes(&self) -> Result<Vec<String>>;

    /// Returns the schema of a scope that needs no declaration, if the backend stores all scopes in
    /// the same form.
    #[doc(alias = "undeclared")]
    fn implicit_schema(&self, scope: &str) -> Option<Schema> {
        let _ = scope;
        None
    }

    /// Returns the existing tables as scopes.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Unsupported`](crate::ErrorKind::Unsupported) if the backend has no tables.
    fn adopt(&self) -> Result<Adopted> {
        Err(crate::Error::unsupported(format!("{} has no tables to adopt", self.name())))
    }

    /// Returns the database whose connections Diesel can use, or `None` if there is none.
    #[doc(hidden)]
    fn database(&self) -> Option<&dyn Any> {
        None
    }

    /// Returns the support for expiry in a scope with this schema, opened or not. It is
    /// [`Capabilities::expiry`], unless the records have no place for an expiry, as in a table of
    /// another program.
    ///
    /// # Errors
    ///
    /// If the engine cannot be queried.
    fn expiry_of(&self, schema: &Schema) -> Result<ExpirySupport> {
        let _ = schema;
        Ok(self.capabilities().expiry)
    }

    /// Returns the stored schema of a scope, as passed to [`open`](Store::open), or `None` if there
    /// is no such scope or the backend does not store schemas.
    ///
    /// # Errors
    ///
    /// If the engine cannot be queried.
    fn stored_schema(&self, scope: &str) -> Result<Option<Schema>> {
        Ok(self.implicit_schema(scope))
    }

    /// Makes a cheap request, to check that the engine responds.
    ///
    /// # Errors
    ///
    /// If the engine cannot be queried.
    fn ping(&self) -> Result<()> {
        self.scopes().map(drop)
    }

    /// Loads the named scopes, or all for `None`, from the storage of a staged cache. Other stores do
    /// nothing.
    ///
    /// # Errors
    ///
    /// If the storage fails.
    fn load(&self, scopes: Option<&[String]>) -> Result<()> {
        let _ = scopes;
        Ok(())
    }

    /// Writes the named scopes, or all for `None`, to the storage of a staged cache. Other stores do
    /// nothing.
    ///
    /// # Errors
    ///
    /// If the storage fails.
    fn backup(&self, scopes: Option<&[String]>) -> Result<()> {
        let _ = scopes;
        Ok(())
    }

    /// Returns the sorted names of the scopes of a staged cache with changes since the last
    /// [`backup`](Store::backup). Other stores have none.
    ///
    /// # Errors
    ///
    /// If a member of the cache fails.
    fn unsaved(&self) -> Result<Vec<String>> {
        Ok(Vec::new())
    }
}
