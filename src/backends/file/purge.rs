//! The calls on the files of a scope that are given a time, and its leases.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::{Duration, Instant};

use super::expiry::{Entry, Verdict};
use super::name::RecordPath;
use super::scope::{FileScope, Inner, Written};
use crate::store::{LeasedFill, Leases, is_live};
use crate::{Error, Key, Result, Row, Value};

/// How long a call makes the index anew before a thread of its own goes on.
const REBUILDING: Duration = Duration::from_millis(200);
/// How many entries are added to it in one turn.
const ADDED: usize = 1_000;

impl Inner {
    /// When a row over another one expires.
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

    /// Notes the expiry of files that are about to be moved to their places: of each the name of the
    /// temporary file.
    pub(super) fn note<'a>(
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

    /// The records that are to be written where there is none, or one that is expired, and those
    /// that are there of the others.
    #[expect(clippy::type_complexity, reason = "two lists")]
    fn prepare_expired(
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

    /// Removes the file of a record, without waiting for the disk: one that comes back with a crash
    /// is expired still.
    fn remove(&self, path: &RecordPath) -> Result<bool> {
        let Some(directory) = self.at.records.parent(path)? else { return Ok(false) };
        let removed = directory.remove(&path.file)?;
        self.at.prune_above(path)?;
        Ok(removed)
    }

    /// When the record of an entry expires; `None` if its file is gone or another one by now, or
    /// cannot be read.
    fn expiry_of(&self, entry: &Entry) -> Result<Option<(RecordPath, i64)>> {
        let Some(path) = RecordPath::parse(&entry.path) else { return Ok(None) };
        let Some(directory) = self.at.records.parent(&path)? else { return Ok(None) };
        if directory.number(&path.file)? != Some(entry.file) {
            return Ok(None);
        }
        let row = self.row_at(&path).ok().flatten();
        let expires = row.and_then(|row| self.expiry_over(&row, None));
        Ok(expires.map(|expires| (path, expires)))
    }

    /// Removes what is due, up to a limit, in one turn. Returns `None` if nothing is left to be
    /// looked at.
    fn purge_step(
        &self,
        before: i64,
        limit: usize,
        finished: &mut Vec<String>,
    ) -> Result<Option<usize>> {
        let _held = self.turn()?;
        let Some(index) = &self.index else { return Ok(None) };
        let mut removed = 0;
        let more = index.step(before, finished, &mut |entry| {
            if entry.expires > before {
                return Ok(Verdict::Later);
            }
            if removed == limit {
                return Ok(Verdict::Stop);
            }
            if let Some((path, expires)) = self.expiry_of(entry)?
                && expires <= before
            {
                removed += usize::from(self.remove(&path)?);
            }
            Ok(Verdict::Done)
        })?;
        Ok(more.then_some(removed))
    }

    pub(super) fn purge(self: &Arc<Self>, before: i64, limit: usize) -> Result<usize> {
        self.make_index()?;
        let (mut removed, mut finished) = (0, Vec::new());
        while removed < limit {
            match self.purge_step(before, limit - removed, &mut finished)? {
                Some(step) => removed += step,
                None => break,
            }
        }
        Ok(removed)
    }

    /// Makes the index anew unless that was done since the system was started: at once, or, where
    /// there are many records, by a thread of its own that ends with the process.
    fn make_index(self: &Arc<Self>) -> Result<()> {
        let Some(index) = &self.index else { return Ok(()) };
        if index.is_complete()? || self.rebuilt.swap(true, Ordering::AcqRel) {
            return Ok(());
        }
        let mut walk = self.walk();
        let began = Instant::now();
        if self.index_some(&mut walk, &mut || began.elapsed() < REBUILDING)? {
            return Ok(());
        }
        let inner = self.clone();
        // Without a thread it is tried again when the scope is opened the next time.
        let _ = thread::Builder::new()
            .name("hilcat-index".to_owned())
            .spawn(move || drop(inner.index_some(&mut walk, &mut || true)));
        Ok(())
    }

    /// Adds entries for the records that are walked over. Returns whether that was all.
    ///
    /// The walk holds no lock: a record that is written meanwhile has its entry by itself.
    fn index_some(
        &self,
        walk: &mut super::walk::Walk,
        goes_on: &mut dyn FnMut() -> bool,
    ) -> Result<bool> {
        let Some(index) = &self.index else { return Ok(true) };
        loop {
            let mut entries = Vec::new();
            let mut ended = true;
            for path in walk.by_ref() {
                // What cannot be read is no record that expires.
                entries.extend(path.ok().and_then(|path| self.entry_at(&path)));
                if entries.len() == ADDED || !goes_on() {
                    ended = false;
                    break;
                }
            }
            let _held = self.turn()?;
            index.add(&entries)?;
            if ended {
                index.set_complete()?;
                return Ok(true);
            }
            if !goes_on() {
                return Ok(false);
            }
        }
    }

    fn entry_at(&self, path: &RecordPath) -> Option<Entry> {
        let file = self.at.records.parent(path).ok()??.number(&path.file).ok()??;
        let row = self.row_at(path).ok()??;
        let expires = self.expiry_over(&row, None)?;
        Some(Entry { expires, file, path: path.to_text() })
    }

    /// A quarter more than `records` are let be, so that they need not be counted each time.
    pub(super) fn trim(self: &Arc<Self>, records: u64, limit: usize) -> Result<usize> {
        self.make_index()?;
        let Some(index) = &self.index else { return Ok(0) };
        let most = records.saturating_add(records / 4);
        if index.most()?.is_some_and(|known| known <= most) {
            return Ok(0);
        }
        // Those written while it is counted are counted with the next step.
        let count = self.count()?;
        let excess = usize::try_from(count.saturating_sub(records)).unwrap_or(usize::MAX);
        let _held = self.turn()?;
        let removed = self.remove_first(excess.min(limit))?;
        index.set_count(count - removed as u64)?;
        Ok(removed)
    }

    pub(super) fn count(&self) -> Result<u64> {
        let mut count = 0;
        for path in self.walk() {
            count += u64::from(self.at.names.read(&path?).is_some());
        }
        Ok(count)
    }

    /// Removes so many of the records that expire first; the caller holds the lock.
    fn remove_first(&self, count: usize) -> Result<usize> {
        let Some(index) = &self.index else { return Ok(0) };
        // The inbox is distributed first.
        let now = self.clock.micros();
        let mut later = |_: &Entry| Ok(Verdict::Later);
        while index.has_inbox()? {
            index.step(now, &mut Vec::new(), &mut later)?;
        }
        let mut removed = 0;
        while removed < count {
            let more = index.visit_earliest(&mut |entry| {
                if removed == count {
                    return Ok(Verdict::Stop);
                }
                if let Some((path, expires)) = self.expiry_of(entry)?
                    && expires == entry.expires
                {
                    removed += usize::from(self.remove(&path)?);
                }
                Ok(Verdict::Done)
            })?;
            if !more {
                break;
            }
        }
        if removed < count {
            removed += self.remove_some(count - removed)?;
        }
        Ok(removed)
    }

    /// Removes so many records, whichever they are.
    fn remove_some(&self, count: usize) -> Result<usize> {
        let mut removed = 0;
        for path in self.walk() {
            let path = path?;
            if removed == count {
                break;
            }
            if self.at.names.read(&path).is_some() {
                removed += usize::from(self.remove(&path)?);
            }
        }
        Ok(removed)
    }

    /// Takes leases away; the caller holds the lock.
    pub(super) fn revoke<'a>(&self, keys: impl IntoIterator<Item = &'a Key>) -> Result<()> {
        match self.leases.as_ref().filter(|_| self.schema.freshness.lease().is_some()) {
            Some(leases) => keys.into_iter().try_for_each(|key| leases.revoke(key)),
            None => Ok(()),
        }
    }

