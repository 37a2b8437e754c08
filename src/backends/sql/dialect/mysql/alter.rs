//! The statement that changes an existing table to match its schema.

use diesel::QueryResult;
use diesel::mysql::Mysql;
use diesel::result::Error as DieselError;

use super::column_definition::{self, Edit};
use super::{EXACT, introspect, keys};
use crate::backends::sql::connection::mysql::MysqlConnection;
use crate::backends::sql::dialect::ColumnTypes;
use crate::backends::sql::dialect::keys::{long_column, needs_full_key, sized_columns};
use crate::backends::sql::dialect::statements::definition;
use crate::schema::{Change, ExistingColumn, ExistingTable};
use crate::{Column, ColumnType, Error, ErrorKind, Result, Schema};

/// Returns the `ALTER TABLE` with all changes, after checking that all of them are possible.
pub(super) fn statement(
    connection: &mut MysqlConnection,
    schema: &Schema,
    existing: &ExistingTable,
    changes: &[Change],
) -> QueryResult<String> {
    let alter = introspect::show_create_table(connection, &schema.table)
        .and_then(|create| Alter { schema, existing, changes, create: &create }.parts(connection));
    let parts = alter.map_err(|error| DieselError::QueryBuilderError(Box::new(error)))?;
    Ok(format!("ALTER TABLE {} {}", Mysql::quote(&schema.table), parts.join(", ")))
}

struct Alter<'a> {
    schema: &'a Schema,
    existing: &'a ExistingTable,
    changes: &'a [Change],
    /// The output of `SHOW CREATE TABLE`.
    create: &'a str,
}

impl Alter<'_> {
    fn parts(&self, connection: &mut MysqlConnection) -> Result<Vec<String>> {
        let mut parts = Vec::new();
        for change in self.changes {
            match change {
                Change::AddColumn(column) => {
                    let added = in_utf8(definition::<Mysql>(column), column.ty);
                    parts.push(format!("ADD COLUMN {added}"));
                }
                Change::RenameColumn { from, to } => {
                    self.check_triggers(connection, from)?;
                    if !self.is_redefined(to) {
                        let (from, to) = (Mysql::quote(from), Mysql::quote(to));
                        parts.push(format!("RENAME COLUMN {from} TO {to}"));
                    }
                }
                Change::DropColumn(column) => {
                    self.check_triggers(connection, column)?;
                    parts.push(format!("DROP COLUMN {}", Mysql::quote(column)));
                }
                _ => {}
            }
        }
        for column in self.schema.columns.iter().filter(|column| self.is_redefined(&column.name)) {
            parts.push(self.column_definition(column)?);
        }
        Ok(parts)
    }

    /// Returns whether a column's type or nullability changes.
    fn is_redefined(&self, name: &str) -> bool {
        self.widened(name) || self.changes.contains(&Change::AllowNull(name.to_owned()))
    }

    fn widened(&self, name: &str) -> bool {
        self.changes
            .iter()
            .any(|change| matches!(change, Change::WidenColumn { column, .. } if column == name))
    }

    /// Returns the existing column of a column, under its current or former name.
    fn existing(&self, column: &Column) -> Option<&ExistingColumn> {
        let found = |name: &String| self.existing.columns.iter().find(|have| have.name == *name);
        found(&column.name).or_else(|| found(column.was.as_ref()?))
    }

    /// Returns the changes of a column to the type and nullability of the schema.
    fn column_definition(&self, column: &Column) -> Result<String> {
        let have = self.existing(column);
        let from = have.map_or(&column.name, |have| &have.name);
        let nullable = self.changes.contains(&Change::AllowNull(column.name.clone()));
        // The column has another character set, or an inexact collation in the key.
        let exact = have.is_some_and(|have| {
            [" character set ", " collate "].iter().any(|part| have.declared.contains(part))
        });
        let text = matches!(column.ty, ColumnType::Text | ColumnType::Varchar(_));
        let widened = self.widened(&column.name).then(|| Mysql::column_type(column.ty));
        let edit = Edit { ty: widened.as_deref(), exact: exact && text, nullable };
        let Some(long) = long_column::<Mysql>(self.schema, &column.name) else {
            return self.changed(from, &column.name, &edit);
        };
        // Adding surrogates adds the column for full keys in the same statement.
        let sized = sized_columns(self.schema);
        if have.is_some_and(|have| needs_full_key::<Mysql>(have.ty, sized)) {
            let parts = [
                (from != &column.name).then(|| self.renamed(from, &column.name)),
                Some(self.changed(&long.full_key, &long.full_key, &edit)?),
            ];
            return Ok(parts.into_iter().flatten().collect::<Vec<_>>().join(", "));
        }
        let width = keys::surrogate_type(&long);
        let edit = Edit { ty: Some(&width), exact: text, nullable: false };
        let key = self.changed(from, &column.name, &edit)?;
        let full_key =
            format!("{} {}", Mysql::quote(&long.full_key), Mysql::column_type(column.ty));
        Ok(format!("{key}, ADD COLUMN {}", in_utf8(full_key, column.ty)))
    }

    fn renamed(&self, from: &str, to: &str) -> String {
        format!("RENAME COLUMN {} TO {}", Mysql::quote(from), Mysql::quote(to))
    }

    /// Returns the change of a column's name and definition.
    fn changed(&self, from: &str, to: &str, edit: &Edit<'_>) -> Result<String> {
        let definition = column_definition::find(self.create, |name| Mysql::same_name(name, from));
        let definition = definition.ok_or_else(|| {
            self.refused(from, "its definition is missing from SHOW CREATE TABLE")
        })?;
        let edited =
            column_definition::renamed(&column_definition::edited(definition, edit), from, to);
        Ok(format!("CHANGE COLUMN {} {} {edited}", Mysql::quote(from), Mysql::quote(to)))
    }

    /// Checks that no trigger refers to a column: the trigger would fail at every write.
    fn check_triggers(&self, connection: &mut MysqlConnection, column: &str) -> Result<()> {
        let triggers = introspect::triggers(connection, &self.schema.table)?;
        let mut triggers = triggers.into_iter();
        match triggers.find(|(_, statement)| column_definition::mentions(statement, column)) {
            None => Ok(()),
            Some((trigger, _)) => Err(self.refused(
                column,
                &format!("the trigger `{trigger}` refers to the column and would not be changed"),
            )),
        }
    }

    fn refused(&self, column: &str, reason: &str) -> Error {
        let changes: Vec<String> = self.changes.iter().map(ToString::to_string).collect();
        let error = Error::new(
            ErrorKind::SchemaChange,
            format!(
                "the table differs from the schema, and nothing was changed; mysql: the change is not possible ({reason}): change the table by hand\nscope `{}`, table `{}`:\n  ! {}",
                self.schema.name,
                self.schema.table,
                changes.join("\n  ! "),
            ),
        );
        error.with_column(column)
    }
}

/// Adds the character set to the definition of a text column, because the table can have another.
fn in_utf8(definition: String, ty: ColumnType) -> String {
    let spelled = Mysql::column_type(ty);
    match ty {
        ColumnType::Text | ColumnType::Varchar(_) => {
            definition.replacen(&spelled, &format!("{spelled} CHARACTER SET utf8mb4 {EXACT}"), 1)
        }
        _ => definition,
    }
}
