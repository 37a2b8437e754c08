//! The SQLite backend: its builder and its URI.

mod read_only;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use diesel::connection::SimpleConnection;
use diesel::{Connection, QueryResult, SqliteConnection, sqlite};
use parking_lot::Mutex;

use super::database::{Database, DatabaseInner};
use super::error::{CallError, ErrorClass, classify};
use crate::backends::sql::connection::pool;
use crate::backends::sql::connection::pool::PooledBackend;
use crate::backends::sql::table::single_table::{self, Layout, SingleTableStore};
use crate::remote::Deadline;
use crate::store::uri::decode;
use crate::store::{Capabilities, ExpirySupport, Options, Store, Uri, pool_option_methods};
use crate::{Error, ErrorKind, Result};

/// A SQLite database with a table for each scope, in a file or in memory.
///
/// A file is in WAL mode, with one connection that writes and several that read concurrently.
/// Several processes can use it at the same time.
///
/// ```
/// use hilcat::Cache;
/// use hilcat::backend::{Sqlite, Synchronous};
///
/// # let directory = tempfile::tempdir().unwrap();
/// # let path = directory.path().join("cache.db");
/// let store = Sqlite::builder(path).synchronous(Synchronous::Normal).open()?;
/// let cache = Cache::from_store(store);
/// # drop(cache);
/// # Ok::<(), hilcat::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Sqlite(Database<sqlite::Sqlite>);

/// When writes are flushed to disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Synchronous {
    /// Before a write is acknowledged. Acknowledged writes survive a crash of the program or system
    /// and a loss of power. The default.
    #[default]
    Full,
    /// At the next checkpoint. Acknowledged writes survive a crash of the program. A crash of the
    /// system or a loss of power may undo the last ones, but does not damage the database. Many
    /// times faster if each write is a transaction.
    Normal,
    /// When the operating system decides. Acknowledged writes survive a crash of the program. A
    /// crash of the system or a loss of power may damage the database.
    Off,
}

impl Synchronous {
    fn pragma(self) -> &'static str {
        match self {
            Self::Full => "FULL",
            Self::Normal => "NORMAL",
            Self::Off => "OFF",
        }
    }
}

impl Sqlite {
    /// Returns a builder for the database in a file, which is created if it does not exist.
    pub fn builder(path: impl AsRef<Path>) -> SqliteBuilder {
        SqliteBuilder::new(Some(path.as_ref().to_owned()))
    }

    /// Returns a builder for a database in memory, which is dropped with the store.
    pub fn in_memory() -> SqliteBuilder {
        SqliteBuilder::new(None)
    }

    /// Opens a database on an existing connection, whose settings are left as they are. All calls
    /// use this connection, one at a time. It is closed with the store.
    ///
    /// ```
    /// use diesel::connection::SimpleConnection;
    /// use diesel::{Connection, SqliteConnection};
    /// use hilcat::{Cache, backend::Sqlite};
    ///
    /// let mut connection = SqliteConnection::establish(":memory:").unwrap();
    /// connection.batch_execute("PRAGMA cache_size = 1000").unwrap();
    /// let cache = Cache::from_store(Sqlite::from_connection(connection)?);
    /// let counts = cache.map::<String, i64>("counts")?;
    /// assert_eq!(counts.get("a", || 7)?, 7);
    /// # Ok::<(), hilcat::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Unavailable`] if the connection cannot be used.
    pub fn from_connection(mut connection: SqliteConnection) -> Result<Self> {
        let options = Options::default();
        let ready = sqlite::Sqlite::set_deadline(&mut connection, options.timeout);
        ready.map_err(|error| CallError::from(error).into_error::<sqlite::Sqlite>())?;
        let connection = Mutex::new(Some(connection));
        let only = pool::open_single(move || {
            connection.lock().take().ok_or_else(|| {
                Error::new(
                    ErrorKind::Unavailable,
                    "the connection that the database was opened with is closed; open it again",
                )
            })
        })?;
        Ok(Self(Database::new(only.clone(), only, options, capabilities(true))))
    }

