//! What has to change in a table for it to be as its schema says.

#[cfg(test)]
mod tests;

use std::fmt;

use super::{Column, ColumnType, Schema};
use crate::freshness::EXPIRES_AT;

/// A table as it stands in a database.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct ExistingTable {
    pub(crate) columns: Vec<ExistingColumn>,
    /// The names of the columns of the primary key, in key order.
    pub(crate) key: Vec<String>,
    /// The names of the columns that an engine keeps beside those of a schema.
    pub(crate) full_key_columns: Vec<String>,
    /// The names of the columns whose values the database makes itself: nothing is written there.
    pub(crate) computed: Vec<String>,
}

impl ExistingTable {
    /// What stands where there are records of a schema, and no table has types of its own.
    pub(crate) fn of(schema: &Schema) -> Self {
        let column = |column: &Column| ExistingColumn {
            name: column.name.clone(),
            declared: column.ty.to_string(),
            ty: Some(column.ty),
            known: true,
            nullable: column.nullable,
            required: !column.nullable && column.default.is_none(),
        };
        Self {
            columns: schema.columns.iter().map(column).collect(),
            key: schema.key_columns().map(|column| column.name.clone()).collect(),
            full_key_columns: Vec::new(),
            computed: Vec::new(),
        }
    }
}

/// A column as it stands in a database.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct ExistingColumn {
    pub(crate) name: String,
    /// Its type as the engine spells it, for comparing and for messages.
    pub(crate) declared: String,
    /// What hilcat reads this type as; none where it knows no such type.
    pub(crate) ty: Option<ColumnType>,
    /// Whether the type is known from hilcat's own bookkeeping and not from its spelling.
    pub(crate) known: bool,
    pub(crate) nullable: bool,
    /// Whether a record cannot be inserted without a value for it.
    pub(crate) required: bool,
}

/// One difference between a table and its schema.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Change {
    /// The table does not stand yet.
    CreateTable,
    /// A column that is nullable or has a default is new.
    AddColumn(Column),
    /// A column has another name; its schema says what it was.
    RenameColumn {
        /// The name it has.
        from: String,
        /// The name it gets.
        to: String,
    },
    /// A column's type becomes one that holds all its values.
    WidenColumn {
        /// The column.
        column: String,
        /// Its type in the table.
        from: String,
        /// Its type in the schema.
        to: ColumnType,
    },
    /// A column that could not be NULL now can.
    AllowNull(String),
    /// A column that must have a value is new, and nothing says what older records have in it.
    AddRequiredColumn(Column),
    /// The schema says that a column of the table is removed.
    DropColumn(String),
    /// A column is new, and the table has others that the schema does not know: one of them may be
    /// this column under a former name.
    PossibleRename {
        /// The new column.
        column: Column,
        /// The columns of the table that the schema does not know.
        unknown: Vec<String>,
    },
    /// The table has a column that the schema does not know, and without a value for it no record
    /// can be inserted.
    UnknownRequiredColumn(String),
    /// A column's type becomes one that may not hold all its values.
    ChangeType {
        /// The column.
        column: String,
        /// Its type in the table.
        from: String,
        /// Its type in the schema.
        to: ColumnType,
    },
    /// The unique columns are others.
    ChangeKey {
        /// The primary key in the table.
        from: Vec<String>,
        /// The unique columns of the schema.
        to: Vec<String>,
    },
    /// An index of hilcat's own is made, by which expired records are found.
    AddIndex(Vec<String>),
    /// The table is dropped with its records and made anew.
    Recreate,
}

