//! The backends. `registry` has the table of their schemes.

#[cfg(feature = "elasticsearch")]
pub(crate) mod elasticsearch;
#[cfg(unix)]
pub(crate) mod file;
pub(crate) mod memory;
pub(crate) mod noop;
#[cfg(feature = "redis")]
pub(crate) mod redis;
#[cfg(feature = "sql")]
pub(crate) mod sql;
