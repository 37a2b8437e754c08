//! The validation of schemas.

use std::collections::HashSet;

use super::{ColumnType, Schema, Shape};
use crate::{Error, Result, Value};

impl Schema {
    /// Checks that the schema is valid.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidSchema`](crate::ErrorKind::InvalidSchema) if
    ///
    /// - a name is empty, or two columns have the same name;
    /// - there is no unique column, or one is nullable or of type `json`;
    /// - a default is NULL or not of its column's type;
    /// - the shape does not fit the columns, or the columns outside the value are not the first
    ///   unique ones in key order;
    /// - the freshness options contradict each other;
    /// - a column of `dropped` or `keep` is in the schema or is repeated.
    pub fn validate(&self) -> Result<()> {
        let fail = |message: String| Err(Error::invalid_schema(message).with_scope(&self.name));
        if self.name.is_empty() || self.table.is_empty() {
            return fail("the names of a scope and of its table cannot be empty".into());
        }
        if self.key.is_empty() {
            return fail("a scope needs at least one unique column".into());
        }
        let mut positions = HashSet::new();
        if !self.key.iter().all(|&at| at < self.columns.len() && positions.insert(at)) {
            return fail(
                "the key names a column more than once, or one that does not exist".into(),
            );
        }
        let mut names = HashSet::new();
        for column in &self.columns {
            if column.name.is_empty() {
                return fail("the name of a column cannot be empty".into());
            }
            if !names.insert(column.name.as_str()) {
                return fail(format!("two columns are named `{}`", column.name));
            }
            if let Some(default) = &column.default {
                if matches!(default, Value::Null | Value::Absent) {
                    return fail(format!("the default of `{}` is NULL; leave it out", column.name));
                }
                column.check(default).map_err(|error| {
                    Error::invalid_schema(format!("the default does not fit: {}", error.message()))
                        .with_column(&column.name)
                        .with_scope(&self.name)
                })?;
            }
        }
        self.check_others().map_err(|error| error.with_scope(&self.name))?;
        for column in self.key_columns() {
            if column.nullable || column.ty == ColumnType::Json {
                return fail(format!(
                    "the unique column `{}` can be neither nullable nor of type json",
                    column.name
                ));
            }
        }
        let key_only = self.key.iter().filter(|&&at| !self.columns[at].in_value);
        let first = self.columns.iter().take_while(|column| !column.in_value).count();
        let outside = self.columns.iter().filter(|column| !column.in_value).count();
        if outside != first || !key_only.copied().eq(0..outside) {
            return fail(
                "columns that are not part of the value must be unique columns and come first, in key order"
                    .into(),
            );
        }
        self.freshness.validate_in(self).map_err(|error| error.with_scope(&self.name))?;
        let values = self.value_columns().count();
        match self.shape {
            Shape::Single if values != 1 => fail(format!(
                "a scope of single values has one column that is part of the value, not {values}"
            )),
            _ if values == 0 => fail("a scope needs at least one column in its values".into()),
            _ => Ok(()),
        }
    }

    /// Checks the columns of `dropped` and `keep`.
    fn check_others(&self) -> Result<()> {
        let dropped = self.dropped.iter().map(|name| ("dropped", name));
        let others: Vec<_> = dropped.chain(self.keep.iter().map(|name| ("keep", name))).collect();
        for (at, (list, name)) in others.iter().enumerate() {
            let wrong = |why: &str| {
                Err(Error::invalid_schema(format!("`{list}` names the column `{name}`, {why}")))
            };
            if name.is_empty() {
                return Err(Error::invalid_schema(format!("`{list}` has an empty name")));
            }
            if self.columns.iter().any(|column| &column.name == *name) {
                return wrong("which is a column of the schema: remove it from one of the two");
            }
            if self.columns.iter().any(|column| column.was.as_ref() == Some(*name)) {
                return wrong("which is the former name of another column: it is renamed instead");
            }
            if others[..at].iter().any(|(_, other)| other == name) {
                return wrong("which `dropped` and `keep` can name only once");
            }
        }
        Ok(())
    }
}
