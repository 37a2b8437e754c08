//! The options that every server backend has.

use crate::codec::parse_size;
use crate::store::Uri;
use crate::{Error, Result};

/// Whether a write is sent again whose connection was lost before the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Retry {
    /// A write that has the same effect when it is done twice, as `set`, is sent once more. It is
    /// done at least once: the second time may come after another process has popped the record or
    /// set another value. The default.
    #[default]
    Idempotent,
    /// No write is sent a second time once a byte of it was sent: the call fails as
    /// [`ErrorKind::Unavailable`](crate::ErrorKind::Unavailable), and whether it was done is not
    /// known. What the server refused without doing it is still tried again.
    Never,
}

/// What every builder of a server backend holds, beside the common options.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ServerOptions {
    /// How many bytes the answer to one request may have.
    pub(crate) max_response: u64,
    pub(crate) retry: Retry,
}

impl Default for ServerOptions {
    fn default() -> Self {
        Self { max_response: 256 << 20, retry: Retry::default() }
    }
}

impl ServerOptions {
    /// Their names in a URI.
    #[cfg(any(feature = "server", feature = "redis"))]
    pub(crate) const NAMES: [&'static str; 2] = ["max_response", "retry"];

    /// Takes them from a URI.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidConfig`](crate::ErrorKind::InvalidConfig), naming the option.
    pub(crate) fn take(uri: &mut Uri) -> Result<Self> {
        let mut options = Self::default();
        if let Some(size) = uri.take("max_response") {
            options.max_response =
                parse_size(&size).filter(|size| *size > 0).map(|size| size as u64).ok_or_else(
                    || Error::invalid_config("the option `max_response` is a size, as 100mb"),
                )?;
        }
        let choices = [("idempotent", Retry::Idempotent), ("never", Retry::Never)];
        options.retry = uri.take_choice("retry", &choices)?.unwrap_or_default();
        Ok(options)
    }
}

/// The methods of a builder whose field `server_options` is a [`ServerOptions`].
macro_rules! server_option_methods {
    () => {
        /// How many bytes the answer to one request may have, 256 MiB by default. A longer one is
        /// an error, and its connection is closed.
        pub fn max_response(mut self, bytes: u64) -> Self {
            self.server_options.max_response = bytes.max(1);
            self
        }

        /// Whether a write is sent again whose connection was lost before the answer;
        /// [`Retry::Idempotent`](crate::backend::Retry::Idempotent) by default.
        pub fn retry(mut self, retry: crate::backend::Retry) -> Self {
            self.server_options.retry = retry;
            self
        }
    };
}
pub(crate) use server_option_methods;

/// The error of an answer that has more bytes than it may.
pub(crate) fn too_large(limit: u64) -> Error {
    Error::unsupported(format!(
        "the server's answer has more than {limit} bytes, and the connection was closed; raise the option `max_response` where such answers are expected"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn take(uri: &str) -> Result<ServerOptions> {
        ServerOptions::take(&mut uri.parse()?)
    }

    #[test]
    fn options_are_read_or_refused_by_name() {
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
