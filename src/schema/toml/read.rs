//! Reads the table of one scope.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};

use serde::de::DeserializeOwned;
use toml::Spanned;
use toml::de::{DeString, DeTable, DeValue as Toml, ValueDeserializer};

use super::source::{Source, Span};
use crate::freshness::Freshness;
use crate::freshness::text::{NAMES, Words};
use crate::range;
use crate::spelling::did_you_mean;
use crate::{Column, ColumnType, Migrate, Result, Schema, Shape, Value};

/// The keys of a scope before and after the freshness options.
const FIRST_KEYS: [&str; 10] = [
    "table",
    "unique_column",
    "unique_columns",
    "columns",
    "column_types",
    "default_column_type",
    "value",
    "not_null",
    "defaults",
    "was",
];
const LAST_KEYS: [&str; 3] = ["migrate", "dropped", "keep"];

/// The keys of a scope.
fn keys() -> impl Iterator<Item = &'static str> {
    FIRST_KEYS.into_iter().chain(NAMES).chain(LAST_KEYS)
}

/// Other spellings of keys.
const ALIASES: [(&str, &str); 2] =
    [("uniq_column", "unique_column"), ("uniq_columns", "unique_columns")];
const VALUES: [&str; 7] = ["default", "immutable", "record", "single", "tuple", "list", "json"];
const MIGRATES: [(&str, Migrate); 3] =
    [("safe", Migrate::Safe), ("recreate", Migrate::Recreate), ("manual", Migrate::Manual)];

/// A value and its place.
pub(super) type Item<'a> = Spanned<Toml<'a>>;

/// A word of the text and its place.
#[derive(Clone)]
struct Word<'a> {
    text: &'a str,
    span: Span,
}

/// Reads the schema of a scope from its table.
pub(super) fn scope(source: &Source<'_>, name: &str, table: &DeTable<'_>) -> Result<Schema> {
    let fields = Fields { source, table };
    fields.check_keys()?;
    let unique = unique_columns(&fields)?;
    let declared = fields.words("columns")?.unwrap_or_else(|| vec![plain("data")]);
    let shape = shape(&fields, &unique, &declared)?;
    let mut schema = Schema::new(name).shape(shape);
    schema.columns = columns(&fields, &unique, &declared, shape)?;
    let names = schema.columns.iter().enumerate().map(|(at, column)| (column.name.as_str(), at));
    let positions: HashMap<&str, usize> = names.collect();
    schema.key = unique.iter().filter_map(|word| positions.get(word.text).copied()).collect();
    if let Some(word) = fields.word("table")? {
        schema.table = word.text.to_owned();
    }
    schema.freshness = freshness(&fields)?;
    if let Some(word) = fields.word("migrate")? {
        schema.migrate = fields.one_of("migrate", &word, &MIGRATES)?;
    }
    schema.dropped = others(&fields, "dropped", &schema)?;
    schema.keep = others(&fields, "keep", &schema)?;
    Ok(schema)
}

/// Reads the freshness options.
fn freshness(fields: &Fields<'_>) -> Result<Freshness> {
    let mut words = Words::default();
    for name in NAMES {
        let Some(item) = fields.get(name) else { continue };
        let text = fields.scalar(name, item)?;
        words.set(name, &text).map_err(|error| fields.source.error(item.span(), error))?;
    }
    words.finish().map_err(|error| fields.source.error(fields.key_span("lease"), error))
}

/// Reads the columns of `dropped` or `keep`, which are not in the schema.
fn others(fields: &Fields<'_>, key: &str, schema: &Schema) -> Result<Vec<String>> {
    let words = fields.words(key)?.unwrap_or_default();
    fields.check_repeats(&words)?;
    for word in &words {
        if schema.columns.iter().any(|column| column.name == word.text) {
            let message = format!("`{key}` names the column `{}`, which is declared", word.text);
            return Err(fields.source.error(word.span.clone(), message));
        }
    }
    Ok(words.iter().map(|word| word.text.to_owned()).collect())
}

