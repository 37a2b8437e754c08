//! The files that schemas are read from, and the places in them that errors name.

use std::ops::Range;
use std::path::{Path, PathBuf};

use toml_edit::{Document, Item, TableLike};

use super::Schemas;
use super::read;
use crate::error::did_you_mean;
use crate::{Error, ErrorKind, Result, Schema};

/// Where something stands in a TOML text, in bytes.
pub(super) type Span = Option<Range<usize>>;

/// The `.toml` files that a path stands for, sorted.
pub(super) fn toml_files(path: &Path) -> Result<Vec<PathBuf>> {
    let failed = |error| unreadable(path, error);
    if !std::fs::metadata(path).map_err(failed)?.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let mut files = Vec::new();
    for entry in std::fs::read_dir(path).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        if path.extension().is_some_and(|extension| extension == "toml") && path.is_file() {
            files.push(path);
        }
    }
    files.sort();
    match files.is_empty() {
        false => Ok(files),
        true => {
            let message = format!("{}: the directory has no .toml file", path.display());
            Err(Error::invalid_schema(message))
        }
    }
}

/// The text of a file.
pub(super) fn read_text(path: &Path) -> Result<String> {
    let bytes = std::fs::read(path).map_err(|error| unreadable(path, error))?;
    String::from_utf8(bytes).map_err(|error| {
        let valid = String::from_utf8_lossy(&error.as_bytes()[..error.utf8_error().valid_up_to()]);
        let file = path.display().to_string();
        let end = valid.len();
        Source { file: Some(&file), text: &valid }
            .error(Some(end..end), "not UTF-8, which TOML is written in")
    })
}

fn unreadable(path: &Path, error: std::io::Error) -> Error {
    let message = format!("{}: cannot be read: {}", path.display(), error.kind());
    Error::new(ErrorKind::Io, message).with_source(error)
}

/// A TOML text, and the name of its file where it has one.
pub(super) struct Source<'a> {
    file: Option<&'a str>,
    text: &'a str,
}

impl Source<'_> {
    /// An error at a place of the text, where there is one.
    pub(super) fn error(&self, span: Span, message: impl std::fmt::Display) -> Error {
        if self.text.is_empty() {
            return Error::invalid_schema(message.to_string());
        }
        Error::invalid_schema(format!("{}: {message}", self.place(span)))
    }

    /// What is written at a place.
    pub(super) fn written(&self, span: Span) -> Option<&str> {
        self.text.get(span?)
    }

    /// `FILE:LINE:COLUMN`, both counted from 1 and the column in characters.
    fn place(&self, span: Span) -> String {
        let start = span.map_or(0, |span| span.start).min(self.text.len());
        let before = self.text.get(..start).unwrap_or_default();
        let line = before.matches('\n').count() + 1;
        let column = before.chars().rev().take_while(|&letter| letter != '\n').count() + 1;
        match self.file {
            Some(file) => format!("{file}:{line}:{column}"),
            None => format!("{line}:{column}"),
        }
    }
}

/// The schemas of the files that are read so far, and where each stands.
#[derive(Default)]
pub(super) struct Files {
    read: Vec<(Schema, String)>,
}

impl Files {
    /// Reads one more file.
    pub(super) fn add(&mut self, file: Option<&str>, text: &str) -> Result<()> {
        let source = Source { file, text };
        let document = Document::parse(text).map_err(|error| {
            source.error(error.span(), error.message().trim_end().replace('\n', "; "))
        })?;
        for (name, item) in document.iter() {
            let span = document.as_table().key(name).and_then(toml_edit::Key::span);
            if name != "scopes" {
                let suggestion = did_you_mean(name, ["scopes"]);
                let message = format!(
                    "unknown key `{name}`; a file of schemas has a table [scopes.NAME] for each scope{suggestion}"
                );
                return Err(source.error(span, message));
            }
            let scopes = item.as_table_like().ok_or_else(|| {
                source.error(span, "`scopes` is not a table; write [scopes.NAME] for each scope")
            })?;
            self.add_scopes(&source, scopes)?;
        }
        Ok(())
    }

    fn add_scopes(&mut self, source: &Source<'_>, scopes: &dyn TableLike) -> Result<()> {
        for (name, item) in scopes.iter() {
            let key = scopes.key(name).and_then(toml_edit::Key::span);
            let schema = read_scope(source, name, item, key.clone())?;
            let same = |(other, _): &&(Schema, String)| {
                other.name == schema.name || other.table == schema.table
            };
            if let Some((other, place)) = self.read.iter().find(same) {
                let message = match other.name == schema.name {
                    true => format!("the scope `{name}` is declared at {place} already"),
                    false => format!(
                        "the table `{}` is that of the scope `{}` at {place} already; give one of them another `table`",
                        schema.table, other.name
                    ),
                };
                return Err(source.error(key, message));
            }
            self.read.push((schema, source.place(key)));
        }
        Ok(())
    }

    pub(super) fn into_schemas(self) -> Schemas {
        self.read.into_iter().map(|(schema, _)| schema).collect()
    }
}

/// The schema of a scope whose table a program made: it stands in no text that errors could name.
#[cfg(feature = "sql")]
pub(super) fn scope_of(name: &str, table: &dyn TableLike) -> Result<Schema> {
    let schema = read::scope(&Source { file: None, text: "" }, name, table)?;
    schema.validate()?;
    Ok(schema)
}

fn read_scope(source: &Source<'_>, name: &str, item: &Item, key: Span) -> Result<Schema> {
    let table = item.as_table_like().ok_or_else(|| {
        let message = format!("the scope `{name}` is not a table; write [scopes.{name}]");
        source.error(key.clone(), message)
    })?;
    let schema = read::scope(source, name, table)?;
    // What the reader does not find itself is reported for the scope as a whole.
    schema.validate().map_err(|error| source.error(key, error))?;
    Ok(schema)
}
