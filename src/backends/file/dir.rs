//! Directory handles. All file operations are relative to an open directory and use single names,
//! so that no symbolic link below the root is followed.

use std::ffi::CStr;
use std::fs::File;
use std::io::{Read, Write};
use std::path::Path;
use std::sync::Arc;

use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{self, AtFlags, Dir as Entries, FileType, Mode, OFlags};
use rustix::io::Errno;

use super::name::RecordPath;
use crate::{Error, ErrorKind, Result};

const DIRECTORY: OFlags =
    OFlags::DIRECTORY.union(OFlags::RDONLY).union(OFlags::CLOEXEC).union(OFlags::NOFOLLOW);
const DIRECTORY_MODE: Mode = Mode::from_raw_mode(0o777);
const FILE_MODE: Mode = Mode::from_raw_mode(0o666);

/// An open directory.
#[derive(Debug, Clone)]
pub(super) struct Dir(Arc<OwnedFd>);

/// The identity of a file's content: inode, time of change, and size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct FileVersion(u64, i64, i64, i64);

impl Dir {
    /// Opens the root. Symbolic links in its path are followed, since the user chose it.
    pub(super) fn root(path: &Path) -> Result<Option<Self>> {
        let flags = DIRECTORY.difference(OFlags::NOFOLLOW);
        found(fs::open(path, flags, Mode::empty()), "open the directory").map(Self::of)
    }

    /// Opens the root, creating it if it does not exist.
    pub(super) fn make_root(path: &Path) -> Result<Self> {
        std::fs::create_dir_all(path).map_err(|error| failed("create the directory", error))?;
        Self::root(path)?.ok_or_else(|| failed("open the directory", Errno::NOENT.into()))
    }

    fn of(fd: Option<OwnedFd>) -> Option<Self> {
        fd.map(|fd| Self(Arc::new(fd)))
    }

    /// Opens a directory; `None` if there is none with this name.
    pub(super) fn directory(&self, name: &str) -> Result<Option<Self>> {
        match fs::openat(&self.0, name, DIRECTORY, Mode::empty()) {
            Err(Errno::NOTDIR | Errno::LOOP) => Ok(None),
            opened => found(opened, "open a directory").map(Self::of),
        }
    }

    /// Opens a directory, creating it durably if it does not exist.
    pub(super) fn make(&self, name: &str, durable: bool) -> Result<Self> {
        match fs::mkdirat(&self.0, name, DIRECTORY_MODE) {
            Ok(()) => self.sync(durable)?,
            Err(Errno::EXIST) => {}
            Err(errno) => return Err(failed("create a directory", errno.into())),
        }
        let opened = fs::openat(&self.0, name, DIRECTORY, Mode::empty());
        let fd = opened.map_err(|errno| failed("open a directory", errno.into()))?;
        Ok(Self(Arc::new(fd)))
    }

    /// Opens the directory of a path; `None` if it does not exist.
    pub(super) fn parent(&self, path: &RecordPath) -> Result<Option<Self>> {
        let mut directory = self.clone();
        for name in &path.directories {
            match directory.directory(name)? {
                Some(inner) => directory = inner,
                None => return Ok(None),
            }
        }
        Ok(Some(directory))
    }

    /// Opens the directory of a path, creating the missing ones.
    pub(super) fn make_parent(&self, path: &RecordPath, durable: bool) -> Result<Self> {
        let mut names = path.directories.iter();
        names.try_fold(self.clone(), |directory, name| directory.make(name, durable))
    }

    /// Reads a file; `None` if there is none, or a directory.
    pub(super) fn read(&self, name: &str) -> Result<Option<Vec<u8>>> {
        // Does not block on a named pipe.
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK;
        let Some(fd) = found(fs::openat(&self.0, name, flags, Mode::empty()), "open the file")?
        else {
            return Ok(None);
        };
        let mut file = File::from(fd);
        let metadata = file.metadata().map_err(|error| failed("read the file", error))?;
        if metadata.is_dir() {
            return Ok(None);
        }
        if !metadata.is_file() {
            return Err(not_a_file());
        }
        let mut bytes =
            Vec::with_capacity(usize::try_from(metadata.len()).unwrap_or(0).min(1 << 20));
        file.read_to_end(&mut bytes).map_err(|error| failed("read the file", error))?;
        Ok(Some(bytes))
    }

