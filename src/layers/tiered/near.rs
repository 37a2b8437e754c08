//! The near store of a tier: copies of records of the far store, each with an optional end of its
//! time to live.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crate::clock::{SharedClock, after};
use crate::store::{ScopeStore, is_live};
use crate::{Key, Result, Row, Schema, Value};

/// The column of the near store for the end of a record's time to live there.
pub(super) const NEAR_UNTIL: &str = "hilcat_near_until";

/// The number of added records after which expired ones are removed.
const STEP: usize = 64;

/// A near scope. It never returns an expired record, so expired keys are read from the far store.
#[derive(Debug)]
pub(super) struct Near {
    store: Arc<dyn ScopeStore>,
    schema: Arc<Schema>,
    /// The time to live of a record in the near store.
    ttl: Option<Duration>,
    clock: SharedClock,
    /// The number of records added since expired ones were last removed.
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

    /// Returns whether records can expire.
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

    /// Returns the record without hilcat's near column, or `None` if it is expired.
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

    /// Stores complete records of the far store.
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

    /// Removes expired records, in step with added ones. Those that remain are never returned.
    fn make_room(&self, given: usize) {
        let given = self.given.fetch_add(given, Ordering::Relaxed) + given;
        if given >= STEP && self.expires() {
            self.given.store(0, Ordering::Relaxed);
            let _ = self.store.purge(self.clock.micros(), given.saturating_mul(2));
        }
    }
}
