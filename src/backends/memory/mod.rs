//! The backend in the memory of the process.

use std::collections::BTreeMap;
use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::{Mutex, RwLock};

use crate::store::{Capabilities, Keys, Options, Rows, ScopeStore, Store, Uri};
use crate::{Key, Result, Row, Schema};

/// Keeps records in the memory of the process.
#[derive(Debug, Default)]
pub struct Memory {
    scopes: Mutex<BTreeMap<String, Arc<RwLock<HashMap<Key, Row>>>>>,
}

impl Memory {
    /// An empty store without bounds.
    pub fn new() -> Self {
        Self::default()
    }
}

/// Opens `memory:`.
pub(crate) fn open(mut uri: Uri, options: Options) -> Result<(Arc<dyn Store>, Options)> {
    let options = uri.take_common(options)?;
    uri.finish(&["max_entries", "max_bytes"])?;
    Ok((Arc::new(Memory::new()), options))
}

impl Store for Memory {
    fn name(&self) -> &'static str {
        "memory"
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities::new()
    }

    fn open(&self, schema: &Arc<Schema>) -> Result<Arc<dyn ScopeStore>> {
        let mut scopes = self.scopes.lock();
        let rows = scopes.entry(schema.name.clone()).or_default().clone();
        Ok(Arc::new(MemoryScope { schema: schema.clone(), rows }))
    }

    fn scopes(&self) -> Result<Vec<String>> {
        Ok(self.scopes.lock().keys().cloned().collect())
    }
}

#[derive(Debug)]
struct MemoryScope {
    schema: Arc<Schema>,
    rows: Arc<RwLock<HashMap<Key, Row>>>,
}

impl ScopeStore for MemoryScope {
    fn schema(&self) -> &Arc<Schema> {
        &self.schema
    }

    fn exists(&self, key: &Key) -> Result<bool> {
        Ok(self.rows.read().contains_key(key))
    }

    fn fetch(&self, key: &Key) -> Result<Option<Row>> {
        Ok(self.rows.read().get(key).cloned())
    }

    fn fetch_many(&self, keys: &[Key]) -> Result<Vec<Option<Row>>> {
        let rows = self.rows.read();
        Ok(keys.iter().map(|key| rows.get(key).cloned()).collect())
    }

    fn set(&self, row: Row) -> Result<()> {
        self.update(row).map(drop)
    }

    fn update(&self, mut row: Row) -> Result<Option<Row>> {
        let key = self.schema.key_of(&row);
        let mut rows = self.rows.write();
        if let Some(old) = rows.get(&key) {
            for (new, old) in row.iter_mut().zip(old) {
                if new.is_absent() {
                    *new = old.clone();
                }
            }
        } else {
            self.schema.fill_absent(&mut row)?;
        }
        Ok(rows.insert(key, row))
    }

    fn set_many(&self, rows: Vec<Row>) -> Result<()> {
        rows.into_iter().try_for_each(|row| self.set(row))
    }

    fn pop(&self, key: &Key) -> Result<Option<Row>> {
        Ok(self.rows.write().remove(key))
    }

    fn pop_many(&self, keys: &[Key]) -> Result<Vec<Option<Row>>> {
        let mut rows = self.rows.write();
        Ok(keys.iter().map(|key| rows.remove(key)).collect())
    }

    fn keys(&self) -> Result<Keys> {
        let keys: Vec<Key> = self.rows.read().keys().cloned().collect();
        Ok(Box::new(keys.into_iter().map(Ok)))
    }

    fn rows(&self) -> Result<Rows> {
        let rows: Vec<Row> = self.rows.read().values().cloned().collect();
        Ok(Box::new(rows.into_iter().map(Ok)))
    }

    fn len(&self) -> Result<u64> {
        Ok(self.rows.read().len() as u64)
    }

    fn clear(&self) -> Result<()> {
        self.rows.write().clear();
        Ok(())
    }
}
