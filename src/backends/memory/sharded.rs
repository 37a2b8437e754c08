//! The map without bounds: hash tables, each behind a lock of its own.

use std::hash::BuildHasher;
use std::sync::Arc;

use hashbrown::HashTable;
use hashbrown::hash_table::Entry;
use parking_lot::{RwLock, RwLockWriteGuard};

use super::rows::{Change, ChangeMany, Hash, Place, Rows, Staged, Stored};
use crate::{Key, Result};

/// As many as a `u64` has bits.
const SHARDS: usize = 64;

type Table = HashTable<Arc<Stored>>;

/// Two shards in one line of the processor's cache would slow one another down.
#[derive(Debug, Default)]
#[repr(align(64))]
struct Shard(RwLock<Table>);

#[derive(Debug)]
pub(super) struct Sharded {
    shards: Box<[Shard; SHARDS]>,
    hash: Hash,
}

/// The shard of a hash. The table within uses the bits at both ends.
fn shard_of(hash: u64) -> usize {
    (hash >> 40) as usize % SHARDS
}

fn look(table: &Table, hash: u64, key: &Key) -> Place {
    table.find(hash, |stored| stored.is_of(key)).cloned()
}

impl Sharded {
    pub(super) fn new() -> Self {
        let shards = Box::new(std::array::from_fn(|_| Shard::default()));
        Self { shards, hash: Hash::default() }
    }

    /// Makes something else stand at a key.
    fn put(&self, table: &mut Table, hash: u64, key: &Key, place: Place) {
        let entry = table.entry(hash, |stored| stored.is_of(key), |stored| stored.hash(&self.hash));
        match (entry, place) {
            (Entry::Occupied(mut entry), Some(stored)) => *entry.get_mut() = stored,
            (Entry::Occupied(entry), None) => drop(entry.remove()),
            (Entry::Vacant(entry), Some(stored)) => drop(entry.insert(stored)),
            (Entry::Vacant(_), None) => {}
        }
    }

    /// Locks the shards of a batch, always in one order, so that two batches cannot wait for one
    /// another.
    fn lock_all(&self, hashes: &[u64]) -> Vec<Option<RwLockWriteGuard<'_, Table>>> {
        let wanted = hashes.iter().fold(0_u64, |wanted, hash| wanted | 1 << shard_of(*hash));
        let shards = self.shards.iter().enumerate();
        shards.map(|(at, shard)| (wanted >> at & 1 == 1).then(|| shard.0.write())).collect()
    }
}

impl Rows for Sharded {
    fn get(&self, key: &Key) -> Place {
        let hash = self.hash.hash_one(key);
        look(&self.shards[shard_of(hash)].0.read(), hash, key)
    }

    fn change(&self, key: &Key, change: &mut Change<'_>) -> Result<Place> {
        let hash = self.hash.hash_one(key);
        let mut table = self.shards[shard_of(hash)].0.write();
        let found = look(&table, hash, key);
        let place = change(found.as_ref())?;
        self.put(&mut table, hash, key, place);
        Ok(found)
    }

    fn change_many(&self, keys: &[Key], change: &mut ChangeMany<'_>) -> Result<Vec<Place>> {
        let hashes: Vec<u64> = keys.iter().map(|key| self.hash.hash_one(key)).collect();
        let mut locked = self.lock_all(&hashes);
        let find = |at: usize, key: &Key| {
            let table = locked[shard_of(hashes[at])].as_ref()?;
            look(table, hashes[at], key)
        };
        let staged = Staged::new(keys, find, change)?;
        for (key, (at, place)) in staged.changed {
            if let Some(table) = &mut locked[shard_of(hashes[at])] {
                self.put(table, hashes[at], key, place);
            }
        }
        Ok(staged.found)
    }

    /// Shard by shard: of each the records are noted when its turn comes.
    fn all(self: Arc<Self>) -> Box<dyn Iterator<Item = Arc<Stored>> + Send> {
        let of_shard =
            move |at: usize| -> Vec<_> { self.shards[at].0.read().iter().cloned().collect() };
        Box::new((0..SHARDS).flat_map(of_shard))
    }

    fn len(&self) -> usize {
        self.shards.iter().map(|shard| shard.0.read().len()).sum()
    }

    fn clear(&self) {
        self.shards.iter().for_each(|shard| *shard.0.write() = Table::new());
    }

    /// The new tables are made first: nobody waits for longer than it takes to exchange them.
    fn replace(&self, records: Vec<Arc<Stored>>) {
        let mut tables: [Table; SHARDS] = std::array::from_fn(|_| Table::new());
        for stored in records {
            let hash = stored.hash(&self.hash);
            let key = stored.key();
            self.put(&mut tables[shard_of(hash)], hash, &key, Some(stored));
        }
        let locked: Vec<_> = self.shards.iter().map(|shard| shard.0.write()).collect();
        locked.into_iter().zip(tables).for_each(|(mut shard, table)| *shard = table);
    }
}
