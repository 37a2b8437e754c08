//! What a server says went wrong.

use diesel::result::{DatabaseErrorInformation, DatabaseErrorKind, Error};

/// An error of a server. Diesel's trait has no place for its code, so the message ends with it in
/// brackets: `[42P01]`, `[1146]`. What else the server says is left out where it may hold a value
/// of a record.
#[derive(Debug, Default)]
pub(in crate::backends::sql) struct ServerError {
    message: String,
    table: Option<String>,
    column: Option<String>,
    constraint: Option<String>,
}

impl ServerError {
    pub(in crate::backends::sql) fn new(
        message: impl std::fmt::Display,
        code: impl std::fmt::Display,
    ) -> Self {
        Self { message: format!("{message} [{code}]"), ..Self::default() }
    }

    /// Names the table, the column and the constraint that the error is about.
    pub(in crate::backends::sql) fn about(
        mut self,
        table: Option<&str>,
        column: Option<&str>,
        constraint: Option<&str>,
    ) -> Self {
        self.table = table.map(str::to_owned);
        self.column = column.map(str::to_owned);
        self.constraint = constraint.map(str::to_owned);
        self
    }
}

impl DatabaseErrorInformation for ServerError {
    fn message(&self) -> &str {
        &self.message
    }

    fn details(&self) -> Option<&str> {
        None
    }

    fn hint(&self) -> Option<&str> {
        None
    }

    fn table_name(&self) -> Option<&str> {
        self.table.as_deref()
    }

    fn column_name(&self) -> Option<&str> {
        self.column.as_deref()
    }

    fn constraint_name(&self) -> Option<&str> {
        self.constraint.as_deref()
    }

    fn statement_position(&self) -> Option<i32> {
        None
    }
}

/// The code at the end of an error's message.
pub(in crate::backends::sql) fn code(info: &dyn DatabaseErrorInformation) -> Option<&str> {
    info.message().strip_suffix(']')?.rsplit_once('[').map(|(_, code)| code)
}

/// The error of a connection that is lost: whether the call was done is not known.
pub(in crate::backends::sql) fn closed(message: impl Into<String>) -> Error {
    Error::DatabaseError(DatabaseErrorKind::ClosedConnection, Box::new(message.into()))
}

/// Whether an error says that the connection is lost.
pub(in crate::backends::sql) fn is_closed(error: &Error) -> bool {
    matches!(error, Error::DatabaseError(DatabaseErrorKind::ClosedConnection, _))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_code_is_read_from_the_message() {
        let error = ServerError::new("relation \"a[1]\" does not exist", "42P01");
        assert_eq!(code(&error), Some("42P01"));
        assert_eq!(code(&"no code".to_owned()), None);
    }
}
