//! The layout of the table of all scopes, and the check that a scope fits it.

use std::sync::Arc;

use super::name;
use crate::freshness::EXPIRES_AT;
use crate::{Column, Error, Result, Schema, Value};

/// The table of all scopes: the scope columns, followed by those of the records.
#[derive(Debug, Clone)]
pub struct Layout {
    pub(super) table: Arc<Schema>,
    pub(super) scope_columns: usize,
}

impl Layout {
    /// Creates the table of these records, with these scope columns.
    pub(super) fn new(
        scope_columns: impl IntoIterator<Item = Column>,
        records: Schema,
    ) -> Result<Self> {
        records.validate()?;
        let scope: Vec<Column> = scope_columns.into_iter().map(Column::key_only).collect();
        let scope_columns = scope.len();
        let mut table = with_first_columns(scope, records);
        table.name.clone_from(&table.table);
        Self::of_table(table, scope_columns)
    }

    /// Creates the table of a schema whose first columns are the scope columns.
    pub(super) fn of_table(table: Schema, scope_columns: usize) -> Result<Self> {
        if scope_columns == 0 {
            return Err(Error::invalid_schema("there is no scope column: name at least one"));
        }
        table.validate()?;
        let table = Arc::new(Schema { sections: scope_columns, ..table });
        Ok(Self { table, scope_columns })
    }

    /// Returns the scope columns.
    pub(super) fn scope_columns(&self) -> impl Iterator<Item = &Column> {
        self.table.columns.iter().take(self.scope_columns)
    }

    /// Returns the schema of the table that a scope needs: with hilcat's own expiry column if the
    /// scope's records have it, and with the scope's freshness options.
    pub(super) fn table_for(&self, scope: &Schema) -> Schema {
        let table = self.table.with_expiry_of(scope);
        Schema { freshness: scope.freshness.clone(), ..table }
    }

    /// Returns the schema of the records of a scope.
    pub(super) fn records(&self, scope: &str) -> Schema {
        self.without_scope(&self.table, scope)
    }

    /// Returns the schema of the records of a scope in a table of this schema.
    pub(super) fn without_scope(&self, table: &Schema, scope: &str) -> Schema {
        let mut schema = table.clone();
        scope.clone_into(&mut schema.name);
        schema.columns.drain(..self.scope_columns);
        schema.key.drain(..self.scope_columns);
        schema.key.iter_mut().for_each(|at| *at -= self.scope_columns);
        schema
    }

    /// Returns the schema with which a scope uses the table: the scope columns, followed by the
    /// scope's own columns.
    pub(super) fn table_schema(&self, schema: &Schema) -> Result<Schema> {
        self.check_columns(schema)?;
        let mut table = with_first_columns(self.scope_columns().cloned().collect(), schema.clone());
        table.name.clone_from(&self.table.name);
        table.table.clone_from(&self.table.table);
        table.sections = self.scope_columns;
        Ok(table)
    }

    /// Returns the schema by which a scope reads a table that has fewer or narrower columns than
    /// `wanted`.
    pub(super) fn readable_schema(&self, wanted: Schema, stored: &Schema) -> Schema {
        let former = |name: &str| {
            let column = self.table.columns.iter().find(|column| column.name == name)?;
            column.was.as_deref()
        };
        let mut reads = Schema { columns: Vec::new(), key: Vec::new(), ..wanted.clone() };
        let mut places = vec![None; wanted.columns.len()];
        for (at, column) in wanted.columns.iter().enumerate() {
            let find = |name: &str| stored.columns.iter().find(|have| have.name == name);
            let have = find(&column.name).or_else(|| find(former(&column.name)?));
            let Some(have) = have else { continue };
            places[at] = Some(reads.columns.len());
            reads.columns.push(Column { was: Some(column.name.clone()), ..have.clone() });
        }
        reads.key = wanted.key.iter().filter_map(|at| places[*at]).collect();
        reads
    }

    /// Returns the values of the scope columns for a scope.
    pub(super) fn values_of(&self, scope: &str) -> Result<Vec<Value>> {
        let types: Vec<_> =
            self.scope_columns().map(|column| (column.name.as_str(), column.ty)).collect();
        name::values(scope, &types)
    }

    /// Checks that a scope has the columns of the table, by name and type, and its key.
    pub(super) fn check_columns(&self, schema: &Schema) -> Result<()> {
        let table = self.records(&schema.name);
        let wrong = |message: String| {
            let columns =
                table.columns.iter().map(|column| format!("{} {}", column.name, column.ty));
            let columns = columns.collect::<Vec<_>>().join(", ");
            Error::invalid_schema(format!(
                "{message}; the table `{}` of all scopes has the columns {columns}",
                table.table
            ))
        };
        for column in schema.columns.iter().filter(|column| column.name != EXPIRES_AT) {
            match table.columns.iter().find(|known| known.name == column.name) {
                Some(known) if known.ty == column.ty => {}
                Some(known) => {
                    let message =
                        format!("it is of type {}, not {}, in the table", known.ty, column.ty);
                    return Err(wrong(message).with_column(&column.name));
                }
                None => {
                    let message = format!("there is no column `{}`", column.name);
                    return Err(wrong(message).with_column(&column.name));
                }
            }
        }
        let missing = table
            .columns
            .iter()
            .find(|known| schema.columns.iter().all(|column| column.name != known.name));
        if let Some(missing) = missing {
            return Err(wrong(format!("the scope has no column `{}`", missing.name)));
        }
        let key = |schema: &Schema| -> Vec<String> {
            schema.key_columns().map(|column| column.name.clone()).collect()
        };
        match key(schema) == key(&table) {
            true => Ok(()),
            false => Err(wrong(format!(
                "the key is made of {}, not of {}",
                key(&table).join(", "),
                key(schema).join(", ")
            ))),
        }
    }
}

/// Returns a schema with key columns before its own.
fn with_first_columns(scope: Vec<Column>, mut records: Schema) -> Schema {
    let count = scope.len();
    records.key = (0..count).chain(records.key.iter().map(|at| at + count)).collect();
    records.columns.splice(0..0, scope);
    records
}
