//! The map with a bound: one for all scopes, which knows what is used least.

use std::hash::Hasher;
use std::sync::Arc;

use hashbrown::Equivalent;
use moka::ops::compute::Op;
use moka::sync::Cache;
use parking_lot::RwLock;

use super::rows::{Change, ChangeMany, Hash, Place, Rows, Staged, Stored};
use crate::{Key, Result};

/// What is bounded.
#[derive(Debug, Clone, Copy)]
pub(super) enum Bound {
    Entries(u64),
    Bytes(u64),
}

/// The records of all scopes.
#[derive(Clone)]
pub(super) struct Shared {
    records: Cache<Slot, Arc<Stored>, Hash>,
}

/// A key of a scope.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Slot {
    scope: usize,
    key: Key,
}

/// The same, borrowed.
struct SlotRef<'a>(usize, &'a Key);

impl std::hash::Hash for SlotRef<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (self.0, self.1).hash(state);
    }
}

impl Equivalent<Slot> for SlotRef<'_> {
    fn equivalent(&self, slot: &Slot) -> bool {
        self.0 == slot.scope && *self.1 == slot.key
    }
}

impl Shared {
    pub(super) fn new(bound: Bound) -> Self {
        let builder = Cache::builder();
        let builder = match bound {
            Bound::Entries(entries) => builder.max_capacity(entries),
            Bound::Bytes(bytes) => builder.max_capacity(bytes).weigher(weight),
        };
        Self { records: builder.build_with_hasher(Hash::default()) }
    }
}

fn weight(slot: &Slot, stored: &Arc<Stored>) -> u32 {
    let size = size_of::<Slot>() + slot.key.size() + stored.size();
    u32::try_from(size).unwrap_or(u32::MAX)
}

/// The records of one scope.
pub(super) struct Bounded {
    shared: Shared,
    scope: usize,
    /// One who changes a single key holds it with others, a batch alone: nothing comes between
    /// what a batch finds and what it leaves.
    gate: RwLock<()>,
}

impl std::fmt::Debug for Bounded {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Bounded").finish_non_exhaustive()
    }
}

impl Bounded {
    pub(super) fn new(shared: Shared, scope: usize) -> Self {
        Self { shared, scope, gate: RwLock::default() }
    }

    fn slot(&self, key: &Key) -> Slot {
        Slot { scope: self.scope, key: key.clone() }
    }

    fn list(&self) -> Vec<Arc<Stored>> {
        let records = self.shared.records.iter();
        records.filter(|(slot, _)| slot.scope == self.scope).map(|(_, stored)| stored).collect()
    }
}

impl Rows for Bounded {
    fn get(&self, key: &Key) -> Place {
        self.shared.records.get(&SlotRef(self.scope, key))
    }

    fn change(&self, key: &Key, change: &mut Change<'_>) -> Result<Place> {
        let _with_others = self.gate.read();
        let mut outcome = Ok(None);
        self.shared.records.entry(self.slot(key)).and_compute_with(|entry| {
            let found = entry.map(|entry| entry.into_value());
            match change(found.as_ref()) {
                Err(error) => {
                    outcome = Err(error);
                    Op::Nop
                }
                Ok(place) => {
                    let stood = found.is_some();
                    outcome = Ok(found);
                    match place {
                        Some(stored) => Op::Put(stored),
                        None if stood => Op::Remove,
                        None => Op::Nop,
                    }
                }
            }
        });
        outcome
    }

    fn change_many(&self, keys: &[Key], change: &mut ChangeMany<'_>) -> Result<Vec<Place>> {
        let _alone = self.gate.write();
        let staged = Staged::new(keys, |_, key| self.get(key), change)?;
        for (key, (_, place)) in staged.changed {
            match place {
                Some(stored) => self.shared.records.insert(self.slot(key), stored),
                None => self.shared.records.invalidate(&SlotRef(self.scope, key)),
            }
        }
        Ok(staged.found)
    }

    /// They are noted at the start: there are no more of them than the bound allows.
    fn all(self: Arc<Self>) -> Box<dyn Iterator<Item = Arc<Stored>> + Send> {
        Box::new(self.list().into_iter())
    }

    fn len(&self) -> usize {
        self.shared.records.iter().filter(|(slot, _)| slot.scope == self.scope).count()
    }

    fn clear(&self) {
        let _alone = self.gate.write();
        for stored in self.list() {
            self.shared.records.invalidate(&SlotRef(self.scope, &stored.key()));
        }
    }

    fn replace(&self, records: Vec<Arc<Stored>>) {
        let _alone = self.gate.write();
        for stored in self.list() {
            self.shared.records.invalidate(&SlotRef(self.scope, &stored.key()));
        }
        for stored in records {
            self.shared.records.insert(self.slot(&stored.key()), stored);
        }
    }
}

#[cfg(test)]
impl Shared {
    /// Does what is due: the bound is kept some time after a write.
    pub(super) fn settle(&self) {
        self.records.run_pending_tasks();
    }
}
