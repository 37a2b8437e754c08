//! A scope in a near and a far store.

use std::collections::{HashMap, HashSet};
use std::slice;
use std::sync::Arc;
use std::time::Duration;

use super::super::limits::Limits;
use super::near::Near;
use crate::layers::write_tracker::{Access, Outcome, WriteTracker};
use crate::store::{Capabilities, Keys, LeasedFill, Leases, Rows, ScopeStore, no_leases};
use crate::{Key, Result, Row, Schema, Value};

/// A handle on a scope of two stores.
#[derive(Debug)]
pub(super) struct TieredScope {
    schema: Arc<Schema>,
    near: Near,
    far: Arc<dyn ScopeStore>,
    tier: Arc<WriteTracker>,
    /// The layout that this handle reads and writes.
    generation: u64,
    far_name: &'static str,
    /// Makes rows for the near store equal to those that the far store will return.
    limits: Limits,
}

/// The result of a lookup in the near store.
enum Lookup {
    Hit(Row),
    Miss,
    /// The near store cannot be used; the far store is read instead.
    Down,
}

impl TieredScope {
    pub(super) fn new(
        schema: Arc<Schema>,
        (near, far): (Near, Arc<dyn ScopeStore>),
        tier: Arc<WriteTracker>,
        generation: u64,
    ) -> Self {
        let limits = Limits::of(Capabilities::new());
        Self { schema, near, far, tier, generation, far_name: "", limits }
    }

    pub(super) fn named(mut self, far_name: &'static str) -> Self {
        self.far_name = far_name;
        self
    }

    pub(super) fn limited(mut self, able: Capabilities) -> Self {
        self.limits = Limits::of(Capabilities { nan: true, nul_in_text: true, ..able });
        self
    }

    /// Calls the far store; an error names it.
    fn call_far<T>(&self, call: impl FnOnce(&dyn ScopeStore) -> Result<T>) -> Result<T> {
        call(&*self.far).map_err(|error| error.in_backend(self.far_name))
    }

    fn lookup(&self, key: &Key) -> Lookup {
        if !self.tier.trusts(self.generation) {
            return Lookup::Down;
        }
        match self.near.fetch(key) {
            Ok(Some(row)) => Lookup::Hit(row),
            Err(error) if error.is_retryable() => Lookup::Down,
            // An unreadable record is overwritten by the fill.
            Ok(None) | Err(_) => Lookup::Miss,
        }
    }

    /// Copies rows of the far store into the near store. The caller holds the locks of their keys.
    fn fill(&self, rows: Vec<Row>) {
        if rows.is_empty() || !self.tier.is_trusted(self.generation) {
            return;
        }
        // After such an error the near store may hold a part of the rows, so it must be emptied.
        if self.near.set_many(rows).is_err_and(|error| error.is_retryable()) {
            self.tier.distrust();
        }
    }

    /// Removes keys from the near store. The caller holds their locks.
    fn forget(&self, keys: &[Key]) {
        if !keys.is_empty() && self.near.pop_many(keys).is_err() {
            self.tier.distrust();
        }
    }

    /// Stores written rows in the near store where no other write overlapped, and removes the other
    /// keys from it. The caller holds the locks of the keys.
    fn settle(&self, keys: &[Key], rows: Vec<Row>, alone: &[bool]) {
        // If several rows have the same key, the last one is stored.
        let mut last: HashMap<Key, Row> = HashMap::with_capacity(rows.len());
        let mut partial = HashSet::new();
        for row in rows {
            let key = self.schema.key_of(&row);
            if row.iter().any(Value::is_absent) {
                // Only the far store has the other columns of the record.
                partial.insert(key.clone());
            }
            last.insert(key, row);
        }
        let trusted = self.tier.is_trusted(self.generation);
        let (mut rows, mut fresh, mut stale) = (Vec::new(), Vec::new(), Vec::new());
        for (key, alone) in keys.iter().zip(alone) {
            let whole = trusted && *alone && !partial.contains(key);
            match last.remove(key).filter(|_| whole) {
                Some(row) => {
                    rows.extend(self.limits.validate(&self.schema, row));
                    fresh.push(key.clone());
                }
                None => stale.push(key.clone()),
            }
        }
        self.forget(&stale);
        if !rows.is_empty() && self.near.set_many(rows).is_err() {
            // The previous rows are outdated.
            self.forget(&fresh);
        }
    }

    /// Writes rows to the far store by `call` and, if that succeeds, to the near store.
    fn write<T>(
        &self,
        rows: Vec<Row>,
        call: impl FnOnce(&dyn ScopeStore, Vec<Row>) -> Result<T>,
    ) -> Result<T> {
        let keys = unique(rows.iter().map(|row| self.schema.key_of(row)));
        let guard = self.tier.enter(Access::Write, &keys);
        let written = self.call_far(|far| call(far, rows.clone()));
        let ended = Outcome::of(&written);
        guard.leave_keys(ended, |alone| match ended {
            Outcome::Done => self.settle(&keys, rows, alone),
            Outcome::Failed | Outcome::Unknown => self.forget(&keys),
        });
        written
    }

