//! A store in memory with slow calls.

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use hilcat::backend::Memory;
use hilcat::store::{Capabilities, Keys, Rows, ScopeStore, Store};
use hilcat::{Cache, Key, Result, Row, Schema};

/// A store whose calls take some time, and would block an executor.
#[derive(Debug)]
struct Slow(Memory, Duration);

#[derive(Debug)]
struct SlowScope(Arc<dyn ScopeStore>, Duration);

impl Store for Slow {
    fn name(&self) -> &'static str {
        "slow"
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities::new()
    }

    fn open(&self, schema: &Arc<Schema>) -> Result<Arc<dyn ScopeStore>> {
        thread::sleep(self.1);
        Ok(Arc::new(SlowScope(self.0.open(schema)?, self.1)))
    }

    fn scopes(&self) -> Result<Vec<String>> {
        self.0.scopes()
    }
}

impl ScopeStore for SlowScope {
    fn schema(&self) -> &Arc<Schema> {
        self.0.schema()
    }

    fn exists(&self, key: &Key) -> Result<bool> {
        self.0.exists(key)
    }

    fn fetch(&self, key: &Key) -> Result<Option<Row>> {
        thread::sleep(self.1);
        self.0.fetch(key)
    }

    fn fetch_many(&self, keys: &[Key]) -> Result<Vec<Option<Row>>> {
        self.0.fetch_many(keys)
    }

    fn set(&self, row: Row) -> Result<()> {
        thread::sleep(self.1);
        self.0.set(row)
    }

    fn update(&self, row: Row) -> Result<Option<Row>> {
        self.0.update(row)
    }

    fn insert(&self, row: Row) -> Result<Option<Row>> {
        thread::sleep(self.1);
        self.0.insert(row)
    }

    fn set_many(&self, rows: Vec<Row>) -> Result<()> {
        self.0.set_many(rows)
    }

    fn pop(&self, key: &Key) -> Result<Option<Row>> {
        thread::sleep(self.1);
        self.0.pop(key)
    }

    fn pop_many(&self, keys: &[Key]) -> Result<Vec<Option<Row>>> {
        self.0.pop_many(keys)
    }

    fn keys(&self) -> Result<Keys> {
        self.0.keys()
    }

    fn rows(&self) -> Result<Rows> {
        self.0.rows()
    }

    fn len(&self) -> Result<u64> {
        self.0.len()
    }

    fn clear(&self) -> Result<()> {
        self.0.clear()
    }
}

/// Returns a cache on such a store.
pub(crate) fn slow(millis: u64) -> Cache {
    Cache::from_store(Slow(Memory::new(), Duration::from_millis(millis)))
}
