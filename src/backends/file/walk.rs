//! The files of a scope, streaming: as many directories are open as are nested.

use rustix::fs::Dir as Entries;

use super::dir::{Dir, entry, failed};
use super::name::{MAX_DEPTH, Names, RecordPath};
use crate::{Error, Result};

/// All files below a directory. A file that is removed meanwhile may or may not be among them.
///
/// A directory that cannot be read is an error among the files, and the listing goes on behind it.
pub(super) struct Walk {
    open: Vec<(Dir, Entries)>,
    names: Vec<String>,
    start: Option<Dir>,
    among: Option<Names>,
}

/// The directory that file systems keep for themselves at their root.
pub(super) const LOST_AND_FOUND: &str = "lost+found";

impl Walk {
    pub(super) fn all(directory: Dir) -> Self {
        Self { open: Vec::new(), names: Vec::new(), start: Some(directory), among: None }
    }

    /// The files that can be records: those below directories whose names keys can have.
    pub(super) fn records(directory: Dir, names: &Names) -> Self {
        Self { among: Some(names.clone()), ..Self::all(directory) }
    }

    /// The directory that is being listed, or one in it, for messages.
    fn shown(&self, inner: Option<&str>) -> String {
        let names = self.names.iter().map(String::as_str).chain(inner);
        match names.collect::<Vec<_>>().join("/").as_str() {
            "" => "the directory of the scope".to_owned(),
            path => format!("the directory `{path}`"),
        }
    }

    fn unreadable(&self, name: &str, error: &Error) -> Error {
        let message = format!("{} is left out: {}", self.shown(Some(name)), error.message());
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
                    // What cannot be listed further is left, so that the listing ends.
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
                // No key is nested deeper: those directories are somebody else's.
                Some((_, true)) if self.names.len() + 1 >= MAX_DEPTH => {}
                // No key is in a directory of such a name.
                Some((name, true)) if self.among.as_ref().is_some_and(|all| !all.has(&name)) => {}
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
                        // The file system's own, which only root can read.
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