    /// Writes a temporary file. An existing one was left behind by a crashed process.
    pub(super) fn write(&self, name: &str, bytes: &[u8], durable: bool) -> Result<()> {
        let flags = OFlags::WRONLY
            | OFlags::CREATE
            | OFlags::TRUNC
            | OFlags::CLOEXEC
            | OFlags::NOFOLLOW
            | OFlags::NONBLOCK;
        let fd = fs::openat(&self.0, name, flags, FILE_MODE);
        let mut file = File::from(fd.map_err(|errno| failed("create a file", errno.into()))?);
        let written = file.write_all(bytes).and_then(|()| match durable {
            true => file.sync_data(),
            false => Ok(()),
        });
        written.map_err(|error| failed("write a file", error))
    }

    /// Opens a file for appending, creating it if it does not exist.
    pub(super) fn open_to_append(&self, name: &str) -> Result<File> {
        let flags = OFlags::RDWR
            | OFlags::APPEND
            | OFlags::CREATE
            | OFlags::CLOEXEC
            | OFlags::NOFOLLOW
            | OFlags::NONBLOCK;
        let fd = fs::openat(&self.0, name, flags, FILE_MODE);
        Ok(File::from(fd.map_err(|errno| failed("open a file", errno.into()))?))
    }

    /// Returns the length of a file; 0 if there is none.
    pub(super) fn length(&self, name: &str) -> Result<u64> {
        let stat = found(fs::statat(&self.0, name, AtFlags::SYMLINK_NOFOLLOW), "look up a file")?;
        Ok(stat.map_or(0, |stat| u64::try_from(stat.st_size).unwrap_or(0)))
    }

    /// Returns the inode number of a file, which is unique while the file exists.
    pub(super) fn number(&self, name: &str) -> Result<Option<u64>> {
        Ok(self.version(name)?.map(|version| version.0))
    }

    /// Renames a file, replacing an existing one. Returns `false` if the file does not exist.
    pub(super) fn rename(&self, name: &str, to: &Self, new: &str) -> Result<bool> {
        match fs::renameat(&self.0, name, &to.0, new) {
            Ok(()) => Ok(true),
            Err(Errno::NOENT) => Ok(false),
            Err(Errno::ISDIR) => Err(not_a_file()),
            Err(errno) => Err(failed("move a file to its path", errno.into())),
        }
    }

    /// Renames a file unless the new name exists. Returns `false` if it does.
    ///
    /// On systems without an atomic call for this, a program that does not take the lock of the
    /// scope can create a file with that name in between.
    pub(super) fn rename_new(&self, name: &str, to: &Self, new: &str) -> Result<bool> {
        #[cfg(any(target_os = "linux", target_os = "android", target_vendor = "apple"))]
        match fs::renameat_with(&self.0, name, &to.0, new, fs::RenameFlags::NOREPLACE) {
            Ok(()) => return Ok(true),
            Err(Errno::EXIST) => return Ok(false),
            // Not every file system supports the call.
            Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => {}
            Err(errno) => return Err(failed("move a file to its path", errno.into())),
        }
        match to.version(new)?.is_some() {
            true => Ok(false),
            false => self.rename(name, to, new),
        }
    }

    /// Removes a file. Returns `false` if there was none.
    pub(super) fn remove(&self, name: &str) -> Result<bool> {
        let removed = fs::unlinkat(&self.0, name, AtFlags::empty());
        Ok(found(removed, "remove a file")?.is_some())
    }

    /// Removes a directory. Returns `false` if it was missing or not empty.
    pub(super) fn remove_directory(&self, name: &str) -> Result<bool> {
        match fs::unlinkat(&self.0, name, AtFlags::REMOVEDIR) {
            Ok(()) => Ok(true),
            Err(Errno::NOENT | Errno::NOTEMPTY | Errno::EXIST | Errno::NOTDIR) => Ok(false),
            Err(errno) => Err(failed("remove a directory", errno.into())),
        }
    }

    /// Flushes the entries of the directory to the disk.
    pub(super) fn sync(&self, durable: bool) -> Result<()> {
        match durable {
            true => fs::fsync(&self.0)
                .map_err(|errno| failed("flush the directory to the disk", errno.into())),
            false => Ok(()),
        }
    }

    /// Flushes a change that is already visible: after a failure, it is not known whether the
    /// change is on the disk.
    pub(super) fn sync_change(&self, durable: bool) -> Result<()> {
        self.sync(durable).map_err(outcome_unknown)
    }

