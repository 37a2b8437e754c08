//! A store in memory with a fault.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use hilcat::backend::Memory;
use hilcat::store::{Capabilities, Keys, Rows, ScopeStore, Store};
use hilcat::{Error, ErrorKind, Key, Plan, Result, Row, Schema, Value};

use crate::fault::{Fault, spoil_key, spoil_value};

#[derive(Debug)]
pub(crate) struct FaultyStore {
    pub(crate) inner: Memory,
    pub(crate) fault: Fault,
}

impl Store for FaultyStore {
    fn name(&self) -> &'static str {
        "faulty"
    }

    fn capabilities(&self) -> Capabilities {
        crate::capabilities(self.fault)
    }

    fn stored_schema(&self, scope: &str) -> Result<Option<Schema>> {
        self.inner.stored_schema(scope)
    }

    fn open(&self, schema: &Arc<Schema>) -> Result<Arc<dyn ScopeStore>> {
        let mut under = Schema::clone(schema);
        match self.fault {
            Fault::MixesScopes => under = under.renamed("all"),
            Fault::AcceptsAnySchema if !self.inner.plan(schema)?.is_safe() => {
                under = under.migrate(hilcat::Migrate::Recreate);
            }
            Fault::ForgetsOnUpgrade if !self.inner.plan(schema)?.is_empty() => {
                self.inner.open(schema)?.clear()?;
            }
            _ => {}
        }
        let inner = self.inner.open(&Arc::new(under))?;
        let schema = Arc::new(schema.with_expiry_of(inner.schema()));
        let fault = self.fault;
        Ok(Arc::new(FaultyScope { inner, schema, fault, listings: Arc::default() }))
    }

    fn open_read_only(&self, schema: &Arc<Schema>) -> Result<Option<Arc<dyn ScopeStore>>> {
        self.inner.open_read_only(schema)
    }

    fn plan(&self, schema: &Schema) -> Result<Plan> {
        match self.fault {
            Fault::PlansNothing => Ok(Plan::empty(schema)),
            _ => self.inner.plan(schema),
        }
    }

    fn migrate(&self, schema: &Schema) -> Result<Plan> {
        self.inner.migrate(schema)
    }

    fn scopes(&self) -> Result<Vec<String>> {
        let mut scopes = self.inner.scopes()?;
        if self.fault == Fault::HidesScopes {
            scopes.pop();
        }
        Ok(scopes)
    }
}

#[derive(Debug)]
struct FaultyScope {
    inner: Arc<dyn ScopeStore>,
    schema: Arc<Schema>,
    fault: Fault,
    /// How many listings are open.
    listings: Arc<AtomicUsize>,
}

impl FaultyScope {
    fn has(&self, fault: Fault) -> bool {
        self.fault == fault
    }

    fn check_listings(&self) -> Result<()> {
        match self.has(Fault::RefusesWritesWhileListing) && self.listings.load(Ordering::SeqCst) > 0
        {
            true => Err(Error::new(ErrorKind::Unavailable, "a listing is open")),
            false => Ok(()),
        }
    }

    fn key(&self, key: &Key) -> Key {
        self.spoil_key(key.values().iter().cloned())
    }

    fn spoil_key(&self, values: impl Iterator<Item = Value>) -> Key {
        let key = Key::new(values.map(|value| spoil_key(self.fault, value)));
        match (self.fault, key.values()) {
            (Fault::JoinsKeys, [Value::Text(first), Value::Text(second)]) => {
                Key::new([format!("{first}{second}").into(), "".into()])
            }
            _ => key,
        }
    }

    /// Applies the fault to a row.
    fn row(&self, mut row: Row) -> Row {
        let key = self.spoil_key(self.schema.key_positions().iter().map(|&at| row[at].clone()));
        for (at, value) in row.iter_mut().enumerate() {
            if !self.schema.key_positions().contains(&at) {
                let column = &self.schema.columns()[at];
                *value =
                    spoil_value(self.fault, std::mem::replace(value, Value::Null), column.nullable);
            }
        }
        for (&at, value) in self.schema.key_positions().iter().zip(key.into_values()) {
            row[at] = value;
        }
        row
    }

    fn spoil_keys(&self, keys: &[Key]) -> Vec<Key> {
        keys.iter().map(|key| self.key(key)).collect()
    }

    /// Completes a partial row in two steps, so that a concurrent write in between is lost.
    fn complete(&self, row: Row) -> Result<Row> {
        let old = self.inner.fetch(&self.schema.key_of(&row))?;
        std::thread::sleep(Duration::from_micros(50));
        let Some(old) = old else { return Ok(row) };
        let filled = row.into_iter().zip(old);
        Ok(filled.map(|(new, old)| if new.is_absent() { old } else { new }).collect())
    }

    /// Returns the row that is written instead of this one, if any.
    fn before_write(&self, row: Row) -> Result<Option<Row>> {
        self.check_listings()?;
        let row = self.row(row);
        let key = self.schema.key_of(&row);
        Ok(match self.fault {
            Fault::KeepsTheFirstWrite if self.inner.exists(&key)? => None,
            Fault::IgnoresPartialSets
                if row.iter().any(Value::is_absent) && self.inner.exists(&key)? =>
            {
                None
            }
            Fault::IsNotAtomic => Some(self.complete(row)?),
            _ => Some(row),
        })
    }
}

/// A listing that counts as open until it is dropped.
struct Listing<I> {
    items: I,
    open: Arc<AtomicUsize>,
}

impl<I: Iterator> Iterator for Listing<I> {
    type Item = I::Item;

    fn next(&mut self) -> Option<I::Item> {
        self.items.next()
    }
}

