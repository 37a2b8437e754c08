//! Opening a PostgreSQL database.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use diesel::pg::Pg;

use super::connection::postgresql::{Pooler, PostgresConnection, Target};
use super::database::Database;
use super::dialect::Dialect;
use crate::backends::sql::connection::pool;
use crate::backends::sql::table::single_table::{self, Layout, SingleTableStore};
use crate::outage::Unconnected;
use crate::remote::tls::{self, SslMode};
use crate::remote::{Endpoint, Server, ServerOptions, server_option_methods};
use crate::store::{Capabilities, ExpirySupport, Options, Store, Uri};
use crate::{Error, Result};

/// The options of a URI that only this backend has.
const OPTIONS: [&str; 7] =
    ["sslmode", "sslrootcert", "schema", "host", "connect_timeout", "synchronous_commit", "pooler"];

/// The values of `pooler`.
const POOLERS: [(&str, Pooler); 3] = [
    ("detect", Pooler::Detect),
    ("session", Pooler::Session),
    ("transaction", Pooler::Transaction),
];

/// A PostgreSQL database: a table for each scope, in one schema.
///
/// Built in pure Rust: neither `libpq` nor OpenSSL is needed. Every call ends by its deadline, also
/// where the server does not answer.
///
/// ```no_run
/// use hilcat::Cache;
/// use hilcat::backend::{Postgresql, SslMode};
///
/// let store = Postgresql::builder("db.example.com")
///     .user("app")
///     .password("p@ss/w:ord")
///     .database("app")
///     .ssl_mode(SslMode::VerifyFull)
///     .open()?;
/// let cache = Cache::from_store(store);
/// # Ok::<(), hilcat::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Postgresql(Database<Pg>);

impl Postgresql {
    /// A builder for a database on a host: a name, an address, or where it begins with a slash the
    /// directory of a Unix socket.
    pub fn builder(host: impl Into<String>) -> PostgresqlBuilder {
        PostgresqlBuilder::new(Server::default()).host(host.into())
    }
}

/// Builds a [`Postgresql`]. Its `Debug` never shows the password.
#[derive(Debug, Clone)]
#[must_use = "a builder does nothing until it is opened"]
pub struct PostgresqlBuilder {
    server: Server,
    ssl_mode: SslMode,
    ssl_root_cert: Option<PathBuf>,
    schema: Option<String>,
    synchronous_commit: bool,
    pooler: Pooler,
    connect_timeout: Option<Duration>,
    server_options: ServerOptions,
    options: Options,
}

impl PostgresqlBuilder {
    fn new(server: Server) -> Self {
        Self {
            server,
            ssl_mode: SslMode::default(),
            ssl_root_cert: None,
            schema: None,
            synchronous_commit: true,
            pooler: Pooler::default(),
            connect_timeout: None,
            server_options: ServerOptions::default(),
            options: Options::default(),
        }
    }

    fn host(mut self, host: String) -> Self {
        match host.starts_with('/') {
            true => self.server.socket = Some(host.into()),
            false => self.server.host = Some(host),
        }
        self
    }

    /// The port; 5432 by default.
    pub fn port(mut self, port: u16) -> Self {
        self.server.port = Some(port);
        self
    }

    /// Who logs in; by default the user of the process.
    pub fn user(mut self, user: impl Into<String>) -> Self {
        self.server.user = Some(user.into());
        self
    }

    /// The user's password, as it is: nothing in it is escaped.
    pub fn password(mut self, password: impl Into<String>) -> Self {
        self.server.password = Some(password.into());
        self
    }

    /// The database; by default the one that is named as the user.
    pub fn database(mut self, database: impl Into<String>) -> Self {
        self.server.database = Some(database.into());
        self
    }

    /// Whether the connection is encrypted, and how much of the server's certificate is checked;
    /// [`SslMode::Prefer`] by default. A Unix socket is never encrypted.
    pub fn ssl_mode(mut self, mode: SslMode) -> Self {
        self.ssl_mode = mode;
        self
    }

