//! The options of the Redis backend.

use std::path::PathBuf;
use std::sync::Arc;

use parking_lot::Mutex;

use super::cluster::Cluster;
use super::login::{Address, Login, Resp};
use super::names::Naming;
use super::pool::PoolOptions;
use super::registry::Registry;
use super::sentinel::Sentinels;
use super::servers::Servers;
use super::{Inner, KnownScopes, Redis};
use crate::codec::CodecOptions;
use crate::remote::tls::SslMode;
use crate::remote::{
    ConnectOptions, Server, ServerOptions, connect_option_methods, server_option_methods,
};
use crate::store::{Options, Store, pool_option_methods};
use crate::{Error, Result};

/// The default port of a Redis server.
const PORT: u16 = 6379;
/// The default port of a sentinel.
const SENTINEL_PORT: u16 = 26379;
/// The default prefix of the keys of a cache.
const PREFIX: &str = "hilcat";

/// The form in which the server stores a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum RedisLayout {
    /// A string of JSON (or MessagePack) with all columns by name. The default.
    #[default]
    Record,
    /// A hash with a field for each column, whose value is JSON.
    Hash,
    /// A string of the bare value of the one column outside the key, under the bare key. This is the
    /// layout of the Python package. The cache has one scope.
    Plain,
}

/// The servers, as configured.
#[derive(Debug, Clone)]
pub(super) enum Named {
    One(Address),
    Cluster(Vec<String>),
    /// The sentinels, and the name of the master that they monitor.
    Sentinel(Vec<String>, String),
}

/// Builds a [`Redis`]. Its `Debug` never shows a password.
#[derive(Clone)]
#[must_use = "a builder does nothing until it is opened"]
pub struct RedisBuilder {
    named: Named,
    login: Login,
    sentinel: (Option<String>, Option<String>),
    prefix: Option<String>,
    layout: RedisLayout,
    together: bool,
    replicas: u32,
    pub(super) codec: CodecOptions,
    pub(super) connect_options: ConnectOptions,
    pub(super) server_options: ServerOptions,
    pub(super) options: Options,
}

impl std::fmt::Debug for RedisBuilder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RedisBuilder")
            .field("servers", &self.named)
            .field("login", &self.login)
            .field("ssl_mode", &self.connect_options.ssl_mode)
            .field("prefix", &self.prefix)
            .field("layout", &self.layout)
            .finish_non_exhaustive()
    }
}

impl Redis {
    /// Returns a builder for one server on a host, a name or an address.
    pub fn builder(host: impl Into<String>) -> RedisBuilder {
        RedisBuilder::new(Named::One(Address::Tcp(host.into(), PORT)))
    }

    /// Returns a builder for one server at the path of a Unix socket.
    pub fn unix(path: impl Into<PathBuf>) -> RedisBuilder {
        RedisBuilder::new(Named::One(Address::Unix(path.into())))
    }

    /// Returns a builder for a cluster. `nodes` are some of its nodes, as `host` or `host:port`.
    ///
    /// Within one slot of a cluster, a batch of writes is all or nothing. A batch across slots is
    /// written after all of it was checked and all servers were connected. If a server is lost in
    /// between, the batch fails with [`ErrorKind::Unavailable`](crate::ErrorKind::Unavailable), and
    /// a part of it is written. A cache with [`slot_per_scope`](RedisBuilder::slot_per_scope) has no
    /// such batches.
    pub fn cluster<N: Into<String>>(nodes: impl IntoIterator<Item = N>) -> RedisBuilder {
        RedisBuilder::new(Named::Cluster(nodes.into_iter().map(Into::into).collect()))
    }

    /// Returns a builder for the master with this name. `sentinels` are some of the sentinels that
    /// monitor it, as `host` or `host:port`.
    pub fn sentinel<N: Into<String>>(
        sentinels: impl IntoIterator<Item = N>,
        master: impl Into<String>,
    ) -> RedisBuilder {
        let sentinels = sentinels.into_iter().map(Into::into).collect();
        RedisBuilder::new(Named::Sentinel(sentinels, master.into()))
    }
}

