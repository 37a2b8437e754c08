//! A map without bounds: hash tables, each with its own lock.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::hash::BuildHasher;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use hashbrown::HashTable;
use hashbrown::hash_table::Entry;
use parking_lot::{RwLock, RwLockWriteGuard};

use super::rows::{Change, ChangeMany, Current, KeyHash, NEVER, Rows, Staged, Stored};
use crate::{Key, Result};

/// The number of shards, which is the number of bits of a `u64`.
const SHARDS: usize = 64;

/// The records of a shard, and an index of their expiries.
///
/// Invariant: for each record with an expiry, the index has a pair of this expiry and the hash of
/// the record's key. The index may also have pairs of records that were replaced or removed, so a
/// due record is looked up by its pair. When there are many such pairs, the index is rebuilt.
#[derive(Debug, Default)]
struct Table {
    records: HashTable<Arc<Stored>>,
    expiries: BinaryHeap<Reverse<(i64, u64)>>,
}

/// The index of a shard with fewer pairs is not rebuilt.
const MIN_REBUILD: usize = 128;

/// Aligned so that two shards do not share a cache line.
#[derive(Debug, Default)]
#[repr(align(64))]
struct Shard(RwLock<Table>);

#[derive(Debug)]
pub(super) struct Sharded {
    shards: Box<[Shard; SHARDS]>,
    hash: KeyHash,
    /// The shard that the next purge starts with.
    next: AtomicUsize,
}

impl Shard {
    fn is_due(&self, before: i64) -> bool {
        let table = self.0.read();
        table.expiries.peek().is_some_and(|Reverse((expires, _))| *expires <= before)
    }
}

/// Returns the shard of a hash. The bits at both ends are used by the table itself.
fn shard_of(hash: u64) -> usize {
    (hash >> 40) as usize % SHARDS
}

fn lookup(table: &Table, hash: u64, key: &Key) -> Current {
    table.records.find(hash, |stored| stored.is_of(key)).cloned()
}

impl Sharded {
    pub(super) fn new() -> Self {
        let shards = Box::new(std::array::from_fn(|_| Shard::default()));
        Self { shards, hash: KeyHash::default(), next: AtomicUsize::new(0) }
    }

    /// Stores or removes the record of a key.
    fn put(&self, table: &mut Table, hash: u64, key: &Key, current: Current) {
        if let Some(stored) = current.as_ref().filter(|stored| stored.expires != NEVER) {
            table.expiries.push(Reverse((stored.expires, hash)));
        }
        let rehash = |stored: &Arc<Stored>| stored.hash(&self.hash);
        let entry = table.records.entry(hash, |stored| stored.is_of(key), rehash);
        match (entry, current) {
            (Entry::Occupied(mut entry), Some(stored)) => *entry.get_mut() = stored,
            (Entry::Occupied(entry), None) => drop(entry.remove()),
            (Entry::Vacant(entry), Some(stored)) => drop(entry.insert(stored)),
            (Entry::Vacant(_), None) => {}
        }
        if table.expiries.len() > MIN_REBUILD.max(2 * table.records.len()) {
            self.rebuild_expiries(table);
        }
    }

    fn rebuild_expiries(&self, table: &mut Table) {
        let expiring = table.records.iter().filter(|stored| stored.expires != NEVER);
        table.expiries =
            expiring.map(|stored| Reverse((stored.expires, stored.hash(&self.hash)))).collect();
    }

    /// Removes up to `limit` due records of a shard.
    fn purge_shard(table: &mut Table, before: i64, limit: usize) -> usize {
        let mut removed = 0;
        while removed < limit
            && let Some(&Reverse((expires, hash))) = table.expiries.peek()
            && expires <= before
        {
            table.expiries.pop();
            let due = table.records.find_entry(hash, |stored| stored.expires == expires);
            if let Ok(due) = due {
                due.remove();
                removed += 1;
            }
        }
        removed
    }

