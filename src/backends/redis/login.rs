//! How a connection logs in.

use std::fmt;
use std::sync::Arc;

use rustls::ClientConfig;

pub(super) use crate::remote::Endpoint as Address;

/// The protocol version of a connection. Records are stored the same way with both.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Resp {
    /// RESP2, supported by every server. The default.
    #[default]
    Resp2,
    /// RESP3, supported by Redis 6 and newer.
    Resp3,
}

/// The parameters of a login. Its `Debug` output never contains the password.
#[derive(Clone, Default)]
pub(super) struct Login {
    pub(super) user: Option<String>,
    pub(super) password: Option<String>,
    pub(super) database: u32,
    pub(super) protocol: Resp,
    pub(super) tls: Option<Arc<ClientConfig>>,
    /// The maximum size of one reply, in bytes.
    pub(super) max_response: u64,
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
