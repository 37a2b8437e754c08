//! Memory of the process.

mod bounded;
mod builder;
mod layout;
mod rows;
mod scope;
mod sharded;
mod table;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use parking_lot::Mutex;

pub use self::builder::MemoryBuilder;
use self::rows::Rows;
use self::scope::MemoryScope;
use self::table::Table;
use crate::schema::{Apply, check_readable, table_of_another};
use crate::store::{Capabilities, ExpirySupport, Options, ScopeStore, Store, Uri};
use crate::{Plan, Result, Schema};

/// Stores records in the memory of the process, for the lifetime of the store.
///
/// The store has no bounds unless a [builder](Memory::builder) or the URI sets one
/// (`memory:?max_entries=1000`, `memory:?max_bytes=1000000`). A bound applies to all scopes
/// together; when it is reached, the least used records are evicted.
///
/// ```
/// use hilcat::{Cache, backend::Memory};
///
/// let cache = Cache::from_store(Memory::builder().max_entries(10_000).build()?);
/// let squares = cache.map::<i64, i64>("squares")?;
/// assert_eq!(squares.get(7, || 49)?, 49);
/// # Ok::<(), hilcat::Error>(())
/// ```
pub struct Memory {
    tables: Mutex<BTreeMap<String, Arc<Table>>>,
    bound: Option<bounded::Shared>,
}

impl Memory {
    /// Returns an empty store without bounds.
    pub fn new() -> Self {
        Self { tables: Mutex::default(), bound: None }
    }

    /// Returns a builder for a store with bounds.
    pub fn builder() -> MemoryBuilder {
        MemoryBuilder::default()
    }

    fn table(&self, name: &str) -> Option<Arc<Table>> {
        self.tables.lock().get(name).cloned()
    }

    /// Returns the map for the rows of a new scope.
    fn rows(&self, scope: usize) -> Arc<dyn Rows> {
        match &self.bound {
            None => Arc::new(sharded::Sharded::new()),
            Some(shared) => Arc::new(bounded::Bounded::new(shared.clone(), scope)),
        }
    }
}

impl Default for Memory {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Memory").field("bounded", &self.bound.is_some()).finish_non_exhaustive()
    }
}

/// Opens a `memory:` URI.
pub(crate) fn open(mut uri: Uri, options: Options) -> Result<(Arc<dyn Store>, Options)> {
    let options = uri.take_common(options)?;
    let builder = MemoryBuilder::from_uri(&mut uri)?;
    uri.finish(&["max_entries", "max_bytes"])?;
    Ok((Arc::new(builder.build()?), options))
}

/// Returns the schema with the expiry column of the stored records, if they have one.
fn with_expiry_of(schema: &Arc<Schema>, table: &Table) -> Arc<Schema> {
    Arc::new(schema.with_expiry_of(&table.layout()))
}

/// Checks that no other scope uses the table of a schema.
fn check_table(tables: &BTreeMap<String, Arc<Table>>, schema: &Schema) -> Result<()> {
    if tables.contains_key(&schema.name) {
        return Ok(());
    }
    match tables.iter().find(|(_, table)| table.layout().table == schema.table) {
        None => Ok(()),
        Some((other, _)) => Err(table_of_another(schema, other)),
    }
}

impl Store for Memory {
    fn name(&self) -> &'static str {
        "memory"
    }

    fn capabilities(&self) -> Capabilities {
        let evicts = self.bound.is_some();
        Capabilities {
            evicts,
            non_blocking: true,
            expiry: ExpirySupport::Full,
            ..Capabilities::new()
        }
    }

    fn open(&self, schema: &Arc<Schema>) -> Result<Arc<dyn ScopeStore>> {
        let table = {
            let mut tables = self.tables.lock();
            check_table(&tables, schema)?;
            let count = tables.len();
            let new = || Arc::new(Table::new(schema, self.rows(count)));
            tables.entry(schema.name.clone()).or_insert_with(new).clone()
        };
        let schema = with_expiry_of(schema, &table);
        table.apply(&schema, Apply::OnOpen)?;
        Ok(Arc::new(MemoryScope::new(schema, table)))
    }

    fn open_read_only(&self, schema: &Arc<Schema>) -> Result<Option<Arc<dyn ScopeStore>>> {
        let Some(table) = self.table(&schema.name) else { return Ok(None) };
        let schema = with_expiry_of(schema, &table);
        check_readable(&table.layout(), &schema)?;
        Ok(Some(Arc::new(MemoryScope::new(schema, table))))
    }

    fn plan(&self, schema: &Schema) -> Result<Plan> {
        let tables = self.tables.lock();
        check_table(&tables, schema)?;
        let table = tables.get(&schema.name);
        let plan = |table: &Arc<Table>| table.plan(&schema.with_expiry_of(&table.layout()));
        Ok(table.map_or_else(|| Plan::empty(schema), plan))
    }

    fn migrate(&self, schema: &Schema) -> Result<Plan> {
        match self.table(&schema.name) {
            Some(table) => {
                let schema = with_expiry_of(&Arc::new(schema.clone()), &table);
                table.apply(&schema, Apply::OnDemand)
            }
            None => Ok(Plan::empty(schema)),
        }
    }

    fn stored_schema(&self, scope: &str) -> Result<Option<Schema>> {
        Ok(self.table(scope).map(|table| Schema::clone(&table.layout())))
    }

    fn scopes(&self) -> Result<Vec<String>> {
        Ok(self.tables.lock().keys().cloned().collect())
    }
}
