//! Errors of requests, and their conversion to Diesel's errors.

use std::io;

use diesel::result::{DatabaseErrorKind, Error};

use crate::Error as HilcatError;
use crate::backends::sql::connection::error::{ServerError, closed};
use crate::remote::too_large_error;

/// The error of a request.
#[derive(Debug)]
pub(super) enum ProtocolError {
    /// The connection was lost.
    Io(io::Error),
    /// The server rejected the request.
    Server { code: u16, state: String, message: String },
    /// The server violated the protocol. The connection cannot be used again.
    Malformed(&'static str),
    /// An error of hilcat's own.
    Hilcat(HilcatError),
}

impl From<io::Error> for ProtocolError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl ProtocolError {
    /// Returns the error of a login that fails permanently.
    pub(super) fn refused(message: impl Into<String>) -> Self {
        let error = HilcatError::new(crate::ErrorKind::Unavailable, message);
        Self::Hilcat(error.with_retryable(false))
    }

    /// Parses an error packet. One that precedes the login has no SQL state.
    pub(super) fn of_server(packet: &[u8]) -> Self {
        let [0xff, low, high, rest @ ..] = packet else {
            return Self::Malformed("a truncated error");
        };
        let (state, message) = match rest {
            [b'#', rest @ ..] if rest.len() >= 5 => rest.split_at(5),
            rest => (&b"HY000"[..], rest),
        };
        Self::Server {
            code: u16::from_le_bytes([*low, *high]),
            state: String::from_utf8_lossy(state).into_owned(),
            message: String::from_utf8_lossy(message).into_owned(),
        }
    }

    /// Returns whether the connection cannot be used again.
    pub(super) fn ends_the_connection(&self) -> bool {
        !matches!(self, Self::Server { code, .. } if !closes(*code))
    }

    /// Converts the error to Diesel's.
    pub(super) fn into_diesel(self) -> Error {
        match self {
            Self::Io(error) if error.kind() == io::ErrorKind::TimedOut => {
                closed("the deadline passed")
            }
            Self::Io(error) => match too_large_error(&error) {
                Some(error) => wrap(error),
                None => closed(error.to_string()),
            },
            Self::Malformed(what) => closed(format!("malformed response from the server: {what}")),
            Self::Hilcat(error) => wrap(error),
            Self::Server { code, state, message } => {
                let index = index_of(code, &message);
                let message = match CODES_WITHOUT_VALUES.contains(&code) {
                    true => message,
                    false => format!("an error with SQL state {state}"),
                };
                let error = ServerError::new(message, code).about(None, None, index.as_deref());
                Error::DatabaseError(kind(code), Box::new(error))
            }
        }
    }
}

/// Wraps an error of hilcat's own in Diesel's.
fn wrap(error: HilcatError) -> Error {
    Error::DeserializationError(Box::new(error))
}

/// Returns whether the server closes the connection with an error of this code.
fn closes(code: u16) -> bool {
    matches!(kind(code), DatabaseErrorKind::ClosedConnection)
}

/// The codes whose messages name tables, columns, types and limits, and never contain a value. The
/// text of other messages is omitted: `Duplicate entry '...'`, `Incorrect string value: '...'`.
const CODES_WITHOUT_VALUES: &[u16] = &[
    1007, 1008, 1040, 1044, 1045, 1046, 1048, 1049, 1050, 1051, 1054, 1059, 1060, 1061, 1064, 1067,
    1068, 1070, 1071, 1072, 1074, 1075, 1101, 1103, 1112, 1113, 1115, 1117, 1118, 1130, 1142, 1143,
    1146, 1153, 1163, 1166, 1170, 1205, 1213, 1226, 1227, 1235, 1264, 1265, 1273, 1290, 1298, 1317,
    1364, 1390, 1406, 1461, 1698, 1792, 1836, 1969, 3024, 3157, 3159, 4025, 4031,
];

/// Returns the index that rejected a duplicate entry. The message may contain a value, but only
/// before the name.
fn index_of(code: u16, message: &str) -> Option<String> {
    let message = (code == 1062).then_some(message)?;
    let (_, index) = message.strip_suffix('\'')?.rsplit_once(" for key '")?;
    Some(index.to_owned())
}

fn kind(code: u16) -> DatabaseErrorKind {
    match code {
        1062 | 1586 | 1859 => DatabaseErrorKind::UniqueViolation,
        1216 | 1217 | 1451 | 1452 | 1830 | 1834 => DatabaseErrorKind::ForeignKeyViolation,
        1048 | 1364 => DatabaseErrorKind::NotNullViolation,
        1792 | 1290 => DatabaseErrorKind::ReadOnlyTransaction,
        3819 | 4025 => DatabaseErrorKind::CheckViolation,
        // A deadlock, and MariaDB's "record has changed since last read".
        1213 | 1020 => DatabaseErrorKind::SerializationFailure,
        // Server shutdown, connection killed, idle timeout.
        1053 | 1927 | 4031 => DatabaseErrorKind::ClosedConnection,
        _ => DatabaseErrorKind::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_contain_no_values() {
        let error = |code, message: &str| {
            let head: &[u8] = &u16::to_le_bytes(code);
            let packet = [&[0xff], head, b"#23000", message.as_bytes()].concat();
            ProtocolError::of_server(&packet).into_diesel().to_string()
        };
        assert_eq!(
            error(1062, "Duplicate entry 'secret' for key"),
            "an error with SQL state 23000 [1062]"
        );
        let early = ProtocolError::of_server(b"\xff\x10\x04Too many connections");
        assert_eq!(early.into_diesel().to_string(), "Too many connections [1040]");
        assert!(ProtocolError::of_server(b"\xff").ends_the_connection());
        let message = "Duplicate entry 'a' for key 'b' for key 't.PRIMARY'";
        assert_eq!(index_of(1062, message).as_deref(), Some("t.PRIMARY"));
        assert_eq!(index_of(1062, "Duplicate entry 'for key 'secret"), None);
        assert_eq!(error(1146, "Table 'a.b' doesn't exist"), "Table 'a.b' doesn't exist [1146]");
    }
}
