//! Classification of Diesel's errors, and their conversion to the public [`Error`].

use diesel::result::{
    DatabaseErrorInformation, DatabaseErrorKind, DeserializeFieldError, Error as DieselError,
};

use crate::remote::Outcome;
use crate::{Error, ErrorKind};

type BoxedError = Box<dyn std::error::Error + Send + Sync>;

/// The class of an engine's error, which decides whether the call is repeated and as what it is
/// reported.
#[cfg_attr(
    not(all(feature = "sqlite", feature = "mysql")),
    allow(dead_code, reason = "no engine reports all classes")
)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ErrorClass {
    /// A lock was not granted in time. The call had no effect.
    Busy,
    /// The statement exceeded its time limit. The call had no effect.
    TooLong,
    /// A serialization failure or deadlock. The call had no effect and can be repeated.
    Conflict,
    /// A prepared statement no longer matches its table, or no longer exists. The call had no
    /// effect and can be repeated at once.
    StaleStatement,
    /// A value or statement exceeds a limit of the engine. The call had no effect.
    TooLarge,
    /// The server rejects writes, for example after a failover. The call had no effect and can
    /// succeed on a new connection.
    ReadOnly,
    /// The server rejects statements, for example as a cluster node without quorum. The call had no
    /// effect and can succeed on a new connection.
    NotReady,
    /// A table does not exist.
    NoTable,
    /// A column does not exist.
    NoColumn,
    /// The disk failed. The outcome of the call is unknown.
    DiskError,
    /// The connection was lost. The outcome of the call is unknown.
    ConnectionLost,
    /// Any other error.
    Other,
}

/// The classification of an engine's errors.
pub(crate) trait Classify {
    /// Returns the class of an error that the engine reported.
    fn classify(info: &dyn DatabaseErrorInformation) -> ErrorClass;
}

impl ErrorClass {
    /// Returns what is known about the effect of a call that ended with this error.
    pub(crate) fn outcome(self) -> Outcome {
        match self {
            Self::Busy
            | Self::TooLong
            | Self::Conflict
            | Self::StaleStatement
            | Self::ReadOnly
            | Self::NotReady => Outcome::NotDone,
            _ => Outcome::Unknown,
        }
    }

    /// Whether the server as a whole rejects calls, so that a new connection can reach another one.
    pub(crate) fn is_server_refusal(self) -> bool {
        matches!(self, Self::ReadOnly | Self::NotReady)
    }
}

/// The error of a transaction or of a call on a connection. Either variant rolls the transaction
/// back.
#[derive(Debug)]
pub(crate) enum CallError {
    /// An error of the engine or of Diesel.
    Diesel(DieselError),
    /// An error of hilcat's own.
    Hilcat(Error),
}

impl From<DieselError> for CallError {
    fn from(error: DieselError) -> Self {
        Self::Diesel(error)
    }
}

impl From<Error> for CallError {
    fn from(error: Error) -> Self {
        Self::Hilcat(error)
    }
}

impl CallError {
    /// Returns the class of the engine's error, and [`ErrorClass::Other`] for an error of hilcat's
    /// own.
    pub(crate) fn class<D: Classify>(&self) -> ErrorClass {
        match self {
            Self::Diesel(error) => classify::<D>(error),
            Self::Hilcat(_) => ErrorClass::Other,
        }
    }

    /// Turns an engine's error that `is_race` accepts into a conflict, after which the call is
    /// repeated.
    pub(crate) fn into_conflict_if(
        self,
        is_race: fn(&dyn DatabaseErrorInformation) -> bool,
    ) -> Self {
        match self {
            Self::Diesel(DieselError::DatabaseError(_, info)) if is_race(&*info) => Self::Diesel(
                DieselError::DatabaseError(DatabaseErrorKind::SerializationFailure, info),
            ),
            error => error,
        }
    }

    /// Applies `f` to an error of hilcat's own.
    pub(crate) fn map_hilcat(self, f: impl FnOnce(Error) -> Error) -> Self {
        match self {
            Self::Hilcat(error) => Self::Hilcat(f(error)),
            error => error,
        }
    }

    /// Converts the error to the public one.
    pub(crate) fn into_error<D: Classify>(self) -> Error {
        match (self.class::<D>(), self) {
            (_, Self::Hilcat(error)) => error,
            (class, Self::Diesel(error)) => {
                into_hilcat_error(error).unwrap_or_else(|error| describe(class, &error))
            }
        }
    }
}

/// The error for a record that a concurrent call wrote or removed. It is a conflict: the call is
/// repeated.
pub(crate) fn concurrent_change() -> DieselError {
    let message = "the record was changed at the same time".to_owned();
    DieselError::DatabaseError(DatabaseErrorKind::SerializationFailure, Box::new(message))
}

