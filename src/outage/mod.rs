//! Servers that cannot be reached: the circuit breaker, and caches that connect when they are used.
//!
//! [`Remote`] is a server as one cache uses it: how it is connected to, and its
//! [breaker](breaker::Breaker). [`Guarded`] is the store around it, each of whose calls passes the
//! breaker. [`Lazy`] is the store that opens scopes when they are first used, by [`LazyScope`].

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
