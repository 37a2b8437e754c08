//! The storages of hilcat's own backends and layers.

use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Mutex};

use hilcat::testing::ManualClock;
use hilcat::{Cache, Result};
use hilcat_conformance::{Storage, unique_name};

#[cfg(feature = "elasticsearch")]
use crate::indices::Indices;
#[cfg(feature = "sql")]
use crate::one_table::{InTables, OneTable};

/// Opens a URI with the clock of the case.
pub fn open_uri(uri: &str, clock: &ManualClock) -> Result<Cache> {
    Cache::builder(uri).clock(clock.clone()).open()
}

/// A URI that no other case can open, such as `memory:`.
pub fn uri(uri: &'static str) -> Storage {
    Storage::new(|clock| open_uri(uri, clock))
}

/// A file or a directory of this name in a fresh directory, with the options of the URI.
pub fn file(scheme: &str, name: &str, options: &str) -> Storage {
    let directory = tempfile::tempdir().unwrap();
    let uri = format!("{scheme}:///{}{options}", directory.path().join(name).display());
    Storage::new(move |clock| {
        let _ = &directory;
        open_uri(&uri, clock)
    })
}

/// A file in a fresh directory, with scopes in one table.
#[cfg(feature = "sqlite")]
pub fn one_table_in_file() -> Storage {
    let directory = tempfile::tempdir().unwrap();
    one_table("all", move || hilcat::backend::Sqlite::builder(directory.path().join("t.db")).open())
}

/// A PostgreSQL server that other cases and other runs use at the same time, with scopes in one table.
#[cfg(feature = "postgresql")]
pub fn one_table_on_postgresql(variable: &str) -> Result<Storage, String> {
    use hilcat::backend::{Postgresql, SslMode};

    let server = Server::from_env(variable)?;
    let open = one_table(&Server::prefix(), move || {
        Postgresql::builder(&server.host)
            .port(server.port)
            .user(&server.user)
            .password(&server.password)
            .database(&server.database)
            .ssl_mode(SslMode::Disable)
            .open()
    });
    Ok(open.exclusive(false))
}

/// A MySQL or MariaDB server, as [`one_table_on_postgresql`].
#[cfg(feature = "mysql")]
pub fn one_table_on_mysql(variable: &str) -> Result<Storage, String> {
    use hilcat::backend::Mysql;

    let server = Server::from_env(variable)?;
    let open = one_table(&Server::prefix(), move || {
        Mysql::builder(&server.host)
            .port(server.port)
            .user(&server.user)
            .password(&server.password)
            .database(&server.database)
            .open()
    });
    Ok(open.exclusive(false))
}

/// A server that other cases and other runs use at the same time.
#[allow(dead_code, reason = "not every choice of features has a server")]
pub fn server(variable: &str) -> Result<Storage, String> {
    server_with(variable, "")
}

/// A server with more options than its URI has.
#[allow(dead_code, reason = "not every choice of features has a server")]
pub fn server_with(variable: &str, options: &str) -> Result<Storage, String> {
    let uri = std::env::var(variable).map_err(|_| format!("{variable} is not set"))?;
    // A generous deadline: cases that run at the same time slow a small machine down.
    let sign = if uri.contains('?') { '&' } else { '?' };
    let uri = format!("{uri}{sign}timeout=30s");
    let uri = if options.is_empty() { uri } else { format!("{uri}&{options}") };
    Ok(Storage::new(move |clock| open_uri(&uri, clock)).exclusive(false))
}

/// A fresh prefix of indices in a cluster; the indices are removed after the case.
#[cfg(feature = "elasticsearch")]
pub fn elasticsearch(variable: &str) -> Result<Storage, String> {
    let indices = Indices::new(variable)?;
    Ok(Storage::new(move |clock| open_uri(&indices.uri("timeout=30s"), clock)))
}

/// Puts a near store of this URI in front of the storage; caches that are open at the same time share it, as
/// those of one process do.
pub fn tiered(far: Storage, near: &'static str) -> Storage {
    let shared: Arc<Mutex<Option<Cache>>> = Arc::default();
    let held = shared.clone();
    let tiered = move |far: Cache, clock: &ManualClock| {
        let open = || open_uri(near, clock).unwrap();
        // Two volatile far stores have different records.
        match far.capabilities().persistent {
            true => Cache::tiered(held.lock().unwrap().get_or_insert_with(open).clone(), far),
            false => Cache::tiered(open(), far),
        }
    };
    far.map(tiered).on_close(move || *shared.lock().unwrap() = None)
}

/// Works in memory and keeps the records in a fresh part of the storage.
pub fn staged(storage: Storage) -> Storage {
    let stage = |cache: Cache, _: &_| Cache::staged(Cache::memory(), cache.prefix(&unique_name()));
    storage.map(stage).exclusive(true)
}

/// Reads the storage, and writes a memory as well.
pub fn fan_out(primary: Storage) -> Storage {
    primary.map(|primary, _| Cache::fan_out(primary, [Cache::memory()]))
}

/// Reads a memory, and writes a fresh part of the storage as well.
pub fn fan_out_into(writer: Storage) -> Storage {
    let fan_out = |writer: Cache, clock: &ManualClock| {
        let primary = open_uri("memory:", clock).unwrap();
        Cache::fan_out(primary, [writer.prefix(&unique_name())])
    };
    writer.map(fan_out).exclusive(true)
}

/// A fresh part of the storage.
pub fn prefixed(storage: Storage) -> Storage {
    let prefix = unique_name();
    storage.map(move |cache, _| cache.prefix(&prefix)).exclusive(true)
}

/// A database in which scopes of the same columns share a table; the names of tables start with the prefix.
#[cfg(feature = "sql")]
fn one_table<T: hilcat::backend::Tables + Clone + 'static>(
    prefix: &str,
    open: impl Fn() -> Result<T> + Send + Sync + 'static,
) -> Storage {
    let tables = Arc::new(InTables::default());
    let prefix = prefix.to_owned();
    let open = move || {
        let (prefix, tables) = (prefix.clone(), tables.clone());
        Ok(OneTable { database: open()?, prefix, tables })
    };
    Storage::of_store(open).shared_tables(true)
}

/// The parts of the URI of a server, for the builders.
#[cfg(feature = "server")]
struct Server {
    host: String,
    port: u16,
    user: String,
    password: String,
    database: String,
}

#[cfg(feature = "server")]
impl Server {
    /// A prefix of tables that no other case uses.
    fn prefix() -> String {
        format!("all{:x}", RandomState::new().hash_one(std::process::id()))
    }

    fn from_env(variable: &str) -> Result<Self, String> {
        let uri = std::env::var(variable).map_err(|_| format!("{variable} is not set"))?;
        let parts = uri.split(['/', '@', ':', '?']).map(|part| {
            percent_encoding::percent_decode_str(part).decode_utf8().unwrap().into_owned()
        });
        let [_, _, _, user, password, host, port, database, ..] = &parts.collect::<Vec<_>>()[..]
        else {
            return Err(format!(
                "{variable} is not of the form x://user:password@host:port/database"
            ));
        };
        let [user, password, host, database] = [user, password, host, database].map(Clone::clone);
        Ok(Self { host, port: port.parse().unwrap(), user, password, database })
    }
}