    /// A file of certificates, in PEM, of the authorities that are trusted, in place of Mozilla's.
    pub fn ssl_root_cert(mut self, path: impl Into<PathBuf>) -> Self {
        self.ssl_root_cert = Some(path.into());
        self
    }

    /// The schema of the database that all tables are in, which has to stand; by default the first
    /// of the user's search path, which is mostly `public`.
    pub fn schema(mut self, schema: impl Into<String>) -> Self {
        self.schema = Some(schema.into());
        self
    }

    /// Whether a write is on the disk before it is acknowledged, as is the default. Without it a
    /// crash of the server may undo the last writes; the database stays whole.
    pub fn synchronous_commit(mut self, on: bool) -> Self {
        self.synchronous_commit = on;
        self
    }

    /// Whether a pooler between the server and this client, such as PgBouncer, shares sessions among
    /// clients; found out by default.
    ///
    /// Behind one, each call is a transaction with all its settings, sent at once: it takes a
    /// little longer, and neither changes the sessions of others nor is changed by theirs.
    /// [`Pooler::Session`] has statements prepared behind a pooler, too, which has to be in session
    /// mode then: in another one records of other programs would be read.
    pub fn pooler(mut self, pooler: Pooler) -> Self {
        self.pooler = pooler;
        self
    }

    /// How long connecting and logging in may take; as long as a call by default.
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

    /// How many connections there are at the most, at least 1; 8 by default.
    pub fn pool_size(mut self, pool_size: u32) -> Self {
        self.options.pool_size = pool_size.max(1);
        self
    }

    /// Opens the database: connects once, so that what is wrong is said now.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Unavailable`](crate::ErrorKind::Unavailable) where the server cannot be reached
    /// or refuses the login, [`ErrorKind::InvalidConfig`](crate::ErrorKind::InvalidConfig) where
    /// the schema does not stand or an option is wrong.
    pub fn open(self) -> Result<Postgresql> {
        let (options, schema) = (self.options.clone(), self.schema.clone());
        let retry = self.server_options.retry;
        let target = self.target()?;
        let pool = pool::open(options.pool_size, move || connect(&target, schema.as_deref()))?;
        let capabilities = capabilities();
        Ok(Postgresql(Database::new(pool.clone(), pool, options, capabilities).with_retry(retry)))
    }

    fn target(self) -> Result<Target> {
        self.server.check()?;
        let settings = self.settings()?;
        let mode = self.verifying()?;
        let tls = tls::config(mode, self.ssl_root_cert.as_deref()).map_err(|error| {
            Error::invalid_config(format!("the file of `sslrootcert` cannot be used: {error}"))
        })?;
        let server = self.server;
        let endpoint = endpoint(&server);
        let of_process = || ["USER", "LOGNAME"].iter().find_map(|name| std::env::var(name).ok());
        let user = server.user.or_else(of_process).ok_or_else(|| {
            Error::invalid_config("no user is named; write it as //user:password@host/database")
        })?;
        Ok(Target {
            endpoint,
            database: server.database.unwrap_or_else(|| user.clone()),
            user,
            password: server.password,
            mode,
            tls,
            connect_timeout: self.connect_timeout.unwrap_or(self.options.timeout),
            max_response: self.server_options.max_response,
            pooler: self.pooler,
            settings,
        })
    }

    /// As libpq does, trusted authorities turn `require` into `verify-ca`.
    fn verifying(&self) -> Result<SslMode> {
        match (self.ssl_mode, &self.ssl_root_cert) {
            (SslMode::Require, Some(_)) => Ok(SslMode::VerifyCa),
            (SslMode::Disable | SslMode::Prefer, Some(_)) => Err(Error::invalid_config(
                "`sslrootcert` is of use only with sslmode=verify-ca or sslmode=verify-full",
            )),
            (mode, _) => Ok(mode),
        }
    }

