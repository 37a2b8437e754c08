//! The removal of expired records, in small steps.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::{Core, in_one_step};
use crate::Result;
use crate::freshness::Freshness;

/// The maximum number of writes between two removal steps.
const STEP: usize = 64;

/// The maximum number of records removed by one step of [`Core::purge`].
const BATCH: usize = 1_000;

/// Decides which writes remove expired records.
///
/// A step removes up to double the number of records written since the previous step, so removal
/// keeps up with any steady stream of writes. Each opened scope counts its own writes: with
/// `n` processes, up to `n * step` records are written between two steps.
#[derive(Debug)]
pub(super) struct Pace {
    written: AtomicUsize,
    /// The number of writes after which a step follows.
    step: usize,
    purges: bool,
    max_records: Option<u64>,
}

impl Pace {
    pub(super) fn new(freshness: &Freshness) -> Self {
        let max_records = freshness.max_records;
        // Writes between two steps may exceed the bound.
        let quarter = max_records.map(|most| usize::try_from(most / 4).unwrap_or(STEP).max(1));
        let step = quarter.map_or(STEP, |quarter| quarter.min(STEP));
        let purges = freshness.auto_purge.unwrap_or(true);
        Self { written: AtomicUsize::new(0), step, purges, max_records }
    }

    /// Counts writes. If a step is due, returns how many records were written since the last one.
    fn due(&self, count: usize) -> Option<usize> {
        let written = self.written.fetch_add(count, Ordering::Relaxed) + count;
        (written >= self.step)
            .then(|| self.written.swap(0, Ordering::Relaxed))
            .filter(|due| *due > 0)
    }
}

impl Core {
    /// Removes some expired records, and some beyond the bound, if a step is due.
    ///
    /// An error is ignored, since the writes have succeeded; the next step removes the records.
    pub(super) fn after_writes(&self, count: usize) {
        let Some(expiry) = &self.expiry else { return };
        let Some(due) = self.pace.due(count) else { return };
        let limit = due.saturating_mul(2).clamp(STEP, BATCH.max(due.saturating_mul(2)));
        in_one_step(|| {
            if self.pace.purges {
                let _ = self.store.purge(expiry.horizon(), limit);
            }
            if let Some(most) = self.pace.max_records {
                let _ = self.store.trim(most, limit);
            }
        });
    }

    /// Removes all records past their last stale window, in batches, and returns how many.
    pub(crate) fn purge(&self) -> Result<u64> {
        let Some(expiry) = &self.expiry else { return Ok(0) };
        let mut removed = 0;
        loop {
            let step = in_one_step(|| self.store.purge(expiry.horizon(), BATCH));
            let step = step.map_err(|error| self.with_context("purge", None, error))?;
            removed += step as u64;
            if step < BATCH {
                break;
            }
        }
        Ok(removed + self.purge_absence()?)
    }
}
