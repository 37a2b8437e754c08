//! Diesel connections to PostgreSQL and MySQL in pure Rust, and the connection pool.
//!
//! Diesel's own connections use the C libraries of these servers, which must be installed for the
//! build and cannot bound the wait for a response. The connections here use Rust implementations of
//! the protocols over blocking sockets, and end every call by its deadline.

#[cfg(feature = "server")]
pub(crate) mod error;
#[cfg(feature = "mysql")]
pub(crate) mod mysql;
pub(crate) mod pool;
#[cfg(feature = "postgresql")]
pub(crate) mod postgresql;
