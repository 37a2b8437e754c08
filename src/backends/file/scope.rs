//! The store of one scope.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use super::dir::{FileVersion, outcome_unknown};
use super::expiry_index::Index;
use super::format::Format;
use super::journal::{Directories, SCHEMA, Step};
use super::lease::LeaseFiles;
use super::lock::{Lock, LockGuard};
use super::name::{Named, RecordPath};
use super::schema_file;
use super::walk::Walk;
use crate::clock::SharedClock;
use crate::codec::key::{from_text, to_text};
use crate::freshness::EXPIRES_AT;
use crate::schema::{plan, unknown_columns};
use crate::store::{Keys, Leases, Rows, ScopeStore};
use crate::{Error, ErrorKind, Key, Result, Row, Schema};

/// A handle on the files of a scope, with the schema that it was opened with.
#[derive(Debug, Clone)]
pub(super) struct FileScope(Arc<Inner>);

#[derive(Debug)]
pub(super) struct Inner {
    pub(super) schema: Arc<Schema>,
    pub(super) format: Format,
    pub(super) at: Directories,
    /// `None` in a scope that is opened read-only.
    lock: Option<Lock<SchemaState>>,
    pub(super) clock: SharedClock,
    /// The position of the column that holds the expiry.
    pub(super) expiry: Option<usize>,
    pub(super) index: Option<Index>,
    /// Whether this handle has rebuilt the index, or started to.
    pub(super) rebuilt: AtomicBool,
    pub(super) leases: Option<LeaseFiles>,
}

/// The stored schema, as last read by this handle.
#[derive(Debug, Default)]
pub(super) struct SchemaState {
    version: Option<FileVersion>,
    /// Whether it has columns that the handle's schema lacks.
    has_unknown_columns: bool,
}

impl FileScope {
    pub(super) fn new(
        schema: Arc<Schema>,
        format: Format,
        at: Directories,
        lock: Option<Lock<SchemaState>>,
        clock: SharedClock,
    ) -> Result<Self> {
        let expiry = schema.expiry_column();
        let own = |name: &str, wanted: bool| match wanted && lock.is_some() {
            true => at.own.make(name, at.durable).map(Some),
            false => Ok(None),
        };
        let index = own("expiry", expiry.is_some())?.map(Index::new);
        let leases = own("leases", schema.freshness.lease().is_some())?.map(LeaseFiles::new);
        let rebuilt = AtomicBool::new(false);
        let inner = Inner { schema, format, at, lock, clock, expiry, index, rebuilt, leases };
        Ok(Self(Arc::new(inner)))
    }

    pub(super) fn inner(&self) -> &Arc<Inner> {
        &self.0
    }
}

