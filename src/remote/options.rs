//! The options that all server backends have.

use crate::codec::parse_size;
use crate::store::Uri;
use crate::{Error, Result};

/// Whether a write is repeated after its connection was lost before the response.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Retry {
    /// An idempotent write, such as `set`, is repeated once. It is executed at least once: the
    /// repetition may happen after another process popped the record or set another value. The
    /// default.
    #[default]
    Idempotent,
    /// A write is never repeated after a part of it was sent. The call fails with
    /// [`ErrorKind::Unavailable`](crate::ErrorKind::Unavailable), and whether it was executed is
    /// not known. Calls that the server rejected without effect are still repeated.
    Never,
}

/// The options that all builders of server backends hold, besides those of the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ServerOptions {
    /// The limit of the response to one request, in bytes.
    pub(crate) max_response: u64,
    pub(crate) retry: Retry,
}

impl Default for ServerOptions {
    fn default() -> Self {
        Self { max_response: 256 << 20, retry: Retry::default() }
    }
}

impl ServerOptions {
    /// The names of the options in a URI.
    pub(crate) const NAMES: [&'static str; 2] = ["max_response", "retry"];

    /// Takes the options from a URI.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidConfig`](crate::ErrorKind::InvalidConfig), naming the option.
    pub(crate) fn take(uri: &mut Uri) -> Result<Self> {
        let mut options = Self::default();
        if let Some(size) = uri.take("max_response") {
            let size = parse_size(&size).filter(|size| *size > 0).ok_or_else(|| {
                Error::invalid_config("the option `max_response` must be a size, such as 100mb")
            })?;
            options.max_response = size as u64;
        }
        let choices = [("idempotent", Retry::Idempotent), ("never", Retry::Never)];
        options.retry = uri.take_choice("retry", &choices)?.unwrap_or_default();
        Ok(options)
    }
}

/// Defines the builder methods of the [`ServerOptions`] in the field `server_options`, and those of
/// the login in the builder or in a field of it. `$default` documents the default of the user.
macro_rules! server_option_methods {
    ($($login:ident,)? $default:literal) => {
        /// Sets the user that logs in;
        #[doc = $default]
        pub fn user(mut self, user: impl Into<String>) -> Self {
            self.$($login.)?user = Some(user.into());
            self
        }

        /// Sets the password, unescaped.
        pub fn password(mut self, password: impl Into<String>) -> Self {
            self.$($login.)?password = Some(password.into());
            self
        }

        /// Sets the limit of the response to one request, in bytes; 256 MiB by default. A longer
        /// response is an error and closes the connection.
        pub fn max_response(mut self, bytes: u64) -> Self {
            self.server_options.max_response = bytes.max(1);
            self
        }

        /// Sets whether a write is repeated after its connection was lost before the response;
        /// [`Retry::Idempotent`](crate::backend::Retry::Idempotent) by default.
        pub fn retry(mut self, retry: crate::backend::Retry) -> Self {
            self.server_options.retry = retry;
            self
        }
    };
}
pub(crate) use server_option_methods;

/// Returns the error of a response that exceeds the limit.
pub(crate) fn too_large(limit: u64) -> Error {
    Error::unsupported(format!(
        "the server's response has more than {limit} bytes, and the connection was closed; raise the option `max_response` if such responses are expected"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn take(uri: &str) -> Result<ServerOptions> {
        ServerOptions::take(&mut uri.parse()?)
    }

    #[test]
    fn an_invalid_option_is_named() {
        let default = ServerOptions { max_response: 268_435_456, retry: Retry::Idempotent };
        assert_eq!(take("redis://h").unwrap(), default);
        let given = ServerOptions { max_response: 100 << 20, retry: Retry::Never };
        assert_eq!(take("redis://h?max_response=100mb&retry=never").unwrap(), given);
        for uri in ["redis://h?max_response=much", "redis://h?max_response=0", "redis://h?retry=1"]
        {
            let name = if uri.contains("max_response") { "`max_response`" } else { "`retry`" };
            assert!(take(uri).unwrap_err().message().contains(name), "{uri}");
        }
    }
}
