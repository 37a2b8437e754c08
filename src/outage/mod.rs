//! Servers that cannot be reached: the circuit breaker and lazy connections.
//!
//! [`Remote`] is the connection of one cache to a server, with its [breaker](breaker::Breaker).
//! [`Guarded`] is the store around it; each of its calls passes the breaker. [`Lazy`] is a store
//! that opens scopes on first use, as [`LazyScope`]s.

#[cfg(any(feature = "server", feature = "redis", feature = "elasticsearch"))]
mod breaker;
#[cfg(any(feature = "server", feature = "redis", feature = "elasticsearch"))]
mod guarded;
#[cfg(any(feature = "server", feature = "redis", feature = "elasticsearch"))]
mod lazy;
mod lazy_scope;
#[cfg(any(feature = "server", feature = "redis", feature = "elasticsearch"))]
mod remote;
mod rows;
#[cfg(any(feature = "server", feature = "redis", feature = "elasticsearch"))]
mod scope;

#[cfg(any(feature = "server", feature = "redis", feature = "elasticsearch"))]
pub(crate) use self::guarded::Guarded;
#[cfg(any(feature = "server", feature = "redis", feature = "elasticsearch"))]
pub(crate) use self::lazy::Lazy;
pub(crate) use self::lazy_scope::LazyScope;
#[cfg(any(feature = "server", feature = "redis", feature = "elasticsearch"))]
pub(crate) use self::remote::{Remote, Unconnected};