    /// Flushes all files of the file system to the disk.
    pub(super) fn sync_all(&self, durable: bool) -> Result<()> {
        if !durable {
            return Ok(());
        }
        #[cfg(any(target_os = "linux", target_os = "android"))]
        fs::syncfs(&self.0).map_err(|errno| failed("flush the files to the disk", errno.into()))?;
        Ok(())
    }

    /// Returns the version of a file; `None` if there is none.
    pub(super) fn version(&self, name: &str) -> Result<Option<FileVersion>> {
        let stat = found(fs::statat(&self.0, name, AtFlags::SYMLINK_NOFOLLOW), "look up a file")?;
        Ok(stat.map(|stat| {
            #[allow(
                clippy::unnecessary_cast,
                clippy::useless_conversion,
                reason = "the types differ between systems"
            )]
            FileVersion(
                stat.st_ino as u64,
                stat.st_ctime as i64,
                stat.st_ctime_nsec as i64,
                stat.st_size as i64,
            )
        }))
    }

    /// Fails if the name belongs to something other than a file.
    pub(super) fn check_free(&self, name: &str) -> Result<()> {
        match self.version(name)?.is_some() && !self.is_file(name)? {
            false => Ok(()),
            true => Err(not_a_file()),
        }
    }

    pub(super) fn is_file(&self, name: &str) -> Result<bool> {
        let stat = found(fs::statat(&self.0, name, AtFlags::SYMLINK_NOFOLLOW), "look up a file")?;
        Ok(stat.is_some_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile))
    }

    /// Opens the lock file, creating it if it does not exist.
    pub(super) fn open_lock(&self, name: &str) -> Result<File> {
        let flags =
            OFlags::RDWR | OFlags::CREATE | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK;
        let fd = fs::openat(&self.0, name, flags, FILE_MODE);
        Ok(File::from(fd.map_err(|errno| failed("open the lock file", errno.into()))?))
    }

    /// Returns an iterator over the entries.
    pub(super) fn entries(&self) -> Result<Entries> {
        Entries::read_from(self.0.as_fd())
            .map_err(|errno| failed("list the directory", errno.into()))
    }
}

/// Returns the name of an entry and whether it is a directory; `None` for special files, and for
/// names that are not UTF-8.
pub(super) fn entry(
    directory: &Dir,
    entry: &rustix::fs::DirEntry,
) -> Result<Option<(String, bool)>> {
    let Some(name) = name_of(entry.file_name()) else { return Ok(None) };
    let kind = match entry.file_type() {
        // Some file systems do not report the type in listings.
        FileType::Unknown => {
            let stat = fs::statat(&directory.0, name, AtFlags::SYMLINK_NOFOLLOW);
            match found(stat, "look up a file")? {
                Some(stat) => FileType::from_raw_mode(stat.st_mode),
                None => return Ok(None),
            }
        }
        kind => kind,
    };
    Ok(match kind {
        FileType::Directory => Some((name.to_owned(), true)),
        FileType::RegularFile => Some((name.to_owned(), false)),
        _ => None,
    })
}

fn name_of(name: &CStr) -> Option<&str> {
    name.to_str().ok().filter(|name| !matches!(*name, "." | ".."))
}

/// Converts a missing file to `None`.
fn found<T>(result: rustix::io::Result<T>, action: &str) -> Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(Errno::NOENT) => Ok(None),
        Err(errno) => Err(failed(action, errno.into())),
    }
}

/// The error of a directory or special file in the place of a file.
fn not_a_file() -> Error {
    Error::unsupported(
        "the path of this key is a directory or a special file; remove it, or use another key",
    )
}

/// The error of a failed file operation.
pub(super) fn failed(action: &str, error: std::io::Error) -> Error {
    let errno = Errno::from_io_error(&error);
    if errno == Some(Errno::LOOP) {
        return Error::new(
            ErrorKind::Io,
            format!("cannot {action}: it is a symbolic link, and symbolic links are not followed"),
        );
    }
    // Linux reports symbolic links in this way as well when a directory is opened.
    if errno == Some(Errno::NOTDIR) {
        return Error::unsupported(format!(
            "cannot {action}: its path contains a file or a symbolic link instead of a directory"
        ));
    }
    Error::new(ErrorKind::Io, format!("cannot {action}: {error}")).with_source(error)
}

/// The error of a failed file operation after which a change may still take effect.
pub(super) fn outcome_unknown(error: Error) -> Error {
    match error.kind() {
        ErrorKind::Io => Error::new(
            ErrorKind::Unavailable,
            format!("{}; whether the call was done is not known", error.message()),
        )
        .with_source(error),
        _ => error,
    }
}
