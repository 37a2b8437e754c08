//! The backends, and the table that registers them.

#[cfg(feature = "elasticsearch")]
pub(crate) mod elasticsearch;
#[cfg(unix)]
pub(crate) mod file;
pub(crate) mod memory;
pub(crate) mod noop;
#[cfg(feature = "redis")]
pub(crate) mod redis;
mod registry;
#[cfg(feature = "sql")]
pub(crate) mod sql;

use std::sync::Arc;

pub use self::registry::Registry;
use crate::Result;
use crate::layers::config;
#[cfg(any(feature = "server", feature = "redis", feature = "elasticsearch"))]
use crate::outage::Unconnected;
use crate::store::{Options, Store, Uri};

type Opened = Result<(Arc<dyn Store>, Options)>;

/// A backend: its URI schemes, its cargo feature, and the function that opens it if the feature is
/// enabled.
struct Driver {
    schemes: &'static [&'static str],
    feature: Option<&'static str>,
    open: Option<Open>,
}

/// How a store is opened.
#[derive(Clone, Copy)]
enum Open {
    Backend(fn(Uri, Options) -> Opened),
    /// A server, which the registry connects to.
    #[cfg(any(feature = "server", feature = "redis", feature = "elasticsearch"))]
    Server(fn(Uri, Options) -> Result<Unconnected>),
    /// A layer, which opens its members through the registry.
    Layer(fn(Uri, Options, &Registry) -> Opened),
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
