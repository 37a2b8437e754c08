//! One table as the store of a scope.

use std::any::Any;
use std::borrow::Cow;
use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;

use super::database::Inner;
use super::dialect::{Dialect, Fits, check_depth};
use super::error::Failed;
use super::gather::Gathering;
use super::render::{Listing, PAGE, Statements};
use super::statement::{Conn, Sql, find, load, load_keyed, load_one};
use super::write::{put, why_nothing};
use crate::store::{Keys, Rows, ScopeStore};
use crate::{ColumnType, Error, Key, Result, Row, Schema, Value};

/// What is found out about a table when it is opened.
#[derive(Clone, Default)]
pub(super) struct Found {
    /// The columns of text that are left as they stand though the engine makes numbers of texts in
    /// them.
    pub(super) numbers: Vec<String>,
    /// The columns that hold less than their type, with what tells what they hold.
    pub(super) narrow: Vec<(String, Fits)>,
    /// Whether it has no columns for the whole of keys that an index cannot hold.
    pub(super) keys_in_clear: bool,
}

/// A table of a database, or those rows of it whose key begins with fixed values.
pub(super) struct Table<D: Dialect> {
    inner: Arc<TableInner<D>>,
    /// What every key begins with that is read or written through this.
    fixed: Arc<[Value]>,
}

pub(super) struct TableInner<D: Dialect> {
    database: Arc<Inner<D>>,
    /// What it was opened as.
    schema: Arc<Schema>,
    /// Their schema also says how the keys stand.
    statements: Statements,
    /// What the table is made as.
    made_as: Arc<Schema>,
    /// How many values of a key say the section that it is in.
    fixed: usize,
    /// The positions of the columns whose values the engine may be unable to hold.
    checked: Vec<usize>,
    /// The positions of the columns of text of which the engine makes numbers.
    numbers: Vec<usize>,
    /// The positions of the columns that hold less than their type.
    narrow: Vec<(usize, Fits)>,
    restore: Restore<D>,
    gathering: Gathering,
}

/// Makes a table again that was dropped behind hilcat's back.
type Restore<D> = fn(&Inner<D>, &Schema) -> Result<()>;

impl<D: Dialect> fmt::Debug for Table<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Table").field("name", &self.inner.schema().table).finish_non_exhaustive()
    }
}

impl<D: Dialect> Table<D> {
    /// A table that was found so.
    pub(super) fn new(database: Arc<Inner<D>>, schema: &Arc<Schema>, found: &Found) -> Self {
        Self::in_sections(database, schema, schema, 0, found)
    }

    /// A table that is made again in a way of its own.
    pub(super) fn restored_by(
        database: Arc<Inner<D>>,
        schema: &Arc<Schema>,
        restore: Restore<D>,
    ) -> Self {
        Self::build(database, schema, schema, 0, &Found::default(), restore)
    }

    /// A table that was made as `made_as` and is used as `schema`, of which listings see the rows
    /// of one [`section`](Table::section) at a time: those whose key begins with `fixed` values.
    pub(super) fn in_sections(
        database: Arc<Inner<D>>,
        schema: &Arc<Schema>,
        made_as: &Arc<Schema>,
        fixed: usize,
        found: &Found,
    ) -> Self {
        Self::build(database, schema, made_as, fixed, found, Inner::restore)
    }

    /// A table that is only read: it is never made again.
    pub(super) fn read_only(
        database: Arc<Inner<D>>,
        stored: &Arc<Schema>,
        fixed: usize,
        found: &Found,
    ) -> Self {
        Self::build(database, stored, stored, fixed, found, |_, _| Ok(()))
    }

    fn build(
        database: Arc<Inner<D>>,
        schema: &Arc<Schema>,
        made_as: &Arc<Schema>,
        fixed: usize,
        found: &Found,
        restore: Restore<D>,
    ) -> Self {
        let checked =
            schema.columns.iter().enumerate().filter(|(_, column)| may_not_fit(column.ty));
        let checked = checked.map(|(at, _)| at).collect();
        let standing = |schema: &Arc<Schema>| match found.keys_in_clear {
            true => Arc::new(Schema::clone(schema).with_keys_in_clear(true)),
            false => schema.clone(),
        };
        let statements = Statements::in_sections::<D>(&standing(schema), fixed);
        let made_as = standing(made_as);
        let columns = schema.columns.iter().enumerate();
        let numbers = columns.filter(|(_, column)| found.numbers.contains(&column.name));
        let numbers = numbers.map(|(at, _)| at).collect();
        let position = |name: &str| schema.columns.iter().position(|column| column.name == name);
        let narrow = found.narrow.iter();
        let narrow = narrow.filter_map(|(name, fits)| Some((position(name)?, fits.clone())));
        let narrow = narrow.collect();
        let schema = schema.clone();
        let gathering = Gathering::new(database.readers(), database.timeout());
        let inner = TableInner {
            database,
            schema,
            statements,
            made_as,
            fixed,
            checked,
            numbers,
            narrow,
            restore,
            gathering,
        };
        Self { inner: Arc::new(inner), fixed: Arc::new([]) }
    }

