//! The URI schemes: those of the built-in backends, and those added by the program.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

#[cfg(feature = "elasticsearch")]
use crate::backends::elasticsearch;
#[cfg(unix)]
use crate::backends::file;
#[cfg(feature = "redis")]
use crate::backends::redis;
#[cfg(feature = "sql")]
use crate::backends::sql;
use crate::backends::{memory, noop};
use crate::layers::{ReadOnly, config};
#[cfg(any(feature = "server", feature = "redis", feature = "elasticsearch"))]
use crate::outage::{Guarded, Lazy, Remote, Unconnected};
use crate::spelling::did_you_mean;
use crate::store::{Options, Store, Uri};
use crate::{Error, Result};

type Opened = Result<(Arc<dyn Store>, Options)>;

/// A backend: its URI schemes, its cargo feature, and the function that opens it if the feature is
/// enabled.
struct Driver {
    schemes: &'static [&'static str],
    feature: Option<&'static str>,
    open: Option<Open>,
}

/// The function that opens a store.
#[derive(Clone, Copy)]
enum Open {
    Backend(fn(Uri, Options) -> Opened),
    /// A server, which the registry connects to.
    #[cfg(any(feature = "server", feature = "redis", feature = "elasticsearch"))]
    Server(fn(Uri, Options) -> Result<Unconnected>),
    /// A layer, which opens its members through the registry.
    Layer(fn(Uri, Options, &config::OpenPart<'_>) -> Opened),
}

/// Registers a backend that requires a cargo feature.
macro_rules! behind_feature {
    ($feature:literal, $schemes:expr, $kind:ident, $open:expr) => {
        Driver {
            schemes: $schemes,
            feature: Some($feature),
            #[cfg(feature = $feature)]
            open: Some(Open::$kind($open)),
            #[cfg(not(feature = $feature))]
            open: None,
        }
    };
}

/// The schemes of Redis; those that start with `rediss` are encrypted.
const REDIS: &[&str] = &[
    "redis",
    "rediss",
    "redis+unix",
    "redis+cluster",
    "rediss+cluster",
    "redis+sentinel",
    "rediss+sentinel",
];

/// All backends and layers. To add one, add a line here.
const DRIVERS: &[Driver] = &[
    Driver { schemes: &["memory"], feature: None, open: Some(Open::Backend(memory::open)) },
    Driver { schemes: &["noop"], feature: None, open: Some(Open::Backend(noop::open)) },
    #[cfg(unix)]
    Driver { schemes: &["file"], feature: None, open: Some(Open::Backend(file::open)) },
    behind_feature!("sqlite", &["sqlite"], Backend, sql::sqlite::open),
    behind_feature!("sqlite", &["sqlite+kv"], Backend, sql::kv::open),
    behind_feature!("postgresql", &["postgresql", "postgres"], Server, sql::postgresql::open),
    behind_feature!("mysql", &["mysql", "mariadb"], Server, sql::mysql::open),
    behind_feature!("redis", REDIS, Server, redis::open),
    behind_feature!("elasticsearch", &["es", "es+https"], Server, elasticsearch::open),
    Driver { schemes: &["tiered"], feature: None, open: Some(Open::Layer(config::open_tiered)) },
    Driver { schemes: &["staged"], feature: None, open: Some(Open::Layer(config::open_staged)) },
    Driver { schemes: &["fan-out"], feature: None, open: Some(Open::Layer(config::open_fan_out)) },
    Driver { schemes: &["prefix"], feature: None, open: Some(Open::Layer(config::open_prefix)) },
    Driver { schemes: &["layers"], feature: None, open: Some(Open::Layer(config::open_file)) },
];

/// Returns the URI schemes of the backends whose cargo feature is enabled.
pub fn schemes() -> Vec<&'static str> {
    let built = DRIVERS.iter().filter(|driver| driver.open.is_some());
    built.flat_map(|driver| driver.schemes).copied().collect()
}

type OpenFn = Arc<dyn Fn(Uri, Options) -> Opened + Send + Sync>;

/// Maps URI schemes to the backends that they open.
///
/// A new registry has the built-in schemes. It is passed to
/// [`CacheBuilder::registry`](crate::CacheBuilder::registry); there is no global registry. Cloning
/// is cheap.
///
/// ```
/// use hilcat::Cache;
/// use hilcat::backend::{Memory, Registry};
///
/// // Any `Store` can be a backend; this example reuses an existing one.
/// let registry = Registry::new().register("shelf", &["rows"], |uri, _| {
///     let rows = uri.take_parsed("rows", "a number from 1")?.unwrap_or(100);
///     Memory::builder().max_entries(rows).build()
/// })?;
/// let cache = Cache::builder("shelf:?rows=10").registry(&registry).open()?;
/// assert_eq!(cache.backend(), "memory");
///
/// let error = Cache::builder("shelve:").registry(&registry).open().unwrap_err();
/// assert!(error.to_string().ends_with("did you mean `shelf`?"));
/// # Ok::<(), hilcat::Error>(())
/// ```
#[derive(Clone, Default)]
pub struct Registry {
    added: BTreeMap<String, OpenFn>,
}

impl Registry {
    /// Returns a registry with the built-in schemes.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a scheme.
    ///
    /// `open` receives the URI, from which it takes the options listed in `options`, and the
    /// options common to all backends, such as the deadline of a call. If an option of the URI is
    /// not taken, opening fails with an error that lists the known options.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidConfig`](crate::ErrorKind::InvalidConfig) if the scheme already exists,
    /// or is not made of lower-case letters, digits and `+`, `-`, `.`, starting with a letter.
    pub fn register<S: Store + 'static>(
        mut self,
        scheme: &str,
        options: &'static [&'static str],
        open: impl Fn(&mut Uri, &Options) -> Result<S> + Send + Sync + 'static,
    ) -> Result<Self> {
        validate(scheme)?;
        let open: OpenFn = Arc::new(move |mut uri, common| {
            let common = uri.take_common(common)?;
            let store = open(&mut uri, &common)?;
            uri.finish(options)?;
            Ok((Arc::new(store), common))
        });
        match self.added.insert(scheme.to_owned(), open) {
            None if driver(scheme).is_none() => Ok(self),
            _ => Err(Error::invalid_config(format!("the scheme `{scheme}:` already exists"))),
        }
    }

    /// Returns the schemes that can be opened: those whose cargo feature is enabled, and those that
    /// were added.
    pub fn schemes(&self) -> Vec<&str> {
        let added = self.added.keys().map(String::as_str);
        schemes().into_iter().chain(added).collect()
    }

    /// Opens the store described by a URI. `options` are the defaults of the URI's options.
    ///
    /// # Errors
    ///
    /// As [`Cache::from_uri`](crate::Cache::from_uri).
    pub fn open(&self, uri: &str, options: Options) -> Result<(Arc<dyn Store>, Options)> {
        let (store, options) = self.open_store(uri, options)?;
        match options.read_only {
            true => Ok((ReadOnly::wrap(store), options)),
            false => Ok((store, options)),
        }
    }

    fn open_store(&self, uri: &str, options: Options) -> Opened {
        let uri: Uri = uri.parse()?;
        if let Some(open) = self.added.get(uri.scheme()) {
            return open(uri, options);
        }
        let driver = driver(uri.scheme()).ok_or_else(|| self.unknown_scheme(uri.scheme()))?;
        match (driver.open, driver.feature) {
            (Some(Open::Backend(open)), _) => open(uri, options),
            #[cfg(any(feature = "server", feature = "redis", feature = "elasticsearch"))]
            (Some(Open::Server(read)), _) => open_server(read(uri, options)?),
            (Some(Open::Layer(open)), _) => {
                open(uri, options, &|uri, options| self.open(uri, options))
            }
            (None, feature) => Err(Error::invalid_config(format!(
                "`{}:` needs the cargo feature `{}` of hilcat",
                uri.scheme(),
                feature.unwrap_or_default()
            ))),
        }
    }

    fn unknown_scheme(&self, scheme: &str) -> Error {
        let built_in = || DRIVERS.iter().flat_map(|driver| driver.schemes.iter().copied());
        let known = || built_in().chain(self.added.keys().map(String::as_str));
        Error::invalid_config(format!(
            "unknown scheme `{scheme}:`; the schemes are {}{}",
            known().map(|scheme| format!("{scheme}:")).collect::<Vec<_>>().join(", "),
            did_you_mean(scheme, known()),
        ))
    }
}

