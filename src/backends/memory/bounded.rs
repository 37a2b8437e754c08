//! A map with a bound, shared by all scopes, that evicts the least used records.

use std::collections::BinaryHeap;
use std::hash::{BuildHasher, Hasher};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Weak};

use hashbrown::Equivalent;
use moka::ops::compute::Op;
use moka::sync::Cache;
use parking_lot::{Mutex, RwLock};

use super::rows::{Change, ChangeMany, Current, KeyHash, NEVER, Rows, Staged, Stored};
use crate::{Key, Result};

/// The bound of a map.
#[derive(Debug, Clone, Copy)]
pub(super) enum Bound {
    Entries(u64),
    Bytes(u64),
}

/// The records of all scopes.
#[derive(Clone)]
pub(super) struct Shared {
    records: Cache<Slot, Arc<Stored>, KeyHash>,
    hash: KeyHash,
}

/// A key of a scope.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Slot {
    scope: usize,
    key: Key,
}

/// A borrowed [`Slot`].
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
        let hash = KeyHash::default();
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
    /// Held shared to change a single key and exclusively for a batch, so that no other change
    /// happens between the reads and writes of a batch.
    batch_lock: RwLock<()>,
    expiries: [Mutex<Expiries>; PARTS],
    /// The part that the next purge starts with.
    next: AtomicUsize,
}

/// The number of parts of the expiry index, which reduces contention between writers.
const PARTS: usize = 16;

/// A part of the expiry index: a heap of records, the earliest expiry first.
///
/// Invariant: each record with an expiry in the map is in one of the parts until it is purged. A
/// part may also contain records that have been replaced, removed or evicted, whose weak reference
/// is dead; these are discarded when there are many.
#[derive(Default)]
struct Expiries {
    heap: BinaryHeap<Expiring>,
    /// The size of the heap after dead references were last discarded.
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

/// The earliest expiry is the greatest, since the heap is a max-heap.
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

    /// Removes the next due entry; its record is `None` if it is no longer in the map.
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
            batch_lock: RwLock::default(),
            expiries: Default::default(),
            next: AtomicUsize::new(0),
        }
    }

    fn slot(&self, key: &Key) -> Slot {
        Slot { scope: self.scope, key: key.clone() }
    }

    /// Adds a record to the expiry index, before it is inserted into the map.
    fn track_expiry(&self, key: &Key, stored: &Arc<Stored>) {
        if stored.expires != NEVER {
            let part = self.shared.hash.hash_one(key) as usize % PARTS;
            self.expiries[part].lock().push(stored);
        }
    }

    /// Removes a record unless it has been replaced.
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
    fn get(&self, key: &Key) -> Current {
        self.shared.records.get(&SlotRef(self.scope, key))
    }

    fn change(&self, key: &Key, change: &mut Change<'_>) -> Result<Current> {
        let _shared = self.batch_lock.read();
        let mut outcome = Ok(None);
        self.shared.records.entry(self.slot(key)).and_compute_with(|entry| {
            let found = entry.map(|entry| entry.into_value());
            match change(found.as_ref()) {
                Err(error) => {
                    outcome = Err(error);
                    Op::Nop
                }
                Ok(new) => {
                    let existed = found.is_some();
                    outcome = Ok(found);
                    match new {
                        Some(stored) if is_current(&outcome, &stored) => Op::Nop,
                        Some(stored) => {
                            self.track_expiry(key, &stored);
                            Op::Put(stored)
                        }
                        None if existed => Op::Remove,
                        None => Op::Nop,
                    }
                }
            }
        });
        outcome
    }

    fn change_many(&self, keys: &[Key], change: &mut ChangeMany<'_>) -> Result<Vec<Current>> {
        let _exclusive = self.batch_lock.write();
        let staged = Staged::new(keys, |_, key| self.get(key), change)?;
        for (key, (_, new)) in staged.changed {
            match new {
                Some(stored) => {
                    self.track_expiry(key, &stored);
                    self.shared.records.insert(self.slot(key), stored);
                }
                None => self.shared.records.invalidate(&SlotRef(self.scope, key)),
            }
        }
        Ok(staged.found)
    }

    /// The records are collected at the start; the bound limits their number.
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
        let _exclusive = self.batch_lock.write();
        for stored in self.list() {
            self.shared.records.invalidate(&SlotRef(self.scope, &stored.key()));
        }
    }

    fn replace(&self, records: Vec<Arc<Stored>>) {
        let _exclusive = self.batch_lock.write();
        for stored in self.list() {
            self.shared.records.invalidate(&SlotRef(self.scope, &stored.key()));
        }
        for stored in records {
            let key = stored.key();
            self.track_expiry(&key, &stored);
            self.shared.records.insert(self.slot(&key), stored);
        }
    }
}

/// Whether the record is already in the map.
fn is_current(outcome: &Result<Current>, stored: &Arc<Stored>) -> bool {
    matches!(outcome, Ok(Some(found)) if Arc::ptr_eq(found, stored))
}

#[cfg(test)]
impl Shared {
    /// Performs pending evictions: the bound is enforced some time after a write.
    pub(super) fn run_pending(&self) {
        self.records.run_pending_tasks();
    }
}
