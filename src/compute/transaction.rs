//! Tracks the writes of a transaction, which take effect when it is committed.

use std::cell::RefCell;
use std::sync::Arc;

use super::Flights;
use crate::Key;

type Written = Vec<(Arc<Flights>, Key)>;

thread_local! {
    /// The keys written by this thread on its checked-out connection, if it has one.
    static WRITTEN: RefCell<Option<Written>> = const { RefCell::new(None) };
}

/// Collects the writes of this thread while it has a connection checked out.
///
/// Dropping it, after the commit, voids the flights of the written keys again: a computation that
/// began between the write and the commit may have read the old value.
#[derive(Debug)]
pub(crate) struct TransactionWrites {
    outer: Option<Written>,
}

impl TransactionWrites {
    pub(crate) fn begin() -> Self {
        Self { outer: WRITTEN.replace(Some(Vec::new())) }
    }
}

impl Drop for TransactionWrites {
    fn drop(&mut self) {
        for (flights, key) in WRITTEN.replace(self.outer.take()).unwrap_or_default() {
            flights.void_unsent([key]);
        }
    }
}

impl Flights {
    /// Voids the flights of these keys. A write in a transaction calls this before it is sent.
    ///
    /// It does not wait for a storing flight, whose insert may wait for a lock of the transaction.
    pub(crate) fn void_in_transaction(self: &Arc<Self>, keys: impl IntoIterator<Item = Key>) {
        let keys: Vec<Key> = keys.into_iter().collect();
        WRITTEN.with_borrow_mut(|written| {
            if let Some(written) = written {
                written.extend(keys.iter().map(|key| (self.clone(), key.clone())));
            }
        });
        if self.is_busy() {
            self.void_unsent(keys);
        }
    }
}
