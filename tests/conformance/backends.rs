//! The backends that the suite runs over. A new one is a line in [`BACKENDS`].

use hilcat::Cache;

use crate::ground::Place;

/// How long a backend keeps what it is given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keeps {
    Nothing,
    WhileOpen,
    #[cfg_attr(
        not(any(
            feature = "sqlite",
            feature = "postgresql",
            feature = "mysql",
            feature = "redis"
        )),
        allow(dead_code, reason = "no such backend is built")
    )]
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
    #[cfg(feature = "sqlite")]
    Backend { name: "sqlite-file", schemes: &["sqlite"], keeps: Keeps::ForGood, place: || Ok(Place::file("sqlite", "t.db")) },
    #[cfg(feature = "sqlite")]
    Backend { name: "sqlite-memory", schemes: &["sqlite"], keeps: Keeps::WhileOpen, place: || Ok(Place::private(|| Cache::from_uri("sqlite::memory:"))) },
    #[cfg(feature = "mysql")]
    Backend { name: "mysql8", schemes: &["mysql"], keeps: Keeps::ForGood, place: || Place::server("HILCAT_TEST_MYSQL8") },
    #[cfg(feature = "mysql")]
    Backend { name: "mariadb", schemes: &["mysql", "mariadb"], keeps: Keeps::ForGood, place: || Place::server("HILCAT_TEST_MARIADB") },
    #[cfg(feature = "postgresql")]
    Backend { name: "postgresql15", schemes: &["postgresql", "postgres"], keeps: Keeps::ForGood, place: || Place::server("HILCAT_TEST_POSTGRESQL15") },
    #[cfg(feature = "postgresql")]
    Backend { name: "postgresql18", schemes: &["postgresql", "postgres"], keeps: Keeps::ForGood, place: || Place::server("HILCAT_TEST_POSTGRESQL18") },
    #[cfg(feature = "redis")]
    Backend { name: "redis", schemes: &["redis"], keeps: Keeps::ForGood, place: || Place::server("HILCAT_TEST_REDIS") },
    #[cfg(feature = "redis")]
    Backend { name: "redis-resp3", schemes: &["redis"], keeps: Keeps::ForGood, place: || Place::server_with("HILCAT_TEST_REDIS", "protocol=resp3&db=1") },
    #[cfg(feature = "redis")]
    Backend { name: "redis-hash", schemes: &["redis"], keeps: Keeps::ForGood, place: || Place::server_with("HILCAT_TEST_REDIS", "layout=hash&db=2") },
    #[cfg(feature = "redis")]
    Backend { name: "redis-secured", schemes: &["rediss"], keeps: Keeps::ForGood, place: || Place::server("HILCAT_TEST_REDIS_SECURED") },
    #[cfg(feature = "redis")]
    Backend { name: "redis-socket", schemes: &["redis+unix"], keeps: Keeps::ForGood, place: || Place::server_with("HILCAT_TEST_REDIS_SOCKET", "db=3") },
    #[cfg(feature = "redis")]
    Backend { name: "redis-sentinel", schemes: &["redis+sentinel"], keeps: Keeps::ForGood, place: || Place::server("HILCAT_TEST_REDIS_SENTINEL") },
    #[cfg(feature = "redis")]
    Backend { name: "redis-cluster", schemes: &["redis+cluster"], keeps: Keeps::ForGood, place: || Place::server("HILCAT_TEST_REDIS_CLUSTER") },
    #[cfg(feature = "redis")]
    Backend { name: "redis-secured-sentinel", schemes: &["rediss+sentinel"], keeps: Keeps::ForGood, place: || Place::server_with("HILCAT_TEST_REDIS_SECURED_SENTINEL", "db=1") },
    #[cfg(feature = "redis")]
    Backend { name: "redis-secured-cluster", schemes: &["rediss+cluster"], keeps: Keeps::ForGood, place: || Place::server("HILCAT_TEST_REDIS_SECURED_CLUSTER") },
    #[cfg(feature = "redis")]
    Backend { name: "redis-cluster-slots", schemes: &["redis+cluster"], keeps: Keeps::ForGood, place: || Place::server_with("HILCAT_TEST_REDIS_CLUSTER", "slots=scope&prefix=slots") },
    #[cfg(feature = "redis")]
    Backend { name: "redis-cluster-hash", schemes: &["redis+cluster"], keeps: Keeps::ForGood, place: || Place::server_with("HILCAT_TEST_REDIS_CLUSTER", "layout=hash&prefix=hash&protocol=resp3") },
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
