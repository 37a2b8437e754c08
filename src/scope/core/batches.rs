//! Batches of concurrent fetches and sets of futures.
//!
//! There is no background thread. A future puts its key or row into the queue of its scope. If no
//! batch is in flight, it also queues a job of the executor, which takes what is queued and executes
//! it as one statement. Whatever arrives while a statement is in flight becomes the next batch, which
//! is a job of its own behind the other jobs of the executor. So a lone caller never waits, and under
//! load each round trip serves more callers.
//!
//! If the last batch began more than [`SLOW`] ago when an item arrives, one more job is queued, so
//! that a statement that hangs does not stop the others. The jobs of one queue are at most half of
//! those that can run at once.
//!
//! # Invariants
//!
//! - `Queue::jobs` counts the jobs of the queue, queued and running. It falls only under the lock that
//!   shows an empty queue, so that an item is queued only while a job will take it.
//! - An item leaves the queue before its statement begins. A caller therefore never receives a
//!   record that was read before its call.
//! - Each item has its own result: if the statement fails, each item is executed alone. Once the store
//!   cannot be reached, or a lock is held until the deadline, that is the result of the rest of the
//!   batch, so that a batch ends within two deadlines. If the server is down, it is also the result of
//!   each item that waited for the batch longer than [`SLOW`].

#[cfg(test)]
mod tests;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_channel::oneshot;
use parking_lot::Mutex;

use super::{Core, in_one_step};
use crate::executor::Executor;
use crate::{Error, ErrorKind, Key, Result, Row, Value};

/// The largest batch.
const MOST: usize = 1_000;

/// A batch that takes longer does not keep the next one waiting.
const SLOW: Duration = Duration::from_millis(20);

/// The queues of one scope.
#[derive(Debug, Default)]
pub(crate) struct Batches {
    fetches: Arc<Batcher<Key, Option<Row>>>,
    sets: Arc<Batcher<Row, ()>>,
}

#[derive(Debug)]
struct Batcher<I, O> {
    queue: Mutex<Queue<I, O>>,
}

#[derive(Debug)]
struct Queue<I, O> {
    items: Vec<Item<I, O>>,
    jobs: usize,
    /// When the last batch began.
    began: Option<Instant>,
}

#[derive(Debug)]
struct Item<I, O> {
    input: I,
    sender: oneshot::Sender<Result<O>>,
    queued: Instant,
}

/// The inputs of a batch, and where their results go.
type Batch<I, O> = (Vec<I>, Vec<oneshot::Sender<Result<O>>>);

impl<I, O> Default for Batcher<I, O> {
    fn default() -> Self {
        Self { queue: Mutex::new(Queue { items: Vec::new(), jobs: 0, began: None }) }
    }
}

impl<I: Send + 'static, O: Send + 'static> Batcher<I, O> {
    /// Executes one item, with others that are queued at the same time.
    async fn run(
        self: &Arc<Self>,
        executor: &Arc<Executor>,
        input: I,
        execute: impl Fn(Vec<I>) -> Vec<Result<O>> + Send + 'static,
    ) -> Result<O> {
        let (sender, receiver) = oneshot::channel();
        let item = Item { input, sender, queued: Instant::now() };
        let starts = self.queue.lock().push(item, executor.limit() / 2);
        if starts {
            self.clone().spawn_job(executor.clone(), execute);
        }
        receiver.await.unwrap_or_else(|_| panic!("the store panicked in a batch of calls"))
    }

    fn spawn_job(
        self: Arc<Self>,
        executor: Arc<Executor>,
        execute: impl Fn(Vec<I>) -> Vec<Result<O>> + Send + 'static,
    ) {
        let next = executor.clone();
        executor.spawn(move || {
            if self.execute_batch(&execute) {
                self.spawn_job(next, execute);
            }
        });
    }

    /// Executes one batch, if there is one. Returns whether the job is to be queued again.
    fn execute_batch(&self, execute: impl Fn(Vec<I>) -> Vec<Result<O>>) -> bool {
        // The lock is released before the statement begins.
        let batch = self.queue.lock().take();
        let Some((inputs, senders)) = batch else { return false };
        // Without the senders of a batch that panicked, its futures panic.
        let results = catch_unwind(AssertUnwindSafe(|| execute(inputs))).unwrap_or_default();
        if let Some(Err(error)) = results.first()
            && error.is_outage()
        {
            self.queue.lock().refuse_waiting(error);
        }
        for (sender, result) in senders.into_iter().zip(results) {
            // The receiver is gone if the future was dropped.
            let _ = sender.send(result);
        }
        self.queue.lock().continues()
    }
}