    /// Inserts rows into the far store by `call`, and stores the resulting records, inserted or
    /// already present, in the near store.
    fn insert_rows(
        &self,
        rows: Vec<Row>,
        call: impl FnOnce(&dyn ScopeStore, Vec<Row>) -> Result<Vec<Option<Row>>>,
    ) -> Result<Vec<Option<Row>>> {
        let keys = unique(rows.iter().map(|row| self.schema.key_of(row)));
        let guard = self.tier.enter(Access::Write, &keys);
        let inserted = self.call_far(|far| call(far, rows.clone()));
        guard.leave_keys(Outcome::of(&inserted), |alone| match &inserted {
            Ok(stored) => {
                let held = rows.into_iter().zip(stored.iter().cloned());
                let held = held.map(|(row, stored)| stored.unwrap_or(row)).collect();
                self.settle(&keys, held, alone);
            }
            Err(_) => self.forget(&keys),
        });
        inserted
    }

    /// Removes keys from the far store by `call`, and from the near store whatever the result.
    fn remove<T>(
        &self,
        keys: &[Key],
        call: impl FnOnce(&dyn ScopeStore) -> Result<T>,
    ) -> Result<T> {
        let guard = self.tier.enter(Access::Write, keys);
        let removed = self.call_far(call);
        guard.leave_keys(Outcome::of(&removed), |_| self.forget(keys));
        removed
    }

    /// Changes all keys of the far store by `call`, and empties the near store.
    fn change_all<T>(&self, call: impl FnOnce(&dyn ScopeStore) -> Result<T>) -> Result<T> {
        let guard = self.tier.enter_all();
        let changed = self.call_far(call);
        guard.leave(Outcome::of(&changed), || self.tier.empty());
        changed
    }

    /// Reads distinct keys from the far store, and stores those rows in the near store that no write
    /// overlapped.
    fn read(&self, keys: &[Key], fill: bool) -> Result<Vec<Option<Row>>> {
        let guard = self.tier.enter(Access::Read, keys);
        let rows = match keys {
            [key] => self.call_far(|far| far.fetch(key)).map(|row| vec![row]),
            keys => self.call_far(|far| far.fetch_many(keys)),
        }?;
        guard.leave_keys(Outcome::Done, |alone| {
            if fill {
                let known = rows.iter().zip(alone).filter(|(_, alone)| **alone);
                self.fill(known.filter_map(|(row, _)| row.clone()).collect());
            }
        });
        Ok(rows)
    }

    /// Reads keys from the near store. Also returns whether it may be filled with the missing rows.
    fn lookup_many(&self, keys: &[Key]) -> (Vec<Option<Row>>, bool) {
        if !self.tier.trusts(self.generation) {
            return (vec![None; keys.len()], false);
        }
        match self.near.fetch_many(keys) {
            Ok(rows) => (rows, true),
            Err(error) => (vec![None; keys.len()], !error.is_retryable()),
        }
    }
}

impl TieredScope {
    /// Calls the leases of the far store; an error names it.
    fn lease<T>(&self, call: impl FnOnce(&dyn Leases) -> Result<T>) -> Result<T> {
        self.call_far(|far| call(far.leases().ok_or_else(no_leases)?))
    }
}

/// The leases of the far store. The near store is filled by a later read.
impl Leases for TieredScope {
    fn acquire(&self, key: &Key, holder: &str, lease: Duration) -> Result<bool> {
        self.lease(|leases| leases.acquire(key, holder, lease))
    }

    fn renew(&self, key: &Key, holder: &str, lease: Duration) -> Result<bool> {
        self.lease(|leases| leases.renew(key, holder, lease))
    }

    fn release(&self, key: &Key, holder: &str) -> Result<()> {
        self.lease(|leases| leases.release(key, holder))
    }

    fn fill(&self, row: Row, at: i64, holder: &str) -> Result<LeasedFill> {
        let keys = [self.schema.key_of(&row)];
        let guard = self.tier.enter(Access::Write, &keys);
        let filled = self.lease(|leases| leases.fill(row, at, holder));
        guard.leave_keys(Outcome::of(&filled), |_| self.forget(&keys));
        filled
    }
}

/// Removes duplicate keys, keeping the order of their first occurrences.
fn unique(keys: impl IntoIterator<Item = Key>) -> Vec<Key> {
    let mut seen = HashSet::new();
    keys.into_iter().filter(|key| seen.insert(key.clone())).collect()
}

#[deny(clippy::missing_trait_methods)]
impl ScopeStore for TieredScope {
    fn schema(&self) -> &Arc<Schema> {
        &self.schema
    }

    fn exists(&self, key: &Key) -> Result<bool> {
        if self.tier.trusts(self.generation) && self.near.exists(key).unwrap_or(false) {
            return Ok(true);
        }
        self.call_far(|far| far.exists(key))
    }

