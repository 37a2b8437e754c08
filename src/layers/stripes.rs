//! Striped locks: a fixed number of locks, to each of which a part of the keys is mapped.

use std::hash::BuildHasher;

use foldhash::quality::RandomState;
use parking_lot::{Mutex, MutexGuard};

use crate::Key;

const COUNT: usize = 64;

/// Values behind locks, each for a part of the keys.
#[derive(Debug)]
pub(super) struct Stripes<T> {
    stripes: Vec<Mutex<T>>,
    hash: RandomState,
}

impl<T: Default> Default for Stripes<T> {
    fn default() -> Self {
        let stripes = (0..COUNT).map(|_| Mutex::default()).collect();
        Self { stripes, hash: RandomState::default() }
    }
}

/// The locked stripes of some keys.
pub(super) struct Held<'a, T> {
    /// Sorted by index.
    stripes: Vec<(usize, MutexGuard<'a, T>)>,
    hash: &'a RandomState,
}

impl<T> Stripes<T> {
    /// Locks the stripes of keys in ascending order, so that two calls cannot deadlock.
    pub(super) fn lock(&self, keys: &[Key]) -> Held<'_, T> {
        let mut places: Vec<usize> = keys.iter().map(|key| place(&self.hash, key)).collect();
        places.sort_unstable();
        places.dedup();
        self.lock_places(places)
    }

    /// Locks all stripes.
    pub(super) fn lock_all(&self) -> Held<'_, T> {
        self.lock_places(0..COUNT)
    }

    fn lock_places(&self, places: impl IntoIterator<Item = usize>) -> Held<'_, T> {
        let stripes = places.into_iter().map(|at| (at, self.stripes[at].lock())).collect();
        Held { stripes, hash: &self.hash }
    }
}

impl<T> Held<'_, T> {
    /// Returns the value for a key, or `None` if its stripe is not locked.
    pub(super) fn of(&mut self, key: &Key) -> Option<&mut T> {
        let place = place(self.hash, key);
        let at = self.stripes.binary_search_by_key(&place, |(place, _)| *place).ok()?;
        Some(&mut self.stripes[at].1)
    }

    /// Iterates over the values of all locked stripes.
    pub(super) fn values(&mut self) -> impl Iterator<Item = &mut T> {
        self.stripes.iter_mut().map(|(_, value)| &mut **value)
    }
}

fn place(hash: &RandomState, key: &Key) -> usize {
    (hash.hash_one(key) >> 32) as usize % COUNT
}
