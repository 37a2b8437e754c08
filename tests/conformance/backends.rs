//! The backends that the suite runs over. A new one is a line in [`BACKENDS`].

use hilcat::Cache;

use crate::context::{Place, open_uri};

/// A backend that a program brings along; it is one for the suite, too.
#[path = "../../examples/third_party_backend.rs"]
#[allow(dead_code, reason = "it is a program of its own")]
mod third_party;

/// How long a backend keeps what it is given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
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
    pub keeps: Durability,
    /// A fresh place to keep records, or the reason why there is none.
    pub place: fn() -> Result<Place, String>,
}

/// All of them. A server is a line with `Place::server("HILCAT_TEST_...")`.
#[rustfmt::skip]
pub const BACKENDS: &[Backend] = &[
    Backend { name: "memory", schemes: &["memory"], keeps: Durability::WhileOpen, place: || Ok(Place::private(|clock| open_uri("memory:", clock))) },
    Backend { name: "memory-bounded", schemes: &["memory"], keeps: Durability::WhileOpen, place: || Ok(Place::private(|clock| open_uri("memory:?max_entries=1000000", clock))) },
    Backend { name: "noop", schemes: &["noop"], keeps: Durability::Nothing, place: || Ok(Place::private(|clock| open_uri("noop:", clock))) },
    Backend { name: "third-party", schemes: &[], keeps: Durability::WhileOpen, place: || Ok(Place::private(|clock| Cache::builder("shelf:").registry(&third_party::registry()?).clock(clock.clone()).open())) },
    #[cfg(unix)]
    Backend { name: "files", schemes: &["file"], keeps: Durability::ForGood, place: || Ok(Place::file("file", "d", "")) },
    #[cfg(all(unix, feature = "msgpack", feature = "zstd"))]
    Backend { name: "files-msgpack", schemes: &["file"], keeps: Durability::ForGood, place: || Ok(Place::file("file", "d", "?format=msgpack&compress=100&suffix=&synchronous=off")) },
    #[cfg(feature = "sqlite")]
    Backend { name: "sqlite-file", schemes: &["sqlite"], keeps: Durability::ForGood, place: || Ok(Place::file("sqlite", "t.db", "")) },
    #[cfg(feature = "sqlite")]
    Backend { name: "sqlite-memory", schemes: &["sqlite"], keeps: Durability::WhileOpen, place: || Ok(Place::private(|clock| open_uri("sqlite::memory:", clock))) },
    #[cfg(feature = "sqlite")]
    Backend { name: "sqlite-single-table", schemes: &["sqlite"], keeps: Durability::ForGood, place: || Ok(Place::one_table_in_file()) },
    #[cfg(feature = "elasticsearch")]
    Backend { name: "elasticsearch8", schemes: &["es"], keeps: Durability::ForGood, place: || Place::elasticsearch("HILCAT_TEST_ELASTICSEARCH8") },
    #[cfg(feature = "elasticsearch")]
    Backend { name: "elasticsearch9", schemes: &["es"], keeps: Durability::ForGood, place: || Place::elasticsearch("HILCAT_TEST_ELASTICSEARCH9") },
    #[cfg(feature = "elasticsearch")]
    Backend { name: "elasticsearch-secured", schemes: &["es+https"], keeps: Durability::ForGood, place: || Place::elasticsearch("HILCAT_TEST_ELASTICSEARCH_SECURED") },
    #[cfg(feature = "sqlite")]
    Backend { name: "sqlite-kv-file", schemes: &["sqlite+kv"], keeps: Durability::ForGood, place: || Ok(Place::file("sqlite+kv", "t.db", "")) },
    #[cfg(feature = "sqlite")]
    Backend { name: "sqlite-kv-memory", schemes: &["sqlite+kv"], keeps: Durability::WhileOpen, place: || Ok(Place::private(|clock| open_uri("sqlite+kv::memory:", clock))) },
    #[cfg(feature = "mysql")]
    Backend { name: "mysql8", schemes: &["mysql"], keeps: Durability::ForGood, place: || Place::server("HILCAT_TEST_MYSQL8") },
    #[cfg(feature = "mysql")]
    Backend { name: "mariadb", schemes: &["mysql", "mariadb"], keeps: Durability::ForGood, place: || Place::server("HILCAT_TEST_MARIADB") },
    #[cfg(feature = "postgresql")]
    Backend { name: "postgresql15", schemes: &["postgresql", "postgres"], keeps: Durability::ForGood, place: || Place::server("HILCAT_TEST_POSTGRESQL15") },
    #[cfg(feature = "postgresql")]
    Backend { name: "postgresql18", schemes: &["postgresql", "postgres"], keeps: Durability::ForGood, place: || Place::server("HILCAT_TEST_POSTGRESQL18") },
    #[cfg(feature = "postgresql")]
    Backend { name: "pgbouncer", schemes: &["postgresql", "postgres"], keeps: Durability::ForGood, place: || Place::server("HILCAT_TEST_PGBOUNCER") },
    #[cfg(feature = "postgresql")]
    Backend { name: "pgbouncer-session", schemes: &["postgresql", "postgres"], keeps: Durability::ForGood, place: || Place::server("HILCAT_TEST_PGBOUNCER_SESSION") },
    #[cfg(feature = "mysql")]
    Backend { name: "mysql8-single-table", schemes: &["mysql"], keeps: Durability::ForGood, place: || Place::one_table_on_mysql("HILCAT_TEST_MYSQL8") },
    #[cfg(feature = "mysql")]
    Backend { name: "mariadb-single-table", schemes: &["mysql", "mariadb"], keeps: Durability::ForGood, place: || Place::one_table_on_mysql("HILCAT_TEST_MARIADB") },
    #[cfg(feature = "postgresql")]
    Backend { name: "postgresql-single-table", schemes: &["postgresql", "postgres"], keeps: Durability::ForGood, place: || Place::one_table_on_postgresql("HILCAT_TEST_POSTGRESQL15") },
    #[cfg(feature = "redis")]
    Backend { name: "redis", schemes: &["redis"], keeps: Durability::ForGood, place: || Place::server("HILCAT_TEST_REDIS") },
    #[cfg(feature = "redis")]
    Backend { name: "redis-resp3", schemes: &["redis"], keeps: Durability::ForGood, place: || Place::server_with("HILCAT_TEST_REDIS", "protocol=resp3&db=1") },
    #[cfg(feature = "redis")]
    Backend { name: "redis-hash", schemes: &["redis"], keeps: Durability::ForGood, place: || Place::server_with("HILCAT_TEST_REDIS", "layout=hash&db=2") },
    #[cfg(feature = "redis")]
    Backend { name: "redis-secured", schemes: &["rediss"], keeps: Durability::ForGood, place: || Place::server("HILCAT_TEST_REDIS_SECURED") },
    #[cfg(feature = "redis")]
    Backend { name: "redis-socket", schemes: &["redis+unix"], keeps: Durability::ForGood, place: || Place::server_with("HILCAT_TEST_REDIS_SOCKET", "db=3") },
    #[cfg(feature = "redis")]
    Backend { name: "redis-sentinel", schemes: &["redis+sentinel"], keeps: Durability::ForGood, place: || Place::server("HILCAT_TEST_REDIS_SENTINEL") },
    #[cfg(feature = "redis")]
    Backend { name: "redis-cluster", schemes: &["redis+cluster"], keeps: Durability::ForGood, place: || Place::server("HILCAT_TEST_REDIS_CLUSTER") },
    #[cfg(feature = "redis")]
    Backend { name: "redis-secured-sentinel", schemes: &["rediss+sentinel"], keeps: Durability::ForGood, place: || Place::server_with("HILCAT_TEST_REDIS_SECURED_SENTINEL", "db=1") },
    #[cfg(feature = "redis")]
    Backend { name: "redis-secured-cluster", schemes: &["rediss+cluster"], keeps: Durability::ForGood, place: || Place::server("HILCAT_TEST_REDIS_SECURED_CLUSTER") },
    #[cfg(feature = "redis")]
    Backend { name: "redis-cluster-slots", schemes: &["redis+cluster"], keeps: Durability::ForGood, place: || Place::server_with("HILCAT_TEST_REDIS_CLUSTER", "slots=scope&prefix=slots") },
    #[cfg(feature = "redis")]
    Backend { name: "redis-cluster-hash", schemes: &["redis+cluster"], keeps: Durability::ForGood, place: || Place::server_with("HILCAT_TEST_REDIS_CLUSTER", "layout=hash&prefix=hash&protocol=resp3") },
];

