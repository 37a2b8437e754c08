//! The TOML of layers.
//!
//! A cache is a string with its URI, `{ env = "NAME" }` for a URI in the environment, or a table
//! that names its `layer`; the document itself is such a table.

use std::path::Path;

use toml::de::{DeTable, DeValue};

use super::{ON_FAILURE, OnFailure, Spec};
use crate::spelling::did_you_mean;
use crate::{Error, Result, text_file};

const LAYERS: [&str; 4] = ["tiered", "staged", "fan-out", "prefix"];

/// Reads the file of a cache. Errors never quote its content, which may contain a password.
pub(super) fn read(path: &str) -> Result<Spec> {
    let bytes = text_file::read(Path::new(path), "the TOML file of the layers")?;
    let text = String::from_utf8(bytes).map_err(|_| {
        Error::invalid_config(format!("{path}: not UTF-8, which TOML is written in"))
    })?;
    parse(&text).map_err(|error| Error::new(error.kind(), format!("{path}: {}", error.message())))
}

fn parse(text: &str) -> Result<Spec> {
    let document = DeTable::parse(text).map_err(|error| {
        let start = error.span().map_or(0, |span| span.start).min(text.len());
        let line = text.get(..start).unwrap_or_default().matches('\n').count() + 1;
        Error::invalid_config(format!("line {line} is no TOML"))
    })?;
    Table { place: String::new(), table: document.get_ref() }.spec()
}

/// A table and its dotted path in the document.
struct Table<'a> {
    place: String,
    table: &'a DeTable<'a>,
}

impl<'a> Table<'a> {
    fn wrong(&self, message: impl std::fmt::Display) -> Error {
        match self.place.as_str() {
            "" => Error::invalid_config(message.to_string()),
            place => Error::invalid_config(format!("`{place}`: {message}")),
        }
    }

    fn place_of(&self, key: &str) -> String {
        match self.place.as_str() {
            "" => key.to_owned(),
            place => format!("{place}.{key}"),
        }
    }

    /// Reads the cache that the table describes.
    fn spec(&self) -> Result<Spec> {
        if self.table.contains_key("env") {
            self.only(&["env"])?;
            return self.variable().map(Spec::Uri);
        }
        match self.text("layer")?.as_str() {
            "tiered" => {
                self.only(&["layer", "near", "far"])?;
                Ok(Spec::Tiered { near: self.part("near")?, far: self.part("far")? })
            }
            "staged" => {
                self.only(&["layer", "memory", "storage"])?;
                Ok(Spec::Staged { memory: self.part("memory")?, storage: self.part("storage")? })
            }
            "fan-out" => self.fan_out(),
            "prefix" => {
                self.only(&["layer", "name", "cache"])?;
                Ok(Spec::Prefix { name: self.text("name")?, cache: self.part("cache")? })
            }
            other => Err(self.wrong(format!(
                "no layer `{other}`; the layers are {}{}",
                LAYERS.join(", "),
                did_you_mean(other, LAYERS)
            ))),
        }
    }

    fn fan_out(&self) -> Result<Spec> {
        self.only(&["layer", "primary", "writers", "on_failure"])?;
        let writers = self.item("writers")?;
        let place = self.place_of("writers");
        let wrong = || self.wrong("`writers` is an array of caches");
        let writers = writers.as_array().ok_or_else(wrong)?.iter().map(|value| {
            of_value(place.clone(), value.get_ref())?.ok_or_else(|| {
                Error::invalid_config(format!("`{place}`: a cache is a URI or a table"))
            })
        });
        let writers = writers.collect::<Result<_>>()?;
        let on_failure = match self.table.contains_key("on_failure") {
            true => self.on_failure()?,
            false => OnFailure::default(),
        };
        Ok(Spec::FanOut { primary: self.part("primary")?, writers, on_failure })
    }

    fn on_failure(&self) -> Result<OnFailure> {
        let word = self.text("on_failure")?;
        let found = ON_FAILURE.iter().find(|(known, _)| *known == word);
        let words = ON_FAILURE.map(|(known, _)| known).join(", ");
        found
            .map(|(_, on_failure)| *on_failure)
            .ok_or_else(|| self.wrong(format!("`on_failure` is one of {words}")))
    }

    fn variable(&self) -> Result<String> {
        let name = self.text("env")?;
        std::env::var(&name)
            .map_err(|_| self.wrong(format!("the variable {name} of the environment is not set")))
    }

    fn only(&self, known: &[&str]) -> Result<()> {
        let mut keys = self.table.keys().map(|key| key.get_ref().as_ref());
        match keys.find(|key| !known.contains(key)) {
            None => Ok(()),
            Some(key) => Err(self.wrong(format!(
                "no `{key}` here; there can be {}{}",
                known.join(", "),
                did_you_mean(key, known.iter().copied())
            ))),
        }
    }

    fn item(&self, key: &str) -> Result<&'a DeValue<'a>> {
        let item = self.table.get(key).map(|item| item.get_ref());
        item.ok_or_else(|| self.wrong(format!("it needs `{key}`")))
    }

    fn text(&self, key: &str) -> Result<String> {
        let text = self.item(key)?.as_str();
        text.map(str::to_owned).ok_or_else(|| self.wrong(format!("`{key}` is a string")))
    }

    fn part(&self, key: &str) -> Result<Box<Spec>> {
        let spec = of_value(self.place_of(key), self.item(key)?)?;
        spec.map(Box::new).ok_or_else(|| self.wrong(format!("`{key}` is a URI or a table")))
    }
}

/// Reads a cache. Returns `None` if the value is neither a string nor a table.
fn of_value(place: String, value: &DeValue<'_>) -> Result<Option<Spec>> {
    match value {
        DeValue::String(uri) => Ok(Some(Spec::Uri(uri.to_string()))),
        DeValue::Table(table) => Table { place, table }.spec().map(Some),
        _ => Ok(None),
    }
}
