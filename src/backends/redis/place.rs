//! How a connection to a server is set up.

use std::fmt;
use std::sync::Arc;

use rustls::ClientConfig;

pub(super) use crate::remote::Endpoint as Address;

/// The version of the protocol that is spoken. Records are the same in both.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
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
    /// How many bytes one answer may take.
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
