//! What the near store of a tier holds: records of the far one, and until when it may answer with
//! them.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crate::clock::{SharedClock, after};
use crate::store::{ScopeStore, is_live};
use crate::{Key, Result, Row, Schema, Value};

/// The column of the near store that says until when it may answer.
pub(super) const NEAR_UNTIL: &str = "hilcat_near_until";

/// After how many records that the near store is given it removes some that are over.
const STEP: usize = 64;

/// A near scope. A record that is expired is not in it: the far store says what has become of it.
#[derive(Debug)]
pub(super) struct Near {
    store: Arc<dyn ScopeStore>,
    schema: Arc<Schema>,
    /// How long it answers with a record that it was given.
    ttl: Option<Duration>,
    clock: SharedClock,
    /// The records that it was given since it removed those that are over.
    given: AtomicUsize,
}

impl Near {
    pub(super) fn new(
        store: Arc<dyn ScopeStore>,
        schema: &Arc<Schema>,
        ttl: Option<Duration>,
        clock: &SharedClock,
    ) -> Self {
        let (schema, clock, given) = (schema.clone(), clock.clone(), AtomicUsize::new(0));
        Self { store, schema, ttl, clock, given }
    }

    /// Whether a record in it may be over.
    fn expires(&self) -> bool {
        self.ttl.is_some() || self.schema.expiry_column().is_some()
    }

    pub(super) fn exists(&self, key: &Key) -> Result<bool> {
        match self.expires() {
            true => Ok(self.fetch(key)?.is_some()),
            false => self.store.exists(key),
        }
    }

    pub(super) fn fetch(&self, key: &Key) -> Result<Option<Row>> {
        Ok(self.store.fetch(key)?.and_then(|row| self.answer(row)))
    }

    pub(super) fn fetch_many(&self, keys: &[Key]) -> Result<Vec<Option<Row>>> {
        let rows = self.store.fetch_many(keys)?.into_iter();
        Ok(rows.map(|row| row.and_then(|row| self.answer(row))).collect())
    }

    /// A record as the far store has it, if it is not over.
    fn answer(&self, mut row: Row) -> Option<Row> {
        if !self.expires() {
            return Some(row);
        }
        let now = self.clock.micros();
        if self.ttl.is_some() {
            row.pop().filter(|until| matches!(until, Value::Timestamp(until) if now < *until))?;
        }
        Some(row).filter(|row| is_live(&self.schema, row, now))
    }

    /// Gives it records of the far store, whole ones.
    pub(super) fn set_many(&self, mut rows: Vec<Row>) -> Result<()> {
        let given = rows.len();
        if let Some(ttl) = self.ttl {
            let until = after(self.clock.micros(), ttl);
            rows.iter_mut().for_each(|row| row.push(Value::Timestamp(until)));
        }
        self.store.set_many(rows)?;
        self.make_room(given);
        Ok(())
    }

    pub(super) fn pop_many(&self, keys: &[Key]) -> Result<()> {
        self.store.pop_many(keys).map(drop)
    }

    /// Removes records that are over in step with those that are given. One that stays is not seen.
    fn make_room(&self, given: usize) {
        let given = self.given.fetch_add(given, Ordering::Relaxed) + given;
        if given >= STEP && self.expires() {
            self.given.store(0, Ordering::Relaxed);
            let _ = self.store.purge(self.clock.micros(), given.saturating_mul(2));
        }
    }
}
