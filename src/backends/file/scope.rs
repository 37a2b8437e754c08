//! One scope of the file backend.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use super::dir::{Dir, FileVersion, outcome_unknown};
use super::expiry::Index;
use super::format::Format;
use super::journal::{Directories, SCHEMA, Step};
use super::lease::LeaseFiles;
use super::lock::{Held, Lock};
use super::name::{Named, RecordPath};
use super::walk::Walk;
use crate::clock::SharedClock;
use crate::codec::key::{from_text, to_text};
use crate::freshness::EXPIRES_AT;
use crate::schema::{Apply, merged, plan, table_of_another, unknown_columns, upgrade};
use crate::store::{Keys, Leases, Rows, ScopeStore};
use crate::{Error, ErrorKind, Key, Plan, Result, Row, Schema};

/// The temporary file of a change of one file.
const ONE: &str = "one";

/// A batch of more files than this has the whole file system written to the disk at once, where
/// that can be asked for, instead of one file after the other.
const BULK: usize =
    if cfg!(any(target_os = "linux", target_os = "android")) { 32 } else { usize::MAX };

/// A handle on the files of a scope, under the schema that it was opened with.
#[derive(Debug, Clone)]
pub(super) struct FileScope(Arc<Inner>);

#[derive(Debug)]
pub(super) struct Inner {
    pub(super) schema: Arc<Schema>,
    pub(super) format: Format,
    pub(super) at: Directories,
    /// None in a directory that is only read.
    lock: Option<Lock<Seen>>,
    pub(super) clock: SharedClock,
    /// The column that says when a record expires.
    pub(super) expiry: Option<usize>,
    pub(super) index: Option<Index>,
    /// This handle has made the index anew, or begun to.
    pub(super) rebuilt: AtomicBool,
    pub(super) leases: Option<LeaseFiles>,
}

/// What a file is to hold.
#[derive(Debug)]
pub(super) struct Written {
    pub(super) bytes: Vec<u8>,
    pub(super) expires: Option<i64>,
}

/// The schema that stands, as it was seen last.
#[derive(Debug, Default)]
pub(super) struct Seen {
    stamp: Option<FileVersion>,
    /// It has columns that the handle's does not know.
    other: bool,
}

impl FileScope {
    pub(super) fn new(
        schema: Arc<Schema>,
        format: Format,
        at: Directories,
        lock: Option<Lock<Seen>>,
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

/// Completes what another process left, and brings a scope under a schema. Gives the schema that
/// its records stand under then, and what that changed.
pub(super) fn apply(
    at: &Directories,
    lock: &Lock<Seen>,
    schema: &Schema,
    when: Apply,
) -> Result<(Schema, Plan)> {
    let _held = lock.hold()?;
    at.recover()?;
    let Some(stored_schema) = stored_schema(&at.own, schema)? else {
        let stored = merged(None, schema);
        write_schema(at, &stored, &[])?;
        return Ok((stored, Plan::empty(schema)));
    };
    let schema = &schema.with_expiry_of(&stored_schema);
    let upgrade = upgrade(&stored_schema, schema, when)?;
    match (upgrade.recreate, upgrade.other) {
        (true, _) => write_schema(at, &upgrade.stored, &[Step::Clear])?,
        (false, true) => write_schema(at, &upgrade.stored, &[])?,
        (false, false) => return Ok((stored_schema, upgrade.plan)),
    }
    Ok((upgrade.stored, upgrade.plan))
}

/// Stores a schema as the one of the records, after these steps.
fn write_schema(at: &Directories, schema: &Schema, before: &[Step]) -> Result<()> {
    at.temporary.write(ONE, schema.to_toml().as_bytes(), at.durable)?;
    let mut steps = before.to_vec();
    steps.push(Step::Schema(ONE.to_owned()));
    at.commit(&steps)
}

/// The schema that a scope stands under; none where it was never opened.
pub(super) fn stored_schema(own: &Dir, schema: &Schema) -> Result<Option<Schema>> {
    let Some(stored_schema) = read_schema(own)? else { return Ok(None) };
    match stored_schema.name == schema.name {
        true => Ok(Some(stored_schema)),
        false => Err(table_of_another(schema, &stored_schema.name)),
    }
}

pub(super) fn read_schema(own: &Dir) -> Result<Option<Schema>> {
    let broken = || Error::invalid_data("the stored schema of the scope is not UTF-8");
    let text = own.read(SCHEMA)?.map(|bytes| String::from_utf8(bytes).map_err(|_| broken()));
    text.transpose()?.map(|text| Schema::from_stored(&text)).transpose()
}

impl Inner {
    fn hold(&self) -> Result<Held<'_, Seen>> {
        self.lock.as_ref().ok_or_else(Error::read_only)?.hold()
    }

    /// Waits for the turn to write. What another process left half done is completed first.
    pub(super) fn turn(&self) -> Result<Held<'_, Seen>> {
        let mut held = self.hold()?;
        self.at.recover()?;
        let stamp = self.at.own.version(SCHEMA)?;
        if held.state.stamp.is_none() || held.state.stamp != stamp {
            held.state.other = self.is_other()?;
            held.state.stamp = stamp;
        }
        Ok(held)
    }

