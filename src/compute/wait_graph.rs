//! The graph of waiting computations, in which a cycle is an error.
//!
//! A computation runs in a thread or in a future. It is the parent of the computations that it
//! starts, and the children of one parent may run concurrently. A computation ends after its
//! descendants, so a waiting descendant makes all its ancestors wait.

use std::cell::RefCell;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;

use crate::{Error, ErrorKind, Result};

/// A computation: the numbers of its ancestors, from the outermost, and its own.
#[derive(Debug, Clone)]
pub(super) struct Computation(Arc<[u64]>);

thread_local! {
    /// The computation that runs in this thread.
    static CURRENT: RefCell<Option<Computation>> = const { RefCell::new(None) };
}

fn number() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

impl Computation {
    /// Returns the computation that runs in this thread, or a new one.
    pub(super) fn current() -> Self {
        CURRENT.with_borrow_mut(|current| {
            current.get_or_insert_with(|| Self(Arc::new([number()]))).clone()
        })
    }

    /// Returns a new child.
    pub(super) fn child(&self) -> Self {
        Self(self.0.iter().copied().chain([number()]).collect())
    }

    /// Runs a call as this computation.
    pub(super) fn run<T>(&self, call: impl FnOnce() -> T) -> T {
        struct Restore(Option<Computation>);
        impl Drop for Restore {
            fn drop(&mut self) {
                CURRENT.set(self.0.take());
            }
        }
        let _restore = Restore(CURRENT.replace(Some(self.clone())));
        call()
    }

    /// Makes a future and polls it as this computation.
    #[cfg(feature = "async")]
    pub(super) async fn compute<F: Future>(&self, make: impl FnOnce() -> F) -> F::Output {
        let mut future = std::pin::pin!(self.run(make));
        std::future::poll_fn(|context| self.run(|| future.as_mut().poll(context))).await
    }

    fn own(&self) -> u64 {
        self.0[self.0.len() - 1]
    }
}

/// A wait: an edge of the graph, from a computation to the number of its target.
struct Wait {
    number: u64,
    waiter: Computation,
    target: u64,
}

/// All waits of the process.
///
/// Invariant: they contain no cycle, since a wait is added only if no chain of waits leads from its
/// target back to the waiting computation, and both steps hold the lock.
static WAITS: Mutex<Vec<Wait>> = Mutex::new(Vec::new());

/// A wait that is in the graph until it is dropped.
pub(super) struct Waiting(u64);

impl Waiting {
    /// Adds a wait of this thread's computation for `owner`.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::ComputeCycle`] if `owner` can end only after this thread's computation.
    pub(super) fn begin(owner: &Computation) -> Result<Self> {
        let waiter = Computation::current();
        let mut waits = WAITS.lock();
        // The computations that have to end before the waiter can continue.
        let mut needed = vec![owner.own()];
        let mut at = 0;
        while let Some(next) = needed.get(at).copied() {
            if waiter.0.contains(&next) {
                return Err(Error::new(
                    ErrorKind::ComputeCycle,
                    "the computation needs the value that it computes, directly or through other computations, and would wait for itself for ever",
                ));
            }
            for wait in waits.iter().filter(|wait| wait.waiter.0.contains(&next)) {
                if !needed.contains(&wait.target) {
                    needed.push(wait.target);
                }
            }
            at += 1;
        }
        let number = number();
        waits.push(Wait { number, target: owner.own(), waiter });
        Ok(Self(number))
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        WAITS.lock().retain(|wait| wait.number != self.0);
    }
}
