//! Who computes, and who waits for whom.
//!
//! A thread that computes is somebody, and so is a future: it is a child of whoever computes what
//! it is made for, and may run beside other children of it. Whoever waits lets all those wait that
//! it is a descendant of.

use std::cell::RefCell;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;

use crate::{Error, ErrorKind, Result};

/// Somebody who computes: its number, and before it those of whoever it computes for.
#[derive(Debug, Clone)]
pub(super) struct Who(Arc<[u64]>);

thread_local! {
    /// Who is at work in this thread.
    static CURRENT: RefCell<Option<Who>> = const { RefCell::new(None) };
}

fn number() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

impl Who {
    /// Whoever is at work in this thread.
    pub(super) fn current() -> Self {
        CURRENT.with_borrow_mut(|current| {
            current.get_or_insert_with(|| Self(Arc::new([number()]))).clone()
        })
    }

    /// Somebody who computes for this one.
    pub(super) fn child(&self) -> Self {
        Self(self.0.iter().copied().chain([number()]).collect())
    }

    /// Makes a call as this one.
    pub(super) fn run<T>(&self, call: impl FnOnce() -> T) -> T {
        struct Restore(Option<Who>);
        impl Drop for Restore {
            fn drop(&mut self) {
                CURRENT.set(self.0.take());
            }
        }
        let _restore = Restore(CURRENT.replace(Some(self.clone())));
        call()
    }

    fn own(&self) -> u64 {
        self.0[self.0.len() - 1]
    }
}

/// One wait: who waits, and the number of the one it waits for.
struct Wait {
    number: u64,
    who: Who,
    target: u64,
}

/// All waits of the process: a circle here would never end.
static WAITS: Mutex<Vec<Wait>> = Mutex::new(Vec::new());

/// The note that somebody waits for somebody else.
pub(super) struct Waiting(u64);

impl Waiting {
    /// Notes that whoever is at work here waits for another one.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::ComputeCycle`] where that one, or somebody that it waits for in turn, can end only
    /// after this one.
    pub(super) fn begin(owner: &Who) -> Result<Self> {
        let who = Who::current();
        let mut waits = WAITS.lock();
        // Those that have to end before this one can go on.
        let mut needed = vec![owner.own()];
        let mut at = 0;
        while let Some(next) = needed.get(at).copied() {
            if who.0.contains(&next) {
                return Err(Error::new(
                    ErrorKind::ComputeCycle,
                    "the value is asked for by its own computation, which would wait for itself for ever",
                ));
            }
            for wait in waits.iter().filter(|wait| wait.who.0.contains(&next)) {
                if !needed.contains(&wait.target) {
                    needed.push(wait.target);
                }
            }
            at += 1;
        }
        let number = number();
        waits.push(Wait { number, target: owner.own(), who });
        Ok(Self(number))
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        WAITS.lock().retain(|wait| wait.number != self.0);
    }
}
