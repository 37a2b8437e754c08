//! The calls of a scope on a connection that the caller owns: part of his transaction.

use crate::backends::sql::dialect::Dialect;
use crate::backends::sql::error::CallError;
use crate::backends::sql::statement::Conn;
use crate::backends::sql::table::TableInner;
use crate::{Key, Result, Row, Value};

/// The calls of a scope on one connection. Whatever writes by several statements does it in a
/// transaction, which inside the caller's is a savepoint: it is done or not, and the caller can go
/// on.
pub trait JoinedStore {
    /// As the store's.
    fn exists(&mut self, key: &Key) -> Result<bool>;
    /// As the store's.
    fn fetch(&mut self, key: &Key) -> Result<Option<Row>>;
    /// As the store's.
    fn fetch_many(&mut self, keys: &[Key]) -> Result<Vec<Option<Row>>>;
    /// As the store's.
    fn set(&mut self, row: Row) -> Result<()>;
    /// As the store's.
    fn update(&mut self, row: Row) -> Result<Option<Row>>;
    /// As the store's.
    fn set_many(&mut self, rows: Vec<Row>) -> Result<()>;
    /// As the store's.
    fn remove_expired(&mut self, keys: &[Key], at: i64) -> Result<()>;
    /// As the store's.
    fn touch(&mut self, key: &Key, at: i64, expires: Value) -> Result<bool>;
    /// As the store's.
    fn pop(&mut self, key: &Key) -> Result<Option<Row>>;
    /// As the store's.
    fn pop_many(&mut self, keys: &[Key]) -> Result<Vec<Option<Row>>>;
}

/// A table on a connection.
pub(crate) struct Joined<'a, D: Dialect, C> {
    pub(crate) table: &'a TableInner<D>,
    pub(crate) connection: &'a mut C,
}

impl<D: Dialect, C: Conn<D>> Joined<'_, D, C> {
    fn run<T>(
        &mut self,
        call: impl FnOnce(&TableInner<D>, &mut C) -> Result<T, CallError>,
    ) -> Result<T> {
        call(self.table, self.connection).map_err(CallError::into_error::<D>)
    }
}

impl<D: Dialect, C: Conn<D>> JoinedStore for Joined<'_, D, C> {
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
