//! `get` for futures.

use std::error::Error as StdError;
use std::sync::Arc;
use std::thread;

use super::{Asked, Look, POLL, Ready};
use crate::compute::Role;
use crate::remote::CallClock;
use crate::scope::Core;
use crate::{Key, Result, Row};

impl Core {
    /// As [`get`](Core::get) for a computation that is a future. Threads that may wait call the store.
    pub(crate) async fn get_async<E, F>(
        self: &Arc<Self>,
        key: Result<Key>,
        compute: impl FnOnce() -> F,
    ) -> Result<Row>
    where
        E: Into<Box<dyn StdError + Send + Sync>>,
        F: Future<Output = Result<Row, E>>,
    {
        let asked = Arc::new(self.asked("get", key, false)?);
        let row = self.obtain_async(&asked, || async { compute().await.map(Some) }).await?;
        self.row_of(&asked, row)
    }

    async fn obtain_async<E, F>(
        self: &Arc<Self>,
        asked: &Arc<Asked>,
        compute: impl FnOnce() -> F,
    ) -> Result<Option<Row>>
    where
        E: Into<Box<dyn StdError + Send + Sync>>,
        F: Future<Output = Result<Option<Row>, E>>,
    {
        let clock = Arc::new(CallClock::default());
        let (mut guard, down) = loop {
            let (looks, key) = (clock.clone(), asked.clone());
            let look = self.run_blocking(move |core| looks.step(|| core.look(&key))).await?;
            let (old, down) = match look {
                Look::Return(row) => return Ok(row),
                Look::Missing { old, down } => (old, down),
            };
            if let Some(old) = self.served_while_computed(&old) {
                match self.flights.try_claim_elsewhere(&asked.key) {
                    Some(guard) => break (guard, down),
                    None => return Ok(Some(old)),
                }
            }
            let role = self.flights.claim_async(&asked.key, &self.schema).await;
            match role.map_err(|error| self.failed(asked, error))? {
                Role::Compute(guard) => break (guard, down),
                Role::Take(row) if row.is_some() || asked.optional => return Ok(row),
                Role::Take(_) | Role::Retry => {}
            }
        };
        let mut polled = clock.clone();
        let task = loop {
            let key = asked.clone();
            let prepare = move |core: &Self| polled.step(|| core.prepare(&key, guard, down));
            match self.run_blocking(prepare).await? {
                Ready::Return(row) => return Ok(row),
                Ready::Compute(task) => break task,
                Ready::Wait(waiting) => guard = waiting,
            }
            blocking::unblock(|| thread::sleep(POLL)).await;
            // Waiting for another process is not part of the deadline.
            polled = Arc::default();
        };
        let computed = task.guard.compute(compute).await.map_err(Into::into);
        let asked = asked.clone();
        // The guard goes along: if this future is dropped, the flight lands when the store is done.
        self.run_blocking(move |core| clock.step(|| core.finish(&asked, task, computed))).await
    }

    /// Makes a call where it may wait: in a thread of a pool, unless the store never waits.
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
