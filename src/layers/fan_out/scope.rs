//! A scope that is written to several stores.

use std::cell::Cell;
use std::slice;
use std::sync::Arc;

use super::super::limits::Limits;
use super::super::stripes::{Held, Stripes};
use super::OnFailure;
use super::outcome::Outcomes;
use crate::store::{Keys, Leases, Rows, ScopeStore};
use crate::{Key, Result, Row, Schema, Value};

/// The scope in one of the stores.
#[derive(Debug)]
pub(super) struct Target {
    pub(super) name: &'static str,
    pub(super) scope: Arc<dyn ScopeStore>,
}

/// A handle on a scope of several stores, the primary one first.
#[derive(Debug)]
pub(super) struct FanOutScope {
    pub(super) schema: Arc<Schema>,
    pub(super) targets: Vec<Target>,
    pub(super) on_failure: OnFailure,
    pub(super) order: Arc<Stripes<()>>,
    /// What all stores can hold.
    pub(super) limits: Limits,
}

impl FanOutScope {
    /// Calls the primary store; an error names it.
    fn read<T>(&self, call: impl FnOnce(&dyn ScopeStore) -> Result<T>) -> Result<T> {
        let primary = &self.targets[0];
        call(&*primary.scope).map_err(|error| error.in_backend(primary.name))
    }

    /// Writes to the primary store by `first`, whose result is returned, and then to each other
    /// store by `rest`. `held` locks the keys, so writes of a key reach all stores in the same
    /// order.
    fn write<T: Default>(
        &self,
        held: Held<'_, ()>,
        first: impl FnOnce(&dyn ScopeStore) -> Result<T>,
        rest: impl Fn(&dyn ScopeStore) -> Result<()>,
    ) -> Result<T> {
        self.write_with(held, first, |_, _| (), |store, ()| rest(store))
    }

    /// Like [`write`](Self::write), but passes `rest` the result of `after`. `after` runs after the
    /// primary store; its second argument says whether that write succeeded.
    fn write_with<T: Default, W>(
        &self,
        _held: Held<'_, ()>,
        first: impl FnOnce(&dyn ScopeStore) -> Result<T>,
        after: impl FnOnce(&dyn ScopeStore, bool) -> W,
        rest: impl Fn(&dyn ScopeStore, &W) -> Result<()>,
    ) -> Result<T> {
        let names = self.targets.iter().map(|target| target.name);
        let mut outcomes = Outcomes::new(names, self.on_failure);
        let primary = &*self.targets[0].scope;
        let (value, result) = match first(primary) {
            Ok(value) => (value, Ok(())),
            Err(error) => (T::default(), Err(error)),
        };
        let done = result.is_ok();
        outcomes.note(result);
        if outcomes.go_on() {
            let known = after(primary, done);
            for target in &self.targets[1..] {
                if outcomes.go_on() {
                    outcomes.note(rest(&*target.scope, &known));
                }
            }
        }
        outcomes.finish(value)
    }

    /// Writes rows to all stores.
    fn write_rows<T: Default>(
        &self,
        rows: &[Row],
        first: impl FnOnce(&dyn ScopeStore) -> Result<T>,
    ) -> Result<T> {
        let given = |primary: &dyn ScopeStore, done| match done {
            true => self.completed(primary, rows.to_vec()),
            false => Ok(rows.to_vec()),
        };
        let rest = |store: &dyn ScopeStore, given: &Result<Vec<Row>>| put(store, given.clone()?);
        self.write_with(self.order.lock(&self.keys_of(rows)), first, given, rest)
    }

    /// Inserts rows. The primary store decides which are new, and only those are written to the
    /// others. If the primary store fails, each other store decides for itself.
    fn insert_rows(
        &self,
        rows: &[Row],
        first: impl FnOnce(&dyn ScopeStore) -> Result<Vec<Option<Row>>>,
    ) -> Result<Vec<Option<Row>>> {
        let inserted = Cell::new(Vec::new());
        let decide = |primary: &dyn ScopeStore| {
            let stored = first(primary)?;
            let new = rows.iter().zip(&stored).filter(|(_, stored)| stored.is_none());
            inserted.set(new.map(|(row, _)| row.clone()).collect());
            Ok(stored)
        };
        let given = |primary: &dyn ScopeStore, done| match done {
            true => self.completed(primary, inserted.take()).map(Some),
            false => Ok(None),
        };
        let rest = |store: &dyn ScopeStore, given: &Result<Option<Vec<Row>>>| match given.clone()? {
            Some(rows) => put(store, rows),
            None => store.insert_many(rows.to_vec()).map(drop),
        };
        self.write_with(self.order.lock(&self.keys_of(rows)), decide, given, rest)
    }

    fn keys_of(&self, rows: &[Row]) -> Vec<Key> {
        rows.iter().map(|row| self.schema.key_of(row)).collect()
    }

    /// Returns the rows to write to the other stores. Partial rows are replaced by the complete
    /// records of the primary store, since another store may not have the record yet.
    fn completed(&self, primary: &dyn ScopeStore, rows: Vec<Row>) -> Result<Vec<Row>> {
        match rows.iter().flatten().any(Value::is_absent) {
            false => Ok(rows),
            true => Ok(primary.fetch_many(&self.keys_of(&rows))?.into_iter().flatten().collect()),
        }
    }
}

fn put(store: &dyn ScopeStore, mut rows: Vec<Row>) -> Result<()> {
    match rows.len() {
        0 => Ok(()),
        1 => store.set(rows.remove(0)),
        _ => store.set_many(rows),
    }
}

