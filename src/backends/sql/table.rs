//! One table as the store of a scope.

use std::any::Any;
use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;

use super::database::Inner;
use super::dialect::Dialect;
use super::error::Failed;
use super::render::{Listing, PAGE, Statements};
use super::statement::{Conn, Sql, execute, find, load, load_one};
use super::write::put;
use crate::store::{Keys, Rows, ScopeStore};
use crate::{ColumnType, Error, Key, Result, Row, Schema, Value};

/// A table of a database.
pub(super) struct Table<D: Dialect> {
    inner: Arc<TableInner<D>>,
}

pub(super) struct TableInner<D: Dialect> {
    database: Arc<Inner<D>>,
    statements: Statements,
    /// The positions of the columns whose values the engine may be unable to hold.
    checked: Vec<usize>,
    restore: Restore<D>,
}

/// Makes a table again that was dropped behind hilcat's back.
type Restore<D> = fn(&Inner<D>, &Schema) -> Result<()>;

impl<D: Dialect> fmt::Debug for Table<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Table").field("name", &self.inner.schema().table).finish_non_exhaustive()
    }
}

impl<D: Dialect> Table<D> {
    pub(super) fn new(database: Arc<Inner<D>>, schema: &Arc<Schema>) -> Self {
        Self::restored_by(database, schema, Inner::restore)
    }

    /// A table that is made again in a way of its own.
    pub(super) fn restored_by(
        database: Arc<Inner<D>>,
        schema: &Arc<Schema>,
        restore: Restore<D>,
    ) -> Self {
        let checked =
            schema.columns.iter().enumerate().filter(|(_, column)| may_not_fit(column.ty));
        let checked = checked.map(|(at, _)| at).collect();
        let statements = Statements::new::<D>(schema);
        Self { inner: Arc::new(TableInner { database, statements, checked, restore }) }
    }

    pub(super) fn inner(&self) -> &TableInner<D> {
        &self.inner
    }
}

/// Whether an engine may be unable to hold some value of a type.
fn may_not_fit(ty: ColumnType) -> bool {
    use ColumnType::{Bytes, Double, Json, Real, Text, Varchar};
    matches!(ty, Real | Double | Text | Varchar(_) | Bytes | Json)
}

impl<D: Dialect> TableInner<D> {
    pub(super) fn schema(&self) -> &Schema {
        &self.statements.schema
    }

    /// Runs a call; where the table was dropped or changed behind hilcat's back, makes it again or
    /// adds to it what can be added, and runs the call once more.
    pub(super) fn restoring<T>(&self, call: impl Fn(&Inner<D>) -> Result<T>) -> Result<T> {
        match call(&self.database) {
            Err(error) if error.is_changed_table() => {
                (self.restore)(&self.database, self.schema())?;
                call(&self.database)
            }
            result => result,
        }
    }

    fn check_row(&self, row: &Row) -> Result<()> {
        self.checked.iter().try_for_each(|&at| {
            D::check_value(&row[at])
                .map_err(|error| error.with_column(&self.schema().columns[at].name))
        })
    }

    /// A row as it is written, once it is known that the engine can hold it.
    pub(super) fn admit_row(&self, row: Row) -> Result<Row> {
        self.check_row(&row)?;
        Ok(D::stored_row(self.schema(), row))
    }

    /// The same for rows, of which the wrong one is named.
    pub(super) fn admit_rows(&self, rows: Vec<Row>) -> Result<Vec<Row>> {
        for row in &rows {
            self.check_row(row).map_err(|error| self.name_row(row, error))?;
        }
        Ok(rows.into_iter().map(|row| D::stored_row(self.schema(), row)).collect())
    }

    fn name_row(&self, row: &Row, error: Error) -> Error {
        error.with_key(self.schema().key_of(row))
    }

    pub(super) fn exists(&self, connection: &mut impl Conn<D>, key: &Key) -> Result<bool, Failed> {
        let key = D::stored_key(self.schema(), key);
        let exists = self.statements.exists.with(key.values());
        Ok(find::<D>(connection, exists, &[])?.is_some())
    }