    /// Returns the database, and whether it outlives the store.
    pub(crate) fn into_database(self) -> (Arc<DatabaseInner<sqlite::Sqlite>>, bool) {
        let persistent = self.0.capabilities().persistent;
        (self.0.into_inner(), persistent)
    }
}

/// A builder of [`Sqlite`].
#[derive(Debug, Clone)]
#[must_use = "a builder does nothing until it is opened"]
pub struct SqliteBuilder {
    path: Option<PathBuf>,
    synchronous: Synchronous,
    options: Options,
}

impl SqliteBuilder {
    fn new(path: Option<PathBuf>) -> Self {
        Self { path, synchronous: Synchronous::default(), options: Options::default() }
    }

    /// Sets when writes are flushed to disk; [`Synchronous::Full`] by default.
    pub fn synchronous(mut self, synchronous: Synchronous) -> Self {
        self.synchronous = synchronous;
        self
    }

    pool_option_methods!("connections that read (a database in memory has one connection)");

    /// Returns the builder and the common options that a URI describes.
    pub(crate) fn from_uri(uri: &mut Uri, options: Options) -> Result<(Self, Options)> {
        let path = path_of(uri.rest())?;
        let options = uri.take_common(options)?;
        let choices = [
            ("full", Synchronous::Full),
            ("normal", Synchronous::Normal),
            ("off", Synchronous::Off),
        ];
        let synchronous = uri.take_choice("synchronous", &choices)?.unwrap_or_default();
        Ok((Self { path, synchronous, options: options.clone() }, options))
    }

    /// Opens the database.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Unavailable`] if the file cannot be opened or is not a database,
    /// [`ErrorKind::Timeout`] if another process locks it until the deadline.
    pub fn open(self) -> Result<Sqlite> {
        let Self { path, synchronous, options } = self;
        if let Some(path) = path.as_deref() {
            check_name(path)?;
            if options.read_only {
                return read_only::open(path, options).map(Sqlite);
            }
        }
        let url = path.as_deref().map_or(Ok(":memory:".to_owned()), url_of)?;
        let in_memory = path.is_none();
        let connect = move || connect(&url, in_memory, synchronous, options.timeout);
        let (readers, writers) = if in_memory {
            // A database in memory exists only in its connection.
            let only = pool::open_single(connect)?;
            (only.clone(), only)
        } else {
            // The writer comes first: it creates the file and its journal.
            let writers = pool::open(1, connect.clone())?;
            (pool::open(options.pool_size, connect)?, writers)
        };
        Ok(Sqlite(Database::new(readers, writers, options, capabilities(!in_memory))))
    }
}

/// Rejects a path that has a special meaning in SQLite.
fn check_name(path: &Path) -> Result<()> {
    match path.file_name().is_some_and(|name| name == ":memory:") {
        false => Ok(()),
        true => Err(Error::invalid_config(
            "`:memory:` as a path would be the name of a file; a database in memory is `sqlite::memory:` (`sqlite+kv::memory:`), or Sqlite::in_memory() in a program",
        )),
    }
}

fn capabilities(persistent: bool) -> Capabilities {
    Capabilities {
        persistent,
        nan: false,
        negative_zero: false,
        tables: true,
        expiry: ExpirySupport::Full,
        max_records: true,
        shared_single_flight: persistent,
        ..Capabilities::new()
    }
}

/// Opens the URI scheme `sqlite:`.
pub(crate) fn open(mut uri: Uri, options: Options) -> Result<(Arc<dyn Store>, Options)> {
    let (builder, options) = SqliteBuilder::from_uri(&mut uri, options)?;
    let single = single_table::take(&mut uri)?;
    uri.finish(&[&["synchronous"], single_table::OPTIONS].concat())?;
    Ok((single_table::store(builder.open()?, single), options))
}

