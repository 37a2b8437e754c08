//! What the memory backend keeps, and what it asks of the map that keeps it.

use std::collections::HashMap;
use std::fmt;
use std::hash::{BuildHasher, Hasher};
use std::sync::Arc;

use crate::{Key, Result, Row, Schema, Value};

/// The hash of keys. It is seeded at random, so that nobody can choose keys that collide. The fast
/// form of it would, under one seed in two hundred, leave numbers that follow one another in a few
/// shards.
pub(super) type Hash = foldhash::quality::RandomState;

/// A record as it is kept.
#[derive(Debug)]
pub(super) struct Stored {
    pub(super) row: Row,
    /// The schema that the row was written under.
    pub(super) layout: Arc<Schema>,
    /// When it expires; [`NEVER`] if it does not.
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

    /// Whether it is the record of this key.
    pub(super) fn is_of(&self, key: &Key) -> bool {
        let mut values = key.values().iter().zip(&self.layout.key);
        values.all(|(value, &at)| self.row[at].same(value))
    }

    /// The hash of its key: the same that the [`Key`] has.
    pub(super) fn hash(&self, hash: &Hash) -> u64 {
        let mut hasher = hash.build_hasher();
        self.layout.key.iter().for_each(|&at| self.row[at].hash_into(&mut hasher));
        hasher.finish()
    }

    /// About how many bytes it takes.
    pub(super) fn size(&self) -> usize {
        size_of::<Self>() + self.row.iter().map(crate::Value::size).sum::<usize>()
    }
}

/// What stands at a key: a record, or none.
pub(super) type Place = Option<Arc<Stored>>;

/// Says what shall stand at a key where this stands.
pub(super) type Change<'a> = dyn FnMut(Option<&Arc<Stored>>) -> Result<Place> + 'a;

/// The same for the key at a position of a batch.
pub(super) type ChangeMany<'a> = dyn FnMut(usize, Option<&Arc<Stored>>) -> Result<Place> + 'a;

/// A concurrent map of records by their keys.
pub(super) trait Rows: Send + Sync + fmt::Debug {
    fn get(&self, key: &Key) -> Place;

    /// Changes what stands at a key in one step, unless `change` fails, and gives what stood there.
    fn change(&self, key: &Key, change: &mut Change<'_>) -> Result<Place>;

    /// Changes what stands at several keys, all or none, one after the other, and gives what each
    /// of them found.
    fn change_many(&self, keys: &[Key], change: &mut ChangeMany<'_>) -> Result<Vec<Place>>;

    /// All records. No lock is held while it is read.
    fn all(self: Arc<Self>) -> Box<dyn Iterator<Item = Arc<Stored>> + Send>;

    fn len(&self) -> usize;

    /// How many records expire after a time, or never.
    fn live_len(&self, at: i64) -> usize;

    /// Removes up to `limit` of the records that are expired at a time, and gives how many. Looks at
    /// no other record.
    fn purge(&self, before: i64, limit: usize) -> usize;

    fn clear(&self);

    /// Puts records in place of all that stand; of two with one key the last one counts.
    fn replace(&self, records: Vec<Arc<Stored>>);
}

/// The changes of a batch before they are made: what each found, and what shall stand at the end.
pub(super) struct Staged<'a> {
    pub(super) found: Vec<Place>,
    pub(super) changed: HashMap<&'a Key, (usize, Place), Hash>,
}

impl<'a> Staged<'a> {
    /// Works out a batch. A key that stands in it twice finds what it left the first time.
    pub(super) fn new(
        keys: &'a [Key],
        look: impl Fn(usize, &Key) -> Place,
        change: &mut ChangeMany<'_>,
    ) -> Result<Self> {
        let mut found = Vec::with_capacity(keys.len());
        let mut changed: HashMap<_, (usize, Place), Hash> = HashMap::default();
        for (at, key) in keys.iter().enumerate() {
            let place = match changed.get(key) {
                Some((_, place)) => place.clone(),
                None => look(at, key),
            };
            let next = change(at, place.as_ref())?;
            changed.insert(key, (at, next));
            found.push(place);
        }
        Ok(Self { found, changed })
    }
}
