//! `get` and its kin for futures.
//!
//! The steps are those of the blocking calls. The steps that call the store run on the threads of
//! the executor; waiting for another computation or another process holds no thread.
//!
//! A future can be dropped at each await. The right to compute the key and its lease belong to the
//! future, or to the step that it waits for, and end with it: the lease is given back by a thread of
//! the executor. The last step, which stores the computed record, runs to its end once it is queued.

use std::error::Error as StdError;
use std::sync::Arc;
use std::time::Instant;

use futures_timer::Delay;

use super::{Lookup, Miss, POLL, Ready, Request, Task};
use crate::compute::{ComputeGuard, Role};
use crate::remote::CallClock;
use crate::scope::Core;
use crate::scope::core::in_one_step;
use crate::{Key, Result, Row};

/// The error of a computation.
type Failure = Box<dyn StdError + Send + Sync>;

impl Core {
    /// As [`get`](Core::get).
    pub(crate) async fn get_async<E, F>(
        self: &Arc<Self>,
        key: Result<Key>,
        compute: impl FnOnce() -> F,
    ) -> Result<Row>
    where
        E: Into<Failure>,
        F: Future<Output = Result<Row, E>>,
    {
        let request = Arc::new(self.request("get", key, false)?);
        let (lookup, clock) = self.lookup_async(&request).await?;
        let compute = || async { compute().await.map(Some) };
        let row = self.obtain_async(&request, lookup, clock, compute).await?;
        self.row_of(&request, row)
    }

    /// As [`get_optional`](Core::get_optional).
    pub(crate) async fn get_optional_async<E, F>(
        self: &Arc<Self>,
        key: Result<Key>,
        compute: impl FnOnce() -> F,
    ) -> Result<Option<Row>>
    where
        E: Into<Failure>,
        F: Future<Output = Result<Option<Row>, E>>,
    {
        let request = Arc::new(self.request("get_optional", key, true)?);
        let (lookup, clock) = self.lookup_async(&request).await?;
        self.obtain_async(&request, lookup, clock, compute).await
    }

    /// As [`get_in_background`](Core::get_in_background); the executor runs the computation.
    pub(crate) async fn get_in_background_async<E, F>(
        self: &Arc<Self>,
        key: Result<Key>,
        compute: impl FnOnce() -> F + Send + 'static,
    ) -> Result<Row>
    where
        E: Into<Failure>,
        F: Future<Output = Result<Row, E>> + Send + 'static,
    {
        let request = Arc::new(self.request("get_in_background", key, false)?);
        let (lookup, clock) = self.lookup_async(&request).await?;
        let miss = match lookup {
            Lookup::Return(row) => return self.row_of(&request, row),
            Lookup::Missing(miss) => miss,
        };
        let compute = || async { compute().await.map(Some) };
        let Some(stale) = self.served_while_computed(&miss.old) else {
            let lookup = Lookup::Missing(miss);
            let row = self.obtain_async(&request, lookup, clock, compute).await?;
            return self.row_of(&request, row);
        };
        if let Some(guard) = self.flights.try_claim_elsewhere(&request.key) {
            let core = self.clone();
            self.executor.spawn_future(async move {
                // A failure leaves the stale record for as long as its windows last.
                let _ = core.compute_once(&request, guard, miss, compute).await;
            });
        }
        Ok(stale)
    }

    /// Computes a record unless it is stored or another process computes it.
    async fn compute_once<E, F>(
        self: &Arc<Self>,
        request: &Arc<Request>,
        guard: ComputeGuard,
        miss: Miss,
        compute: impl FnOnce() -> F,
    ) -> Result<()>
    where
        E: Into<Failure>,
        F: Future<Output = Result<Option<Row>, E>>,
    {
        let clock = Arc::new(CallClock::default());
        if let Ready::Compute(task) = self.prepare_async(request, &clock, guard, miss).await? {
            let computed = task.guard.compute(compute).await.map_err(Into::into);
            self.finish_async(request, clock, task, computed).await?;
        }
        Ok(())
    }

