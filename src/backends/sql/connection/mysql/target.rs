//! The address and login of a MySQL or MariaDB server.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use rustls::ClientConfig;

use crate::remote::Endpoint;
use crate::remote::tls::SslMode;

/// The parameters of a connection, unescaped.
#[derive(Clone)]
pub(in crate::backends::sql) struct Target {
    pub(in crate::backends::sql) endpoint: Endpoint,
    pub(in crate::backends::sql) user: String,
    pub(in crate::backends::sql) password: String,
    pub(in crate::backends::sql) database: String,
    pub(in crate::backends::sql) mode: SslMode,
    pub(in crate::backends::sql) tls: Arc<ClientConfig>,
    /// Whether the password may be sent encrypted with a key that the server supplies without TLS.
    pub(in crate::backends::sql) public_key_retrieval: bool,
    pub(in crate::backends::sql) connect_timeout: Duration,
    /// The limit of a response in bytes.
    pub(in crate::backends::sql) max_response: u64,
}

/// Omits the password.
impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Target")
            .field("endpoint", &self.endpoint)
            .field("user", &self.user)
            .field("database", &self.database)
            .finish_non_exhaustive()
    }
}