    /// Whether the stored schema has columns that the handle's does not know.
    ///
    /// # Errors
    ///
    /// Where it is one that does not read what this handle writes.
    fn is_other(&self) -> Result<bool> {
        let stored_schema = stored_schema(&self.at.own, &self.schema)?;
        match stored_schema.filter(|stored_schema| plan(&self.schema, stored_schema).is_safe()) {
            // The expiry is set anew, or ended, by every write.
            Some(stored_schema) => Ok(unknown_columns(&stored_schema, &self.schema)
                .any(|column| column.name != EXPIRES_AT)),
            None => Err(Error::new(
                ErrorKind::SchemaChange,
                "the scope was made anew under another schema since this handle was opened, or removed; open it again",
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

    /// Whether a row can be written without a look at what stands there.
    fn is_complete(&self, held: &Held<'_, Seen>, row: &Row) -> bool {
        !held.state.other && !row.iter().any(crate::Value::is_absent)
    }

    pub(super) fn leases(&self) -> Result<&LeaseFiles> {
        self.leases.as_ref().ok_or_else(|| {
            Error::unsupported("the scope has no leases: give it `single_flight = \"shared\"`")
        })
    }

    fn encoded(&self, row: &Row) -> Result<Written> {
        let bytes = self.format.encode(row)?;
        Ok(Written { bytes, expires: self.expiry_over(row, None) })
    }

    /// What is written for a row over a stored record, and that record.
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

    /// Writes one file; the caller holds the lock.
    pub(super) fn put(&self, key: &Key, path: &RecordPath, written: &Written) -> Result<()> {
        let directory = self.write_temporary(key, path, written)?;
        self.at.temporary.rename(ONE, &directory, &path.file)?;
        directory.sync_change(self.at.durable)
    }

    /// Writes a file where there is none, and gives what is there if there is one; the caller holds
    /// the lock. A program that does not take it, as the Python package does not, is not overwritten
    /// either.
    fn put_new(&self, key: &Key, path: &RecordPath, written: &Written) -> Result<Option<Vec<u8>>> {
        let directory = self.write_temporary(key, path, written)?;
        if self.at.temporary.rename_new(ONE, &directory, &path.file)? {
            directory.sync_change(self.at.durable)?;
            return Ok(None);
        }
        match self.read(path)? {
            Some(stored) => Ok(Some(stored)),
            // The file is gone again. (If a directory has its name, this reports it.)
            None => self.put(key, path, written).map(|()| None),
        }
    }

    /// Writes a file that has only to be moved to its path, and gives the directory of that.
    fn write_temporary(&self, key: &Key, path: &RecordPath, written: &Written) -> Result<Dir> {
        let durable = self.at.durable;
        self.write_key_file(key, path)?;
        self.at.temporary.write(ONE, &written.bytes, durable)?;
        self.note([(ONE.to_owned(), path, written)].into_iter())?;
        self.at.records.make_parent(path, durable)
    }

    fn insert(&self, row: Row) -> Result<Option<Row>> {
        let key = self.schema.key_of(&row);
        let path = self.path(&key)?;
        let _held = self.turn()?;
        let stored = match self.read(&path)? {
            Some(stored) => Some(stored),
            None => self.put_new(&key, &path, &self.replaced(&key, None, row)?.0)?,
        };
        stored.map(|stored| self.format.decode(&key, stored)).transpose()
    }

    /// Writes the files of a batch; the caller holds the lock.
    pub(super) fn put_all(&self, files: &BTreeMap<RecordPath, (Key, Written)>) -> Result<()> {
        match files.first_key_value() {
            None => Ok(()),
            Some((path, (key, written))) if files.len() == 1 => self.put(key, path, written),
            Some(_) => self.at.commit(&self.stage(files)?),
        }
    }

    /// Adds a row to the files of a batch if there is none of its key, and gives the stored one.
    fn prepare_new(
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

    /// Keeps the text of a long key where the file itself does not have it.
    fn write_key_file(&self, key: &Key, path: &RecordPath) -> Result<()> {
        let Some(digest) = path.digest().filter(|_| !self.format.has_key()) else { return Ok(()) };
        if self.at.keys.version(digest)?.is_some() {
            return Ok(());
        }
        let durable = self.at.durable;
        self.at.temporary.write(ONE, to_text(key).as_bytes(), durable)?;
        self.at.temporary.rename(ONE, &self.at.keys, digest)?;
        self.at.keys.sync(durable)
    }

    fn write(&self, row: Row) -> Result<Option<Row>> {
        let key = self.schema.key_of(&row);
        let path = self.path(&key)?;
        let held = self.turn()?;
        let (written, old) = self.replaced(&key, self.read(&path)?, row)?;
        self.put(&key, &path, &written)?;
        drop(held);
        Ok(old)
    }

    /// What shall be in the files of a batch, by their places.
    fn prepare(
        &self,
        held: &Held<'_, Seen>,
        rows: Vec<Row>,
    ) -> Result<BTreeMap<RecordPath, (Key, Written)>> {
        let mut files: BTreeMap<RecordPath, (Key, Written)> = BTreeMap::new();
        for row in rows {
            let key = self.schema.key_of(&row);
            let path = self.path(&key).map_err(|error| error.with_key(&key))?;
            let written = match self.is_complete(held, &row) {
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

    /// Writes the files of a batch beside, so that nothing but moves is left to be done.
    fn stage(&self, files: &BTreeMap<RecordPath, (Key, Written)>) -> Result<Vec<Step>> {
        let bulk = files.len() > BULK;
        let mut steps = Vec::with_capacity(files.len());
        for (count, (path, (key, written))) in files.iter().enumerate() {
            let name = count.to_string();
            let durable = self.at.durable && !bulk;
            let staged = self.stage_one(&name, key, path, &written.bytes, durable);
            if let Err(error) = staged {
                // The batch is not begun: its files go again, or the next one writes over them.
                (0..=count).for_each(|at| drop(self.at.temporary.remove(&at.to_string())));
                return Err(error.with_key(key));
            }
            steps.push(Step::Put(name, path.to_text()));
        }
        self.at.temporary.sync_all(self.at.durable && bulk)?;
        let staged = files.iter().enumerate();
        let staged = staged.map(|(count, (path, (_, written)))| (count.to_string(), path, written));
        self.note(staged.collect::<Vec<_>>().into_iter())?;
        Ok(steps)
    }

    fn stage_one(
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

    /// The key of a file; none where it is no record's.
    fn key_at(&self, path: &RecordPath) -> Result<Option<Key>> {
        let text = match self.at.names.read(path) {
            None => return Ok(None),
            Some(Named::Key(text)) => text,
            Some(Named::Digest(digest)) => match self.format.has_key() {
                true => return self.key_in(path),
                false => self.long_key(&digest)?,
            },
        };
        let key = from_text(&text, &self.schema)?;
        match to_text(&key) == text {
            true => Ok(Some(key)),
            false => Err(Error::invalid_data("the name of a file is not a key of this scope")),
        }
    }

    fn key_in(&self, path: &RecordPath) -> Result<Option<Key>> {
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
            false => {
                Err(Error::invalid_data("the key of a file with a digest for its name is lost"))
            }
        }
    }

    pub(super) fn row_at(&self, path: &RecordPath) -> Result<Option<Row>> {
        let Some(key) = self.key_at(path)? else { return Ok(None) };
        let found = self.read(path)?;
        let row = found.map(|bytes| self.format.decode(&key, bytes)).transpose();
        row.map_err(|error| error.with_key(&key))
    }

    /// The removal of every record that is not among these.
    fn others(&self, files: &BTreeMap<RecordPath, (Key, Written)>) -> Result<Vec<Step>> {
        let mut steps = Vec::new();
        for path in self.walk() {
            let path = path?;
            if self.at.names.read(&path).is_some() && !files.contains_key(&path) {
                steps.push(Step::Remove(path.to_text()));
            }
        }
        Ok(steps)
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
        let held = inner.turn()?;
        if !inner.is_complete(&held, &row) {
            drop(held);
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
        let _held = inner.turn()?;
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
        let held = inner.turn()?;
        inner.put_all(&inner.prepare(&held, rows)?)
    }

    fn pop(&self, key: &Key) -> Result<Option<Row>> {
        let inner = &*self.0;
        let path = inner.path(key)?;
        let _held = inner.turn()?;
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
        let _held = inner.turn()?;
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

    /// Steps of a journal can be done again: so what goes is named, instead of all being cleared.
    fn replace_all(&self, mut rows: Vec<Row>) -> Result<()> {
        let inner = &*self.0;
        let held = inner.turn()?;
        rows.iter_mut().try_for_each(|row| inner.schema.fill_absent(row))?;
        let files = inner.prepare(&held, rows)?;
        let mut steps = inner.others(&files)?;
        steps.extend(inner.stage(&files)?);
        inner.at.commit(&steps)
    }

    fn clear(&self) -> Result<()> {
        let inner = &self.0;
        let _held = inner.turn()?;
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