    /// Looks the record up. Returns the clock of the call, which has spent the time of the lookup.
    async fn lookup_async(
        self: &Arc<Self>,
        request: &Arc<Request>,
    ) -> Result<(Lookup, Arc<CallClock>)> {
        let began = Instant::now();
        let lookup = if request.optional {
            let request = request.clone();
            self.run_blocking(move |core| in_one_step(|| core.lookup(&request))).await?
        } else {
            let landed = self.flights.landed();
            let row = self.fetch_stored(request.key.clone()).await;
            self.looked(request, row, landed)?
        };
        Ok((lookup, Arc::new(CallClock::with_spent(began.elapsed()))))
    }

    async fn obtain_async<E, F>(
        self: &Arc<Self>,
        request: &Arc<Request>,
        lookup: Lookup,
        mut clock: Arc<CallClock>,
        compute: impl FnOnce() -> F,
    ) -> Result<Option<Row>>
    where
        E: Into<Failure>,
        F: Future<Output = Result<Option<Row>, E>>,
    {
        let mut first = Some(lookup);
        let (mut guard, miss) = loop {
            let lookup = match first.take() {
                Some(lookup) => lookup,
                None => self.lookup_async(request).await?.0,
            };
            let miss = match lookup {
                Lookup::Return(row) => return Ok(row),
                Lookup::Missing(miss) => miss,
            };
            if let Some(old) = self.served_while_computed(&miss.old) {
                match self.flights.try_claim_elsewhere(&request.key) {
                    Some(guard) => break (guard, miss),
                    None => return Ok(Some(old)),
                }
            }
            let role = self.flights.claim_async(&request.key, &self.schema).await;
            match role.map_err(|error| self.failed(request, error))? {
                Role::Compute(guard) => break (guard, miss),
                Role::Take(row) if row.is_some() || request.optional => return Ok(row),
                Role::Take(_) | Role::Retry => {}
            }
        };
        let task = loop {
            match self.prepare_async(request, &clock, guard, miss.clone()).await? {
                Ready::Return(row) => return Ok(row),
                Ready::Compute(task) => break task,
                Ready::Wait(waiting) => guard = waiting,
            }
            Delay::new(POLL).await;
            // Waiting for another process is not part of the deadline.
            clock = Arc::default();
        };
        let computed = task.guard.compute(compute).await.map_err(Into::into);
        self.finish_async(request, clock, task, computed).await
    }

    async fn prepare_async(
        self: &Arc<Self>,
        request: &Arc<Request>,
        clock: &Arc<CallClock>,
        guard: ComputeGuard,
        miss: Miss,
    ) -> Result<Ready> {
        let (request, clock) = (request.clone(), clock.clone());
        let prepare = move |core: &Self| {
            let mut ready = clock.step(|| core.prepare(&request, guard, &miss))?;
            if let Ready::Compute(Task { lease: Some(lease), .. }) = &mut ready {
                lease.release_by(&core.executor);
            }
            Ok(ready)
        };
        self.run_blocking(prepare).await
    }

    async fn finish_async(
        self: &Arc<Self>,
        request: &Arc<Request>,
        clock: Arc<CallClock>,
        task: Task,
        computed: Result<Option<Row>, Failure>,
    ) -> Result<Option<Row>> {
        let request = request.clone();
        self.finish_blocking(move |core| clock.step(|| core.finish(&request, task, computed))).await
    }

    /// Makes a call on a thread of the executor, unless the store never waits. It is not made if the
    /// future is dropped before it has begun.
    pub(crate) async fn run_blocking<T: Send + 'static>(
        self: &Arc<Self>,
        call: impl FnOnce(&Self) -> T + Send + 'static,
    ) -> T {
        if self.non_blocking {
            return call(self);
        }
        let core = self.clone();
        self.executor.run(move || call(&core)).await
    }

    /// The same for a call that is made even if the future is dropped.
    pub(crate) async fn finish_blocking<T: Send + 'static>(
        self: &Arc<Self>,
        call: impl FnOnce(&Self) -> T + Send + 'static,
    ) -> T {
        if self.non_blocking {
            return call(self);
        }
        let core = self.clone();
        self.executor.finish(move || call(&core)).await
    }
}
