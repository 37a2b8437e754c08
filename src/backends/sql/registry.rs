//! hilcat's own table: which scopes a database has, and the schemas that their tables were given.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use super::dialect::{Dialect, Failure};
use super::error::Failed;
use super::render::Statements;
use super::statement::{execute, load};
use super::table::Found;
use crate::{Column, ColumnType, Result, Schema, Schemas, Value};

/// The table's name.
pub(super) const TABLE: &str = "hilcat_scopes";

/// What the registry has of a scope.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) fingerprint: String,
    /// The schema as TOML.
    definition: String,
}

impl Entry {
    /// The schema that the scope's table was given.
    pub(super) fn schema(&self, scope: &str) -> Option<Schema> {
        Schemas::from_str(&self.definition).ok()?.get(scope).cloned()
    }
}

/// The schema that the table of `schema` was given, by this scope or another one.
pub(super) fn of_table(entries: &BTreeMap<String, Entry>, schema: &Schema) -> Option<Schema> {
    let own = entries.get_key_value(&schema.name);
    let candidates = own.into_iter().chain(entries);
    let mut schemas = candidates.filter_map(|(scope, entry)| entry.schema(scope));
    schemas.find(|registered| registered.table == schema.table)
}

/// The fingerprint of a schema and of how its table stands.
pub(super) fn fingerprint<D: Dialect>(schema: &Schema) -> String {
    schema.fingerprint() + D::layout(schema)
}

/// The registry is a table as those of scopes are.
static SCHEMA: LazyLock<Arc<Schema>> = LazyLock::new(|| {
    let text = |name| Column::new(name, ColumnType::Text);
    Arc::new(
        Schema::new(TABLE)
            .unique(text("scope"))
            .column(text("table_name"))
            .column(text("fingerprint"))
            .column(text("definition")),
    )
});

/// The registry of one database.
#[derive(Debug)]
pub(super) struct Registry {
    schema: Arc<Schema>,
    statements: Statements,
    /// What stands in it, to be read in one statement.
    all: super::statement::Sql,
}

impl Registry {
    pub(super) fn new<D: Dialect>() -> Self {
        let schema = match D::LONG_SCOPES {
            true => SCHEMA.clone(),
            false => Arc::new(Schema::clone(&SCHEMA).with_keys_in_clear(true)),
        };
        let columns = schema.columns.iter().map(|column| match column.name.as_str() {
            "fingerprint" => D::noted_fingerprint(),
            _ => D::selected(&schema, column),
        });
        let columns = columns.collect::<Vec<_>>().join(", ");
        let all = super::statement::Sql::new(format!("SELECT {columns} FROM {}", D::quote(TABLE)));
        Self { statements: Statements::new::<D>(&schema), all, schema }
    }

    /// All entries by scope; none where the registry was not made yet.
    pub(super) fn load<D: Dialect>(
        &self,
        connection: &mut D::Connection,
    ) -> Result<BTreeMap<String, Entry>, Failed> {
        let mut entries = BTreeMap::new();
        let loaded = load::<D>(connection, self.all.with(&[]), &self.statements.types, |row| {
            if let Ok([Value::Text(scope), _, Value::Text(fingerprint), Value::Text(definition)]) =
                <[Value; 4]>::try_from(row)
            {
                entries.insert(scope, Entry { fingerprint, definition });
            }
            Ok(())
        });
        match loaded.map_err(Failed::from) {
            Ok(()) => Ok(entries),
            Err(failed) if failed.failure::<D>() == Failure::NoTable => Ok(BTreeMap::new()),
            Err(failed) => Err(failed),
        }
    }

    /// Notes that a scope's table has this schema, and stands as it is said there.
    pub(super) fn note<D: Dialect>(
        &self,
        connection: &mut D::Connection,
        schema: &Schema,
        found: &Found,
    ) -> Result<Entry, Failed> {
        let standing = schema.clone().with_keys_in_clear(found.keys_in_clear);
        let mut fingerprint = fingerprint::<D>(&standing);
        if !found.narrow.is_empty() {
            // None that is computed: the table is looked at whenever it is opened.
            fingerprint.push_str(", narrow");
        }
        let entry = Entry { fingerprint, definition: schema.to_toml() };
        let row = [&schema.name, &schema.table, &entry.fingerprint, &entry.definition];
        let row = row.map(|text| Value::Text(text.clone()));
        let row = row.into();
        D::check_row(&self.schema, &row)?;
        let row = D::stored_row(&self.schema, row);
        execute::<D>(connection, self.statements.set.with(&row))?;
        Ok(entry)
    }
}
