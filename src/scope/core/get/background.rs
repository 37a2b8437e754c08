//! `get_in_background`: a stale record is returned, and a thread computes the new one.

use std::error::Error as StdError;
use std::sync::Arc;
use std::thread;

use super::{Asked, Look, Ready};
use crate::compute::ComputeGuard;
use crate::remote::CallClock;
use crate::scope::Core;
use crate::{Key, Result, Row};

impl Core {
    /// As [`get`](Core::get), but a stale record that may be served while it is computed anew is
    /// returned at once, whichever caller computes: a thread of its own does.
    pub(crate) fn get_in_background<E, F>(
        self: &Arc<Self>,
        key: Result<Key>,
        compute: F,
    ) -> Result<Row>
    where
        E: Into<Box<dyn StdError + Send + Sync>>,
        F: FnOnce() -> Result<Row, E> + Send + 'static,
    {
        let asked = self.asked("get_in_background", key, false)?;
        let clock = CallClock::default();
        let look = clock.step(|| self.look(&asked))?;
        let stale = match &look {
            Look::Return(_) => None,
            Look::Missing { old, .. } => self.served_while_computed(old),
        };
        let Some(stale) = stale else {
            let row = self.obtain_after(&asked, clock, look, || compute().map(Some))?;
            return self.row_of(&asked, row);
        };
        if let Some(guard) = self.flights.try_claim_elsewhere(&asked.key) {
            let core = self.clone();
            let run = move || core.run_in_background(&asked, guard, compute);
            // Without a thread a later call computes.
            let _ = thread::Builder::new().name("hilcat-refresh".to_owned()).spawn(run);
        }
        Ok(stale)
    }

    /// A failure leaves the stale record for as long as its windows last.
    fn run_in_background<E>(
        &self,
        asked: &Asked,
        guard: ComputeGuard,
        compute: impl FnOnce() -> Result<Row, E>,
    ) where
        E: Into<Box<dyn StdError + Send + Sync>>,
    {
        let ready = CallClock::default().step(|| self.prepare(asked, guard, false));
        if let Ok(Ready::Compute(task)) = ready {
            let computed = task.guard.run(compute).map(Some);
            let _ = CallClock::default().step(|| self.finish(asked, task, computed));
        }
    }
}
