//! `get` for futures.

use std::error::Error as StdError;
use std::sync::Arc;
use std::thread;

use super::{Lookup, POLL, Ready, Request};
use crate::compute::Role;
use crate::remote::CallClock;
use crate::scope::Core;
use crate::{Key, Result, Row};

impl Core {
    /// Like [`get`](Core::get), for a future. Calls of the store run in threads that may block.
    pub(crate) async fn get_async<E, F>(
        self: &Arc<Self>,
        key: Result<Key>,
        compute: impl FnOnce() -> F,
    ) -> Result<Row>
    where
        E: Into<Box<dyn StdError + Send + Sync>>,
        F: Future<Output = Result<Row, E>>,
    {
        let request = Arc::new(self.request("get", key, false)?);
        let row = self.obtain_async(&request, || async { compute().await.map(Some) }).await?;
        self.row_of(&request, row)
    }

    async fn obtain_async<E, F>(
        self: &Arc<Self>,
        request: &Arc<Request>,
        compute: impl FnOnce() -> F,
    ) -> Result<Option<Row>>
    where
        E: Into<Box<dyn StdError + Send + Sync>>,
        F: Future<Output = Result<Option<Row>, E>>,
    {
        let clock = Arc::new(CallClock::default());
        let (mut guard, down) = loop {
            let (lookup_clock, key) = (clock.clone(), request.clone());
            let lookup =
                self.run_blocking(move |core| lookup_clock.step(|| core.lookup(&key))).await?;
            let (old, down) = match lookup {
                Lookup::Return(row) => return Ok(row),
                Lookup::Missing { old, down } => (old, down),
            };
            if let Some(old) = self.served_while_computed(&old) {
                match self.flights.try_claim_elsewhere(&request.key) {
                    Some(guard) => break (guard, down),
                    None => return Ok(Some(old)),
                }
            }
            let role = self.flights.claim_async(&request.key, &self.schema).await;
            match role.map_err(|error| self.failed(request, error))? {
                Role::Compute(guard) => break (guard, down),
                Role::Take(row) if row.is_some() || request.optional => return Ok(row),
                Role::Take(_) | Role::Retry => {}
            }
        };
        let mut polled = clock.clone();
        let task = loop {
            let key = request.clone();
            let prepare = move |core: &Self| polled.step(|| core.prepare(&key, guard, down));
            match self.run_blocking(prepare).await? {
                Ready::Return(row) => return Ok(row),
                Ready::Compute(task) => break task,
                Ready::Wait(waiting) => guard = waiting,
            }
            blocking::unblock(|| thread::sleep(POLL)).await;
            // Waiting for a different process is not part of the deadline.
            polled = Arc::default();
        };
        let computed = task.guard.compute(compute).await.map_err(Into::into);
        let request = request.clone();
        // The task takes the guard: if this future is dropped, the flight lands after the store
        // call.
        self.run_blocking(move |core| clock.step(|| core.finish(&request, task, computed))).await
    }

    /// Runs a call in a thread of the blocking pool, or here if the store never blocks.
    pub(crate) async fn run_blocking<T: Send + 'static>(
        self: &Arc<Self>,
        call: impl FnOnce(&Self) -> T + Send + 'static,
    ) -> T {
        if self.non_blocking {
            return call(self);
        }
        let core = self.clone();
        blocking::unblock(move || call(&core)).await
    }
}
