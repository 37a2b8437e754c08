//! The store of a server, behind a circuit breaker.

use std::any::Any;
use std::sync::Arc;

use super::Remote;
use super::scope::GuardedScope;
use crate::store::{Adopted, Capabilities, ExpirySupport, ScopeStore, Store};
use crate::{Plan, Result, Schema};

/// A store whose calls pass the circuit breaker of its cache.
#[derive(Debug, Clone)]
pub(crate) struct Guarded(pub(super) Arc<Remote>);

impl Guarded {
    pub(crate) fn new(remote: Arc<Remote>) -> Self {
        Self(remote)
    }

    fn guard(&self, scope: Arc<dyn ScopeStore>) -> Arc<dyn ScopeStore> {
        Arc::new(GuardedScope::new(self.0.clone(), scope))
    }
}

#[deny(clippy::missing_trait_methods)]
impl Store for Guarded {
    fn name(&self) -> &'static str {
        self.0.name()
    }

    fn capabilities(&self) -> Capabilities {
        self.0.capabilities()
    }

    fn open(&self, schema: &Arc<Schema>) -> Result<Arc<dyn ScopeStore>> {
        self.0.with_store(|store| store.open(schema)).map(|scope| self.guard(scope))
    }

    fn open_read_only(&self, schema: &Arc<Schema>) -> Result<Option<Arc<dyn ScopeStore>>> {
        let scope = self.0.with_store(|store| store.open_read_only(schema))?;
        Ok(scope.map(|scope| self.guard(scope)))
    }

    fn plan(&self, schema: &Schema) -> Result<Plan> {
        self.0.with_store(|store| store.plan(schema))
    }

    fn migrate(&self, schema: &Schema) -> Result<Plan> {
        self.0.with_store(|store| store.migrate(schema))
    }

    fn scopes(&self) -> Result<Vec<String>> {
        self.0.with_store(|store| store.scopes())
    }

    /// `None` while the server cannot be connected to.
    fn implicit_schema(&self, scope: &str) -> Option<Schema> {
        self.0.with_store(|store| Ok(store.implicit_schema(scope))).ok().flatten()
    }

    fn adopt(&self) -> Result<Adopted> {
        self.0.with_store(|store| store.adopt())
    }

    /// `None` while the server cannot be connected to. Queries on a checked-out connection do not
    /// pass the breaker.
    fn database(&self) -> Option<&dyn Any> {
        self.0.store().ok()?.database()
    }

    fn expiry_of(&self, schema: &Schema) -> Result<ExpirySupport> {
        self.0.with_store(|store| store.expiry_of(schema))
    }

    fn stored_schema(&self, scope: &str) -> Result<Option<Schema>> {
        self.0.with_store(|store| store.stored_schema(scope))
    }

    fn load(&self, scopes: Option<&[String]>) -> Result<()> {
        self.0.with_store(|store| store.load(scopes))
    }

    fn backup(&self, scopes: Option<&[String]>) -> Result<()> {
        self.0.with_store(|store| store.backup(scopes))
    }

    fn unsaved(&self) -> Result<Vec<String>> {
        self.0.with_store(|store| store.unsaved())
    }

    fn ping(&self) -> Result<()> {
        self.0.with_store(|store| store.ping())
    }
}
