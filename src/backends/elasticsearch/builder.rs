//! The options of the Elasticsearch backend.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use elasticsearch::auth::Credentials;
use elasticsearch::cert::Certificate;
use elasticsearch::http::Url;
use parking_lot::Mutex;

use super::client::Client;
use super::cluster::Cluster;
use super::cluster_uri::{self, ClusterUri};
use super::transport::Transport;
use super::{Elasticsearch, names};
use crate::remote::{ServerOptions, server_option_methods};
use crate::store::{Options, Store, Uri, pool_option_methods};
use crate::{Error, Result};

/// The options of a URI that only this backend has.
pub(super) const OPTIONS: [&str; 7] =
    ["api_key", "prefix", "refresh", "sslrootcert", "ca", "shards", "replicas"];

/// When other programs can search a write. hilcat's own listings see every acknowledged write,
/// whatever the setting.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Refresh {
    /// After the next refresh of the index, which is once a second by default. The default.
    #[default]
    None,
    /// When the write is acknowledged. Each write waits for the next refresh.
    WaitFor,
    /// When the write is acknowledged. Each write refreshes the index, which is expensive.
    True,
}

impl Refresh {
    /// The values in a URI, which are those of Elasticsearch.
    const CHOICES: [(&'static str, Self); 4] = [
        ("none", Self::None),
        ("false", Self::None),
        ("wait_for", Self::WaitFor),
        ("true", Self::True),
    ];

    /// Returns the parameter of a write request.
    pub(super) fn parameter(self) -> &'static str {
        match self {
            Self::None => "",
            Self::WaitFor => "&refresh=wait_for",
            Self::True => "&refresh=true",
        }
    }
}

/// Builds an [`Elasticsearch`]; created by [`Elasticsearch::builder`]. Its `Debug` does not show the
/// login.
#[derive(Clone)]
#[must_use = "a builder does nothing until it is opened"]
pub struct ElasticsearchBuilder {
    hosts: Vec<String>,
    https: bool,
    path: String,
    user: Option<String>,
    password: Option<String>,
    api_key: Option<String>,
    ssl_root_cert: Option<PathBuf>,
    prefix: String,
    refresh: Refresh,
    shards: Option<u32>,
    replicas: Option<u32>,
    server_options: ServerOptions,
    options: Options,
}

impl fmt::Debug for ElasticsearchBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ElasticsearchBuilder")
            .field("hosts", &self.hosts)
            .field("https", &self.https)
            .field("prefix", &self.prefix)
            .field("refresh", &self.refresh)
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}

impl ElasticsearchBuilder {
    pub(super) fn new() -> Self {
        Self {
            hosts: Vec::new(),
            https: false,
            path: String::new(),
            user: None,
            password: None,
            api_key: None,
            ssl_root_cert: None,
            prefix: String::new(),
            refresh: Refresh::default(),
            shards: None,
            replicas: None,
            server_options: ServerOptions::default(),
            options: Options::default(),
        }
    }

    /// Reads the options of a URI, whose scheme determines whether HTTPS is used.
    pub(super) fn from_uri(uri: &mut Uri, options: Options) -> Result<Self> {
        let place = ClusterUri::parse(uri.rest())?;
        let number = "a number from 0";
        let root_cert = uri.spelling("sslrootcert", Some("ca"))?;
        Ok(Self {
            hosts: place.hosts,
            https: uri.scheme() == "es+https",
            path: place.path,
            user: place.user,
            password: place.password,
            options: uri.take_common(options)?,
            api_key: uri.take("api_key"),
            ssl_root_cert: uri.take(root_cert).map(PathBuf::from),
            prefix: uri.take("prefix").unwrap_or_default(),
            refresh: uri.take_choice("refresh", &Refresh::CHOICES)?.unwrap_or_default(),
            shards: uri.take_parsed("shards", "a number from 1")?,
            replicas: uri.take_parsed("replicas", number)?,
            server_options: ServerOptions::take(uri)?,
        })
    }

    /// Adds a node of the cluster, as `name`, `name:port` or `[address]:port`. Requests go to the
    /// nodes in turn; if a node cannot be reached, the next one is used.
    pub fn host(mut self, host: impl Into<String>) -> Self {
        self.hosts.push(host.into());
        self
    }

    /// Sets whether to use HTTPS. The certificates of the nodes are then verified.
    pub fn https(mut self, https: bool) -> Self {
        self.https = https;
        self
    }

    /// Sets the path of the cluster behind a proxy.
    pub fn path(mut self, path: impl Into<String>) -> Self {
        self.path = path.into();
        self
    }

    /// Sets an API key, which is used instead of a user: in the encoded form that Elasticsearch
    /// returns, or as `id:key`.
    pub fn api_key(mut self, api_key: impl Into<String>) -> Self {
        self.api_key = Some(api_key.into());
        self
    }

