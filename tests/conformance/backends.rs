//! The backends that the suite runs over. A new one is a line in [`BACKENDS`].

use hilcat::Cache;

use crate::ground::Place;

/// A backend that a program brings along; it is one for the suite, too.
#[path = "../../examples/third_party_backend.rs"]
#[allow(dead_code, reason = "it is a program of its own")]
mod third_party;

/// How long a backend keeps what it is given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keeps {
    Nothing,
    WhileOpen,
    ForGood,
}

/// A backend under test.
pub struct Backend {
    pub name: &'static str,
    /// The schemes of the library that it stands for.
    pub schemes: &'static [&'static str],
    /// How long it keeps what it is given.
    pub keeps: Keeps,
    /// A fresh place to keep records, or the reason why there is none.
    pub place: fn() -> Result<Place, String>,
}

/// All of them. A server is a line with `Place::server("HILCAT_TEST_...")`.
#[rustfmt::skip]
pub const BACKENDS: &[Backend] = &[
    Backend { name: "memory", schemes: &["memory"], keeps: Keeps::WhileOpen, place: || Ok(Place::private(|| Cache::from_uri("memory:"))) },
    Backend { name: "memory-bounded", schemes: &["memory"], keeps: Keeps::WhileOpen, place: || Ok(Place::private(|| Cache::from_uri("memory:?max_entries=1000000"))) },
    Backend { name: "noop", schemes: &["noop"], keeps: Keeps::Nothing, place: || Ok(Place::private(|| Cache::from_uri("noop:"))) },
    Backend { name: "third-party", schemes: &[], keeps: Keeps::WhileOpen, place: || Ok(Place::private(|| Cache::builder("shelf:").registry(&third_party::registry()?).open())) },
    #[cfg(unix)]
    Backend { name: "files", schemes: &["file"], keeps: Keeps::ForGood, place: || Ok(Place::file("file", "d", "")) },
    #[cfg(all(unix, feature = "msgpack", feature = "zstd"))]
    Backend { name: "files-msgpack", schemes: &["file"], keeps: Keeps::ForGood, place: || Ok(Place::file("file", "d", "?format=msgpack&compress=100&suffix=&synchronous=off")) },
    #[cfg(feature = "sqlite")]
    Backend { name: "sqlite-file", schemes: &["sqlite"], keeps: Keeps::ForGood, place: || Ok(Place::file("sqlite", "t.db", "")) },
    #[cfg(feature = "sqlite")]
    Backend { name: "sqlite-memory", schemes: &["sqlite"], keeps: Keeps::WhileOpen, place: || Ok(Place::private(|| Cache::from_uri("sqlite::memory:"))) },
    #[cfg(feature = "sqlite")]
    Backend { name: "sqlite-kv-file", schemes: &["sqlite+kv"], keeps: Keeps::ForGood, place: || Ok(Place::file("sqlite+kv", "t.db", "")) },
    #[cfg(feature = "sqlite")]
    Backend { name: "sqlite-kv-memory", schemes: &["sqlite+kv"], keeps: Keeps::WhileOpen, place: || Ok(Place::private(|| Cache::from_uri("sqlite+kv::memory:"))) },
    #[cfg(feature = "mysql")]
    Backend { name: "mysql8", schemes: &["mysql"], keeps: Keeps::ForGood, place: || Place::server("HILCAT_TEST_MYSQL8") },
    #[cfg(feature = "mysql")]
    Backend { name: "mariadb", schemes: &["mysql", "mariadb"], keeps: Keeps::ForGood, place: || Place::server("HILCAT_TEST_MARIADB") },
    #[cfg(feature = "postgresql")]
    Backend { name: "postgresql15", schemes: &["postgresql", "postgres"], keeps: Keeps::ForGood, place: || Place::server("HILCAT_TEST_POSTGRESQL15") },
    #[cfg(feature = "postgresql")]
    Backend { name: "postgresql18", schemes: &["postgresql", "postgres"], keeps: Keeps::ForGood, place: || Place::server("HILCAT_TEST_POSTGRESQL18") },
];

/// A scheme that the library knows and the list does not would never be tested.
pub fn every_scheme_is_listed() {
    let listed: Vec<&str> = BACKENDS.iter().flat_map(|backend| backend.schemes).copied().collect();
    let known = hilcat::backend::schemes();
    assert!(known.contains(&"memory"), "{known:?}");
    for scheme in known {
        assert!(listed.contains(&scheme), "no backend of the suite is of the scheme `{scheme}:`");
    }
}