/// Returns the class of a Diesel error.
pub(crate) fn classify<D: Classify>(error: &DieselError) -> ErrorClass {
    match error {
        DieselError::DatabaseError(DatabaseErrorKind::ClosedConnection, _)
        | DieselError::BrokenTransactionManager => ErrorClass::ConnectionLost,
        DieselError::DatabaseError(DatabaseErrorKind::SerializationFailure, _) => {
            ErrorClass::Conflict
        }
        DieselError::DatabaseError(_, info) => D::classify(&**info),
        // The error of the commit is the cause. The rollback's counts only if it has no class.
        DieselError::RollbackErrorOnCommit { rollback_error, commit_error } => {
            match classify::<D>(commit_error) {
                ErrorClass::Other => classify::<D>(rollback_error),
                class => class,
            }
        }
        _ => ErrorClass::Other,
    }
}

/// Converts an error of the caller's own statement to the public error, with Diesel's as its
/// source.
pub(crate) fn from_caller<D: Classify>(error: DieselError) -> Error {
    let class = match classify::<D>(&error) {
        // The table need not be one of hilcat's.
        ErrorClass::NoTable | ErrorClass::NoColumn => ErrorClass::Other,
        class => class,
    };
    match into_hilcat_error(error) {
        Ok(error) => error,
        Err(error) => describe(class, &error).with_source(error),
    }
}

/// Returns the public error for an error of a class.
fn describe(class: ErrorClass, error: &DieselError) -> Error {
    let timeout = |message| Error::new(ErrorKind::Timeout, message).while_waiting();
    match (class, error) {
        // The failed rollback adds nothing to the error of the commit.
        (class, DieselError::RollbackErrorOnCommit { commit_error, .. })
            if class != ErrorClass::ConnectionLost =>
        {
            describe(class, commit_error)
        }
        (ErrorClass::Busy, _) => timeout(
            "the database was locked by another writer until the deadline passed; nothing was changed",
        ),
        // The server answered, and may have waited for a lock.
        (ErrorClass::TooLong, _) => {
            timeout("the database needed longer than the deadline; nothing was changed")
        }
        (ErrorClass::Conflict, _) => timeout(
            "gave up after repeated conflicts with other calls until the deadline passed; nothing was changed",
        ),
        (ErrorClass::StaleStatement, _) => timeout(
            "gave up after repeated changes of the table during the call; nothing was changed",
        ),
        (ErrorClass::ReadOnly, _) => Error::new(
            ErrorKind::Unavailable,
            "the server rejected writes as read-only until the deadline passed; nothing was changed; connect to a server that accepts writes",
        ),
        (ErrorClass::NotReady, _) => Error::new(
            ErrorKind::Unavailable,
            "the server rejected statements until the deadline passed, as a cluster node that is not ready or has lost contact with the other nodes; nothing was changed",
        ),
        (ErrorClass::TooLarge, DieselError::DatabaseError(_, info)) => Error::unsupported(format!(
            "the value or statement exceeds a limit of the database; nothing was changed: {}",
            info.message()
        )),
        (ErrorClass::NoTable | ErrorClass::NoColumn, DieselError::DatabaseError(_, info)) => {
            Error::changed_table(info.message())
        }
        (ErrorClass::DiskError, _) => Error::new(
            ErrorKind::Unavailable,
            "the disk failed (disk I/O error); whether the call was done is not known",
        ),
        (ErrorClass::ConnectionLost, error) => {
            let cause = match error {
                DieselError::DatabaseError(_, info) => format!(" ({})", info.message()),
                DieselError::RollbackErrorOnCommit { commit_error, .. } => {
                    format!(" ({commit_error})")
                }
                _ => String::new(),
            };
            Error::new(
                ErrorKind::Unavailable,
                format!("the connection was lost; whether the call was done is not known{cause}"),
            )
        }
        (_, DieselError::DatabaseError(DatabaseErrorKind::NotNullViolation, info)) => {
            let column = info.column_name().unwrap_or("a column");
            Error::invalid_input(format!(
                "the table does not let {column} be NULL: {}",
                info.message()
            ))
        }
        (_, DieselError::DatabaseError(_, info)) => {
            Error::new(ErrorKind::Backend, format!("the database refused: {}", info.message()))
        }
        (_, other) => Error::new(ErrorKind::Backend, format!("the database failed: {other}")),
    }
}

/// Extracts the hilcat error that Diesel wraps, or returns Diesel's error unchanged.
pub(crate) fn into_hilcat_error(error: DieselError) -> Result<Error, DieselError> {
    match error {
        DieselError::SerializationError(inner) => {
            inner.downcast::<Error>().map(|error| *error).map_err(DieselError::SerializationError)
        }
        DieselError::DeserializationError(inner) => {
            from_column(inner).map_err(DieselError::DeserializationError)
        }
        DieselError::QueryBuilderError(inner) => {
            inner.downcast::<Error>().map(|error| *error).map_err(DieselError::QueryBuilderError)
        }
        error => Err(error),
    }
}

/// Extracts the hilcat error from one that Diesel may have labelled with the column it read.
fn from_column(inner: BoxedError) -> Result<Error, BoxedError> {
    let column = match inner.downcast::<DeserializeFieldError>() {
        Ok(column) => column,
        Err(inner) => return inner.downcast::<Error>().map(|error| *error),
    };
    match (column.error.downcast_ref::<Error>(), &column.field_name) {
        (Some(error), Some(name)) => Ok(error.clone().with_column(name)),
        (Some(error), None) => Ok(error.clone()),
        (None, _) => Err(column),
    }
}
