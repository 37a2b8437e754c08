//! Writing and removing records.

use super::TableInner;
use crate::Result;
use crate::backends::sql::dialect::Dialect;
use crate::backends::sql::dialect::write::{explain_unwritten, put};
use crate::backends::sql::error::CallError;
use crate::backends::sql::statement::{Conn, find};
use crate::store::key_to_text;
use crate::{Key, Row, Value};

impl<D: Dialect> TableInner<D> {
    pub(crate) fn set(&self, connection: &mut impl Conn<D>, row: &Row) -> Result<(), CallError> {
        put::<D>(connection, &self.statements, row)
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
            rows.iter().try_for_each(|row| {
                let written = self.set(connection, row);
                written.map_err(|error| error.map_hilcat(|error| self.with_row_key(row, error)))
            })
        })
    }

    pub(crate) fn update(
        &self,
        connection: &mut impl Conn<D>,
        row: &Row,
    ) -> Result<Option<Row>, CallError> {
        D::update(connection, &self.statements, row)
    }

    /// Inserts a row unless its key has a record, and returns that record. `row` is an error if it
    /// lacks columns that a new record needs; this is returned only if the key has no record.
    pub(super) fn insert(
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
            // The record was removed after the attempt, or the database suppresses the insert.
            (None, Ok(row)) => {
                let (statements, key) = (&self.statements, D::stored_key(self.schema(), key));
                Err(explain_unwritten::<D, _>(
                    connection,
                    statements,
                    &key,
                    statements.set.with(row),
                ))
            }
        }
    }

    /// Inserts rows as [`insert`](Self::insert) does, all or none.
    pub(super) fn insert_many(
        &self,
        connection: &mut impl Conn<D>,
        rows: &[(Key, Result<Row>)],
    ) -> Result<Vec<Option<Row>>, CallError> {
        if let Some((keys, rows)) = all_complete(rows) {
            return D::insert_all(connection, &self.statements, &keys, &rows);
        }
        D::write_transaction(connection, |connection| {
            let mut insert = |(key, row): &(Key, Result<Row>)| {
                let inserted = self.insert(connection, key, row);
                inserted.map_err(|error| error.map_hilcat(|error| self.with_key(key, error)))
            };
            rows.iter().map(&mut insert).collect()
        })
    }

    /// Replaces a record if it is still equal to `old`. Its row is locked from the comparison to the
    /// write.
    pub(super) fn replace_unchanged<C: Conn<D>>(
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

    /// Replaces all rows of a section by `rows`, in one transaction.
    pub(super) fn replace_all(
        &self,
        connection: &mut impl Conn<D>,
        section: &[Value],
        rows: &[Row],
    ) -> Result<(), CallError> {
        D::write_transaction(connection, |connection| {
            self.clear(connection, section)?;
            self.set_many(connection, rows)
        })
    }

    /// Removes the rows of a section, and revokes its leases.
    pub(crate) fn clear(
        &self,
        connection: &mut impl Conn<D>,
        section: &[Value],
    ) -> Result<(), CallError> {
        if !self.has_leases() {
            return D::clear(connection, &self.statements, section);
        }
        D::write_transaction(connection, |connection| {
            self.database.revoke_leases(connection, &self.lease_scope(section))?;
            D::clear(connection, &self.statements, section)
        })
    }

    /// Removes a row and returns it, and revokes its lease.
    pub(crate) fn pop(
        &self,
        connection: &mut impl Conn<D>,
        key: &Key,
    ) -> Result<Option<Row>, CallError> {
        if self.has_leases() {
            return D::write_transaction(connection, |connection| {
                self.database.revoke_lease(connection, &self.lease_key(key))?;
                self.pop_one(connection, key)
            });
        }
        self.pop_one(connection, key)
    }

    fn pop_one(&self, connection: &mut impl Conn<D>, key: &Key) -> Result<Option<Row>, CallError> {
        match self.numeric_affinity.is_empty() {
            true => D::pop(connection, &self.statements, key),
            false => Ok(self.pop_exact(connection, std::slice::from_ref(key))?.pop().flatten()),
        }
    }

    /// Removes rows and returns them, all or none, and revokes their leases.
    pub(crate) fn pop_many(
        &self,
        connection: &mut impl Conn<D>,
        keys: &[Key],
    ) -> Result<Vec<Option<Row>>, CallError> {
        if !self.has_leases() {
            return self.pop_all(connection, keys);
        }
        // Calls that lock leases in the same order cannot deadlock with each other.
        let mut ordered: Vec<&Key> = keys.iter().collect();
        ordered.sort_by_cached_key(|key| key_to_text(key).into_owned());
        D::write_transaction(connection, |connection| {
            for key in &ordered {
                self.database.revoke_lease(connection, &self.lease_key(key))?;
            }
            self.pop_all(connection, keys)
        })
    }

    fn pop_all(
        &self,
        connection: &mut impl Conn<D>,
        keys: &[Key],
    ) -> Result<Vec<Option<Row>>, CallError> {
        match self.numeric_affinity.is_empty() {
            true => D::pop_many(connection, &self.statements, keys),
            false => self.pop_exact(connection, keys),
        }
    }

    /// Removes the rows of keys one by one, each only if it has the very key.
    fn pop_exact(
        &self,
        connection: &mut impl Conn<D>,
        keys: &[Key],
    ) -> Result<Vec<Option<Row>>, CallError> {
        D::write_transaction(connection, |connection| {
            let mut pop = |key: &Key| match self.fetch(connection, key)? {
                None => Ok(None),
                Some(_) => D::pop(connection, &self.statements, key),
            };
            keys.iter().map(&mut pop).collect()
        })
    }
}

/// Returns the keys and the rows, if no row lacks columns.
pub(super) fn all_complete(rows: &[(Key, Result<Row>)]) -> Option<(Vec<Key>, Vec<Row>)> {
    rows.iter().map(|(key, row)| Some((key.clone(), row.clone().ok()?))).collect()
}
