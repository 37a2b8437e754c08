//! What the one table of all scopes looks like, and what a scope must look like to be in it.

use std::sync::Arc;

use super::name;
use crate::freshness::EXPIRES_AT;
use crate::{Column, Error, Result, Schema, Value};

/// The one table: the columns that say the scope, and then those of the records.
#[derive(Debug, Clone)]
pub struct Layout {
    pub(super) table: Arc<Schema>,
    pub(super) scope_columns: usize,
}

impl Layout {
    /// The table of these records, with these columns in front.
    pub(super) fn new(
        scope_columns: impl IntoIterator<Item = Column>,
        records: Schema,
    ) -> Result<Self> {
        records.validate()?;
        let scope: Vec<Column> = scope_columns.into_iter().map(Column::key_only).collect();
        let scope_columns = scope.len();
        let mut table = before(scope, records);
        table.name.clone_from(&table.table);
        Self::of_table(table, scope_columns)
    }

    /// The table of this schema, whose first columns say the scope.
    pub(super) fn of_table(table: Schema, scope_columns: usize) -> Result<Self> {
        if scope_columns == 0 {
            return Err(Error::invalid_schema("no column says the scope"));
        }
        table.validate()?;
        let table = Arc::new(Schema { sections: scope_columns, ..table });
        Ok(Self { table, scope_columns })
    }

    /// The columns that say the scope.
    pub(super) fn scope_columns(&self) -> impl Iterator<Item = &Column> {
        self.table.columns.iter().take(self.scope_columns)
    }

    /// The table as it is to be for a scope: with hilcat's own column for the expiry if records of
    /// the scope have it. What is stored as the table's options are those of the scope.
    pub(super) fn table_for(&self, scope: &Schema) -> Schema {
        let table = self.table.with_expiry_of(scope);
        Schema { freshness: scope.freshness.clone(), ..table }
    }

    /// The schema of the records of a scope.
    pub(super) fn records(&self, scope: &str) -> Schema {
        self.without_scope(&self.table, scope)
    }

    /// The schema of the records of a scope in a table that is used as this.
    pub(super) fn without_scope(&self, used_as: &Schema, scope: &str) -> Schema {
        let mut schema = used_as.clone();
        scope.clone_into(&mut schema.name);
        schema.columns.drain(..self.scope_columns);
        schema.key.drain(..self.scope_columns);
        schema.key.iter_mut().for_each(|at| *at -= self.scope_columns);
        schema
    }

    /// The table as a scope of this schema uses it: its own columns, with those of the scope in
    /// front.
    pub(super) fn used_as(&self, schema: &Schema) -> Result<Schema> {
        self.check_columns(schema)?;
        let mut used = before(self.scope_columns().cloned().collect(), schema.clone());
        used.name.clone_from(&self.table.name);
        used.table.clone_from(&self.table.table);
        used.sections = self.scope_columns;
        Ok(used)
    }

    /// The table as a scope reads it where it is stored under fewer or narrower columns.
    pub(super) fn stored_as(&self, used_as: Schema, stored: &Schema) -> Schema {
        let former = |name: &str| {
            let column = self.table.columns.iter().find(|column| column.name == name)?;
            column.was.as_deref()
        };
        let mut reads = Schema { columns: Vec::new(), key: Vec::new(), ..used_as.clone() };
        let mut places = vec![None; used_as.columns.len()];
        for (at, column) in used_as.columns.iter().enumerate() {
            let find = |name: &str| stored.columns.iter().find(|have| have.name == name);
            let have = find(&column.name).or_else(|| find(former(&column.name)?));
            let Some(have) = have else { continue };
            places[at] = Some(reads.columns.len());
            reads.columns.push(Column { was: Some(column.name.clone()), ..have.clone() });
        }
        reads.key = used_as.key.iter().filter_map(|at| places[*at]).collect();
        reads
    }

    /// The values of the columns that say the scope.
    pub(super) fn values_of(&self, scope: &str) -> Result<Vec<Value>> {
        let types: Vec<_> =
            self.scope_columns().map(|column| (column.name.as_str(), column.ty)).collect();
        name::values(scope, &types)
    }

    /// A scope has the columns of the table, by name and type, and its key.
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

/// A schema with unique columns in front.
fn before(scope: Vec<Column>, mut records: Schema) -> Schema {
    let count = scope.len();
    records.key = (0..count).chain(records.key.iter().map(|at| at + count)).collect();
    records.columns.splice(0..0, scope);
    records
}