    /// What each session is set to, whatever the server's own defaults are.
    fn settings(&self) -> Result<Vec<(&'static str, String)>> {
        // The server gives up a little before the connection does: then it is known that nothing
        // was done.
        let timeout = self.options.timeout.mul_f64(0.95).as_millis().clamp(1, i32::MAX as u128);
        let synchronous_commit = if self.synchronous_commit { "on" } else { "off" };
        let mut settings = vec![
            ("TimeZone", "UTC".to_owned()),
            ("statement_timeout", timeout.to_string()),
            ("standard_conforming_strings", "on".to_owned()),
            ("default_transaction_isolation", "read committed".to_owned()),
            ("synchronous_commit", synchronous_commit.to_owned()),
            ("client_min_messages", "warning".to_owned()),
        ];
        match self.schema.as_deref() {
            Some(schema) if schema.is_empty() || schema.contains('\0') => {
                return Err(Error::invalid_config(
                    "the name of the schema is empty or holds the character NUL",
                ));
            }
            Some(schema) => settings.push(("search_path", Pg::quote(schema))),
            None => {}
        }
        Ok(settings)
    }
}

/// Where the server listens: a Unix socket is a file in the directory that is named.
fn endpoint(server: &Server) -> Endpoint {
    let port = server.port.unwrap_or(5432);
    match &server.socket {
        Some(directory) => Endpoint::Unix(directory.join(format!(".s.PGSQL.{port}"))),
        None => Endpoint::tcp(server.host.as_deref().unwrap_or("localhost"), port),
    }
}

fn connect(target: &Target, schema: Option<&str>) -> Result<PostgresConnection> {
    let mut link = PostgresConnection::open(target)?;
    let current = link.begin_session(target)?;
    match (current.as_deref(), schema) {
        (Some(current), Some(schema)) if current == schema => Ok(link),
        (Some(_), None) => Ok(link),
        (_, Some(schema)) => Err(Error::invalid_config(format!(
            "the database has no schema `{schema}` that the user may use; make it with CREATE SCHEMA"
        ))),
        (None, None) => Err(Error::invalid_config(
            "no schema of the user's search path stands; name one by `schema=`",
        )),
    }
}

fn capabilities() -> Capabilities {
    Capabilities {
        persistent: true,
        nul_in_text: false,
        tables: true,
        expiry: ExpirySupport::Full,
        max_records: true,
        shared_single_flight: true,
        ..Capabilities::new()
    }
}

/// Opens `postgresql:` and `postgres:`.
pub(crate) fn open(mut uri: Uri, options: Options) -> Result<Unconnected> {
    let server = Server::parse(uri.rest())?;
    let options = uri.take_common(options)?;
    let placed = server.host.is_some() || server.socket.is_some();
    let mut builder =
        PostgresqlBuilder { options: options.clone(), ..PostgresqlBuilder::new(server) };
    builder.ssl_mode = uri.take_choice("sslmode", &SslMode::CHOICES)?.unwrap_or_default();
    builder.ssl_root_cert = uri.take("sslrootcert").map(PathBuf::from);
    builder.schema = uri.take("schema");
    builder.connect_timeout = uri.take_duration("connect_timeout")?;
    builder.server_options = ServerOptions::take(&mut uri)?;
    let choices = [("on", true), ("off", false)];
    builder.synchronous_commit = uri.take_choice("synchronous_commit", &choices)?.unwrap_or(true);
    builder.pooler = uri.take_choice("pooler", &POOLERS)?.unwrap_or_default();
    if let Some(host) = uri.take("host") {
        if placed {
            return Err(Error::invalid_config(
                "the host stands twice: after the `//` of the URI and in the option `host`",
            ));
        }
        builder = builder.host(host);
    }
    let single = single_table::take(&mut uri)?;
    uri.finish(&[&OPTIONS[..], &ServerOptions::NAMES, single_table::OPTIONS].concat())?;
    // What is wrong in the URI is said before the server is asked.
    builder.clone().target()?;
    let connect = move || Ok(single_table::store(builder.clone().open()?, single.clone()));
    Ok(Unconnected {
        name: Pg::NAME,
        capabilities: capabilities(),
        options,
        connect: Box::new(connect),
    })
}

impl single_table::sealed::Tables for Postgresql {
    fn single_table(self, layout: Layout) -> Arc<dyn Store> {
        Arc::new(SingleTableStore::new(self.0, layout))
    }
}

store_of_tables!(Postgresql);
