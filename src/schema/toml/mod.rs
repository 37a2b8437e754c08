//! Schemas in TOML.

mod file;
mod read;
mod source;
#[cfg(test)]
mod tests;
mod write;

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::str::FromStr;

use self::file::Files;
#[cfg(feature = "sql")]
pub(crate) use self::file::scope_of;
use super::Schema;
use crate::{Error, Result};

/// Schemas by the names of their scopes, read from and written as TOML.
///
/// ```
/// use hilcat::{ColumnType, Schemas};
///
/// let schemas = Schemas::from_str(r#"
///     [scopes.a]
///     unique_column = "id"
///     columns = ["id", "name", "comment", "count"]
///     column_types = { count = "int" }
///
///     [scopes.d]
///     table = "d_items"
///     unique_columns = ["id1", "id2"]
///     columns = ["value"]
///     column_types = { value = "int" }
///     value = "single"
///     ttl = "1h"
/// "#)?;
/// let a = schemas.get("a").expect("it is declared above");
/// assert_eq!(a.columns()[3].ty, ColumnType::Int);
/// assert_eq!(schemas.to_string().parse::<Schemas>()?, schemas);
/// # Ok::<(), hilcat::Error>(())
/// ```
///
/// # The format
///
/// A file has a table `[scopes.NAME]` for each scope. All its keys are optional:
///
/// | key | meaning | default |
/// | --- | --- | --- |
/// | `table` | the name of the table | the name of the scope |
/// | `unique_column` | the unique column; `uniq_column` is read, too | `"id"` |
/// | `unique_columns` | several unique columns in key order, instead of `unique_column`; `uniq_columns` is read, too | |
/// | `columns` | the columns of a value, in table order | `["data"]` |
/// | `column_types` | the types of columns by name, spelled as [`ColumnType`](crate::ColumnType) reads them | |
/// | `default_column_type` | the type of all other columns | `"text"`; with `value = "json"`, `"json"` for those that are not unique |
/// | `value` | the shape of a value, below | `"default"` |
/// | `not_null` | the columns that cannot be NULL besides the unique ones | none |
/// | `defaults` | the values of columns that a record omits, below | |
/// | `was` | the former names of columns, by their current names | |
/// | `ttl` | how long a record is fresh after each write, as `"1h30m"`, `"2d"`, `"250ms"`, or `"never"` | for ever, and records carry no expiry |
/// | `stale_while_revalidate` | how long after its expiry `get` may serve a record while one caller computes a new one | |
/// | `stale_if_error` | how long after its expiry a record is served if the computation fails | |
/// | `jitter` | the maximum part of the `ttl`, `"10%"` or `0.1`, by which each write shortens it at random | 0 |
/// | `negative_ttl` | how long `get_optional` remembers that there is no record | |
/// | `expires_at` | instead of `ttl`: the timestamp column that holds the end of a record's freshness | |
/// | `max_records` | the maximum number of records; those that expire first are removed first | no bound |
/// | `auto_purge` | whether writes remove expired records in small steps, `"on"` or `"off"` | `"on"` |
/// | `single_flight` | the callers that share a computation: those of one `"process"`, or of all processes (`"shared"`) | `"process"` |
/// | `lease` | with `"shared"`: how long the right of a process to compute is valid without a renewal | `"30s"` |
/// | `on_unavailable` | what `get` and `try_get` do while the store cannot be reached: `"fail"`, or `"compute"` and return the result | `"fail"` |
/// | `migrate` | `"safe"`, `"recreate"` or `"manual"`, see [`Migrate`](crate::Migrate) | `"safe"` |
/// | `dropped` | columns that are removed from the table, see [`Schema::dropped`] | none |
/// | `keep` | columns of the table that belong to other programs, see [`Schema::keep`] | none |
///
/// A unique column that is not among `columns` is part of the key only, and comes first in the
/// table.
///
/// The shapes of a value are `"record"` or `"immutable"` (an object), `"single"` (the bare value of
/// the one column), `"tuple"` or `"list"` (an array in the order of `columns`) and `"json"` (any
/// JSON, see [`Shape`](crate::Shape)). `"default"` is `"single"` if one column is declared and it
/// is not unique, and `"record"` otherwise.
///
/// A default is a TOML boolean, number, date or time, or a string in the format of
/// [`Value::from_text`](crate::Value::from_text), which is also that of CSV cells: base64 for
/// `bytes`, JSON for `json`, digits for `decimal` and for integers that TOML cannot hold.
///
/// ```toml
/// defaults = { count = 0, seen = 2013-01-01, price = "9.50", tags = '["new"]', raw = "AAE=" }
/// ```
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Schemas(BTreeMap<String, Schema>);

