//! Where a MySQL or MariaDB server is, and how it is connected to.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::path::PathBuf;
use std::time::Duration;

use diesel::result::{ConnectionError, ConnectionResult};

use crate::backends::sql::link::resolve::resolve;
use crate::backends::tls::SslMode;

/// Where and how to connect: plain values, none of them escaped.
#[derive(Clone)]
pub(in crate::backends::sql) struct Target {
    pub(in crate::backends::sql) host: String,
    pub(in crate::backends::sql) port: u16,
    /// A socket of the file system, used instead of host and port.
    pub(in crate::backends::sql) socket: Option<PathBuf>,
    pub(in crate::backends::sql) user: String,
    pub(in crate::backends::sql) password: String,
    pub(in crate::backends::sql) database: String,
    pub(in crate::backends::sql) mode: SslMode,
    /// The certificates that are trusted to sign the server's.
    pub(in crate::backends::sql) ca: Option<PathBuf>,
    pub(in crate::backends::sql) connect_timeout: Duration,
}

/// Without the password.
impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Target")
            .field("host", &self.host)
            .field("port", &self.port)
            .field("socket", &self.socket)
            .field("user", &self.user)
            .field("database", &self.database)
            .finish_non_exhaustive()
    }
}

impl Target {
    /// What the client is given.
    pub(super) fn options(&self) -> ConnectionResult<mysql::OptsBuilder> {
        let options = mysql::OptsBuilder::new()
            .user(Some(&self.user))
            .pass(Some(&self.password))
            .db_name(Some(&self.database))
            .prefer_socket(false)
            // The link keeps the statements.
            .stmt_cache_size(0)
            // An update that changes nothing counts its row, as on the other engines.
            .additional_capabilities(mysql::consts::CapabilityFlags::CLIENT_FOUND_ROWS)
            .read_timeout(Some(self.connect_timeout))
            .write_timeout(Some(self.connect_timeout))
            .tcp_connect_timeout(Some(self.connect_timeout));
        if let Some(path) = &self.socket {
            return Ok(options.socket(path.to_str()));
        }
        // The client tries no second address unless it is told which one to come from.
        let address = self.reachable()?;
        let from: IpAddr = match address {
            SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
            SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
        };
        // The client's own look-up of a name knows no deadline; it is only given one to check.
        let host = match (self.mode, address) {
            (SslMode::VerifyFull, _) if !self.host.contains(':') => self.host.clone(),
            (_, SocketAddr::V6(address)) => format!("[{}]", address.ip()),
            (_, SocketAddr::V4(address)) => address.ip().to_string(),
        };
        let options = options
            .ip_or_hostname(Some(host))
            .tcp_port(self.port)
            .bind_address(Some(SocketAddr::new(from, 0)));
        Ok(match self.mode {
            SslMode::Disable => options,
            mode => options.ssl_opts(self.encryption(mode)),
        })
    }

    fn encryption(&self, mode: SslMode) -> mysql::SslOpts {
        let unchecked = matches!(mode, SslMode::Prefer | SslMode::Require);
        mysql::SslOpts::default()
            .with_root_cert_path(self.ca.clone())
            .with_danger_accept_invalid_certs(unchecked)
            .with_danger_skip_domain_validation(mode == SslMode::VerifyCa)
    }

    /// The first address of the host that takes a connection.
    fn reachable(&self) -> ConnectionResult<SocketAddr> {
        let bad = |error: std::io::Error| ConnectionError::BadConnection(error.to_string());
        let addresses = resolve(&self.host, self.port, self.connect_timeout).map_err(bad)?;
        if let [only] = addresses[..] {
            return Ok(only);
        }
        let mut last = std::io::Error::new(std::io::ErrorKind::NotFound, "the host has no address");
        for address in addresses {
            match TcpStream::connect_timeout(&address, self.connect_timeout) {
                Ok(_) => return Ok(address),
                Err(error) => last = error,
            }
        }
        Err(bad(last))
    }
}
