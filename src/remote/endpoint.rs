//! The address of a server.

use std::path::PathBuf;
use std::{fmt, io};

use crate::{Error, ErrorKind};

/// The address of a server. `Display` formats it for messages.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Endpoint {
    /// A host name or address (IPv6 without brackets), and a port.
    Tcp(String, u16),
    /// The path of a Unix socket.
    Unix(PathBuf),
}

impl Endpoint {
    pub(crate) fn tcp(host: &str, port: u16) -> Self {
        Self::Tcp(host.to_owned(), port)
    }

    /// Returns the public error for a failure to connect, before anything was sent.
    pub(crate) fn unreachable(&self, error: &io::Error) -> Error {
        match error.kind() {
            io::ErrorKind::TimedOut => {
                let message =
                    format!("the server {self} could not be reached before the deadline passed");
                Error::new(ErrorKind::Timeout, message)
            }
            _ => {
                let message = format!("the server {self} cannot be reached: {error}");
                Error::new(ErrorKind::Unavailable, message)
            }
        }
    }

    /// Returns the host name or address, which is empty for a Unix socket.
    pub(crate) fn host(&self) -> &str {
        match self {
            Self::Tcp(host, _) => host,
            Self::Unix(_) => "",
        }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(host, port) if host.contains(':') => write!(f, "[{host}]:{port}"),
            Self::Tcp(host, port) => write!(f, "{host}:{port}"),
            Self::Unix(path) => write!(f, "{}", path.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_name_host_and_port() {
        assert_eq!(Endpoint::tcp("db", 7).to_string(), "db:7");
        assert_eq!(Endpoint::tcp("::1", 7).to_string(), "[::1]:7");
        assert_eq!(Endpoint::Unix("/run/db".into()).to_string(), "/run/db");
    }
}
