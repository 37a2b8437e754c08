//! The location of a scope's documents, and the mapping of columns to fields.

use std::collections::BTreeMap;

use serde_json::{Map, Value as Json, json};

use super::document::{self, Member};
use super::names;
use crate::schema::{has_new_default, merged, plan, stored_freshness};
use crate::{Column, Error, Result, Schema, Schemas, Value};

/// The members of a document that store a lease and mark a placeholder. They never collide with
/// fields of columns, whose names have two hexadecimal digits after each `%`.
pub(super) const LEASE: &str = "hilcat%lease";
pub(super) const UNTIL: &str = "hilcat%until";
pub(super) const VACANT: &str = "hilcat%vacant";

/// The version of the format of `_meta`.
const VERSION: u64 = 1;

/// The destination of a scope's requests.
#[derive(Debug)]
pub(super) struct Target {
    /// The alias, or the index of another program.
    pub(super) name: String,
    /// The name as a segment of a path.
    pub(super) path: String,
    /// One for each column of the schema.
    pub(super) fields: Vec<Field>,
    /// Whether the index belongs to another program.
    pub(super) foreign: bool,
    /// Whether documents can have leases.
    pub(super) leases: bool,
}

/// The field of a column.
#[derive(Debug, Clone)]
pub(super) struct Field {
    pub(super) name: String,
    /// The value for documents without the field: the default that the column had when it was
    /// added.
    pub(super) fill: Option<Value>,
    /// Whether the column is stored in the id only, as the key in an index of another program.
    pub(super) in_id_alone: bool,
}

impl Target {
    pub(super) fn new(name: String, fields: Vec<Field>, foreign: bool) -> Self {
        let path = names::in_path(&name).to_string();
        Self { name, path, fields, foreign, leases: false }
    }

    /// Returns the parameter that makes writes fail if the alias is missing. Without it,
    /// Elasticsearch would create an index.
    pub(super) fn require_alias(&self) -> &'static str {
        if self.foreign { "" } else { "&require_alias=true" }
    }
}

/// The metadata that hilcat stores in the mapping of its own indices: the schema, and facts that do
/// not follow from it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Layout {
    pub(super) schema: Schema,
    fingerprint: String,
    /// The names of fields that differ from the default name for their column.
    fields: BTreeMap<String, String>,
    fills: BTreeMap<String, Json>,
    /// Whether the mapping has fields for leases.
    pub(super) leases: bool,
}

impl Layout {
    /// Returns the layout of a new index.
    pub(super) fn new(schema: &Schema) -> Self {
        Self {
            fingerprint: schema.fingerprint(),
            schema: merged(None, schema),
            fields: BTreeMap::new(),
            fills: BTreeMap::new(),
            leases: schema.freshness.lease().is_some(),
        }
    }

    /// Returns the name of a column's field.
    pub(super) fn field(&self, column: &str) -> String {
        self.fields.get(column).cloned().unwrap_or_else(|| names::field(column))
    }

    fn set_field(&mut self, column: &str, field: String) {
        if field != names::field(column) {
            self.fields.insert(column.to_owned(), field);
        }
    }

    /// Adds a column that existing documents lack.
    pub(super) fn add(&mut self, column: &Column, field: String) -> Result<()> {
        self.set_field(&column.name, field);
        if let Some(default) = &column.default {
            let fill = serde_json::to_value(Member(default)).map_err(|error| {
                Error::invalid_schema(format!("the default cannot be written as JSON: {error}"))
                    .with_column(&column.name)
            })?;
            self.fills.insert(column.name.clone(), fill);
        }
        Ok(())
    }

    /// Renames columns simultaneously; they keep their fields.
    pub(super) fn rename(&mut self, names: &[(&str, &str)]) {
        let old = self.clone();
        for (from, _) in names {
            self.fields.remove(*from);
            self.fills.remove(*from);
        }
        for (from, to) in names {
            self.set_field(to, old.field(from));
            if let Some(fill) = old.fills.get(*from) {
                self.fills.insert((*to).to_owned(), fill.clone());
            }
        }
    }

    /// Merges a schema whose columns all exist. Other columns are kept, except those that the
    /// schema drops.
    pub(super) fn merge(&mut self, schema: &Schema) {
        for column in &schema.dropped {
            self.fields.remove(column);
            self.fills.remove(column);
        }
        self.leases |= schema.freshness.lease().is_some();
        self.schema = merged(Some(&self.schema), schema);
        self.fingerprint = self.schema.fingerprint();
    }

    /// Whether the index has everything that a schema needs.
    pub(super) fn covers(&self, schema: &Schema) -> bool {
        let columns = self.fingerprint == schema.fingerprint()
            || plan(&self.schema, schema).is_empty() && !has_new_default(&self.schema, schema);
        columns
            && self.schema.freshness == stored_freshness(&self.schema, schema)
            && (self.leases || schema.freshness.lease().is_none())
    }

