//! Several scopes in one table.
//!
//! A single table has one schema, but each case opens scopes with its own schemas. So scopes that are
//! first opened with the same columns share a table. A scope that is opened with other columns later
//! changes this table.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use hilcat::backend::{SingleTable, Tables};
use hilcat::store::{Capabilities, ScopeStore, Store};
use hilcat::{ColumnType, Plan, Result, Schema};

/// The columns with which a scope was first opened, with their types, and the positions of its key.
type Columns = (Vec<(String, ColumnType)>, Vec<usize>);

/// The columns of each scope, which determine its table.
#[derive(Debug, Default)]
pub struct InTables(Mutex<BTreeMap<String, Columns>>);

impl InTables {
    fn columns_of(&self, schema: &Schema) -> Columns {
        let columns = schema.columns().iter().map(|column| (column.name.clone(), column.ty));
        let columns = (columns.collect(), schema.key_positions().to_vec());
        self.0.lock().unwrap().entry(schema.name().to_owned()).or_insert(columns).clone()
    }
}

/// A database whose scopes share tables with this prefix.
#[derive(Debug)]
pub struct OneTable<T> {
    pub database: T,
    pub prefix: String,
    pub tables: Arc<InTables>,
}

impl<T: Tables + Clone> OneTable<T> {
    fn table(&self, columns: &Columns, mut records: Schema) -> Result<SingleTable> {
        use std::hash::{DefaultHasher, Hash, Hasher};
        let mut hasher = DefaultHasher::new();
        columns.hash(&mut hasher);
        records = records.table(format!("{} {:x}", self.prefix, hasher.finish()));
        SingleTable::new(self.database.clone(), records)
    }

    fn of(&self, schema: &Schema) -> Result<SingleTable> {
        self.table(&self.tables.columns_of(schema), schema.clone())
    }
}

impl<T: Tables + Clone> Store for OneTable<T> {
    fn name(&self) -> &'static str {
        self.database.name()
    }

    fn capabilities(&self) -> Capabilities {
        self.database.capabilities()
    }

    fn open(&self, schema: &Arc<Schema>) -> Result<Arc<dyn ScopeStore>> {
        self.of(schema)?.open(schema)
    }

    fn open_read_only(&self, schema: &Arc<Schema>) -> Result<Option<Arc<dyn ScopeStore>>> {
        self.of(schema)?.open_read_only(schema)
    }

    fn plan(&self, schema: &Schema) -> Result<Plan> {
        self.of(schema)?.plan(schema)
    }

    fn migrate(&self, schema: &Schema) -> Result<Plan> {
        self.of(schema)?.migrate(schema)
    }

    fn scopes(&self) -> Result<Vec<String>> {
        let tables: Vec<Columns> = self.tables.0.lock().unwrap().values().cloned().collect();
        let mut scopes = BTreeSet::new();
        for columns in tables {
            // The names of scopes do not depend on the columns of the records.
            let any = Schema::new("any").unique(hilcat::Column::new("id", ColumnType::Text));
            scopes.extend(self.table(&columns, any)?.scopes()?);
        }
        Ok(scopes.into_iter().collect())
    }
}
