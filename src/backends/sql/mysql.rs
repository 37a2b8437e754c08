//! The MySQL and MariaDB backend: its builder and its URI.

use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use diesel::mysql;
use diesel::result::ConnectionError;

use super::connection::mysql::{MysqlConnection, ServerInfo, Target};
use super::database::Database;
use super::error::{ErrorClass, classify, into_hilcat_error};
use crate::backends::sql::connection::pool;
use crate::backends::sql::dialect::ColumnTypes;
use crate::backends::sql::table::single_table::{self, Layout, SingleTableStore};
use crate::outage::Unconnected;
use crate::remote::tls::SslMode;
use crate::remote::{
    ConnectOptions, Endpoint, Server, ServerOptions, connect_option_methods, server_option_methods,
};
use crate::store::{Capabilities, ExpirySupport, Options, Store, Uri, pool_option_methods};
use crate::{Error, ErrorKind, Result};

/// A database of a MySQL server (8.0.17 or newer) or MariaDB server (10.5.2 or newer), with a table
/// for each scope.
///
/// ```no_run
/// use hilcat::Cache;
/// use hilcat::backend::{Mysql, SslMode};
///
/// let store = Mysql::builder("db.example")
///     .user("app")
///     .password("...")
///     .database("cache")
///     .ssl_mode(SslMode::VerifyFull)
///     .open()?;
/// let cache = Cache::from_store(store);
/// # drop(cache);
/// # Ok::<(), hilcat::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Mysql(Database<mysql::Mysql>);

impl Mysql {
    /// Returns a builder for a database on a host, given by name or address.
    pub fn builder(host: impl Into<String>) -> MysqlBuilder {
        MysqlBuilder::new(Server { host: Some(host.into()), ..Server::default() })
    }
}

/// A builder of [`Mysql`]. `Debug` omits the login.
#[derive(Debug, Clone)]
#[must_use = "a builder does nothing until it is opened"]
pub struct MysqlBuilder {
    server: Server,
    public_key_retrieval: bool,
    connect_options: ConnectOptions,
    server_options: ServerOptions,
    options: Options,
}

impl MysqlBuilder {
    fn new(server: Server) -> Self {
        Self {
            server,
            public_key_retrieval: false,
            connect_options: ConnectOptions::default(),
            server_options: ServerOptions::default(),
            options: Options::default(),
        }
    }

    /// Sets the port; 3306 by default.
    pub fn port(mut self, port: u16) -> Self {
        self.server.port = Some(port);
        self
    }

    /// Connects to a Unix socket instead of a host, by its path.
    pub fn socket(mut self, path: impl Into<PathBuf>) -> Self {
        self.server.socket = Some(path.into());
        self
    }

    /// Sets the database, which must exist.
    pub fn database(mut self, database: impl Into<String>) -> Self {
        self.server.database = Some(database.into());
        self
    }

    /// Sets whether the password may be sent over a connection without TLS, encrypted with a public
    /// key that the server supplies; it may not by default.
    ///
    /// The plugin `caching_sha2_password` requires it at a user's first login. An active attacker on
    /// the network could supply the key. It is always allowed on a loopback address; over a Unix
    /// socket the password is sent unencrypted.
    pub fn allow_public_key_retrieval(mut self, allow: bool) -> Self {
        self.public_key_retrieval = allow;
        self
    }

    server_option_methods!(server, "`root` by default.");
    connect_option_methods!(
        "[`SslMode::Prefer`] by default. A connection to a Unix socket never uses TLS."
    );
    pool_option_methods!("open connections");

    /// Opens the database. Connects once, so that errors of the configuration are reported here.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Unavailable`] if the server cannot be reached or rejects the login,
    /// [`ErrorKind::Unsupported`] if it is too old, [`ErrorKind::InvalidConfig`] if no database is
    /// named or an option is invalid.
    pub fn open(self) -> Result<Mysql> {
        let options = self.options.clone();
        let retry = self.server_options.retry;
        let target = self.target()?;
        let seen = Arc::new(OnceLock::new());
        let first = seen.clone();
        let pool =
            pool::open(options.pool_size, move || connect(&target, options.timeout, &first))?;
        let mariadb = seen.get().is_some_and(|server: &ServerInfo| server.mariadb);
        let capabilities = capabilities(mariadb);
        let max_depth = seen.get().and_then(max_json_depth);
        let database =
            Database::with_json_depth(pool.clone(), pool, options, capabilities, max_depth);
        Ok(Mysql(database.with_retry(retry)))
    }

