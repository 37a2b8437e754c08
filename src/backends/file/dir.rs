//! Directories that are held open: all that is done is done from one of them, one name at a time,
//! and no symbolic link is followed below the root.

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

/// Which file a file is, and when it was changed: another one when it was replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct FileVersion(u64, i64, i64, i64);

impl Dir {
    /// Opens the root. What leads there may be a symbolic link: it is the user's own.
    pub(super) fn root(path: &Path) -> Result<Option<Self>> {
        let flags = DIRECTORY.difference(OFlags::NOFOLLOW);
        found(fs::open(path, flags, Mode::empty()), "open the directory").map(Self::of)
    }

    /// Opens the root, and makes it where it does not stand.
    pub(super) fn make_root(path: &Path) -> Result<Self> {
        std::fs::create_dir_all(path).map_err(|error| failed("make the directory", error))?;
        Self::root(path)?.ok_or_else(|| failed("open the directory", Errno::NOENT.into()))
    }

    fn of(fd: Option<OwnedFd>) -> Option<Self> {
        fd.map(|fd| Self(Arc::new(fd)))
    }

    /// Opens a directory; none where something else has the name.
    pub(super) fn directory(&self, name: &str) -> Result<Option<Self>> {
        match fs::openat(&self.0, name, DIRECTORY, Mode::empty()) {
            Err(Errno::NOTDIR | Errno::LOOP) => Ok(None),
            opened => found(opened, "open a directory").map(Self::of),
        }
    }

    /// Opens a directory, and makes it where it does not stand, for good.
    pub(super) fn make(&self, name: &str, durable: bool) -> Result<Self> {
        match fs::mkdirat(&self.0, name, DIRECTORY_MODE) {
            Ok(()) => self.sync(durable)?,
            Err(Errno::EXIST) => {}
            Err(errno) => return Err(failed("make a directory", errno.into())),
        }
        let opened = fs::openat(&self.0, name, DIRECTORY, Mode::empty());
        let fd = opened.map_err(|errno| failed("open a directory", errno.into()))?;
        Ok(Self(Arc::new(fd)))
    }

    /// The directory of a path; none where it does not stand.
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

    /// The directory of a path; those that do not stand are made.
    pub(super) fn make_parent(&self, path: &RecordPath, durable: bool) -> Result<Self> {
        let mut names = path.directories.iter();
        names.try_fold(self.clone(), |directory, name| directory.make(name, durable))
    }

