//! The PostgreSQL backend: its builder and its URI.

use std::path::PathBuf;
use std::sync::Arc;

use diesel::pg::Pg;

use super::connection::postgresql::{Pooler, PostgresConnection, Target};
use super::database::Database;
use crate::backends::sql::connection::pool;
use crate::backends::sql::dialect::ColumnTypes;
use crate::backends::sql::table::single_table::{self, Layout, SingleTableStore};
use crate::outage::Unconnected;
use crate::remote::tls::SslMode;
use crate::remote::{
    ConnectOptions, Endpoint, Server, ServerOptions, connect_option_methods, server_option_methods,
};
use crate::store::{Capabilities, ExpirySupport, Options, Store, Uri, pool_option_methods};
use crate::{Error, Result};

/// The options of a URI that are specific to this backend.
const OPTIONS: [&str; 5] = ["schema", "host", "connect_timeout", "synchronous_commit", "pooler"];

/// The values of `pooler`.
const POOLERS: [(&str, Pooler); 3] = [
    ("detect", Pooler::Detect),
    ("session", Pooler::Session),
    ("transaction", Pooler::Transaction),
];

/// A PostgreSQL database (12 or newer) with a table for each scope, in one schema.
///
/// The client is written in Rust and needs neither `libpq` nor OpenSSL. Every call ends by its
/// deadline, even if the server does not respond.
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
    /// Returns a builder for a database on a host, given by name or address. A host that begins with
    /// a slash is the directory of a Unix socket.
    pub fn builder(host: impl Into<String>) -> PostgresqlBuilder {
        PostgresqlBuilder::new(Server::default()).host(host.into())
    }
}

/// A builder of [`Postgresql`]. `Debug` omits the login.
#[derive(Debug, Clone)]
#[must_use = "a builder does nothing until it is opened"]
pub struct PostgresqlBuilder {
    server: Server,
    schema: Option<String>,
    synchronous_commit: bool,
    pooler: Pooler,
    connect_options: ConnectOptions,
    server_options: ServerOptions,
    options: Options,
}

impl PostgresqlBuilder {
    fn new(server: Server) -> Self {
        Self {
            server,
            schema: None,
            synchronous_commit: true,
            pooler: Pooler::default(),
            connect_options: ConnectOptions::default(),
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

    /// Sets the port; 5432 by default.
    pub fn port(mut self, port: u16) -> Self {
        self.server.port = Some(port);
        self
    }

    /// Connects to a Unix socket instead of a host, by the path of its directory.
    pub fn socket(mut self, directory: impl Into<PathBuf>) -> Self {
        self.server.socket = Some(directory.into());
        self
    }

    /// Sets the database; the one named like the user by default.
    pub fn database(mut self, database: impl Into<String>) -> Self {
        self.server.database = Some(database.into());
        self
    }

    /// Sets the schema that contains all tables, which must exist; by default the first schema of
    /// the user's search path, usually `public`.
    pub fn schema(mut self, schema: impl Into<String>) -> Self {
        self.schema = Some(schema.into());
        self
    }

    /// Sets whether a write is flushed to disk before it is acknowledged; it is by default. Without
    /// it, a crash of the server may lose the last writes, but does not damage the database.
    pub fn synchronous_commit(mut self, on: bool) -> Self {
        self.synchronous_commit = on;
        self
    }

    /// Sets whether a pooler between client and server, such as PgBouncer, shares sessions among
    /// clients; it is detected by default.
    ///
    /// Behind such a pooler each call is one transaction that includes all settings. It takes
    /// slightly longer, and neither changes the sessions of other clients nor depends on them.
    /// [`Pooler::Session`] uses prepared statements behind a pooler too. The pooler must then be in
    /// session mode: in another mode, calls could return records of other programs.
    pub fn pooler(mut self, pooler: Pooler) -> Self {
        self.pooler = pooler;
        self
    }

    server_option_methods!(server, "that of the process by default.");
    connect_option_methods!(
        "[`SslMode::Prefer`] by default. A connection to a Unix socket never uses TLS."
    );
    pool_option_methods!("open connections");

    /// Opens the database. Connects once, so that errors of the configuration are reported here.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Unavailable`](crate::ErrorKind::Unavailable) if the server cannot be reached or
    /// rejects the login, [`ErrorKind::InvalidConfig`](crate::ErrorKind::InvalidConfig) if the
    /// schema does not exist or an option is invalid.
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
        let mode = self.connect_options.effective_mode()?;
        let tls = self.connect_options.tls(mode)?;
        let server = self.server;
        let endpoint = endpoint(&server);
        let of_process = || ["USER", "LOGNAME"].iter().find_map(|name| std::env::var(name).ok());
        let user = server.user.or_else(of_process).ok_or_else(|| {
            Error::invalid_config(
                "the URI names no user; write it as //user:password@host/database",
            )
        })?;
        Ok(Target {
            endpoint,
            database: server.database.unwrap_or_else(|| user.clone()),
            user,
            password: server.password,
            mode,
            tls,
            connect_timeout: self.connect_options.timeout.unwrap_or(self.options.timeout),
            max_response: self.server_options.max_response,
            pooler: self.pooler,
            settings,
        })
    }

    /// Returns the settings of each session, which override the server's defaults.
    fn settings(&self) -> Result<Vec<(&'static str, String)>> {
        // The server's timeout is slightly shorter than the client's: a statement that the server
        // cancelled is known to have had no effect.
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
                    "the option `schema` is empty or contains the character NUL",
                ));
            }
            Some(schema) => settings.push(("search_path", Pg::quote(schema))),
            None => {}
        }
        Ok(settings)
    }
}