    fn target(self) -> Result<Target> {
        let Self { server, public_key_retrieval, connect_options, server_options, options } = self;
        server.check()?;
        let Some(database) = server.database.filter(|name| !name.is_empty()) else {
            return Err(Error::invalid_config(
                "the URI names no database; write it as mysql://user:password@host:port/database",
            ));
        };
        let mode = connect_options.effective_mode()?;
        if server.socket.is_some() && mode != SslMode::Prefer && mode != SslMode::Disable {
            return Err(Error::invalid_config(
                "a connection to a Unix socket does not use TLS; remove `sslmode`, or name a host",
            ));
        }
        Ok(Target {
            endpoint: match server.socket {
                Some(path) => Endpoint::Unix(path),
                None => Endpoint::tcp(
                    server.host.as_deref().unwrap_or("localhost"),
                    server.port.unwrap_or(3306),
                ),
            },
            user: server.user.unwrap_or_else(|| "root".to_owned()),
            password: server.password.unwrap_or_default(),
            database,
            mode,
            tls: connect_options.tls(mode)?,
            public_key_retrieval,
            connect_timeout: connect_options.timeout.unwrap_or(options.timeout),
            max_response: server_options.max_response,
        })
    }
}

/// The options of a URI that are specific to this backend.
const OPTIONS: [&str; 5] =
    ["ssl-mode", "ssl-ca", "socket", "connect_timeout", "allow_public_key_retrieval"];

/// MySQL's own spellings of the TLS modes, besides those of PostgreSQL.
const SSL_MODES: [(&str, SslMode); 4] = [
    ("disabled", SslMode::Disable),
    ("preferred", SslMode::Prefer),
    ("required", SslMode::Require),
    ("verify-identity", SslMode::VerifyFull),
];

fn capabilities(mariadb: bool) -> Capabilities {
    Capabilities {
        persistent: true,
        nan: false,
        negative_zero: !mariadb,
        tables: true,
        expiry: ExpirySupport::Full,
        max_records: true,
        shared_single_flight: true,
        ..Capabilities::new()
    }
}

/// Opens `mysql:` and `mariadb:`.
pub(crate) fn open(mut uri: Uri, options: Options) -> Result<Unconnected> {
    let mut builder = MysqlBuilder::new(Server::parse(uri.rest())?);
    builder.options = uri.take_common(options)?;
    let modes = [&SslMode::CHOICES[..], &SSL_MODES].concat();
    builder.connect_options.take_tls(&mut uri, &modes, [Some("ssl-mode"), Some("ssl-ca")])?;
    builder.connect_options.take_timeout(&mut uri)?;
    let choices = [("true", true), ("false", false)];
    builder.public_key_retrieval =
        uri.take_choice("allow_public_key_retrieval", &choices)?.unwrap_or(false);
    builder.server_options = ServerOptions::take(&mut uri)?;
    if let Some(socket) = uri.take("socket") {
        builder.server.socket = Some(PathBuf::from(socket));
    }
    let single = single_table::take(&mut uri)?;
    let (tls, common) = (&ConnectOptions::TLS_NAMES[..], &ServerOptions::NAMES[..]);
    uri.finish(&[tls, &OPTIONS, common, single_table::OPTIONS].concat())?;
    let options = builder.options.clone();
    // Reports an invalid URI before the first connection.
    builder.clone().target()?;
    let connect = move || Ok(single_table::store(builder.clone().open()?, single.clone()));
    Ok(Unconnected {
        name: mysql::Mysql::NAME,
        capabilities: capabilities(false),
        options,
        connect: Box::new(connect),
    })
}

fn connect(
    target: &Target,
    timeout: Duration,
    seen: &OnceLock<ServerInfo>,
) -> Result<MysqlConnection> {
    let connection = MysqlConnection::open(target, timeout, |server| settings(server, timeout));
    let connection = connection.map_err(|error| refused(&target.endpoint, error))?;
    check_version(&connection.server())?;
    let _ = seen.set(connection.server());
    Ok(connection)
}

