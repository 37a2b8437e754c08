//! The scopes of cached functions, found without a lock.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use super::Cache;
use crate::scope::Core;
use crate::{Result, Schema};

/// The number of a cached function in this process.
#[derive(Debug, Default)]
pub(crate) struct FunctionId(OnceLock<usize>);

impl FunctionId {
    pub(crate) const fn new() -> Self {
        Self(OnceLock::new())
    }

    fn get(&self) -> usize {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        *self.0.get_or_init(|| NEXT.fetch_add(1, Ordering::Relaxed))
    }
}

/// The number of slots in the first part; each further part has double the slots of the previous.
const FIRST: usize = 16;

/// Enough parts for 268 million functions.
const PARTS: usize = 24;

type Part = OnceLock<Box<[OnceLock<Arc<Core>>]>>;

/// The scopes by function number. A slot never moves once its part is allocated, so reads take no
/// lock.
#[derive(Default)]
pub(super) struct Functions {
    parts: [Part; PARTS],
}

impl Functions {
    fn slot(&self, number: usize) -> Option<&OnceLock<Arc<Core>>> {
        let part = ((number / FIRST) + 1).ilog2() as usize;
        let before = FIRST * ((1 << part) - 1);
        let slots = || (0..FIRST << part).map(|_| OnceLock::new()).collect();
        self.parts.get(part)?.get_or_init(slots).get(number - before)
    }
}

impl Cache {
    /// Returns the scope of a function that was called before.
    #[inline]
    pub(crate) fn opened_function(&self, number: &FunctionId) -> Option<Arc<Core>> {
        self.inner.functions.slot(number.get())?.get().cloned()
    }

    /// Returns the scope of a function, and opens it on the first call.
    pub(crate) fn function_scope(
        &self,
        number: &FunctionId,
        schema: impl FnOnce() -> Result<Schema>,
    ) -> Result<Arc<Core>> {
        if let Some(core) = self.opened_function(number) {
            return Ok(core);
        }
        let core = self.open(schema()?)?;
        Ok(match self.inner.functions.slot(number.get()) {
            Some(slot) => slot.get_or_init(|| core).clone(),
            None => core,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_has_its_own_slot() {
        let functions = Functions::default();
        let mut seen = std::collections::HashSet::new();
        for number in 0..1_000 {
            let slot = functions.slot(number).unwrap();
            assert!(seen.insert(std::ptr::from_ref(slot)), "{number}");
            assert!(std::ptr::eq(slot, functions.slot(number).unwrap()));
        }
    }
}