/// Returns the path in a URI (`///relative` or `////absolute`), or `None` for `:memory:`.
fn path_of(rest: &str) -> Result<Option<PathBuf>> {
    if rest == ":memory:" {
        return Ok(None);
    }
    match rest.strip_prefix("///").map(decode).transpose()? {
        Some(path) if !path.is_empty() => Ok(Some(PathBuf::from(path))),
        _ => Err(Error::invalid_config(
            "write the file as sqlite:///relative.db or sqlite:////absolute/path.db, or sqlite::memory: for a database in memory",
        )),
    }
}

/// Returns a path in the form for Diesel, which must not look like a URI.
fn url_of(path: &Path) -> Result<String> {
    let text = path
        .to_str()
        .ok_or_else(|| Error::invalid_config("the path of the database is not UTF-8"))?;
    if text.is_empty() || text.contains('\0') {
        return Err(Error::invalid_config(
            "the path of the database is empty or contains the character NUL",
        ));
    }
    Ok(if path.is_absolute() { text.to_owned() } else { format!("./{text}") })
}

fn connect(
    url: &str,
    in_memory: bool,
    synchronous: Synchronous,
    timeout: Duration,
) -> Result<SqliteConnection> {
    let mut connection = SqliteConnection::establish(url).map_err(|error| {
        let message = format!(
            "the database file {url} cannot be opened: {error}; its directory must exist and both must be writable; open a file without write permission with `read_only=true`"
        );
        Error::new(ErrorKind::Unavailable, message).with_retryable(false)
    })?;
    prepare(&mut connection, in_memory, synchronous, timeout).map_err(|error| {
        let failed = CallError::from(error);
        match failed.class::<sqlite::Sqlite>() {
            ErrorClass::Busy => failed.into_error::<sqlite::Sqlite>(),
            _ => {
                let message = format!(
                    "the database cannot be used: {}",
                    failed.into_error::<sqlite::Sqlite>().message()
                );
                Error::new(ErrorKind::Unavailable, message).with_retryable(false)
            }
        }
    })?;
    Ok(connection)
}

fn prepare(
    connection: &mut SqliteConnection,
    in_memory: bool,
    synchronous: Synchronous,
    timeout: Duration,
) -> QueryResult<()> {
    sqlite::Sqlite::set_deadline(connection, timeout)?;
    if !in_memory {
        enable_wal(connection, timeout)?;
    }
    connection.batch_execute(&format!("PRAGMA synchronous = {}", synchronous.pragma()))
}

/// Enables WAL mode. When several processes do so on a new file at the same time, SQLite reports
/// some of them as locked regardless of the busy timeout; these repeat it.
fn enable_wal(connection: &mut SqliteConnection, timeout: Duration) -> QueryResult<()> {
    let deadline = Deadline::after(timeout);
    loop {
        match connection.batch_execute("PRAGMA journal_mode = WAL") {
            Err(error)
                if classify::<sqlite::Sqlite>(&error) == ErrorClass::Busy
                    && !deadline.has_passed() =>
            {
                thread::sleep(Duration::from_millis(2));
            }
            result => return result,
        }
    }
}

impl single_table::sealed::Tables for Sqlite {
    fn single_table(self, layout: Layout) -> Arc<dyn Store> {
        Arc::new(SingleTableStore::new(self.0, layout))
    }
}

store_of_tables!(Sqlite);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_path_of_a_uri_is_parsed() {
        assert_eq!(path_of(":memory:").unwrap(), None);
        assert_eq!(path_of("///rel.db").unwrap(), Some("rel.db".into()));
        assert_eq!(path_of("////tmp/a%20b.db").unwrap(), Some("/tmp/a b.db".into()));
        for wrong in ["", "//", "///", "t.db", "//t.db", "/t.db"] {
            assert_eq!(path_of(wrong).unwrap_err().kind(), ErrorKind::InvalidConfig, "{wrong}");
        }
    }
}
