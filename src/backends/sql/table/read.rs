//! Reading records.

use super::{Table, TableInner};
use crate::backends::sql::dialect::Dialect;
use crate::backends::sql::error::CallError;
use crate::backends::sql::statement::{Conn, Sql, find, load_one};
use crate::{ColumnType, Error, Key, Result, Row, Value};

impl<D: Dialect> Table<D> {
    /// Returns the number that a statement selects.
    pub(super) fn count(&self, sql: &Sql, values: &[Value]) -> Result<u64> {
        self.inner.read(|connection| {
            let row = load_one::<D>(connection, sql.with(values), &[ColumnType::BigInt])?;
            match row.as_deref() {
                Some([Value::Int(count)]) => Ok(u64::try_from(*count).unwrap_or(0)),
                _ => Err(Error::invalid_data("the count of the rows is no number").into()),
            }
        })
    }
}

impl<D: Dialect> TableInner<D> {
    pub(crate) fn exists(
        &self,
        connection: &mut impl Conn<D>,
        key: &Key,
    ) -> Result<bool, CallError> {
        if !self.numeric_affinity.is_empty() {
            return Ok(self.fetch(connection, key)?.is_some());
        }
        let key = D::stored_key(self.schema(), key);
        let exists = self.statements.exists.with(key.values());
        Ok(find::<D>(connection, exists, &[])?.is_some())
    }

    pub(crate) fn fetch(
        &self,
        connection: &mut impl Conn<D>,
        key: &Key,
    ) -> Result<Option<Row>, CallError> {
        let stored = D::stored_key(self.schema(), key);
        let fetch = self.statements.fetch.with(stored.values());
        let row = find::<D>(connection, fetch, &self.statements.types)?;
        Ok(row.filter(|row| self.has_key(row, key)))
    }

    pub(crate) fn fetch_many(
        &self,
        connection: &mut impl Conn<D>,
        keys: &[Key],
    ) -> Result<Vec<Option<Row>>, CallError> {
        let mut rows = D::fetch_many(connection, &self.statements, keys)?;
        for (row, key) in rows.iter_mut().zip(keys) {
            row.take_if(|row| !self.has_key(row, key));
        }
        Ok(rows)
    }

    /// Fetches the row of a key, in one statement with concurrent calls.
    pub(super) fn fetch_coalesced(&self, key: &Key) -> Result<Option<Row>> {
        let deadline = self.database.deadline();
        let fetch = |key: &Key| {
            self.with_table_repair(|database| {
                database.read_until(deadline, |connection| self.fetch(connection, key))
            })
        };
        let fetch_many = |keys: &[Key]| {
            self.with_table_repair(|database| {
                database.read_until(deadline, |connection| self.fetch_many(connection, keys))
            })
        };
        self.coalescer.fetch(key, fetch, fetch_many)
    }

    /// Returns whether a row that was found by a key has it. Where the engine converts text to
    /// numbers it also finds the row of another text with the same number.
    fn has_key(&self, row: &Row, key: &Key) -> bool {
        self.numeric_affinity.is_empty() || self.schema().key_of(row) == *key
    }
}
