//! The options of the memory backend.

use super::Memory;
use super::bounded::{Bound, Shared};
use crate::store::Uri;
use crate::{Error, Result};

/// Builds a [`Memory`] with a bound; made by [`Memory::builder`].
#[derive(Debug, Clone, Copy, Default)]
#[must_use = "a builder does nothing until it is built"]
pub struct MemoryBuilder {
    max_entries: Option<u64>,
    max_bytes: Option<u64>,
}

impl MemoryBuilder {
    /// Keeps at the most this many records, those of all scopes together.
    pub fn max_entries(mut self, max_entries: u64) -> Self {
        self.max_entries = Some(max_entries);
        self
    }

    /// Keeps records of at the most about this many bytes, keys included, those of all scopes
    /// together.
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

    /// The store.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidConfig`](crate::ErrorKind::InvalidConfig) where a bound is 0, or both
    /// are given.
    pub fn build(self) -> Result<Memory> {
        let bound = match (self.max_entries, self.max_bytes) {
            (Some(0), _) => return Err(nothing("max_entries")),
            (_, Some(0)) => return Err(nothing("max_bytes")),
            (Some(_), Some(_)) => {
                return Err(Error::invalid_config(
                    "`max_entries` and `max_bytes` are both given; give the one that matters",
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

fn nothing(option: &str) -> Error {
    Error::invalid_config(format!(
        "`{option}` is 0, which keeps nothing: give a number from 1, or use `noop:`"
    ))
}
