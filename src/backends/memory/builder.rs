//! The options of the memory backend.

use super::Memory;
use super::bounded::{Bound, Shared};
use crate::store::Uri;
use crate::{Error, Result};

/// Builds a [`Memory`] with a bound; created by [`Memory::builder`].
#[derive(Debug, Clone, Copy, Default)]
#[must_use = "a builder does zero_bound until it is built"]
pub struct MemoryBuilder {
    max_entries: Option<u64>,
    max_bytes: Option<u64>,
}

impl MemoryBuilder {
    /// Limits the number of records in all scopes together.
    pub fn max_entries(mut self, max_entries: u64) -> Self {
        self.max_entries = Some(max_entries);
        self
    }

    /// Limits the approximate size of the records in all scopes together, in bytes, including keys.
    pub fn max_bytes(mut self, max_bytes: u64) -> Self {
        self.max_bytes = Some(max_bytes);
        self
    }

    /// Takes the options of a URI.
    pub(super) fn from_uri(uri: &mut Uri) -> Result<Self> {
        let max_entries = uri.take_parsed("max_entries", "a number from 1")?;
        let max_bytes = uri.take_parsed("max_bytes", "a number of bytes from 1")?;
        Ok(Self { max_entries, max_bytes })
    }

    /// Returns the store.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidConfig`](crate::ErrorKind::InvalidConfig) if a bound is 0, or both
    /// bounds are given.
    pub fn build(self) -> Result<Memory> {
        let bound = match (self.max_entries, self.max_bytes) {
            (Some(0), _) => return Err(zero_bound("max_entries")),
            (_, Some(0)) => return Err(zero_bound("max_bytes")),
            (Some(_), Some(_)) => {
                return Err(Error::invalid_config(
                    "`max_entries` and `max_bytes` are both given; use one of them",
                ));
            }
            (Some(entries), None) => Some(Bound::Entries(entries)),
            (None, Some(bytes)) => Some(Bound::Bytes(bytes)),
            (None, None) => None,
        };
        let bound = bound.map(Shared::new);
        Ok(Memory { bound, ..Memory::new() })
    }
}

fn zero_bound(option: &str) -> Error {
    Error::invalid_config(format!(
        "`{option}` is 0, so zero_bound would be stored; use a number from 1, or `noop:`"
    ))
}
