//! The SQL backends: typed tables through Diesel, with a table for each scope and a column for each
//! field.
//!
//! Everything is generic over a [`Dialect`](dialect::Dialect), which each engine implements in
//! `dialect/`. A module uses only those before it in this list: `error`, `statement`, `dialect`
//! (with `connection`), `migration`, `database`, `table`, `diesel`, and the backends.

/// Implements [`Store`](crate::store::Store) for a type that wraps a store, by forwarding to it.
macro_rules! store_of_tables {
    ($store:ty) => {
        // Every method must be forwarded, including those with a default body.
        #[deny(clippy::missing_trait_methods)]
        impl $crate::store::Store for $store {
            fn name(&self) -> &'static str {
                self.0.name()
            }

            fn capabilities(&self) -> $crate::store::Capabilities {
                self.0.capabilities()
            }

            fn open(
                &self,
                schema: &::std::sync::Arc<$crate::Schema>,
            ) -> $crate::Result<::std::sync::Arc<dyn $crate::store::ScopeStore>> {
                self.0.open(schema)
            }

            fn open_read_only(
                &self,
                schema: &::std::sync::Arc<$crate::Schema>,
            ) -> $crate::Result<Option<::std::sync::Arc<dyn $crate::store::ScopeStore>>> {
                self.0.open_read_only(schema)
            }

            fn plan(&self, schema: &$crate::Schema) -> $crate::Result<$crate::Plan> {
                self.0.plan(schema)
            }

            fn migrate(&self, schema: &$crate::Schema) -> $crate::Result<$crate::Plan> {
                self.0.migrate(schema)
            }

            fn scopes(&self) -> $crate::Result<Vec<String>> {
                self.0.scopes()
            }

            fn implicit_schema(&self, scope: &str) -> Option<$crate::Schema> {
                self.0.implicit_schema(scope)
            }

            fn adopt(&self) -> $crate::Result<$crate::store::Adopted> {
                self.0.adopt()
            }

            fn ping(&self) -> $crate::Result<()> {
                self.0.ping()
            }

            fn load(&self, scopes: Option<&[String]>) -> $crate::Result<()> {
                self.0.load(scopes)
            }

            fn backup(&self, scopes: Option<&[String]>) -> $crate::Result<()> {
                self.0.backup(scopes)
            }

            fn unsaved(&self) -> $crate::Result<Vec<String>> {
                self.0.unsaved()
            }

            fn expiry_of(
                &self,
                schema: &$crate::Schema,
            ) -> $crate::Result<$crate::store::ExpirySupport> {
                self.0.expiry_of(schema)
            }

            fn stored_schema(&self, scope: &str) -> $crate::Result<Option<$crate::Schema>> {
                self.0.stored_schema(scope)
            }

            fn database(&self) -> Option<&dyn ::std::any::Any> {
                self.0.database()
            }
        }
    };
}

pub(crate) mod connection;
mod database;
mod dialect;
pub(crate) mod diesel;
mod error;
#[cfg(feature = "sqlite")]
pub(crate) mod kv;
mod migration;
#[cfg(feature = "mysql")]
pub(crate) mod mysql;
#[cfg(feature = "postgresql")]
pub(crate) mod postgresql;
#[cfg(feature = "sqlite")]
pub(crate) mod sqlite;
mod statement;
pub(crate) mod table;
