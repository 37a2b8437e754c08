//! Opening a MySQL or MariaDB database.

use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use diesel::mysql;
use diesel::result::ConnectionError;

use super::connection::mysql::{MysqlConnection, Target, Traits};
use super::database::Database;
use super::dialect::Dialect;
use super::error::{ErrorClass, classify, into_hilcat_error};
use crate::backends::sql::connection::pool;
use crate::backends::sql::table::single_table::{self, Layout, SingleTableStore};
use crate::outage::Unconnected;
use crate::remote::tls::{self, SslMode};
use crate::remote::{Endpoint, Server, ServerOptions, server_option_methods};
use crate::store::{Capabilities, ExpirySupport, Options, Store, Uri};
use crate::{Error, ErrorKind, Result};

/// A database of a MySQL server (8.0.17 or newer) or a MariaDB server (10.5.2 or newer): a table
/// for each scope.
///
/// ```no_run
/// use hilcat::Cache;
/// use hilcat::backend::{Mysql, SslMode};
///
/// let store = Mysql::builder()
///     .host("db.example")
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
    /// A builder for a database of the server on `localhost`.
    pub fn builder() -> MysqlBuilder {
        MysqlBuilder {
            server: Server::default(),
            mode: SslMode::default(),
            ca: None,
            public_key_retrieval: false,
            connect_timeout: None,
            server_options: ServerOptions::default(),
            options: Options::default(),
        }
    }
}

/// Builds a [`Mysql`]. Its `Debug` never shows the password.
#[derive(Debug, Clone)]
#[must_use = "a builder does nothing until it is opened"]
pub struct MysqlBuilder {
    server: Server,
    mode: SslMode,
    ca: Option<PathBuf>,
    public_key_retrieval: bool,
    connect_timeout: Option<Duration>,
    server_options: ServerOptions,
    options: Options,
}

impl MysqlBuilder {
    /// The host's name or address; `localhost` by default.
    pub fn host(mut self, host: impl Into<String>) -> Self {
        self.server.host = Some(host.into());
        self
    }

    /// The port; 3306 by default.
    pub fn port(mut self, port: u16) -> Self {
        self.server.port = Some(port);
        self
    }

    /// A socket of the file system, used instead of host and port.
    pub fn socket(mut self, path: impl AsRef<Path>) -> Self {
        self.server.socket = Some(path.as_ref().to_owned());
        self
    }

    /// Who logs in; `root` by default.
    pub fn user(mut self, user: impl Into<String>) -> Self {
        self.server.user = Some(user.into());
        self
    }

    /// The password, as it is: nothing in it is escaped.
    pub fn password(mut self, password: impl Into<String>) -> Self {
        self.server.password = Some(password.into());
        self
    }

    /// The database, which has to stand.
    pub fn database(mut self, database: impl Into<String>) -> Self {
        self.server.database = Some(database.into());
        self
    }

    /// Whether the connection is encrypted, and what of the server's certificate is checked;
    /// [`SslMode::Prefer`] by default.
    pub fn ssl_mode(mut self, mode: SslMode) -> Self {
        self.mode = mode;
        self
    }

    /// A file of the certificates, in PEM, that are trusted to sign the server's; those of Mozilla
    /// by default.
    pub fn ssl_ca(mut self, path: impl AsRef<Path>) -> Self {
        self.ca = Some(path.as_ref().to_owned());
        self
    }

    /// Whether a server without TLS may be handed the password encrypted with a public key that it
    /// supplies itself, as `caching_sha2_password` asks for at a user's first login; it may not by
    /// default, since anybody in between could supply a key. On a loopback address it may, and on a Unix
    /// socket the password is sent as it is.
    pub fn allow_public_key_retrieval(mut self, allow: bool) -> Self {
        self.public_key_retrieval = allow;
        self
    }

