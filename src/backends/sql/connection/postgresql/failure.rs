//! What tokio-postgres says went wrong, as Diesel's error or as hilcat's own.

use std::error::Error as _;
use std::io;

use diesel::result::{DatabaseErrorKind, Error};
use tokio_postgres::error::{DbError, SqlState};

use crate::ErrorKind;
use crate::backends::sql::connection::error::{ServerError, closed};
use crate::remote::too_large_error;

/// The error of a call.
pub(super) fn of_call(error: &tokio_postgres::Error) -> Error {
    if let Some(server) = error.as_db_error() {
        return Error::DatabaseError(kind(server.code()), Box::new(of_server(server)));
    }
    let io = error.source().and_then(|cause| cause.downcast_ref::<io::Error>());
    if let Some(error) = io.and_then(too_large_error) {
        return Error::DeserializationError(Box::new(error));
    }
    match io {
        // What was to be sent is too long for the protocol: nothing was sent.
        Some(io) if io.kind() == io::ErrorKind::InvalidInput => {
            let message = "postgresql: the values of a call do not fit one message of 2 GB";
            Error::SerializationError(Box::new(crate::Error::unsupported(message)))
        }
        _ => closed(describe(error)),
    }
}

/// The error of connecting. What another attempt cannot mend is not retryable.
pub(super) fn of_connecting(error: &tokio_postgres::Error) -> crate::Error {
    let message = match error.as_db_error() {
        Some(server) => format!("the server refused the connection: {}", server.message()),
        None => format!("the connection could not be made: {}", describe(error)),
    };
    let hopeless = error.as_db_error().is_some_and(|server| {
        let code = server.code().code();
        // Who logs in, the database, and what the session is set to.
        ["28", "3D", "22", "42"].iter().any(|class| code.starts_with(class))
    });
    crate::Error::new(ErrorKind::Unavailable, message).with_retryable(!hopeless)
}

/// The error of the first transaction behind a pooler.
pub(super) fn of_first_unit(error: &Error) -> crate::Error {
    crate::Error::unsupported(format!(
        "the server is reached through a pooler that allows no transactions, which a pooler in statement mode does not; set its mode to transaction or session for this database ({error})"
    ))
}

/// A message with its cause.
fn describe(error: &tokio_postgres::Error) -> String {
    let message = error.to_string();
    match error.source().map(ToString::to_string) {
        Some(cause) if !message.contains(&cause) => format!("{message}: {cause}"),
        _ => message,
    }
}

/// The details are left out, since they hold values of records; so is the message where it may
/// do so, too: of values that were refused, and of what triggers and functions raise.
fn of_server(server: &DbError) -> ServerError {
    let code = match is_outdated_plan(server) {
        true => OUTDATED_PLAN,
        false => server.code().code(),
    };
    // A server that is none may send a code of any length.
    let message = match (code.get(..2).unwrap_or_default(), server.detail()) {
        ("22", _) => "a value was refused".to_owned(),
        ("P0", _) => "a trigger or function raised an error".to_owned(),
        // What depends on what was to be changed; no record is in it.
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

/// In place of the code of a statement that was prepared before its table was changed ("cached plan
/// must not change result type"): the server's is that of everything it cannot do, and its message
/// is in its own language.
pub(in crate::backends::sql) const OUTDATED_PLAN: &str = "0A000 plan";

fn is_outdated_plan(server: &DbError) -> bool {
    *server.code() == SqlState::FEATURE_NOT_SUPPORTED
        && server.routine() == Some("RevalidateCachedQuery")
}

/// Whether the server closes the connection with an error of this code.
fn ends_the_session(code: &str) -> bool {
    code.starts_with("08") || code.starts_with("57P") || code == "25P03" || code == "25P04"
}