    /// Locks the shards of a batch, always in the same order to avoid deadlocks.
    fn lock_all(&self, hashes: &[u64]) -> Vec<Option<RwLockWriteGuard<'_, Table>>> {
        let wanted = hashes.iter().fold(0_u64, |wanted, hash| wanted | 1 << shard_of(*hash));
        let shards = self.shards.iter().enumerate();
        shards.map(|(at, shard)| (wanted >> at & 1 == 1).then(|| shard.0.write())).collect()
    }
}

impl Rows for Sharded {
    fn get(&self, key: &Key) -> Current {
        let hash = self.hash.hash_one(key);
        lookup(&self.shards[shard_of(hash)].0.read(), hash, key)
    }

    fn change(&self, key: &Key, change: &mut Change<'_>) -> Result<Current> {
        let hash = self.hash.hash_one(key);
        let mut table = self.shards[shard_of(hash)].0.write();
        let found = lookup(&table, hash, key);
        let current = change(found.as_ref())?;
        if matches!((&found, &current), (Some(found), Some(new)) if Arc::ptr_eq(found, new)) {
            return Ok(found);
        }
        self.put(&mut table, hash, key, current);
        Ok(found)
    }

    fn change_many(&self, keys: &[Key], change: &mut ChangeMany<'_>) -> Result<Vec<Current>> {
        let hashes: Vec<u64> = keys.iter().map(|key| self.hash.hash_one(key)).collect();
        let mut locked = self.lock_all(&hashes);
        let find = |at: usize, key: &Key| {
            let table = locked[shard_of(hashes[at])].as_ref()?;
            lookup(table, hashes[at], key)
        };
        let staged = Staged::new(keys, find, change)?;
        for (key, (at, current)) in staged.changed {
            if let Some(table) = &mut locked[shard_of(hashes[at])] {
                self.put(table, hashes[at], key, current);
            }
        }
        Ok(staged.found)
    }

    /// Shards are iterated one after the other; the records of each are collected when it is
    /// reached.
    fn all(self: Arc<Self>) -> Box<dyn Iterator<Item = Arc<Stored>> + Send> {
        let of_shard = move |at: usize| -> Vec<_> {
            self.shards[at].0.read().records.iter().cloned().collect()
        };
        Box::new((0..SHARDS).flat_map(of_shard))
    }

    fn len(&self) -> usize {
        self.shards.iter().map(|shard| shard.0.read().records.len()).sum()
    }

    fn live_len(&self, at: i64) -> usize {
        let live = |shard: &Shard| {
            let table = shard.0.read();
            let first = table.expiries.peek();
            match first.is_some_and(|Reverse((expires, _))| *expires <= at) {
                true => table.records.iter().filter(|stored| stored.expires > at).count(),
                false => table.records.len(),
            }
        };
        self.shards.iter().map(live).sum()
    }

    /// Each call starts with another shard, so that small limits reach all shards.
    fn purge(&self, before: i64, limit: usize) -> usize {
        let first = self.next.fetch_add(1, Ordering::Relaxed);
        let mut removed = 0;
        for at in 0..SHARDS {
            let shard = &self.shards[first.wrapping_add(at) % SHARDS];
            if removed < limit && shard.is_due(before) {
                removed += Self::purge_shard(&mut shard.0.write(), before, limit - removed);
            }
        }
        removed
    }

    fn clear(&self) {
        self.shards.iter().for_each(|shard| *shard.0.write() = Table::default());
    }

    /// The new tables are built before any lock is taken.
    fn replace(&self, records: Vec<Arc<Stored>>) {
        let mut tables: [Table; SHARDS] = std::array::from_fn(|_| Table::default());
        for stored in records {
            let hash = stored.hash(&self.hash);
            let key = stored.key();
            self.put(&mut tables[shard_of(hash)], hash, &key, Some(stored));
        }
        let locked: Vec<_> = self.shards.iter().map(|shard| shard.0.write()).collect();
        locked.into_iter().zip(tables).for_each(|(mut shard, table)| *shard = table);
    }
}

#[cfg(test)]
impl Sharded {
    /// Returns the number of indexed expiries.
    pub(super) fn expiry_count(&self) -> usize {
        self.shards.iter().map(|shard| shard.0.read().expiries.len()).sum()
    }
}