    /// Sets a PEM file of authorities to trust, in addition to Mozilla's.
    #[doc(alias = "ca")]
    pub fn ssl_root_cert(mut self, path: impl Into<PathBuf>) -> Self {
        self.ssl_root_cert = Some(path.into());
        self
    }

    /// Sets the prefix of the names of all indices. The default is empty.
    pub fn prefix(mut self, prefix: impl Into<String>) -> Self {
        self.prefix = prefix.into();
        self
    }

    /// Sets when other programs can search a write. The default is [`Refresh::None`].
    pub fn refresh(mut self, refresh: Refresh) -> Self {
        self.refresh = refresh;
        self
    }

    /// Sets the number of shards of a new index. The default is that of the cluster's settings,
    /// which is 1 unless it was changed.
    pub fn shards(mut self, shards: u32) -> Self {
        self.shards = Some(shards);
        self
    }

    /// Sets the number of replicas of each shard of a new index. The default is that of the cluster's
    /// settings.
    pub fn replicas(mut self, replicas: u32) -> Self {
        self.replicas = Some(replicas);
        self
    }

    server_option_methods!("none by default.");
    pool_option_methods!("concurrent requests");

    /// Opens the cluster. Sends one request, so that a wrong configuration is an error now.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Unavailable`](crate::ErrorKind::Unavailable) if no node can be reached or
    /// the login is refused, [`ErrorKind::InvalidConfig`](crate::ErrorKind::InvalidConfig) if
    /// an option is invalid.
    pub fn open(self) -> Result<Elasticsearch> {
        let cluster = self.open_unconnected()?;
        cluster.ping()?;
        Ok(cluster)
    }

    /// Opens the cluster without contacting it.
    pub(super) fn open_unconnected(self) -> Result<Elasticsearch> {
        names::check_prefix(&self.prefix)?;
        if self.shards == Some(0) {
            return Err(Error::invalid_config("`shards` is 0; give a number from 1"));
        }
        let hosts = match &self.hosts[..] {
            [] => vec![String::new()],
            hosts => hosts.to_vec(),
        };
        let hosts = hosts.iter().map(|host| self.transport(host)).collect::<Result<Vec<_>>>()?;
        let cluster = Cluster {
            client: Client::new(hosts, self.options.pool_size, self.server_options.retry),
            timeout: self.options.timeout,
            prefix: self.prefix,
            refresh: self.refresh,
            shards: self.shards,
            replicas: self.replicas,
            layouts: Mutex::default(),
        };
        Ok(Elasticsearch(Arc::new(cluster)))
    }

    pub(super) fn options(&self) -> Options {
        self.options.clone()
    }

    fn transport(&self, host: &str) -> Result<Transport> {
        let (host, port) = cluster_uri::address(host)?;
        let scheme = if self.https { "https" } else { "http" };
        let path = match self.path.trim_matches('/') {
            "" => String::new(),
            path => format!("{path}/"),
        };
        let url = format!("{scheme}://{host}:{port}/{path}");
        let url = Url::parse(&url)
            .map_err(|_| Error::invalid_config("the host or the path is not valid in a URL"))?;
        let credentials = self.credentials()?;
        let limit = self.server_options.max_response;
        Transport::new(url, credentials.as_ref(), self.authorities()?, limit)
    }

    fn credentials(&self) -> Result<Option<Credentials>> {
        let wrong = |message| Err(Error::invalid_config(message));
        match (&self.user, &self.password, &self.api_key) {
            (None, None, None) => Ok(None),
            (Some(user), _, None) if user.contains(':') => {
                wrong("the name of the user contains a colon")
            }
            (Some(user), password, None) => {
                let password = password.clone().unwrap_or_default();
                Ok(Some(Credentials::Basic(user.clone(), password)))
            }
            (None, None, Some(key))
                if key.is_empty() || !key.bytes().all(|b| b.is_ascii_graphic()) =>
            {
                wrong("the API key is empty or contains invalid characters")
            }
            (None, None, Some(key)) => Ok(Some(match key.split_once(':') {
                Some((id, key)) => Credentials::ApiKey(id.to_owned(), key.to_owned()),
                None => Credentials::EncodedApiKey(key.clone()),
            })),
            (None, Some(_), None) => wrong("a password is given, but no user"),
            (_, _, Some(_)) => wrong("both a user and an API key are given; give one of them"),
        }
    }

    fn authorities(&self) -> Result<Option<Certificate>> {
        let Some(path) = &self.ssl_root_cert else { return Ok(None) };
        if !self.https {
            return Err(Error::invalid_config(
                "the option `sslrootcert` has no effect without HTTPS; use the scheme es+https",
            ));
        }
        let read = std::fs::read(path).map_err(|error| error.to_string());
        let read = read.and_then(|pem| Certificate::from_pem(&pem).map_err(|e| e.to_string()));
        read.map(Some).map_err(|error| {
            Error::invalid_config(format!("the file of `sslrootcert` cannot be read: {error}"))
        })
    }
}