    pub(super) fn replace_expired(&self, rows: Vec<Row>, at: i64) -> Result<Vec<Option<Row>>> {
        let _held = self.turn()?;
        let (stored, files) = self.prepare_expired(rows, at)?;
        self.put_all(&files)?;
        Ok(stored)
    }

    pub(super) fn remove_expired(&self, keys: &[Key], at: i64) -> Result<()> {
        let _held = self.turn()?;
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
        let _held = self.turn()?;
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
        let _held = self.turn()?;
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

impl Leases for FileScope {
    fn acquire(&self, key: &Key, holder: &str, lease: Duration) -> Result<bool> {
        let _held = self.inner().turn()?;
        self.inner().leases()?.acquire(key, holder, lease)
    }

    fn renew(&self, key: &Key, holder: &str, lease: Duration) -> Result<bool> {
        let _held = self.inner().turn()?;
        self.inner().leases()?.renew(key, holder, lease)
    }

    fn release(&self, key: &Key, holder: &str) -> Result<()> {
        let _held = self.inner().turn()?;
        let leases = self.inner().leases()?;
        match leases.is_held(key, holder)? {
            true => leases.revoke(key),
            false => Ok(()),
        }
    }

    fn fill(&self, row: Row, at: i64, holder: &str) -> Result<LeasedFill> {
        let inner = self.inner();
        let key = inner.schema.key_of(&row);
        let _held = inner.turn()?;
        let leases = inner.leases()?;
        if !leases.is_held(&key, holder)? {
            return Ok(LeasedFill::Lost);
        }
        let (mut stored, files) = inner.prepare_expired(vec![row], at)?;
        inner.put_all(&files)?;
        leases.revoke(&key)?;
        Ok(stored.pop().flatten().map_or(LeasedFill::Stored, LeasedFill::Existing))
    }
}
