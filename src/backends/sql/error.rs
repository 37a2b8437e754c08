//! From Diesel's errors to the one public error.

use diesel::result::{
    DatabaseErrorInformation, DatabaseErrorKind, DeserializeFieldError, Error as DieselError,
};

use super::dialect::{Dialect, Failure};
use crate::{Error, ErrorKind};

type Unknown = Box<dyn std::error::Error + Send + Sync>;

/// Why a transaction or a call on a connection ended: the engine's error, or one of our own that
/// has the transaction rolled back.
#[derive(Debug)]
pub(crate) enum Failed {
    Engine(DieselError),
    Own(Error),
}

impl From<DieselError> for Failed {
    fn from(error: DieselError) -> Self {
        Self::Engine(error)
    }
}

impl From<Error> for Failed {
    fn from(error: Error) -> Self {
        Self::Own(error)
    }
}

impl Failed {
    /// What an error of the engine says.
    pub(crate) fn failure<D: Dialect>(&self) -> Failure {
        match self {
            Self::Engine(error) => failure::<D>(error),
            Self::Own(_) => Failure::Other,
        }
    }

    /// The failure, or one after which the call is run again, where the engine's error `is_race`.
    pub(crate) fn or_again(self, is_race: fn(&dyn DatabaseErrorInformation) -> bool) -> Self {
        match self {
            Self::Engine(DieselError::DatabaseError(_, info)) if is_race(&*info) => Self::Engine(
                DieselError::DatabaseError(DatabaseErrorKind::SerializationFailure, info),
            ),
            failed => failed,
        }
    }

    /// The public error.
    pub(crate) fn into_error<D: Dialect>(self) -> Error {
        match (self.failure::<D>(), self) {
            (_, Self::Own(error)) => error,
            (failure, Self::Engine(error)) => from_diesel(failure, error),
        }
    }
}

/// The error for a record that another caller wrote or removed during the call, which is run again.
pub(crate) fn met_another() -> DieselError {
    let message = "the record was changed at the same time".to_owned();
    DieselError::DatabaseError(DatabaseErrorKind::SerializationFailure, Box::new(message))
}

/// What an error of the engine says.
pub(crate) fn failure<D: Dialect>(error: &DieselError) -> Failure {
    match error {
        DieselError::DatabaseError(DatabaseErrorKind::ClosedConnection, _)
        | DieselError::BrokenTransactionManager => Failure::Lost,
        DieselError::DatabaseError(DatabaseErrorKind::SerializationFailure, _) => Failure::Again,
        DieselError::DatabaseError(_, info) => D::failure(&**info),
        // The commit says what happened, unless it does not know itself.
        DieselError::RollbackErrorOnCommit { rollback_error, commit_error } => {
            match failure::<D>(commit_error) {
                Failure::Other => failure::<D>(rollback_error),
                known => known,
            }
        }
        _ => Failure::Other,
    }
}

fn from_diesel(failure: Failure, error: DieselError) -> Error {
    match own(error) {
        Ok(error) => error,
        Err(error) => describe(failure, &error),
    }
}

/// The public error for one of a statement of the caller's own, with Diesel's as its source.
pub(crate) fn from_caller<D: Dialect>(error: DieselError) -> Error {
    let failure = match failure::<D>(&error) {
        // It need not be a table of hilcat's.
        Failure::NoTable | Failure::NoColumn => Failure::Other,
        failure => failure,
    };
    match own(error) {
        Ok(error) => error,
        Err(error) => describe(failure, &error).with_source(error),
    }
}

fn describe(failure: Failure, error: &DieselError) -> Error {
    match (failure, error) {
        // That it could not be rolled back afterwards says nothing.
        (failure, DieselError::RollbackErrorOnCommit { commit_error, .. })
            if failure != Failure::Lost =>
        {
            describe(failure, commit_error)
        }
        (Failure::Busy, _) => Error::new(
            ErrorKind::Timeout,
            "the database was locked by another writer until the deadline passed; nothing was changed",
        )
        .while_waiting(),
        // It did answer, and may have waited for a lock.
        (Failure::TooLong, _) => Error::new(
            ErrorKind::Timeout,
            "the database needed longer than the deadline; nothing was changed",
        )
        .while_waiting(),
        (Failure::Again, _) => Error::new(
            ErrorKind::Timeout,
            "gave up after repeated conflicts with other calls until the deadline passed; nothing was changed",
        )
        .while_waiting(),
        (Failure::Stale, _) => Error::new(
            ErrorKind::Timeout,
            "gave up after repeated changes of the table during the call; nothing was changed",
        )
        .while_waiting(),
        (Failure::ReadOnly, _) => Error::new(
            ErrorKind::Unavailable,
            "the server takes no writes (it is read-only), and did not until the deadline passed; nothing was changed",
        ),
        (Failure::NotReady, _) => Error::new(
            ErrorKind::Unavailable,
            "the server takes no statements (it is a node of a cluster that is not ready, or out of touch with the others), and did not until the deadline passed; nothing was changed",
        ),
        (Failure::TooLarge, DieselError::DatabaseError(_, info)) => Error::unsupported(format!(
            "the database cannot hold it; nothing was changed: {}",
            info.message()
        )),
        (Failure::NoTable | Failure::NoColumn, DieselError::DatabaseError(_, info)) => {
            Error::changed_table(info.message())
        }
        (Failure::Disk, _) => Error::new(
            ErrorKind::Unavailable,
            "the disk failed (disk I/O error); whether the call was done is not known",
        ),
        (Failure::Lost, error) => {
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

/// An error of our own that travelled through Diesel.
pub(crate) fn own(error: DieselError) -> Result<Error, DieselError> {
    match error {
        DieselError::SerializationError(inner) => {
            inner.downcast::<Error>().map(|error| *error).map_err(DieselError::SerializationError)
        }
        DieselError::DeserializationError(inner) => {
            own_of_column(inner).map_err(DieselError::DeserializationError)
        }
        DieselError::QueryBuilderError(inner) => {
            inner.downcast::<Error>().map(|error| *error).map_err(DieselError::QueryBuilderError)
        }
        error => Err(error),
    }
}

/// The same where Diesel may have named the column that it read.
fn own_of_column(error: Unknown) -> Result<Error, Unknown> {
    let column = match error.downcast::<DeserializeFieldError>() {
        Ok(column) => column,
        Err(error) => return error.downcast::<Error>().map(|error| *error),
    };
    match (column.error.downcast_ref::<Error>(), &column.field_name) {
        (Some(error), Some(name)) => Ok(error.clone().with_column(name)),
        (Some(error), None) => Ok(error.clone()),
        (None, _) => Err(column),
    }
}

/// The public error of a failed migration, which Diesel gives without a type.
pub(crate) fn from_migration<D: Dialect>(error: Unknown) -> Failed {
    match error.downcast::<DieselError>() {
        Ok(error) => Failed::Engine(*error),
        Err(other) => Failed::Own(Error::new(
            ErrorKind::Backend,
            format!("{} could not be migrated: {other}", D::NAME),
        )),
    }
}