    /// How long opening one connection may take; as long as a call by default.
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.connect_timeout = Some(timeout);
        self
    }

    /// The deadline of one call; 5 seconds by default.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.options.timeout = timeout;
        self
    }

    server_option_methods!();

    /// How many connections are opened at the most, at least 1; 8 by default.
    pub fn pool_size(mut self, pool_size: u32) -> Self {
        self.options.pool_size = pool_size.max(1);
        self
    }

    /// Opens the database.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Unavailable`] where the server cannot be reached or refuses the login,
    /// [`ErrorKind::Unsupported`] where it is too old, [`ErrorKind::InvalidConfig`] where no
    /// database is named or a part cannot be one.
    pub fn open(self) -> Result<Mysql> {
        let options = self.options.clone();
        let retry = self.server_options.retry;
        let target = self.target()?;
        let seen = Arc::new(OnceLock::new());
        let first = seen.clone();
        let pool =
            pool::open(options.pool_size, move || connect(&target, options.timeout, &first))?;
        let mariadb = seen.get().is_some_and(|traits: &Traits| traits.mariadb);
        let capabilities = capabilities(mariadb);
        let deepest = seen.get().and_then(max_json_depth);
        let database =
            Database::with_json_depth(pool.clone(), pool, options, capabilities, deepest);
        Ok(Mysql(database.with_retry(retry)))
    }

    fn target(self) -> Result<Target> {
        let Self { server, mode, ca, connect_timeout, options, .. } = self;
        let (public_key_retrieval, server_options) =
            (self.public_key_retrieval, self.server_options);
        server.check()?;
        let Some(database) = server.database.filter(|name| !name.is_empty()) else {
            return Err(Error::invalid_config(
                "no database is named; write it as mysql://user:password@host:port/database",
            ));
        };
        if server.socket.is_some() && mode != SslMode::Prefer && mode != SslMode::Disable {
            return Err(Error::invalid_config(
                "a connection over a socket of the file system is not encrypted: leave the mode of TLS out, or name a host",
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
            tls: tls::config(mode, ca.as_deref()).map_err(|error| {
                Error::invalid_config(format!("the file of `ssl-ca` cannot be used: {error}"))
            })?,
            public_key_retrieval,
            connect_timeout: connect_timeout.unwrap_or(options.timeout),
            max_response: server_options.max_response,
        })
    }
}

/// The options of a URI that only this backend has.
const OPTIONS: [&str; 6] =
    ["ssl-mode", "sslmode", "ssl-ca", "socket", "connect_timeout", "allow_public_key_retrieval"];

/// The words for the modes of TLS: MySQL's own, and those of PostgreSQL.
const SSL_MODES: [(&str, SslMode); 9] = [
    ("disabled", SslMode::Disable),
    ("preferred", SslMode::Prefer),
    ("required", SslMode::Require),
    ("verify-ca", SslMode::VerifyCa),
    ("verify-identity", SslMode::VerifyFull),
    ("disable", SslMode::Disable),
    ("prefer", SslMode::Prefer),
    ("require", SslMode::Require),
    ("verify-full", SslMode::VerifyFull),
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
    let mut builder = Mysql::builder();
    builder.server = Server::parse(uri.rest())?;
    builder.options = uri.take_common(options)?;
    builder.mode = take_mode(&mut uri)?;
    builder.ca = uri.take("ssl-ca").map(PathBuf::from);
    let choices = [("true", true), ("false", false)];
    builder.public_key_retrieval =
        uri.take_choice("allow_public_key_retrieval", &choices)?.unwrap_or(false);
    builder.connect_timeout = uri.take_duration("connect_timeout")?;
    builder.server_options = ServerOptions::take(&mut uri)?;
    if let Some(socket) = uri.take("socket") {
        builder.server.socket = Some(PathBuf::from(socket));
    }
    let single = single_table::take(&mut uri)?;
    uri.finish(&[&OPTIONS[..], &ServerOptions::NAMES, single_table::OPTIONS].concat())?;
    let options = builder.options.clone();
    // What is wrong in the URI is said before the server is asked.
    builder.clone().target()?;
    let connect = move || Ok(single_table::store(builder.clone().open()?, single.clone()));
    Ok(Unconnected {
        name: mysql::Mysql::NAME,
        capabilities: capabilities(false),
        options,
        connect: Box::new(connect),
    })
}

