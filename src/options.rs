//! What the options of every URI and the builder have in common.

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
    /// How many connections are kept at the most; 8 by default.
    pub pool_size: u32,
    /// What is said of the freshness of records for scopes that do not say it themselves. The cache
    /// adds it to the schemas that it opens; a backend does not have to look at it.
    pub freshness: Freshness,
    /// The clock by which records expire: for a backend that has records removed at a time.
    pub clock: SharedClock,
    /// Whether nothing stored may be changed: no file, directory, table, column or registry is made,
    /// and every write is an error. The store is wrapped accordingly by the registry that opens it;
    /// a backend has to look at this only where opening itself would change something.
    pub read_only: bool,
    /// Whether a server is contacted when it is first used, and not before. The registry sees to
    /// it; a backend does not have to look at this.
    pub lazy: bool,
    /// With `read_only`: whether a file or a directory that does not exist counts as an empty one
    /// instead of being an error, so that [`Store::plan`](crate::store::Store::plan) can say what
    /// would be made.
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

/// Defines the builder methods of the [`Options`] in the field `options` that limit the calls of a
/// backend with a pool. `$pooled` documents what is limited.
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
