//! Threads that run the blocking calls of futures.
//!
//! # Invariants
//!
//! - There are at most `limit` threads. A thread is started only when a job is queued and no thread
//!   is idle; it ends after it has been idle for [`IDLE`].
//! - A queued job is run once by one thread, or dropped with the future that waits for it.
//! - No job waits for another job, so that the queue always advances.

#[cfg(test)]
mod tests;

use std::any::Any;
use std::collections::VecDeque;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use futures_channel::oneshot;
use parking_lot::{Condvar, Mutex, MutexGuard};

use crate::store::Options;

/// How long a thread waits for a job before it ends.
const IDLE: Duration = Duration::from_secs(2);

/// Threads of a store besides those that its connections can occupy.
const EXTRA: usize = 2;

type Job = Box<dyn FnOnce() + Send>;

/// A future that runs in the background.
pub(crate) type Background = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Runs a future in the background.
pub(crate) type Spawner = Arc<dyn Fn(Background) + Send + Sync>;

/// Runs the blocking calls of futures on a bounded number of threads.
pub(crate) struct Executor {
    limit: usize,
    queue: Mutex<Queue>,
    queued: Condvar,
    /// Set by the user of an [`AsyncCache`](crate::AsyncCache).
    pub(crate) spawner: Option<Spawner>,
}

#[derive(Default)]
struct Queue {
    jobs: VecDeque<Job>,
    threads: usize,
    idle: usize,
}

impl fmt::Debug for Executor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Executor").field("limit", &self.limit).finish_non_exhaustive()
    }
}

/// The executor of a store with the default number of connections.
impl Default for Executor {
    fn default() -> Self {
        Self::with_limit(Options::default().pool_size, None)
    }
}

impl Executor {
    /// Creates the executor of a store with this many connections.
    pub(crate) fn new(connections: u32, spawner: Option<Spawner>) -> Arc<Self> {
        Arc::new(Self::with_limit(connections, spawner))
    }

    fn with_limit(connections: u32, spawner: Option<Spawner>) -> Self {
        let limit = usize::try_from(connections).unwrap_or(usize::MAX).saturating_add(EXTRA);
        Self { limit, queue: Mutex::default(), queued: Condvar::new(), spawner }
    }

    /// Returns how many jobs can run at once.
    pub(crate) fn limit(&self) -> usize {
        self.limit
    }

    /// Makes a blocking call on one of the threads. If the future is dropped before the call has
    /// begun, the call is dropped with it; a call that has begun is finished.
    pub(crate) async fn run<T: Send + 'static>(
        self: &Arc<Self>,
        call: impl FnOnce() -> T + Send + 'static,
    ) -> T {
        let call = Cancellable(Arc::new(Mutex::new(Some(call))));
        let (sender, receiver) = oneshot::channel();
        let queued = call.0.clone();
        self.spawn(move || {
            if let Some(call) = take(&queued) {
                // The receiver is gone if the future was dropped meanwhile.
                let _ = sender.send(catch_unwind(AssertUnwindSafe(call)));
            }
        });
        received(receiver.await)
    }

    /// The same for a call that is made even if the future is dropped.
    pub(crate) async fn finish<T: Send + 'static>(
        self: &Arc<Self>,
        call: impl FnOnce() -> T + Send + 'static,
    ) -> T {
        let (sender, receiver) = oneshot::channel();
        self.spawn(move || drop(sender.send(catch_unwind(AssertUnwindSafe(call)))));
        received(receiver.await)
    }

    /// Queues a job.
    pub(crate) fn spawn(self: &Arc<Self>, job: impl FnOnce() + Send + 'static) {
        let mut queue = self.queue.lock();
        queue.jobs.push_back(Box::new(job));
        if queue.idle > 0 {
            self.queued.notify_one();
        }
        if queue.jobs.len() > queue.idle && queue.threads < self.limit {
            queue.threads += 1;
            drop(queue);
            self.start_thread();
        }
    }

    fn start_thread(self: &Arc<Self>) {
        let executor = self.clone();
        let work = move || executor.work();
        if thread::Builder::new().name("hilcat-async".to_owned()).spawn(work).is_err() {
            let mut queue = self.queue.lock();
            queue.threads -= 1;
            if queue.threads == 0 {
                // Without any thread, a job that stayed in the queue would never run.
                self.run_queued(&mut queue);
            }
        }
    }

    fn run_queued(&self, queue: &mut MutexGuard<'_, Queue>) {
        while let Some(job) = queue.jobs.pop_front() {
            // A panic in a job, such as a call of a third-party store, must not end the thread.
            let _ = MutexGuard::unlocked(queue, || catch_unwind(AssertUnwindSafe(job)));
        }
    }

    fn work(&self) {
        let mut queue = self.queue.lock();
        loop {
            self.run_queued(&mut queue);
            queue.idle += 1;
            let waited = self.queued.wait_for(&mut queue, IDLE);
            queue.idle -= 1;
            if waited.timed_out() && queue.jobs.is_empty() {
                queue.threads -= 1;
                return;
            }
        }
    }

    /// Runs a future in the background: by the spawner, or on the tokio runtime that the caller is
    /// in, or on a new thread.
    pub(crate) fn spawn_future(&self, future: impl Future<Output = ()> + Send + 'static) {
        let future: Background = Box::pin(future);
        if let Some(spawner) = &self.spawner {
            return spawner(future);
        }
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            drop(runtime.spawn(future));
            return;
        }
        // Without a thread, a later call computes.
        let run = move || pollster::block_on(future);
        let _ = thread::Builder::new().name("hilcat-refresh".to_owned()).spawn(run);
    }
}

/// A call in the queue, which is dropped with its future.
struct Cancellable<C>(Arc<Mutex<Option<C>>>);

impl<C> Drop for Cancellable<C> {
    fn drop(&mut self) {
        drop(take(&self.0));
    }
}

fn take<C>(call: &Mutex<Option<C>>) -> Option<C> {
    call.lock().take()
}

/// Returns the result of a job, and continues its panic.
fn received<T>(result: Result<Result<T, Box<dyn Any + Send>>, oneshot::Canceled>) -> T {
    match result {
        Ok(Ok(value)) => value,
        Ok(Err(panic)) => resume_unwind(panic),
        Err(oneshot::Canceled) => unreachable!("a job is dropped only with its future"),
    }
}
