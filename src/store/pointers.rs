//! [`Store`] for pointers to a store, so that several caches can share a store.

use std::any::Any;
use std::sync::Arc;

use super::{Adopted, Capabilities, ExpirySupport, ScopeStore, Store};
use crate::{Plan, Result, Schema};

macro_rules! forward {
    ($($pointer:ident),*) => {$(
        #[deny(clippy::missing_trait_methods)]
        impl<S: Store + ?Sized> Store for $pointer<S> {
            fn name(&self) -> &'static str {
                (**self).name()
            }

            fn capabilities(&self) -> Capabilities {
                (**self).capabilities()
            }

            fn open(&self, schema: &Arc<Schema>) -> Result<Arc<dyn ScopeStore>> {
                (**self).open(schema)
            }

            fn open_read_only(&self, schema: &Arc<Schema>) -> Result<Option<Arc<dyn ScopeStore>>> {
                (**self).open_read_only(schema)
            }

            fn plan(&self, schema: &Schema) -> Result<Plan> {
                (**self).plan(schema)
            }

            fn migrate(&self, schema: &Schema) -> Result<Plan> {
                (**self).migrate(schema)
            }

            fn scopes(&self) -> Result<Vec<String>> {
                (**self).scopes()
            }

            fn implicit_schema(&self, scope: &str) -> Option<Schema> {
                (**self).implicit_schema(scope)
            }

            fn adopt(&self) -> Result<Adopted> {
                (**self).adopt()
            }

            fn database(&self) -> Option<&dyn Any> {
                (**self).database()
            }

            fn expiry_of(&self, schema: &Schema) -> Result<ExpirySupport> {
                (**self).expiry_of(schema)
            }

            fn stored_schema(&self, scope: &str) -> Result<Option<Schema>> {
                (**self).stored_schema(scope)
            }

            fn ping(&self) -> Result<()> {
                (**self).ping()
            }

            fn load(&self, scopes: Option<&[String]>) -> Result<()> {
                (**self).load(scopes)
            }

            fn backup(&self, scopes: Option<&[String]>) -> Result<()> {
                (**self).backup(scopes)
            }

            fn unsaved(&self) -> Result<Vec<String>> {
                (**self).unsaved()
            }
        }
    )*};
}
forward!(Arc, Box);
