//! What goes wrong between the client and a server, as Diesel's errors.

use std::io;

use diesel::result::{DatabaseErrorKind, Error};

use crate::Error as OwnError;
use crate::backends::sql::connection::error::{ServerError, closed};
use crate::remote::too_large_error;

/// Why a request failed.
#[derive(Debug)]
pub(super) enum Trouble {
    /// The connection is lost.
    Io(io::Error),
    /// The server refused the request.
    Server { code: u16, state: String, message: String },
    /// The server sent what the protocol does not have there. The connection is of no use.
    Malformed(&'static str),
    /// An error of our own.
    Own(OwnError),
}

impl From<io::Error> for Trouble {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl Trouble {
    /// A connection that cannot be made, which another attempt would not change.
    pub(super) fn refused(message: impl Into<String>) -> Self {
        let error = OwnError::new(crate::ErrorKind::Unavailable, message);
        Self::Own(error.with_retryable(false))
    }

    /// The error in a packet. One from before the login has no state.
    pub(super) fn of_server(packet: &[u8]) -> Self {
        let [0xff, low, high, rest @ ..] = packet else { return Self::Malformed("a cut error") };
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

    /// Whether the connection cannot be used again.
    pub(super) fn ends_the_connection(&self) -> bool {
        !matches!(self, Self::Server { code, .. } if !closes(*code))
    }

    /// As Diesel's error.
    pub(super) fn into_diesel(self) -> Error {
        match self {
            Self::Io(error) if error.kind() == io::ErrorKind::TimedOut => {
                closed("the deadline passed")
            }
            Self::Io(error) => match too_large_error(&error) {
                Some(error) => own(error),
                None => closed(error.to_string()),
            },
            Self::Malformed(what) => closed(format!("the server sent {what}")),
            Self::Own(error) => own(error),
            Self::Server { code, state, message } => {
                let index = index_of(code, &message);
                let message = match SAFE_TO_TELL.contains(&code) {
                    true => message,
                    false => format!("an error of state {state}"),
                };
                let error = ServerError::new(message, code).about(None, None, index.as_deref());
                Error::DatabaseError(kind(code), Box::new(error))
            }
        }
    }
}

/// An error of our own, as it travels through Diesel.
fn own(error: OwnError) -> Error {
    Error::DeserializationError(Box::new(error))
}

/// Whether the server closes the connection with an error of this code.
fn closes(code: u16) -> bool {
    matches!(kind(code), DatabaseErrorKind::ClosedConnection)
}

/// The codes whose messages name tables, columns, types and limits, and never hold a value. Of all
/// others the text is left out: `Duplicate entry '...'`, `Incorrect string value: '...'`.
const SAFE_TO_TELL: &[u16] = &[
    1007, 1008, 1040, 1044, 1045, 1046, 1048, 1049, 1050, 1051, 1054, 1059, 1060, 1061, 1064, 1067,
    1068, 1070, 1071, 1072, 1074, 1075, 1101, 1103, 1112, 1113, 1115, 1117, 1118, 1130, 1142, 1143,
    1146, 1153, 1163, 1166, 1170, 1205, 1213, 1226, 1227, 1235, 1264, 1265, 1273, 1290, 1298, 1317,
    1364, 1390, 1406, 1461, 1698, 1792, 1836, 1969, 3024, 3157, 3159, 4025, 4031,
];

/// The index that a duplicate entry is of. The message may hold a value, but before the name.
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
        // Shut down, killed, too long idle.
        1053 | 1927 | 4031 => DatabaseErrorKind::ClosedConnection,
        _ => DatabaseErrorKind::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_value_is_told() {
        let error = |code, message: &str| {
            let head: &[u8] = &u16::to_le_bytes(code);
            let packet = [&[0xff], head, b"#23000", message.as_bytes()].concat();
            Trouble::of_server(&packet).into_diesel().to_string()
        };
        assert_eq!(
            error(1062, "Duplicate entry 'secret' for key"),
            "an error of state 23000 [1062]"
        );
        let early = Trouble::of_server(b"\xff\x10\x04Too many connections");
        assert_eq!(early.into_diesel().to_string(), "Too many connections [1040]");
        assert!(Trouble::of_server(b"\xff").ends_the_connection());
        let message = "Duplicate entry 'a' for key 'b' for key 't.PRIMARY'";
        assert_eq!(index_of(1062, message).as_deref(), Some("t.PRIMARY"));
        assert_eq!(index_of(1062, "Duplicate entry 'for key 'secret"), None);
        assert_eq!(error(1146, "Table 'a.b' doesn't exist"), "Table 'a.b' doesn't exist [1146]");
    }
}
