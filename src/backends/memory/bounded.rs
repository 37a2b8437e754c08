//! The map with a bound: one for all scopes, which knows what is used least.

use std::collections::BinaryHeap;
use std::hash::{BuildHasher, Hasher};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Weak};

use hashbrown::Equivalent;
use moka::ops::compute::Op;
use moka::sync::Cache;
use parking_lot::{Mutex, RwLock};

use super::rows::{Change, ChangeMany, Hash, NEVER, Place, Rows, Staged, Stored};
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
    hash: Hash,
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
        let hash = Hash::default();
        Self { records: builder.build_with_hasher(hash.clone()), hash }
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
    expiries: [Mutex<Expiries>; PARTS],
    /// The part with which the next purge begins.
    next: AtomicUsize,
}

/// In how many parts the expiries are, so that writers rarely wait for one another.
const PARTS: usize = 16;

/// Some of the records that expire, the first one first.
///
/// Invariant: each record with an expiry that is in the map is in one of the parts. It is there as
/// long as it is not due, unless it was replaced, removed or evicted meanwhile, which its
/// reference shows; those are cleared out when there are many.
#[derive(Default)]
struct Expiries {
    heap: BinaryHeap<Expiring>,
    /// How many there were when they were last cleared out.
    kept: usize,
}

struct Expiring(i64, Weak<Stored>);

impl PartialEq for Expiring {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}

impl Eq for Expiring {}

impl PartialOrd for Expiring {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

/// The first one is the greatest.
impl Ord for Expiring {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        other.0.cmp(&self.0)
    }
}

impl Expiries {
    fn push(&mut self, stored: &Arc<Stored>) {
        if self.heap.len() > 128.max(2 * self.kept) {
            self.heap.retain(|expiring| expiring.1.strong_count() > 0);
            self.kept = self.heap.len();
        }
        self.heap.push(Expiring(stored.expires, Arc::downgrade(stored)));
    }

    /// The next record that is due; `None` in it if it is gone.
    fn pop_due(&mut self, before: i64) -> Option<Option<Arc<Stored>>> {
        let due = self.heap.peek().is_some_and(|expiring| expiring.0 <= before);
        if due { self.heap.pop().map(|expiring| expiring.1.upgrade()) } else { None }
    }
}

impl std::fmt::Debug for Bounded {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Bounded").finish_non_exhaustive()
    }
}

impl Bounded {
    pub(super) fn new(shared: Shared, scope: usize) -> Self {
        Self {
            shared,
            scope,
            gate: RwLock::default(),
            expiries: Default::default(),
            next: AtomicUsize::new(0),
        }
    }

    fn slot(&self, key: &Key) -> Slot {
        Slot { scope: self.scope, key: key.clone() }
    }

    /// Notes when a record expires, before it is in the map.
    fn note(&self, key: &Key, stored: &Arc<Stored>) {
        if stored.expires != NEVER {
            let part = self.shared.hash.hash_one(key) as usize % PARTS;
            self.expiries[part].lock().push(stored);
        }
    }

    /// Removes a record unless another one has taken its place.
    fn remove(&self, stored: &Arc<Stored>) -> bool {
        let key = stored.key();
        let mut removed = false;
        let done = self.change(&key, &mut |found| {
            removed = found.is_some_and(|found| Arc::ptr_eq(found, stored));
            Ok(found.filter(|_| !removed).cloned())
        });
        done.is_ok() && removed
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
                        Some(stored) if found_is(&outcome, &stored) => Op::Nop,
                        Some(stored) => {
                            self.note(key, &stored);
                            Op::Put(stored)
                        }
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
                Some(stored) => {
                    self.note(key, &stored);
                    self.shared.records.insert(self.slot(key), stored);
                }
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

    fn live_len(&self, at: i64) -> usize {
        let records = self.shared.records.iter();
        let live = |stored: &Arc<Stored>| stored.expires > at;
        records.filter(|(slot, stored)| slot.scope == self.scope && live(stored)).count()
    }

    fn purge(&self, before: i64, limit: usize) -> usize {
        let first = self.next.fetch_add(1, Ordering::Relaxed);
        let mut removed = 0;
        for at in 0..PARTS {
            let part = &self.expiries[first.wrapping_add(at) % PARTS];
            while removed < limit {
                // The lock of a part is never held while the map is changed.
                let Some(due) = part.lock().pop_due(before) else { break };
                removed += usize::from(due.is_some_and(|stored| self.remove(&stored)));
            }
        }
        removed
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
            let key = stored.key();
            self.note(&key, &stored);
            self.shared.records.insert(self.slot(&key), stored);
        }
    }
}

/// Whether it is the record that is there already.
fn found_is(outcome: &Result<Place>, stored: &Arc<Stored>) -> bool {
    matches!(outcome, Ok(Some(found)) if Arc::ptr_eq(found, stored))
}

#[cfg(test)]
impl Shared {
    /// Does what is due: the bound is kept some time after a write.
    pub(super) fn settle(&self) {
        self.records.run_pending_tasks();
    }
}
