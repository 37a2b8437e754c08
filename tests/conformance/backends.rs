//! The backends on which the suite runs. A new one is a line in [`BACKENDS`].

use hilcat::store::{Capabilities, ExpirySupport};
use hilcat_conformance::{Case, Storage, cases_for};

use crate::storage;

/// The lifetime of a backend's records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// No records are stored.
    Nothing,
    /// Records live as long as the cache is open.
    WhileOpen,
    /// Records outlive the cache.
    Persistent,
}

/// A backend under test.
pub struct Backend {
    pub name: &'static str,
    /// The covered URI schemes of the library.
    pub schemes: &'static [&'static str],
    /// The lifetime of its records.
    pub durability: Durability,
    /// Creates a fresh storage, or returns the reason why that is not possible.
    pub storage: fn() -> Result<Storage, String>,
}

impl Backend {
    /// Returns the cases for the backend.
    pub fn cases(&self) -> impl Iterator<Item = &'static Case> + use<> {
        let mut capabilities = Capabilities::new();
        capabilities.expiry = ExpirySupport::Full;
        capabilities.stores = self.durability != Durability::Nothing;
        capabilities.persistent = self.durability == Durability::Persistent;
        cases_for(capabilities)
    }
}

/// All backends. A server is a line with `storage::server("HILCAT_TEST_...")`.
#[rustfmt::skip]
pub const BACKENDS: &[Backend] = &[
    Backend { name: "memory", schemes: &["memory"], durability: Durability::WhileOpen, storage: || Ok(storage::uri("memory:")) },
    Backend { name: "memory-bounded", schemes: &["memory"], durability: Durability::WhileOpen, storage: || Ok(storage::uri("memory:?max_entries=1000000")) },
    Backend { name: "noop", schemes: &["noop"], durability: Durability::Nothing, storage: || Ok(storage::uri("noop:")) },
    #[cfg(unix)]
    Backend { name: "files", schemes: &["file"], durability: Durability::Persistent, storage: || Ok(storage::file("file", "d", "")) },
    #[cfg(all(unix, feature = "msgpack", feature = "zstd"))]
    Backend { name: "files-msgpack", schemes: &["file"], durability: Durability::Persistent, storage: || Ok(storage::file("file", "d", "?format=msgpack&compress=100&suffix=&synchronous=off")) },
    #[cfg(feature = "sqlite")]
    Backend { name: "sqlite-file", schemes: &["sqlite"], durability: Durability::Persistent, storage: || Ok(storage::file("sqlite", "t.db", "")) },
    #[cfg(feature = "sqlite")]
    Backend { name: "sqlite-memory", schemes: &["sqlite"], durability: Durability::WhileOpen, storage: || Ok(storage::uri("sqlite::memory:")) },
    #[cfg(feature = "sqlite")]
    Backend { name: "sqlite-single-table", schemes: &["sqlite"], durability: Durability::Persistent, storage: || Ok(storage::one_table_in_file()) },
    #[cfg(feature = "elasticsearch")]
    Backend { name: "elasticsearch8", schemes: &["es"], durability: Durability::Persistent, storage: || storage::elasticsearch("HILCAT_TEST_ELASTICSEARCH8") },
    #[cfg(feature = "elasticsearch")]
    Backend { name: "elasticsearch9", schemes: &["es"], durability: Durability::Persistent, storage: || storage::elasticsearch("HILCAT_TEST_ELASTICSEARCH9") },
    #[cfg(feature = "elasticsearch")]
    Backend { name: "elasticsearch-secured", schemes: &["es+https"], durability: Durability::Persistent, storage: || storage::elasticsearch("HILCAT_TEST_ELASTICSEARCH_SECURED") },
    #[cfg(feature = "sqlite")]
    Backend { name: "sqlite-kv-file", schemes: &["sqlite+kv"], durability: Durability::Persistent, storage: || Ok(storage::file("sqlite+kv", "t.db", "")) },
    #[cfg(feature = "sqlite")]
    Backend { name: "sqlite-kv-memory", schemes: &["sqlite+kv"], durability: Durability::WhileOpen, storage: || Ok(storage::uri("sqlite+kv::memory:")) },
    #[cfg(feature = "mysql")]
    Backend { name: "mysql8", schemes: &["mysql"], durability: Durability::Persistent, storage: || storage::server("HILCAT_TEST_MYSQL8") },
    #[cfg(feature = "mysql")]
    Backend { name: "mariadb", schemes: &["mysql", "mariadb"], durability: Durability::Persistent, storage: || storage::server("HILCAT_TEST_MARIADB") },
    #[cfg(feature = "postgresql")]
    Backend { name: "postgresql15", schemes: &["postgresql", "postgres"], durability: Durability::Persistent, storage: || storage::server("HILCAT_TEST_POSTGRESQL15") },
    #[cfg(feature = "postgresql")]
    Backend { name: "postgresql18", schemes: &["postgresql", "postgres"], durability: Durability::Persistent, storage: || storage::server("HILCAT_TEST_POSTGRESQL18") },
    #[cfg(feature = "postgresql")]
    Backend { name: "pgbouncer", schemes: &["postgresql", "postgres"], durability: Durability::Persistent, storage: || storage::server("HILCAT_TEST_PGBOUNCER") },
    #[cfg(feature = "postgresql")]
    Backend { name: "pgbouncer-session", schemes: &["postgresql", "postgres"], durability: Durability::Persistent, storage: || storage::server("HILCAT_TEST_PGBOUNCER_SESSION") },
    #[cfg(feature = "mysql")]
    Backend { name: "mysql8-single-table", schemes: &["mysql"], durability: Durability::Persistent, storage: || storage::one_table_on_mysql("HILCAT_TEST_MYSQL8") },
    #[cfg(feature = "mysql")]
    Backend { name: "mariadb-single-table", schemes: &["mysql", "mariadb"], durability: Durability::Persistent, storage: || storage::one_table_on_mysql("HILCAT_TEST_MARIADB") },
    #[cfg(feature = "postgresql")]
    Backend { name: "postgresql-single-table", schemes: &["postgresql", "postgres"], durability: Durability::Persistent, storage: || storage::one_table_on_postgresql("HILCAT_TEST_POSTGRESQL15") },
    #[cfg(feature = "redis")]
    Backend { name: "redis", schemes: &["redis"], durability: Durability::Persistent, storage: || storage::server("HILCAT_TEST_REDIS") },
    #[cfg(feature = "redis")]
    Backend { name: "redis-resp3", schemes: &["redis"], durability: Durability::Persistent, storage: || storage::server_with("HILCAT_TEST_REDIS", "protocol=resp3&db=1") },
    #[cfg(feature = "redis")]
    Backend { name: "redis-hash", schemes: &["redis"], durability: Durability::Persistent, storage: || storage::server_with("HILCAT_TEST_REDIS", "layout=hash&db=2") },
    #[cfg(feature = "redis")]
    Backend { name: "redis-secured", schemes: &["rediss"], durability: Durability::Persistent, storage: || storage::server("HILCAT_TEST_REDIS_SECURED") },
    #[cfg(feature = "redis")]
    Backend { name: "redis-socket", schemes: &["redis+unix"], durability: Durability::Persistent, storage: || storage::server_with("HILCAT_TEST_REDIS_SOCKET", "db=3") },
    #[cfg(feature = "redis")]
    Backend { name: "redis-sentinel", schemes: &["redis+sentinel"], durability: Durability::Persistent, storage: || storage::server("HILCAT_TEST_REDIS_SENTINEL") },
    #[cfg(feature = "redis")]
    Backend { name: "redis-cluster", schemes: &["redis+cluster"], durability: Durability::Persistent, storage: || storage::server("HILCAT_TEST_REDIS_CLUSTER") },
    #[cfg(feature = "redis")]
    Backend { name: "redis-secured-sentinel", schemes: &["rediss+sentinel"], durability: Durability::Persistent, storage: || storage::server_with("HILCAT_TEST_REDIS_SECURED_SENTINEL", "db=1") },
    #[cfg(feature = "redis")]
    Backend { name: "redis-secured-cluster", schemes: &["rediss+cluster"], durability: Durability::Persistent, storage: || storage::server("HILCAT_TEST_REDIS_SECURED_CLUSTER") },
    #[cfg(feature = "redis")]
    Backend { name: "redis-cluster-slots", schemes: &["redis+cluster"], durability: Durability::Persistent, storage: || storage::server_with("HILCAT_TEST_REDIS_CLUSTER", "slots=scope&prefix=slots") },
    #[cfg(feature = "redis")]
    Backend { name: "redis-cluster-hash", schemes: &["redis+cluster"], durability: Durability::Persistent, storage: || storage::server_with("HILCAT_TEST_REDIS_CLUSTER", "layout=hash&prefix=hash&protocol=resp3") },
];

