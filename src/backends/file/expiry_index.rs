//! An index of a scope's records by expiry.
//!
//! Each write of a record with an expiry appends an entry to one file, the inbox: the expiry, the
//! inode number of the new file, and its path. A purge distributes the inbox over buckets and
//! removes the records that the entries of due buckets name. A bucket is a file whose name is its
//! range of times; the nearer the range, the narrower it is.
//!
//! Invariant: every record with an expiry has an entry. It is written before the record is moved to
//! its path, and removed only when the file no longer exists or has been replaced, or after the
//! entry was written to another bucket. There may be more entries than records: the inode number
//! identifies entries of replaced files without reading them, and the expiry in the record itself
//! decides. Entries are not flushed to the disk, which would cost each write another flush: they
//! survive the process but not a crash of the system. The index is therefore rebuilt from the
//! records once after each boot of the system.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::sync::LazyLock;

use super::dir::{Dir, failed};
use super::walk::Walk;
use crate::Result;

const INBOX: &str = "inbox";
const BOOT: &str = "boot";
const COUNT: &str = "count";
const WRITES: &str = "writes";
const REWRITTEN: &str = "rewritten";

/// How much of a file is read at once.
const CHUNK: u64 = 1 << 20;
/// The width of the narrowest bucket in bits of microseconds: an eighth of a second.
const MIN_WIDTH: u32 = 17;

/// An index entry: a record with an expiry.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
pub(super) struct Entry {
    pub(super) expires: i64,
    /// The inode number of the file.
    pub(super) file: u64,
    pub(super) path: String,
}

/// The index of one scope. The caller of each mutating method holds the lock of the scope.
#[derive(Debug)]
pub(super) struct Index {
    at: Dir,
}

/// What happens to an entry that has been visited.
pub(super) enum Visit {
    /// It is removed.
    Remove,
    /// It is kept, since it is not due yet.
    Keep,
    /// It is due but kept, and the visit ends.
    Stop,
}

impl Index {
    pub(super) fn new(at: Dir) -> Self {
        Self { at }
    }

    /// Adds entries, before the records are moved to their paths.
    pub(super) fn add(&self, entries: &[Entry]) -> Result<()> {
        match entries.is_empty() {
            true => Ok(()),
            false => self.append(INBOX, &lines(entries)),
        }
    }

    fn append(&self, name: &str, bytes: &[u8]) -> Result<()> {
        let mut file = self.at.open_to_append(name)?;
        let written = file.write_all(bytes).and_then(|()| match boot_id().is_empty() {
            // Without a boot id a reboot goes unnoticed, so the entries must survive it.
            true => file.sync_data(),
            false => Ok(()),
        });
        written.map_err(|error| failed("write the index of expiries", error))
    }

    /// Visits entries of the inbox, newest first, or else of the first bucket that is due at a time
    /// and not in `finished`. Returns `false` if there is none.
    pub(super) fn step(
        &self,
        due: i64,
        finished: &mut Vec<String>,
        visit: &mut dyn FnMut(&Entry) -> Result<Visit>,
    ) -> Result<bool> {
        let name = match self.at.length(INBOX)? {
            0 => match self.buckets(due)?.into_iter().find(|name| !finished.contains(name)) {
                Some(name) => name,
                None => return Ok(false),
            },
            _ => INBOX.to_owned(),
        };
        if self.visit_end(&name, due, visit)? {
            finished.push(name);
        }
        Ok(true)
    }

    /// Visits the last chunk of a file. Returns whether only entries remain that are not due.
    fn visit_end(
        &self,
        name: &str,
        due: i64,
        visit: &mut dyn FnMut(&Entry) -> Result<Visit>,
    ) -> Result<bool> {
        let file = self.at.open_to_append(name)?;
        let length = self.at.length(name)?;
        let start = chunk_start(&file, length)?;
        let chunk = read(&file, start, length)?;
        let mut rest: BTreeMap<String, Vec<Entry>> = BTreeMap::new();
        // The end of the part that was not visited.
        let mut end = start;
        for (offset, line) in lines_backwards(&chunk) {
            let Ok(entry) = serde_json::from_slice::<Entry>(line) else { continue };
            match visit(&entry)? {
                Visit::Remove => {}
                Visit::Keep => rest.entry(bucket(entry.expires, due)).or_default().push(entry),
                // Due entries of the inbox are moved to their bucket, so that the inbox is emptied.
                Visit::Stop if name == INBOX => {
                    rest.entry(bucket(entry.expires, due)).or_default().push(entry);
                }
                Visit::Stop => {
                    end = start + offset + line.len() as u64;
                    break;
                }
            }
        }
        let kept = rest.remove(name).unwrap_or_default();
        for (bucket, entries) in rest {
            self.append(&bucket, &lines(&entries))?;
        }
        self.cut(name, &file, end, &kept)?;
        Ok(end == 0 && name != INBOX)
    }

    /// Truncates a file and appends these entries.
    fn cut(&self, name: &str, file: &File, end: u64, kept: &[Entry]) -> Result<()> {
        match (end, kept.is_empty()) {
            (0, true) => self.at.remove(name).map(drop),
            (end, true) => {
                file.set_len(end).map_err(|error| failed("truncate the index of expiries", error))
            }
            (end, false) => {
                let mut bytes = read(file, 0, end)?;
                bytes.extend_from_slice(&lines(kept));
                self.at.write(REWRITTEN, &bytes, false)?;
                self.at.rename(REWRITTEN, &self.at, name).map(drop)
            }
        }
    }

