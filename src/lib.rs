//! Caches typed records on any store: SQLite, PostgreSQL, MySQL, MariaDB, Redis, Elasticsearch,
//! files and memory.
//!
//! A *record* is a struct that derives [`ScopeRecord`], or a row of a scope that a TOML file
//! declares. It is identified by a *scope* and a *key*. A URI selects the backend; the code that
//! uses the cache is the same on each.
//!
//! ```
//! # #[cfg(all(feature = "derive", feature = "sqlite"))] {
//! use hilcat::{Cache, ScopeRecord};
//!
//! #[derive(Debug, Clone, PartialEq, ScopeRecord)]
//! struct Article {
//!     #[scope(unique)]
//!     id: String,
//!     title: String,
//!     views: Option<i64>,
//! }
//!
//! let cache = Cache::from_uri("sqlite::memory:")?;
//! let articles = cache.scope::<Article>()?; // creates the table, or upgrades it
//! let slow = || Article { id: "a1".into(), title: "Hello".into(), views: None };
//!
//! let article = articles.get("a1", slow)?; // computed once, then read from the table
//! assert_eq!(articles.fetch("a1")?, Some(article));
//! # }
//! # Ok::<(), hilcat::Error>(())
//! ```
//!
//! # Overview
//!
//! - [`Cache`] opens stores and scopes; [`CacheBuilder`] has the options.
//! - [`Scope`], [`MapScope`] and [`DynScope`] are handles of opened scopes: `get`, `fetch`, `set`,
//!   `update`, `pop` and their batches.
//! - [`AsyncCache`] and its scopes are the same for async code (feature `async`).
//! - `#[cached]` stores the values of a function (feature `derive`).
//! - [`backend`] has a typed constructor for each backend; [`store`] has the traits of a backend.
//! - [`Error`] is the error of every fallible call.
//!
//! The guide is in the directory `docs/guide` of the repository: freshness, outages, schema
//! changes, layers, Diesel, the command line, and a page for each backend with its URIs and
//! options.

mod backends;
#[cfg(any(feature = "sql", feature = "redis", feature = "elasticsearch"))]
mod backoff;
mod cache;
mod check;
mod clock;
mod codec;
mod column_value;
mod compute;
mod decimal;
mod duration;
mod dyn_key;
mod error;
#[cfg(feature = "async")]
mod executor;
mod freshness;
mod function;
#[cfg(all(doctest, feature = "derive", feature = "sqlite"))]
mod guide;
mod json;
mod json_text;
mod key;
mod layers;
mod options;
mod outage;
mod range;
mod record;
mod registry;
mod remote;
mod schema;
mod scope;
mod spelling;
pub mod store;
mod temporal;
pub mod testing;
mod text;
mod text_file;
mod uri;
mod value;

#[cfg(feature = "async")]
pub use crate::cache::{AsyncCache, AsyncCacheBuilder};
pub use crate::cache::{Cache, CacheBuilder};
pub use crate::clock::Clock;
pub use crate::column_value::ColumnValue;
pub use crate::duration::parse as parse_duration;
pub use crate::dyn_key::DynKey;
pub use crate::error::{Error, ErrorKind, Result};
pub use crate::freshness::{Freshness, OnUnavailable, SingleFlight, Ttl};
pub use crate::json_text::parse as parse_json;
pub use crate::key::{IntoKey, Key, RecordKey};
pub use crate::layers::OnFailure;
pub use crate::record::ScopeRecord;
pub use crate::schema::{Change, Column, ColumnType, Migrate, Plan, Schema, Schemas, Shape, Step};
#[cfg(feature = "sql")]
pub use crate::scope::TransactionScope;
#[cfg(feature = "async")]
pub use crate::scope::{AsyncDynScope, AsyncMapScope, AsyncScope, Listing};
pub use crate::scope::{DynScope, Entry, MapScope, Scope};
pub use crate::value::{Row, Value};

#[cfg(feature = "sql")]
pub use crate::backends::sql::diesel::sql_types;
#[cfg(feature = "derive")]
pub use hilcat_derive::{ScopeRecord, cached};

/// Typed constructors of the backends.
///
/// The stores of servers and databases are cheap to clone, and clones share their connection pool,
/// so several caches can use one pool.
///
/// ```
/// # #[cfg(feature = "sqlite")] {
/// use hilcat::{Cache, backend::Sqlite};
///
/// let store = Sqlite::in_memory().open()?;
/// let (first, second) = (Cache::from_store(store.clone()), Cache::from_store(store));
/// first.map::<i64, i64>("squares")?.set(7, &49)?;
/// assert_eq!(second.map::<i64, i64>("squares")?.fetch(7)?, Some(49));
/// # }
/// # Ok::<(), hilcat::Error>(())
/// ```
pub mod backend {
    #[cfg(feature = "elasticsearch")]
    pub use crate::backends::elasticsearch::{Elasticsearch, ElasticsearchBuilder, Refresh};
    #[cfg(unix)]
    pub use crate::backends::file::{Files, FilesBuilder};
    pub use crate::backends::memory::{Memory, MemoryBuilder};
    pub use crate::backends::noop::Noop;
    #[cfg(feature = "redis")]
    pub use crate::backends::redis::{Redis, RedisBuilder, RedisLayout, Resp};
    #[cfg(feature = "mysql")]
    pub use crate::backends::sql::connection::mysql::MysqlConnection;
    #[cfg(feature = "postgresql")]
    pub use crate::backends::sql::connection::postgresql::{Pooler, PostgresConnection};
    #[cfg(feature = "sql")]
    pub use crate::backends::sql::diesel::engine::{Engine, Pooled};
    #[cfg(feature = "sqlite")]
    pub use crate::backends::sql::kv::{SqliteKv, SqliteKvBuilder};
    #[cfg(feature = "mysql")]
    pub use crate::backends::sql::mysql::{Mysql, MysqlBuilder};
    #[cfg(feature = "postgresql")]
    pub use crate::backends::sql::postgresql::{Postgresql, PostgresqlBuilder};
    #[cfg(feature = "sqlite")]
    pub use crate::backends::sql::sqlite::{Sqlite, SqliteBuilder, Synchronous};
    #[cfg(feature = "sql")]
    pub use crate::backends::sql::table::single_table::{SingleTable, Tables};
    pub use crate::registry::{Registry, schemes};
    #[cfg(any(feature = "server", feature = "redis", feature = "elasticsearch"))]
    pub use crate::remote::Retry;
    #[cfg(any(feature = "server", feature = "redis"))]
    pub use crate::remote::tls::SslMode;
}

/// Items called by derived code. Not public API.
#[doc(hidden)]
pub mod __private {
    #[cfg(feature = "sql")]
    pub use diesel::internal::derives::insertable::UndecoratedInsertRecord;

    #[cfg(feature = "sql")]
    pub use crate::backends::sql::diesel::column_value::{Cell, Cells as Inserted, record};
    pub use crate::check::{check_key, check_type, check_written};
    pub use crate::record::{Cells, JsonField};

    /// Items called by the expansion of `#[cached]`.
    pub mod cached {
        pub use crate::function::*;
    }
}