/// Each layer over a backend of this durability and storage. The storage is a function of a number: each layer has its own
/// database of a Redis server, since a listing reads all keys of its database.
macro_rules! layers {
    ($name:literal, $durability:expr, $storage:expr) => {
        layers!(@ $name, $durability, $storage,
            ["tiered:", 4, &["tiered", "layers"], $durability, |far| storage::tiered(far, "memory:")]
            ["tiered-small:", 5, &["tiered"], $durability, |far| storage::tiered(far, "memory:?max_entries=3")]
            ["staged:", 6, &["staged"], Durability::WhileOpen, storage::staged]
            ["fan-out:", 7, &["fan-out"], $durability, storage::fan_out]
            ["fan-out-into:", 8, &["fan-out"], Durability::WhileOpen, storage::fan_out_into]
            ["prefix:", 9, &["prefix"], $durability, storage::prefixed])
    };
    (@ $name:literal, $k:expr, $storage:expr, $([$layer:literal, $number:literal, $schemes:expr, $durability:expr, $over:expr])*) => {
        &[$(Backend {
            name: concat!($layer, $name),
            schemes: $schemes,
            durability: $durability,
            storage: || {
                let storage: fn(u32) -> Result<Storage, String> = $storage;
                storage($number).map($over)
            },
        }),*]
    };
}

