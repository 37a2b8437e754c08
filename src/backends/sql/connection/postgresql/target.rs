//! The address and login of a PostgreSQL server.

use std::sync::Arc;
use std::time::Duration;

use rustls::ClientConfig;
use tokio_postgres::Config;

use super::session::Pooler;
use crate::remote::Endpoint;
use crate::remote::tls::SslMode;

/// The parameters of a connection, unescaped.
#[derive(Clone)]
pub(in crate::backends::sql) struct Target {
    pub(in crate::backends::sql) endpoint: Endpoint,
    pub(in crate::backends::sql) user: String,
    pub(in crate::backends::sql) password: Option<String>,
    pub(in crate::backends::sql) database: String,
    pub(in crate::backends::sql) mode: SslMode,
    pub(in crate::backends::sql) tls: Arc<ClientConfig>,
    pub(in crate::backends::sql) connect_timeout: Duration,
    /// The limit of a response in bytes.
    pub(in crate::backends::sql) max_response: u64,
    /// Whether a pooler shares the session between transactions.
    pub(in crate::backends::sql) pooler: Pooler,
    /// The settings that statements run under.
    pub(in crate::backends::sql) settings: Vec<(&'static str, String)>,
}

impl Target {
    pub(super) fn config(&self) -> Config {
        use tokio_postgres::config::SslMode as Mode;
        let mut config = Config::new();
        config.user(&self.user).dbname(&self.database).application_name("hilcat");
        if let Some(password) = &self.password {
            config.password(password);
        }
        config.ssl_mode(match self.mode {
            _ if matches!(self.endpoint, Endpoint::Unix(_)) => Mode::Disable,
            SslMode::Disable => Mode::Disable,
            SslMode::Prefer => Mode::Prefer,
            SslMode::Require | SslMode::VerifyCa | SslMode::VerifyFull => Mode::Require,
        });
        config
    }
}
