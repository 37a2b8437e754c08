//! Reads files of schemas.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use toml::de::DeTable;

use super::Schemas;
use super::read::{self, Item};
use super::source::{Source, Span};
use crate::spelling::did_you_mean;
use crate::text_file::{self, unreadable};
use crate::{Error, Result, Schema};

/// What the path of the schemas names, for error messages.
const WHAT: &str = "the TOML file of the schemas, or a directory of such files";

/// Returns the file at a path, or the sorted `.toml` files of the directory at it.
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

/// Returns whether a file is hidden or a backup of an editor: its name begins with a dot or `#`.
fn is_hidden(path: &Path) -> bool {
    let name = path.file_name().map(|name| name.as_encoded_bytes());
    name.is_some_and(|name| name.starts_with(b".") || name.starts_with(b"#"))
}

/// Reads the text of a file.
pub(super) fn read_text(path: &Path) -> Result<String> {
    let bytes = text_file::read(path, WHAT)?;
    String::from_utf8(bytes).map_err(|error| {
        let valid = String::from_utf8_lossy(&error.as_bytes()[..error.utf8_error().valid_up_to()]);
        let file = path.display().to_string();
        let end = valid.len();
        Source::new(Some(&file), &valid).error(end..end, "not UTF-8, which TOML is written in")
    })
}

/// The schemas that were read, each with its place.
#[derive(Default)]
pub(super) struct Files {
    read: Vec<(Schema, String)>,
    /// The indexes in `read`, by scope and by table.
    names: HashMap<String, usize>,
    tables: HashMap<String, usize>,
}

impl Files {
    /// Adds the schemas of a file.
    pub(super) fn add(&mut self, file: Option<&str>, text: &str) -> Result<()> {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let source = Source::new(file, text);
        let document = DeTable::parse(text)
            .map_err(|error| source.error(error.span().unwrap_or_default(), error.message()))?;
        for (key, item) in document.get_ref() {
            let (name, span) = (key.get_ref(), key.span());
            if name != "scopes" {
                let suggestion = did_you_mean(name, ["scopes"]);
                let message = format!(
                    "unknown key `{name}`; a file of schemas has a table [scopes.NAME] for each scope{suggestion}"
                );
                return Err(source.error(span, message));
            }
            let scopes = item.get_ref().as_table().ok_or_else(|| {
                source.error(span, "`scopes` is not a table; write [scopes.NAME] for each scope")
            })?;
            self.add_scopes(&source, scopes)?;
        }
        Ok(())
    }

    fn add_scopes(&mut self, source: &Source<'_>, scopes: &DeTable<'_>) -> Result<()> {
        for (name, item) in scopes {
            let key = name.span();
            let schema = read_scope(source, name.get_ref(), item, key.clone())?;
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

/// Reads the schema of a scope from a TOML table that a program built. Errors are those of
/// [`Schemas::from_str`], without a place.
#[cfg(feature = "sql")]
pub(crate) fn scope_of(name: &str, table: &toml::Table) -> Result<Schema> {
    let text = table.to_string();
    let table = DeTable::parse(&text).map_err(|error| Error::invalid_schema(error.message()))?;
    let schema = read::scope(&Source::new(None, ""), name, table.get_ref())?;
    schema.validate()?;
    Ok(schema)
}

fn read_scope(source: &Source<'_>, name: &str, item: &Item<'_>, key: Span) -> Result<Schema> {
    let table = item.get_ref().as_table().ok_or_else(|| {
        let message = format!("the scope `{name}` is not a table; write [scopes.{name}]");
        source.error(key.clone(), message)
    })?;
    let schema = read::scope(source, name, table)?;
    // Errors of the whole schema have the place of the scope's key.
    schema.validate().map_err(|error| source.error(key, error))?;
    Ok(schema)
}
