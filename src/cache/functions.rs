//! The scopes of cached functions, found without a lock.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use super::Cache;
use crate::scope::Core;
use crate::{Result, Schema};

/// The number of a function in this process.
#[derive(Debug, Default)]
pub(crate) struct Number(OnceLock<usize>);

impl Number {
    pub(crate) const fn new() -> Self {
        Self(OnceLock::new())
    }

    fn get(&self) -> usize {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        *self.0.get_or_init(|| NEXT.fetch_add(1, Ordering::Relaxed))
    }
}

/// How many places the first part has; each one after it has twice as many.
const FIRST: usize = 16;

/// As many as there can be functions in a program.
const PARTS: usize = 24;

type Part = OnceLock<Box<[OnceLock<Arc<Core>>]>>;

/// Places by the numbers of functions. They never move, so that nobody waits who reads one.
#[derive(Default)]
pub(super) struct Functions {
    parts: [Part; PARTS],
}

impl Functions {
    fn place(&self, number: usize) -> Option<&OnceLock<Arc<Core>>> {
        let part = ((number / FIRST) + 1).ilog2() as usize;
        let before = FIRST * ((1 << part) - 1);
        let places = || (0..FIRST << part).map(|_| OnceLock::new()).collect();
        self.parts.get(part)?.get_or_init(places).get(number - before)
    }
}

impl Cache {
    /// The scope of a function, where it was called before.
    #[inline]
    pub(crate) fn known_function(&self, number: &Number) -> Option<Arc<Core>> {
        self.inner.functions.place(number.get())?.get().cloned()
    }

    /// The scope of a function; opened where it is called for the first time.
    pub(crate) fn of_function(
        &self,
        number: &Number,
        schema: impl FnOnce() -> Result<Schema>,
    ) -> Result<Arc<Core>> {
        if let Some(core) = self.known_function(number) {
            return Ok(core);
        }
        let core = self.open(schema()?)?;
        Ok(match self.inner.functions.place(number.get()) {
            Some(place) => place.get_or_init(|| core).clone(),
            None => core,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_has_a_place_of_its_own() {
        let functions = Functions::default();
        let mut seen = std::collections::HashSet::new();
        for number in 0..1_000 {
            let place = functions.place(number).unwrap();
            assert!(seen.insert(std::ptr::from_ref(place)), "{number}");
            assert!(std::ptr::eq(place, functions.place(number).unwrap()));
        }
    }
}