    pub(super) fn fetch(
        &self,
        connection: &mut impl Conn<D>,
        key: &Key,
    ) -> Result<Option<Row>, Failed> {
        let key = D::stored_key(self.schema(), key);
        let fetch = self.statements.fetch.with(key.values());
        Ok(find::<D>(connection, fetch, &self.statements.types)?)
    }

    pub(super) fn fetch_many(
        &self,
        connection: &mut impl Conn<D>,
        keys: &[Key],
    ) -> Result<Vec<Option<Row>>, Failed> {
        D::fetch_many(connection, &self.statements, keys)
    }

    pub(super) fn set(&self, connection: &mut impl Conn<D>, row: &Row) -> Result<(), Failed> {
        put::<D>(connection, &self.statements, row)
    }

    pub(super) fn update(
        &self,
        connection: &mut impl Conn<D>,
        row: &Row,
    ) -> Result<Option<Row>, Failed> {
        D::update(connection, &self.statements, row)
    }

    /// Writes rows, complete or not, all or none.
    pub(super) fn set_many(
        &self,
        connection: &mut impl Conn<D>,
        rows: &[Row],
    ) -> Result<(), Failed> {
        let columns = self.schema().columns.len();
        if !rows.iter().flat_map(|row| row.iter().take(columns)).any(Value::is_absent) {
            return D::put_all(connection, &self.statements, rows);
        }
        D::write_transaction(connection, |connection| {
            rows.iter().try_for_each(|row| match self.set(connection, row) {
                Err(Failed::Own(error)) => Err(Failed::Own(self.name_row(row, error))),
                result => result,
            })
        })
    }

    pub(super) fn pop(
        &self,
        connection: &mut impl Conn<D>,
        key: &Key,
    ) -> Result<Option<Row>, Failed> {
        D::pop(connection, &self.statements, key)
    }

    pub(super) fn pop_many(
        &self,
        connection: &mut impl Conn<D>,
        keys: &[Key],
    ) -> Result<Vec<Option<Row>>, Failed> {
        D::pop_many(connection, &self.statements, keys)
    }

    /// One page of a listing: the rows after a key.
    fn page(
        &self,
        listing: &Listing,
        types: &[ColumnType],
        after: Option<&Key>,
    ) -> Result<Vec<Row>> {
        let key = after.map(|key| D::stored_key(self.schema(), key));
        let after = key.as_deref().map(D::after_values);
        let (sql, values): (&Sql, &[Value]) = match &after {
            None => (&listing.first, &[]),
            Some(values) => (&listing.next, values),
        };
        self.restoring(|database| {
            database.read(|connection| {
                let mut rows = Vec::new();
                load::<D>(connection, sql.with(values), types, |row| {
                    rows.push(row);
                    Ok(())
                })?;
                Ok(rows)
            })
        })
    }
}

impl<D: Dialect> ScopeStore for Table<D> {
    fn schema(&self) -> &Arc<Schema> {
        &self.inner.statements.schema
    }

    fn exists(&self, key: &Key) -> Result<bool> {
        let inner = &self.inner;
        inner.restoring(|database| database.read(|connection| inner.exists(connection, key)))
    }

    fn fetch(&self, key: &Key) -> Result<Option<Row>> {
        let inner = &self.inner;
        inner.restoring(|database| database.read(|connection| inner.fetch(connection, key)))
    }

    fn fetch_many(&self, keys: &[Key]) -> Result<Vec<Option<Row>>> {
        let inner = &self.inner;
        inner.restoring(|database| database.read(|connection| inner.fetch_many(connection, keys)))
    }

    fn set(&self, row: Row) -> Result<()> {
        let inner = &self.inner;
        let row = inner.admit_row(row)?;
        inner.restoring(|database| {
            database.write_once_or_twice(|connection| inner.set(connection, &row))
        })
    }