    /// Returns the names of the buckets that start at or before a time, in order.
    fn buckets(&self, due: i64) -> Result<Vec<String>> {
        let mut names = Vec::new();
        for found in Walk::all(self.at.clone()) {
            let name = found?.file;
            if start_of(&name).is_some_and(|start| start <= ordered(due)) {
                names.push(name);
            }
        }
        names.sort_unstable();
        Ok(names)
    }

    /// Visits all entries of the earliest bucket in order, until one is not removed. Returns
    /// `false` if there is no bucket.
    pub(super) fn visit_earliest(
        &self,
        visit: &mut dyn FnMut(&Entry) -> Result<Visit>,
    ) -> Result<bool> {
        let Some(name) = self.buckets(i64::MAX)?.into_iter().next() else { return Ok(false) };
        let file = self.at.open_to_append(&name)?;
        let bytes = read(&file, 0, self.at.length(&name)?)?;
        let lines = lines_backwards(&bytes);
        let mut entries: Vec<Entry> =
            lines.filter_map(|(_, line)| serde_json::from_slice(line).ok()).collect();
        entries.sort_unstable();
        let mut left = entries.len();
        for (at, entry) in entries.iter().enumerate() {
            if !matches!(visit(entry)?, Visit::Remove) {
                left = at;
                break;
            }
        }
        self.cut(&name, &file, 0, &entries[left..])?;
        Ok(true)
    }

    pub(super) fn has_inbox(&self) -> Result<bool> {
        Ok(self.at.length(INBOX)? > 0)
    }

    /// Whether the index was built since the system was booted.
    pub(super) fn is_complete(&self) -> Result<bool> {
        Ok(self.at.read(BOOT)?.is_some_and(|boot| boot == boot_id()))
    }

    pub(super) fn set_complete(&self) -> Result<()> {
        self.at.write(BOOT, boot_id(), false)
    }

    /// Removes all entries.
    pub(super) fn clear(&self) -> Result<()> {
        for found in Walk::all(self.at.clone()) {
            let name = found?.file;
            if name == INBOX || start_of(&name).is_some() {
                self.at.remove(&name)?;
            }
        }
        Ok(())
    }

    /// Counts written records.
    pub(super) fn count_writes(&self, count: usize) -> Result<()> {
        self.append(WRITES, &vec![b'.'; count])
    }

    /// Returns an upper bound of the number of records, not counting those of other programs;
    /// `None` if the records have never been counted.
    pub(super) fn upper_bound(&self) -> Result<Option<u64>> {
        let counted = self.at.read(COUNT)?;
        let counted = counted.and_then(|text| String::from_utf8(text).ok()?.trim().parse().ok());
        let written = self.at.length(WRITES)?;
        Ok(counted.map(|counted: u64| counted.saturating_add(written)))
    }

    pub(super) fn set_count(&self, count: u64) -> Result<()> {
        self.at.write(COUNT, count.to_string().as_bytes(), false)?;
        self.at.remove(WRITES).map(drop)
    }
}

/// Encodes entries. Each line starts with a line feed, so that an incomplete line does not damage
/// the next one.
fn lines(entries: &[Entry]) -> Vec<u8> {
    let mut lines = Vec::with_capacity(96 * entries.len());
    for entry in entries {
        lines.push(b'\n');
        // Cannot fail for numbers and strings.
        let _ = serde_json::to_writer(&mut lines, entry);
    }
    lines
}

/// Returns the lines of a chunk with their offsets, last line first.
fn lines_backwards(chunk: &[u8]) -> impl Iterator<Item = (u64, &[u8])> {
    let mut end = chunk.len();
    std::iter::from_fn(move || {
        let start = chunk[..end].iter().rposition(|byte| *byte == b'\n')?;
        let line = &chunk[start + 1..end];
        end = start;
        Some((start as u64 + 1, line))
    })
}

/// Returns the start of the last chunk of a file, at the start of a line.
fn chunk_start(file: &File, length: u64) -> Result<u64> {
    let mut start = length.saturating_sub(CHUNK);
    while start > 0 {
        let window = read(file, start, (start + CHUNK).min(length))?;
        match window.iter().position(|byte| *byte == b'\n') {
            Some(at) => return Ok(start + at as u64),
            None => start = start.saturating_sub(CHUNK),
        }
    }
    Ok(0)
}

fn read(file: &File, start: u64, end: u64) -> Result<Vec<u8>> {
    let mut bytes = vec![0; usize::try_from(end - start).unwrap_or(0)];
    let read = file.read_exact_at(&mut bytes, start);
    read.map_err(|error| failed("read the index of expiries", error))?;
    Ok(bytes)
}

/// Maps a time to a number with the same order.
fn ordered(time: i64) -> u64 {
    (time as u64) ^ (1 << 63)
}

/// Returns the name of the bucket of an expiry as seen from a time. Its width is up to a sixteenth
/// of the distance.
fn bucket(expires: i64, from: i64) -> String {
    let away = ordered(expires).saturating_sub(ordered(from));
    let width = away.checked_ilog2().unwrap_or(0).saturating_sub(4).max(MIN_WIDTH);
    let start = ordered(expires) >> width << width;
    format!("{start:020}-{width:02}")
}

/// Returns the start of a bucket by its name; `None` for other files.
fn start_of(name: &str) -> Option<u64> {
    let (start, width) = name.split_once('-')?;
    let digits = start.len() == 20 && width.len() == 2;
    if digits { start.parse().ok() } else { None }
}

/// Returns an id of this boot of the system; empty on systems without one.
fn boot_id() -> &'static [u8] {
    static ID: LazyLock<Vec<u8>> =
        LazyLock::new(|| std::fs::read("/proc/sys/kernel/random/boot_id").unwrap_or_default());
    &ID
}

#[cfg(test)]
mod tests;
