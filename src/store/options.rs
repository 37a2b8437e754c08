//! What the options of every URI and the builder have in common.

use std::time::Duration;

/// The options that every backend takes, from a URI or from
/// [`CacheBuilder`](crate::CacheBuilder).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Options {
    /// The deadline of one call; 5 seconds by default.
    pub timeout: Duration,
    /// How many connections are kept at the most; 8 by default.
    pub pool_size: u32,
    /// How long records are good for in scopes that do not say it themselves.
    pub ttl: Option<Duration>,
}

impl Default for Options {
    fn default() -> Self {
        Self { timeout: Duration::from_secs(5), pool_size: 8, ttl: None }
    }
}
