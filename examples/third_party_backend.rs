//! A third-party backend with its own URI scheme: `cargo run --example third_party_backend`.
//!
//! `shelf:` stores records as bytes in memory, and passes hilcat's conformance suite. The expiry of
//! a record is one of its columns; the shelf compares it with the times in its arguments.

use std::collections::BTreeMap;
use std::sync::Arc;

use hilcat::backend::Registry;
use hilcat::store::{
    self, Capabilities, Codec, CodecOptions, ExpirySupport, Rows, ScopeStore, Store,
};
use hilcat::{Cache, Key, Plan, Result, Row, Schema, Value};
use parking_lot::Mutex;

type Records = BTreeMap<String, Vec<u8>>;
/// The stored schema of a scope, and its records by the text of their keys.
type Shared = Arc<Mutex<(Arc<Schema>, Records)>>;

#[derive(Debug, Default)]
struct Shelf(Mutex<BTreeMap<String, Shared>>);

impl Store for Shelf {
    fn name(&self) -> &'static str {
        "shelf"
    }
    fn capabilities(&self) -> Capabilities {
        let mut able = Capabilities::new();
        able.expiry = ExpirySupport::Full;
        able
    }
    fn open(&self, schema: &Arc<Schema>) -> Result<Arc<dyn ScopeStore>> {
        let new = || Arc::new(Mutex::new((schema.clone(), Records::new())));
        let mut scopes = self.0.lock();
        check_table(&scopes, schema)?;
        let shared = scopes.entry(schema.name().to_owned()).or_insert_with(new).clone();
        let (stored, records) = &mut *shared.lock();
        let schema = &Arc::new(schema.with_expiry_of(stored));
        let upgrade = store::upgrade(stored, schema)?;
        if upgrade.recreate {
            records.clear();
        }
        if upgrade.other {
            *stored = Arc::new(upgrade.stored);
        }
        let codec = Codec::new(schema, CodecOptions::default()).with_stored_schema(stored);
        Ok(Arc::new(Scope(codec, shared.clone())))
    }
    fn open_read_only(&self, schema: &Arc<Schema>) -> Result<Option<Arc<dyn ScopeStore>>> {
        let Some(shared) = self.0.lock().get(schema.name()).cloned() else { return Ok(None) };
        let schema = Arc::new(schema.with_expiry_of(&shared.lock().0));
        store::check_readable(&shared.lock().0, &schema)?;
        Ok(Some(Arc::new(Scope(Codec::new(&schema, CodecOptions::default()), shared))))
    }
    fn plan(&self, schema: &Schema) -> Result<Plan> {
        check_table(&self.0.lock(), schema)?;
        let shared = self.0.lock().get(schema.name()).cloned();
        Ok(shared.map_or(Plan::empty(schema), |shared| {
            let stored = &shared.lock().0;
            store::plan(stored, &schema.with_expiry_of(stored))
        }))
    }
    fn scopes(&self) -> Result<Vec<String>> {
        Ok(self.0.lock().keys().cloned().collect())
    }
    fn stored_schema(&self, scope: &str) -> Result<Option<Schema>> {
        let shared = self.0.lock().get(scope).cloned();
        Ok(shared.map(|shared| Schema::clone(&shared.lock().0)))
    }
}

/// Refuses a table that belongs to another scope.
fn check_table(scopes: &BTreeMap<String, Shared>, schema: &Schema) -> Result<()> {
    let mut others = scopes.iter().filter(|(name, _)| **name != schema.name());
    match others.find(|(_, shared)| shared.lock().0.table_name() == schema.table_name()) {
        None => Ok(()),
        Some((other, _)) => Err(store::table_of_another(schema, other)),
    }
}

#[derive(Debug)]
struct Scope(Codec, Shared);

impl Scope {
    /// Applies a change to a copy, so that a batch is done whole or not at all.
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
    /// Returns whether a record is expired at a time; NULL means never.
    fn is_expired(&self, row: &Row, at: i64) -> bool {
        let expires = self.0.schema().expiry_column().map(|column| &row[column]);
        matches!(expires, Some(Value::Timestamp(expires)) if *expires <= at)
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
    fn remove_expired(&self, keys: &[Key], at: i64) -> Result<()> {
        self.change(|records| {
            for key in keys.iter().map(store::key_to_text) {
                let row = records.get(&*key).map(|bytes| self.0.decode(bytes)).transpose()?;
                if row.is_some_and(|row| self.is_expired(&row, at)) {
                    records.remove(&*key);
                }
            }
            Ok(())
        })
    }
    fn touch(&self, key: &Key, at: i64, expires: Value) -> Result<bool> {
        self.change(|records| {
            let bytes = records.get(&*store::key_to_text(key));
            let row = bytes.map(|bytes| self.0.decode(bytes)).transpose()?;
            let live = row.filter(|row| !self.is_expired(row, at));
            let (Some(mut row), Some(column)) = (live, self.0.schema().expiry_column()) else {
                return Ok(false);
            };
            row[column] = expires;
            self.put(records, row).map(|_| true)
        })
    }
    fn rows(&self) -> Result<Rows> {
        let rows = self.1.lock().1.values().map(|bytes| self.0.decode(bytes)).collect::<Vec<_>>();
        Ok(Box::new(rows.into_iter()))
    }
}

/// Returns a registry with the schemes of hilcat and `shelf:`.
pub fn registry() -> Result<Registry> {
    Registry::new().register("shelf", &[], |_, _| Ok(Shelf::default()))
}

fn main() -> Result<()> {
    let cache = Cache::builder("shelf:").registry(&registry()?).open()?;
    println!("{}", cache.map::<i64, i64>("squares")?.get(7, || 49)?);
    Ok(())
}
