//! Conversion of tokio-postgres's errors to Diesel's and hilcat's.

use std::error::Error as _;
use std::io;

use diesel::result::{DatabaseErrorKind, Error};
use tokio_postgres::error::{DbError, SqlState};

use crate::ErrorKind;
use crate::backends::sql::connection::error::{ServerError, closed};
use crate::remote::too_large_error;

/// Converts the error of a call.
pub(super) fn of_call(error: &tokio_postgres::Error) -> Error {
    if let Some(server) = error.as_db_error() {
        return Error::DatabaseError(kind(server.code()), Box::new(of_server(server)));
    }
    let io = error.source().and_then(|cause| cause.downcast_ref::<io::Error>());
    if let Some(error) = io.and_then(too_large_error) {
        return Error::DeserializationError(Box::new(error));
    }
    match io {
        // The message exceeds the limit of the protocol; nothing was sent.
        Some(io) if io.kind() == io::ErrorKind::InvalidInput => {
            let message = "postgresql: the values of a call exceed the limit of a message, 2 GB; store smaller values or batches";
            Error::SerializationError(Box::new(crate::Error::unsupported(message)))
        }
        _ => closed(describe(error)),
    }
}

/// Converts the error of connecting. One that another attempt would repeat is not retryable.
pub(super) fn of_connecting(error: &tokio_postgres::Error) -> crate::Error {
    let message = match error.as_db_error() {
        Some(server) => format!("the server rejected the connection: {}", server.message()),
        None => format!("the connection could not be established: {}", describe(error)),
    };
    let permanent = error.as_db_error().is_some_and(|server| {
        let code = server.code().code();
        // Invalid authorization, database, setting or name.
        ["28", "3D", "22", "42"].iter().any(|class| code.starts_with(class))
    });
    crate::Error::new(ErrorKind::Unavailable, message).with_retryable(!permanent)
}

/// Converts the error of the first transaction behind a pooler.
pub(super) fn of_first_transaction(error: &Error) -> crate::Error {
    crate::Error::unsupported(format!(
        "the pooler in front of the server does not allow transactions, like one in statement mode; set its mode to transaction or session for this database ({error})"
    ))
}

/// Formats an error with its cause.
fn describe(error: &tokio_postgres::Error) -> String {
    let message = error.to_string();
    match error.source().map(ToString::to_string) {
        Some(cause) if !message.contains(&cause) => format!("{message}: {cause}"),
        _ => message,
    }
}

/// Converts a server's error. Details are omitted, since they contain values of records. So are the
/// messages that may contain values: those of rejected values, and of triggers and functions.
fn of_server(server: &DbError) -> ServerError {
    let code = match is_outdated_plan(server) {
        true => OUTDATED_PLAN,
        false => server.code().code(),
    };
    // The length of the code is not trusted.
    let message = match (code.get(..2).unwrap_or_default(), server.detail()) {
        ("22", _) => "the server rejected a value".to_owned(),
        ("P0", _) => "a trigger or function raised an error".to_owned(),
        // The details name dependent objects and contain no values.
        ("0A" | "2B", Some(detail)) => format!("{}: {detail}", server.message()),
        _ => server.message().to_owned(),
    };
    ServerError::new(message, code).about(server.table(), server.column(), server.constraint())
}

fn kind(code: &SqlState) -> DatabaseErrorKind {
    match *code {
        SqlState::UNIQUE_VIOLATION => DatabaseErrorKind::UniqueViolation,
        SqlState::FOREIGN_KEY_VIOLATION => DatabaseErrorKind::ForeignKeyViolation,
        SqlState::NOT_NULL_VIOLATION => DatabaseErrorKind::NotNullViolation,
        SqlState::CHECK_VIOLATION => DatabaseErrorKind::CheckViolation,
        SqlState::EXCLUSION_VIOLATION => DatabaseErrorKind::ExclusionViolation,
        SqlState::RESTRICT_VIOLATION => DatabaseErrorKind::RestrictViolation,
        SqlState::READ_ONLY_SQL_TRANSACTION => DatabaseErrorKind::ReadOnlyTransaction,
        SqlState::T_R_SERIALIZATION_FAILURE | SqlState::T_R_DEADLOCK_DETECTED => {
            DatabaseErrorKind::SerializationFailure
        }
        _ if ends_the_session(code.code()) => DatabaseErrorKind::ClosedConnection,
        _ => DatabaseErrorKind::Unknown,
    }
}

/// Replaces the code of the error "cached plan must not change result type". The server's code is
/// that of every unsupported feature, and its message is localized.
pub(in crate::backends::sql) const OUTDATED_PLAN: &str = "0A000 plan";

fn is_outdated_plan(server: &DbError) -> bool {
    *server.code() == SqlState::FEATURE_NOT_SUPPORTED
        && server.routine() == Some("RevalidateCachedQuery")
}

/// Returns whether the server closes the connection with an error of this code.
fn ends_the_session(code: &str) -> bool {
    code.starts_with("08") || code.starts_with("57P") || code == "25P03" || code == "25P04"
}
