//! Errors that servers report.

use diesel::result::{DatabaseErrorInformation, DatabaseErrorKind, Error};

/// An error that a server reported. Diesel's trait has no method for the error code, so the message
/// ends with it in brackets: `[42P01]`, `[1146]`. Parts that may contain a value of a record are
/// omitted.
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

    /// Adds the table, column and constraint that the error refers to.
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

/// Returns the code at the end of an error's message.
pub(in crate::backends::sql) fn code(info: &dyn DatabaseErrorInformation) -> Option<&str> {
    info.message().strip_suffix(']')?.rsplit_once('[').map(|(_, code)| code)
}

/// Returns the error of a lost connection: the outcome of the call is unknown.
pub(in crate::backends::sql) fn closed(message: impl Into<String>) -> Error {
    Error::DatabaseError(DatabaseErrorKind::ClosedConnection, Box::new(message.into()))
}

/// Returns whether an error reports a lost connection.
#[cfg(feature = "postgresql")]
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