impl<I> Drop for Listing<I> {
    fn drop(&mut self) {
        self.open.fetch_sub(1, Ordering::SeqCst);
    }
}

impl FaultyScope {
    fn listing<T: Clone + Send + 'static>(
        &self,
        items: impl Iterator<Item = Result<T>> + Send + 'static,
    ) -> Result<Box<dyn Iterator<Item = Result<T>> + Send>> {
        self.listings.fetch_add(1, Ordering::SeqCst);
        let items = Listing { items, open: self.listings.clone() };
        let twice = if self.has(Fault::ListsTwice) { 2 } else { 1 };
        let page = if self.has(Fault::ListsAPage) { 1_000 } else { usize::MAX };
        let again = move |item: Result<T>| -> Vec<Result<T>> {
            match item {
                Ok(item) => vec![item; twice].into_iter().map(Ok).collect(),
                Err(error) => vec![Err(error)],
            }
        };
        Ok(Box::new(items.take(page).flat_map(again)))
    }
}

impl ScopeStore for FaultyScope {
    fn schema(&self) -> &Arc<Schema> {
        &self.schema
    }

    fn exists(&self, key: &Key) -> Result<bool> {
        self.inner.exists(&self.key(key))
    }

    fn fetch(&self, key: &Key) -> Result<Option<Row>> {
        self.inner.fetch(&self.key(key))
    }

    fn fetch_many(&self, keys: &[Key]) -> Result<Vec<Option<Row>>> {
        let mut rows = self.inner.fetch_many(&self.spoil_keys(keys))?;
        match self.fault {
            Fault::SortsFetchMany => rows.sort_by_cached_key(|row| format!("{row:?}")),
            Fault::SkipsMissing => rows.retain(Option::is_some),
            _ => {}
        }
        Ok(rows)
    }

    fn set(&self, row: Row) -> Result<()> {
        match self.before_write(row)? {
            Some(row) => self.inner.set(row),
            None => Ok(()),
        }
    }

    fn update(&self, row: Row) -> Result<Option<Row>> {
        let key = self.schema.key_of(&row);
        let old = match self.before_write(row)? {
            Some(row) => self.inner.update(row)?,
            None => self.fetch(&key)?,
        };
        match self.fault {
            Fault::ReturnsTheNewRecord if old.is_some() => self.fetch(&key),
            _ => Ok(old),
        }
    }

    fn insert(&self, row: Row) -> Result<Option<Row>> {
        let Some(row) = self.before_write(row)? else { return Ok(None) };
        match self.fault {
            Fault::InsertsOverRecords => self.inner.set(row).map(|()| None),
            Fault::ReturnsTheRefusedRecord => Ok(self.inner.insert(row.clone())?.map(|_| row)),
            Fault::InsertsInTwoSteps => match self.inner.fetch(&self.schema.key_of(&row))? {
                Some(stored) => Ok(Some(stored)),
                None => {
                    std::thread::sleep(Duration::from_millis(1));
                    self.inner.set(row).map(|()| None)
                }
            },
            _ => self.inner.insert(row),
        }
    }

    fn insert_many(&self, rows: Vec<Row>) -> Result<Vec<Option<Row>>> {
        match self.fault {
            Fault::InsertsManyOverRecords => {
                let count = rows.len();
                self.set_many(rows).map(|()| vec![None; count])
            }
            _ => rows.into_iter().map(|row| self.insert(row)).collect(),
        }
    }

    fn set_many(&self, rows: Vec<Row>) -> Result<()> {
        self.check_listings()?;
        let mut rows = rows.into_iter().map(|row| self.row(row)).collect::<Vec<_>>();
        match self.fault {
            Fault::DropsTheLastOfABatch => drop(rows.pop()),
            Fault::StoresTheFirstOfDuplicates => rows.reverse(),
            Fault::StoresBatchesInPart => {
                return rows.into_iter().try_for_each(|row| self.inner.set(row));
            }
            _ => {}
        }
        self.inner.set_many(rows)
    }

    fn pop(&self, key: &Key) -> Result<Option<Row>> {
        self.check_listings()?;
        match self.fault {
            Fault::ForgetsPop => self.fetch(key),
            Fault::PopReturnsNothing => self.inner.pop(key).map(|_| None),
            _ => self.inner.pop(&self.key(key)),
        }
    }

    fn pop_many(&self, keys: &[Key]) -> Result<Vec<Option<Row>>> {
        self.check_listings()?;
        if self.has(Fault::PopsOneKeyTwice) {
            let found = self.inner.fetch_many(keys)?;
            self.inner.pop_many(keys)?;
            return Ok(found);
        }
        self.inner.pop_many(&self.spoil_keys(keys))
    }

    fn remove_expired(&self, keys: &[Key], at: i64) -> Result<()> {
        self.inner.remove_expired(&self.spoil_keys(keys), at)
    }

    fn touch(&self, key: &Key, at: i64, expires: Value) -> Result<bool> {
        self.inner.touch(&self.key(key), at, expires)
    }

    fn purge(&self, before: i64, limit: usize) -> Result<usize> {
        self.inner.purge(before, limit)
    }

    fn keys(&self) -> Result<Keys> {
        self.listing(self.inner.keys()?)
    }

    fn rows(&self) -> Result<Rows> {
        self.listing(self.inner.rows()?)
    }

    fn len(&self) -> Result<u64> {
        let one_more = u64::from(self.has(Fault::CountsOneTooMany));
        Ok(self.inner.len()? + one_more)
    }

    fn clear(&self) -> Result<()> {
        match self.fault {
            Fault::ClearsNothing => Ok(()),
            _ => self.inner.clear(),
        }
    }
}
