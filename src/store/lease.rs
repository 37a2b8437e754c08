//! The right of one process to compute a record that others wait for.

use std::time::Duration;

use crate::{Error, Key, Result, Row};

/// How the holder of a lease fared when it stored what it computed.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum LeasedFill {
    /// The record is stored.
    Stored,
    /// The key had a record already, which is left as it is.
    Existing(Row),
    /// The lease is over, or was revoked by a removal: nothing is stored.
    Lost,
}

/// The error of a store without leases.
pub(crate) fn no_leases() -> Error {
    Error::unsupported("the backend has no leases")
}

/// The leases of a scope: at any time at most one holder has that of a key.
///
/// A holder is a text that no other computation has. Leases go by real time, on the server's clock
/// where there is a server.
///
/// In a scope whose schema says [`SingleFlight::Shared`](crate::SingleFlight::Shared), `pop`,
/// `pop_many` and `clear` also revoke the leases of what they remove, in the same atomic step or
/// before it.
pub trait Leases {
    /// Takes the lease of a key for a time, unless another holder has it. Returns whether it was
    /// taken; a holder that has it already takes it anew.
    ///
    /// # Errors
    ///
    /// Where the engine fails.
    fn acquire(&self, key: &Key, holder: &str, lease: Duration) -> Result<bool>;

    /// Extends a lease. Returns whether the holder still has it.
    ///
    /// # Errors
    ///
    /// Where the engine fails.
    fn renew(&self, key: &Key, holder: &str, lease: Duration) -> Result<bool>;

    /// Gives a lease back. It is no error if the holder does not have it any more.
    ///
    /// # Errors
    ///
    /// Where the engine fails.
    fn release(&self, key: &Key, holder: &str) -> Result<()>;

    /// Stores a record as [`replace_expired`](super::ScopeStore::replace_expired) does, if the
    /// holder has the lease of its key, and gives the lease back, in one atomic step: a removal
    /// that revoked the lease is never followed by the record.
    ///
    /// # Errors
    ///
    /// As [`set`](super::ScopeStore::set).
    fn fill(&self, row: Row, at: i64, holder: &str) -> Result<LeasedFill>;
}
