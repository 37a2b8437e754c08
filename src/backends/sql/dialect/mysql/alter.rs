//! The statement that makes an existing table as its schema says.

use diesel::QueryResult;
use diesel::mysql::Mysql;
use diesel::result::Error as DieselError;

use super::redefine::{self, Edit};
use super::{in_utf8, introspect, keys};
use crate::backends::sql::connection::mysql::MysqlConnection;
use crate::backends::sql::dialect::Dialect;
use crate::backends::sql::dialect::keys::{long_column, needs_whole, sized_columns};
use crate::backends::sql::dialect::statements::definition;
use crate::schema::{Change, ExistingColumn, ExistingTable};
use crate::{Column, ColumnType, Error, ErrorKind, Result, Schema};

/// `ALTER TABLE` with all changes. Nothing is changed before all of them are known to be possible.
pub(super) fn statement(
    connection: &mut MysqlConnection,
    schema: &Schema,
    standing: &ExistingTable,
    changes: &[Change],
) -> QueryResult<String> {
    let alter = introspect::shown(connection, &schema.table)
        .and_then(|create| Alter { schema, standing, changes, create: &create }.parts(connection));
    let parts = alter.map_err(|error| DieselError::QueryBuilderError(Box::new(error)))?;
    Ok(format!("ALTER TABLE {} {}", Mysql::quote(&schema.table), parts.join(", ")))
}

struct Alter<'a> {
    schema: &'a Schema,
    standing: &'a ExistingTable,
    changes: &'a [Change],
    /// What `SHOW CREATE TABLE` gives.
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
            parts.push(self.redefine(column)?);
        }
        Ok(parts)
    }

    /// Whether a column's type changes, or whether it can be NULL.
    fn is_redefined(&self, name: &str) -> bool {
        self.widened(name) || self.changes.contains(&Change::AllowNull(name.to_owned()))
    }

    fn widened(&self, name: &str) -> bool {
        self.changes
            .iter()
            .any(|change| matches!(change, Change::WidenColumn { column, .. } if column == name))
    }

    /// The column as it is called in the table, and as it is found there.
    fn existing(&self, column: &Column) -> Option<&ExistingColumn> {
        let found = |name: &String| self.standing.columns.iter().find(|have| have.name == *name);
        found(&column.name).or_else(|| found(column.was.as_ref()?))
    }

    /// Gives a column the type that its schema says, and lets it be NULL where that is to be.
    fn redefine(&self, column: &Column) -> Result<String> {
        let have = self.existing(column);
        let from = have.map_or(&column.name, |have| &have.name);
        let nullable = self.changes.contains(&Change::AllowNull(column.name.clone()));
        // In another character set, or a key under an inexact collation, it takes other texts.
        let exact = have.is_some_and(|have| {
            [" character set ", " collate "].iter().any(|part| have.declared.contains(part))
        });
        let text = matches!(column.ty, ColumnType::Text | ColumnType::Varchar(_));
        let widened = self.widened(&column.name).then(|| Mysql::column_type(column.ty));
        let edit = Edit { ty: widened.as_deref(), exact: exact && text, nullable };
        let Some(long) = long_column::<Mysql>(self.schema, &column.name) else {
            return self.changed(from, &column.name, &edit);
        };
        // A column that comes to have stand-ins gets the column of the whole keys in the same step.
        let sized = sized_columns(self.schema);
        if have.is_some_and(|have| needs_whole::<Mysql>(have.ty, sized)) {
            let parts = [
                (from != &column.name).then(|| self.renamed(from, &column.name)),
                Some(self.changed(&long.whole, &long.whole, &edit)?),
            ];
            return Ok(parts.into_iter().flatten().collect::<Vec<_>>().join(", "));
        }
        let width = keys::declared(&long);
        let edit = Edit { ty: Some(&width), exact: text, nullable: false };
        let key = self.changed(from, &column.name, &edit)?;
        let whole = format!("{} {}", Mysql::quote(&long.whole), Mysql::column_type(column.ty));
        Ok(format!("{key}, ADD COLUMN {}", in_utf8(whole, column.ty)))
    }

    fn renamed(&self, from: &str, to: &str) -> String {
        format!("RENAME COLUMN {} TO {}", Mysql::quote(from), Mysql::quote(to))
    }

    /// A column of the table under a name, with an edited definition.
    fn changed(&self, from: &str, to: &str, edit: &Edit<'_>) -> Result<String> {
        let definition = redefine::find(self.create, |name| Mysql::same_name(name, from));
        let definition = definition
            .ok_or_else(|| self.refused(from, "what SHOW CREATE TABLE does not show of it"))?;
        let edited = redefine::renamed(&redefine::edited(definition, edit), from, to);
        Ok(format!("CHANGE COLUMN {} {} {edited}", Mysql::quote(from), Mysql::quote(to)))
    }

    /// A trigger that knows a column by its name would fail at every write.
    fn check_triggers(&self, connection: &mut MysqlConnection, column: &str) -> Result<()> {
        let triggers = introspect::triggers(connection, &self.schema.table)?;
        let mut triggers = triggers.into_iter();
        match triggers.find(|(_, statement)| redefine::mentions(statement, column)) {
            None => Ok(()),
            Some((trigger, _)) => Err(self.refused(
                column,
                &format!(
                    "the trigger `{trigger}`, which names the column and is not changed with it"
                ),
            )),
        }
    }

    fn refused(&self, column: &str, lost: &str) -> Error {
        let changes: Vec<String> = self.changes.iter().map(ToString::to_string).collect();
        let error = Error::new(
            ErrorKind::SchemaChange,
            format!(
                "the table differs from the schema, and nothing was changed; mysql would lose what another program gave it ({lost}): change it by hand\nscope `{}`, table `{}`:\n  ! {}",
                self.schema.name,
                self.schema.table,
                changes.join("\n  ! "),
            ),
        );
        error.with_column(column)
    }
}
