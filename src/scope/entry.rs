//! A record with its freshness.

use std::time::SystemTime;

use crate::Result;

/// A stored record that is fresh, or stale and still within a window in which it may be served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry<T> {
    record: T,
    stale: bool,
    expires_at: Option<SystemTime>,
}

impl<T> Entry<T> {
    pub(super) fn read<R>(
        (row, stale, expires_at): (R, bool, Option<SystemTime>),
        read: impl FnOnce(R) -> Result<T>,
    ) -> Result<Self> {
        Ok(Self { record: read(row)?, stale, expires_at })
    }

    /// Returns the record.
    pub fn record(&self) -> &T {
        &self.record
    }

    /// Returns the record by value.
    pub fn into_record(self) -> T {
        self.record
    }

    /// Returns whether the record is past its expiry. Methods other than `get` and its variants
    /// treat a stale record as missing.
    pub fn is_stale(&self) -> bool {
        self.stale
    }

    /// Returns when the record expires or expired, or `None` if it never does.
    pub fn expires_at(&self) -> Option<SystemTime> {
        self.expires_at
    }
}
