//! Writes of one or several files.

use std::collections::BTreeMap;

use super::dir::Dir;
use super::journal::Step;
use super::lock::LockGuard;
use super::name::RecordPath;
use super::scope::{Inner, SchemaState};
use crate::codec::key::to_text;
use crate::{Key, Result, Row};

/// The temporary file of a write of one record.
pub(super) const STAGED: &str = "one";

/// Batches of more files than this are flushed by one call for the whole file system, where there
/// is such a call, instead of file by file.
const SYNC_ALL_ABOVE: usize =
    if cfg!(any(target_os = "linux", target_os = "android")) { 32 } else { usize::MAX };

/// The content of a file to be written.
#[derive(Debug)]
pub(super) struct Written {
    pub(super) bytes: Vec<u8>,
    pub(super) expires: Option<i64>,
}

impl Inner {
    pub(super) fn encoded(&self, row: &Row) -> Result<Written> {
        let bytes = self.format.encode(row)?;
        Ok(Written { bytes, expires: self.expiry_over(row, None) })
    }

    /// Merges a row into the stored record. Returns the file to write and the stored record.
    pub(super) fn replaced(
        &self,
        key: &Key,
        old: Option<Vec<u8>>,
        row: Row,
    ) -> Result<(Written, Option<Row>)> {
        let replaced = self.format.replace(key, old, row.clone())?;
        let expires = self.expiry_over(&row, replaced.old.as_ref());
        Ok((Written { bytes: replaced.bytes, expires }, replaced.old))
    }

    /// Writes one file. The caller holds the lock.
    pub(super) fn put(&self, key: &Key, path: &RecordPath, written: &Written) -> Result<()> {
        let directory = self.write_temporary(key, path, written)?;
        self.at.temporary.rename(STAGED, &directory, &path.file)?;
        directory.sync_change(self.at.durable)
    }

    /// Writes a file unless it exists. Returns the existing content otherwise. The caller holds the
    /// lock; files created by programs that ignore the lock, such as the Python package, are not
    /// overwritten either.
    fn put_new(&self, key: &Key, path: &RecordPath, written: &Written) -> Result<Option<Vec<u8>>> {
        let directory = self.write_temporary(key, path, written)?;
        if self.at.temporary.rename_new(STAGED, &directory, &path.file)? {
            directory.sync_change(self.at.durable)?;
            return Ok(None);
        }
        match self.read(path)? {
            Some(stored) => Ok(Some(stored)),
            // The file has been removed again, or the name is that of a directory, which this
            // reports.
            None => self.put(key, path, written).map(|()| None),
        }
    }

    /// Writes the temporary file and returns the directory that it is to be moved to.
    fn write_temporary(&self, key: &Key, path: &RecordPath, written: &Written) -> Result<Dir> {
        let durable = self.at.durable;
        self.write_key_file(key, path)?;
        self.at.temporary.write(STAGED, &written.bytes, durable)?;
        self.index_expiries([(STAGED.to_owned(), path, written)].into_iter())?;
        self.at.records.make_parent(path, durable)
    }

    pub(super) fn insert(&self, row: Row) -> Result<Option<Row>> {
        let key = self.schema.key_of(&row);
        let path = self.path(&key)?;
        let _held = self.write_lock()?;
        let stored = match self.read(&path)? {
            Some(stored) => Some(stored),
            None => self.put_new(&key, &path, &self.replaced(&key, None, row)?.0)?,
        };
        stored.map(|stored| self.format.decode(&key, stored)).transpose()
    }

    /// Writes the files of a batch. The caller holds the lock.
    pub(super) fn put_all(&self, files: &BTreeMap<RecordPath, (Key, Written)>) -> Result<()> {
        match files.first_key_value() {
            None => Ok(()),
            Some((path, (key, written))) if files.len() == 1 => self.put(key, path, written),
            Some(_) => self.at.commit(&self.stage(files)?),
        }
    }

    /// Adds a row to a batch unless its record exists. Returns the existing record otherwise.
    pub(super) fn prepare_new(
        &self,
        files: &mut BTreeMap<RecordPath, (Key, Written)>,
        key: &Key,
        row: Row,
    ) -> Result<Option<Row>> {
        let path = self.path(key)?;
        if let Some(stored) = self.read(&path)? {
            return self.format.decode(key, stored).map(Some);
        }
        let (written, _) = self.replaced(key, None, row)?;
        files.insert(path, (key.clone(), written));
        Ok(None)
    }