/// The layers over each backend.
#[rustfmt::skip]
pub const LAYERS: &[&[Backend]] = &[
    layers!("memory", Durability::WhileOpen, |_| Ok(storage::uri("memory:"))),
    #[cfg(feature = "sqlite")]
    layers!("sqlite", Durability::Persistent, |_| Ok(storage::file("sqlite", "t.db", ""))),
    #[cfg(feature = "postgresql")]
    layers!("postgresql15", Durability::Persistent, |_| storage::server("HILCAT_TEST_POSTGRESQL15")),
    #[cfg(feature = "redis")]
    layers!("redis", Durability::Persistent, |number| storage::server_with("HILCAT_TEST_REDIS", &format!("db={number}"))),
    #[cfg(unix)]
    layers!("files", Durability::Persistent, |_| Ok(storage::file("file", "d", ""))),
];

/// Every backend and every layer.
pub fn all() -> impl Iterator<Item = &'static Backend> {
    BACKENDS.iter().chain(LAYERS.iter().copied().flatten())
}

/// Checks that the list covers every scheme of the library.
pub fn assert_every_scheme_is_listed() {
    let listed: Vec<&str> = all().flat_map(|backend| backend.schemes).copied().collect();
    let known = hilcat::backend::schemes();
    assert!(known.contains(&"memory"), "{known:?}");
    for scheme in known {
        assert!(listed.contains(&scheme), "no backend in the list has the scheme `{scheme}:`");
    }
}
