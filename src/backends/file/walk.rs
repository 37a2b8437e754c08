//! The files of a scope, streaming: as many directories are open as are nested.

use rustix::fs::Dir as Entries;

use super::dir::{Dir, entry, failed};
use super::name::{MAX_DEPTH, Place};
use crate::Result;

/// All files below a directory. A file that is removed meanwhile may or may not be among them.
pub(super) struct Walk {
    open: Vec<(Dir, Entries)>,
    names: Vec<String>,
    start: Option<Dir>,
}

impl Walk {
    pub(super) fn all(directory: Dir) -> Self {
        Self { open: Vec::new(), names: Vec::new(), start: Some(directory) }
    }

    fn step(&mut self) -> Result<Option<Place>> {
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
            let found = found.map_err(|errno| failed("list the directory", errno.into()))?;
            match entry(directory, &found)? {
                None => {}
                Some((file, false)) => {
                    return Ok(Some(Place { directories: self.names.clone(), file }));
                }
                // No key is nested deeper: those directories are somebody else's.
                Some((_, true)) if self.names.len() + 1 >= MAX_DEPTH => {}
                Some((name, true)) => {
                    if let Some(inner) = directory.directory(&name)? {
                        let entries = inner.entries()?;
                        self.names.push(name);
                        self.open.push((inner, entries));
                    }
                }
            }
        }
        Ok(None)
    }
}

impl Iterator for Walk {
    type Item = Result<Place>;

    fn next(&mut self) -> Option<Self::Item> {
        let found = self.step();
        if found.is_err() {
            // What cannot be listed is not tried for ever.
            self.open.clear();
        }
        found.transpose()
    }
}
