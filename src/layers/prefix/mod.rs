//! A layer that keeps its scopes in a namespace of a store.

mod names;
mod scope;

use std::sync::Arc;

pub(crate) use self::names::Namespace;
use self::scope::PrefixedScope;
use super::LayerStore;
use crate::store::{Adopted, Capabilities, ExpirySupport, ScopeStore, Store};
use crate::{Error, Plan, Result, Schema};

/// The store of [`Cache::prefix`](crate::Cache::prefix).
#[derive(Debug)]
pub(crate) struct Prefixed {
    inner: LayerStore,
    namespace: Namespace,
}

impl Prefixed {
    pub(crate) fn new(inner: LayerStore, namespace: Namespace) -> Self {
        Self { inner, namespace }
    }

    /// Returns the schema under its name in the inner store.
    fn inner_schema(&self, schema: &Schema) -> Result<Schema> {
        if self.namespace.is_empty() {
            return Err(Error::invalid_config(
                "the prefix is empty: name a prefix for the scopes of the namespace",
            ));
        }
        let mut schema = schema.clone();
        schema.name = self.namespace.join(&schema.name);
        schema.table = self.namespace.join(&schema.table);
        Ok(schema)
    }

    /// Returns a schema of the inner store under its name in this namespace, or `None` if it
    /// belongs to another one.
    fn outer_schema(&self, mut schema: Schema) -> Option<Schema> {
        schema.name = self.namespace.split(&schema.name)?;
        schema.table = self.namespace.split(&schema.table)?;
        Some(schema)
    }

    fn outer_names(&self, names: Vec<String>) -> Vec<String> {
        let mut names: Vec<String> =
            names.iter().filter_map(|name| self.namespace.split(name)).collect();
        names.sort_unstable();
        names
    }

    /// Returns the names of scopes in the inner store; `None` means all scopes of this namespace.
    fn inner_names(&self, scopes: Option<&[String]>) -> Result<Vec<String>> {
        let own = match scopes {
            Some(scopes) => scopes.to_vec(),
            None => self.scopes()?,
        };
        Ok(own.iter().map(|name| self.namespace.join(name)).collect())
    }

    /// Returns a plan with the name of the scope in this namespace. Its SQL has the inner names.
    fn own_plan(schema: &Schema, plan: Plan) -> Plan {
        Plan { scope: schema.name.clone(), ..plan }
    }
}

#[deny(clippy::missing_trait_methods)]
impl Store for Prefixed {
    fn name(&self) -> &'static str {
        self.inner.store.name()
    }

    fn capabilities(&self) -> Capabilities {
        self.inner.store.capabilities()
    }

    fn open(&self, schema: &Arc<Schema>) -> Result<Arc<dyn ScopeStore>> {
        let inner = self.inner.open(&Arc::new(self.inner_schema(schema)?))?;
        let schema = Arc::new(schema.with_expiry_of(inner.schema()));
        Ok(Arc::new(PrefixedScope { schema, inner }))
    }

    fn open_read_only(&self, schema: &Arc<Schema>) -> Result<Option<Arc<dyn ScopeStore>>> {
        let inner = self.inner.open_read_only(&Arc::new(self.inner_schema(schema)?))?;
        let own = |inner: Arc<dyn ScopeStore>| -> Arc<dyn ScopeStore> {
            let schema = Arc::new(schema.with_expiry_of(inner.schema()));
            Arc::new(PrefixedScope { schema, inner })
        };
        Ok(inner.map(own))
    }

    fn plan(&self, schema: &Schema) -> Result<Plan> {
        let under = self.inner_schema(schema)?;
        Ok(Self::own_plan(schema, self.inner.call(|inner| inner.plan(&under))?))
    }

    fn migrate(&self, schema: &Schema) -> Result<Plan> {
        let under = self.inner_schema(schema)?;
        Ok(Self::own_plan(schema, self.inner.call(|inner| inner.migrate(&under))?))
    }

    fn scopes(&self) -> Result<Vec<String>> {
        Ok(self.outer_names(self.inner.call(|inner| inner.scopes())?))
    }

    fn implicit_schema(&self, scope: &str) -> Option<Schema> {
        let under = self.inner.store.implicit_schema(&self.namespace.join(scope))?;
        Some(Schema { name: scope.to_owned(), ..under })
    }

    fn stored_schema(&self, scope: &str) -> Result<Option<Schema>> {
        let under = self.inner.call(|inner| inner.stored_schema(&self.namespace.join(scope)))?;
        Ok(under.and_then(|schema| self.outer_schema(schema)))
    }

    fn expiry_of(&self, schema: &Schema) -> Result<ExpirySupport> {
        let under = self.inner_schema(schema)?;
        self.inner.call(|inner| inner.expiry_of(&under))
    }

    fn adopt(&self) -> Result<Adopted> {
        let adopted = self.inner.call(|inner| inner.adopt())?;
        let schemas =
            adopted.schemas.into_iter().filter_map(|schema| self.outer_schema(schema)).collect();
        let own = |(table, reason): (String, String)| Some((self.namespace.split(&table)?, reason));
        let skipped_tables = adopted.skipped_tables.into_iter().filter_map(own).collect();
        Ok(Adopted { schemas, skipped_tables })
    }

    fn database(&self) -> Option<&dyn std::any::Any> {
        self.inner.store.database()
    }

    fn load(&self, scopes: Option<&[String]>) -> Result<()> {
        let names = self.inner_names(scopes)?;
        self.inner.call(|inner| inner.load(Some(&names)))
    }

    /// Without names, only the scopes with unsaved work are backed up.
    fn backup(&self, scopes: Option<&[String]>) -> Result<()> {
        let names = match scopes {
            Some(_) => self.inner_names(scopes)?,
            None => self.inner_names(Some(&self.unsaved()?))?,
        };
        self.inner.call(|inner| inner.backup(Some(&names)))
    }

    fn ping(&self) -> Result<()> {
        self.inner.call(|inner| inner.ping())
    }

    fn unsaved(&self) -> Result<Vec<String>> {
        Ok(self.outer_names(self.inner.call(|inner| inner.unsaved())?))
    }
}