impl Inner {
    /// Takes the lock for a write, after recovering the batch of a crashed process.
    pub(super) fn write_lock(&self) -> Result<LockGuard<'_, SchemaState>> {
        let mut guard = self.lock.as_ref().ok_or_else(Error::read_only)?.lock()?;
        self.at.recover()?;
        let version = self.at.own.version(SCHEMA)?;
        if guard.state.version.is_none() || guard.state.version != version {
            guard.state.has_unknown_columns = self.has_unknown_columns()?;
            guard.state.version = version;
        }
        Ok(guard)
    }
    /// Whether the stored schema has columns that the handle's schema lacks.
    ///
    /// # Errors
    ///
    /// Fails if the stored schema cannot read what this handle writes.
    fn has_unknown_columns(&self) -> Result<bool> {
        let stored = schema_file::stored_schema(&self.at.own, &self.schema)?;
        match stored.filter(|stored| plan(&self.schema, stored).is_safe()) {
            // Every write sets or clears the expiry.
            Some(stored_schema) => Ok(unknown_columns(&stored_schema, &self.schema)
                .any(|column| column.name != EXPIRES_AT)),
            None => Err(Error::new(
                ErrorKind::SchemaChange,
                "the scope was removed or recreated under another schema after this handle was opened; open the scope again",
            )),
        }
    }

    pub(super) fn path(&self, key: &Key) -> Result<RecordPath> {
        self.at.names.path(&to_text(key))
    }

    pub(super) fn read(&self, path: &RecordPath) -> Result<Option<Vec<u8>>> {
        if path.directories.is_empty() {
            return self.at.records.read(&path.file);
        }
        match self.at.records.parent(path)? {
            Some(directory) => directory.read(&path.file),
            None => Ok(None),
        }
    }

    pub(super) fn fetch(&self, key: &Key) -> Result<Option<Row>> {
        let found = self.read(&self.path(key)?)?;
        found.map(|bytes| self.format.decode(key, bytes)).transpose()
    }

    /// Whether a row can be written without reading the stored record.
    pub(super) fn can_overwrite(&self, guard: &LockGuard<'_, SchemaState>, row: &Row) -> bool {
        !guard.state.has_unknown_columns && !row.iter().any(crate::Value::is_absent)
    }

    pub(super) fn leases(&self) -> Result<&LeaseFiles> {
        self.leases.as_ref().ok_or_else(|| {
            Error::unsupported("the scope has no leases; set `single_flight = \"shared\"`")
        })
    }

    /// Returns the key of a file; `None` if it is not a record.
    fn key_at(&self, path: &RecordPath) -> Result<Option<Key>> {
        let text = match self.at.names.read(path) {
            None => return Ok(None),
            Some(Named::Key(text)) => text,
            Some(Named::Digest(digest)) => match self.format.has_key() {
                true => return self.key_in_file(path),
                false => self.long_key(&digest)?,
            },
        };
        let key = from_text(&text, &self.schema)?;
        match to_text(&key) == text {
            true => Ok(Some(key)),
            false => Err(Error::invalid_data("the file name is not a key of this scope")),
        }
    }

    fn key_in_file(&self, path: &RecordPath) -> Result<Option<Key>> {
        match self.read(path)? {
            Some(bytes) => self.format.key_of(&bytes),
            None => Ok(None),
        }
    }

    fn long_key(&self, digest: &str) -> Result<String> {
        let bytes = self.at.keys.read(digest)?.unwrap_or_default();
        let key = String::from_utf8(bytes).unwrap_or_default();
        match self.at.names.path(&key)?.digest() == Some(digest) {
            true => Ok(key),
            false => Err(Error::invalid_data(
                "the key of this file is missing: its name is a digest, and the file with the key does not exist",
            )),
        }
    }

    pub(super) fn row_at(&self, path: &RecordPath) -> Result<Option<Row>> {
        let Some(key) = self.key_at(path)? else { return Ok(None) };
        let found = self.read(path)?;
        let row = found.map(|bytes| self.format.decode(&key, bytes)).transpose();
        row.map_err(|error| error.with_key(&key))
    }

    pub(super) fn walk(&self) -> Walk {
        Walk::records(self.at.records.clone(), &self.at.names)
    }
}

impl ScopeStore for FileScope {
    fn schema(&self) -> &Arc<Schema> {
        &self.0.schema
    }

    fn exists(&self, key: &Key) -> Result<bool> {
        let path = self.0.path(key)?;
        match self.0.at.records.parent(&path)? {
            Some(directory) => directory.is_file(&path.file),
            None => Ok(false),
        }
    }

    fn fetch(&self, key: &Key) -> Result<Option<Row>> {
        self.0.fetch(key)
    }

    fn fetch_many(&self, keys: &[Key]) -> Result<Vec<Option<Row>>> {
        keys.iter().map(|key| self.0.fetch(key).map_err(|error| error.with_key(key))).collect()
    }

    fn set(&self, row: Row) -> Result<()> {
        let inner = &*self.0;
        let guard = inner.write_lock()?;
        if !inner.can_overwrite(&guard, &row) {
            drop(guard);
            return inner.write(row).map(drop);
        }
        let key = inner.schema.key_of(&row);
        let path = inner.path(&key)?;
        inner.put(&key, &path, &inner.encoded(&row)?)
    }

    fn update(&self, row: Row) -> Result<Option<Row>> {
        self.0.write(row)
    }

    fn insert(&self, row: Row) -> Result<Option<Row>> {
        self.0.insert(row)
    }

    fn insert_many(&self, rows: Vec<Row>) -> Result<Vec<Option<Row>>> {
        let inner = &*self.0;
        let _held = inner.write_lock()?;
        let mut files = BTreeMap::new();
        let stored = rows.into_iter().map(|row| {
            let key = inner.schema.key_of(&row);
            inner.prepare_new(&mut files, &key, row).map_err(|error| error.with_key(key))
        });
        let stored = stored.collect::<Result<Vec<_>>>()?;
        inner.put_all(&files)?;
        Ok(stored)
    }

