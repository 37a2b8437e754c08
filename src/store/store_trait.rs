//! The trait of opened engines, and what it says of them.

use std::any::Any;
use std::fmt;
use std::sync::Arc;

use super::{ExpirySupport, ScopeStore};
use crate::schema::{Migrate, Plan};
use crate::{Result, Schema};

/// What a backend does beyond the contract that all share.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Capabilities {
    /// Records outlive the process.
    pub persistent: bool,
    /// NaN can be stored. Where it cannot, it is an error before anything is written.
    pub nan: bool,
    /// The sign of a negative zero is kept. Where it is not, it comes back as zero.
    pub negative_zero: bool,
    /// Text can hold the character NUL. Where it cannot, it is an error before anything is
    /// written.
    pub nul_in_text: bool,
    /// Records are kept in tables of typed columns, which `plan` and `migrate` know.
    pub tables: bool,
    /// Something is stored at all.
    pub stores: bool,
    /// Records may go before anybody removes them, because there is room for so many only.
    pub evicts: bool,
    /// No call ever waits for a file or a server, so that futures need no thread for it.
    #[doc(alias = "immediate")]
    pub non_blocking: bool,
    /// It is opened read-only: every write is [`ErrorKind::ReadOnly`](crate::ErrorKind::ReadOnly).
    pub read_only: bool,
    /// What it does with the expiry of records. Where it is
    /// [`Unsupported`](ExpirySupport::Unsupported), a scope with a time to live is an error.
    pub expiry: ExpirySupport,
    /// It removes expired records itself, after their last stale window, so that
    /// [`purge`](ScopeStore::purge) finds none.
    pub removes_expired: bool,
    /// The number of records in a scope can be bounded by
    /// [`max_records`](crate::Schema::max_records).
    pub max_records: bool,
    /// Processes can share computations:
    /// [`SingleFlight::Shared`](crate::SingleFlight::Shared) is honoured.
    pub shared_single_flight: bool,
}

impl Capabilities {
    /// Everything that the contract asks for and nothing beyond: in memory, any value.
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

/// The tables that stand in a database, as scopes.
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
    /// The name of the backend, for messages.
    fn name(&self) -> &'static str;

    /// What the backend does beyond the common contract.
    fn capabilities(&self) -> Capabilities {
        Capabilities::new()
    }

    /// Opens a scope: makes its table, or upgrades it as the schema's policy says.
    ///
    /// The schema is valid. Opening a scope twice, in one process or in many, gives two handles on
    /// the same records.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::SchemaChange`](crate::ErrorKind::SchemaChange) with the plan where the table
    /// differs in a way that the policy does not allow to change;
    /// [`ErrorKind::Unsupported`](crate::ErrorKind::Unsupported) where the engine cannot hold such
    /// a schema.
    fn open(&self, schema: &Arc<Schema>) -> Result<Arc<dyn ScopeStore>>;

    /// Opens a scope to be read, and changes nothing that is stored: no table, directory, column or
    /// registry is made, and records are never dropped. `None` if the backend has nothing of the
    /// scope.
    ///
    /// A column of the schema that the stored records lack reads as its default, or NULL. Only the
    /// methods of the returned scope that read are called. A backend without this method cannot be
    /// opened read-only.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::SchemaChange`](crate::ErrorKind::SchemaChange) with the plan if the records
    /// cannot be read under the schema as they are stored;
    /// [`ErrorKind::Unsupported`](crate::ErrorKind::Unsupported) as [`open`](Store::open), and if
    /// the backend has no such method.
    fn open_read_only(&self, schema: &Arc<Schema>) -> Result<Option<Arc<dyn ScopeStore>>> {
        let _ = schema;
        Err(crate::Error::unsupported(format!("{} cannot be opened read-only", self.name())))
    }

    /// What [`open`](Store::open) or [`migrate`](Store::migrate) would change. Changes nothing.
    ///
    /// # Errors
    ///
    /// Where the engine cannot be asked.
    fn plan(&self, schema: &Schema) -> Result<Plan> {
        Ok(Plan::empty(schema))
    }

    /// Applies the safe steps, and under [`Migrate::Recreate`] whatever
    /// else is needed; gives the plan that was applied.
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

    /// The names of the scopes that the backend has, sorted: every one whose opening or first
    /// write was acknowledged before the call.
    /// A backend that has scopes nowhere but in their records may leave out those without any.
    ///
    /// # Errors
    ///
    /// Where the engine cannot be asked.
    fn scopes(&self) -> Result<Vec<String>>;

    /// Returns the schema of a scope that needs no declaration, since the backend keeps all scopes
    /// in one form.
    #[doc(alias = "undeclared")]
    fn implicit_schema(&self, scope: &str) -> Option<Schema> {
        let _ = scope;
        None
    }

    /// The tables that stand, as scopes.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Unsupported`](crate::ErrorKind::Unsupported) where the backend has no tables.
    fn adopt(&self) -> Result<Adopted> {
        Err(crate::Error::unsupported(format!("{} has no tables to adopt", self.name())))
    }

    /// The database behind it, as Diesel is lent its connections; none where there is none.
    #[doc(hidden)]
    fn database(&self) -> Option<&dyn Any> {
        None
    }

    /// What is done with the expiry of the records of a scope of this schema, be it opened or not:
    /// what [`Capabilities::expiry`] says, unless its records have no place for it, as in a table
    /// that another program made.
    ///
    /// # Errors
    ///
    /// Where the engine cannot be asked.
    fn expiry_of(&self, schema: &Schema) -> Result<ExpirySupport> {
        let _ = schema;
        Ok(self.capabilities().expiry)
    }

    /// The schema under which the records of a scope are stored, as [`open`](Store::open) was given
    /// it; `None` if there is no such scope or the backend does not keep schemas.
    ///
    /// # Errors
    ///
    /// Where the engine cannot be asked.
    fn stored_schema(&self, scope: &str) -> Result<Option<Schema>> {
        Ok(self.implicit_schema(scope))
    }

    /// Asks the engine something cheap, to find out whether it answers.
    ///
    /// # Errors
    ///
    /// Where the engine cannot be asked.
    fn ping(&self) -> Result<()> {
        self.scopes().map(drop)
    }

    /// Reads scopes (all where none is named) from the storage behind a staged cache; elsewhere
    /// there is nothing to do.
    ///
    /// # Errors
    ///
    /// Where the storage fails.
    fn load(&self, scopes: Option<&[String]>) -> Result<()> {
        let _ = scopes;
        Ok(())
    }

    /// Writes scopes (all where none is named) to the storage behind a staged cache; elsewhere
    /// there is nothing to do.
    ///
    /// # Errors
    ///
    /// Where the storage fails.
    fn backup(&self, scopes: Option<&[String]>) -> Result<()> {
        let _ = scopes;
        Ok(())
    }

    /// The names of the scopes, sorted, of which a staged cache has work that no
    /// [`backup`](Store::backup) wrote; elsewhere there are none.
    ///
    /// # Errors
    ///
    /// Where that cannot be told.
    fn unsaved(&self) -> Result<Vec<String>> {
        Ok(Vec::new())
    }
}
