//! Schemas written in TOML.

use std::collections::BTreeMap;
use std::path::Path;

use super::Schema;
use crate::{Error, Result};

/// Schemas by the names of their scopes.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Schemas(BTreeMap<String, Schema>);

impl Schemas {
    /// Reads a TOML file, or every `.toml` file of a directory.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidSchema`](crate::ErrorKind::InvalidSchema), naming file, line and column.
    pub fn from_path(path: impl AsRef<Path>) -> Result<Self> {
        let _ = path;
        Err(Error::invalid_schema("not written yet"))
    }

    /// Reads schemas from TOML.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidSchema`](crate::ErrorKind::InvalidSchema), naming line and column.
    #[expect(
        clippy::should_implement_trait,
        reason = "the name that is promised; there is FromStr, too"
    )]
    pub fn from_str(text: &str) -> Result<Self> {
        let _ = text;
        Err(Error::invalid_schema("not written yet"))
    }

    /// The schema of a scope.
    pub fn get(&self, name: &str) -> Option<&Schema> {
        self.0.get(name)
    }

    /// The schemas, sorted by the names of their scopes.
    pub fn iter(&self) -> impl Iterator<Item = &Schema> {
        self.0.values()
    }

    /// Adds a schema; gives the one of the same scope that it replaces.
    pub fn insert(&mut self, schema: Schema) -> Option<Schema> {
        self.0.insert(schema.name.clone(), schema)
    }
}

impl Extend<Schema> for Schemas {
    fn extend<T: IntoIterator<Item = Schema>>(&mut self, schemas: T) {
        self.0.extend(schemas.into_iter().map(|schema| (schema.name.clone(), schema)));
    }
}

impl IntoIterator for Schemas {
    type Item = Schema;
    type IntoIter = std::collections::btree_map::IntoValues<String, Schema>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_values()
    }
}