    fn set_many(&self, rows: Vec<Row>) -> Result<()> {
        let inner = &*self.0;
        let guard = inner.write_lock()?;
        inner.put_all(&inner.prepare(&guard, rows)?)
    }

    fn pop(&self, key: &Key) -> Result<Option<Row>> {
        let inner = &*self.0;
        let path = inner.path(key)?;
        let _held = inner.write_lock()?;
        inner.revoke([key])?;
        let Some(row) = inner.fetch(key)? else { return Ok(None) };
        if let Some(directory) = inner.at.records.parent(&path)? {
            directory.remove(&path.file)?;
            directory.sync_change(inner.at.durable)?;
            inner.at.prune_above(&path).map_err(outcome_unknown)?;
        }
        Ok(Some(row))
    }

    fn pop_many(&self, keys: &[Key]) -> Result<Vec<Option<Row>>> {
        let inner = &*self.0;
        let _held = inner.write_lock()?;
        inner.revoke(keys)?;
        let mut removed: BTreeMap<RecordPath, Step> = BTreeMap::new();
        let mut rows = Vec::with_capacity(keys.len());
        for key in keys {
            let path = inner.path(key).map_err(|error| error.with_key(key))?;
            let row = match removed.contains_key(&path) {
                true => None,
                false => inner.fetch(key).map_err(|error| error.with_key(key))?,
            };
            if row.is_some() {
                let step = Step::Remove(path.to_text());
                removed.insert(path, step);
            }
            rows.push(row);
        }
        if !removed.is_empty() {
            inner.at.commit(&removed.into_values().collect::<Vec<_>>())?;
        }
        Ok(rows)
    }

    fn keys(&self) -> Result<Keys> {
        let inner = self.0.clone();
        let key = move |path: Result<RecordPath>| {
            inner.key_at(&path?).transpose().map_or(Ok(None), |key| key.map(Some))
        };
        Ok(Box::new(self.0.walk().map(key).filter_map(Result::transpose)))
    }

    fn rows(&self) -> Result<Rows> {
        let inner = self.0.clone();
        let row = move |path: Result<RecordPath>| inner.row_at(&path?);
        Ok(Box::new(self.0.walk().map(row).filter_map(Result::transpose)))
    }

    fn len(&self) -> Result<u64> {
        self.0.count()
    }

    /// The steps of a journal must be repeatable, so the removed records are listed instead of
    /// clearing the directory first.
    fn replace_all(&self, mut rows: Vec<Row>) -> Result<()> {
        let inner = &*self.0;
        let guard = inner.write_lock()?;
        rows.iter_mut().try_for_each(|row| inner.schema.fill_absent(row))?;
        let files = inner.prepare(&guard, rows)?;
        let mut steps = inner.removals_except(&files)?;
        steps.extend(inner.stage(&files)?);
        inner.at.commit(&steps)
    }

    fn clear(&self) -> Result<()> {
        let inner = &self.0;
        let _held = inner.write_lock()?;
        inner.leases.as_ref().map_or(Ok(()), LeaseFiles::clear)?;
        inner.at.commit(&[Step::Clear])?;
        inner.index.as_ref().map_or(Ok(()), Index::clear)
    }

    fn replace_expired(&self, rows: Vec<Row>, at: i64) -> Result<Vec<Option<Row>>> {
        self.0.replace_expired(rows, at)
    }

    fn remove_expired(&self, keys: &[Key], at: i64) -> Result<()> {
        self.0.remove_expired(keys, at)
    }

    fn replace_unchanged(&self, old: Option<&Row>, row: Row) -> Result<bool> {
        self.0.replace_unchanged(old, row)
    }

    fn touch(&self, key: &Key, at: i64, expires: crate::Value) -> Result<bool> {
        self.0.touch(key, at, &expires)
    }

    fn purge(&self, before: i64, limit: usize) -> Result<usize> {
        self.0.purge(before, limit)
    }

    fn trim(&self, records: u64, limit: usize) -> Result<usize> {
        self.0.trim(records, limit)
    }

    fn leases(&self) -> Option<&dyn Leases> {
        self.0.leases.is_some().then_some(self)
    }
}
