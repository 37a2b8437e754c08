//! What a scope looks like: its table, columns and key, as plain data.
//!
//! A [`Schema`] comes from a `#[derive(ScopeRecord)]`, from TOML ([`Schemas`]) or from
//! [`Schema::new`], and the same schema is equal wherever it came from.

mod accessors;
mod diff;
mod expiry_options;
mod freshness;
mod project;
mod readable;
mod standing;
mod toml;
mod types;

use std::collections::HashSet;

#[cfg(feature = "sql")]
pub(crate) use self::diff::ExistingColumn;
pub use self::diff::{Change, Plan, Step};
pub(crate) use self::diff::{ExistingTable, diff};
pub(crate) use self::project::project;
pub(crate) use self::readable::check_readable;
#[cfg(feature = "sql")]
pub(crate) use self::readable::readable;
#[cfg(feature = "elasticsearch")]
pub(crate) use self::readable::unreadable;
#[cfg(any(feature = "sql", feature = "elasticsearch"))]
pub(crate) use self::standing::refused;
#[cfg(any(feature = "redis", feature = "elasticsearch"))]
pub(crate) use self::standing::stored_freshness;
pub(crate) use self::standing::{Apply, merged, unknown_columns, upgrade};
pub use self::standing::{Upgrade, plan, table_of_another};
#[cfg(feature = "elasticsearch")]
pub(crate) use self::standing::{has_new_default, new_defaults};
pub use self::toml::Schemas;
#[cfg(feature = "sql")]
pub(crate) use self::toml::scope_of;
pub use self::types::ColumnType;
use crate::freshness::Freshness;
use crate::spelling::did_you_mean;
use crate::{Error, Key, Result, Row, Value};

/// One column of a scope.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Column {
    /// Its name, in the table and in records.
    pub name: String,
    /// Its type.
    pub ty: ColumnType,
    /// Whether it can be NULL.
    pub nullable: bool,
    /// What a record has that does not give it, and what older records get when it is added.
    pub default: Option<Value>,
    /// Its former name: a table that has a column of that name has it renamed.
    pub was: Option<String>,
    /// Whether it is part of the value of a dynamic scope. A unique column that is not declared
    /// among the columns is part of the key only.
    pub in_value: bool,
}

impl Column {
    /// A column that is not NULL and has no default.
    pub fn new(name: impl Into<String>, ty: ColumnType) -> Self {
        Self { name: name.into(), ty, nullable: false, default: None, was: None, in_value: true }
    }

    /// Lets the column be NULL.
    pub fn nullable(mut self, nullable: bool) -> Self {
        self.nullable = nullable;
        self
    }

    /// What the column holds where a record does not give it. A value of a near kind is brought
    /// into the column's type; one that does not fit is found by [`Schema::validate`]. NULL is what
    /// a nullable column holds anyway, and no default.
    pub fn default_value(mut self, value: impl Into<Value>) -> Self {
        let value = value.into();
        let value = self.ty.coerce(value.clone()).unwrap_or(value);
        self.default = Some(value).filter(|value| !value.is_null());
        self
    }

    /// The column's former name.
    pub fn was(mut self, name: impl Into<String>) -> Self {
        self.was = Some(name.into());
        self
    }

    /// Keeps a unique column out of the value of a dynamic scope.
    pub fn key_only(mut self) -> Self {
        self.in_value = false;
        self
    }

    /// Checks a value that is to be written into this column.
    pub(crate) fn check(&self, value: &Value) -> Result<()> {
        match value {
            Value::Null if !self.nullable => Err(Error::invalid_input("it cannot be NULL")),
            Value::Absent => Ok(()),
            value => self.ty.check(value),
        }
        .map_err(|error| error.with_column(&self.name))
    }

    /// Checks a value of the column's Rust type that is to be written, and gives a decimal its
    /// digits after the point.
    fn admit(&self, value: &mut Value) -> Result<()> {
        if let (ColumnType::Decimal { .. }, Value::Decimal(_)) = (self.ty, &*value) {
            *value = self.coerce(std::mem::replace(value, Value::Null))?;
        }
        self.check(value)
    }

    /// Brings a value that is to be written into this column's type.
    pub(crate) fn coerce(&self, value: Value) -> Result<Value> {
        let value = match value {
            Value::Absent => Ok(Value::Absent),
            // A NULL in a JSON column is SQL's NULL where the column can be NULL.
            Value::Json(json) if json.is_null() && self.nullable => Ok(Value::Null),
            value => self.ty.coerce(value),
        };
        let value = value.map_err(|error| error.with_column(&self.name))?;
        self.check(&value)?;
        Ok(value)
    }
}

