//! Reads text files given by the user, of a bounded size.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use crate::{Error, ErrorKind, Result};

/// The largest file that is read: 64 MiB.
const LIMIT: u64 = 64 << 20;

/// Reads a regular file, without the byte order mark that some programs write. `what` is the
/// expected kind of file, for messages.
///
/// The kind and the size are checked on the opened file, so that it cannot be replaced in between.
/// Opening a pipe does not block.
///
/// # Errors
///
/// [`ErrorKind::Io`] if it cannot be read, is not a regular file, or is too large.
pub(crate) fn read(path: &Path, what: &str) -> Result<Vec<u8>> {
    let failed = |error| unreadable(path, what, error);
    let file = open(path).map_err(failed)?;
    let metadata = file.metadata().map_err(failed)?;
    if !metadata.is_file() {
        return Err(refused(path, &format!("not a regular file; expected {what}")));
    }
    if metadata.len() > LIMIT {
        return Err(too_large(path));
    }
    let mut bytes = Vec::with_capacity(usize::try_from(metadata.len()).unwrap_or(0));
    file.take(LIMIT + 1).read_to_end(&mut bytes).map_err(failed)?;
    match bytes.len() as u64 > LIMIT {
        true => Err(too_large(path)),
        false => Ok(without_mark(bytes)),
    }
}

#[cfg(unix)]
fn open(path: &Path) -> io::Result<File> {
    use rustix::fs::{Mode, OFlags, open};
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    Ok(File::from(open(path, flags, Mode::empty())?))
}

#[cfg(not(unix))]
fn open(path: &Path) -> io::Result<File> {
    File::open(path)
}

fn without_mark(mut bytes: Vec<u8>) -> Vec<u8> {
    if bytes.starts_with("\u{feff}".as_bytes()) {
        bytes.drain(..3);
    }
    bytes
}

/// Returns the error for a path that cannot be read.
pub(crate) fn unreadable(path: &Path, what: &str, error: io::Error) -> Error {
    let why = match error.kind() {
        io::ErrorKind::NotFound => format!("no such file; name {what}"),
        _ => format!("cannot be read: {error}"),
    };
    refused(path, &why).with_source(error)
}

fn too_large(path: &Path) -> Error {
    refused(path, &format!("larger than the limit of {} MiB", LIMIT >> 20))
}

fn refused(path: &Path, why: &str) -> Error {
    Error::new(ErrorKind::Io, format!("{}: {why}", path.display()))
}