    fn update(&self, row: Row) -> Result<Option<Row>> {
        let inner = &self.inner;
        let row = inner.admit_row(row)?;
        inner.restoring(|database| database.write(|connection| inner.update(connection, &row)))
    }

    fn set_many(&self, rows: Vec<Row>) -> Result<()> {
        let inner = &self.inner;
        let rows = inner.admit_rows(rows)?;
        inner.restoring(|database| {
            database.write_once_or_twice(|connection| inner.set_many(connection, &rows))
        })
    }

    fn pop(&self, key: &Key) -> Result<Option<Row>> {
        let inner = &self.inner;
        inner.restoring(|database| database.write(|connection| inner.pop(connection, key)))
    }

    fn pop_many(&self, keys: &[Key]) -> Result<Vec<Option<Row>>> {
        let inner = &self.inner;
        inner.restoring(|database| database.write(|connection| inner.pop_many(connection, keys)))
    }

    fn keys(&self) -> Result<Keys> {
        let pages = Pages::begin(&self.inner, |inner, after| {
            inner.page(&inner.statements.keys, &inner.statements.key_types, after)
        })?;
        Ok(Box::new(pages.map(|row| row.map(Key::new))))
    }

    fn rows(&self) -> Result<Rows> {
        Ok(Box::new(Pages::begin(&self.inner, |inner, after| {
            inner.page(&inner.statements.rows, &inner.statements.types, after)
        })?))
    }

    fn len(&self) -> Result<u64> {
        let inner = &self.inner;
        inner.restoring(|database| {
            database.read(|connection| {
                let row = load_one::<D>(
                    connection,
                    inner.statements.len.with(&[]),
                    &[ColumnType::BigInt],
                )?;
                match row.as_deref() {
                    Some([Value::Int(count)]) => Ok(u64::try_from(*count).unwrap_or(0)),
                    _ => {
                        Err(Failed::Own(Error::invalid_data("the count of the rows is no number")))
                    }
                }
            })
        })
    }

    fn clear(&self) -> Result<()> {
        let inner = &self.inner;
        inner.restoring(|database| {
            database.write_once_or_twice(|connection| {
                execute::<D>(connection, inner.statements.clear.with(&[]))?;
                Ok(())
            })
        })
    }

    fn table(&self) -> Option<&dyn Any> {
        Some(&*self.inner)
    }
}

type ReadPage<D> = fn(&TableInner<D>, Option<&Key>) -> Result<Vec<Row>>;

/// A listing, a page at a time: no transaction is held open while the caller works, and no more
/// than a page is in memory.
struct Pages<D: Dialect> {
    table: Arc<TableInner<D>>,
    read: ReadPage<D>,
    rows: VecDeque<Row>,
    /// Whether there may be another page.
    more: bool,
    /// The key of the last row that was read.
    last: Option<Key>,
}

impl<D: Dialect> Pages<D> {
    fn begin(table: &Arc<TableInner<D>>, read: ReadPage<D>) -> Result<Self> {
        let rows = VecDeque::new();
        let mut pages = Self { table: table.clone(), read, rows, more: true, last: None };
        pages.turn()?;
        Ok(pages)
    }

    fn turn(&mut self) -> Result<()> {
        let rows = (self.read)(&self.table, self.last.as_ref())?;
        self.more = rows.len() == PAGE;
        self.last = rows.last().map(|row| self.key_of(row));
        self.rows = rows.into();
        Ok(())
    }

    /// The key of a row of either listing.
    fn key_of(&self, row: &Row) -> Key {
        let schema = self.table.schema();
        match row.len() == schema.key.len() && row.len() != schema.columns.len() {
            true => Key::new(row.iter().cloned()),
            false => schema.key_of(row),
        }
    }
}

impl<D: Dialect> Iterator for Pages<D> {
    type Item = Result<Row>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rows.is_empty()
            && self.more
            && let Err(error) = self.turn()
        {
            self.more = false;
            return Some(Err(error));
        }
        self.rows.pop_front().map(Ok)
    }
}
