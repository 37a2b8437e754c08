//! The records, with Diesel's tables for them.

use hilcat::ScopeRecord;

#[derive(Debug, Clone, PartialEq, ScopeRecord)]
#[scope(name = "articles", diesel)]
pub(crate) struct Article {
    #[scope(unique)]
    pub(crate) id: String,
    pub(crate) name: Option<String>,
    pub(crate) count: i32,
}

impl Article {
    pub(crate) fn with_id(self, id: &str) -> Self {
        Self { id: id.into(), ..self }
    }
}

pub(crate) fn article(id: &str, count: i32) -> Article {
    Article { id: id.into(), name: (count % 2 == 0).then(|| format!("name of {id}")), count }
}

/// A record that may not be writable: its column is narrower than its field.
#[derive(Debug, Clone, PartialEq, ScopeRecord)]
#[scope(name = "narrow", diesel)]
pub(crate) struct Narrow {
    #[scope(unique)]
    pub(crate) id: i32,
    #[scope(type = "smallint")]
    pub(crate) count: i32,
    #[scope(type = "varchar(3)")]
    pub(crate) name: String,
}

/// A table and columns whose names differ from those of the module and the fields.
#[derive(Debug, Clone, PartialEq, ScopeRecord)]
#[scope(name = "odd", table = "odd table; `1`", diesel)]
pub(crate) struct OddNames {
    #[scope(unique, column = "the key")]
    pub(crate) id: i64,
    #[scope(unique)]
    pub(crate) r#type: String,
    #[scope(column = "Größe")]
    pub(crate) table: f64,
    pub(crate) odd_names: bool,
    #[scope(skip)]
    pub(crate) seen: bool,
}

/// A scope that has only a key, in a module of a given name.
#[derive(Debug, Clone, PartialEq, ScopeRecord)]
#[scope(name = "seen", diesel = "seen_keys")]
pub(crate) struct Seen {
    #[scope(unique)]
    pub(crate) id: i32,
}
