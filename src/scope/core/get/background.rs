//! `get_in_background`: returns a stale record while a thread computes the new one.

use std::error::Error as StdError;
use std::sync::Arc;
use std::thread;

use super::{Lookup, Miss, Ready, Request};
use crate::compute::ComputeGuard;
use crate::remote::CallClock;
use crate::scope::Core;
use crate::{Key, Result, Row};

impl Core {
    /// Like [`get`](Core::get), but returns a stale record immediately within
    /// `stale_while_revalidate`, and computes the new one in a separate thread.
    pub(crate) fn get_in_background<E, F>(
        self: &Arc<Self>,
        key: Result<Key>,
        compute: F,
    ) -> Result<Row>
    where
        E: Into<Box<dyn StdError + Send + Sync>>,
        F: FnOnce() -> Result<Row, E> + Send + 'static,
    {
        let request = self.request("get_in_background", key, false)?;
        let clock = CallClock::default();
        let miss = match clock.step(|| self.lookup(&request))? {
            Lookup::Return(row) => return self.row_of(&request, row),
            Lookup::Missing(miss) => miss,
        };
        let Some(stale) = self.served_while_computed(&miss.old) else {
            let lookup = Lookup::Missing(miss);
            let row = self.obtain_after(&request, clock, lookup, || compute().map(Some))?;
            return self.row_of(&request, row);
        };
        if let Some(guard) = self.flights.try_claim_elsewhere(&request.key) {
            let core = self.clone();
            let run = move || core.run_in_background(&request, guard, &miss, compute);
            // If the thread cannot be spawned, a later call computes.
            let _ = thread::Builder::new().name("hilcat-refresh".to_owned()).spawn(run);
        }
        Ok(stale)
    }

    /// Computes and stores the record. After a failure the stale record is served until its windows
    /// end.
    fn run_in_background<E>(
        &self,
        request: &Request,
        guard: ComputeGuard,
        miss: &Miss,
        compute: impl FnOnce() -> Result<Row, E>,
    ) where
        E: Into<Box<dyn StdError + Send + Sync>>,
    {
        let ready = CallClock::default().step(|| self.prepare(request, guard, miss));
        if let Ok(Ready::Compute(task)) = ready {
            let computed = task.guard.run(compute).map(Some);
            let _ = CallClock::default().step(|| self.finish(request, task, computed));
        }
    }
}
