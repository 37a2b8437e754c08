//! The transport of the server backends.
//!
//! A call has one [`Deadline`], which bounds name lookup, connecting, encryption, login, and every
//! read and write. An [`Outcome`] describes the effect of a failed call; [`Attempts`] repeats a call
//! with back-off until the same deadline.

#[cfg(any(feature = "server", feature = "redis"))]
mod authority;
#[cfg(any(feature = "server", feature = "redis"))]
mod connect_options;
mod deadline;
#[cfg(any(feature = "server", feature = "redis"))]
mod endpoint;
#[cfg(any(feature = "server", feature = "redis", feature = "elasticsearch"))]
mod options;
#[cfg(any(feature = "server", feature = "redis"))]
mod resolve;
#[cfg(any(feature = "sql", feature = "redis"))]
mod retry;
#[cfg(any(feature = "server", feature = "redis"))]
mod socket;
#[cfg(any(feature = "mysql", feature = "redis"))]
mod stream;
#[cfg(any(feature = "server", feature = "redis"))]
pub(crate) mod tls;

#[cfg(any(feature = "server", feature = "redis"))]
pub(crate) use self::authority::Server;
#[cfg(any(feature = "server", feature = "redis"))]
pub(crate) use self::connect_options::{ConnectOptions, connect_option_methods};
#[cfg(any(unix, feature = "sql", feature = "redis", feature = "elasticsearch"))]
pub(crate) use self::deadline::Deadline;
#[cfg(feature = "sql")]
pub(crate) use self::deadline::MAX_TIMEOUT;
pub(crate) use self::deadline::{CallClock, begin_step};
#[cfg(any(feature = "server", feature = "redis"))]
pub(crate) use self::endpoint::Endpoint;
#[cfg(any(feature = "server", feature = "redis", feature = "elasticsearch"))]
pub use self::options::Retry;
#[cfg(any(feature = "server", feature = "redis", feature = "elasticsearch"))]
pub(crate) use self::options::{ServerOptions, server_option_methods, too_large};
#[cfg(any(feature = "sql", feature = "redis"))]
pub(crate) use self::retry::{Attempts, Outcome};
#[cfg(any(feature = "server", feature = "redis"))]
pub(crate) use self::socket::Socket;
#[cfg(feature = "server")]
pub(crate) use self::socket::too_large_error;
#[cfg(any(feature = "mysql", feature = "redis"))]
pub(crate) use self::stream::Stream;
