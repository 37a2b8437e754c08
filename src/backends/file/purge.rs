//! Removal of expired records, and the rebuilding of their index.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::{Duration, Instant};

use super::expiry_index::{Entry, Visit};
use super::name::RecordPath;
use super::scope::Inner;
use crate::Result;

/// How long a call rebuilds the index itself before it leaves the rest to a thread.
const REBUILD_TIME: Duration = Duration::from_millis(200);
/// How many entries are added while the lock is held once.
const MAX_ADDED: usize = 1_000;

impl Inner {
    /// Removes the file of an expired record without flushing: if it reappears after a crash, it is
    /// still expired.
    pub(super) fn remove(&self, path: &RecordPath) -> Result<bool> {
        let Some(directory) = self.at.records.parent(path)? else { return Ok(false) };
        let removed = directory.remove(&path.file)?;
        self.at.prune_above(path)?;
        Ok(removed)
    }

    /// Returns the path and expiry of an entry's record; `None` if its file no longer exists, has
    /// been replaced, or cannot be read.
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

    /// Removes due records, up to a limit, while holding the lock once. Returns `None` if no
    /// entries are left to visit.
    fn purge_step(
        &self,
        before: i64,
        limit: usize,
        finished: &mut Vec<String>,
    ) -> Result<Option<usize>> {
        let _held = self.write_lock()?;
        let Some(index) = &self.index else { return Ok(None) };
        let mut removed = 0;
        let more = index.step(before, finished, &mut |entry| {
            if entry.expires > before {
                return Ok(Visit::Keep);
            }
            if removed == limit {
                return Ok(Visit::Stop);
            }
            if let Some((path, expires)) = self.expiry_of(entry)?
                && expires <= before
            {
                removed += usize::from(self.remove(&path)?);
            }
            Ok(Visit::Remove)
        })?;
        Ok(more.then_some(removed))
    }

    pub(super) fn purge(self: &Arc<Self>, before: i64, limit: usize) -> Result<usize> {
        self.ensure_index()?;
        let (mut removed, mut finished) = (0, Vec::new());
        while removed < limit {
            match self.purge_step(before, limit - removed, &mut finished)? {
                Some(step) => removed += step,
                None => break,
            }
        }
        Ok(removed)
    }

    /// Rebuilds the index unless this was done since the system was booted. If there are many
    /// records, a thread completes it, which ends with the process at the latest.
    fn ensure_index(self: &Arc<Self>) -> Result<()> {
        let Some(index) = &self.index else { return Ok(()) };
        if index.is_complete()? || self.rebuilt.swap(true, Ordering::AcqRel) {
            return Ok(());
        }
        let mut walk = self.walk();
        let began = Instant::now();
        if self.add_entries(&mut walk, &mut || began.elapsed() < REBUILD_TIME)? {
            return Ok(());
        }
        let inner = self.clone();
        // Without the thread, the index is rebuilt when the scope is opened the next time.
        let _ = thread::Builder::new()
            .name("hilcat-index".to_owned())
            .spawn(move || drop(inner.add_entries(&mut walk, &mut || true)));
        Ok(())
    }

    /// Adds entries for the records of a walk. Returns whether the walk is complete.
    ///
    /// The walk holds no lock: records written meanwhile add their own entries.
    fn add_entries(
        &self,
        walk: &mut super::walk::Walk,
        may_continue: &mut dyn FnMut() -> bool,
    ) -> Result<bool> {
        let Some(index) = &self.index else { return Ok(true) };
        loop {
            let mut entries = Vec::new();
            let mut ended = true;
            for path in walk.by_ref() {
                // Unreadable files are not records with an expiry.
                entries.extend(path.ok().and_then(|path| self.entry_at(&path)));
                if entries.len() == MAX_ADDED || !may_continue() {
                    ended = false;
                    break;
                }
            }
            let _held = self.write_lock()?;
            index.add(&entries)?;
            if ended {
                index.set_complete()?;
                return Ok(true);
            }
            if !may_continue() {
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

    /// Removes records beyond a maximum. Up to a quarter more are tolerated, so that the records
    /// need not be counted each time.
    pub(super) fn trim(self: &Arc<Self>, records: u64, limit: usize) -> Result<usize> {
        self.ensure_index()?;
        let Some(index) = &self.index else { return Ok(0) };
        let tolerated = records.saturating_add(records / 4);
        if index.upper_bound()?.is_some_and(|known| known <= tolerated) {
            return Ok(0);
        }
        // Records written during the count are included in the next one.
        let count = self.count()?;
        let excess = usize::try_from(count.saturating_sub(records)).unwrap_or(usize::MAX);
        let _held = self.write_lock()?;
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

    /// Removes `count` records, those that expire first. The caller holds the lock.
    fn remove_first(&self, count: usize) -> Result<usize> {
        let Some(index) = &self.index else { return Ok(0) };
        // The entries of the inbox must be in buckets to be in order.
        let now = self.clock.micros();
        let mut later = |_: &Entry| Ok(Visit::Keep);
        while index.has_inbox()? {
            index.step(now, &mut Vec::new(), &mut later)?;
        }
        let mut removed = 0;
        while removed < count {
            let more = index.visit_earliest(&mut |entry| {
                if removed == count {
                    return Ok(Visit::Stop);
                }
                if let Some((path, expires)) = self.expiry_of(entry)?
                    && expires == entry.expires
                {
                    removed += usize::from(self.remove(&path)?);
                }
                Ok(Visit::Remove)
            })?;
            if !more {
                break;
            }
        }
        if removed < count {
            removed += self.remove_any(count - removed)?;
        }
        Ok(removed)
    }

    /// Removes any `count` records.
    fn remove_any(&self, count: usize) -> Result<usize> {
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
}