impl Change {
    /// Whether it is applied without being told to: no value is lost that the schema does not
    /// say is to be removed, and no reader is misled.
    pub fn is_safe(&self) -> bool {
        use Change::{
            AddColumn, AddIndex, AllowNull, CreateTable, DropColumn, RenameColumn, WidenColumn,
        };
        matches!(
            self,
            CreateTable
                | AddColumn(_)
                | RenameColumn { .. }
                | WidenColumn { .. }
                | AllowNull(_)
                | DropColumn(_)
                | AddIndex(_)
        )
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CreateTable => write!(f, "create the table"),
            Self::AddColumn(column) => write!(f, "add column `{}` {}", column.name, column.ty),
            Self::RenameColumn { from, to } => write!(f, "rename column `{from}` to `{to}`"),
            Self::WidenColumn { column, from, to } => {
                write!(f, "widen column `{column}` from {from} to {to}")
            }
            Self::AllowNull(column) => write!(f, "let column `{column}` be NULL"),
            Self::AddRequiredColumn(column) => write!(
                f,
                "add column `{}` {}, which cannot be NULL and has no default for existing records: give it a default or let it be NULL",
                column.name, column.ty
            ),
            Self::DropColumn(column) => write!(f, "drop column `{column}`, as the schema says"),
            Self::PossibleRename { column, unknown } => possible_rename(f, column, unknown),
            Self::UnknownRequiredColumn(column) => write!(
                f,
                "column `{column}` of the table is not in the schema, cannot be NULL and has no default, so that no record could be inserted: add it to the schema, give it a default or let it be NULL, declare its new name by was = \"{column}\", or remove it with its values by dropped = [\"{column}\"]"
            ),
            Self::ChangeType { column, from, to } => write!(
                f,
                "change column `{column}` from {from} to {to}, which may not hold every value that stands"
            ),
            Self::ChangeKey { from, to } => {
                write!(f, "change the key from ({}) to ({})", from.join(", "), to.join(", "))
            }
            Self::AddIndex(columns) => write!(f, "add an index on ({})", columns.join(", ")),
            Self::Recreate => write!(f, "drop the table with its records and create it anew"),
        }
    }
}

fn possible_rename(f: &mut fmt::Formatter<'_>, column: &Column, unknown: &[String]) -> fmt::Result {
    let quoted = |quote: &str, separator: &str| {
        let names = unknown.iter().map(|name| format!("{quote}{name}{quote}"));
        names.collect::<Vec<_>>().join(separator)
    };
    let (name, ty, first) = (&column.name, column.ty, unknown.first().map_or("", String::as_str));
    let (listed, list) = (quoted("`", ", "), quoted("\"", ", "));
    write!(
        f,
        "add column `{name}` {ty}, which may be a new name of a column that the schema does not have ({listed}): say was = \"{first}\" of `{name}` if it is, dropped = [{list}] to remove what is not in the schema, or keep = [{list}] if it belongs to other programs"
    )
}

/// One step of a [`Plan`]: a change, and the SQL that makes it.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Step {
    /// What changes.
    pub change: Change,
    /// The statements; none for a change that is not applied, or that is made together with the
    /// step before it.
    pub sql: Vec<String>,
}

/// What has to be done for a scope's table to be as its schema says. Empty where it is.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Plan {
    /// The scope.
    pub scope: String,
    /// Its table.
    pub table: String,
    /// What is done, in order.
    pub steps: Vec<Step>,
}

impl Plan {
    /// A plan of no steps.
    pub fn empty(schema: &Schema) -> Self {
        Self { scope: schema.name.clone(), table: schema.table.clone(), steps: Vec::new() }
    }

    /// Whether nothing has to be done.
    pub fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }

    /// Whether every step is applied without being told to.
    pub fn is_safe(&self) -> bool {
        self.steps.iter().all(|step| step.change.is_safe())
    }
}

/// The plan as people read it: a line for each step, `+` where it is safe and `!` where it is
/// not, and below it the SQL.
impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "scope `{}`, table `{}`:", self.scope, self.table)?;
        if self.is_empty() {
            return write!(f, " nothing to do");
        }
        for step in &self.steps {
            let sign = if step.change.is_safe() { '+' } else { '!' };
            write!(f, "\n  {sign} {}", step.change)?;
            for line in step.sql.iter().flat_map(|sql| sql.lines()) {
                write!(f, "\n      {line}")?;
            }
        }
        Ok(())
    }
}

