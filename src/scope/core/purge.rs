//! The removal of expired records, in small steps.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::{Core, in_one_step};
use crate::Result;
use crate::freshness::Freshness;

/// After how many written records a step of removal follows at the latest.
const STEP: usize = 64;

/// How many records one step of [`Core::purge`] removes at the most.
const BATCH: usize = 1_000;

/// Says when writes pay for the removal of expired records.
///
/// A step removes up to twice as many records as were written since the one before it, so that
/// removal keeps up with any steady stream of writes. Each handle counts its own writes: with `n`
/// processes up to `n` times the step is written between two of them.
#[derive(Debug)]
pub(super) struct Pace {
    written: AtomicUsize,
    /// After how many written records a step follows.
    step: usize,
    purges: bool,
    max_records: Option<u64>,
}

impl Pace {
    pub(super) fn new(freshness: &Freshness) -> Self {
        let max_records = freshness.max_records;
        // A bound is exceeded by what is written between two steps.
        let quarter = max_records.map(|most| usize::try_from(most / 4).unwrap_or(STEP).max(1));
        let step = quarter.map_or(STEP, |quarter| quarter.min(STEP));
        let purges = freshness.auto_purge.unwrap_or(true);
        Self { written: AtomicUsize::new(0), step, purges, max_records }
    }

    /// Counts written records. Returns how many were written since the last step if one is due.
    fn due(&self, count: usize) -> Option<usize> {
        let written = self.written.fetch_add(count, Ordering::Relaxed) + count;
        (written >= self.step)
            .then(|| self.written.swap(0, Ordering::Relaxed))
            .filter(|due| *due > 0)
    }
}

impl Core {
    /// Removes some of what is expired, and of what is beyond the bound, if it is time to. The
    /// writes were acknowledged by the store, so that an error here is not theirs: the next step
    /// makes up for it.
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

    /// Removes all records that are past their last window, in batches, and gives how many.
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
