//! Opening a SQLite file for reading only.
//!
//! Readers of a database in WAL mode take part in its locking through the files `-wal` and `-shm`
//! next to it. The last connection removes these files when it closes, which requires write
//! permission. A file is therefore opened in one of three modes:
//!
//! - With write permission for the file and its directory, the connection is writable but rejects
//!   all statements that write (`query_only`). Closing it leaves no files behind.
//! - Without write permission, if the database is not in WAL mode or both files exist: `mode=ro`.
//! - Without write permission, if the database is in WAL mode without a log, no process has it open.
//!   It is then read without locks (`immutable`).
//!
//! Invariant of `immutable`: a result is valid only if after the read the file is unchanged and
//! there is still no log. A writer creates the log before it changes the file, and changes the file
//! before it removes the log. An unchanged file without a log was therefore not written during the
//! read.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::Duration;

use diesel::connection::SimpleConnection;
use diesel::{Connection, QueryResult, SqliteConnection, sqlite};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::super::database::{Database, UnchangedCheck};
use super::super::error::CallError;
use super::capabilities;
use crate::backends::sql::connection::pool;
use crate::backends::sql::connection::pool::PooledBackend;
use crate::store::Options;
use crate::{Error, ErrorKind, Result};

/// The characters that are not escaped in the path of a `file:` URI of SQLite.
const PATH: &AsciiSet =
    &NON_ALPHANUMERIC.remove(b'/').remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// How a file is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    QueryOnly,
    ReadOnly,
    Immutable,
}

impl Mode {
    fn parameters(self) -> &'static str {
        match self {
            Self::QueryOnly => "mode=rw",
            Self::ReadOnly => "mode=ro",
            Self::Immutable => "mode=ro&immutable=1",
        }
    }
}

/// Opens a file for reading.
pub(super) fn open(path: &Path, options: Options) -> Result<Database<sqlite::Sqlite>> {
    let path = match fs::canonicalize(path) {
        Ok(path) => path,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return missing(path, options),
        Err(error) => return Err(failed(path, &error)),
    };
    let before = Stamp::of(&path).map_err(|error| failed(&path, &error))?;
    let mode = mode(&path)?;
    let url = url_of(&path, mode)?;
    let display = path.display().to_string();
    let timeout = options.timeout;
    let connect = move || connect(&url, &display, timeout);
    let unchanged: Option<UnchangedCheck> = match mode {
        Mode::Immutable => Some(Box::new(move || before.check(&path))),
        _ => None,
    };
    let readers = pool::open(options.pool_size, connect)?;
    Ok(Database::read_only(readers, options, capabilities(true), unchanged))
}

/// Opens an empty database in place of a missing file, if the options allow it.
fn missing(path: &Path, options: Options) -> Result<Database<sqlite::Sqlite>> {
    if !options.missing_is_empty {
        return Err(unavailable(format!(
            "no such file: {}; a database that is opened read-only is not created",
            path.display()
        )));
    }
    let timeout = options.timeout;
    let readers = pool::open_single(move || connect(":memory:", "an empty database", timeout))?;
    Ok(Database::read_only(readers, options, capabilities(true), None))
}

fn mode(path: &Path) -> Result<Mode> {
    let directory = path.parent().unwrap_or(path);
    if may_write(path) && may_write(directory) {
        return Ok(Mode::QueryOnly);
    }
    if !is_write_ahead(path).map_err(|error| failed(path, &error))? {
        return Ok(Mode::ReadOnly);
    }
    let log = fs::metadata(with_suffix(path, "-wal")).map_or(0, |file| file.len());
    match (with_suffix(path, "-shm").exists(), log) {
        (true, _) if with_suffix(path, "-wal").exists() => Ok(Mode::ReadOnly),
        (_, 0) => Ok(Mode::Immutable),
        _ => Err(unavailable(format!(
            "{}-wal contains changes that only a process with write permission for the file and its directory can read; open the database once with that permission, or copy both files to a writable directory",
            path.display()
        ))),
    }
}

/// Returns whether the header declares WAL mode. That of an empty file does not.
fn is_write_ahead(path: &Path) -> io::Result<bool> {
    let mut header = Vec::new();
    File::open(path)?.take(20).read_to_end(&mut header)?;
    Ok(header.get(18) == Some(&2))
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

#[cfg(unix)]
fn may_write(path: &Path) -> bool {
    use rustix::fs::{Access, AtFlags, CWD, accessat};
    accessat(CWD, path, Access::WRITE_OK, AtFlags::EACCESS).is_ok()
}

#[cfg(not(unix))]
fn may_write(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|file| !file.permissions().readonly())
}

fn url_of(path: &Path, mode: Mode) -> Result<String> {
    let text = super::url_of(path)?;
    Ok(format!("file:{}?{}", utf8_percent_encode(&text, PATH), mode.parameters()))
}

fn connect(url: &str, display: &str, timeout: Duration) -> Result<SqliteConnection> {
    let mut connection = SqliteConnection::establish(url).map_err(|error| {
        unavailable(format!("{display}: the database cannot be opened: {error}"))
    })?;
    prepare(&mut connection, timeout).map_err(|error| {
        let error = CallError::from(error).into_error::<sqlite::Sqlite>();
        match error.kind() {
            ErrorKind::Timeout => error,
            _ => {
                unavailable(format!("{display}: the database cannot be read: {}", error.message()))
            }
        }
    })?;
    Ok(connection)
}

/// Prepares a connection. Reads once, so that a file that is not a database is reported here.
fn prepare(connection: &mut SqliteConnection, timeout: Duration) -> QueryResult<()> {
    sqlite::Sqlite::set_deadline(connection, timeout)?;
    connection.batch_execute("PRAGMA query_only = 1; SELECT count(*) FROM sqlite_master")
}

/// The identity of a file and the time of its last change.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Stamp {
    size: u64,
    file: Vec<i128>,
}

impl Stamp {
    fn of(path: &Path) -> io::Result<Self> {
        let file = fs::metadata(path)?;
        Ok(Self { size: file.len(), file: identity(&file) })
    }

    /// Fails if the file was changed or replaced, or has a log.
    fn check(&self, path: &Path) -> Result<()> {
        let log = fs::metadata(with_suffix(path, "-wal")).map_or(0, |file| file.len());
        let same = Self::of(path).is_ok_and(|now| now == *self);
        match same && log == 0 {
            true => Ok(()),
            false => Err(Error::new(
                ErrorKind::Unavailable,
                format!(
                    "another process writes {}, and without write permission for it and its directory this process cannot take part in the locking; open the database again",
                    path.display()
                ),
            )),
        }
    }
}

#[cfg(unix)]
fn identity(file: &fs::Metadata) -> Vec<i128> {
    use std::os::unix::fs::MetadataExt as _;
    let times = [file.mtime(), file.mtime_nsec(), file.ctime(), file.ctime_nsec()];
    let ids = [i128::from(file.dev()), i128::from(file.ino())];
    ids.into_iter().chain(times.map(i128::from)).collect()
}

#[cfg(not(unix))]
fn identity(file: &fs::Metadata) -> Vec<i128> {
    let time = file.modified().ok();
    let time = time.and_then(|time| time.duration_since(std::time::UNIX_EPOCH).ok());
    vec![time.map_or(0, |time| time.as_nanos() as i128)]
}

fn failed(path: &Path, error: &io::Error) -> Error {
    unavailable(format!("{}: the database cannot be opened: {error}", path.display()))
}

fn unavailable(message: String) -> Error {
    Error::new(ErrorKind::Unavailable, message).with_retryable(false)
}
