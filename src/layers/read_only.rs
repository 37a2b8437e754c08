//! A layer that refuses writes.

use std::sync::Arc;

use parking_lot::Mutex;

use crate::store::{Adopted, Capabilities, ExpirySupport, Keys, Leases, Rows, ScopeStore, Store};
use crate::{Error, Key, Plan, Result, Row, Schema, Value};

/// A store whose scopes are opened by [`Store::open_read_only`] and refuse every write.
#[derive(Debug)]
pub(crate) struct ReadOnly(Arc<dyn Store>);

impl ReadOnly {
    /// Wraps a store, unless it is read-only already.
    pub(crate) fn wrap(store: Arc<dyn Store>) -> Arc<dyn Store> {
        match store.capabilities().read_only {
            true => store,
            false => Arc::new(Self(store)),
        }
    }
}

#[deny(clippy::missing_trait_methods)]
impl Store for ReadOnly {
    fn name(&self) -> &'static str {
        self.0.name()
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities { read_only: true, ..self.0.capabilities() }
    }

    fn open(&self, schema: &Arc<Schema>) -> Result<Arc<dyn ScopeStore>> {
        Ok(Arc::new(ReadOnlyScope::open(&self.0, schema)?))
    }

    fn open_read_only(&self, schema: &Arc<Schema>) -> Result<Option<Arc<dyn ScopeStore>>> {
        self.0.open_read_only(schema)
    }

    fn plan(&self, schema: &Schema) -> Result<Plan> {
        self.0.plan(schema)
    }

    fn migrate(&self, _: &Schema) -> Result<Plan> {
        Error::refused_write()
    }

    fn scopes(&self) -> Result<Vec<String>> {
        self.0.scopes()
    }

    fn implicit_schema(&self, scope: &str) -> Option<Schema> {
        self.0.implicit_schema(scope)
    }

    fn stored_schema(&self, scope: &str) -> Result<Option<Schema>> {
        self.0.stored_schema(scope)
    }

    fn ping(&self) -> Result<()> {
        self.0.ping()
    }

    fn expiry_of(&self, schema: &Schema) -> Result<ExpirySupport> {
        self.0.expiry_of(schema)
    }

    fn adopt(&self) -> Result<Adopted> {
        self.0.adopt()
    }

    fn database(&self) -> Option<&dyn std::any::Any> {
        self.0.database()
    }

    /// Does nothing: scopes are read directly from the store.
    fn load(&self, _: Option<&[String]>) -> Result<()> {
        Ok(())
    }

    /// Does nothing: there is never unsaved work.
    fn backup(&self, _: Option<&[String]>) -> Result<()> {
        Ok(())
    }

    fn unsaved(&self) -> Result<Vec<String>> {
        Ok(Vec::new())
    }
}

/// A scope of a read-only store. While the scope does not exist in the store, every read tries to
/// open it again, and is a miss.
#[derive(Debug)]
struct ReadOnlyScope {
    store: Arc<dyn Store>,
    schema: Arc<Schema>,
    found: Mutex<Option<Arc<dyn ScopeStore>>>,
}

impl ReadOnlyScope {
    fn open(store: &Arc<dyn Store>, schema: &Arc<Schema>) -> Result<Self> {
        let found = store.open_read_only(schema)?;
        let stored = found.as_ref().map_or(schema, |found| found.schema());
        let schema = Arc::new(schema.with_expiry_of(stored));
        let store = store.clone();
        Ok(Self { store, schema, found: Mutex::new(found) })
    }

    /// Returns the scope, or `None` if the store has none. The lock is not held during calls of the
    /// store.
    fn scope(&self) -> Result<Option<Arc<dyn ScopeStore>>> {
        if let Some(scope) = &*self.found.lock() {
            return Ok(Some(scope.clone()));
        }
        let found = self.store.open_read_only(&self.schema)?;
        self.found.lock().clone_from(&found);
        Ok(found)
    }

