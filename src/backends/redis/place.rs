//! Where servers are, and how a connection to one is set up.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use rustls::ClientConfig;

/// Where one server listens.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Address {
    Tcp(String, u16),
    Unix(PathBuf),
}

impl Address {
    pub(super) fn tcp(host: &str, port: u16) -> Self {
        Self::Tcp(host.to_owned(), port)
    }

    /// The name or address of the host; nothing for a socket.
    pub(super) fn host(&self) -> &str {
        match self {
            Self::Tcp(host, _) => host,
            Self::Unix(_) => "",
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(host, port) => write!(f, "{host}:{port}"),
            Self::Unix(path) => write!(f, "{}", path.display()),
        }
    }
}

/// The version of the protocol that is spoken. Records are the same in both.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Resp {
    /// RESP2, which every server speaks. The default.
    #[default]
    Resp2,
    /// RESP3, from Redis 6 on.
    Resp3,
}

/// How a connection is set up. Its `Debug` never shows the password.
#[derive(Clone, Default)]
pub(super) struct Login {
    pub(super) user: Option<String>,
    pub(super) password: Option<String>,
    pub(super) database: u32,
    pub(super) protocol: Resp,
    pub(super) tls: Option<Arc<ClientConfig>>,
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Login")
            .field("database", &self.database)
            .field("protocol", &self.protocol)
            .field("encrypted", &self.tls.is_some())
            .finish_non_exhaustive()
    }
}