/// The shape of a dynamic scope's values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Shape {
    /// An object of the declared columns.
    #[default]
    Record,
    /// The bare value of the one declared column.
    Single,
    /// An array of the declared columns' values, in their order.
    Tuple,
    /// Any JSON, whole in the one declared column; or an object of columns that each hold JSON. A
    /// column of type `text` holds its text.
    Json,
}

/// What is done with a table that differs from its schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Migrate {
    /// Safe steps are applied (a new table, a new column that is nullable or has a default, a
    /// wider type, a rename declared by `was`); anything else is an error that holds the plan.
    #[default]
    Safe,
    /// Safe steps are applied; where more is needed, the table is dropped and made anew, and its
    /// records are lost.
    Recreate,
    /// Nothing is applied when a scope is opened: a difference is an error that holds the plan,
    /// and [`Cache::migrate`](crate::Cache::migrate) or `hilcat migrate` applies it.
    Manual,
}

/// What a scope looks like: plain data, equal where it means the same.
///
/// ```
/// use hilcat::{Column, ColumnType, Schema};
///
/// let schema = Schema::new("a")
///     .unique(Column::new("id", ColumnType::Text))
///     .column(Column::new("count", ColumnType::Int).nullable(true));
/// schema.validate()?;
/// assert_eq!(schema.table_name(), "a");
/// assert_eq!(schema.columns().len(), 2);
/// # Ok::<(), hilcat::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Schema {
    /// The name of the scope.
    pub(crate) name: String,
    /// The name of its table, index, prefix or directory.
    pub(crate) table: String,
    /// The columns in table order.
    pub(crate) columns: Vec<Column>,
    /// The positions of the unique columns, in key order.
    pub(crate) key: Vec<usize>,
    /// The shape of the values of a dynamic scope.
    pub(crate) shape: Shape,
    /// How long records are fresh, and what is served when they no longer are.
    pub(crate) freshness: Freshness,
    /// What is done with a table that differs.
    pub(crate) migrate: Migrate,
    /// Columns of an existing table that are removed from it.
    pub(crate) dropped: Vec<String>,
    /// Columns of an existing table that belong to other programs: none of them is taken for the
    /// former name of a new column.
    pub(crate) keep: Vec<String>,
    /// Whether existing records are of no use unless they have the columns of the schema and no
    /// others: those of a near store, which a far one has whole.
    pub(crate) exact: bool,
    /// Whether the keys of the table are known to stand in clear, however long: it is another
    /// program's, and has no columns for the whole of those that an index cannot hold.
    pub(crate) verbatim_keys: bool,
    /// How many of the unique columns say which scope a record is of, where all are in one table.
    pub(crate) sections: usize,
    /// The shape of the values of programs, where the columns have that of the expiry besides.
    pub(crate) shape_of_records: Option<Shape>,
}

impl Schema {
    /// A schema without columns; the table is named as the scope.
    pub fn new(name: impl Into<String>) -> Self {
        let name = name.into();
        Self {
            table: name.clone(),
            name,
            columns: Vec::new(),
            key: Vec::new(),
            shape: Shape::default(),
            freshness: Freshness::default(),
            migrate: Migrate::default(),
            dropped: Vec::new(),
            keep: Vec::new(),
            exact: false,
            verbatim_keys: false,
            sections: 0,
            shape_of_records: None,
        }
    }

    /// Names the table.
    pub fn table(mut self, table: impl Into<String>) -> Self {
        self.table = table.into();
        self
    }

    /// Adds a unique column: the next part of the key.
    pub fn unique(mut self, column: Column) -> Self {
        self.key.push(self.columns.len());
        self.columns.push(column);
        self
    }

    /// Makes the columns at these positions the unique ones, in this order.
    pub fn key(mut self, positions: impl IntoIterator<Item = usize>) -> Self {
        self.key = positions.into_iter().collect();
        self
    }

    /// Adds a column.
    pub fn column(mut self, column: Column) -> Self {
        self.columns.push(column);
        self
    }

    /// Sets the shape of a dynamic scope's values.
    pub fn shape(mut self, shape: Shape) -> Self {
        self.shape = shape;
        self
    }

    /// Sets what is done with a table that differs.
    pub fn migrate(mut self, migrate: Migrate) -> Self {
        self.migrate = migrate;
        self
    }

