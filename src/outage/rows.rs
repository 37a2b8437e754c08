//! Converts rows between the form that a lazy scope promises and that of the opened scope.

use crate::store::{Rows, ScopeStore};
use crate::{Result, Row, Value};

/// Whether the promised rows and the stored rows end with hilcat's own expiry column.
#[derive(Debug, Clone, Copy)]
pub(super) struct Forms {
    pub(super) promised: bool,
    pub(super) stored: bool,
}

impl Forms {
    pub(super) fn of(promised: bool, scope: &dyn ScopeStore) -> Self {
        Self { promised, stored: scope.schema().has_own_expiry_column() }
    }

    /// Converts a row to the form of the opened scope. Without an expiry column the expiry is
    /// dropped; only scopes that do not use expiry lack the column.
    pub(super) fn stored(self, row: Row) -> Row {
        convert(row, self.promised, self.stored)
    }

    pub(super) fn stored_each(self, rows: Vec<Row>) -> Vec<Row> {
        rows.into_iter().map(|row| self.stored(row)).collect()
    }

    /// Converts a row to the promised form.
    pub(super) fn promised(self, row: Row) -> Row {
        convert(row, self.stored, self.promised)
    }

    pub(super) fn promised_each(self, rows: Vec<Option<Row>>) -> Vec<Option<Row>> {
        rows.into_iter().map(|row| row.map(|row| self.promised(row))).collect()
    }

    pub(super) fn promised_rows(self, rows: Rows) -> Rows {
        match self.promised == self.stored {
            true => rows,
            false => Box::new(rows.map(move |row: Result<Row>| row.map(|row| self.promised(row)))),
        }
    }
}

fn convert(mut row: Row, from: bool, to: bool) -> Row {
    match (from, to) {
        (true, false) => drop(row.pop()),
        (false, true) => row.push(Value::Null),
        _ => {}
    }
    row
}