fn plain(text: &str) -> Word<'_> {
    Word { text, span: 0..0 }
}

fn unique_columns<'a>(fields: &Fields<'a>) -> Result<Vec<Word<'a>>> {
    let one = fields.word("unique_column")?;
    let several = fields.words("unique_columns")?;
    match (one, several) {
        (Some(_), Some(_)) => {
            let span = fields.key_span("unique_columns");
            let message = "both `unique_column` and `unique_columns`; keep one of them";
            Err(fields.source.error(span, message))
        }
        (_, Some(words)) if words.is_empty() => {
            let span = fields.key_span("unique_columns");
            Err(fields.source.error(span, "a scope needs at least one unique column"))
        }
        (_, Some(words)) => Ok(words),
        (Some(word), None) => Ok(vec![word]),
        (None, None) => Ok(vec![plain("id")]),
    }
}

fn shape(fields: &Fields<'_>, unique: &[Word<'_>], declared: &[Word<'_>]) -> Result<Shape> {
    let one = match declared {
        [column] => !unique.iter().any(|word| word.text == column.text),
        _ => false,
    };
    let plain = if one { Shape::Single } else { Shape::Record };
    let Some(word) = fields.word("value")? else { return Ok(plain) };
    let shapes = VALUES.map(|name| {
        let shape = match name {
            "record" | "immutable" => Shape::Record,
            "single" => Shape::Single,
            "tuple" | "list" => Shape::Tuple,
            "json" => Shape::Json,
            _ => plain,
        };
        (name, shape)
    });
    let shape = fields.one_of("value", &word, &shapes)?;
    match shape {
        Shape::Single if declared.len() != 1 => {
            let count = declared.len();
            let message =
                format!("`value = \"single\"` is for one column; `columns` declares {count}");
            Err(fields.source.error(word.span, message))
        }
        shape => Ok(shape),
    }
}

/// Reads the columns in table order: those that are only in the key, then the declared ones.
fn columns(
    fields: &Fields<'_>,
    unique: &[Word<'_>],
    declared: &[Word<'_>],
    shape: Shape,
) -> Result<Vec<Column>> {
    fields.check_repeats(unique)?;
    fields.check_repeats(declared)?;
    let (unique_names, declared_names) = (names_of(unique), names_of(declared));
    let key_only = unique.iter().filter(|word| !declared_names.contains(word.text));
    let words: Vec<&Word<'_>> = key_only.chain(declared).collect();
    let names: Vec<&str> = words.iter().map(|word| word.text).collect();
    let known = Known { fields, set: names.iter().copied().collect(), names };
    let types = known.entries("column_types")?;
    let defaults = known.entries("defaults")?;
    let former = known.entries("was")?;
    let not_null = fields.words("not_null")?.unwrap_or_default();
    not_null.iter().try_for_each(|word| known.check("not_null", word))?;
    let not_null = names_of(&not_null);
    let default_type = match fields.word("default_column_type")? {
        Some(word) => Some(fields.column_type(&word)?),
        None => None,
    };
    let column = |word: &&Word<'_>| {
        let (name, is_unique) = (word.text, unique_names.contains(word.text));
        let ty = match (types.get(name).copied(), default_type) {
            (Some(item), _) => fields.column_type(&fields.text(name, item)?)?,
            (None, Some(ty)) => ty,
            (None, None) if shape == Shape::Json && !is_unique => ColumnType::Json,
            (None, None) => ColumnType::Text,
        };
        let mut column = Column::new(name, ty);
        column.nullable = !is_unique && !not_null.contains(name);
        column.in_value = declared_names.contains(name);
        if let Some(item) = defaults.get(name).copied() {
            column.default = Some(fields.default(&column, item)?);
        }
        if let Some(item) = former.get(name).copied() {
            column.was = Some(fields.text(name, item)?.text.to_owned());
        }
        Ok(column)
    };
    words.iter().map(column).collect()
}

fn names_of<'a>(words: &[Word<'a>]) -> HashSet<&'a str> {
    words.iter().map(|word| word.text).collect()
}

