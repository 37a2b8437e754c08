//! Discovery of scopes: hilcat's own indices, and those of other programs.

use serde_json::Value as Json;

use super::cluster::{Cluster, IndexDescription};
use super::mapping::column_type;
use super::names;
use crate::store::Adopted;
use crate::{Column, ColumnType, Result, Schema};

/// The name of the key column of another program's index. The key is the id of the document.
const KEY: &str = "id";

impl Cluster {
    /// Returns the names of hilcat's own scopes, sorted.
    pub(super) fn scopes(&self) -> Result<Vec<String>> {
        const FILTER: &str =
            "*.aliases,*.mappings._meta.hilcat.scope,*.mappings._meta.hilcat.table";
        let indices = self.describe_all(FILTER, self.deadline())?.into_values();
        let mut scopes: Vec<String> = indices.filter_map(|index| self.scope(&index)).collect();
        scopes.sort_unstable();
        scopes.dedup();
        Ok(scopes)
    }

    /// Returns the scope of an index; `None` if the index has another prefix or was left behind by
    /// an interrupted change.
    fn scope(&self, index: &IndexDescription) -> Option<String> {
        let ours = &index.mappings["_meta"]["hilcat"];
        let alias = names::alias(&self.prefix, ours["table"].as_str()?).ok()?;
        let scope = ours["scope"].as_str()?;
        index.aliases.contains_key(&alias).then(|| scope.to_owned())
    }

    /// Returns the indices of other programs, as scopes.
    pub(super) fn adopt(&self) -> Result<Adopted> {
        let mut adopted = Adopted::default();
        for (index, described) in self.describe_all("*.aliases,*.mappings", self.deadline())? {
            if described.is_own() {
                continue;
            }
            match self.adopted(&index, &described) {
                Ok(schema) => adopted.schemas.push(schema),
                Err(reason) => adopted.skipped_tables.push((index, reason)),
            }
        }
        Ok(adopted)
    }

    fn adopted(&self, index: &str, described: &IndexDescription) -> Result<Schema, String> {
        let Some(table) = names::table(&self.prefix, index) else {
            return Err("no table name maps to an index with this name".to_owned());
        };
        let properties = described.mappings["properties"].as_object();
        let Some(properties) = properties.filter(|properties| !properties.is_empty()) else {
            return Err("its mapping has no fields".to_owned());
        };
        let key = Column::new(KEY, ColumnType::Text);
        let key = if properties.contains_key(KEY) { key } else { key.key_only() };
        let schema = Schema::new(table).unique(key);
        let columns = properties.iter().filter(|(name, _)| *name != KEY);
        let schema = columns.fold(schema, |schema, column| schema.column(adopted_column(column)));
        match schema.validate() {
            Ok(()) => Ok(schema),
            Err(error) => Err(error.message().to_owned()),
        }
    }
}

fn adopted_column((name, property): (&String, &Json)) -> Column {
    Column::new(name, column_type(property)).nullable(true)
}
