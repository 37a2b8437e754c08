//! Iteration over the files of a scope. At any time, one directory of each level is open.

use rustix::fs::Dir as Entries;

use super::dir::{Dir, entry, failed};
use super::name::{MAX_DEPTH, Names, RecordPath};
use crate::{Error, Result};

/// Iterates over all files below a directory. Files removed meanwhile may or may not be included.
///
/// An unreadable directory yields an error, and the iteration continues after it.
pub(super) struct Walk {
    open: Vec<(Dir, Entries)>,
    names: Vec<String>,
    start: Option<Dir>,
    filter: Option<Names>,
}

/// The directory that file systems reserve at their root.
pub(super) const LOST_AND_FOUND: &str = "lost+found";

impl Walk {
    pub(super) fn all(directory: Dir) -> Self {
        Self { open: Vec::new(), names: Vec::new(), start: Some(directory), filter: None }
    }

    /// Iterates over the files that may be records, skipping directories that contain none.
    pub(super) fn records(directory: Dir, names: &Names) -> Self {
        Self { filter: Some(names.clone()), ..Self::all(directory) }
    }

    /// Describes the current directory, or one in it, for messages.
    fn shown(&self, inner: Option<&str>) -> String {
        let names = self.names.iter().map(String::as_str).chain(inner);
        match names.collect::<Vec<_>>().join("/").as_str() {
            "" => "the directory of the scope".to_owned(),
            path => format!("the directory `{path}`"),
        }
    }

    fn unreadable(&self, name: &str, error: &Error) -> Error {
        let message = format!("{} was skipped: {}", self.shown(Some(name)), error.message());
        Error::new(error.kind(), message)
    }

    fn step(&mut self) -> Result<Option<RecordPath>> {
        if let Some(directory) = self.start.take() {
            let entries = directory.entries()?;
            self.open.push((directory, entries));
        }
        while let Some((directory, entries)) = self.open.last_mut() {
            let Some(found) = entries.read() else {
                self.open.pop();
                self.names.pop();
                continue;
            };
            let found = match found {
                Ok(found) => found,
                Err(errno) => {
                    // Leaves a directory that cannot be listed further, so that the iteration ends.
                    let error = failed(&format!("list {}", self.shown(None)), errno.into());
                    self.open.pop();
                    self.names.pop();
                    return Err(error);
                }
            };
            match entry(directory, &found)? {
                None => {}
                Some((file, false)) => {
                    return Ok(Some(RecordPath { directories: self.names.clone(), file }));
                }
                // Keys have no more segments: the directory belongs to another program.
                Some((_, true)) if self.names.len() + 1 >= MAX_DEPTH => {}
                // No key has a segment with this name.
                Some((name, true))
                    if self
                        .filter
                        .as_ref()
                        .is_some_and(|names| !names.may_contain_records(&name)) => {}
                Some((name, true)) => {
                    let opened = directory.directory(&name).and_then(|inner| {
                        let Some(inner) = inner else { return Ok(None) };
                        inner.entries().map(|entries| Some((inner, entries)))
                    });
                    match opened {
                        Ok(None) => {}
                        Ok(Some(inner)) => {
                            self.names.push(name);
                            self.open.push(inner);
                        }
                        // Only root can read this directory.
                        Err(_) if name == LOST_AND_FOUND => {}
                        Err(error) => return Err(self.unreadable(&name, &error)),
                    }
                }
            }
        }
        Ok(None)
    }
}

impl Iterator for Walk {
    type Item = Result<RecordPath>;

    fn next(&mut self) -> Option<Self::Item> {
        self.step().transpose()
    }
}
