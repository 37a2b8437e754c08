//! Batches of concurrent fetches and sets of futures.
//!
//! There is no background thread. A future puts its key or row into the queue of its scope. If no
//! batch is in flight, it also starts a job that takes what is queued, executes it as one statement,
//! and continues until the queue is empty. Whatever arrives while a statement is in flight becomes
//! the next batch, so that a lone caller never waits, and under load each round trip serves more
//! callers.
//!
//! If the last batch began more than [`SLOW`] ago, one more job is started, so that a statement that
//! hangs does not stop the others.
//!
//! # Invariants
//!
//! - `Queue::jobs` counts the jobs that drain the queue. A job ends under the lock that shows it an
//!   empty queue, so that an item is queued only while a job will take it.
//! - An item leaves the queue before its statement begins. A caller therefore never receives a
//!   record that was read before its call.
//! - Each item has its own result: if the statement fails, each item is executed alone, unless the
//!   store could not be reached. That is the result of the whole batch, and of each item that waited
//!   for it longer than [`SLOW`]: a call takes at most its deadline and this time.

#[cfg(test)]
mod tests;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_channel::oneshot;
use parking_lot::Mutex;

use super::{Core, in_one_step};
use crate::executor::Executor;
use crate::{Error, Key, Result, Row, Value};

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
        if self.queue.lock().push(item, executor.limit()) {
            let batcher = self.clone();
            executor.spawn(move || batcher.drain(execute));
        }
        receiver.await.unwrap_or_else(|_| panic!("the store panicked in a batch of calls"))
    }

    /// As [`Queue::take`]. The lock is released before the statement begins.
    fn next_batch(&self) -> Option<Batch<I, O>> {
        self.queue.lock().take()
    }

    fn drain(&self, execute: impl Fn(Vec<I>) -> Vec<Result<O>>) {
        while let Some((inputs, senders)) = self.next_batch() {
            // Without the senders of a batch that panicked, its futures panic.
            let results = catch_unwind(AssertUnwindSafe(|| execute(inputs))).unwrap_or_default();
            if let Some(Err(error)) = results.first()
                && error.is_unreachable()
            {
                self.queue.lock().refuse_waiting(error);
            }
            for (sender, result) in senders.into_iter().zip(results) {
                // The receiver is gone if the future was dropped.
                let _ = sender.send(result);
            }
        }
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
        let each = || keys.iter().map(|key| in_one_step(|| self.store.fetch(key))).collect();
        if keys.len() == 1 {
            return each();
        }
        match in_one_step(|| self.store.fetch_many(keys)) {
            Ok(rows) => rows.into_iter().map(Ok).collect(),
            Err(error) if error.is_unreachable() => refused(keys.len(), &error),
            Err(_) => each(),
        }
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
                Err(error) if error.is_unreachable() => return refused(rows.len(), &error),
                // One of the rows may be the cause: the others are stored.
                Err(_) => {}
            }
        }
        rows.into_iter().map(|row| self.set(Ok(row), None)).collect()
    }
}

/// The error of a store that could not be reached, for each call of a batch.
fn refused<T>(calls: usize, error: &Error) -> Vec<Result<T>> {
    (0..calls).map(|_| Err(error.clone())).collect()
}