    /// Makes a call that reads; `T::default()` is the result for a scope without records. If the
    /// table was dropped or changed since it was opened, it is opened again.
    fn read<T: Default>(&self, call: impl Fn(&dyn ScopeStore) -> Result<T>) -> Result<T> {
        let Some(scope) = self.scope()? else { return Ok(T::default()) };
        match call(&*scope) {
            Err(error) if error.is_changed_table() => {
                *self.found.lock() = None;
                self.scope()?.map_or_else(|| Ok(T::default()), |scope| call(&*scope))
            }
            result => result,
        }
    }
}

/// A listing with an empty default, for scopes without records.
struct Listed<T>(Box<dyn Iterator<Item = Result<T>> + Send>);

impl<T: 'static> Default for Listed<T> {
    fn default() -> Self {
        Self(Box::new(std::iter::empty()))
    }
}

#[deny(clippy::missing_trait_methods)]
impl ScopeStore for ReadOnlyScope {
    fn schema(&self) -> &Arc<Schema> {
        &self.schema
    }

    fn exists(&self, key: &Key) -> Result<bool> {
        self.read(|scope| scope.exists(key))
    }

    fn fetch(&self, key: &Key) -> Result<Option<Row>> {
        self.read(|scope| scope.fetch(key))
    }

    fn fetch_many(&self, keys: &[Key]) -> Result<Vec<Option<Row>>> {
        let mut rows = self.read(|scope| scope.fetch_many(keys))?;
        rows.resize(keys.len(), None);
        Ok(rows)
    }

    fn set(&self, _: Row) -> Result<()> {
        Error::refused_write()
    }

    fn update(&self, _: Row) -> Result<Option<Row>> {
        Error::refused_write()
    }

    fn insert(&self, _: Row) -> Result<Option<Row>> {
        Error::refused_write()
    }

    fn insert_many(&self, _: Vec<Row>) -> Result<Vec<Option<Row>>> {
        Error::refused_write()
    }

    fn set_many(&self, _: Vec<Row>) -> Result<()> {
        Error::refused_write()
    }

    fn pop(&self, _: &Key) -> Result<Option<Row>> {
        Error::refused_write()
    }

    fn pop_many(&self, _: &[Key]) -> Result<Vec<Option<Row>>> {
        Error::refused_write()
    }

    fn keys(&self) -> Result<Keys> {
        Ok(self.read(|scope| scope.keys().map(Listed))?.0)
    }

    fn rows(&self) -> Result<Rows> {
        Ok(self.read(|scope| scope.rows().map(Listed))?.0)
    }

    fn len(&self) -> Result<u64> {
        self.read(|scope| scope.len())
    }

    fn clear(&self) -> Result<()> {
        Error::refused_write()
    }

    fn snapshot(&self) -> Result<Vec<Row>> {
        self.read(|scope| scope.snapshot())
    }

    fn replace_all(&self, _: Vec<Row>) -> Result<()> {
        Error::refused_write()
    }

    fn replace_expired(&self, _: Vec<Row>, _: i64) -> Result<Vec<Option<Row>>> {
        Error::refused_write()
    }

    fn remove_expired(&self, _: &[Key], _: i64) -> Result<()> {
        Error::refused_write()
    }

    fn replace_unchanged(&self, _: Option<&Row>, _: Row) -> Result<bool> {
        Error::refused_write()
    }

    fn touch(&self, _: &Key, _: i64, _: Value) -> Result<bool> {
        Error::refused_write()
    }

    fn purge(&self, _: i64, _: usize) -> Result<usize> {
        Error::refused_write()
    }

    fn trim(&self, _: u64, _: usize) -> Result<usize> {
        Error::refused_write()
    }

    fn live_keys(&self, at: i64) -> Result<Keys> {
        Ok(self.read(|scope| scope.live_keys(at).map(Listed))?.0)
    }

    fn live_rows(&self, at: i64) -> Result<Rows> {
        Ok(self.read(|scope| scope.live_rows(at).map(Listed))?.0)
    }

    fn live_len(&self, at: i64) -> Result<u64> {
        self.read(|scope| scope.live_len(at))
    }

    fn leases(&self) -> Option<&dyn Leases> {
        None
    }

    fn table(&self) -> Option<&dyn std::any::Any> {
        None
    }
}
