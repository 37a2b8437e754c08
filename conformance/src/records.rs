//! The records of the cases: bare rows under any schema, and a struct as users write it.

use std::cell::RefCell;
use std::fmt;

use hilcat::{
    Column, ColumnType, ColumnValue, IntoKey, Key, RecordKey, Result, Row, Schema, ScopeRecord,
    Value,
};

thread_local! {
    static SCHEMA: RefCell<Option<Schema>> = const { RefCell::new(None) };
}

/// Opens scopes of types whose schema is not known when they are compiled, as the name of a
/// case's scope is not.
pub(crate) fn declared_as<T>(schema: Schema, open: impl FnOnce() -> T) -> T {
    SCHEMA.set(Some(schema));
    open()
}

fn declared() -> Schema {
    SCHEMA.with_borrow(|schema| schema.clone().expect("the type is opened through `declared_as`"))
}

/// A row as it is. Two are equal when no bit differs, but for those of a NaN.
#[derive(Clone)]
pub(crate) struct Raw(pub(crate) Row);

impl ScopeRecord for Raw {
    type Key = RawKey;

    fn schema() -> Schema {
        declared()
    }

    fn to_row(&self) -> Result<Row> {
        Ok(self.0.clone())
    }

    fn from_row(row: Row) -> Result<Self> {
        Ok(Self(row))
    }
}

impl PartialEq for Raw {
    fn eq(&self, other: &Self) -> bool {
        let same = |(a, b): (&Value, &Value)| match (a, b) {
            (Value::Float(a), Value::Float(b)) => {
                a.to_bits() == b.to_bits() || a.is_nan() && b.is_nan()
            }
            (a, b) => a == b,
        };
        self.0.len() == other.0.len() && self.0.iter().zip(&other.0).all(same)
    }
}

/// Long values are cut: a message that holds a megabyte is of no use.
impl fmt::Debug for Raw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_short(f, &self.0)
    }
}

/// The key of a bare row.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(crate) struct RawKey(pub(crate) Key);

impl fmt::Debug for RawKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_short(f, self.0.values())
    }
}

fn write_short(f: &mut fmt::Formatter<'_>, values: &[Value]) -> fmt::Result {
    let short = |value: &Value| {
        let text = format!("{value:?}");
        let ends = |at: usize| text.char_indices().nth(at).map_or(0, |(at, _)| at);
        match text.chars().count() {
            ..400 => text,
            // The end tells apart keys that differ only there.
            count => format!("{}...{} ({count})", &text[..ends(40)], &text[ends(count - 20)..]),
        }
    };
    f.debug_list().entries(values.iter().map(short)).finish()
}

impl RecordKey for RawKey {
    fn columns() -> Vec<(String, ColumnType)> {
        declared().key_columns().map(|column| (column.name.clone(), column.ty)).collect()
    }

    fn to_key(&self) -> Key {
        self.0.clone()
    }

    fn from_key(key: Key) -> Result<Self> {
        Ok(Self(key))
    }
}

impl IntoKey<RawKey> for RawKey {
    fn into_key(self) -> Result<Key> {
        Ok(self.0)
    }
}

impl IntoKey<RawKey> for &RawKey {
    fn into_key(self) -> Result<Key> {
        Ok(self.0.clone())
    }
}

/// A struct as users have them; what a derive would write is written by hand.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Article {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) comment: Option<String>,
    pub(crate) count: i32,
}

impl Article {
    pub(crate) fn new(id: &str, count: i32) -> Self {
        Self { id: id.into(), name: format!("the name of {id}"), comment: None, count }
    }

    /// Its schema, as the scope of this name.
    pub(crate) fn schema_of(scope: &str) -> Schema {
        Schema::new(scope)
            .unique(Column::new("id", ColumnType::Text))
            .column(Column::new("name", ColumnType::Text))
            .column(Column::new("comment", ColumnType::Text).nullable(true))
            .column(Column::new("count", ColumnType::Int))
    }
}

impl ScopeRecord for Article {
    type Key = String;

    fn schema() -> Schema {
        declared()
    }

    fn to_row(&self) -> Result<Row> {
        Ok(vec![
            self.id.to_value(),
            self.name.to_value(),
            self.comment.to_value(),
            self.count.to_value(),
        ])
    }

    fn from_row(row: Row) -> Result<Self> {
        let [id, name, comment, count] = <[Value; 4]>::try_from(row).expect("four columns");
        Ok(Self {
            id: String::from_value(id)?,
            name: String::from_value(name)?,
            comment: Option::from_value(comment)?,
            count: i32::from_value(count)?,
        })
    }
}
