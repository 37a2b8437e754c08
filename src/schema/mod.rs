//! The table, columns and key of a scope, as plain data.
//!
//! A [`Schema`] comes from `#[derive(ScopeRecord)]`, from TOML ([`Schemas`]) or from
//! [`Schema::new`]. Schemas from different sources are equal if they mean the same.

mod accessors;
mod column;
mod diff;
mod expiry_options;
mod freshness;
mod project;
mod readable;
mod stored_schema;
#[cfg(test)]
mod tests;
mod toml;
mod types;
mod validate;

pub use self::column::Column;
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
pub(crate) use self::stored_schema::refused;
#[cfg(any(feature = "redis", feature = "elasticsearch"))]
pub(crate) use self::stored_schema::stored_freshness;
pub(crate) use self::stored_schema::{Apply, merged, unknown_columns, upgrade};
pub use self::stored_schema::{Upgrade, plan, table_of_another};
#[cfg(feature = "elasticsearch")]
pub(crate) use self::stored_schema::{has_new_default, new_defaults};
pub use self::toml::Schemas;
#[cfg(feature = "sql")]
pub(crate) use self::toml::scope_of;
pub use self::types::ColumnType;
use crate::freshness::Freshness;
use crate::spelling::did_you_mean;
use crate::{Error, Key, Result, Row, Value};

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
    /// Any JSON in the one declared column, or an object of columns that each hold JSON. A column
    /// of type `text` holds the text of the JSON.
    Json,
}

/// The policy for an existing table that differs from its schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Migrate {
    /// Applies safe steps: a new table, a new column that is nullable or has a default, a wider
    /// type, a rename declared by `was`. Anything else is an error that contains the plan.
    #[default]
    Safe,
    /// Applies safe steps. If they are not sufficient, the table is dropped and created again, and
    /// its records are lost.
    Recreate,
    /// Applies nothing when a scope is opened. A difference is an error that contains the plan, and
    /// [`Cache::migrate`](crate::Cache::migrate) or `hilcat migrate` applies it.
    Manual,
}

/// The table, columns, key and options of a scope, as plain data.
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
    /// The policy for an existing table that differs.
    pub(crate) migrate: Migrate,
    /// Columns of an existing table that are removed from it.
    pub(crate) dropped: Vec<String>,
    /// Columns of an existing table that belong to other programs: none of them is taken for the
    /// former name of a new column.
    pub(crate) keep: Vec<String>,
    /// Whether existing records are used only if they have exactly the columns of the schema. Set
    /// for near stores, whose records a far store has, too.
    pub(crate) exact: bool,
    /// Whether the table holds all keys verbatim, however long. This is so in tables of other
    /// programs, which lack the auxiliary columns for keys that are too long for an index.
    pub(crate) verbatim_keys: bool,
    /// The number of unique columns that identify the scope, if all scopes share one table.
    pub(crate) sections: usize,
    /// The original shape, if hilcat's own expiry column was added.
    pub(crate) shape_of_records: Option<Shape>,
}

impl Schema {
    /// Creates a schema without columns. The table has the name of the scope.
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

    /// Sets the name of the table.
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

    /// Sets the policy for an existing table that differs.
    pub fn migrate(mut self, migrate: Migrate) -> Self {
        self.migrate = migrate;
        self
    }

    /// Sets the columns to remove, with their values, from an existing table. A column that the
    /// table does not have is no error: it was removed before.
    pub fn dropped(mut self, columns: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.dropped = columns.into_iter().map(Into::into).collect();
        self
    }

    /// Sets the columns of an existing table that belong to other programs. Columns that the schema
    /// does not name are kept anyway. But next to a new column of the schema, an unnamed one is an
    /// error unless it is listed here, since it may be the new column under a former name.
    pub fn keep(mut self, columns: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.keep = columns.into_iter().map(Into::into).collect();
        self
    }

    /// Sets whether the table holds all keys verbatim, however long.
    #[cfg(feature = "sql")]
    pub(crate) fn with_verbatim_keys(mut self, verbatim_keys: bool) -> Self {
        self.verbatim_keys = verbatim_keys;
        self
    }

    /// Returns the unique columns, in key order.
    pub fn key_columns(&self) -> impl Iterator<Item = &Column> {
        self.key.iter().map(|&at| &self.columns[at])
    }

    /// Returns the columns that are part of a dynamic scope's values, with their positions.
    pub(crate) fn value_columns(&self) -> impl Iterator<Item = (usize, &Column)> {
        self.columns.iter().enumerate().filter(|(_, column)| column.in_value)
    }

    /// Returns whether a unique column has this name.
    pub(crate) fn is_key_name(&self, name: &str) -> bool {
        self.key_columns().any(|column| column.name == name)
    }

    /// Returns whether the column at a position is unique.
    pub(crate) fn is_key(&self, position: usize) -> bool {
        self.key.contains(&position)
    }

    /// Returns the position of a column.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidInput`](crate::ErrorKind::InvalidInput) if there is no such column. The
    /// message lists the columns.
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

    /// Returns the key of a row.
    pub fn key_of(&self, row: &Row) -> Key {
        match self.key[..] {
            [at] => Key::single(row[at].clone()),
            _ => Key::new(self.key.iter().map(|&at| row[at].clone())),
        }
    }

    /// Checks the values of a record to be written.
    pub(crate) fn validate_row(&self, row: &mut Row) -> Result<()> {
        debug_assert_eq!(row.len(), self.columns.len());
        self.columns.iter().zip(row).try_for_each(|(column, value)| column.validate(value))
    }

    /// Checks the values of a record's key.
    pub(crate) fn validate_key(&self, key: &mut Key) -> Result<()> {
        self.check_key_length(key.values().len())?;
        self.key_columns()
            .zip(key.values_mut())
            .try_for_each(|(column, value)| column.validate(value))
    }

    /// Converts the values of a key to the types of the unique columns.
    pub(crate) fn coerce_key(&self, key: Key) -> Result<Key> {
        self.check_key_length(key.values().len())?;
        let values = self.key_columns().zip(key.into_values());
        let values =
            values.map(|(column, value)| column.coerce(value)).collect::<Result<Vec<_>>>()?;
        Ok(Key::new(values))
    }

    /// Parses a key from words, as on a command line. Each word is read as its column's type.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidInput`](crate::ErrorKind::InvalidInput) if there are too few or too many
    /// words, or one is not of its column's type.
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

    /// Sets the absent columns of a new record to their default or NULL.
    ///
    /// # Errors
    ///
    /// If an absent column has no default and cannot be NULL.
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

    /// Returns a short text that is equal for schemas with the same table layout: the FNV-1a hash
    /// (64 bits, <http://www.isthe.com/chongo/tech/comp/fnv/>) of table, columns and key. It is
    /// stored with records, so it must not change between releases.
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

/// Returns the 64-bit FNV-1a hash of bytes.
pub(crate) fn fnv1a(bytes: &[u8]) -> u64 {
    let step = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, step)
}
