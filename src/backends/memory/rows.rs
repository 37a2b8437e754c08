//! The records of the memory backend, and the interface of the maps that store them.

use std::collections::HashMap;
use std::fmt;
use std::hash::{BuildHasher, Hasher};
use std::sync::Arc;

use crate::{Key, Result, Row, Schema, Value};

/// Hashes keys with a random seed, so that colliding keys cannot be chosen. The `fast` variant is
/// not used: with one seed in two hundred it would put consecutive numbers into a few shards.
pub(super) type KeyHash = foldhash::quality::RandomState;

/// A stored record.
#[derive(Debug)]
pub(super) struct Stored {
    pub(super) row: Row,
    /// The schema that the row was written under.
    pub(super) layout: Arc<Schema>,
    /// The expiry; [`NEVER`] without one.
    pub(super) expires: i64,
}

/// The expiry of a record without one.
pub(super) const NEVER: i64 = i64::MAX;

impl Stored {
    pub(super) fn new(row: Row, layout: Arc<Schema>) -> Self {
        let expires = layout.expiry_column().map(|column| &row[column]);
        let expires = if let Some(Value::Timestamp(expires)) = expires { *expires } else { NEVER };
        Self { row, layout, expires }
    }

    pub(super) fn key(&self) -> Key {
        self.layout.key_of(&self.row)
    }

    /// Whether this is the record of a key.
    pub(super) fn is_of(&self, key: &Key) -> bool {
        let mut values = key.values().iter().zip(&self.layout.key);
        values.all(|(value, &at)| self.row[at].same(value))
    }

    /// Returns the hash of the record's key, which equals that of the [`Key`].
    pub(super) fn hash(&self, hash: &KeyHash) -> u64 {
        let mut hasher = hash.build_hasher();
        self.layout.key.iter().for_each(|&at| self.row[at].hash_into(&mut hasher));
        hasher.finish()
    }

    /// Returns the approximate size in bytes.
    pub(super) fn size(&self) -> usize {
        size_of::<Self>() + self.row.iter().map(crate::Value::size).sum::<usize>()
    }
}

/// The current record of a key, if any.
pub(super) type Current = Option<Arc<Stored>>;

/// Maps the current record of a key to the new one.
pub(super) type Change<'a> = dyn FnMut(Option<&Arc<Stored>>) -> Result<Current> + 'a;

/// Like [`Change`], for the key at a position of a batch.
pub(super) type ChangeMany<'a> = dyn FnMut(usize, Option<&Arc<Stored>>) -> Result<Current> + 'a;

/// A concurrent map of records by key.
pub(super) trait Rows: Send + Sync + fmt::Debug {
    fn get(&self, key: &Key) -> Current;

    /// Changes the record of a key atomically, unless `change` fails. Returns the previous record.
    fn change(&self, key: &Key, change: &mut Change<'_>) -> Result<Current>;

    /// Changes the records of several keys in order, all or none. Returns the record that each
    /// change found.
    fn change_many(&self, keys: &[Key], change: &mut ChangeMany<'_>) -> Result<Vec<Current>>;

    /// Returns an iterator over all records, which holds no locks.
    fn all(self: Arc<Self>) -> Box<dyn Iterator<Item = Arc<Stored>> + Send>;

    fn len(&self) -> usize;

    /// Returns the number of records that expire after a time, or never.
    fn live_len(&self, at: i64) -> usize;

    /// Removes up to `limit` records that are expired at a time and returns their number. Other
    /// records are not visited.
    fn purge(&self, before: i64, limit: usize) -> usize;

    fn clear(&self);

    /// Replaces all records. Of several records with the same key, the last one is stored.
    fn replace(&self, records: Vec<Arc<Stored>>);
}

/// The changes of a batch before they are applied: the record that each change found, and the final
/// record of each key.
pub(super) struct Staged<'a> {
    pub(super) found: Vec<Current>,
    pub(super) changed: HashMap<&'a Key, (usize, Current), KeyHash>,
}

impl<'a> Staged<'a> {
    /// Computes the changes of a batch. If a key occurs again, its change finds the result of the
    /// previous one.
    pub(super) fn new(
        keys: &'a [Key],
        lookup: impl Fn(usize, &Key) -> Current,
        change: &mut ChangeMany<'_>,
    ) -> Result<Self> {
        let mut found = Vec::with_capacity(keys.len());
        let mut changed: HashMap<_, (usize, Current), KeyHash> = HashMap::default();
        for (at, key) in keys.iter().enumerate() {
            let current = match changed.get(key) {
                Some((_, current)) => current.clone(),
                None => lookup(at, key),
            };
            let next = change(at, current.as_ref())?;
            changed.insert(key, (at, next));
            found.push(current);
        }
        Ok(Self { found, changed })
    }
}