/// The entries of a table by the names of columns.
type Entries<'a> = HashMap<&'a str, &'a Item<'a>>;

/// The names of the columns of the scope.
struct Known<'f, 'a> {
    fields: &'f Fields<'a>,
    names: Vec<&'f str>,
    /// The same names, for lookups.
    set: HashSet<&'f str>,
}

impl<'a> Known<'_, 'a> {
    /// Returns the entries of a key whose value is a table by column names.
    fn entries(&self, key: &str) -> Result<Entries<'a>> {
        let Some(item) = self.fields.get(key) else { return Ok(Entries::new()) };
        let table = item.get_ref().as_table().ok_or_else(|| {
            self.fields.wrong_kind(key, item, "a table by the names of columns, as { NAME = ... }")
        })?;
        let entries = table.iter().map(|(name, item)| {
            let word = Word { text: name.get_ref(), span: name.span() };
            self.check(key, &word)?;
            Ok((word.text, item))
        });
        entries.collect()
    }

    fn check(&self, key: &str, word: &Word<'_>) -> Result<()> {
        if self.set.contains(word.text) {
            return Ok(());
        }
        let message = format!(
            "`{key}` names the column `{}`, which is not declared; the columns are {}{}",
            word.text,
            self.names.join(", "),
            did_you_mean(word.text, self.names.iter().copied()),
        );
        Err(self.fields.source.error(word.span.clone(), message))
    }
}

/// The keys of a scope with their values.
struct Fields<'a> {
    source: &'a Source<'a>,
    table: &'a DeTable<'a>,
}

impl<'a> Fields<'a> {
    fn check_keys(&self) -> Result<()> {
        for name in self.table.keys().map(Spanned::get_ref) {
            let meant = ALIASES.iter().find(|(alias, _)| *alias == name);
            if let Some((alias, meant)) = meant.filter(|(_, meant)| self.table.contains_key(*meant))
            {
                let message = format!("both `{alias}` and `{meant}`, which are the same; keep one");
                return Err(self.source.error(self.key_span(alias), message));
            }
            if meant.is_none() && !keys().any(|key| key == name) {
                let message = format!(
                    "unknown key `{name}`; the keys of a scope are {}{}",
                    keys().collect::<Vec<_>>().join(", "),
                    did_you_mean(name, keys()),
                );
                return Err(self.source.error(self.key_span(name), message));
            }
        }
        Ok(())
    }

    /// Returns a key, or its alias, as spelled in the text.
    fn spelled(&self, key: &str) -> Option<(&'a Spanned<DeString<'a>>, &'a Item<'a>)> {
        let alias = ALIASES.iter().find(|(_, meant)| *meant == key).map(|(alias, _)| *alias);
        let spelled = self.table.get_key_value(key);
        spelled.or_else(|| self.table.get_key_value(alias?))
    }

    fn get(&self, key: &str) -> Option<&'a Item<'a>> {
        self.spelled(key).map(|(_, item)| item)
    }

    fn key_span(&self, key: &str) -> Span {
        self.spelled(key).map(|(key, _)| key.span()).unwrap_or_default()
    }

    fn wrong_kind(&self, key: &str, item: &Item<'_>, expected: &str) -> crate::Error {
        let found = match item.get_ref() {
            Toml::Table(_) if self.source.begins_with(item.span(), '{') => "inline table",
            // `[[NAME]]` is the place of both the array and its first table.
            Toml::Array(items) if items.iter().any(|table| table.span() == item.span()) => {
                "array of tables"
            }
            value => value.type_str(),
        };
        let message = format!("`{key}` is of type {found}; it should be {expected}");
        self.source.error(item.span(), message)
    }