    pub(super) fn inner(&self) -> &TableInner<D> {
        &self.inner
    }

    /// The rows whose key begins with these values. Keys and rows have them, here as elsewhere.
    pub(super) fn section(&self, fixed: &[Value]) -> Self {
        let fixed = Key::new(fixed.iter().cloned());
        let fixed = D::stored_key(self.inner.schema(), &fixed).values().into();
        Self { inner: self.inner.clone(), fixed }
    }
}

/// The binds of the rows of a section that are after a key.
fn after_values<D: Dialect>(key: &Key, fixed: usize) -> Cow<'_, [Value]> {
    let (section, after) = key.values().split_at(fixed);
    match fixed {
        0 => D::after_values(after),
        _ => [section, &D::after_values(after)].concat().into(),
    }
}

/// Checks that a value comes back from a column of which the engine makes numbers.
pub(super) fn check_comes_back<D: Dialect>(value: &Value) -> Result<()> {
    match value {
        Value::Text(text) if !D::is_no_other_number(text) => Err(Error::unsupported(
            "the column makes another number of a text that looks like one: have the table migrated, so that it becomes a column of text",
        )),
        _ => Ok(()),
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
                (self.restore)(&self.database, &self.made_as)?;
                call(&self.database)
            }
            result => result,
        }
    }

    fn check_row(&self, row: &Row) -> Result<()> {
        let named = |at: usize, checked: Result<()>| {
            checked.map_err(|error| error.with_column(&self.schema().columns[at].name))
        };
        for &at in &self.checked {
            named(at, D::check_value(&row[at]))?;
            if let (Value::Json(json), Some(most)) = (&row[at], self.database.deepest_json) {
                named(at, check_depth::<D>(json, most))?;
            }
        }
        D::check_row(self.schema(), row)?;
        self.numbers.iter().try_for_each(|&at| named(at, check_comes_back::<D>(&row[at])))?;
        self.narrow.iter().try_for_each(|(at, fits)| named(*at, fits(&row[*at])))
    }

    /// Whether a row is of the key that it was found by: of which the engine makes a number it
    /// finds that of another text, too.
    fn is_of(&self, row: &Row, key: &Key) -> bool {
        self.numbers.is_empty() || self.schema().key_of(row) == *key
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
        self.name_key(&self.schema().key_of(row), error)
    }

    fn name_key(&self, key: &Key, error: Error) -> Error {
        error.with_key(Key::new(key.values()[self.fixed..].iter().cloned()))
    }

    /// A row with the defaults of what is absent; or why it cannot have them.
    fn filled(&self, mut row: Row) -> Result<Row> {
        self.schema().fill_absent(&mut row)?;
        Ok(row)
    }

    pub(super) fn exists(&self, connection: &mut impl Conn<D>, key: &Key) -> Result<bool, Failed> {
        if !self.numbers.is_empty() {
            return Ok(self.fetch(connection, key)?.is_some());
        }
        let key = D::stored_key(self.schema(), key);
        let exists = self.statements.exists.with(key.values());
        Ok(find::<D>(connection, exists, &[])?.is_some())
    }

    pub(super) fn fetch(
        &self,
        connection: &mut impl Conn<D>,
        key: &Key,
    ) -> Result<Option<Row>, Failed> {
        let stored = D::stored_key(self.schema(), key);
        let fetch = self.statements.fetch.with(stored.values());
        let row = find::<D>(connection, fetch, &self.statements.types)?;
        Ok(row.filter(|row| self.is_of(row, key)))
    }

    pub(super) fn fetch_many(
        &self,
        connection: &mut impl Conn<D>,
        keys: &[Key],
    ) -> Result<Vec<Option<Row>>, Failed> {
        let mut rows = D::fetch_many(connection, &self.statements, keys)?;
        for (row, key) in rows.iter_mut().zip(keys) {
            row.take_if(|row| !self.is_of(row, key));
        }
        Ok(rows)
    }

    /// The row of a key, in one statement with those that others ask for meanwhile.
    fn fetch_with_others(&self, key: &Key) -> Result<Option<Row>> {
        let deadline = self.database.deadline();
        let fetch = |key: &Key| {
            self.restoring(|database| {
                database.read_until(deadline, |connection| self.fetch(connection, key))
            })
        };
        let fetch_many = |keys: &[Key]| {
            self.restoring(|database| {
                database.read_until(deadline, |connection| self.fetch_many(connection, keys))
            })
        };
        self.gathering.fetch(key, fetch, fetch_many)
    }

    pub(super) fn set(&self, connection: &mut impl Conn<D>, row: &Row) -> Result<(), Failed> {
        put::<D>(connection, &self.statements, row)
    }

    /// Inserts a row, if its columns are known and its key has none. Gives the stored row of the key.
    fn insert(
        &self,
        connection: &mut impl Conn<D>,
        key: &Key,
        row: &Result<Row>,
    ) -> Result<Option<Row>, Failed> {
        if let Ok(row) = row
            && D::insert_one(connection, &self.statements, row)?
        {
            return Ok(None);
        }
        match (self.fetch(connection, key)?, row) {
            (Some(stored), _) => Ok(Some(stored)),
            (None, Err(incomplete)) => Err(Failed::Own(incomplete.clone())),
            // It was removed after the attempt, or the database stores nothing.
            (None, Ok(row)) => {
                let (statements, key) = (&self.statements, D::stored_key(self.schema(), key));
                Err(why_nothing::<D, _>(connection, statements, &key, statements.set.with(row)))
            }
        }
    }

    /// The same for rows of which some lack columns, all or none.
    fn insert_each(
        &self,
        connection: &mut impl Conn<D>,
        keys: &[Key],
        rows: &[Result<Row>],
    ) -> Result<Vec<Option<Row>>, Failed> {
        D::write_transaction(connection, |connection| {
            let mut insert = |(key, row)| match self.insert(connection, key, row) {
                Err(Failed::Own(error)) => Err(Failed::Own(self.name_key(key, error))),
                result => result,
            };
            keys.iter().zip(rows).map(&mut insert).collect()
        })
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

    /// Writes rows in place of all that stand, in one transaction.
    fn replace_all(
        &self,
        connection: &mut impl Conn<D>,
        fixed: &[Value],
        rows: &[Row],
    ) -> Result<(), Failed> {
        D::write_transaction(connection, |connection| {
            self.clear(connection, fixed)?;
            self.set_many(connection, rows)
        })
    }

    /// Removes the rows of a section.
    pub(super) fn clear(
        &self,
        connection: &mut impl Conn<D>,
        fixed: &[Value],
    ) -> Result<(), Failed> {
        D::clear(connection, &self.statements, fixed)
    }

    pub(super) fn pop(
        &self,
        connection: &mut impl Conn<D>,
        key: &Key,
    ) -> Result<Option<Row>, Failed> {
        match self.numbers.is_empty() {
            true => D::pop(connection, &self.statements, key),
            false => Ok(self.pop_own(connection, std::slice::from_ref(key))?.pop().flatten()),
        }
    }

    pub(super) fn pop_many(
        &self,
        connection: &mut impl Conn<D>,
        keys: &[Key],
    ) -> Result<Vec<Option<Row>>, Failed> {
        match self.numbers.is_empty() {
            true => D::pop_many(connection, &self.statements, keys),
            false => self.pop_own(connection, keys),
        }
    }

    /// Removes the rows of keys, each where it is the key's own.
    fn pop_own(
        &self,
        connection: &mut impl Conn<D>,
        keys: &[Key],
    ) -> Result<Vec<Option<Row>>, Failed> {
        D::write_transaction(connection, |connection| {
            let mut pop_own = |key: &Key| match self.fetch(connection, key)? {
                None => Ok(None),
                Some(_) => D::pop(connection, &self.statements, key),
            };
            keys.iter().map(&mut pop_own).collect()
        })
    }

    /// One page of a listing: the rows after a key.
    fn page(
        &self,
        listing: &Listing,
        types: &[ColumnType],
        fixed: &[Value],
        after: Option<&Key>,
    ) -> Result<Vec<Row>> {
        let key = after.map(|key| D::stored_key(self.schema(), key));
        let after = key.as_deref().map(|key| after_values::<D>(key, fixed.len()));
        let (sql, values): (&Sql, &[Value]) = match &after {
            None => (&listing.first, fixed),
            Some(values) => (&listing.next, values),
        };
        self.restoring(|database| {
            database.read(|connection| {
                let mut rows = Vec::new();
                let key = match types.len() == self.schema().columns.len() {
                    true => &self.schema().key[fixed.len()..],
                    // A listing of keys has nothing else that could be wrong.
                    false => &[],
                };
                load_keyed::<D>(connection, sql.with(values), types, key, |row| {
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
        &self.inner.schema
    }

    fn exists(&self, key: &Key) -> Result<bool> {
        let inner = &self.inner;
        inner.restoring(|database| database.read(|connection| inner.exists(connection, key)))
    }

    fn fetch(&self, key: &Key) -> Result<Option<Row>> {
        let inner = &self.inner;
        match D::ON_SERVER {
            true => inner.fetch_with_others(key),
            false => {
                inner.restoring(|database| database.read(|connection| inner.fetch(connection, key)))
            }
        }
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

    fn insert(&self, row: Row) -> Result<Option<Row>> {
        let inner = &self.inner;
        let key = inner.schema().key_of(&row);
        let row = inner.filled(inner.admit_row(row)?);
        inner.restoring(|database| {
            database.write_once_or_twice(|connection| inner.insert(connection, &key, &row))
        })
    }

    fn insert_many(&self, rows: Vec<Row>) -> Result<Vec<Option<Row>>> {
        let inner = &self.inner;
        let keys: Vec<Key> = rows.iter().map(|row| inner.schema().key_of(row)).collect();
        let rows = inner.admit_rows(rows)?.into_iter().map(|row| inner.filled(row));
        let rows: Vec<Result<Row>> = rows.collect();
        if rows.iter().any(Result::is_err) {
            return inner.restoring(|database| {
                database
                    .write_once_or_twice(|connection| inner.insert_each(connection, &keys, &rows))
            });
        }
        let rows: Vec<Row> = rows.into_iter().flatten().collect();
        inner.restoring(|database| {
            database.write_once_or_twice(|connection| {
                D::insert_all(connection, &inner.statements, &keys, &rows)
            })
        })
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
        let pages = Pages::begin(self, |inner, fixed, after| {
            inner.page(&inner.statements.keys, &inner.statements.key_types, fixed, after)
        })?;
        Ok(Box::new(pages.map(|row| row.map(Key::new))))
    }

    fn rows(&self) -> Result<Rows> {
        Ok(Box::new(Pages::begin(self, |inner, fixed, after| {
            inner.page(&inner.statements.rows, &inner.statements.types, fixed, after)
        })?))
    }

    fn len(&self) -> Result<u64> {
        let inner = &self.inner;
        inner.restoring(|database| {
            database.read(|connection| {
                let row = load_one::<D>(
                    connection,
                    inner.statements.len.with(&self.fixed),
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
            database.write_once_or_twice(|connection| inner.clear(connection, &self.fixed))
        })
    }

    /// One statement, which every engine reads as of one moment.
    fn snapshot(&self) -> Result<Vec<Row>> {
        let inner = &self.inner;
        let (all, types) = (&inner.statements.all, &inner.statements.types);
        inner.restoring(|database| {
            database.read(|connection| {
                let mut rows = Vec::new();
                load::<D>(connection, all.with(&self.fixed), types, |row| {
                    rows.push(row);
                    Ok(())
                })?;
                Ok(rows)
            })
        })
    }

    fn replace_all(&self, rows: Vec<Row>) -> Result<()> {
        let inner = &self.inner;
        let rows = inner.admit_rows(rows)?;
        inner.restoring(|database| {
            database
                .write_once_or_twice(|connection| inner.replace_all(connection, &self.fixed, &rows))
        })
    }

    fn table(&self) -> Option<&dyn Any> {
        Some(&*self.inner)
    }
}

type ReadPage<D> = fn(&TableInner<D>, &[Value], Option<&Key>) -> Result<Vec<Row>>;

/// A listing, a page at a time: no transaction is held open while the caller works, and no more
/// than a page is in memory.
struct Pages<D: Dialect> {
    table: Arc<TableInner<D>>,
    fixed: Arc<[Value]>,
    read: ReadPage<D>,
    rows: VecDeque<Row>,
    /// Whether there may be another page.
    more: bool,
    /// The key of the last row that was read.
    last: Option<Key>,
}

impl<D: Dialect> Pages<D> {
    fn begin(table: &Table<D>, read: ReadPage<D>) -> Result<Self> {
        let (table, fixed) = (table.inner.clone(), table.fixed.clone());
        let rows = VecDeque::new();
        let mut pages = Self { table, fixed, read, rows, more: true, last: None };
        pages.turn()?;
        Ok(pages)
    }

    fn turn(&mut self) -> Result<()> {
        let rows = (self.read)(&self.table, &self.fixed, self.last.as_ref())?;
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
