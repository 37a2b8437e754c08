//! The operations of a scope on a connection that the caller owns, as part of its transaction.

use crate::backends::sql::dialect::Dialect;
use crate::backends::sql::error::CallError;
use crate::backends::sql::statement::Conn;
use crate::backends::sql::table::TableInner;
use crate::{Key, Result, Row, Value};

/// The operations of a scope on one connection.
///
/// An operation of several statements runs in a transaction, which is a savepoint inside the
/// caller's. It therefore takes effect as a whole or not at all, and the caller's transaction can go
/// on after an error.
pub trait TransactionStore {
    /// Like the method of [`ScopeStore`](crate::store::ScopeStore).
    fn exists(&mut self, key: &Key) -> Result<bool>;
    /// Like the method of [`ScopeStore`](crate::store::ScopeStore).
    fn fetch(&mut self, key: &Key) -> Result<Option<Row>>;
    /// Like the method of [`ScopeStore`](crate::store::ScopeStore).
    fn fetch_many(&mut self, keys: &[Key]) -> Result<Vec<Option<Row>>>;
    /// Like the method of [`ScopeStore`](crate::store::ScopeStore).
    fn set(&mut self, row: Row) -> Result<()>;
    /// Like the method of [`ScopeStore`](crate::store::ScopeStore).
    fn update(&mut self, row: Row) -> Result<Option<Row>>;
    /// Like the method of [`ScopeStore`](crate::store::ScopeStore).
    fn set_many(&mut self, rows: Vec<Row>) -> Result<()>;
    /// Like the method of [`ScopeStore`](crate::store::ScopeStore).
    fn remove_expired(&mut self, keys: &[Key], at: i64) -> Result<()>;
    /// Like the method of [`ScopeStore`](crate::store::ScopeStore).
    fn touch(&mut self, key: &Key, at: i64, expires: Value) -> Result<bool>;
    /// Like the method of [`ScopeStore`](crate::store::ScopeStore).
    fn pop(&mut self, key: &Key) -> Result<Option<Row>>;
    /// Like the method of [`ScopeStore`](crate::store::ScopeStore).
    fn pop_many(&mut self, keys: &[Key]) -> Result<Vec<Option<Row>>>;
}

/// A table, accessed on the caller's connection.
pub(crate) struct TableTransaction<'a, D: Dialect, C> {
    pub(crate) table: &'a TableInner<D>,
    pub(crate) connection: &'a mut C,
}

impl<D: Dialect, C: Conn<D>> TableTransaction<'_, D, C> {
    fn run<T>(
        &mut self,
        call: impl FnOnce(&TableInner<D>, &mut C) -> Result<T, CallError>,
    ) -> Result<T> {
        call(self.table, self.connection).map_err(CallError::into_error::<D>)
    }
}

impl<D: Dialect, C: Conn<D>> TransactionStore for TableTransaction<'_, D, C> {
    fn exists(&mut self, key: &Key) -> Result<bool> {
        self.run(|table, connection| table.exists(connection, key))
    }

    fn fetch(&mut self, key: &Key) -> Result<Option<Row>> {
        self.run(|table, connection| table.fetch(connection, key))
    }

    fn fetch_many(&mut self, keys: &[Key]) -> Result<Vec<Option<Row>>> {
        self.run(|table, connection| table.fetch_many(connection, keys))
    }

    fn set(&mut self, row: Row) -> Result<()> {
        let row = self.table.validate_row(row)?;
        self.run(|table, connection| table.set(connection, &row))
    }

    fn update(&mut self, row: Row) -> Result<Option<Row>> {
        let row = self.table.validate_row(row)?;
        self.run(|table, connection| table.update(connection, &row))
    }

    fn set_many(&mut self, rows: Vec<Row>) -> Result<()> {
        let rows = self.table.validate_rows(rows)?;
        self.run(|table, connection| table.set_many(connection, &rows))
    }

    fn remove_expired(&mut self, keys: &[Key], at: i64) -> Result<()> {
        self.run(|table, connection| table.remove_expired(connection, keys, at))
    }

    fn touch(&mut self, key: &Key, at: i64, expires: Value) -> Result<bool> {
        self.run(|table, connection| table.touch(connection, key, at, &expires))
    }

    fn pop(&mut self, key: &Key) -> Result<Option<Row>> {
        self.run(|table, connection| table.pop(connection, key))
    }

    fn pop_many(&mut self, keys: &[Key]) -> Result<Vec<Option<Row>>> {
        self.run(|table, connection| table.pop_many(connection, keys))
    }
}
