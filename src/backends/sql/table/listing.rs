//! Listings, read a page at a time.

use std::collections::VecDeque;
use std::sync::Arc;

use super::{Table, TableInner};
use crate::backends::sql::dialect::Dialect;
use crate::backends::sql::dialect::expiry::Expiring;
use crate::backends::sql::dialect::statements::{Listing, PAGE};
use crate::backends::sql::statement::load_keyed;
use crate::{ColumnType, Key, Result, Row, Value};

/// The columns that a listing selects.
#[derive(Debug, Clone, Copy)]
pub(super) enum Selection {
    Keys,
    Rows,
}

impl<D: Dialect> TableInner<D> {
    /// Returns the statements of a listing and the types of its columns. With `live` the listing
    /// omits expired records, if records expire.
    fn listing(&self, selection: Selection, live: bool) -> (&Listing, &[ColumnType]) {
        let statements = &self.statements;
        let expiring = statements.expiring.as_ref().filter(|_| live);
        let of = |live: fn(&Expiring) -> &Listing, all| expiring.map_or(all, live);
        match selection {
            Selection::Keys => {
                (of(|expiring| &expiring.keys, &statements.keys), &statements.key_types)
            }
            Selection::Rows => (of(|expiring| &expiring.rows, &statements.rows), &statements.types),
        }
    }
}

/// An iterator over a listing. No transaction is open between two pages, and at most one page is in
/// memory.
pub(super) struct Pages<D: Dialect> {
    table: Arc<TableInner<D>>,
    section: Arc<[Value]>,
    selection: Selection,
    /// The time at which listed records are not expired, or `None` if all are listed.
    at: Option<Value>,
    rows: VecDeque<Row>,
    /// Whether there may be another page.
    more: bool,
    /// The key of the last row that was read.
    last: Option<Key>,
}

impl<D: Dialect> Pages<D> {
    /// Begins a listing by reading its first page.
    pub(super) fn begin(table: &Table<D>, selection: Selection, at: Option<i64>) -> Result<Self> {
        let (table, section) = (table.inner.clone(), table.section.clone());
        let at = at.filter(|_| table.statements.expiring.is_some()).map(Value::Timestamp);
        let rows = VecDeque::new();
        let mut pages = Self { table, section, selection, at, rows, more: true, last: None };
        pages.read_page()?;
        Ok(pages)
    }

    fn read_page(&mut self) -> Result<()> {
        let rows = self.next_page()?;
        self.more = rows.len() == PAGE;
        self.last = rows.last().map(|row| self.key_of(row));
        self.rows = rows.into();
        Ok(())
    }

    /// Returns the rows after the last key.
    fn next_page(&self) -> Result<Vec<Row>> {
        let (table, section) = (&*self.table, &*self.section);
        let (listing, types) = table.listing(self.selection, self.at.is_some());
        let last = self.last.as_ref().map(|key| D::stored_key(table.schema(), key));
        let sql = if last.is_none() { &listing.first } else { &listing.next };
        let after = last.as_deref().map(|key| D::key_after_values(&key.values()[section.len()..]));
        let values = section.iter().chain(&self.at).chain(after.iter().flat_map(|key| key.iter()));
        let values: &[Value] = &values.cloned().collect::<Vec<_>>();
        let key = match self.selection {
            Selection::Rows => &table.schema().key[section.len()..],
            // Of a key that cannot be read, no part can be named.
            Selection::Keys => &[],
        };
        table.read(|connection| {
            let mut rows = Vec::new();
            load_keyed::<D>(connection, sql.with(values), types, key, |row| {
                rows.push(row);
                Ok(())
            })?;
            Ok(rows)
        })
    }

    fn key_of(&self, row: &Row) -> Key {
        match self.selection {
            Selection::Keys => Key::new(row.iter().cloned()),
            Selection::Rows => self.table.schema().key_of(row),
        }
    }
}

impl<D: Dialect> Iterator for Pages<D> {
    type Item = Result<Row>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rows.is_empty()
            && self.more
            && let Err(error) = self.read_page()
        {
            self.more = false;
            return Some(Err(error));
        }
        self.rows.pop_front().map(Ok)
    }
}