/// Each layer over a store: over one that keeps so long what it is given, and has this place.
macro_rules! layers {
    ($name:literal, $keeps:expr, $place:expr) => {
        layers!(@ $name, $keeps, $place,
            ["tiered:", &["tiered", "layers"], $keeps, |place| place.tiered("memory:")]
            ["tiered-small:", &["tiered"], $keeps, |place| place.tiered("memory:?max_entries=3")]
            ["staged:", &["staged"], Durability::WhileOpen, Place::staged]
            ["fan-out:", &["fan-out"], $keeps, Place::fan_out]
            ["fan-out-into:", &["fan-out"], Durability::WhileOpen, Place::fan_out_into]
            ["prefix:", &["prefix"], $keeps, Place::prefixed])
    };
    (@ $name:literal, $k:expr, $place:expr, $([$layer:literal, $schemes:expr, $keeps:expr, $over:expr])*) => {
        &[$(Backend {
            name: concat!($layer, $name),
            schemes: $schemes,
            keeps: $keeps,
            place: || {
                let place: Result<Place, String> = $place;
                place.map($over)
            },
        }),*]
    };
}

/// The layers. A store that they are to be tried over is a line.
#[rustfmt::skip]
pub const LAYERS: &[&[Backend]] = &[
    layers!("memory", Durability::WhileOpen, Ok(Place::private(|clock| open_uri("memory:", clock)))),
    #[cfg(feature = "sqlite")]
    layers!("sqlite", Durability::ForGood, Ok(Place::file("sqlite", "t.db", ""))),
    #[cfg(feature = "postgresql")]
    layers!("postgresql15", Durability::ForGood, Place::server("HILCAT_TEST_POSTGRESQL15")),
    #[cfg(feature = "redis")]
    layers!("redis", Durability::ForGood, Place::server("HILCAT_TEST_REDIS")),
    #[cfg(unix)]
    layers!("files", Durability::ForGood, Ok(Place::file("file", "d", ""))),
];

/// Every backend and every layer.
pub fn all() -> impl Iterator<Item = &'static Backend> {
    BACKENDS.iter().chain(LAYERS.iter().copied().flatten())
}

/// A scheme that the library knows and the list does not would never be tested.
pub fn every_scheme_is_listed() {
    let listed: Vec<&str> = all().flat_map(|backend| backend.schemes).copied().collect();
    let known = hilcat::backend::schemes();
    assert!(known.contains(&"memory"), "{known:?}");
    for scheme in known {
        assert!(listed.contains(&scheme), "no backend of the suite is of the scheme `{scheme}:`");
    }
}
