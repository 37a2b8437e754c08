//! The options common to all URIs and to the builder.

use std::time::Duration;

use crate::clock::SharedClock;
use crate::freshness::Freshness;

/// The options that every backend takes, from a URI or from
/// [`CacheBuilder`](crate::CacheBuilder).
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Options {
    /// The deadline of one call; 5 seconds by default.
    pub timeout: Duration,
    /// The maximum number of connections; 8 by default.
    pub pool_size: u32,
    /// The freshness options of scopes that do not set them. The cache adds them to the schemas
    /// that it opens; a backend can ignore them.
    pub freshness: Freshness,
    /// The clock that decides when records expire, for a backend whose server removes them.
    pub clock: SharedClock,
    /// Whether the store must not be changed: no file, directory, table, column or registry is
    /// created, and every write is an error. The registry wraps the store accordingly; a backend
    /// checks this only if opening itself would change something.
    pub read_only: bool,
    /// Whether a server is contacted by the first call instead of when opening. The registry
    /// implements this; a backend can ignore it.
    pub lazy: bool,
    /// With `read_only`: whether a missing file or directory counts as empty instead of being an
    /// error, so that [`Store::plan`](crate::store::Store::plan) can list what would be created.
    pub missing_is_empty: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            timeout: Duration::from_secs(5),
            pool_size: 8,
            freshness: Freshness::default(),
            clock: SharedClock::default(),
            read_only: false,
            lazy: false,
            missing_is_empty: false,
        }
    }
}

/// Defines the builder methods `timeout` and `pool_size` of a backend with a pool, over [`Options`]
/// in the field `options`. `$pooled` documents what the pool has.
#[cfg(any(feature = "sql", feature = "redis", feature = "elasticsearch"))]
macro_rules! pool_option_methods {
    ($pooled:literal) => {
        /// Sets the deadline of one call; 5 seconds by default.
        pub fn timeout(mut self, timeout: std::time::Duration) -> Self {
            self.options.timeout = timeout;
            self
        }

        #[doc = concat!("Sets the maximum number of ", $pooled, ", at least 1; 8 by default.")]
        pub fn pool_size(mut self, pool_size: u32) -> Self {
            self.options.pool_size = pool_size.max(1);
            self
        }
    };
}
#[cfg(any(feature = "sql", feature = "redis", feature = "elasticsearch"))]
pub(crate) use pool_option_methods;