fn refused(endpoint: &Endpoint, error: ConnectionError) -> Error {
    let ConnectionError::CouldntSetupConfiguration(error) = error else {
        let message = format!("the server {endpoint} cannot be reached: {error}");
        return Error::new(ErrorKind::Unavailable, message);
    };
    let lost = classify::<mysql::Mysql>(&error) == ErrorClass::ConnectionLost;
    into_hilcat_error(error).unwrap_or_else(|error| {
        let message = format!("the server {endpoint} rejected the connection: {error}");
        Error::new(ErrorKind::Unavailable, message).with_retryable(lost)
    })
}

fn check_version(server: &ServerInfo) -> Result<()> {
    let (name, least) = match server.mariadb {
        true => ("MariaDB", (10, 5, 2)),
        false => ("MySQL", (8, 0, 17)),
    };
    if server.version >= least {
        return Ok(());
    }
    let ((a, b, c), (x, y, z)) = (server.version, least);
    Err(Error::unsupported(format!(
        "the server is {name} {a}.{b}.{c}, which is too old; use {x}.{y}.{z} or newer"
    )))
}

/// Returns the maximum depth of JSON if it is less than MySQL's.
fn max_json_depth(server: &ServerInfo) -> Option<usize> {
    (server.mariadb && server.version < (12, 2, 0)).then_some(31)
}

/// The maximum statement timeout. MySQL's is in milliseconds, and servers reject a value of more
/// than 32 bits.
const MAX_STATEMENT_TIMEOUT: Duration = Duration::from_secs(4_000_000);

/// Returns the statements that set a session up, which override the server's defaults.
fn settings(server: &ServerInfo, timeout: Duration) -> String {
    // The server's timeouts are slightly shorter than the client's: a statement that the server
    // cancelled is known to have had no effect. The unit of the lock timeout is a second.
    let timeout = timeout.min(MAX_STATEMENT_TIMEOUT);
    let limit = timeout.mul_f64(0.95);
    let lock = timeout.mul_f64(0.8).as_secs().max(1);
    let limit = match server.mariadb {
        true => format!("max_statement_time = {}", limit.as_secs_f64()),
        // Applies to SELECT only.
        false => format!("max_execution_time = {}", limit.as_millis().max(1)),
    };
    format!(
        "SET NAMES utf8mb4; SET time_zone = '+00:00', sql_mode = 'STRICT_ALL_TABLES,NO_ZERO_IN_DATE,NO_ZERO_DATE,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION', autocommit = 1, innodb_lock_wait_timeout = {lock}, {limit}; SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED"
    )
}

impl single_table::sealed::Tables for Mysql {
    fn single_table(self, layout: Layout) -> Arc<dyn Store> {
        Arc::new(SingleTableStore::new(self.0, layout))
    }
}

store_of_tables!(Mysql);

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed test panics")]

    use super::*;

    fn error_of(uri: &str) -> Error {
        let unconnected = open(uri.parse().unwrap(), Options::default());
        unconnected.and_then(|unconnected| (unconnected.connect)()).unwrap_err()
    }

    #[test]
    fn an_invalid_uri_is_explained() {
        for (uri, says) in [
            ("mysql://h", "names no database"),
            ("mysql://h/d?ssl-mode=some", "disabled, preferred, required"),
            ("mysql://h/d?ssl-mode=disabled&sslmode=disable", "are the same"),
            ("mysql://h/d?compress=yes", "sslmode, sslrootcert, ssl-mode, ssl-ca, socket"),
            ("mysql:///d?socket=/s&ssl-mode=required", "does not use TLS"),
            ("mysql://h/d?ssl-ca=/c", "`sslmode` to verify-ca"),
        ] {
            let error = error_of(uri);
            assert_eq!(error.kind(), ErrorKind::InvalidConfig, "{uri}: {error}");
            assert!(error.to_string().contains(says), "{uri}: {error}");
        }
    }

    #[test]
    fn an_unreachable_server_is_unavailable() {
        let error = error_of("mysql://u:secret@127.0.0.1:1/d?timeout=1s");
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
        assert!(error.is_retryable() && !error.to_string().contains("secret"), "{error}");
    }
}
