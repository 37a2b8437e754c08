//! The index of the records of a scope by their expiry.
//!
//! Each write of a record that expires appends an entry to one file, the inbox: the expiry, the
//! number of the new file (its inode), and its path. A purge distributes the inbox over buckets,
//! files whose names say which times they are of and that are narrower the nearer those times are,
//! and removes what the entries of the due buckets name.
//!
//! Invariant: for every record that expires there is an entry, which is written before the record
//! is moved to its path, and is removed only once the file is gone or another one, or after the
//! entry was written to another bucket. There can be more entries than records: the number of the
//! file tells those of replaced files without reading anything, and what the record itself says
//! decides. Entries are not written to the disk by force, which would make each write wait for the
//! disk once more: they outlive the process but not a crash of the system, so that after each
//! start of the system the index is made anew from the records, once.

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

/// How much of a file is read in one step.
const CHUNK: u64 = 1 << 20;
/// The narrowest bucket, in bits of its microseconds: an eighth of a second.
const NARROWEST: u32 = 17;

/// What is known of a record that expires.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
pub(super) struct Entry {
    pub(super) expires: i64,
    /// The number of the file.
    pub(super) file: u64,
    pub(super) path: String,
}

/// The index of one scope. All that changes it needs the lock of the scope.
#[derive(Debug)]
pub(super) struct Index {
    at: Dir,
}

/// What becomes of an entry that is looked at.
pub(super) enum Verdict {
    /// It is not needed any more.
    Done,
    /// It is of a time to come.
    Later,
    /// It is due, and enough was done: no other is looked at.
    Stop,
}

impl Index {
    pub(super) fn new(at: Dir) -> Self {
        Self { at }
    }

    /// Adds entries, before the records are moved to their places.
    pub(super) fn add(&self, entries: &[Entry]) -> Result<()> {
        match entries.is_empty() {
            true => Ok(()),
            false => self.append(INBOX, &lines(entries)),
        }
    }

    fn append(&self, name: &str, bytes: &[u8]) -> Result<()> {
        let mut file = self.at.open_to_append(name)?;
        let written = file.write_all(bytes).and_then(|()| match boot_id().is_empty() {
            // Where a start of the system is not noticed, nothing is to be lost with it.
            true => file.sync_data(),
            false => Ok(()),
        });
        written.map_err(|error| failed("write the index of expiries", error))
    }

    /// Looks at entries of the inbox, from the newest on, or of the buckets that are due at a time,
    /// from the earliest one on, but not at those of `finished`. Returns `false` if there are none.
    pub(super) fn step(
        &self,
        due: i64,
        finished: &mut Vec<String>,
        look: &mut dyn FnMut(&Entry) -> Result<Verdict>,
    ) -> Result<bool> {
        let name = match self.at.length(INBOX)? {
            0 => match self.buckets(due)?.into_iter().find(|name| !finished.contains(name)) {
                Some(name) => name,
                None => return Ok(false),
            },
            _ => INBOX.to_owned(),
        };
        if self.visit(&name, due, look)? {
            finished.push(name);
        }
        Ok(true)
    }