/// The differences between a table that stands and its schema, in the order in which they are
/// to be made. `same_type` says whether the engine's type of a column is the very one that the
/// schema's would be given.
///
/// A column that the schema says is never NULL and that the table lets be NULL is no difference:
/// hilcat itself sees to it that none is written. Neither is a column that the schema does not
/// know, as long as records can be inserted without a value for it.
pub(crate) fn diff(
    standing: &ExistingTable,
    schema: &Schema,
    same_type: impl Fn(&ExistingColumn, &Column) -> bool,
) -> Vec<Change> {
    let mut changes = Vec::new();
    let mut left: Vec<&ExistingColumn> = standing.columns.iter().collect();
    let mut key_names = standing.key.clone();
    let mut new = Vec::new();
    for column in &schema.columns {
        let by = |name: &str| left.iter().position(|have| have.name == name);
        let at = by(&column.name).or_else(|| by(column.was.as_deref()?));
        let Some(at) = at else {
            new.push(column);
            continue;
        };
        let have = left.remove(at);
        if have.name != column.name {
            let (from, to) = (have.name.clone(), column.name.clone());
            key_names.iter_mut().filter(|name| **name == from).for_each(|name| *name = to.clone());
            changes.push(Change::RenameColumn { from, to });
        }
        changes.extend(retyped(have, column, same_type(have, column)));
        if column.nullable && !have.nullable {
            changes.push(Change::AllowNull(column.name.clone()));
        }
    }
    let (dropped, unknown): (Vec<_>, Vec<_>) =
        left.into_iter().partition(|have| schema.dropped.contains(&have.name));
    changes.extend(dropped.iter().map(|have| Change::DropColumn(have.name.clone())));
    changes.extend(new.into_iter().map(|column| match schema.exact {
        true => Change::AddRequiredColumn(column.clone()),
        false => added(column, &unknown, &schema.keep),
    }));
    let required = unknown
        .iter()
        .filter(|have| (have.required || schema.exact) && !standing.key.contains(&have.name));
    changes.extend(required.map(|have| Change::UnknownRequiredColumn(have.name.clone())));
    let wanted: Vec<String> = schema.key_columns().map(|column| column.name.clone()).collect();
    if wanted != key_names {
        changes.push(Change::ChangeKey { from: standing.key.clone(), to: wanted });
    }
    changes.sort_by_key(rank);
    changes
}

/// Names come first, so that what follows can use them; a table is made anew, where an engine has
/// to, when it has all its columns, and what is dropped is dropped last.
fn rank(change: &Change) -> u8 {
    match change {
        Change::RenameColumn { .. } => 0,
        Change::AddColumn(_) => 1,
        Change::WidenColumn { .. } | Change::AllowNull(_) => 2,
        Change::DropColumn(_) => 4,
        _ => 3,
    }
}

/// What a new column is beside columns that the schema does not know. Neither is hilcat's own column
/// another one renamed, nor another one that.
fn added(column: &Column, unknown: &[&ExistingColumn], keep: &[String]) -> Change {
    let own = |name: &str| name == EXPIRES_AT;
    let unknown = unknown.iter().map(|have| &have.name);
    let unknown = unknown.filter(|name| !keep.contains(name) && !own(name) && !own(&column.name));
    let unknown: Vec<String> = unknown.cloned().collect();
    match (unknown.is_empty(), column.nullable || column.default.is_some()) {
        (false, _) => Change::PossibleRename { column: column.clone(), unknown },
        (true, true) => Change::AddColumn(column.clone()),
        (true, false) => Change::AddRequiredColumn(column.clone()),
    }
}

fn retyped(have: &ExistingColumn, want: &Column, same: bool) -> Option<Change> {
    if same {
        return None;
    }
    let (column, to) = (want.name.clone(), want.ty);
    let from = match have.ty {
        Some(ty) if ty != want.ty => ty.to_string(),
        _ => have.declared.clone(),
    };
    match have.ty.is_some_and(|ty| want.ty.widens(ty)) {
        true => Some(Change::WidenColumn { column, from, to }),
        false => Some(Change::ChangeType { column, from, to }),
    }
}
