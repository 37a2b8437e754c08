//! Connections to servers: Diesel connections in pure Rust.
//!
//! Diesel's own connections go through the C libraries of PostgreSQL and MySQL, which have to be
//! installed to build with and cannot bound how long they wait for an answer. These speak the
//! protocols by Rust crates over blocking sockets, and end every call by its deadline.

#[cfg(feature = "server")]
pub(crate) mod error;
#[cfg(feature = "mysql")]
pub(crate) mod mysql;
pub(crate) mod pool;
#[cfg(feature = "postgresql")]
pub(crate) mod postgresql;