    /// Looks at the end of a file. Returns whether there is nothing left in it but entries of a time
    /// to come.
    fn visit(
        &self,
        name: &str,
        due: i64,
        look: &mut dyn FnMut(&Entry) -> Result<Verdict>,
    ) -> Result<bool> {
        let file = self.at.open_to_append(name)?;
        let length = self.at.length(name)?;
        let start = chunk_start(&file, length)?;
        let chunk = read(&file, start, length)?;
        let mut rest: BTreeMap<String, Vec<Entry>> = BTreeMap::new();
        // Where what was not looked at ends.
        let mut end = start;
        for (offset, line) in lines_backwards(&chunk) {
            let Ok(entry) = serde_json::from_slice::<Entry>(line) else { continue };
            match look(&entry)? {
                Verdict::Done => {}
                Verdict::Later => rest.entry(bucket(entry.expires, due)).or_default().push(entry),
                // A due one of the inbox has its bucket, so that the inbox is emptied.
                Verdict::Stop if name == INBOX => {
                    rest.entry(bucket(entry.expires, due)).or_default().push(entry);
                }
                Verdict::Stop => {
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

    /// Leaves the beginning of a file, and these entries behind it.
    fn cut(&self, name: &str, file: &File, end: u64, kept: &[Entry]) -> Result<()> {
        match (end, kept.is_empty()) {
            (0, true) => self.at.remove(name).map(drop),
            (end, true) => {
                file.set_len(end).map_err(|error| failed("cut the index of expiries", error))
            }
            (end, false) => {
                let mut bytes = read(file, 0, end)?;
                bytes.extend_from_slice(&lines(kept));
                self.at.write(REWRITTEN, &bytes, false)?;
                self.at.rename(REWRITTEN, &self.at, name).map(drop)
            }
        }
    }

    /// The names of the buckets that begin at or before a time, from the earliest on.
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

    /// Looks at all entries of the earliest bucket, from the earliest on, and leaves those that are
    /// not done. Returns `false` if there is no bucket.
    pub(super) fn visit_earliest(
        &self,
        look: &mut dyn FnMut(&Entry) -> Result<Verdict>,
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
            if !matches!(look(entry)?, Verdict::Done) {
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

    /// Whether the index was made in this run of the system.
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

    /// Notes that so many records were written.
    pub(super) fn count_writes(&self, count: usize) -> Result<()> {
        self.append(WRITES, &vec![b'.'; count])
    }

    /// A number that there are no more records than, unless programs write them that do not count;
    /// `None` if they have not been counted.
    pub(super) fn most(&self) -> Result<Option<u64>> {
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

/// Each line begins with its line feed, so that one that was not completed spoils no other.
fn lines(entries: &[Entry]) -> Vec<u8> {
    let mut lines = Vec::with_capacity(96 * entries.len());
    for entry in entries {
        lines.push(b'\n');
        // Numbers and a string can be written.
        let _ = serde_json::to_writer(&mut lines, entry);
    }
    lines
}

/// The lines of a chunk with their offsets, from the last on.
fn lines_backwards(chunk: &[u8]) -> impl Iterator<Item = (u64, &[u8])> {
    let mut end = chunk.len();
    std::iter::from_fn(move || {
        let start = chunk[..end].iter().rposition(|byte| *byte == b'\n')?;
        let line = &chunk[start + 1..end];
        end = start;
        Some((start as u64 + 1, line))
    })
}

/// Where the last lines of a file begin that are read at once.
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

/// A time as a number whose digits have its order.
fn ordered(time: i64) -> u64 {
    (time as u64) ^ (1 << 63)
}

/// The name of the bucket of an expiry as seen from a time: up to a sixteenth as wide as the
/// expiry is away.
fn bucket(expires: i64, from: i64) -> String {
    let away = ordered(expires).saturating_sub(ordered(from));
    let width = away.checked_ilog2().unwrap_or(0).saturating_sub(4).max(NARROWEST);
    let start = ordered(expires) >> width << width;
    format!("{start:020}-{width:02}")
}

/// The beginning of a bucket by its name; `None` if it is none.
fn start_of(name: &str) -> Option<u64> {
    let (start, width) = name.split_once('-')?;
    let digits = start.len() == 20 && width.len() == 2;
    if digits { start.parse().ok() } else { None }
}

/// What no other run of the system has; empty on systems that do not tell.
fn boot_id() -> &'static [u8] {
    static ID: LazyLock<Vec<u8>> =
        LazyLock::new(|| std::fs::read("/proc/sys/kernel/random/boot_id").unwrap_or_default());
    &ID
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;

    fn entry(expires: i64) -> Entry {
        Entry { expires, file: 7, path: format!("a/{expires}\n") }
    }

    fn index() -> (tempfile::TempDir, Index) {
        let directory = tempfile::tempdir().unwrap();
        let index = Index::new(Dir::make_root(directory.path()).unwrap());
        (directory, index)
    }

    /// Everything that is due, in the order in which it is looked at.
    fn due(index: &Index, at: i64, limit: usize) -> Vec<i64> {
        let (seen, mut finished) = (RefCell::new(Vec::new()), Vec::new());
        let mut look = |entry: &Entry| {
            let mut seen = seen.borrow_mut();
            Ok(match entry.expires <= at {
                false => Verdict::Later,
                true if seen.len() == limit => Verdict::Stop,
                true => {
                    seen.push(entry.expires);
                    Verdict::Done
                }
            })
        };
        // A call that has removed enough ends.
        while (limit == 0 || seen.borrow().len() < limit)
            && index.step(at, &mut finished, &mut look).unwrap()
        {}
        let mut seen = seen.into_inner();
        seen.sort_unstable();
        seen
    }

    #[test]
    fn each_entry_is_due_once() {
        let (_directory, index) = index();
        let second = 1_000_000;
        let start = 1_800_000_000 * second;
        let times: Vec<i64> = (0..20_000).map(|n| start + n * 37 * second / 10).collect();
        for part in times.chunks(700) {
            index.add(&part.iter().map(|time| entry(*time)).collect::<Vec<_>>()).unwrap();
        }
        assert_eq!(due(&index, start - 1, usize::MAX), [] as [i64; 0]);
        let mut all = Vec::new();
        for at in [start, start + 5 * second, start + 3_600 * second, start + 40_000 * second] {
            all.extend(due(&index, at, usize::MAX));
            assert!(all.len() == times.iter().filter(|time| **time <= at).count());
        }
        all.extend(due(&index, i64::MAX, usize::MAX));
        assert_eq!(all, times);
        assert_eq!(due(&index, i64::MAX, usize::MAX), [] as [i64; 0]);
    }

    #[test]
    fn what_is_beyond_a_limit_stays() {
        let (_directory, index) = index();
        index.add(&(0..100).map(entry).collect::<Vec<_>>()).unwrap();
        assert_eq!(due(&index, 1_000, 30).len(), 30);
        assert_eq!(due(&index, 1_000, 30).len(), 30);
        assert_eq!(due(&index, 1_000, 100).len(), 40);
    }

    #[test]
    fn a_torn_entry_spoils_no_other() {
        let (directory, index) = index();
        index.add(&[entry(1)]).unwrap();
        let inbox = directory.path().join(INBOX);
        let mut bytes = std::fs::read(&inbox).unwrap();
        bytes.extend_from_slice(b"\n{\"expires\":5,\"fi");
        std::fs::write(&inbox, bytes).unwrap();
        index.add(&[entry(2)]).unwrap();
        assert_eq!(due(&index, 10, usize::MAX), [1, 2]);
    }

    #[test]
    fn the_earliest_come_first() {
        let (_directory, index) = index();
        index.add(&[50, 3, 10_000_000, 7].map(entry)).unwrap();
        assert_eq!(due(&index, -1, 0), [] as [i64; 0]);
        let mut seen = Vec::new();
        let mut look = |entry: &Entry| {
            seen.push(entry.expires);
            Ok(if seen.len() == 3 { Verdict::Stop } else { Verdict::Done })
        };
        assert!(index.visit_earliest(&mut look).unwrap());
        assert_eq!(seen, [3, 7, 50]);
        assert_eq!(due(&index, 100, usize::MAX), [50]);
    }
}
