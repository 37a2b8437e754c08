//! One table as the store of a scope.

pub(crate) mod leases;
pub(crate) mod single_table;

use std::any::Any;
use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::database::Inner;
use super::dialect::{Dialect, Fits, check_depth};
use super::error::CallError;
use super::statement::{Conn, Sql, execute, find, load, load_keyed, load_one};
use crate::backends::sql::statement::coalesce::Gathering;
use crate::backends::sql::statement::expiry::Expiring;
use crate::backends::sql::statement::render::{Listing, PAGE, Statements};
use crate::backends::sql::statement::write::{
    is_kept, no_expiry, put, remove_expired, replace_expired, why_nothing,
};
use crate::backends::sql::table::leases::Leased;
use crate::store::{Keys, LeasedFill, Leases, Rows, ScopeStore, is_live, key_to_text};
use crate::{ColumnType, Error, Key, Result, Row, Schema, Value};

/// What is found out about a table when it is opened.
#[derive(Clone, Default)]
pub(crate) struct Found {
    /// The columns of text that are left as they stand though the engine makes numbers of texts in
    /// them.
    pub(crate) numbers: Vec<String>,
    /// The columns that hold less than their type, with what tells what they hold.
    pub(crate) narrow: Vec<(String, Fits)>,
    /// Whether it has no columns for the whole of keys that an index cannot hold.
    pub(crate) keys_in_clear: bool,
    /// Whether another program made it.
    pub(crate) foreign: bool,
}

/// A table of a database, or those rows of it whose key begins with fixed values.
pub(crate) struct Table<D: Dialect> {
    inner: Arc<TableInner<D>>,
    /// What every key begins with that is read or written through this.
    fixed: Arc<[Value]>,
}

pub(crate) struct TableInner<D: Dialect> {
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

/// How often a batch of removals is attempted that the database left in place.
const POPS: usize = 8;

/// Makes a table again that was dropped behind hilcat's back.
type Restore<D> = fn(&Inner<D>, &Schema) -> Result<()>;

impl<D: Dialect> fmt::Debug for Table<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Table").field("name", &self.inner.schema().table).finish_non_exhaustive()
    }
}

impl<D: Dialect> Table<D> {
    /// A table that was found so.
    pub(crate) fn new(database: Arc<Inner<D>>, schema: &Arc<Schema>, found: &Found) -> Self {
        Self::in_sections(database, schema, schema, 0, found)
    }

    /// A table that is made again in a way of its own.
    pub(crate) fn restored_by(
        database: Arc<Inner<D>>,
        schema: &Arc<Schema>,
        restore: Restore<D>,
    ) -> Self {
        Self::build(database, schema, schema, 0, &Found::default(), restore)
    }

    /// A table that was made as `made_as` and is used as `schema`, of which listings see the rows
    /// of one [`section`](Table::section) at a time: those whose key begins with `fixed` values.
    pub(crate) fn in_sections(
        database: Arc<Inner<D>>,
        schema: &Arc<Schema>,
        made_as: &Arc<Schema>,
        fixed: usize,
        found: &Found,
    ) -> Self {
        Self::build(database, schema, made_as, fixed, found, Inner::restore)
    }