impl Schemas {
    /// Reads a TOML file, or every `.toml` file of a directory except those with a name that begins
    /// with `.` or `#`. Files must be regular files of up to 64 MiB.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidSchema`](crate::ErrorKind::InvalidSchema), with the message
    /// `FILE:LINE:COLUMN: REASON`; also if a directory has no such file, or two scopes have the same
    /// name or table. [`ErrorKind::Io`](crate::ErrorKind::Io) if a file cannot be read, is not a
    /// regular file or is too large.
    pub fn from_path(path: impl AsRef<Path>) -> Result<Self> {
        let mut files = Files::default();
        for path in file::toml_files(path.as_ref())? {
            files.add(Some(&path.display().to_string()), &file::read_text(&path)?)?;
        }
        Ok(files.into_schemas())
    }

    /// Reads schemas from TOML.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidSchema`](crate::ErrorKind::InvalidSchema), with the message
    /// `LINE:COLUMN: REASON`; also if two scopes have the same table.
    #[expect(
        clippy::should_implement_trait,
        reason = "callable without an import of FromStr, which is implemented, too"
    )]
    pub fn from_str(text: &str) -> Result<Self> {
        let mut files = Files::default();
        files.add(None, text)?;
        Ok(files.into_schemas())
    }

    /// Returns the schemas as TOML. Reading it returns equal schemas.
    pub fn to_toml(&self) -> String {
        write::document(self.iter())
    }

    /// Returns the schema of a scope, or `None` if there is none.
    pub fn get(&self, name: &str) -> Option<&Schema> {
        self.0.get(name)
    }

    /// Iterates over the schemas, sorted by the names of their scopes.
    pub fn iter(&self) -> impl Iterator<Item = &Schema> {
        self.0.values()
    }

    /// Returns the number of schemas.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Returns whether there are no schemas.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Adds a schema. Returns the replaced schema of the same scope, if there was one.
    pub fn insert(&mut self, schema: Schema) -> Option<Schema> {
        self.0.insert(schema.name.clone(), schema)
    }
}

impl Schema {
    /// Returns the schema as TOML, in the format of [`Schemas`]: a document with this one scope.
    /// Reading the TOML of a valid schema returns an equal schema.
    pub fn to_toml(&self) -> String {
        write::document([self])
    }
}

/// Writes the schemas as TOML.
impl fmt::Display for Schemas {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_toml())
    }
}

impl FromStr for Schemas {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Self::from_str(text)
    }
}

impl Extend<Schema> for Schemas {
    fn extend<T: IntoIterator<Item = Schema>>(&mut self, schemas: T) {
        self.0.extend(schemas.into_iter().map(|schema| (schema.name.clone(), schema)));
    }
}

impl FromIterator<Schema> for Schemas {
    fn from_iter<T: IntoIterator<Item = Schema>>(schemas: T) -> Self {
        let mut collected = Self::default();
        collected.extend(schemas);
        collected
    }
}

impl IntoIterator for Schemas {
    type Item = Schema;
    type IntoIter = std::collections::btree_map::IntoValues<String, Schema>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_values()
    }
}

impl<'a> IntoIterator for &'a Schemas {
    type Item = &'a Schema;
    type IntoIter = std::collections::btree_map::Values<'a, String, Schema>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.values()
    }
}