impl RedisBuilder {
    pub(super) fn new(named: Named) -> Self {
        Self {
            named,
            login: Login::default(),
            sentinel: (None, None),
            prefix: None,
            layout: RedisLayout::default(),
            together: false,
            replicas: 0,
            codec: CodecOptions::default(),
            connect_options: ConnectOptions {
                ssl_mode: SslMode::Disable,
                ..ConnectOptions::default()
            },
            server_options: ServerOptions::default(),
            options: Options::default(),
        }
    }

    /// Sets the port of a single server. The default is 6379.
    pub fn port(mut self, port: u16) -> Self {
        if let Named::One(Address::Tcp(_, current)) = &mut self.named {
            *current = port;
        }
        self
    }

    /// Sets the user for the sentinels. By default there is no login.
    pub fn sentinel_user(mut self, user: impl Into<String>) -> Self {
        self.sentinel.0 = Some(user.into());
        self
    }

    /// Sets the password for the sentinels.
    pub fn sentinel_password(mut self, password: impl Into<String>) -> Self {
        self.sentinel.1 = Some(password.into());
        self
    }

    /// Sets the number of the database. The default is 0, the only database of a cluster.
    pub fn database(mut self, database: u32) -> Self {
        self.login.database = database;
        self
    }

    /// Sets the version of the protocol. The default is [`Resp::Resp2`].
    pub fn protocol(mut self, protocol: Resp) -> Self {
        self.login.protocol = protocol;
        self
    }

    /// Sets the prefix of all keys. The default is `hilcat`, and empty in the plain layout. Braces in
    /// it put the whole cache into one slot of a cluster.
    pub fn prefix(mut self, prefix: impl Into<String>) -> Self {
        self.prefix = Some(prefix.into());
        self
    }

    /// Sets the form in which the server stores a record. The default is [`RedisLayout::Record`].
    pub fn layout(mut self, layout: RedisLayout) -> Self {
        self.layout = layout;
        self
    }

    /// Puts each scope into one slot of a cluster. Its batches are then all or nothing, and one
    /// server stores the whole scope. By default the records of a scope are spread over all servers.
    pub fn slot_per_scope(mut self, on: bool) -> Self {
        self.together = on;
        self
    }

    /// Sets the number of replicas that must have a write before it is acknowledged. The default is
    /// 0.
    ///
    /// Redis acknowledges a write before its replicas have it, so the last writes before a failure of
    /// the master are lost. With 1, and one replica per master, none is lost. If fewer replicas have
    /// the write at the deadline, the call fails with
    /// [`ErrorKind::Unavailable`](crate::ErrorKind::Unavailable); the master keeps the write.
    pub fn replicas(mut self, replicas: u32) -> Self {
        self.replicas = replicas;
        self
    }

    /// Writes records as MessagePack, which is shorter and less readable than JSON. Records in either
    /// format are read.
    #[cfg(feature = "msgpack")]
    pub fn message_pack(mut self, on: bool) -> Self {
        use crate::codec::Format;
        self.codec.format = if on { Format::MessagePack } else { Format::Json };
        self
    }

    /// Compresses records of more bytes than this. By default none is compressed.
    #[cfg(feature = "zstd")]
    pub fn compress_above(mut self, bytes: usize) -> Self {
        self.codec.compress_above = Some(bytes);
        self
    }

    server_option_methods!(login, "the server's default user by default.");
    connect_option_methods!(
        "[`SslMode::Disable`] by default. [`SslMode::Prefer`] is invalid: a server accepts TLS on a separate port."
    );
    pool_option_methods!("open connections per server");

    /// Sets the clock by which records expire. The default is that of the system. The server removes
    /// a record after the remaining time to live by this clock.
    pub fn clock(mut self, clock: impl crate::Clock + 'static) -> Self {
        self.options.clock = crate::store::SharedClock::new(clock);
        self
    }

    /// Opens the store. Sends one request to a server, so that a wrong configuration is an error now.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Unavailable`](crate::ErrorKind::Unavailable) if no server can be reached or
    /// the login is refused, [`ErrorKind::InvalidConfig`](crate::ErrorKind::InvalidConfig) if
    /// an option is invalid.
    pub fn open(self) -> Result<Redis> {
        let redis = self.open_unconnected()?;
        redis.ping()?;
        Ok(redis)
    }

