//! The files that schemas are read from, and the places in them that errors name.

use std::cell::Cell;
use std::collections::HashMap;
use std::ops::Range;
use std::path::{Path, PathBuf};

use toml_edit::{Document, Item, TableLike};

use super::Schemas;
use super::read;
use crate::spelling::did_you_mean;
use crate::text_file::{self, unreadable};
use crate::{Error, Result, Schema};

/// What a path of schemas is.
const WHAT: &str = "the TOML file of the schemas, or a directory of such files";

/// Where something stands in a TOML text, in bytes.
pub(super) type Span = Option<Range<usize>>;

/// The `.toml` files that a path stands for, sorted.
pub(super) fn toml_files(path: &Path) -> Result<Vec<PathBuf>> {
    let failed = |error| unreadable(path, WHAT, error);
    if !std::fs::metadata(path).map_err(failed)?.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let mut files = Vec::new();
    for entry in std::fs::read_dir(path).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        if path.extension().is_some_and(|extension| extension == "toml")
            && !is_hidden(&path)
            && path.is_file()
        {
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

/// Files that begin with a dot are hidden, and those of editors begin with one or with `#`.
fn is_hidden(path: &Path) -> bool {
    let name = path.file_name().map(|name| name.as_encoded_bytes());
    name.is_some_and(|name| name.starts_with(b".") || name.starts_with(b"#"))
}

/// The text of a file.
pub(super) fn read_text(path: &Path) -> Result<String> {
    let bytes = text_file::read(path, WHAT)?;
    String::from_utf8(bytes).map_err(|error| {
        let valid = String::from_utf8_lossy(&error.as_bytes()[..error.utf8_error().valid_up_to()]);
        let file = path.display().to_string();
        let end = valid.len();
        Source::new(Some(&file), &valid)
            .error(Some(end..end), "not UTF-8, which TOML is written in")
    })
}

/// A TOML text, and the name of its file where it has one.
pub(super) struct Source<'a> {
    file: Option<&'a str>,
    text: &'a str,
    /// The place that was asked for last: places are mostly asked for in the order of the text, and
    /// each is counted from the one before.
    last: Cell<Position>,
}

/// A place in a text: its offset in bytes, and its line and column, both counted from 0 and the
/// column in characters.
#[derive(Debug, Clone, Copy, Default)]
struct Position {
    offset: usize,
    line: usize,
    column: usize,
}

impl Position {
    fn pass(mut self, letter: char) -> Self {
        self.offset += letter.len_utf8();
        match letter {
            '\n' => (self.line, self.column) = (self.line + 1, 0),
            _ => self.column += 1,
        }
        self
    }
}

impl<'a> Source<'a> {
    pub(super) fn new(file: Option<&'a str>, text: &'a str) -> Self {
        Self { file, text, last: Cell::default() }
    }

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
        let last = Some(self.last.get()).filter(|last| last.offset <= start).unwrap_or_default();
        let between = self.text.get(last.offset..start).unwrap_or_default();
        let position = between.chars().fold(last, Position::pass);
        self.last.set(position);
        let (line, column) = (position.line + 1, position.column + 1);
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
    /// Where in `read` the scope of a name, and that of a table, is.
    names: HashMap<String, usize>,
    tables: HashMap<String, usize>,
}

impl Files {
    /// Reads one more file.
    pub(super) fn add(&mut self, file: Option<&str>, text: &str) -> Result<()> {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let source = Source::new(file, text);
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
            let same = [self.names.get(&schema.name), self.tables.get(&schema.table)];
            if let Some((other, place)) = same.into_iter().flatten().min().map(|at| &self.read[*at])
            {
                let message = match other.name == schema.name {
                    true => format!("the scope `{name}` is declared at {place} already"),
                    false => format!(
                        "the table `{}` is that of the scope `{}` at {place} already; give one of them another `table`",
                        schema.table, other.name
                    ),
                };
                return Err(source.error(key, message));
            }
            self.names.insert(schema.name.clone(), self.read.len());
            self.tables.insert(schema.table.clone(), self.read.len());
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
    let schema = read::scope(&Source::new(None, ""), name, table)?;
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
