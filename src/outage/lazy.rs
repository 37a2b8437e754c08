//! A store whose scopes are opened on first use.

use std::any::Any;
use std::sync::Arc;

use super::{Guarded, LazyScope};
use crate::layers::ReadOnly;
use crate::store::{Adopted, Capabilities, ExpirySupport, ScopeStore, Store};
use crate::{Plan, Result, Schema};

/// A store that opens a scope without contacting the server.
#[derive(Debug)]
pub(crate) struct Lazy(Guarded);

impl Lazy {
    pub(crate) fn new(store: Guarded) -> Self {
        Self(store)
    }

    fn scope(&self, store: Arc<dyn Store>, schema: &Arc<Schema>) -> Arc<dyn ScopeStore> {
        let capabilities = self.capabilities();
        Arc::new(LazyScope::new(schema, capabilities, move |schema| store.open(schema)))
    }
}

#[deny(clippy::missing_trait_methods)]
impl Store for Lazy {
    fn name(&self) -> &'static str {
        self.0.name()
    }

    fn capabilities(&self) -> Capabilities {
        self.0.capabilities()
    }

    fn open(&self, schema: &Arc<Schema>) -> Result<Arc<dyn ScopeStore>> {
        Ok(self.scope(Arc::new(self.0.clone()), schema))
    }

    /// Returns a lazy scope. The first call checks whether the scope exists on the server.
    fn open_read_only(&self, schema: &Arc<Schema>) -> Result<Option<Arc<dyn ScopeStore>>> {
        Ok(Some(self.scope(ReadOnly::wrap(Arc::new(self.0.clone())), schema)))
    }

    fn plan(&self, schema: &Schema) -> Result<Plan> {
        self.0.plan(schema)
    }

    fn migrate(&self, schema: &Schema) -> Result<Plan> {
        self.0.migrate(schema)
    }

    fn scopes(&self) -> Result<Vec<String>> {
        self.0.scopes()
    }

    fn implicit_schema(&self, scope: &str) -> Option<Schema> {
        self.0.implicit_schema(scope)
    }

    fn adopt(&self) -> Result<Adopted> {
        self.0.adopt()
    }

    fn database(&self) -> Option<&dyn Any> {
        self.0.database()
    }

    /// Returns the capability of the backend. The first call checks whether the table belongs to
    /// another program.
    fn expiry_of(&self, _: &Schema) -> Result<ExpirySupport> {
        Ok(self.capabilities().expiry)
    }

    fn stored_schema(&self, scope: &str) -> Result<Option<Schema>> {
        self.0.stored_schema(scope)
    }

    fn load(&self, scopes: Option<&[String]>) -> Result<()> {
        self.0.load(scopes)
    }

    fn backup(&self, scopes: Option<&[String]>) -> Result<()> {
        self.0.backup(scopes)
    }

    fn unsaved(&self) -> Result<Vec<String>> {
        self.0.unsaved()
    }

    fn ping(&self) -> Result<()> {
        self.0.ping()
    }
}
