//! One scope of several stores.

use std::slice;
use std::sync::Arc;

use super::super::limits::Limits;
use super::super::stripes::{Held, Stripes};
use super::OnFailure;
use super::outcome::Outcomes;
use crate::store::{Keys, Rows, ScopeStore};
use crate::{Key, Result, Row, Schema};

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
    /// Reads the primary store.
    fn read<T>(&self, call: impl FnOnce(&dyn ScopeStore) -> Result<T>) -> Result<T> {
        let primary = &self.targets[0];
        call(&*primary.scope).map_err(|error| error.in_backend(primary.name))
    }

    /// Writes to all stores: to the primary one, whose result counts, by `first`, and to the
    /// others, one after the other, by `rest`. What is held keeps other writes of the same keys
    /// from reaching two stores in two orders.
    fn write<T: Default>(
        &self,
        _held: Held<'_, ()>,
        first: impl FnOnce(&dyn ScopeStore) -> Result<T>,
        rest: impl Fn(&dyn ScopeStore) -> Result<()>,
    ) -> Result<T> {
        let names = self.targets.iter().map(|target| target.name);
        let mut outcomes = Outcomes::new(names, self.on_failure);
        let (value, result) = match first(&*self.targets[0].scope) {
            Ok(value) => (value, Ok(())),
            Err(error) => (T::default(), Err(error)),
        };
        outcomes.note(result);
        for target in &self.targets[1..] {
            if outcomes.go_on() {
                outcomes.note(rest(&*target.scope));
            }
        }
        outcomes.finish(value)
    }

    fn lock(&self, row: &Row) -> Held<'_, ()> {
        self.order.lock(slice::from_ref(&self.schema.key_of(row)))
    }

    fn lock_rows(&self, rows: &[Row]) -> Held<'_, ()> {
        let keys: Vec<Key> = rows.iter().map(|row| self.schema.key_of(row)).collect();
        self.order.lock(&keys)
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
        let row = self.limits.admit(&self.schema, row)?;
        let set = |store: &dyn ScopeStore| store.set(row.clone());
        self.write(self.lock(&row), set, set)
    }

    fn update(&self, row: Row) -> Result<Option<Row>> {
        let row = self.limits.admit(&self.schema, row)?;
        self.write(
            self.lock(&row),
            |store| store.update(row.clone()),
            |store| store.set(row.clone()),
        )
    }

    fn set_many(&self, rows: Vec<Row>) -> Result<()> {
        let rows = self.limits.admit_all(&self.schema, rows)?;
        let set = |store: &dyn ScopeStore| store.set_many(rows.clone());
        self.write(self.lock_rows(&rows), set, set)
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
        let rows = self.limits.admit_all(&self.schema, rows)?;
        let replace = |store: &dyn ScopeStore| store.replace_all(rows.clone());
        self.write(self.order.lock_all(), replace, replace)
    }

    /// What joins a transaction of one store would not reach the others.
    fn table(&self) -> Option<&dyn std::any::Any> {
        None
    }
}
