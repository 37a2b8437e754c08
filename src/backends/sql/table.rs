//! One table as the store of a scope.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;

use super::database::Inner;
use super::dialect::Dialect;
use super::error::Failed;
use super::render::{Listing, PAGE, Statements};
use super::statement::{Sql, execute, find, load, load_one};
use super::write::put;
use crate::store::{Keys, Rows, ScopeStore};
use crate::{ColumnType, Error, Key, Result, Row, Schema, Value};

/// A table of a database.
pub(super) struct Table<D: Dialect> {
    inner: Arc<TableInner<D>>,
}

struct TableInner<D: Dialect> {
    database: Arc<Inner<D>>,
    statements: Statements,
    /// The positions of the columns whose values the engine may be unable to hold.
    checked: Vec<usize>,
}

impl<D: Dialect> fmt::Debug for Table<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Table").field("name", &self.inner.schema().table).finish_non_exhaustive()
    }
}

impl<D: Dialect> Table<D> {
    pub(super) fn new(database: Arc<Inner<D>>, schema: &Arc<Schema>) -> Self {
        let checked =
            schema.columns.iter().enumerate().filter(|(_, column)| may_not_fit(column.ty));
        let checked = checked.map(|(at, _)| at).collect();
        let statements = Statements::new::<D>(schema);
        Self { inner: Arc::new(TableInner { database, statements, checked }) }
    }
}

/// Whether an engine may be unable to hold some value of a type.
fn may_not_fit(ty: ColumnType) -> bool {
    use ColumnType::{Bytes, Double, Json, Real, Text, Varchar};
    matches!(ty, Real | Double | Text | Varchar(_) | Bytes | Json)
}

impl<D: Dialect> TableInner<D> {
    fn schema(&self) -> &Schema {
        &self.statements.schema
    }

    /// Runs a call; where the table was dropped or changed behind hilcat's back, makes it again or
    /// adds to it what can be added, and runs the call once more.
    fn restoring<T>(&self, call: impl Fn(&Inner<D>) -> Result<T>) -> Result<T> {
        match call(&self.database) {
            Err(error) if error.is_changed_table() => {
                self.database.restore(self.schema())?;
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
        let key = D::stored_key(inner.schema(), key);
        inner.restoring(|database| {
            database.read(|connection| {
                let exists = inner.statements.exists.with(key.values());
                Ok(find::<D>(connection, exists, &[])?.is_some())
            })
        })
    }

    fn fetch(&self, key: &Key) -> Result<Option<Row>> {
        let inner = &self.inner;
        let statements = &inner.statements;
        let key = D::stored_key(inner.schema(), key);
        inner.restoring(|database| {
            database.read(|connection| {
                let fetch = statements.fetch.with(key.values());
                Ok(find::<D>(connection, fetch, &statements.types)?)
            })
        })
    }

    fn fetch_many(&self, keys: &[Key]) -> Result<Vec<Option<Row>>> {
        let inner = &self.inner;
        inner.restoring(|database| {
            database.read(|connection| D::fetch_many(connection, &inner.statements, keys))
        })
    }

    fn set(&self, row: Row) -> Result<()> {
        let inner = &self.inner;
        inner.check_row(&row)?;
        let row = D::stored_row(inner.schema(), row);
        inner.restoring(|database| {
            database.write_once_or_twice(|connection| put::<D>(connection, &inner.statements, &row))
        })
    }

    fn update(&self, row: Row) -> Result<Option<Row>> {
        let inner = &self.inner;
        inner.check_row(&row)?;
        let row = D::stored_row(inner.schema(), row);
        inner.restoring(|database| {
            database.write(|connection| D::update(connection, &inner.statements, &row))
        })
    }

    fn set_many(&self, rows: Vec<Row>) -> Result<()> {
        let inner = &self.inner;
        let name_row = |row: &Row, error: Error| error.with_key(inner.schema().key_of(row));
        for row in &rows {
            inner.check_row(row).map_err(|error| name_row(row, error))?;
        }
        let complete = !rows.iter().flatten().any(Value::is_absent);
        let rows: Vec<Row> =
            rows.into_iter().map(|row| D::stored_row(inner.schema(), row)).collect();
        inner.restoring(|database| {
            database.write_once_or_twice(|connection| match complete {
                true => D::put_all(connection, &inner.statements, &rows),
                false => D::write_transaction(connection, |connection| {
                    rows.iter().try_for_each(|row| {
                        match put::<D>(connection, &inner.statements, row) {
                            Err(Failed::Own(error)) => Err(Failed::Own(name_row(row, error))),
                            result => result,
                        }
                    })
                }),
            })
        })
    }

    fn pop(&self, key: &Key) -> Result<Option<Row>> {
        let inner = &self.inner;
        inner.restoring(|database| {
            database.write(|connection| D::pop(connection, &inner.statements, key))
        })
    }

    fn pop_many(&self, keys: &[Key]) -> Result<Vec<Option<Row>>> {
        let inner = &self.inner;
        inner.restoring(|database| {
            database.write(|connection| D::pop_many(connection, &inner.statements, keys))
        })
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