fn take_mode(uri: &mut Uri) -> Result<SslMode> {
    let own = uri.take_choice("ssl-mode", &SSL_MODES)?;
    match (own, uri.take_choice("sslmode", &SSL_MODES)?) {
        (Some(_), Some(_)) => Err(Error::invalid_config(
            "the options `ssl-mode` and `sslmode` are the same: leave one of them out",
        )),
        (own, other) => Ok(own.or(other).unwrap_or_default()),
    }
}

fn connect(target: &Target, timeout: Duration, seen: &OnceLock<Traits>) -> Result<MysqlConnection> {
    let link = MysqlConnection::open(target, timeout, |traits| settings(traits, timeout));
    let link = link.map_err(|error| refused(&target.endpoint, error))?;
    check_version(&link.traits())?;
    let _ = seen.set(link.traits());
    Ok(link)
}

fn refused(endpoint: &Endpoint, error: ConnectionError) -> Error {
    let ConnectionError::CouldntSetupConfiguration(error) = error else {
        let message = format!("the server {endpoint} cannot be reached: {error}");
        return Error::new(ErrorKind::Unavailable, message);
    };
    let lost = classify::<mysql::Mysql>(&error) == ErrorClass::ConnectionLost;
    into_hilcat_error(error).unwrap_or_else(|error| {
        let message = format!("the server {endpoint} refused the connection: {error}");
        Error::new(ErrorKind::Unavailable, message).with_retryable(lost)
    })
}

fn check_version(traits: &Traits) -> Result<()> {
    let (name, least) = match traits.mariadb {
        true => ("MariaDB", (10, 5, 2)),
        false => ("MySQL", (8, 0, 17)),
    };
    if traits.version >= least {
        return Ok(());
    }
    let ((a, b, c), (x, y, z)) = (traits.version, least);
    Err(Error::unsupported(format!("the server is {name} {a}.{b}.{c}; it has to be {x}.{y}.{z}")))
}

/// How many levels JSON can have, where that is less than MySQL's own limit.
fn max_json_depth(traits: &Traits) -> Option<usize> {
    (traits.mariadb && traits.version < (12, 2, 0)).then_some(31)
}

/// The longest limit of a statement that is set: of MySQL's, in milliseconds, no server takes one
/// that has more than 32 bits.
const LONGEST_LIMIT: Duration = Duration::from_secs(4_000_000);

/// What a session is given, whatever the server's own defaults are.
fn settings(traits: &Traits, timeout: Duration) -> String {
    // The server gives up a little before the connection does: then it is known that nothing was
    // done. Locks are waited for in whole seconds.
    let timeout = timeout.min(LONGEST_LIMIT);
    let limit = timeout.mul_f64(0.95);
    let lock = timeout.mul_f64(0.8).as_secs().max(1);
    let limit = match traits.mariadb {
        true => format!("max_statement_time = {}", limit.as_secs_f64()),
        // Of statements that read.
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
    fn what_is_wrong_in_a_uri_is_said() {
        for (uri, says) in [
            ("mysql://h", "no database is named"),
            ("mysql://h/d?ssl-mode=some", "disabled, preferred, required"),
            ("mysql://h/d?ssl-mode=disabled&sslmode=disable", "are the same"),
            ("mysql://h/d?compress=yes", "ssl-mode, sslmode, ssl-ca, socket, connect_timeout"),
            ("mysql:///d?socket=/s&ssl-mode=required", "not encrypted"),
        ] {
            let error = error_of(uri);
            assert_eq!(error.kind(), ErrorKind::InvalidConfig, "{uri}: {error}");
            assert!(error.to_string().contains(says), "{uri}: {error}");
        }
    }

    #[test]
    fn a_server_that_is_not_there_is_unavailable() {
        let error = error_of("mysql://u:secret@127.0.0.1:1/d?timeout=1s");
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
        assert!(error.is_retryable() && !error.to_string().contains("secret"), "{error}");
    }
}