    fn text(&self, key: &str, item: &'a Item<'a>) -> Result<Word<'a>> {
        match item.get_ref().as_str() {
            Some(text) => Ok(Word { text, span: item.span() }),
            None => Err(self.wrong_kind(key, item, "a string")),
        }
    }

    /// Returns the text of an option that can be a string, a number or a boolean.
    fn scalar(&self, key: &str, item: &'a Item<'a>) -> Result<Cow<'a, str>> {
        match item.get_ref() {
            Toml::String(text) => Ok(text.as_ref().into()),
            Toml::Integer(_) => Ok(self.number::<i64>(item, "integer")?.to_string().into()),
            Toml::Float(_) => Ok(self.number::<f64>(item, "floating-point")?.to_string().into()),
            Toml::Boolean(on) => Ok(on.to_string().into()),
            _ => Err(self.wrong_kind(key, item, "a string")),
        }
    }

    fn word(&self, key: &str) -> Result<Option<Word<'a>>> {
        self.get(key).map(|item| self.text(key, item)).transpose()
    }

    fn words(&self, key: &str) -> Result<Option<Vec<Word<'a>>>> {
        let Some(item) = self.get(key) else { return Ok(None) };
        let wrong = || self.wrong_kind(key, item, "an array of strings, as [\"NAME\", ...]");
        let words = item.get_ref().as_array().ok_or_else(wrong)?.iter();
        let words = words.map(|value| match value.get_ref() {
            Toml::String(text) => Ok(Word { text, span: value.span() }),
            _ => Err(wrong()),
        });
        words.collect::<Result<_>>().map(Some)
    }

    fn check_repeats(&self, words: &[Word<'_>]) -> Result<()> {
        let mut seen = HashSet::new();
        match words.iter().find(|word| !seen.insert(word.text)) {
            None => Ok(()),
            Some(word) => {
                let message = format!("duplicate column `{}`", word.text);
                Err(self.source.error(word.span.clone(), message))
            }
        }
    }

    fn one_of<T: Copy>(&self, key: &str, word: &Word<'_>, known: &[(&str, T)]) -> Result<T> {
        let found = known.iter().find(|(name, _)| *name == word.text);
        found.map(|(_, meant)| *meant).ok_or_else(|| {
            let names: Vec<&str> = known.iter().map(|(name, _)| *name).collect();
            let message = format!(
                "`{key} = \"{}\"` is unknown; it is one of {}{}",
                word.text,
                names.join(", "),
                did_you_mean(word.text, names.iter().copied()),
            );
            self.source.error(word.span.clone(), message)
        })
    }

    fn column_type(&self, word: &Word<'_>) -> Result<ColumnType> {
        word.text.parse().map_err(|error| self.source.error(word.span.clone(), error))
    }

    /// Converts a TOML number, which can be out of the range of 64 bits.
    fn number<T: DeserializeOwned>(&self, item: &Item<'_>, kind: &str) -> Result<T> {
        let value = T::deserialize(ValueDeserializer::from(item.clone()));
        value.map_err(|_| self.source.error(item.span(), format!("{kind} number overflowed")))
    }

    fn default(&self, column: &Column, item: &Item<'_>) -> Result<Value> {
        let (name, ty) = (&column.name, column.ty);
        let value = match item.get_ref() {
            Toml::String(text) => Value::from_text(text, ty),
            Toml::Integer(_) => ty.coerce(Value::Int(self.number(item, "integer")?)),
            Toml::Float(literal) => match (ty, self.number(item, "floating-point")?) {
                // The literal shows whether the value was rounded to zero.
                (ColumnType::Real | ColumnType::Double, _) => {
                    range::text_as_float(literal.as_str(), ty)
                }
                (_, value) => ty.coerce(Value::Float(value)),
            },
            Toml::Boolean(value) => ty.coerce(Value::Bool(*value)),
            Toml::Datetime(time) => Value::from_text(&time.to_string(), ty),
            _ => {
                let expected =
                    "a boolean, a number, a date, a time or a string (for json: its text)";
                return Err(self.wrong_kind(name, item, expected));
            }
        };
        let checked = value.and_then(|value| column.check(&value).map(|()| value));
        checked.map_err(|error| {
            let message = format!("the default of `{name}` does not fit: {}", error.message());
            self.source.error(item.span(), message)
        })
    }
}
