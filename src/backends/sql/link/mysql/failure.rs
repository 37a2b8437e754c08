//! The client's errors as Diesel's.

use diesel::result::{DatabaseErrorKind, Error};

use crate::backends::sql::link::error::{ServerError, closed};

/// The codes whose messages name tables, columns, types and limits, and never hold a value. Of all
/// others the text is left out: `Duplicate entry '...'`, `Incorrect string value: '...'`.
const SAFE_TO_TELL: &[u16] = &[
    1007, 1008, 1040, 1044, 1045, 1046, 1048, 1049, 1050, 1051, 1054, 1059, 1060, 1061, 1064, 1067,
    1068, 1070, 1071, 1072, 1074, 1075, 1101, 1103, 1112, 1113, 1115, 1117, 1118, 1130, 1142, 1143,
    1146, 1153, 1163, 1166, 1170, 1205, 1213, 1226, 1227, 1235, 1264, 1265, 1273, 1290, 1298, 1317,
    1364, 1390, 1406, 1461, 1698, 1792, 1969, 3024, 3157, 3159, 4025, 4031,
];

pub(super) fn from_client(error: mysql::Error) -> Error {
    match error {
        mysql::Error::MySqlError(server) => {
            let index = index_of(&server);
            let message = match SAFE_TO_TELL.contains(&server.code) {
                true => server.message,
                false => format!("an error of state {}", server.state),
            };
            let error = ServerError::new(message, server.code);
            let error = error.about(None, None, index.as_deref());
            Error::DatabaseError(kind(server.code), Box::new(error))
        }
        error if timed_out(&error) => closed("the deadline passed"),
        error => closed(error.to_string()),
    }
}

/// The index that a duplicate entry is of. The message may hold a value, but before the name.
fn index_of(server: &mysql::MySqlError) -> Option<String> {
    let message = (server.code == 1062).then_some(server.message.as_str())?;
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

/// Whether the server cannot encrypt, though it was asked to.
pub(super) fn is_without_tls(error: &mysql::Error) -> bool {
    matches!(error, mysql::Error::DriverError(mysql::DriverError::TlsNotSupported))
}

/// A socket's own timeout comes as "would block", inside of an error of the packet codec.
fn timed_out(error: &mysql::Error) -> bool {
    use std::io::ErrorKind::{TimedOut, WouldBlock};
    let io = match error {
        mysql::Error::IoError(io) => Some(io),
        mysql::Error::CodecError(error) => {
            std::error::Error::source(error).and_then(|cause| cause.downcast_ref())
        }
        _ => None,
    };
    io.is_some_and(|io| matches!(io.kind(), TimedOut | WouldBlock))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_value_is_told() {
        let error = |code, message: &str| {
            let server = mysql::MySqlError { state: "23000".into(), message: message.into(), code };
            from_client(mysql::Error::MySqlError(server)).to_string()
        };
        assert_eq!(
            error(1062, "Duplicate entry 'secret' for key"),
            "an error of state 23000 [1062]"
        );
        let server = |message: &str| mysql::MySqlError {
            state: "23000".into(),
            message: message.into(),
            code: 1062,
        };
        let message = "Duplicate entry 'a' for key 'b' for key 't.PRIMARY'";
        assert_eq!(index_of(&server(message)).as_deref(), Some("t.PRIMARY"));
        assert_eq!(index_of(&server("Duplicate entry 'for key 'secret")), None);
        assert_eq!(error(1146, "Table 'a.b' doesn't exist"), "Table 'a.b' doesn't exist [1146]");
    }
}