    /// What is in a file; none where there is none, or a directory.
    pub(super) fn read(&self, name: &str) -> Result<Option<Vec<u8>>> {
        // A pipe that stands there must not be waited for.
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

    /// Writes a file that nobody reads yet; one of that name is from a process that died.
    pub(super) fn write(&self, name: &str, bytes: &[u8], durable: bool) -> Result<()> {
        let flags = OFlags::WRONLY
            | OFlags::CREATE
            | OFlags::TRUNC
            | OFlags::CLOEXEC
            | OFlags::NOFOLLOW
            | OFlags::NONBLOCK;
        let fd = fs::openat(&self.0, name, flags, FILE_MODE);
        let mut file = File::from(fd.map_err(|errno| failed("make a file", errno.into()))?);
        let written = file.write_all(bytes).and_then(|()| match durable {
            true => file.sync_data(),
            false => Ok(()),
        });
        written.map_err(|error| failed("write a file", error))
    }

    /// Opens a file to add to its end, and makes it where it does not exist.
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

    /// The length of a file; 0 if there is none.
    pub(super) fn length(&self, name: &str) -> Result<u64> {
        let stat = found(fs::statat(&self.0, name, AtFlags::SYMLINK_NOFOLLOW), "look for a file")?;
        Ok(stat.map_or(0, |stat| u64::try_from(stat.st_size).unwrap_or(0)))
    }

    /// The number of a file, which no other file has as long as it exists.
    pub(super) fn number(&self, name: &str) -> Result<Option<u64>> {
        Ok(self.version(name)?.map(|stamp| stamp.0))
    }

    /// Moves a file, over one that stands there. False where it is not there to be moved.
    pub(super) fn rename(&self, name: &str, to: &Self, new: &str) -> Result<bool> {
        match fs::renameat(&self.0, name, &to.0, new) {
            Ok(()) => Ok(true),
            Err(Errno::NOENT) => Ok(false),
            Err(Errno::ISDIR) => Err(not_a_file()),
            Err(errno) => Err(failed("move a file to its path", errno.into())),
        }
    }

    /// Moves a file to a name that no file has. False if one has it, which is left as it is.
    ///
    /// Where the system has no such call, a program that does not take the lock of the scope can
    /// make a file of that name in between.
    pub(super) fn rename_new(&self, name: &str, to: &Self, new: &str) -> Result<bool> {
        #[cfg(any(target_os = "linux", target_os = "android", target_vendor = "apple"))]
        match fs::renameat_with(&self.0, name, &to.0, new, fs::RenameFlags::NOREPLACE) {
            Ok(()) => return Ok(true),
            Err(Errno::EXIST) => return Ok(false),
            // Not every file system knows it.
            Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => {}
            Err(errno) => return Err(failed("move a file to its path", errno.into())),
        }
        match to.version(new)?.is_some() {
            true => Ok(false),
            false => self.rename(name, to, new),
        }
    }

    /// Removes a file; false where there is none.
    pub(super) fn remove(&self, name: &str) -> Result<bool> {
        let removed = fs::unlinkat(&self.0, name, AtFlags::empty());
        Ok(found(removed, "remove a file")?.is_some())
    }

    /// Removes a directory; false where it is not empty or not there.
    pub(super) fn remove_directory(&self, name: &str) -> Result<bool> {
        match fs::unlinkat(&self.0, name, AtFlags::REMOVEDIR) {
            Ok(()) => Ok(true),
            Err(Errno::NOENT | Errno::NOTEMPTY | Errno::EXIST | Errno::NOTDIR) => Ok(false),
            Err(errno) => Err(failed("remove a directory", errno.into())),
        }
    }

    /// Has what was done in the directory on the disk.
    pub(super) fn sync(&self, durable: bool) -> Result<()> {
        match durable {
            true => fs::fsync(&self.0)
                .map_err(|errno| failed("write the directory to the disk", errno.into())),
            false => Ok(()),
        }
    }

    /// The same after a change that others may see already: if it fails, the change may be on the
    /// disk or not.
    pub(super) fn sync_change(&self, durable: bool) -> Result<()> {
        self.sync(durable).map_err(outcome_unknown)
    }

    /// Has all that was written to the file system on the disk.
    pub(super) fn sync_all(&self, durable: bool) -> Result<()> {
        if !durable {
            return Ok(());
        }
        #[cfg(any(target_os = "linux", target_os = "android"))]
        fs::syncfs(&self.0).map_err(|errno| failed("write the files to the disk", errno.into()))?;
        Ok(())
    }

    /// Whether there is a file of this name, and which.
    pub(super) fn version(&self, name: &str) -> Result<Option<FileVersion>> {
        let stat = found(fs::statat(&self.0, name, AtFlags::SYMLINK_NOFOLLOW), "look for a file")?;
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

    /// Reports something that is no file where one belongs.
    pub(super) fn check_free(&self, name: &str) -> Result<()> {
        match self.version(name)?.is_some() && !self.is_file(name)? {
            false => Ok(()),
            true => Err(not_a_file()),
        }
    }

    pub(super) fn is_file(&self, name: &str) -> Result<bool> {
        let stat = found(fs::statat(&self.0, name, AtFlags::SYMLINK_NOFOLLOW), "look for a file")?;
        Ok(stat.is_some_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile))
    }

    /// Opens the file that processes lock, and makes it where it does not stand.
    pub(super) fn open_lock(&self, name: &str) -> Result<File> {
        let flags =
            OFlags::RDWR | OFlags::CREATE | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK;
        let fd = fs::openat(&self.0, name, flags, FILE_MODE);
        Ok(File::from(fd.map_err(|errno| failed("open the file that is locked", errno.into()))?))
    }

    /// What is in the directory, streaming.
    pub(super) fn entries(&self) -> Result<Entries> {
        Entries::read_from(self.0.as_fd())
            .map_err(|errno| failed("list the directory", errno.into()))
    }
}

/// The name of an entry, and whether it is a directory; none for what is neither that nor a file,
/// and for names that are not hilcat's.
pub(super) fn entry(
    directory: &Dir,
    entry: &rustix::fs::DirEntry,
) -> Result<Option<(String, bool)>> {
    let Some(name) = name_of(entry.file_name()) else { return Ok(None) };
    let kind = match entry.file_type() {
        // Some file systems do not say it in the listing.
        FileType::Unknown => {
            let stat = fs::statat(&directory.0, name, AtFlags::SYMLINK_NOFOLLOW);
            match found(stat, "look at a file")? {
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

/// What is not there is no error.
fn found<T>(result: rustix::io::Result<T>, action: &str) -> Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(Errno::NOENT) => Ok(None),
        Err(errno) => Err(failed(action, errno.into())),
    }
}

/// The error of something else that stands where a file or a directory belongs.
fn not_a_file() -> Error {
    Error::unsupported("a directory or a special file stands where the file of this key belongs")
}

/// A failure of the file system.
pub(super) fn failed(action: &str, error: std::io::Error) -> Error {
    let errno = Errno::from_io_error(&error);
    if errno == Some(Errno::LOOP) {
        return Error::new(
            ErrorKind::Io,
            format!("cannot {action}: a symbolic link stands there, which is not followed"),
        );
    }
    // Linux says so of a symbolic link, too, where a directory is asked for.
    if errno == Some(Errno::NOTDIR) {
        return Error::unsupported(format!(
            "cannot {action}: a file, or a symbolic link, stands where a directory belongs"
        ));
    }
    Error::new(ErrorKind::Io, format!("cannot {action}: {error}")).with_source(error)
}

/// The error of a failure of the file system after a change was begun that may take effect.
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
