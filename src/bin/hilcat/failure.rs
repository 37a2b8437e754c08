//! The errors of the program.

use std::fmt;
use std::io;
use std::path::Path;

/// An error that ends the program.
#[derive(Debug)]
pub(crate) enum Failure {
    /// Invalid arguments.
    Usage(String),
    /// An error of the cache or the schemas.
    Cache(hilcat::Error),
    /// An error of the named file or stream.
    Io(String, io::Error),
    /// A bad row, which was already reported.
    BadRow,
}

impl Failure {
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self::Usage(message.into())
    }

    /// Returns a conversion for errors of a file or, for `None`, of a standard stream.
    pub(crate) fn io(file: Option<&Path>, stream: &str) -> impl FnOnce(io::Error) -> Self {
        let name = file.map_or_else(|| stream.to_owned(), |file| file.display().to_string());
        move |error| Self::Io(name, error)
    }

    /// Returns whether the reader of the output closed it.
    pub(crate) fn is_broken_pipe(&self) -> bool {
        matches!(self, Self::Io(_, error) if error.kind() == io::ErrorKind::BrokenPipe)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Usage(message) => f.write_str(message),
            Self::Cache(error) => error.fmt(f),
            Self::Io(name, error) => write!(f, "{name}: {error}"),
            Self::BadRow => f.write_str("a row could not be imported"),
        }
    }
}

impl From<hilcat::Error> for Failure {
    fn from(error: hilcat::Error) -> Self {
        Self::Cache(error)
    }
}