    /// A table that is only read: it is never made again.
    pub(crate) fn read_only(
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

    pub(crate) fn inner(&self) -> &TableInner<D> {
        &self.inner
    }

    /// The number that a statement gives.
    fn count(&self, sql: &Sql, values: &[Value]) -> Result<u64> {
        self.inner.with_table_repair(|database| {
            database.read(|connection| {
                let row = load_one::<D>(connection, sql.with(values), &[ColumnType::BigInt])?;
                match row.as_deref() {
                    Some([Value::Int(count)]) => Ok(u64::try_from(*count).unwrap_or(0)),
                    _ => Err(CallError::Hilcat(Error::invalid_data(
                        "the count of the rows is no number",
                    ))),
                }
            })
        })
    }

    /// Runs a statement that removes up to so many rows of the section, and gives how many it
    /// removed.
    fn remove_some(&self, sql: &Sql, values: &[Value], limit: usize) -> Result<usize> {
        let limit = Value::Int(i64::try_from(limit).unwrap_or(i64::MAX));
        let values = [&*self.fixed, values, &[limit]].concat();
        self.inner.with_table_repair(|database| {
            database.write_idempotent(|connection| Ok(execute::<D>(connection, sql.with(&values))?))
        })
    }

    /// The rows whose key begins with these values. Keys and rows have them, here as elsewhere.
    pub(crate) fn section(&self, fixed: &[Value]) -> Self {
        let fixed = Key::new(fixed.iter().cloned());
        let fixed = D::stored_key(self.inner.schema(), &fixed).values().into();
        Self { inner: self.inner.clone(), fixed }
    }
}

/// Checks that a value comes back from a column of which the engine makes numbers.
pub(crate) fn check_comes_back<D: Dialect>(value: &Value) -> Result<()> {
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
    pub(crate) fn schema(&self) -> &Schema {
        &self.statements.schema
    }

    /// Runs a call; where the table was dropped or changed behind hilcat's back, makes it again or
    /// adds to it what can be added, and runs the call once more.
    pub(crate) fn with_table_repair<T>(&self, call: impl Fn(&Inner<D>) -> Result<T>) -> Result<T> {
        match call(&self.database) {
            Err(error) if error.is_changed_table() => {
                if self.has_leases() {
                    self.database.make_leases()?;
                }
                (self.restore)(&self.database, &self.made_as)?;
                call(&self.database)
            }
            result => result,
        }
    }

    /// Whether processes share computations of the scope.
    fn has_leases(&self) -> bool {
        self.schema.freshness.lease().is_some() && self.database.capabilities().shared_single_flight
    }

    pub(crate) fn lock_lease(
        &self,
        connection: &mut impl Conn<D>,
        key: &Key,
        holder: &str,
    ) -> Result<bool, CallError> {
        self.database.lock_lease(connection, &self.leased(key), holder)
    }

    pub(crate) fn release_lease(
        &self,
        connection: &mut impl Conn<D>,
        key: &Key,
        holder: &str,
    ) -> Result<(), CallError> {
        self.database.release_lease(connection, &self.leased(key), holder)
    }

    /// What the lease of a key is of. Each section of a table has leases of its own.
    fn leased(&self, key: &Key) -> Leased {
        let stored = D::stored_key(self.schema(), key);
        let scope = self.lease_scope(&stored.values()[..self.fixed]);
        Leased::new(&scope, &Key::new(key.values()[self.fixed..].iter().cloned()))
    }

    fn lease_scope(&self, fixed: &[Value]) -> String {
        match fixed {
            [] => self.schema.name.clone(),
            fixed => {
                let section = Key::new(fixed.iter().cloned());
                format!("{}/{}", self.schema.name, key_to_text(&section))
            }
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
    pub(crate) fn validate_row(&self, row: Row) -> Result<Row> {
        self.check_row(&row)?;
        Ok(D::stored_row(self.schema(), row))
    }

    /// The same for rows, of which the wrong one is named.
    pub(crate) fn validate_rows(&self, rows: Vec<Row>) -> Result<Vec<Row>> {
        for row in &rows {
            self.check_row(row).map_err(|error| self.name_row(row, error))?;
        }
        Ok(rows.into_iter().map(|row| D::stored_row(self.schema(), row)).collect())
    }

    /// Rows for keys that may have none, as they are written, with the defaults of what is absent; or
    /// why one cannot have them.
    fn validate_new(&self, rows: Vec<Row>) -> Result<Vec<(Key, Result<Row>)>> {
        let keys: Vec<Key> = rows.iter().map(|row| self.schema().key_of(row)).collect();
        let rows = self.validate_rows(rows)?.into_iter().map(|row| self.filled(row));
        Ok(keys.into_iter().zip(rows).collect())
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

    pub(crate) fn exists(
        &self,
        connection: &mut impl Conn<D>,
        key: &Key,
    ) -> Result<bool, CallError> {
        if !self.numbers.is_empty() {
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
        Ok(row.filter(|row| self.is_of(row, key)))
    }

    pub(crate) fn fetch_many(
        &self,
        connection: &mut impl Conn<D>,
        keys: &[Key],
    ) -> Result<Vec<Option<Row>>, CallError> {
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
            self.with_table_repair(|database| {
                database.read_until(deadline, |connection| self.fetch(connection, key))
            })
        };
        let fetch_many = |keys: &[Key]| {
            self.with_table_repair(|database| {
                database.read_until(deadline, |connection| self.fetch_many(connection, keys))
            })
        };
        self.gathering.fetch(key, fetch, fetch_many)
    }

    pub(crate) fn set(&self, connection: &mut impl Conn<D>, row: &Row) -> Result<(), CallError> {
        put::<D>(connection, &self.statements, row)
    }

    /// Inserts a row, if its columns are known and its key has none. Gives the stored row of the key.
    fn insert(
        &self,
        connection: &mut impl Conn<D>,
        key: &Key,
        row: &Result<Row>,
    ) -> Result<Option<Row>, CallError> {
        if let Ok(row) = row
            && D::insert_one(connection, &self.statements, row)?
        {
            return Ok(None);
        }
        match (self.fetch(connection, key)?, row) {
            (Some(stored), _) => Ok(Some(stored)),
            (None, Err(incomplete)) => Err(CallError::Hilcat(incomplete.clone())),
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
    ) -> Result<Vec<Option<Row>>, CallError> {
        D::write_transaction(connection, |connection| {
            let mut insert = |(key, row)| match self.insert(connection, key, row) {
                Err(CallError::Hilcat(error)) => Err(CallError::Hilcat(self.name_key(key, error))),
                result => result,
            };
            keys.iter().zip(rows).map(&mut insert).collect()
        })
    }

    /// The statements of records that expire.
    fn expiring(&self) -> Result<&Expiring> {
        self.statements.expiring.as_ref().ok_or_else(no_expiry)
    }

    /// One of the listings of what is not expired; that of all where nothing expires.
    fn listing<'a>(
        &'a self,
        of: impl Fn(&'a Expiring) -> &'a Listing,
        all: &'a Listing,
    ) -> &'a Listing {
        self.statements.expiring.as_ref().map_or(all, of)
    }

    /// Stores rows whose keys have none or an expired one, all or none, and gives the stored rows of
    /// the other keys.
    pub(crate) fn replace_expired<C: Conn<D>>(
        &self,
        connection: &mut C,
        rows: &[(Key, Result<Row>)],
        at: i64,
    ) -> Result<Vec<Option<Row>>, CallError> {
        if let [(key, row)] = rows {
            return Ok(vec![self.replace_one(connection, key, row, at)?]);
        }
        let complete = rows.iter().map(|(key, row)| Some((key.clone(), row.clone().ok()?)));
        if let Some(complete) = complete.collect::<Option<Vec<_>>>() {
            let (keys, rows): (Vec<Key>, Vec<Row>) = complete.into_iter().unzip();
            return D::replace_all_expired(connection, &self.statements, &keys, &rows, at);
        }
        D::write_transaction(connection, |connection| {
            let mut replace = |(key, row): &(Key, Result<Row>)| match self
                .replace_one(connection, key, row, at)
            {
                Err(CallError::Hilcat(error)) => Err(CallError::Hilcat(self.name_key(key, error))),
                result => result,
            };
            rows.iter().map(&mut replace).collect()
        })
    }

    fn replace_one<C: Conn<D>>(
        &self,
        connection: &mut C,
        key: &Key,
        row: &Result<Row>,
        at: i64,
    ) -> Result<Option<Row>, CallError> {
        match row {
            Ok(row) => replace_expired(connection, &self.statements, key, row, at),
            Err(incomplete) => {
                let stored = self.fetch(connection, key)?;
                let live = stored.filter(|row| is_live(self.schema(), row, at));
                live.map(Some).ok_or_else(|| CallError::Hilcat(incomplete.clone()))
            }
        }
    }

    pub(crate) fn remove_expired<C: Conn<D>>(
        &self,
        connection: &mut C,
        keys: &[Key],
        at: i64,
    ) -> Result<(), CallError> {
        match keys {
            [key] => remove_expired(connection, &self.statements, key, at),
            keys => D::remove_expired(connection, &self.statements, keys, at),
        }
    }

    /// Overwrites a record if it is as it was read. Its row is locked from the comparison until the
    /// write.
    fn replace_unchanged<C: Conn<D>>(
        &self,
        connection: &mut C,
        old: &Row,
        row: &Row,
    ) -> Result<bool, CallError> {
        let lock = &self.statements.lock;
        let key = self.schema().key_of(row);
        D::write_transaction(connection, |connection| {
            let stored = find::<D>(connection, lock.with(key.values()), &self.statements.types)?;
            let unchanged = stored.as_ref() == Some(old);
            if unchanged {
                self.set(connection, row)?;
            }
            Ok(unchanged)
        })
    }

    /// Gives a record that is not expired another expiry.
    pub(crate) fn touch<C: Conn<D>>(
        &self,
        connection: &mut C,
        key: &Key,
        at: i64,
        expires: &Value,
    ) -> Result<bool, CallError> {
        let key = D::stored_key(self.schema(), key);
        let values = [std::slice::from_ref(expires), key.values(), &[Value::Timestamp(at)]];
        let values = values.concat();
        Ok(execute::<D>(connection, self.expiring()?.touch.with(&values))? > 0)
    }

    pub(crate) fn update(
        &self,
        connection: &mut impl Conn<D>,
        row: &Row,
    ) -> Result<Option<Row>, CallError> {
        D::update(connection, &self.statements, row)
    }

    /// Writes rows, complete or not, all or none.
    pub(crate) fn set_many(
        &self,
        connection: &mut impl Conn<D>,
        rows: &[Row],
    ) -> Result<(), CallError> {
        let columns = self.schema().columns.len();
        if !rows.iter().flat_map(|row| row.iter().take(columns)).any(Value::is_absent) {
            return D::put_all(connection, &self.statements, rows);
        }
        D::write_transaction(connection, |connection| {
            rows.iter().try_for_each(|row| match self.set(connection, row) {
                Err(CallError::Hilcat(error)) => Err(CallError::Hilcat(self.name_row(row, error))),
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
    ) -> Result<(), CallError> {
        D::write_transaction(connection, |connection| {
            self.clear(connection, fixed)?;
            self.set_many(connection, rows)
        })
    }

    /// Removes the rows of a section.
    pub(crate) fn clear(
        &self,
        connection: &mut impl Conn<D>,
        fixed: &[Value],
    ) -> Result<(), CallError> {
        if !self.has_leases() {
            return D::clear(connection, &self.statements, fixed);
        }
        D::write_transaction(connection, |connection| {
            self.database.revoke_leases(connection, &self.lease_scope(fixed))?;
            D::clear(connection, &self.statements, fixed)
        })
    }

    pub(crate) fn pop(
        &self,
        connection: &mut impl Conn<D>,
        key: &Key,
    ) -> Result<Option<Row>, CallError> {
        if self.has_leases() {
            return D::write_transaction(connection, |connection| {
                self.database.revoke_lease(connection, &self.leased(key))?;
                self.pop_one(connection, key)
            });
        }
        self.pop_one(connection, key)
    }

    fn pop_one(&self, connection: &mut impl Conn<D>, key: &Key) -> Result<Option<Row>, CallError> {
        match self.numbers.is_empty() {
            true => D::pop(connection, &self.statements, key),
            false => Ok(self.pop_own(connection, std::slice::from_ref(key))?.pop().flatten()),
        }
    }

    pub(crate) fn pop_many(
        &self,
        connection: &mut impl Conn<D>,
        keys: &[Key],
    ) -> Result<Vec<Option<Row>>, CallError> {
        if !self.has_leases() {
            return self.pop_all(connection, keys);
        }
        // In one order, so that two of them do not wait for each other in a circle.
        let mut ordered: Vec<&Key> = keys.iter().collect();
        ordered.sort_by_cached_key(|key| key_to_text(key).into_owned());
        D::write_transaction(connection, |connection| {
            for key in &ordered {
                self.database.revoke_lease(connection, &self.leased(key))?;
            }
            self.pop_all(connection, keys)
        })
    }

    fn pop_all(
        &self,
        connection: &mut impl Conn<D>,
        keys: &[Key],
    ) -> Result<Vec<Option<Row>>, CallError> {
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
    ) -> Result<Vec<Option<Row>>, CallError> {
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
        at: Option<&Value>,
        after: Option<&Key>,
    ) -> Result<Vec<Row>> {
        let key = after.map(|key| D::stored_key(self.schema(), key));
        let sql = if key.is_none() { &listing.first } else { &listing.next };
        let after = key.as_deref().map(|key| &key.values()[fixed.len()..]);
        let after = after.map(|after| D::after_values(after));
        let values = fixed.iter().chain(at).chain(after.iter().flat_map(|after| after.iter()));
        let values: &[Value] = &values.cloned().collect::<Vec<_>>();
        self.with_table_repair(|database| {
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
        inner
            .with_table_repair(|database| database.read(|connection| inner.exists(connection, key)))
    }

    fn fetch(&self, key: &Key) -> Result<Option<Row>> {
        let inner = &self.inner;
        match D::ON_SERVER {
            true => inner.fetch_with_others(key),
            false => inner.with_table_repair(|database| {
                database.read(|connection| inner.fetch(connection, key))
            }),
        }
    }

    fn fetch_many(&self, keys: &[Key]) -> Result<Vec<Option<Row>>> {
        let inner = &self.inner;
        inner.with_table_repair(|database| {
            database.read(|connection| inner.fetch_many(connection, keys))
        })
    }

    fn set(&self, row: Row) -> Result<()> {
        let inner = &self.inner;
        let row = inner.validate_row(row)?;
        inner.with_table_repair(|database| {
            database.write_idempotent(|connection| inner.set(connection, &row))
        })
    }

    fn update(&self, row: Row) -> Result<Option<Row>> {
        let inner = &self.inner;
        let row = inner.validate_row(row)?;
        inner.with_table_repair(|database| {
            database.write(|connection| inner.update(connection, &row))
        })
    }

    fn insert(&self, row: Row) -> Result<Option<Row>> {
        let inner = &self.inner;
        let key = inner.schema().key_of(&row);
        let row = inner.filled(inner.validate_row(row)?);
        inner.with_table_repair(|database| {
            database.write_idempotent(|connection| inner.insert(connection, &key, &row))
        })
    }

    fn insert_many(&self, rows: Vec<Row>) -> Result<Vec<Option<Row>>> {
        let inner = &self.inner;
        let keys: Vec<Key> = rows.iter().map(|row| inner.schema().key_of(row)).collect();
        let rows = inner.validate_rows(rows)?.into_iter().map(|row| inner.filled(row));
        let rows: Vec<Result<Row>> = rows.collect();
        if rows.iter().any(Result::is_err) {
            return inner.with_table_repair(|database| {
                database.write_idempotent(|connection| inner.insert_each(connection, &keys, &rows))
            });
        }
        let rows: Vec<Row> = rows.into_iter().flatten().collect();
        inner.with_table_repair(|database| {
            database.write_idempotent(|connection| {
                D::insert_all(connection, &inner.statements, &keys, &rows)
            })
        })
    }

    fn replace_expired(&self, rows: Vec<Row>, at: i64) -> Result<Vec<Option<Row>>> {
        let inner = &self.inner;
        let rows = inner.validate_new(rows)?;
        inner.with_table_repair(|database| {
            database.write_idempotent(|connection| inner.replace_expired(connection, &rows, at))
        })
    }

    fn remove_expired(&self, keys: &[Key], at: i64) -> Result<()> {
        let inner = &self.inner;
        inner.with_table_repair(|database| {
            database.write_idempotent(|connection| inner.remove_expired(connection, keys, at))
        })
    }

    fn replace_unchanged(&self, old: Option<&Row>, row: Row) -> Result<bool> {
        let inner = &self.inner;
        let Some(old) = old else { return Ok(self.insert(row)?.is_none()) };
        let row = inner.validate_row(row)?;
        inner.with_table_repair(|database| {
            database.write(|connection| inner.replace_unchanged(connection, old, &row))
        })
    }

    fn touch(&self, key: &Key, at: i64, expires: Value) -> Result<bool> {
        let inner = &self.inner;
        inner.with_table_repair(|database| {
            database.write_idempotent(|connection| inner.touch(connection, key, at, &expires))
        })
    }

    fn purge(&self, before: i64, limit: usize) -> Result<usize> {
        let expiring = self.inner.expiring()?;
        let values = [Value::Timestamp(before)];
        self.remove_some(&expiring.purge, &values, limit)
    }

    fn trim(&self, records: u64, limit: usize) -> Result<usize> {
        let expiring = self.inner.expiring()?;
        let excess = usize::try_from(self.len()?.saturating_sub(records)).unwrap_or(usize::MAX);
        let wanted = excess.min(limit);
        if wanted == 0 {
            return Ok(0);
        }
        let removed = self.remove_some(&expiring.trim, &[], wanted)?;
        match wanted.saturating_sub(removed) {
            0 => Ok(removed),
            rest => Ok(removed + self.remove_some(&expiring.trim_rest, &[], rest)?),
        }
    }

    fn live_keys(&self, at: i64) -> Result<Keys> {
        let pages = Pages::begin(self, Some(at), |inner, fixed, at, after| {
            let listing = inner.listing(|expiring| &expiring.keys, &inner.statements.keys);
            inner.page(listing, &inner.statements.key_types, fixed, at, after)
        })?;
        Ok(Box::new(pages.map(|row| row.map(Key::new))))
    }

    fn live_rows(&self, at: i64) -> Result<Rows> {
        Ok(Box::new(Pages::begin(self, Some(at), |inner, fixed, at, after| {
            let listing = inner.listing(|expiring| &expiring.rows, &inner.statements.rows);
            inner.page(listing, &inner.statements.types, fixed, at, after)
        })?))
    }

    fn live_len(&self, at: i64) -> Result<u64> {
        let Ok(expiring) = self.inner.expiring() else { return self.len() };
        let mut values = [&*self.fixed, &self.fixed].concat();
        values.push(Value::Timestamp(at));
        self.count(&expiring.len, &values)
    }

    fn set_many(&self, rows: Vec<Row>) -> Result<()> {
        let inner = &self.inner;
        let rows = inner.validate_rows(rows)?;
        inner.with_table_repair(|database| {
            database.write_idempotent(|connection| inner.set_many(connection, &rows))
        })
    }

    fn pop(&self, key: &Key) -> Result<Option<Row>> {
        let inner = &self.inner;
        inner.with_table_repair(|database| database.write(|connection| inner.pop(connection, key)))
    }

    fn pop_many(&self, keys: &[Key]) -> Result<Vec<Option<Row>>> {
        let inner = &self.inner;
        let pop = || {
            inner.with_table_repair(|database| {
                database.write(|connection| inner.pop_many(connection, keys))
            })
        };
        // A row that another connection wrote while the statement waited for it can be locked and
        // not removed; then all are kept, and another attempt sees it as it is. What the database
        // suppresses is kept each time.
        for _ in 1..POPS {
            match pop() {
                Err(error) if is_kept(&error) => {}
                result => return result,
            }
        }
        pop()
    }

    fn keys(&self) -> Result<Keys> {
        let pages = Pages::begin(self, None, |inner, fixed, at, after| {
            inner.page(&inner.statements.keys, &inner.statements.key_types, fixed, at, after)
        })?;
        Ok(Box::new(pages.map(|row| row.map(Key::new))))
    }

    fn rows(&self) -> Result<Rows> {
        Ok(Box::new(Pages::begin(self, None, |inner, fixed, at, after| {
            inner.page(&inner.statements.rows, &inner.statements.types, fixed, at, after)
        })?))
    }

    fn len(&self) -> Result<u64> {
        self.count(&self.inner.statements.len, &self.fixed)
    }

    fn clear(&self) -> Result<()> {
        let inner = &self.inner;
        inner.with_table_repair(|database| {
            database.write_idempotent(|connection| inner.clear(connection, &self.fixed))
        })
    }

    /// One statement, which every engine reads as of one moment.
    fn snapshot(&self) -> Result<Vec<Row>> {
        let inner = &self.inner;
        let (all, types) = (&inner.statements.all, &inner.statements.types);
        inner.with_table_repair(|database| {
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
        let rows = inner.validate_rows(rows)?;
        inner.with_table_repair(|database| {
            database
                .write_idempotent(|connection| inner.replace_all(connection, &self.fixed, &rows))
        })
    }

    fn leases(&self) -> Option<&dyn Leases> {
        self.inner.has_leases().then_some(self as &dyn Leases)
    }

    fn table(&self) -> Option<&dyn Any> {
        Some(&*self.inner)
    }
}

impl<D: Dialect> Leases for Table<D> {
    fn acquire(&self, key: &Key, holder: &str, lease: Duration) -> Result<bool> {
        let (inner, of) = (&self.inner, self.inner.leased(key));
        inner.with_table_repair(|database| {
            database.write_idempotent(|connection| {
                database.acquire_lease(connection, &of, holder, lease)
            })
        })
    }

    fn renew(&self, key: &Key, holder: &str, lease: Duration) -> Result<bool> {
        let (inner, of) = (&self.inner, self.inner.leased(key));
        inner.with_table_repair(|database| {
            database
                .write_idempotent(|connection| database.renew_lease(connection, &of, holder, lease))
        })
    }

    fn release(&self, key: &Key, holder: &str) -> Result<()> {
        let (inner, of) = (&self.inner, self.inner.leased(key));
        inner.with_table_repair(|database| {
            database.write_idempotent(|connection| database.release_lease(connection, &of, holder))
        })
    }

    fn fill(&self, row: Row, at: i64, holder: &str) -> Result<LeasedFill> {
        let inner = &self.inner;
        let rows = inner.validate_new(vec![row])?;
        let [(key, row)] = &rows[..] else { return Ok(LeasedFill::Lost) };
        let of = inner.leased(key);
        inner.with_table_repair(|database| {
            database.write(|connection| {
                D::write_transaction(connection, |connection| {
                    if !database.lock_lease(connection, &of, holder)? {
                        return Ok(LeasedFill::Lost);
                    }
                    let stored = match inner.statements.expiring {
                        Some(_) => inner.replace_one(connection, key, row, at)?,
                        None => inner.insert(connection, key, row)?,
                    };
                    database.release_lease(connection, &of, holder)?;
                    Ok(stored.map_or(LeasedFill::Stored, LeasedFill::Existing))
                })
            })
        })
    }
}

type ReadPage<D> = fn(&TableInner<D>, &[Value], Option<&Value>, Option<&Key>) -> Result<Vec<Row>>;

/// A listing, a page at a time: no transaction is held open while the caller works, and no more
/// than a page is in memory.
struct Pages<D: Dialect> {
    table: Arc<TableInner<D>>,
    fixed: Arc<[Value]>,
    /// The time at which what is listed is not expired, if that is asked.
    at: Option<Value>,
    read: ReadPage<D>,
    rows: VecDeque<Row>,
    /// Whether there may be another page.
    more: bool,
    /// The key of the last row that was read.
    last: Option<Key>,
}

impl<D: Dialect> Pages<D> {
    fn begin(table: &Table<D>, at: Option<i64>, read: ReadPage<D>) -> Result<Self> {
        let (table, fixed) = (table.inner.clone(), table.fixed.clone());
        let at = at.filter(|_| table.statements.expiring.is_some()).map(Value::Timestamp);
        let rows = VecDeque::new();
        let mut pages = Self { table, fixed, at, read, rows, more: true, last: None };
        pages.turn()?;
        Ok(pages)
    }

    fn turn(&mut self) -> Result<()> {
        let rows = (self.read)(&self.table, &self.fixed, self.at.as_ref(), self.last.as_ref())?;
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