    /// Stores the text of a long key if the file itself does not contain it.
    fn write_key_file(&self, key: &Key, path: &RecordPath) -> Result<()> {
        let Some(digest) = path.digest().filter(|_| !self.format.has_key()) else { return Ok(()) };
        if self.at.keys.version(digest)?.is_some() {
            return Ok(());
        }
        let durable = self.at.durable;
        self.at.temporary.write(STAGED, to_text(key).as_bytes(), durable)?;
        self.at.temporary.rename(STAGED, &self.at.keys, digest)?;
        self.at.keys.sync(durable)
    }

    pub(super) fn write(&self, row: Row) -> Result<Option<Row>> {
        let key = self.schema.key_of(&row);
        let path = self.path(&key)?;
        let guard = self.write_lock()?;
        let (written, old) = self.replaced(&key, self.read(&path)?, row)?;
        self.put(&key, &path, &written)?;
        drop(guard);
        Ok(old)
    }

    /// Encodes the files of a batch, by their paths.
    pub(super) fn prepare(
        &self,
        guard: &LockGuard<'_, SchemaState>,
        rows: Vec<Row>,
    ) -> Result<BTreeMap<RecordPath, (Key, Written)>> {
        let mut files: BTreeMap<RecordPath, (Key, Written)> = BTreeMap::new();
        for row in rows {
            let key = self.schema.key_of(&row);
            let path = self.path(&key).map_err(|error| error.with_key(&key))?;
            let written = match self.can_overwrite(guard, &row) {
                true => self.encoded(&row),
                false => self.merged(&key, files.get(&path), &path, row),
            };
            let written = written.map_err(|error| error.with_key(&key))?;
            files.insert(path, (key, written));
        }
        Ok(files)
    }

    fn merged(
        &self,
        key: &Key,
        earlier: Option<&(Key, Written)>,
        path: &RecordPath,
        row: Row,
    ) -> Result<Written> {
        let old = match earlier {
            Some((_, written)) => Some(written.bytes.clone()),
            None => self.read(path)?,
        };
        Ok(self.replaced(key, old, row)?.0)
    }

    /// Writes the temporary files of a batch. Returns the steps that move them to their paths.
    pub(super) fn stage(&self, files: &BTreeMap<RecordPath, (Key, Written)>) -> Result<Vec<Step>> {
        let sync_all = files.len() > SYNC_ALL_ABOVE;
        let mut steps = Vec::with_capacity(files.len());
        for (count, (path, (key, written))) in files.iter().enumerate() {
            let name = count.to_string();
            let durable = self.at.durable && !sync_all;
            let staged = self.stage_file(&name, key, path, &written.bytes, durable);
            if let Err(error) = staged {
                // The batch has not been committed, so its temporary files are removed; the next
                // batch overwrites any others.
                (0..=count).for_each(|at| drop(self.at.temporary.remove(&at.to_string())));
                return Err(error.with_key(key));
            }
            steps.push(Step::Put(name, path.to_text()));
        }
        self.at.temporary.sync_all(self.at.durable && sync_all)?;
        let staged = files.iter().enumerate();
        let staged = staged.map(|(count, (path, (_, written)))| (count.to_string(), path, written));
        self.index_expiries(staged.collect::<Vec<_>>().into_iter())?;
        Ok(steps)
    }

    fn stage_file(
        &self,
        name: &str,
        key: &Key,
        path: &RecordPath,
        bytes: &[u8],
        durable: bool,
    ) -> Result<()> {
        self.write_key_file(key, path)?;
        let directory = self.at.records.make_parent(path, durable)?;
        if self.at.names.plain {
            directory.check_free(&path.file)?;
        }
        self.at.temporary.write(name, bytes, durable)
    }

    /// Returns the steps that remove all records other than these.
    pub(super) fn removals_except(
        &self,
        files: &BTreeMap<RecordPath, (Key, Written)>,
    ) -> Result<Vec<Step>> {
        let mut steps = Vec::new();
        for path in self.walk() {
            let path = path?;
            if self.at.names.read(&path).is_some() && !files.contains_key(&path) {
                steps.push(Step::Remove(path.to_text()));
            }
        }
        Ok(steps)
    }
}