#[deny(clippy::missing_trait_methods)]
impl ScopeStore for FanOutScope {
    fn schema(&self) -> &Arc<Schema> {
        &self.schema
    }

    fn exists(&self, key: &Key) -> Result<bool> {
        self.read(|store| store.exists(key))
    }

    fn fetch(&self, key: &Key) -> Result<Option<Row>> {
        self.read(|store| store.fetch(key))
    }

    fn fetch_many(&self, keys: &[Key]) -> Result<Vec<Option<Row>>> {
        self.read(|store| store.fetch_many(keys))
    }

    fn set(&self, row: Row) -> Result<()> {
        let row = self.limits.validate(&self.schema, row)?;
        self.write_rows(slice::from_ref(&row), |store| store.set(row.clone()))
    }

    fn update(&self, row: Row) -> Result<Option<Row>> {
        let row = self.limits.validate(&self.schema, row)?;
        self.write_rows(slice::from_ref(&row), |store| store.update(row.clone()))
    }

    fn insert(&self, row: Row) -> Result<Option<Row>> {
        let row = self.limits.validate(&self.schema, row)?;
        let insert = |store: &dyn ScopeStore| Ok(vec![store.insert(row.clone())?]);
        Ok(self.insert_rows(slice::from_ref(&row), insert)?.pop().flatten())
    }

    fn insert_many(&self, rows: Vec<Row>) -> Result<Vec<Option<Row>>> {
        let rows = self.limits.validate_all(&self.schema, rows)?;
        self.insert_rows(&rows, |store| store.insert_many(rows.clone()))
    }

    fn set_many(&self, rows: Vec<Row>) -> Result<()> {
        let rows = self.limits.validate_all(&self.schema, rows)?;
        self.write_rows(&rows, |store| store.set_many(rows.clone()))
    }

    fn pop(&self, key: &Key) -> Result<Option<Row>> {
        let held = self.order.lock(slice::from_ref(key));
        self.write(held, |store| store.pop(key), |store| store.pop(key).map(drop))
    }

    fn pop_many(&self, keys: &[Key]) -> Result<Vec<Option<Row>>> {
        let held = self.order.lock(keys);
        self.write(held, |store| store.pop_many(keys), |store| store.pop_many(keys).map(drop))
    }

    fn keys(&self) -> Result<Keys> {
        self.read(|store| store.keys())
    }

    fn rows(&self) -> Result<Rows> {
        self.read(|store| store.rows())
    }

    fn len(&self) -> Result<u64> {
        self.read(|store| store.len())
    }

    fn clear(&self) -> Result<()> {
        let clear = |store: &dyn ScopeStore| store.clear();
        self.write(self.order.lock_all(), clear, clear)
    }

    fn snapshot(&self) -> Result<Vec<Row>> {
        self.read(|store| store.snapshot())
    }

    fn replace_all(&self, rows: Vec<Row>) -> Result<()> {
        let rows = self.limits.validate_all(&self.schema, rows)?;
        let replace = |store: &dyn ScopeStore| store.replace_all(rows.clone());
        self.write(self.order.lock_all(), replace, replace)
    }

    fn replace_expired(&self, rows: Vec<Row>, at: i64) -> Result<Vec<Option<Row>>> {
        let rows = self.limits.validate_all(&self.schema, rows)?;
        self.insert_rows(&rows, |store| store.replace_expired(rows.clone(), at))
    }

    fn remove_expired(&self, keys: &[Key], at: i64) -> Result<()> {
        let remove = |store: &dyn ScopeStore| store.remove_expired(keys, at);
        self.write(self.order.lock(keys), remove, remove)
    }

    fn replace_unchanged(&self, old: Option<&Row>, row: Row) -> Result<bool> {
        let row = self.limits.validate(&self.schema, row)?;
        let replace = |store: &dyn ScopeStore| {
            let stored = store.replace_unchanged(old, row.clone())?;
            Ok(vec![(!stored).then(Row::new)])
        };
        let stored = self.insert_rows(slice::from_ref(&row), replace)?;
        Ok(stored.iter().any(Option::is_none))
    }

    fn touch(&self, key: &Key, at: i64, expires: Value) -> Result<bool> {
        let touch = |store: &dyn ScopeStore| store.touch(key, at, expires.clone());
        let held = self.order.lock(slice::from_ref(key));
        self.write(held, touch, |store| touch(store).map(drop))
    }

    /// Each store removes its own expired records; all stores have the same records.
    fn purge(&self, before: i64, limit: usize) -> Result<usize> {
        let purge = |store: &dyn ScopeStore| store.purge(before, limit);
        self.write(self.order.lock_all(), purge, |store| purge(store).map(drop))
    }

    fn trim(&self, records: u64, limit: usize) -> Result<usize> {
        let trim = |store: &dyn ScopeStore| store.trim(records, limit);
        self.write(self.order.lock_all(), trim, |store| trim(store).map(drop))
    }

    fn live_keys(&self, at: i64) -> Result<Keys> {
        self.read(|store| store.live_keys(at))
    }

    fn live_rows(&self, at: i64) -> Result<Rows> {
        self.read(|store| store.live_rows(at))
    }

    fn live_len(&self, at: i64) -> Result<u64> {
        self.read(|store| store.live_len(at))
    }

    /// Returns `None`: a fill under a lease would reach only the primary store.
    fn leases(&self) -> Option<&dyn Leases> {
        None
    }

    /// Returns `None`: writes in a transaction of one store would not reach the others.
    fn table(&self) -> Option<&dyn std::any::Any> {
        None
    }
}
