//! Writes that take effect when a transaction is committed.

use std::cell::RefCell;
use std::sync::Arc;

use super::Flights;
use crate::Key;

type Written = Vec<(Arc<Flights>, Key)>;

thread_local! {
    /// What this thread wrote on the connection that it is lent, if it is lent one.
    static WRITTEN: RefCell<Option<Written>> = const { RefCell::new(None) };
}

/// Collects the writes of this thread while it is lent a connection. When this is dropped, which is
/// after the commit, the computations of their keys are void once more: those that began in between
/// may have seen what was there before.
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
    /// Voids the computations of these keys: called by a write in a transaction before it is sent.
    ///
    /// It does not wait for one that is being stored, which may itself wait for a lock of the
    /// transaction.
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
