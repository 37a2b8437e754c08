//! The destination of an export: a file that is replaced atomically, or a stream.
//!
//! The new file is written in the same directory and synced to disk before it is renamed to its
//! final name, so a failure leaves the previous file unchanged. On Linux the new file has no name
//! until then, so nothing is left of it even if the process is killed. Elsewhere it has a temporary
//! name, and is removed if the export fails.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// A destination that is being written.
pub(crate) enum Target {
    /// Standard output, a pipe or a device, which cannot be replaced.
    Stream(Box<dyn Write>),
    File(Replacement),
}

/// A file that replaces another one when it is complete.
pub(crate) struct Replacement {
    file: File,
    place: PathBuf,
    /// The temporary name, if the file has one.
    temporary: Option<Temporary>,
}

/// A temporary file, which is removed on drop.
struct Temporary(PathBuf);

impl Drop for Temporary {
    fn drop(&mut self) {
        // An error is ignored, since the failure of the export is reported.
        let _ = fs::remove_file(&self.0);
    }
}

impl Target {
    /// Opens a file, or standard output.
    pub(crate) fn open(file: Option<&Path>) -> io::Result<Self> {
        let Some(file) = file else { return Ok(Self::Stream(Box::new(io::stdout().lock()))) };
        let place = place_of(file);
        match fs::metadata(&place) {
            // The path names an open descriptor, which is written directly.
            _ if is_descriptor(file) => {}
            Ok(there) if there.is_file() => {
                // A file without write permission is not replaced.
                OpenOptions::new().write(true).open(&place)?;
                return Replacement::new(place, Some(&there)).map(Self::File);
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Replacement::new(place, None).map(Self::File);
            }
            _ => {}
        }
        Ok(Self::Stream(Box::new(File::create(file)?)))
    }

    /// Completes the export: flushes a stream, or moves a file to its place.
    pub(crate) fn finish(self) -> io::Result<()> {
        match self {
            Self::Stream(mut stream) => stream.flush(),
            Self::File(file) => file.finish(),
        }
    }
}

impl Write for Target {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Stream(stream) => stream.write(bytes),
            Self::File(file) => file.file.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Stream(stream) => stream.flush(),
            Self::File(file) => file.file.flush(),
        }
    }
}

/// Returns the file to replace: for a symbolic link, its target.
fn place_of(file: &Path) -> PathBuf {
    match (fs::canonicalize(file), fs::read_link(file)) {
        (Ok(place), _) => place,
        // The target of the link does not exist yet.
        (Err(_), Ok(link)) => directory_of(file).join(link),
        _ => file.to_owned(),
    }
}

fn is_descriptor(file: &Path) -> bool {
    let places = ["/dev/fd", "/dev/stdin", "/dev/stdout", "/dev/stderr", "/proc"];
    places.iter().any(|place| file.starts_with(place))
}

fn directory_of(place: &Path) -> &Path {
    place.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

impl Replacement {
    fn new(place: PathBuf, old: Option<&fs::Metadata>) -> io::Result<Self> {
        let made = match unnamed(directory_of(&place)) {
            Some(file) => Self { file, place, temporary: None },
            None => {
                let (file, temporary) =
                    named(&place).map_err(|error| no_temporary_file(&place, &error))?;
                Self { file, place, temporary: Some(temporary) }
            }
        };
        if let Some(old) = old {
            made.file.set_permissions(old.permissions())?;
            keep_owner(&made.file, old);
        }
        Ok(made)
    }

    fn finish(mut self) -> io::Result<()> {
        self.file.sync_all()?;
        let temporary = match self.temporary.take() {
            Some(temporary) => temporary,
            None => self.give_name()?,
        };
        fs::rename(&temporary.0, &self.place)?;
        // The temporary name no longer exists.
        std::mem::forget(temporary);
        sync(directory_of(&self.place))
    }

    /// Gives the unnamed file a temporary name.
    fn give_name(&mut self) -> io::Result<Temporary> {
        for number in 0.. {
            let temporary = temporary_name(&self.place, number);
            match link(&self.file, &temporary) {
                Ok(()) => return Ok(Temporary(temporary)),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(_) => break,
            }
        }
        // Without /proc, an unnamed file cannot be linked, so its content is copied.
        let (mut copy, temporary) = named(&self.place)?;
        copy.set_permissions(self.file.metadata()?.permissions())?;
        io::Seek::rewind(&mut self.file)?;
        io::copy(&mut self.file, &mut copy)?;
        copy.sync_all()?;
        Ok(temporary)
    }
}

fn temporary_name(place: &Path, number: u32) -> PathBuf {
    let process = std::process::id();
    directory_of(place).join(format!(".hilcat-export-{process}-{number}"))
}

fn named(place: &Path) -> io::Result<(File, Temporary)> {
    let mut number = 0;
    loop {
        let name = temporary_name(place, number);
        match OpenOptions::new().read(true).write(true).create_new(true).open(&name) {
            Ok(file) => return Ok((file, Temporary(name))),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => number += 1,
            Err(error) => return Err(error),
        }
    }
}

fn no_temporary_file(place: &Path, error: &io::Error) -> io::Error {
    let directory = directory_of(place).display();
    io::Error::new(
        error.kind(),
        format!(
            "cannot create a temporary file in {directory}: {error}; name a file in a writable directory, or export to standard output"
        ),
    )
}

/// Creates a file without a name in a directory; `None` if that is not supported.
#[cfg(target_os = "linux")]
fn unnamed(directory: &Path) -> Option<File> {
    use rustix::fs::{Mode, OFlags, open};
    let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
    open(directory, flags, Mode::from_raw_mode(0o666)).ok().map(File::from)
}

#[cfg(not(target_os = "linux"))]
fn unnamed(_: &Path) -> Option<File> {
    None
}

#[cfg(target_os = "linux")]
fn link(file: &File, name: &Path) -> io::Result<()> {
    use std::os::fd::AsRawFd as _;

    use rustix::fs::{AtFlags, CWD, linkat};
    let descriptor = format!("/proc/self/fd/{}", file.as_raw_fd());
    Ok(linkat(CWD, descriptor, CWD, name, AtFlags::SYMLINK_FOLLOW)?)
}

#[cfg(not(target_os = "linux"))]
fn link(_: &File, _: &Path) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Gives a file the owner of the replaced file, if that is permitted.
#[cfg(unix)]
fn keep_owner(file: &File, old: &fs::Metadata) {
    use std::os::unix::fs::{MetadataExt as _, fchown};
    let _ = fchown(file, Some(old.uid()), Some(old.gid()));
}

#[cfg(not(unix))]
fn keep_owner(_: &File, _: &fs::Metadata) {}

#[cfg(unix)]
fn sync(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}

#[cfg(not(unix))]
fn sync(_: &Path) -> io::Result<()> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_in_dev_shm_is_no_descriptor() {
        let is = |file: &str| is_descriptor(Path::new(file));
        assert!(["/dev/stdout", "/dev/fd/3", "/proc/self/fd/1"].iter().all(|file| is(file)));
        assert!(!["/dev/shm/old.csv", "/dev/stdouts", "old.csv"].iter().any(|file| is(file)));
    }
}
