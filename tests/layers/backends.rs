//! The backends under the layers.

use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU32, Ordering};

use tempfile::TempDir;

/// A URI with the directory that it needs, or the reason why there is none.
type Opened = Result<(String, Option<TempDir>), String>;

/// A backend under test.
pub struct Backend {
    pub name: &'static str,
    /// Whether records outlive the process.
    pub persistent: bool,
    /// How often a process is killed; less often if transactions are slow.
    pub kills: usize,
    /// Returns a URI that other tests may use at the same time.
    pub uri: fn() -> Opened,
}

/// All backends, one a line.
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

/// Returns a name that no other test or run uses.
pub fn unique() -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    format!("t{:016x}{count}", RandomState::new().hash_one(std::process::id()))
}
