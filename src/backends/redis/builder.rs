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

/// The port of a Redis server where none is named.
const PORT: u16 = 6379;
/// That of a sentinel.
const SENTINEL_PORT: u16 = 26379;
/// What the names of a cache's records begin with where nothing else is said.
const PREFIX: &str = "hilcat";

/// What a record is in the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum RedisLayout {
    /// A string: JSON (or MessagePack) of all columns by their names. The default.
    #[default]
    Record,
    /// A hash: a field for each column, with its value as JSON.
    Hash,
    /// A string: the bare value of the one column that is no key, under the bare key, as the
    /// Python package keeps it. The cache has one scope.
    Plain,
}

/// The servers as they were named.
#[derive(Debug, Clone)]
pub(super) enum Named {
    One(Address),
    Cluster(Vec<String>),
    /// The sentinels, and the name of the master that they watch.
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
    /// A builder for one server, on a host: a name or an address.
    pub fn builder(host: impl Into<String>) -> RedisBuilder {
        RedisBuilder::new(Named::One(Address::Tcp(host.into(), PORT)))
    }

    /// A builder for one server, by the path of its socket.
    pub fn unix(path: impl Into<PathBuf>) -> RedisBuilder {
        RedisBuilder::new(Named::One(Address::Unix(path.into())))
    }

    /// A builder for a cluster, some nodes of which are named: as `host` or `host:port`.
    ///
    /// A batch of writes is all or nothing in one slot of a cluster. Across slots nothing is
    /// written before all of it was found to be such as can be, and every server has been
    /// connected to; where one is lost in the middle, the batch fails as
    /// [`ErrorKind::Unavailable`](crate::ErrorKind::Unavailable) with some of it written. A cache
    /// with [`slot_per_scope`](RedisBuilder::slot_per_scope) has no such batches.
    pub fn cluster<N: Into<String>>(nodes: impl IntoIterator<Item = N>) -> RedisBuilder {
        RedisBuilder::new(Named::Cluster(nodes.into_iter().map(Into::into).collect()))
    }

    /// A builder for the master of this name that sentinels watch, some of which are named: as
    /// `host` or `host:port`.
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

    /// The port of a single server; 6379 by default.
    pub fn port(mut self, port: u16) -> Self {
        if let Named::One(Address::Tcp(_, standing)) = &mut self.named {
            *standing = port;
        }
        self
    }

    /// Who logs in to the sentinels; by default nobody does.
    pub fn sentinel_user(mut self, user: impl Into<String>) -> Self {
        self.sentinel.0 = Some(user.into());
        self
    }

    /// The sentinels' password.
    pub fn sentinel_password(mut self, password: impl Into<String>) -> Self {
        self.sentinel.1 = Some(password.into());
        self
    }

    /// The number of the database; 0 by default, and the only one of a cluster.
    pub fn database(mut self, database: u32) -> Self {
        self.login.database = database;
        self
    }

    /// The version of the protocol; [`Resp::Resp2`] by default.
    pub fn protocol(mut self, protocol: Resp) -> Self {
        self.login.protocol = protocol;
        self
    }

    /// What the names of all records begin with; `hilcat` by default, and nothing in the plain
    /// layout. Braces in it put the whole cache into one slot of a cluster.
    pub fn prefix(mut self, prefix: impl Into<String>) -> Self {
        self.prefix = Some(prefix.into());
        self
    }

    /// What a record is in the server; [`RedisLayout::Record`] by default.
    pub fn layout(mut self, layout: RedisLayout) -> Self {
        self.layout = layout;
        self
    }

    /// Puts each scope into one slot of a cluster: its batches are all or nothing then, and one
    /// server has all of it. By default the records of a scope are spread over all servers.
    pub fn slot_per_scope(mut self, on: bool) -> Self {
        self.together = on;
        self
    }

    /// Has every write wait until so many replicas have it; 0 by default.
    ///
    /// Redis acknowledges a write before its replicas have it, so that one that a master
    /// acknowledged just before it died is lost with it. With 1, and one replica to each master,
    /// none is. Fewer replicas are [`ErrorKind::Unavailable`](crate::ErrorKind::Unavailable) at
    /// the deadline, and the write stands at the master.
    pub fn replicas(mut self, replicas: u32) -> Self {
        self.replicas = replicas;
        self
    }

    /// Writes records as MessagePack, which is shorter than JSON and not as readable. Records are
    /// read whatever they were written as.
    #[cfg(feature = "msgpack")]
    pub fn message_pack(mut self, on: bool) -> Self {
        use crate::codec::Format;
        self.codec.format = if on { Format::MessagePack } else { Format::Json };
        self
    }

    /// Compresses records of more bytes than this; by default none is.
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

    /// The clock by which records expire: the server is told to remove a record after the time that
    /// is left by it. That of the system by default.
    pub fn clock(mut self, clock: impl crate::Clock + 'static) -> Self {
        self.options.clock = crate::store::SharedClock::new(clock);
        self
    }

    /// Opens the store: asks a server once, so that what is wrong is said now.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Unavailable`](crate::ErrorKind::Unavailable) where no server can be reached or
    /// the login is refused, [`ErrorKind::InvalidConfig`](crate::ErrorKind::InvalidConfig) where
    /// an option is wrong.
    pub fn open(self) -> Result<Redis> {
        let redis = self.unasked()?;
        redis.ping()?;
        Ok(redis)
    }

    /// The store, without asking a server.
    pub(super) fn unasked(self) -> Result<Redis> {
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
                "`format` and `compress` are of the layout `record` alone: the others have values as they are",
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
            true => Err(Error::invalid_config(
                "the prefix of a cache's names is empty or holds a control character",
            )),
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
            Named::Cluster(_) if login.database != 0 => "a cluster has the database 0 alone",
            Named::Sentinel(_, master) if master.is_empty() => {
                "the master that the sentinels watch has to be named: redis+sentinel://host/name"
            }
            Named::One(Address::Unix(_)) if login.tls.is_some() => "a Unix socket is not encrypted",
            _ if login.user.is_some() && login.password.is_none() => {
                "a user is named, and no password is given"
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

/// Reads `host` or `host:port`.
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