    /// Removes these columns, with their values, from an existing table. A column that the table
    /// does not have is no error: it was removed before.
    pub fn dropped(mut self, columns: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.dropped = columns.into_iter().map(Into::into).collect();
        self
    }

    /// Says that these columns of an existing table belong to other programs. A column that the
    /// schema does not name is left alone anyway; where the schema has a new column, though, any
    /// other unknown one may be that column under a former name.
    pub fn keep(mut self, columns: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.keep = columns.into_iter().map(Into::into).collect();
        self
    }

    /// Says whether the keys of the table stand in clear, however long.
    #[cfg(feature = "sql")]
    pub(crate) fn with_verbatim_keys(mut self, verbatim_keys: bool) -> Self {
        self.verbatim_keys = verbatim_keys;
        self
    }

    /// Checks that the schema can be one.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidSchema`](crate::ErrorKind::InvalidSchema) where a name is empty or
    /// stands twice, there is no unique column, a unique column is nullable or of type `json`, a
    /// default is not of its column's type or is NULL, the shape does not fit the columns, the
    /// columns that are not part of the value are not the first unique ones in key order, the
    /// options of freshness do not go together, or a column of `dropped` or `keep` is one of the
    /// schema or is named twice.
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
                "the key names a column more than once, or one that the scope has not".into(),
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
                "columns that are not part of the value have to be unique ones and to stand first, in key order"
                    .into(),
            );
        }
        self.freshness.validate_in(self).map_err(|error| error.with_scope(&self.name))?;
        let values = self.value_columns().count();
        match self.shape {
            Shape::Single if values != 1 => fail(format!(
                "a scope of single values has one column besides those that are only unique, not {values}"
            )),
            _ if values == 0 => fail("a scope needs at least one column in its values".into()),
            _ => Ok(()),
        }
    }

    /// Checks the columns that the schema names without having them.
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
                return wrong("which the schema has: leave it out of one of the two");
            }
            if self.columns.iter().any(|column| column.was.as_ref() == Some(*name)) {
                return wrong("which another column was: it is renamed, not left or removed");
            }
            if others[..at].iter().any(|(_, other)| other == name) {
                return wrong("which `dropped` and `keep` can name only once");
            }
        }
        Ok(())
    }

    /// The unique columns, in key order.
    pub fn key_columns(&self) -> impl Iterator<Item = &Column> {
        self.key.iter().map(|&at| &self.columns[at])
    }

    /// The columns that are part of a dynamic scope's values, with their positions.
    pub(crate) fn value_columns(&self) -> impl Iterator<Item = (usize, &Column)> {
        self.columns.iter().enumerate().filter(|(_, column)| column.in_value)
    }

    /// Whether a unique column has this name.
    pub(crate) fn is_key_name(&self, name: &str) -> bool {
        self.key_columns().any(|column| column.name == name)
    }

    /// Whether the column at a position is unique.
    pub(crate) fn is_key(&self, position: usize) -> bool {
        self.key.contains(&position)
    }

    /// The position of a column.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidInput`](crate::ErrorKind::InvalidInput), naming the columns there are.
    pub fn position(&self, name: &str) -> Result<usize> {
        let names = || self.columns.iter().map(|column| column.name.as_str());
        names().position(|known| known == name).ok_or_else(|| {
            Error::invalid_input(format!(
                "no column `{name}`; the columns are {}{}",
                names().collect::<Vec<_>>().join(", "),
                did_you_mean(name, names()),
            ))
        })
    }

    /// The key of a row.
    pub fn key_of(&self, row: &Row) -> Key {
        match self.key[..] {
            [at] => Key::single(row[at].clone()),
            _ => Key::new(self.key.iter().map(|&at| row[at].clone())),
        }
    }

    /// Checks the values of a record that is to be written.
    pub(crate) fn validate_row(&self, row: &mut Row) -> Result<()> {
        debug_assert_eq!(row.len(), self.columns.len());
        self.columns.iter().zip(row).try_for_each(|(column, value)| column.admit(value))
    }

    /// Checks the values of a record's key.
    pub(crate) fn validate_key(&self, key: &mut Key) -> Result<()> {
        self.check_key_length(key.values().len())?;
        self.key_columns().zip(key.values_mut()).try_for_each(|(column, value)| column.admit(value))
    }

    /// Brings the values of a key into the types of the unique columns.
    pub(crate) fn coerce_key(&self, key: Key) -> Result<Key> {
        self.check_key_length(key.values().len())?;
        let values = self.key_columns().zip(key.into_values());
        let values =
            values.map(|(column, value)| column.coerce(value)).collect::<Result<Vec<_>>>()?;
        Ok(Key::new(values))
    }

    /// A key of words, as on a command line: each is read as its column's type.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidInput`](crate::ErrorKind::InvalidInput) where the words are too few or
    /// too many, or one is not of its column's type.
    pub fn key_from_text<'a>(&self, words: impl IntoIterator<Item = &'a str>) -> Result<Key> {
        let words: Vec<&str> = words.into_iter().collect();
        self.check_key_length(words.len())?;
        let values = self.key_columns().zip(words).map(|(column, word)| {
            Value::from_text(word, column.ty).map_err(|error| error.with_column(&column.name))
        });
        Ok(Key::new(values.collect::<Result<Vec<_>>>()?))
    }

    fn check_key_length(&self, given: usize) -> Result<()> {
        if given == self.key.len() {
            return Ok(());
        }
        let names: Vec<_> = self.key_columns().map(|column| column.name.as_str()).collect();
        Err(Error::invalid_input(format!(
            "the key has {given} {}; it is made of {}: {}",
            if given == 1 { "value" } else { "values" },
            names.len(),
            names.join(", ")
        )))
    }

    /// Gives the columns that are absent from a row of a new record their default.
    ///
    /// # Errors
    ///
    /// Where a column is absent that has no default and cannot be NULL.
    pub(crate) fn fill_absent(&self, row: &mut Row) -> Result<()> {
        for (column, value) in self.columns.iter().zip(row) {
            if value.is_absent() {
                *value = match (&column.default, column.nullable) {
                    (Some(default), _) => default.clone(),
                    (None, true) => Value::Null,
                    (None, false) => {
                        return Err(Error::invalid_input(
                            "a new record needs a value: the column has no default and cannot be NULL",
                        )
                        .with_column(&column.name));
                    }
                };
            }
        }
        Ok(())
    }

    /// A short text that is the same for schemas that need the same table: the FNV-1a hash (64
    /// bits, <http://www.isthe.com/chongo/tech/comp/fnv/>) of table, columns and key.
    pub fn fingerprint(&self) -> String {
        let mut text = format!("{:?}", self.table);
        for (at, column) in self.columns.iter().enumerate() {
            let key = self.key.iter().position(|&key| key == at);
            let default = column.default.as_ref().map(crate::text::from_value);
            let Column { name, ty, nullable, .. } = column;
            text.push_str(&format!("\n{name:?} {ty} {nullable} {default:?} {key:?}"));
        }
        format!("{:016x}", fnv1a(text.as_bytes()))
    }
}

