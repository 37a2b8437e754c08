//! Where layers are tried.

use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU32, Ordering};

use tempfile::TempDir;

/// A URI, and what has to be kept for it; or the reason why there is none.
type Opened = Result<(String, Option<TempDir>), String>;

/// A kind of store.
pub struct Backend {
    pub name: &'static str,
    /// Whether records outlive the process.
    pub persistent: bool,
    /// How often a process is killed here: where a transaction is slow that is less often.
    pub kills: usize,
    /// One that others may use at the same time.
    pub uri: fn() -> Opened,
}

/// All of them. A server is a line.
#[rustfmt::skip]
pub const BACKENDS: &[Backend] = &[
    Backend { name: "memory", persistent: false, kills: 0, uri: || Ok(("memory:".into(), None)) },
    #[cfg(feature = "sqlite")]
    Backend { name: "sqlite", persistent: true, kills: 200, uri: file },
    #[cfg(feature = "postgresql")]
    Backend { name: "postgresql15", persistent: true, kills: 20, uri: || server("HILCAT_TEST_POSTGRESQL15") },
    #[cfg(feature = "mysql")]
    Backend { name: "mysql8", persistent: true, kills: 10, uri: || server("HILCAT_TEST_MYSQL8") },
    #[cfg(feature = "mysql")]
    Backend { name: "mariadb", persistent: true, kills: 10, uri: || server("HILCAT_TEST_MARIADB") },
];

#[cfg(feature = "sqlite")]
fn file() -> Opened {
    let directory = tempfile::tempdir().unwrap();
    let uri = format!("sqlite:///{}?timeout=60s", directory.path().join("t.db").display());
    Ok((uri, Some(directory)))
}

#[allow(dead_code, reason = "not every choice of features has a server")]
fn server(variable: &str) -> Opened {
    let uri = std::env::var(variable).map_err(|_| format!("{variable} is not set"))?;
    let sign = if uri.contains('?') { '&' } else { '?' };
    Ok((format!("{uri}{sign}timeout=60s"), None))
}

/// A name that nobody else has.
pub fn unique() -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    format!("t{:016x}{count}", RandomState::new().hash_one(std::process::id()))
}