impl fmt::Debug for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registry").field("schemes", &self.schemes()).finish_non_exhaustive()
    }
}

/// Opens the store of a server behind a circuit breaker, and connects to it unless `lazy` is set.
#[cfg(any(feature = "server", feature = "redis", feature = "elasticsearch"))]
fn open_server(unconnected: Unconnected) -> Opened {
    let options = unconnected.options.clone();
    let remote = Remote::new(unconnected);
    let store: Arc<dyn Store> = match options.lazy {
        true => Arc::new(Lazy::new(Guarded::new(remote))),
        false => {
            remote.store()?;
            Arc::new(Guarded::new(remote))
        }
    };
    Ok((store, options))
}

fn driver(scheme: &str) -> Option<&'static Driver> {
    DRIVERS.iter().find(|driver| driver.schemes.contains(&scheme))
}

fn validate(scheme: &str) -> Result<()> {
    let inside = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "+-.".contains(c);
    match scheme.starts_with(|c: char| c.is_ascii_lowercase()) && scheme.chars().all(inside) {
        true => Ok(()),
        false => Err(Error::invalid_config(
            "invalid scheme; use lower-case letters, digits and `+`, `-`, `.`, starting with a letter",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backends::noop::Noop;

    #[test]
    fn schemes_can_be_added_once() {
        let add =
            |registry: Registry, scheme: &str| registry.register(scheme, &[], |_, _| Ok(Noop));
        let registry = add(Registry::new(), "mine").unwrap();
        assert!(registry.schemes().ends_with(&["mine"]));
        assert!(registry.open("mine:", Options::default()).is_ok());
        for wrong in ["mine", "memory", "mysql", "", "Mine", "my scheme", "1x", "x:"] {
            assert!(add(registry.clone(), wrong).is_err(), "{wrong}");
        }
        let error = registry.open("mine:?x=1", Options::default()).unwrap_err().to_string();
        assert!(error.contains("has no option `x`"), "{error}");
    }

    #[test]
    fn layers_can_use_added_schemes() {
        let registry = Registry::new().register("mine", &[], |_, _| Ok(Noop)).unwrap();
        for uri in ["tiered:?near=memory:&far=mine:", "prefix:?name=a&cache=mine:"] {
            assert!(registry.open(uri, Options::default()).is_ok(), "{uri}");
            let error = Registry::new().open(uri, Options::default()).unwrap_err().to_string();
            assert!(error.contains("unknown scheme `mine:`"), "{error}");
        }
    }

    #[test]
    fn unknown_schemes_list_the_known_ones() {
        let error = Registry::new().open("sqlight:///t.db", Options::default());
        let error = error.unwrap_err().to_string();
        assert!(error.contains("memory:, noop:, "), "{error}");
        assert!(error.contains("sqlite:, sqlite+kv:"), "{error}");
        assert!(error.ends_with("did you mean `sqlite`?"), "{error}");
    }

    #[cfg(not(feature = "mysql"))]
    #[test]
    fn disabled_schemes_name_their_feature() {
        let error = Registry::new().open("mysql://host/x", Options::default()).unwrap_err();
        assert!(error.to_string().contains("cargo feature `mysql`"), "{error}");
    }
}