/// The FNV-1a hash of bytes, 64 bits wide.
pub(crate) fn fnv1a(bytes: &[u8]) -> u64 {
    let step = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, step)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn article() -> Schema {
        Schema::new("a")
            .unique(Column::new("id", ColumnType::Text))
            .column(Column::new("count", ColumnType::Int).default_value(0_i32))
    }

    #[test]
    fn a_bad_schema_says_why() {
        let twice = article().column(Column::new("id", ColumnType::Text));
        assert!(twice.validate().unwrap_err().to_string().contains("two columns are named `id`"));
        let keyless = Schema::new("a").column(Column::new("x", ColumnType::Int));
        assert!(keyless.validate().is_err());
        let null_key = Schema::new("a").unique(Column::new("x", ColumnType::Int).nullable(true));
        assert!(null_key.validate().is_err());
        let wrong_default = article().column(Column::new("n", ColumnType::Int).default_value("x"));
        assert_eq!(wrong_default.validate().unwrap_err().column(), Some("n"));
    }

    #[test]
    fn the_fingerprint_is_of_the_table_alone() {
        let schema = article();
        assert_eq!(
            schema.fingerprint(),
            article().shape(Shape::Tuple).migrate(Migrate::Manual).fingerprint()
        );
        assert_ne!(schema.fingerprint(), article().table("b").fingerprint());
        // Stored in databases: it must not change from one release to the next.
        assert_eq!(fnv1a(b"foobar"), 0x85944171f73967e8);
    }

    #[test]
    fn absent_columns_get_their_default() {
        let mut row = vec!["a1".into(), Value::Absent];
        article().fill_absent(&mut row).unwrap();
        assert_eq!(row[1], Value::Int(0));
        let error = article().fill_absent(&mut vec![Value::Absent, Value::Null]).unwrap_err();
        assert_eq!(error.column(), Some("id"));
    }
}
