//! Where a MySQL or MariaDB server is, and how it is connected to.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use rustls::ClientConfig;

use crate::remote::Endpoint;
use crate::remote::tls::SslMode;

/// Where and how to connect: plain values, none of them escaped.
#[derive(Clone)]
pub(in crate::backends::sql) struct Target {
    pub(in crate::backends::sql) endpoint: Endpoint,
    pub(in crate::backends::sql) user: String,
    pub(in crate::backends::sql) password: String,
    pub(in crate::backends::sql) database: String,
    pub(in crate::backends::sql) mode: SslMode,
    pub(in crate::backends::sql) tls: Arc<ClientConfig>,
    /// Whether the password is encrypted with a key that a server supplies without TLS.
    pub(in crate::backends::sql) public_key_retrieval: bool,
    pub(in crate::backends::sql) connect_timeout: Duration,
    /// How many bytes an answer may have.
    pub(in crate::backends::sql) max_response: u64,
}

/// Without the password.
impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Target")
            .field("endpoint", &self.endpoint)
            .field("user", &self.user)
            .field("database", &self.database)
            .finish_non_exhaustive()
    }
}
