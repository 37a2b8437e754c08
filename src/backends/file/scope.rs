//! One scope of the file backend.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::dir::{Dir, Stamp, in_doubt};
use super::format::Format;
use super::journal::{Directories, SCHEMA, Step};
use super::lock::{Held, Lock};
use super::name::{Named, Place};
use super::walk::Walk;
use crate::codec::key::{from_text, to_text};
use crate::schema::{Apply, merged, plan, table_of_another, unknown_columns, upgrade};
use crate::store::{Keys, Rows, ScopeStore};
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
struct Inner {
    schema: Arc<Schema>,
    format: Format,
    at: Directories,
    /// None in a directory that is only read.
    lock: Option<Lock<Seen>>,
}

/// The schema that stands, as it was seen last.
#[derive(Debug, Default)]
pub(super) struct Seen {
    stamp: Option<Stamp>,
    /// It has columns that the handle's does not know.
    other: bool,
}

impl FileScope {
    pub(super) fn new(
        schema: Arc<Schema>,
        format: Format,
        at: Directories,
        lock: Option<Lock<Seen>>,
    ) -> Self {
        Self(Arc::new(Inner { schema, format, at, lock }))
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
    let Some(standing) = standing(&at.own, schema)? else {
        let stored = merged(None, schema);
        write_schema(at, &stored, &[])?;
        return Ok((stored, Plan::empty(schema)));
    };
    let upgrade = upgrade(&standing, schema, when)?;
    match (upgrade.recreate, upgrade.other) {
        (true, _) => write_schema(at, &upgrade.stored, &[Step::Clear])?,
        (false, true) => write_schema(at, &upgrade.stored, &[])?,
        (false, false) => return Ok((standing, upgrade.plan)),
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
pub(super) fn standing(own: &Dir, schema: &Schema) -> Result<Option<Schema>> {
    let Some(standing) = read_schema(own)? else { return Ok(None) };
    match standing.name == schema.name {
        true => Ok(Some(standing)),
        false => Err(table_of_another(schema, &standing.name)),
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
    fn turn(&self) -> Result<Held<'_, Seen>> {
        let mut held = self.hold()?;
        self.at.recover()?;
        let stamp = self.at.own.stamp(SCHEMA)?;
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
        let standing = standing(&self.at.own, &self.schema)?;
        match standing.filter(|standing| plan(&self.schema, standing).is_safe()) {
            Some(standing) => Ok(unknown_columns(&standing, &self.schema).next().is_some()),
            None => Err(Error::new(
                ErrorKind::SchemaChange,
                "the scope was made anew under another schema since this handle was opened, or removed; open it again",
            )),
        }
    }

    fn place(&self, key: &Key) -> Result<Place> {
        self.at.names.place(&to_text(key))
    }

    fn read(&self, place: &Place) -> Result<Option<Vec<u8>>> {
        if place.directories.is_empty() {
            return self.at.records.read(&place.file);
        }
        match self.at.records.parent(place)? {
            Some(directory) => directory.read(&place.file),
            None => Ok(None),
        }
    }

    fn fetch(&self, key: &Key) -> Result<Option<Row>> {
        let found = self.read(&self.place(key)?)?;
        found.map(|bytes| self.format.decode(key, bytes)).transpose()
    }

    /// Whether a row can be written without a look at what stands there.
    fn is_whole(&self, held: &Held<'_, Seen>, row: &Row) -> bool {
        !held.state.other && !row.iter().any(crate::Value::is_absent)
    }

    /// Writes one file; the caller holds the lock.
    fn put(&self, key: &Key, place: &Place, bytes: &[u8]) -> Result<()> {
        let directory = self.write_beside(key, place, bytes)?;
        self.at.temporary.rename(ONE, &directory, &place.file)?;
        directory.sync_change(self.at.durable)
    }

    /// Writes a file where there is none, and gives what is there if there is one; the caller holds
    /// the lock. A program that does not take it, as the Python package does not, is not overwritten
    /// either.
    fn put_new(&self, key: &Key, place: &Place, bytes: &[u8]) -> Result<Option<Vec<u8>>> {
        let directory = self.write_beside(key, place, bytes)?;
        if self.at.temporary.rename_new(ONE, &directory, &place.file)? {
            directory.sync_change(self.at.durable)?;
            return Ok(None);
        }
        match self.read(place)? {
            Some(stored) => Ok(Some(stored)),
            // The file is gone again. (If a directory has its name, this reports it.)
            None => self.put(key, place, bytes).map(|()| None),
        }
    }

    /// Writes a file that has only to be moved to its place, and gives the directory of that.
    fn write_beside(&self, key: &Key, place: &Place, bytes: &[u8]) -> Result<Dir> {
        let durable = self.at.durable;
        self.keep_key(key, place)?;
        self.at.temporary.write(ONE, bytes, durable)?;
        self.at.records.make_parent(place, durable)
    }

    fn insert(&self, row: Row) -> Result<Option<Row>> {
        let key = self.schema.key_of(&row);
        let place = self.place(&key)?;
        let _held = self.turn()?;
        let stored = match self.read(&place)? {
            Some(stored) => Some(stored),
            None => self.put_new(&key, &place, &self.format.replace(&key, None, row)?.bytes)?,
        };
        stored.map(|stored| self.format.decode(&key, stored)).transpose()
    }

    /// Writes the files of a batch; the caller holds the lock.
    fn put_all(&self, files: &BTreeMap<Place, (Key, Vec<u8>)>) -> Result<()> {
        match files.first_key_value() {
            None => Ok(()),
            Some((place, (key, bytes))) if files.len() == 1 => self.put(key, place, bytes),
            Some(_) => self.at.commit(&self.stage(files)?),
        }
    }

    /// Adds a row to the files of a batch if there is none of its key, and gives the stored one.
    fn prepare_new(
        &self,
        files: &mut BTreeMap<Place, (Key, Vec<u8>)>,
        key: &Key,
        row: Row,
    ) -> Result<Option<Row>> {
        let place = self.place(key)?;
        if let Some(stored) = self.read(&place)? {
            return self.format.decode(key, stored).map(Some);
        }
        let bytes = self.format.replace(key, None, row)?.bytes;
        files.insert(place, (key.clone(), bytes));
        Ok(None)
    }

    /// Keeps the text of a long key where the file itself does not have it.
    fn keep_key(&self, key: &Key, place: &Place) -> Result<()> {
        let Some(digest) = place.digest().filter(|_| !self.format.has_key()) else { return Ok(()) };
        if self.at.keys.stamp(digest)?.is_some() {
            return Ok(());
        }
        let durable = self.at.durable;
        self.at.temporary.write(ONE, to_text(key).as_bytes(), durable)?;
        self.at.temporary.rename(ONE, &self.at.keys, digest)?;
        self.at.keys.sync(durable)
    }

    fn write(&self, row: Row) -> Result<Option<Row>> {
        let key = self.schema.key_of(&row);
        let place = self.place(&key)?;
        let held = self.turn()?;
        let replaced = self.format.replace(&key, self.read(&place)?, row)?;
        self.put(&key, &place, &replaced.bytes)?;
        drop(held);
        Ok(replaced.old)
    }

    /// What shall be in the files of a batch, by their places.
    fn prepare(
        &self,
        held: &Held<'_, Seen>,
        rows: Vec<Row>,
    ) -> Result<BTreeMap<Place, (Key, Vec<u8>)>> {
        let mut files: BTreeMap<Place, (Key, Vec<u8>)> = BTreeMap::new();
        for row in rows {
            let key = self.schema.key_of(&row);
            let place = self.place(&key).map_err(|error| error.with_key(&key))?;
            let bytes = match self.is_whole(held, &row) {
                true => self.format.encode(&row),
                false => self.merged(&key, files.get(&place), &place, row),
            };
            let bytes = bytes.map_err(|error| error.with_key(&key))?;
            files.insert(place, (key, bytes));
        }
        Ok(files)
    }

    fn merged(
        &self,
        key: &Key,
        earlier: Option<&(Key, Vec<u8>)>,
        place: &Place,
        row: Row,
    ) -> Result<Vec<u8>> {
        let old = match earlier {
            Some((_, bytes)) => Some(bytes.clone()),
            None => self.read(place)?,
        };
        Ok(self.format.replace(key, old, row)?.bytes)
    }

    /// Writes the files of a batch beside, so that nothing but moves is left to be done.
    fn stage(&self, files: &BTreeMap<Place, (Key, Vec<u8>)>) -> Result<Vec<Step>> {
        let bulk = files.len() > BULK;
        let mut steps = Vec::with_capacity(files.len());
        for (count, (place, (key, bytes))) in files.iter().enumerate() {
            let name = count.to_string();
            let staged = self.stage_one(&name, key, place, bytes, self.at.durable && !bulk);
            if let Err(error) = staged {
                // The batch is not begun: its files go again, or the next one writes over them.
                (0..=count).for_each(|at| drop(self.at.temporary.remove(&at.to_string())));
                return Err(error.with_key(key));
            }
            steps.push(Step::Put(name, place.path()));
        }
        self.at.temporary.sync_all(self.at.durable && bulk)?;
        Ok(steps)
    }

    fn stage_one(
        &self,
        name: &str,
        key: &Key,
        place: &Place,
        bytes: &[u8],
        durable: bool,
    ) -> Result<()> {
        self.keep_key(key, place)?;
        let directory = self.at.records.make_parent(place, durable)?;
        if self.at.names.plain {
            directory.check_free(&place.file)?;
        }
        self.at.temporary.write(name, bytes, durable)
    }

    /// The key of a file; none where it is no record's.
    fn key_at(&self, place: &Place) -> Result<Option<Key>> {
        let text = match self.at.names.read(place) {
            None => return Ok(None),
            Some(Named::Key(text)) => text,
            Some(Named::Digest(digest)) => match self.format.has_key() {
                true => return self.key_in(place),
                false => self.long_key(&digest)?,
            },
        };
        let key = from_text(&text, &self.schema)?;
        match to_text(&key) == text {
            true => Ok(Some(key)),
            false => Err(Error::invalid_data("the name of a file is not a key of this scope")),
        }
    }

    fn key_in(&self, place: &Place) -> Result<Option<Key>> {
        match self.read(place)? {
            Some(bytes) => self.format.key_of(&bytes),
            None => Ok(None),
        }
    }

    fn long_key(&self, digest: &str) -> Result<String> {
        let bytes = self.at.keys.read(digest)?.unwrap_or_default();
        let key = String::from_utf8(bytes).unwrap_or_default();
        match self.at.names.place(&key)?.digest() == Some(digest) {
            true => Ok(key),
            false => {
                Err(Error::invalid_data("the key of a file with a digest for its name is lost"))
            }
        }
    }

    fn row_at(&self, place: &Place) -> Result<Option<Row>> {
        let Some(key) = self.key_at(place)? else { return Ok(None) };
        let found = self.read(place)?;
        let row = found.map(|bytes| self.format.decode(&key, bytes)).transpose();
        row.map_err(|error| error.with_key(&key))
    }

    /// The removal of every record that is not among these.
    fn others(&self, files: &BTreeMap<Place, (Key, Vec<u8>)>) -> Result<Vec<Step>> {
        let mut steps = Vec::new();
        for place in self.walk() {
            let place = place?;
            if self.at.names.read(&place).is_some() && !files.contains_key(&place) {
                steps.push(Step::Remove(place.path()));
            }
        }
        Ok(steps)
    }

    fn walk(&self) -> Walk {
        Walk::records(self.at.records.clone(), &self.at.names)
    }
}

impl ScopeStore for FileScope {
    fn schema(&self) -> &Arc<Schema> {
        &self.0.schema
    }

    fn exists(&self, key: &Key) -> Result<bool> {
        let place = self.0.place(key)?;
        match self.0.at.records.parent(&place)? {
            Some(directory) => directory.is_file(&place.file),
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
        if !inner.is_whole(&held, &row) {
            drop(held);
            return inner.write(row).map(drop);
        }
        let key = inner.schema.key_of(&row);
        let place = inner.place(&key)?;
        inner.put(&key, &place, &inner.format.encode(&row)?)
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
        let place = inner.place(key)?;
        let _held = inner.turn()?;
        let Some(row) = inner.fetch(key)? else { return Ok(None) };
        if let Some(directory) = inner.at.records.parent(&place)? {
            directory.remove(&place.file)?;
            directory.sync_change(inner.at.durable)?;
            inner.at.prune_above(&place).map_err(in_doubt)?;
        }
        Ok(Some(row))
    }

    fn pop_many(&self, keys: &[Key]) -> Result<Vec<Option<Row>>> {
        let inner = &*self.0;
        let _held = inner.turn()?;
        let mut removed: BTreeMap<Place, Step> = BTreeMap::new();
        let mut rows = Vec::with_capacity(keys.len());
        for key in keys {
            let place = inner.place(key).map_err(|error| error.with_key(key))?;
            let row = match removed.contains_key(&place) {
                true => None,
                false => inner.fetch(key).map_err(|error| error.with_key(key))?,
            };
            if row.is_some() {
                let step = Step::Remove(place.path());
                removed.insert(place, step);
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
        let key = move |place: Result<Place>| {
            inner.key_at(&place?).transpose().map_or(Ok(None), |key| key.map(Some))
        };
        Ok(Box::new(self.0.walk().map(key).filter_map(Result::transpose)))
    }

    fn rows(&self) -> Result<Rows> {
        let inner = self.0.clone();
        let row = move |place: Result<Place>| inner.row_at(&place?);
        Ok(Box::new(self.0.walk().map(row).filter_map(Result::transpose)))
    }

    fn len(&self) -> Result<u64> {
        let mut count = 0;
        for place in self.0.walk() {
            count += u64::from(self.0.at.names.read(&place?).is_some());
        }
        Ok(count)
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
        let _held = self.0.turn()?;
        self.0.at.commit(&[Step::Clear])
    }
}
