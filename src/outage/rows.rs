//! Rows between the form that a lazy scope promises and the one that the opened scope has.

use crate::store::{Rows, ScopeStore};
use crate::{Result, Row, Value};

/// Whether the promised rows and the stored ones end with hilcat's own column for the expiry.
#[derive(Debug, Clone, Copy)]
pub(super) struct Forms {
    pub(super) promised: bool,
    pub(super) stored: bool,
}

impl Forms {
    pub(super) fn of(promised: bool, scope: &dyn ScopeStore) -> Self {
        Self { promised, stored: scope.schema().has_own_expiry_column() }
    }

    /// A row as the opened scope has it. An expiry that has no place there is dropped: only scopes
    /// that use none have no place.
    pub(super) fn stored(self, row: Row) -> Row {
        convert(row, self.promised, self.stored)
    }

    pub(super) fn stored_each(self, rows: Vec<Row>) -> Vec<Row> {
        rows.into_iter().map(|row| self.stored(row)).collect()
    }

    /// A row as it was promised.
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
