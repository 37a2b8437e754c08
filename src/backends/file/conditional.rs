//! Operations that compare the stored record, or its expiry, before they change it.

use std::collections::{BTreeMap, HashSet};

use super::expiry_index::Entry;
use super::name::RecordPath;
use super::scope::Inner;
use super::write::Written;
use crate::store::is_live;
use crate::{Error, Key, Result, Row, Value};

impl Inner {
    /// Returns the expiry of a row that keeps the absent columns of the stored record.
    pub(super) fn expiry_over(&self, row: &[Value], old: Option<&Row>) -> Option<i64> {
        let column = self.expiry?;
        let value = match (&row[column], old) {
            (Value::Absent, Some(old)) => &old[column],
            (Value::Absent, None) => self.schema.columns[column].default.as_ref()?,
            (value, _) => value,
        };
        match value {
            Value::Timestamp(expires) => Some(*expires),
            _ => None,
        }
    }

    /// Adds the expiries of files that are about to be moved to their paths. Each file is given by
    /// its temporary name.
    pub(super) fn index_expiries<'a>(
        &self,
        written: impl ExactSizeIterator<Item = (String, &'a RecordPath, &'a Written)>,
    ) -> Result<()> {
        let Some(index) = &self.index else { return Ok(()) };
        let count = written.len();
        let mut entries = Vec::new();
        for (name, path, written) in written {
            let Some(expires) = written.expires else { continue };
            let file = self.at.temporary.number(&name)?.unwrap_or_default();
            entries.push(Entry { expires, file, path: path.to_text() });
        }
        index.add(&entries)?;
        match self.schema.freshness.max_records {
            Some(_) => index.count_writes(count),
            None => Ok(()),
        }
    }

    /// Returns the live records among those of `rows`, and the files to write for the other rows.
    #[expect(clippy::type_complexity, reason = "two lists")]
    pub(super) fn prepare_expired(
        &self,
        rows: Vec<Row>,
        at: i64,
    ) -> Result<(Vec<Option<Row>>, BTreeMap<RecordPath, (Key, Written)>)> {
        let mut files = BTreeMap::new();
        let mut stored = Vec::with_capacity(rows.len());
        for row in rows {
            let key = self.schema.key_of(&row);
            let mut prepare = || {
                let path = self.path(&key)?;
                let live = self.fetch(&key)?.filter(|row| is_live(&self.schema, row, at));
                if live.is_none() {
                    let written = self.replaced(&key, None, row.clone())?.0;
                    files.insert(path, (key.clone(), written));
                }
                Ok(live)
            };
            stored.push(prepare().map_err(|error: Error| error.with_key(&key))?);
        }
        Ok((stored, files))
    }

    pub(super) fn replace_expired(&self, rows: Vec<Row>, at: i64) -> Result<Vec<Option<Row>>> {
        let _held = self.write_lock()?;
        let (stored, files) = self.prepare_expired(rows, at)?;
        self.put_all(&files)?;
        Ok(stored)
    }

    pub(super) fn remove_expired(&self, keys: &[Key], at: i64) -> Result<()> {
        let _held = self.write_lock()?;
        let mut seen = HashSet::new();
        for key in keys.iter().filter(|key| seen.insert(*key)) {
            let row = self.fetch(key).map_err(|error| error.with_key(key))?;
            if row.is_some_and(|row| !is_live(&self.schema, &row, at)) {
                self.remove(&self.path(key)?)?;
            }
        }
        Ok(())
    }

    pub(super) fn replace_unchanged(&self, old: Option<&Row>, row: Row) -> Result<bool> {
        let key = self.schema.key_of(&row);
        let path = self.path(&key)?;
        let _held = self.write_lock()?;
        let stored = self.read(&path)?;
        let found = stored.clone().map(|bytes| self.format.decode(&key, bytes)).transpose()?;
        if found.as_ref() != old {
            return Ok(false);
        }
        let (written, _) = self.replaced(&key, stored, row)?;
        self.put(&key, &path, &written)?;
        Ok(true)
    }

    pub(super) fn touch(&self, key: &Key, at: i64, expires: &Value) -> Result<bool> {
        let Some(column) = self.expiry else { return Ok(false) };
        let path = self.path(key)?;
        let _held = self.write_lock()?;
        let Some(stored) = self.read(&path)? else { return Ok(false) };
        let mut row = self.format.decode(key, stored.clone())?;
        if !is_live(&self.schema, &row, at) {
            return Ok(false);
        }
        row[column] = expires.clone();
        let (written, _) = self.replaced(key, Some(stored), row)?;
        self.put(key, &path, &written)?;
        Ok(true)
    }
}
