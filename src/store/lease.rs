//! Leases: the right of one process to compute a record while others wait for it.

use std::time::Duration;

use crate::{Error, Key, Result, Row};

/// The result of [`Leases::fill`].
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum LeasedFill {
    /// The record was stored.
    Stored,
    /// The key already has this record, which was not changed.
    Existing(Row),
    /// The lease expired or was revoked by a removal. Nothing was stored.
    Lost,
}

/// Returns the error of a store without leases.
pub(crate) fn no_leases() -> Error {
    Error::unsupported("the backend has no leases")
}

/// The leases of a scope. At any time, at most one holder has the lease of a key.
///
/// A holder is a text that is unique to a computation. Leases expire by real time, measured by the
/// clock of the server if there is one.
///
/// In a scope with [`SingleFlight::Shared`](crate::SingleFlight::Shared), `pop`, `pop_many` and
/// `clear` also revoke the leases of the removed keys, in the same atomic step or before it. So a
/// value that was computed before a removal is never stored after it.
pub trait Leases {
    /// Acquires the lease of a key for a time, unless another holder has it. Returns whether it was
    /// acquired. A holder that already has the lease extends it.
    ///
    /// # Errors
    ///
    /// If the engine fails.
    fn acquire(&self, key: &Key, holder: &str, lease: Duration) -> Result<bool>;

    /// Extends a lease. Returns whether the holder still has it.
    ///
    /// # Errors
    ///
    /// If the engine fails.
    fn renew(&self, key: &Key, holder: &str, lease: Duration) -> Result<bool>;

    /// Releases a lease. It is no error if the holder no longer has it.
    ///
    /// # Errors
    ///
    /// If the engine fails.
    fn release(&self, key: &Key, holder: &str) -> Result<()>;

    /// Stores a record as [`replace_expired`](super::ScopeStore::replace_expired) does and releases
    /// the lease of its key, if the holder has that lease. All of this is one atomic step, so a
    /// removal that revokes the lease is never followed by the record.
    ///
    /// # Errors
    ///
    /// As [`set`](super::ScopeStore::set).
    fn fill(&self, row: Row, at: i64, holder: &str) -> Result<LeasedFill>;
}
