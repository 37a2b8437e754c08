//! Expiry: replacing, touching and removing expired records.

use super::write::all_complete;
use super::{Table, TableInner};
use crate::backends::sql::dialect::Dialect;
use crate::backends::sql::dialect::expiry::Expiring;
use crate::backends::sql::dialect::write::{no_expiry, remove_expired, replace_expired};
use crate::backends::sql::error::CallError;
use crate::backends::sql::statement::{Conn, Sql, execute};
use crate::store::is_live;
use crate::{Key, Result, Row, Value};

impl<D: Dialect> Table<D> {
    /// Executes a statement that removes up to `limit` rows of the section, and returns how many it
    /// removed.
    pub(super) fn remove_some(&self, sql: &Sql, values: &[Value], limit: usize) -> Result<usize> {
        let limit = Value::Int(i64::try_from(limit).unwrap_or(i64::MAX));
        let values = [&*self.section, values, &[limit]].concat();
        self.inner.write_idempotent(|connection| Ok(execute::<D>(connection, sql.with(&values))?))
    }
}

impl<D: Dialect> TableInner<D> {
    /// Returns the statements on expiring records.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Unsupported`](crate::ErrorKind::Unsupported) if records do not expire.
    pub(super) fn expiring(&self) -> Result<&Expiring> {
        self.statements.expiring.as_ref().ok_or_else(no_expiry)
    }

    /// Stores rows whose keys have no record or an expired one, all or none. Returns the records of
    /// the other keys.
    pub(super) fn replace_expired<C: Conn<D>>(
        &self,
        connection: &mut C,
        rows: &[(Key, Result<Row>)],
        at: i64,
    ) -> Result<Vec<Option<Row>>, CallError> {
        if let [(key, row)] = rows {
            return Ok(vec![self.replace_one(connection, key, row, at)?]);
        }
        if let Some((keys, rows)) = all_complete(rows) {
            return D::replace_all_expired(connection, &self.statements, &keys, &rows, at);
        }
        D::write_transaction(connection, |connection| {
            let mut replace = |(key, row): &(Key, Result<Row>)| {
                let replaced = self.replace_one(connection, key, row, at);
                replaced.map_err(|error| error.map_hilcat(|error| self.with_key(key, error)))
            };
            rows.iter().map(&mut replace).collect()
        })
    }

    pub(super) fn replace_one<C: Conn<D>>(
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

    /// Sets the expiry of a record that is not expired, and returns whether there was one.
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
}
