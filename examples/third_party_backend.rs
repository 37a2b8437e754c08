//! A backend of one's own with a URI of its own: `cargo run --example third_party_backend`.
//!
//! `shelf:` keeps records as bytes in memory, and passes hilcat's conformance suite.

use std::collections::BTreeMap;
use std::sync::Arc;

use hilcat::backend::Registry;
use hilcat::store::{self, Codec, CodecOptions, Rows, ScopeStore, Store};
use hilcat::{Cache, Key, Plan, Result, Row, Schema};
use parking_lot::Mutex;

type Records = BTreeMap<String, Vec<u8>>;
/// The schema that the records of a scope stand under, and the records by the text of their keys.
type Shared = Arc<Mutex<(Arc<Schema>, Records)>>;

#[derive(Debug, Default)]
struct Shelf(Mutex<BTreeMap<String, Shared>>);

impl Store for Shelf {
    fn name(&self) -> &'static str {
        "shelf"
    }
    fn open(&self, schema: &Arc<Schema>) -> Result<Arc<dyn ScopeStore>> {
        let new = || Arc::new(Mutex::new((schema.clone(), Records::new())));
        let shared = self.0.lock().entry(schema.name.clone()).or_insert_with(new).clone();
        let (standing, records) = &mut *shared.lock();
        if store::upgrade(standing, schema)?.recreate {
            records.clear();
        }
        *standing = schema.clone();
        Ok(Arc::new(Scope(Codec::new(schema, CodecOptions::default()), shared.clone())))
    }
    fn open_read_only(&self, schema: &Arc<Schema>) -> Result<Option<Arc<dyn ScopeStore>>> {
        let Some(shared) = self.0.lock().get(&schema.name).cloned() else { return Ok(None) };
        store::check_readable(&shared.lock().0, schema)?;
        Ok(Some(Arc::new(Scope(Codec::new(schema, CodecOptions::default()), shared))))
    }
    fn plan(&self, schema: &Schema) -> Result<Plan> {
        let shared = self.0.lock().get(&schema.name).cloned();
        Ok(shared.map_or(Plan::empty(schema), |shared| store::plan(&shared.lock().0, schema)))
    }
    fn scopes(&self) -> Result<Vec<String>> {
        Ok(self.0.lock().keys().cloned().collect())
    }
}

#[derive(Debug)]
struct Scope(Codec, Shared);

impl Scope {
    /// Changes are made on a copy: nothing is kept of them unless all is.
    fn change<T>(&self, change: impl FnOnce(&mut Records) -> Result<T>) -> Result<T> {
        let records = &mut self.1.lock().1;
        let mut changed = records.clone();
        let result = change(&mut changed)?;
        *records = changed;
        Ok(result)
    }
    fn put(&self, records: &mut Records, row: Row) -> Result<Option<Row>> {
        let key = store::key_to_text(&self.0.schema().key_of(&row)).into_owned();
        let replaced = self.0.replace(records.get(&key).map(Vec::as_slice), row)?;
        records.insert(key, replaced.bytes);
        Ok(replaced.old)
    }
}

impl ScopeStore for Scope {
    fn schema(&self) -> &Arc<Schema> {
        self.0.schema()
    }
    fn fetch(&self, key: &Key) -> Result<Option<Row>> {
        let stored = self.1.lock().1.get(&*store::key_to_text(key)).cloned();
        stored.map(|bytes| self.0.decode(&bytes)).transpose()
    }
    fn update(&self, row: Row) -> Result<Option<Row>> {
        self.change(|records| self.put(records, row))
    }
    fn insert(&self, row: Row) -> Result<Option<Row>> {
        let key = store::key_to_text(&self.0.schema().key_of(&row)).into_owned();
        self.change(|records| match records.get(&key) {
            Some(stored) => self.0.decode(stored).map(Some),
            None => self.put(records, row),
        })
    }
    fn set_many(&self, mut rows: Vec<Row>) -> Result<()> {
        self.change(|records| rows.drain(..).try_for_each(|row| self.put(records, row).map(drop)))
    }
    fn pop_many(&self, keys: &[Key]) -> Result<Vec<Option<Row>>> {
        self.change(|records| {
            let popped = keys.iter().map(|key| records.remove(&*store::key_to_text(key)));
            popped.map(|bytes| bytes.map(|bytes| self.0.decode(&bytes)).transpose()).collect()
        })
    }
    fn rows(&self) -> Result<Rows> {
        let rows = self.1.lock().1.values().map(|bytes| self.0.decode(bytes)).collect::<Vec<_>>();
        Ok(Box::new(rows.into_iter()))
    }
}

/// The schemes of hilcat and this one.
pub fn registry() -> Result<Registry> {
    Registry::new().register("shelf", &[], |_, _| Ok(Shelf::default()))
}

fn main() -> Result<()> {
    let cache = Cache::builder("shelf:").registry(&registry()?).open()?;
    println!("{}", cache.map::<i64, i64>("squares")?.get(7, || 49)?);
    Ok(())
}