/// Returns the address of a server. A Unix socket is a file in the given directory.
fn endpoint(server: &Server) -> Endpoint {
    let port = server.port.unwrap_or(5432);
    match &server.socket {
        Some(directory) => Endpoint::Unix(directory.join(format!(".s.PGSQL.{port}"))),
        None => Endpoint::tcp(server.host.as_deref().unwrap_or("localhost"), port),
    }
}

fn connect(target: &Target, schema: Option<&str>) -> Result<PostgresConnection> {
    let mut connection = PostgresConnection::open(target)?;
    let current = connection.begin_session(target)?;
    match (current.as_deref(), schema) {
        (Some(current), Some(schema)) if current == schema => Ok(connection),
        (Some(_), None) => Ok(connection),
        (_, Some(schema)) => Err(Error::invalid_config(format!(
            "the database has no schema `{schema}`, or the user may not use it; create it with CREATE SCHEMA"
        ))),
        (None, None) => Err(Error::invalid_config(
            "no schema of the user's search path exists; name one with the option `schema`",
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
    let has_host = server.host.is_some() || server.socket.is_some();
    let mut builder =
        PostgresqlBuilder { options: options.clone(), ..PostgresqlBuilder::new(server) };
    builder.connect_options.take_tls(&mut uri, &SslMode::CHOICES, [None, None])?;
    builder.connect_options.take_timeout(&mut uri)?;
    builder.schema = uri.take("schema");
    builder.server_options = ServerOptions::take(&mut uri)?;
    let choices = [("on", true), ("off", false)];
    builder.synchronous_commit = uri.take_choice("synchronous_commit", &choices)?.unwrap_or(true);
    builder.pooler = uri.take_choice("pooler", &POOLERS)?.unwrap_or_default();
    if let Some(host) = uri.take("host") {
        if has_host {
            return Err(Error::invalid_config(
                "duplicate host: after the `//` of the URI and in the option `host`; remove one of them",
            ));
        }
        builder = builder.host(host);
    }
    let single = single_table::take(&mut uri)?;
    let (tls, common) = (&ConnectOptions::TLS_NAMES[..], &ServerOptions::NAMES[..]);
    uri.finish(&[tls, &OPTIONS, common, single_table::OPTIONS].concat())?;
    // Reports an invalid URI before the first connection.
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
