//! Why the program ends with an error.

use std::fmt;
use std::io;
use std::path::Path;

/// Why the program ends with an error.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The words of the command line do not fit together.
    Usage(String),
    /// The cache or the schemas.
    Cache(hilcat::Error),
    /// A file or a stream, by its name.
    Io(String, io::Error),
    /// A row was bad, and is reported already.
    BadRow,
}

impl Failure {
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self::Usage(message.into())
    }

    /// That of a file, or of a standard stream where there is none.
    pub(crate) fn io(file: Option<&Path>, stream: &str) -> impl FnOnce(io::Error) -> Self {
        let name = file.map_or_else(|| stream.to_owned(), |file| file.display().to_string());
        move |error| Self::Io(name, error)
    }

    /// Whether who reads the output has gone.
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