    /// Opens the store without contacting a server.
    pub(super) fn open_unconnected(self) -> Result<Redis> {
        let prefix = self.checked_prefix()?;
        let naming = match (self.layout, self.together) {
            (RedisLayout::Plain, _) => Naming::Plain,
            (_, true) => Naming::SlotPerScope,
            (_, false) => Naming::Scoped,
        };
        let known = match self.layout {
            RedisLayout::Plain => KnownScopes::Only(None),
            _ => KnownScopes::Registered(None),
        };
        let servers = self.servers()?;
        let inner = Inner {
            registry: Registry::new(&prefix, &servers),
            servers,
            timeout: self.options.timeout,
            clock: self.options.clock,
            replicas: self.replicas,
            retry: self.server_options.retry,
            prefix,
            naming,
            layout: self.layout,
            codec: self.codec,
            known: Mutex::new(known),
        };
        Ok(Redis { inner: Arc::new(inner) })
    }

    fn checked_prefix(&self) -> Result<String> {
        let plain = self.layout == RedisLayout::Plain;
        if self.layout != RedisLayout::Record && self.codec != CodecOptions::default() {
            return Err(Error::invalid_config(
                "`format` and `compress` need the layout `record`; the other layouts store values as they are",
            ));
        }
        if plain && self.together {
            return Err(Error::invalid_config(
                "the plain layout has bare keys, which cannot be put into one slot",
            ));
        }
        let prefix = self.prefix.clone();
        let prefix = prefix.unwrap_or_else(|| if plain { "" } else { PREFIX }.to_owned());
        match !plain && prefix.is_empty() || prefix.chars().any(char::is_control) {
            false => Ok(prefix),
            true => {
                Err(Error::invalid_config("the prefix is empty or contains a control character"))
            }
        }
    }

    fn servers(&self) -> Result<Servers> {
        let max_response = self.server_options.max_response;
        let login = Login { tls: self.tls()?, max_response, ..self.login.clone() };
        self.check_login(&login)?;
        let options = PoolOptions {
            size: self.options.pool_size,
            connect_timeout: self.connect_options.timeout.unwrap_or(self.options.timeout),
            login: Arc::new(login.clone()),
        };
        Ok(match &self.named {
            Named::One(address) => Servers::one(address.clone(), options),
            Named::Cluster(nodes) => {
                Servers::Cluster(Cluster::new(addresses(nodes, PORT)?, options))
            }
            Named::Sentinel(sentinels, master) => {
                let (user, password) = self.sentinel.clone();
                let login = Login { user, password, database: 0, ..login };
                let sentinels = addresses(sentinels, SENTINEL_PORT)?;
                Servers::Sentinel(Sentinels::new(sentinels, master.clone(), login, options))
            }
        })
    }

    fn check_login(&self, login: &Login) -> Result<()> {
        let wrong = match &self.named {
            Named::Cluster(_) if login.database != 0 => "a cluster has only the database 0",
            Named::Sentinel(_, master) if master.is_empty() => {
                "the name of the master is missing; write redis+sentinel://host/name"
            }
            Named::One(Address::Unix(_)) if login.tls.is_some() => "a Unix socket is not encrypted",
            _ if login.user.is_some() && login.password.is_none() => {
                "a user is given, but no password"
            }
            _ => return Ok(()),
        };
        Err(Error::invalid_config(wrong))
    }

    fn tls(&self) -> Result<Option<Arc<rustls::ClientConfig>>> {
        let options = &self.connect_options;
        match (options.ssl_mode, &options.ssl_root_cert) {
            (SslMode::Disable, None) => Ok(None),
            (SslMode::Prefer, _) => Err(Error::invalid_config(
                "a Redis server accepts TLS on a separate port; set `sslmode` to require, verify-ca or verify-full",
            )),
            _ => options.tls(options.effective_mode()?).map(Some),
        }
    }
}

/// Parses `host` or `host:port`.
fn addresses(named: &[String], port: u16) -> Result<Vec<Address>> {
    let address = |text: &String| {
        let server = Server::parse(&format!("//{text}"))?;
        match server.host {
            Some(host) if server.user.is_none() && server.database.is_none() => {
                Ok(Address::Tcp(host, server.port.unwrap_or(port)))
            }
            _ => Err(Error::invalid_config("a server is named as host or host:port")),
        }
    };
    if named.is_empty() {
        return Err(Error::invalid_config("no server is named"));
    }
    named.iter().map(address).collect()
}