impl<I, O> Queue<I, O> {
    /// Returns whether one more job is to drain the queue.
    fn push(&mut self, item: Item<I, O>, limit: usize) -> bool {
        let slow = self.began.is_some_and(|began| item.queued >= began + SLOW);
        let starts = self.jobs == 0 || self.jobs < limit && slow;
        if starts {
            self.jobs += 1;
            self.began = Some(item.queued);
        }
        self.items.push(item);
        starts
    }

    /// Takes the next batch, without the items whose futures were dropped. Ends the job if there is
    /// none.
    fn take(&mut self) -> Option<Batch<I, O>> {
        self.items.retain(|item| !item.sender.is_canceled());
        if self.items.is_empty() {
            self.jobs -= 1;
            return None;
        }
        self.began = Some(Instant::now());
        let rest = self.items.split_off(self.items.len().min(MOST));
        let batch = std::mem::replace(&mut self.items, rest);
        Some(batch.into_iter().map(|item| (item.input, item.sender)).unzip())
    }

    /// Returns whether there are items for one more batch. Ends the job if there are none.
    fn continues(&mut self) -> bool {
        if self.items.is_empty() {
            self.jobs -= 1;
        }
        !self.items.is_empty()
    }

    /// Ends the calls that waited while the store could not be reached.
    fn refuse_waiting(&mut self, error: &Error) {
        let waited = |item: &mut Item<I, O>| item.queued.elapsed() >= SLOW;
        for item in self.items.extract_if(.., waited) {
            let _ = item.sender.send(Err(error.clone()));
        }
    }
}

impl Core {
    /// Fetches the stored row of a key, expired or not, together with those of other futures.
    pub(super) async fn fetch_stored(self: &Arc<Self>, key: Key) -> Result<Option<Row>> {
        if self.non_blocking {
            return in_one_step(|| self.store.fetch(&key));
        }
        let core = self.clone();
        let execute = move |keys: Vec<Key>| core.fetch_batch(&keys);
        self.batches.fetches.run(&self.executor, key, execute).await
    }

    fn fetch_batch(&self, keys: &[Key]) -> Vec<Result<Option<Row>>> {
        if keys.len() > 1 {
            match in_one_step(|| self.store.fetch_many(keys)) {
                Ok(rows) => return rows.into_iter().map(Ok).collect(),
                Err(error) if error.is_unreachable() => return refused(keys.len(), &error),
                Err(_) => {}
            }
        }
        each_alone(keys, |key| in_one_step(|| self.store.fetch(key)))
    }

    /// As [`fetch`](Core::fetch).
    pub(crate) async fn fetch_async(self: &Arc<Self>, key: Result<Key>) -> Result<Option<Row>> {
        let key = self.validate_key("fetch", key)?;
        let row = self.fetch_stored(key.clone()).await;
        Ok(self.live(row.map_err(|error| self.with_context("fetch", Some(&key), error))?))
    }

    /// As [`set`](Core::set).
    pub(crate) async fn set_async(
        self: &Arc<Self>,
        row: Result<Row>,
        ttl: Option<Duration>,
    ) -> Result<()> {
        let whole = row.as_ref().is_ok_and(|row| !row.iter().any(Value::is_absent));
        // In a batch the last row of a key counts as a whole, which one of some columns is not.
        if ttl.is_some() || !whole || self.non_blocking {
            return self.run_blocking(move |core| core.set(row, ttl)).await;
        }
        let row = self.validate_row("set", row)?;
        let key = self.schema.key_of(&row);
        let core = self.clone();
        let execute = move |rows: Vec<Row>| core.set_batch(rows);
        let set = self.batches.sets.run(&self.executor, row, execute).await;
        set.map_err(|error| self.with_context("set", Some(&key), error))
    }

    fn set_batch(&self, rows: Vec<Row>) -> Vec<Result<()>> {
        if rows.len() > 1 {
            match self.set_rows("set", rows.iter().cloned().map(Ok), None) {
                Ok(_) => return vec![Ok(()); rows.len()],
                Err(error) if error.is_unreachable() || error.kind() == ErrorKind::PartialWrite => {
                    return refused(rows.len(), &error);
                }
                // One of the rows may be the cause: the others are stored.
                Err(_) => {}
            }
        }
        each_alone(rows, |row| self.set(Ok(row), None))
    }
}

/// Executes the calls of a batch one by one, until the store cannot be reached.
fn each_alone<I, T>(
    inputs: impl IntoIterator<Item = I>,
    call: impl Fn(I) -> Result<T>,
) -> Vec<Result<T>> {
    let mut unreachable = None;
    let results = inputs.into_iter().map(|input| match &unreachable {
        Some(error) => Err(Error::clone(error)),
        None => call(input).inspect_err(|error| {
            unreachable = error.is_unreachable().then(|| error.clone());
        }),
    });
    results.collect()
}

/// The error of a store that could not be reached, for each call of a batch.
fn refused<T>(calls: usize, error: &Error) -> Vec<Result<T>> {
    (0..calls).map(|_| Err(error.clone())).collect()
}
