//! The differences between an existing table and a schema.

#[cfg(test)]
mod tests;

use std::fmt;

use super::{Column, ColumnType, Schema};
use crate::freshness::EXPIRES_AT;

/// An existing table of a database.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct ExistingTable {
    pub(crate) columns: Vec<ExistingColumn>,
    /// The names of the columns of the primary key, in key order.
    pub(crate) key: Vec<String>,
    /// The names of hilcat's auxiliary columns, which hold keys too long for an index.
    pub(crate) full_key_columns: Vec<String>,
    /// The names of generated columns, which are never written.
    pub(crate) computed: Vec<String>,
}

impl ExistingTable {
    /// Describes a stored schema as a table, for stores without typed tables.
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

/// A column of an existing table.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct ExistingColumn {
    pub(crate) name: String,
    /// The type as the engine spells it, for comparisons and messages.
    pub(crate) declared: String,
    /// The corresponding column type, or `None` if there is none.
    pub(crate) ty: Option<ColumnType>,
    /// Whether `ty` comes from the stored schema and not from the engine's spelling.
    pub(crate) known: bool,
    pub(crate) nullable: bool,
    /// Whether a record cannot be inserted without a value for it.
    pub(crate) required: bool,
}

/// One difference between a table and its schema.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Change {
    /// The table does not exist yet.
    CreateTable,
    /// A new column is nullable or has a default.
    AddColumn(Column),
    /// A column has its former name, which the schema declares by `was`.
    RenameColumn {
        /// The name in the table.
        from: String,
        /// The name in the schema.
        to: String,
    },
    /// The new type of a column holds all its values.
    WidenColumn {
        /// The column.
        column: String,
        /// Its type in the table.
        from: String,
        /// Its type in the schema.
        to: ColumnType,
    },
    /// A column becomes nullable.
    AllowNull(String),
    /// A new column is neither nullable nor has a default, so existing records would have no value.
    AddRequiredColumn(Column),
    /// The schema removes a column of the table by `dropped`.
    DropColumn(String),
    /// A column is new, and the table has columns that are not in the schema. One of them may be the
    /// new column under a former name.
    PossibleRename {
        /// The new column.
        column: Column,
        /// The columns of the table that are not in the schema.
        unknown: Vec<String>,
    },
    /// The table has a column that is not in the schema, and no record can be inserted without a
    /// value for it.
    UnknownRequiredColumn(String),
    /// The new type of a column may not hold all its values.
    ChangeType {
        /// The column.
        column: String,
        /// Its type in the table.
        from: String,
        /// Its type in the schema.
        to: ColumnType,
    },
    /// The unique columns differ from the primary key of the table.
    ChangeKey {
        /// The primary key in the table.
        from: Vec<String>,
        /// The unique columns of the schema.
        to: Vec<String>,
    },
    /// The index that finds expired records is missing.
    AddIndex(Vec<String>),
    /// The table is dropped with its records and created again.
    Recreate,
}

impl Change {
    /// Returns whether opening a scope applies the change: it loses no value, except of columns that
    /// the schema removes by `dropped`, and never gives a stored value another meaning.
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
                "change column `{column}` from {from} to {to}, which may not hold every stored value"
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

/// One step of a [`Plan`]: a change, and the SQL that applies it.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Step {
    /// The change.
    pub change: Change,
    /// The statements. Empty if the change is not applied, or is applied together with the step
    /// before it.
    pub sql: Vec<String>,
}

/// The steps that make a scope's table match its schema. Empty if it does.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Plan {
    /// The scope.
    pub scope: String,
    /// Its table.
    pub table: String,
    /// The steps, in order.
    pub steps: Vec<Step>,
}

impl Plan {
    /// Creates a plan without steps.
    pub fn empty(schema: &Schema) -> Self {
        Self { scope: schema.name.clone(), table: schema.table.clone(), steps: Vec::new() }
    }

    /// Returns whether the plan has no steps.
    pub fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }

    /// Returns whether every step is [safe](Change::is_safe).
    pub fn is_safe(&self) -> bool {
        self.steps.iter().all(|step| step.change.is_safe())
    }
}

/// Writes the plan for people: a line for each step, which begins with `+` if it is safe and with
/// `!` if not, and its SQL below.
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

/// Returns the differences between an existing table and a schema, in the order in which they are
/// applied. `same_type` returns whether the engine's type of a column is exactly the one for the
/// column of the schema.
///
/// A column that is NOT NULL in the schema and nullable in the table is no difference, since hilcat
/// never writes the NULL. Neither is a column that is not in the schema, if records can be inserted
/// without a value for it.
pub(crate) fn diff(
    existing: &ExistingTable,
    schema: &Schema,
    same_type: impl Fn(&ExistingColumn, &Column) -> bool,
) -> Vec<Change> {
    let mut changes = Vec::new();
    let mut left: Vec<&ExistingColumn> = existing.columns.iter().collect();
    let mut key_names = existing.key.clone();
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
        .filter(|have| (have.required || schema.exact) && !existing.key.contains(&have.name));
    changes.extend(required.map(|have| Change::UnknownRequiredColumn(have.name.clone())));
    let wanted: Vec<String> = schema.key_columns().map(|column| column.name.clone()).collect();
    if wanted != key_names {
        changes.push(Change::ChangeKey { from: existing.key.clone(), to: wanted });
    }
    changes.sort_by_key(rank);
    changes
}

/// Orders changes. Renames come first, since later steps use the new names. Columns are added
/// before an engine copies the table for a wider type. Columns are dropped last.
fn rank(change: &Change) -> u8 {
    match change {
        Change::RenameColumn { .. } => 0,
        Change::AddColumn(_) => 1,
        Change::WidenColumn { .. } | Change::AllowNull(_) => 2,
        Change::DropColumn(_) => 4,
        _ => 3,
    }
}

/// Returns the change for a new column. hilcat's own expiry column is never taken for a renamed
/// column, nor for the former name of one.
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