    /// Returns the target for a schema whose columns all exist.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidData`](crate::ErrorKind::InvalidData) if a stored default is not of its
    /// column's type.
    pub(super) fn target(&self, alias: &str, schema: &Schema) -> Result<Target> {
        let field = |column: &Column| {
            let fill = self.fills.get(&column.name);
            let fill = fill.map(|fill| document::decode(&fill.to_string(), column)).transpose();
            Ok(Field {
                name: self.field(&column.name),
                fill: fill.map_err(|error| error.with_column(&column.name))?,
                in_id_alone: false,
            })
        };
        let fields = schema.columns.iter().map(field).collect::<Result<Vec<_>>>()?;
        Ok(Target { leases: self.leases, ..Target::new(alias.to_owned(), fields, false) })
    }

    /// Returns the content of `_meta`.
    pub(super) fn to_json(&self) -> Json {
        let mut json = json!({
            "version": VERSION,
            "scope": self.schema.name,
            "table": self.schema.table,
            "fingerprint": self.fingerprint,
            "schema": self.schema.to_toml(),
            "fields": self.fields,
            "fills": self.fills,
        });
        if self.leases {
            json["leases"] = true.into();
        }
        json
    }

    /// Parses the content of `_meta`.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidData`](crate::ErrorKind::InvalidData) if it is malformed,
    /// [`ErrorKind::Unsupported`](crate::ErrorKind::Unsupported) if a later release wrote it.
    pub(super) fn from_json(json: &Json) -> Result<Self> {
        match json["version"].as_u64() {
            Some(VERSION) => {}
            Some(_) => {
                return Err(Error::unsupported(
                    "a later release of hilcat wrote the mapping of the index; use that release or a newer one",
                ));
            }
            None => return Err(unreadable("version")),
        }
        let text = |name: &str| json[name].as_str().ok_or_else(|| unreadable(name));
        let schemas = Schemas::from_str(text("schema")?).map_err(|_| unreadable("schema"))?;
        let schema = schemas.get(text("scope")?).ok_or_else(|| unreadable("scope"))?;
        let empty = Map::new();
        let map = |name: &str| match &json[name] {
            Json::Null => Ok(&empty),
            other => other.as_object().ok_or_else(|| unreadable(name)),
        };
        let strings = |map: &Map<String, Json>| {
            let pair = |(name, field): (&String, &Json)| {
                Some((name.clone(), field.as_str().map(str::to_owned)?))
            };
            map.iter().map(pair).collect::<Option<_>>()
        };
        Ok(Self {
            schema: schema.clone(),
            fingerprint: text("fingerprint")?.to_owned(),
            fields: strings(map("fields")?).ok_or_else(|| unreadable("fields"))?,
            fills: map("fills")?.clone().into_iter().collect(),
            leases: json["leases"] == true,
        })
    }
}

fn unreadable(part: &str) -> Error {
    Error::invalid_data(format!(
        "hilcat's part of `_meta` in the mapping is malformed: `{part}` cannot be read"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ColumnType;

    #[test]
    fn layouts_round_trip() {
        let schema = Schema::new("a")
            .unique(Column::new("id", ColumnType::Text))
            .column(Column::new("title", ColumnType::Text));
        let mut layout = Layout::new(&schema);
        layout.rename(&[("name", "title")]);
        let added = Column::new("n.m", ColumnType::Int).default_value(7_i32);
        layout.add(&added, names::field("n.m")).unwrap();
        layout.merge(&schema.column(added));
        assert_eq!(Layout::from_json(&layout.to_json()).unwrap(), layout);
        assert_eq!((layout.field("title"), layout.field("n.m")), ("name".into(), "n%2em".into()));
        let target = layout.target("a", &layout.schema).unwrap();
        assert_eq!(target.fields[2].fill, Some(Value::Int(7)));
        layout.rename(&[("title", "name"), ("n.m", "title")]);
        assert_eq!(layout.to_json()["fields"], json!({"title": "n%2em"}));
        assert_eq!(layout.to_json()["fills"], json!({"title": 7}));
    }

    #[test]
    fn malformed_metadata_is_reported() {
        let schema = Schema::new("a").unique(Column::new("id", ColumnType::Text));
        let mut json = Layout::new(&schema).to_json();
        json["fills"] = json!(7);
        let error = Layout::from_json(&json).unwrap_err().to_string();
        assert!(error.contains("`fills`"), "{error}");
        json["version"] = json!(2);
        assert!(Layout::from_json(&json).unwrap_err().to_string().contains("later release"));
    }
}
