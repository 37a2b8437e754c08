//! The backends, and the one table in which they are registered.

pub(crate) mod memory;
pub(crate) mod noop;
#[cfg(feature = "redis")]
pub(crate) mod redis;
#[cfg(any(feature = "server", feature = "redis"))]
pub(crate) mod server;
#[cfg(feature = "sql")]
pub(crate) mod sql;
#[cfg(any(feature = "server", feature = "redis"))]
pub(crate) mod tls;

use std::sync::Arc;

use crate::error::did_you_mean;
use crate::store::{Options, Store, Uri};
use crate::{Error, Result};

type Opened = Result<(Arc<dyn Store>, Options)>;

/// A backend: its URI schemes, the cargo feature that it needs, and how it is opened where that
/// feature is on.
struct Driver {
    schemes: &'static [&'static str],
    feature: Option<&'static str>,
    open: Option<fn(Uri, Options) -> Opened>,
}

/// Registers a backend that is built only with a cargo feature of its module's name.
macro_rules! behind_feature {
    ($feature:literal, $schemes:expr, $open:expr) => {
        Driver {
            schemes: $schemes,
            feature: Some($feature),
            #[cfg(feature = $feature)]
            open: Some($open),
            #[cfg(not(feature = $feature))]
            open: None,
        }
    };
}

/// Redis: those with two letters `s` are encrypted.
const REDIS: &[&str] = &[
    "redis",
    "rediss",
    "redis+unix",
    "redis+cluster",
    "rediss+cluster",
    "redis+sentinel",
    "rediss+sentinel",
];

/// All backends. A new one is a line here.
const DRIVERS: &[Driver] = &[
    Driver { schemes: &["memory"], feature: None, open: Some(memory::open) },
    Driver { schemes: &["noop"], feature: None, open: Some(noop::open) },
    behind_feature!("sqlite", &["sqlite"], sql::sqlite::open),
    behind_feature!("mysql", &["mysql", "mariadb"], sql::mysql::open),
    behind_feature!("postgresql", &["postgresql", "postgres"], sql::postgresql::open),
    behind_feature!("redis", REDIS, redis::open),
];

/// Opens the store that a URI names, with the options that hold where the URI says nothing.
pub(crate) fn open(uri: &str, options: Options) -> Opened {
    let uri: Uri = uri.parse()?;
    let driver = DRIVERS.iter().find(|driver| driver.schemes.contains(&uri.scheme()));
    let driver = driver.ok_or_else(|| unknown_scheme(uri.scheme()))?;
    match (driver.open, driver.feature) {
        (Some(open), _) => open(uri, options),
        (None, feature) => Err(Error::invalid_config(format!(
            "`{}:` needs the cargo feature `{}` of hilcat",
            uri.scheme(),
            feature.unwrap_or_default()
        ))),
    }
}

/// The URI schemes of the backends that are built in: those whose cargo feature is on.
pub fn schemes() -> Vec<&'static str> {
    let built = DRIVERS.iter().filter(|driver| driver.open.is_some());
    built.flat_map(|driver| driver.schemes).copied().collect()
}

fn unknown_scheme(scheme: &str) -> Error {
    let schemes = || DRIVERS.iter().flat_map(|driver| driver.schemes.iter().copied());
    Error::invalid_config(format!(
        "unknown scheme `{scheme}:`; the schemes are {}{}",
        schemes().map(|known| format!("{known}:")).collect::<Vec<_>>().join(", "),
        did_you_mean(scheme, schemes()),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_scheme_names_the_known_ones() {
        let error = open("sqlight:///t.db", Options::default()).unwrap_err().to_string();
        assert!(error.contains("memory:, noop:, sqlite:"), "{error}");
        assert!(error.ends_with("did you mean `sqlite`?"), "{error}");
    }
}