    fn fetch(&self, key: &Key) -> Result<Option<Row>> {
        let fill = match self.lookup(key) {
            Lookup::Hit(row) => return Ok(Some(row)),
            Lookup::Miss => true,
            Lookup::Down => false,
        };
        Ok(self.read(slice::from_ref(key), fill)?.pop().flatten())
    }

    fn fetch_many(&self, keys: &[Key]) -> Result<Vec<Option<Row>>> {
        let (mut rows, fill) = self.lookup_many(keys);
        let missing = keys.iter().zip(&rows).filter(|(_, row)| row.is_none());
        let missing = unique(missing.map(|(key, _)| key.clone()));
        if missing.is_empty() {
            return Ok(rows);
        }
        let read = self.read(&missing, fill)?;
        let read: HashMap<&Key, Option<Row>> = missing.iter().zip(read).collect();
        for (key, row) in keys.iter().zip(&mut rows).filter(|(_, row)| row.is_none()) {
            *row = read.get(key).cloned().flatten();
        }
        Ok(rows)
    }

    fn set(&self, row: Row) -> Result<()> {
        self.write(vec![row], |far, rows| rows.into_iter().try_for_each(|row| far.set(row)))
    }

    fn update(&self, row: Row) -> Result<Option<Row>> {
        self.write(vec![row], |far, mut rows| far.update(rows.pop().unwrap_or_default()))
    }

    fn insert(&self, row: Row) -> Result<Option<Row>> {
        let stored = self.insert_rows(vec![row], |far, mut rows| {
            Ok(vec![far.insert(rows.pop().unwrap_or_default())?])
        });
        Ok(stored?.pop().flatten())
    }

    fn insert_many(&self, rows: Vec<Row>) -> Result<Vec<Option<Row>>> {
        self.insert_rows(rows, |far, rows| far.insert_many(rows))
    }

    fn set_many(&self, rows: Vec<Row>) -> Result<()> {
        self.write(rows, |far, rows| far.set_many(rows))
    }

    fn pop(&self, key: &Key) -> Result<Option<Row>> {
        self.remove(slice::from_ref(key), |far| far.pop(key))
    }

    fn pop_many(&self, keys: &[Key]) -> Result<Vec<Option<Row>>> {
        self.remove(&unique(keys.iter().cloned()), |far| far.pop_many(keys))
    }

    fn keys(&self) -> Result<Keys> {
        self.call_far(|far| far.keys())
    }

    fn rows(&self) -> Result<Rows> {
        self.call_far(|far| far.rows())
    }

    fn len(&self) -> Result<u64> {
        self.call_far(|far| far.len())
    }

    fn clear(&self) -> Result<()> {
        self.change_all(|far| far.clear())
    }

    fn snapshot(&self) -> Result<Vec<Row>> {
        self.call_far(|far| far.snapshot())
    }

    fn replace_all(&self, rows: Vec<Row>) -> Result<()> {
        self.change_all(|far| far.replace_all(rows))
    }

    fn replace_expired(&self, rows: Vec<Row>, at: i64) -> Result<Vec<Option<Row>>> {
        self.insert_rows(rows, |far, rows| far.replace_expired(rows, at))
    }

    fn remove_expired(&self, keys: &[Key], at: i64) -> Result<()> {
        self.remove(&unique(keys.iter().cloned()), |far| far.remove_expired(keys, at))
    }

    fn replace_unchanged(&self, old: Option<&Row>, row: Row) -> Result<bool> {
        let keys = [self.schema.key_of(&row)];
        self.remove(&keys, |far| far.replace_unchanged(old, row))
    }

    fn touch(&self, key: &Key, at: i64, expires: Value) -> Result<bool> {
        self.remove(slice::from_ref(key), |far| far.touch(key, at, expires))
    }

    /// Purges the far store only: the near store never returns expired records.
    fn purge(&self, before: i64, limit: usize) -> Result<usize> {
        self.call_far(|far| far.purge(before, limit))
    }

    fn trim(&self, records: u64, limit: usize) -> Result<usize> {
        match self.call_far(|far| far.trim(records, limit))? {
            0 => Ok(0),
            removed => self.change_all(|_| Ok(removed)),
        }
    }

    fn live_keys(&self, at: i64) -> Result<Keys> {
        self.call_far(|far| far.live_keys(at))
    }

    fn live_rows(&self, at: i64) -> Result<Rows> {
        self.call_far(|far| far.live_rows(at))
    }

    fn live_len(&self, at: i64) -> Result<u64> {
        self.call_far(|far| far.live_len(at))
    }

    fn leases(&self) -> Option<&dyn Leases> {
        self.far.leases().map(|_| self as &dyn Leases)
    }

    /// Returns `None`: writes in a transaction of the far store would not reach the near store.
    fn table(&self) -> Option<&dyn std::any::Any> {
        None
    }
}
