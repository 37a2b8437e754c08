//! Atomic changes of several files.
//!
//! The new files are written under temporary names, and the steps that move them to their paths to
//! a journal.
//!
//! Invariant: a change takes effect when the journal gets its final name, and not before. From then
//! on the steps are completed, if necessary by the next process that takes the lock of the scope.
//! Every step can be repeated, since a crash may interrupt recovery as well.

use serde::{Deserialize, Serialize};

use super::dir::{Dir, outcome_unknown};
use super::name::{Names, RecordPath};
use super::walk::Walk;
use crate::{Error, Result};

const JOURNAL: &str = "journal";
const UNFINISHED: &str = "journal.new";

/// A step of a change. Repeating it has no further effect.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Step {
    /// Moves a temporary file to the path of a record.
    Put(String, String),
    /// Removes a record.
    Remove(String),
    /// Removes all records.
    Clear,
    /// Moves a temporary file to the path of the schema.
    Schema(String),
}

/// The directories of one scope.
#[derive(Debug)]
pub(super) struct Directories {
    /// The records.
    pub(super) records: Dir,
    /// hilcat's own files: schema, lock, journal.
    pub(super) own: Dir,
    /// Files that are being written.
    pub(super) temporary: Dir,
    /// The texts of long keys, under their digests.
    pub(super) keys: Dir,
    /// Maps keys to paths.
    pub(super) names: Names,
    /// Whether acknowledged writes are flushed to the disk.
    pub(super) durable: bool,
}

pub(super) const SCHEMA: &str = "schema.toml";

impl Directories {
    /// Commits a change, whose temporary files have been written.
    pub(super) fn commit(&self, steps: &[Step]) -> Result<()> {
        let text = serde_json::to_vec(steps).map_err(|_| malformed())?;
        self.temporary.sync(self.durable)?;
        self.own.write(UNFINISHED, &text, self.durable)?;
        self.own.rename(UNFINISHED, &self.own, JOURNAL)?;
        let done = self.own.sync(self.durable).and_then(|()| self.complete(steps));
        done.map_err(outcome_unknown)
    }

    /// Completes the change of a process that crashed during it.
    pub(super) fn recover(&self) -> Result<()> {
        if self.own.version(JOURNAL)?.is_none() {
            return Ok(());
        }
        let Some(text) = self.own.read(JOURNAL)? else { return Ok(()) };
        let steps: Vec<Step> = serde_json::from_slice(&text).map_err(|_| malformed())?;
        self.complete(&steps)
    }

    fn complete(&self, steps: &[Step]) -> Result<()> {
        let mut touched: Vec<(Vec<String>, Dir)> = Vec::new();
        for step in steps {
            let path = match step {
                Step::Put(name, path) => self.put(name, &parse_path(path)?)?,
                Step::Remove(path) => self.remove(&parse_path(path)?)?,
                Step::Clear => {
                    self.clear()?;
                    continue;
                }
                Step::Schema(name) => {
                    self.temporary.rename(temporary_name(name)?, &self.own, SCHEMA)?;
                    continue;
                }
            };
            if touched.last().is_none_or(|last| last.0 != path.directories)
                && let Some(directory) = self.records.parent(&path)?
            {
                touched.push((path.directories, directory));
            }
        }
        // Steps done before a crash need to be flushed as well.
        self.records.sync(self.durable)?;
        touched.iter().try_for_each(|(_, directory)| directory.sync(self.durable))?;
        self.prune(steps)?;
        self.own.remove(JOURNAL)?;
        self.own.sync(self.durable)
    }

    fn put(&self, name: &str, path: &RecordPath) -> Result<RecordPath> {
        let directory = self.records.make_parent(path, self.durable)?;
        self.temporary.rename(temporary_name(name)?, &directory, &path.file)?;
        Ok(path.clone())
    }

    fn remove(&self, path: &RecordPath) -> Result<RecordPath> {
        if let Some(directory) = self.records.parent(path)? {
            directory.remove(&path.file)?;
        }
        Ok(path.clone())
    }

    fn prune(&self, steps: &[Step]) -> Result<()> {
        for step in steps {
            if let Step::Remove(path) = step {
                self.prune_above(&parse_path(path)?)?;
            }
        }
        Ok(())
    }

    /// Removes the directories that a removed record leaves empty.
    pub(super) fn prune_above(&self, path: &RecordPath) -> Result<()> {
        let mut names = path.directories.clone();
        while let Some(file) = names.pop() {
            let inner = RecordPath { directories: names.clone(), file };
            let Some(directory) = self.records.parent(&inner)? else { continue };
            if !directory.remove_directory(&inner.file)? {
                break;
            }
        }
        Ok(())
    }

    fn clear(&self) -> Result<()> {
        for found in Walk::records(self.records.clone(), &self.names) {
            let path = found?;
            if self.names.read(&path).is_some()
                && let Some(directory) = self.records.parent(&path)?
            {
                directory.remove(&path.file)?;
                directory.sync(self.durable && !path.directories.is_empty())?;
                self.prune_above(&path)?;
            }
        }
        for found in Walk::all(self.keys.clone()) {
            self.keys.remove(&found?.file)?;
        }
        Ok(())
    }
}

fn parse_path(path: &str) -> Result<RecordPath> {
    RecordPath::parse(path).ok_or_else(malformed)
}

/// Checks that a name is a temporary file and leads nowhere else.
fn temporary_name(name: &str) -> Result<&str> {
    match RecordPath::parse(name) {
        Some(path) if path.directories.is_empty() => Ok(name),
        _ => Err(malformed()),
    }
}

fn malformed() -> Error {
    Error::invalid_data("the journal of the scope is malformed")
}
