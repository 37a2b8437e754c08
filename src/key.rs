//! Keys: the values of a scope's unique columns, and what can be given as one.

use std::borrow::Cow;
use std::fmt;
use std::hash::{Hash, Hasher};

use smallvec::SmallVec;

use crate::record::ColumnValue;
use crate::{Error, Result, Value, text};

/// The values of the unique columns of one record, in key order.
///
/// Keys are exact: `a`, `A` and `a ` are three. Two keys are equal when they are of the same
/// types and values.
#[derive(Debug, Clone)]
pub struct Key(SmallVec<[Value; 1]>);

impl Key {
    /// A key of these values.
    pub fn new(values: impl IntoIterator<Item = Value>) -> Self {
        Self(values.into_iter().collect())
    }

    /// A key of one value.
    pub fn single(value: Value) -> Self {
        Self(SmallVec::from_buf([value]))
    }

    /// The values, in key order.
    pub fn values(&self) -> &[Value] {
        &self.0
    }

    pub(crate) fn values_mut(&mut self) -> &mut [Value] {
        &mut self.0
    }

    /// The values, in key order.
    pub fn into_values(self) -> impl Iterator<Item = Value> {
        self.0.into_iter()
    }

    /// About how many bytes the key takes in memory.
    pub(crate) fn size(&self) -> usize {
        self.0.iter().map(Value::size).sum()
    }
}

impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        self.0.len() == other.0.len() && self.0.iter().zip(&other.0).all(|(a, b)| a.same(b))
    }
}

impl Eq for Key {}

impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.iter().for_each(|value| value.hash_into(state));
    }
}

/// One value stands alone; several are written as a tuple.
impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.values() {
            [value] => f.write_str(&text::from_value(value)),
            values => {
                let parts: Vec<_> = values.iter().map(|value| text::from_value(value)).collect();
                write!(f, "({})", parts.join(", "))
            }
        }
    }
}

/// A type that holds a whole key: a [`ColumnValue`] or a tuple of up to eight of them.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a type that a key can be of",
    label = "not a key type",
    note = "a key is of a type that a column can be of, such as String, i64 or one that implements `hilcat::ColumnValue`, or a tuple of up to eight of them"
)]
pub trait RecordKey: Sized {
    /// The names and types of the key's columns where nothing else names them.
    fn columns() -> Vec<(String, crate::ColumnType)>;

    /// The key as hilcat holds it.
    fn to_key(&self) -> Key;

    /// Reads the key back.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidData`](crate::ErrorKind::InvalidData) where the values are not of the
    /// key's types.
    fn from_key(key: Key) -> Result<Self>;
}

#[diagnostic::do_not_recommend]
impl<T: ColumnValue> RecordKey for T {
    fn columns() -> Vec<(String, crate::ColumnType)> {
        vec![("key".to_owned(), T::TYPE)]
    }

    fn to_key(&self) -> Key {
        Key::single(self.to_value())
    }

    fn from_key(key: Key) -> Result<Self> {
        let mut values = key.into_values();
        match (values.next(), values.next()) {
            (Some(value), None) => T::from_value(value),
            _ => Err(Error::invalid_data("the key is not of one column")),
        }
    }
}

/// What can be given as a key of type `K`: `K` itself, a reference to it, and the borrowed forms
/// (`&str` for `String`, `&[u8]` for `Vec<u8>`, tuples of these).
pub trait IntoKey<K> {
    /// The key as hilcat holds it.
    fn into_key(self) -> Key;
}

impl<T: ColumnValue> IntoKey<T> for T {
    fn into_key(self) -> Key {
        Key::single(self.into_value())
    }
}

impl<T: ColumnValue> IntoKey<T> for &T {
    fn into_key(self) -> Key {
        Key::single(self.to_value())
    }
}

macro_rules! borrowed {
    ($owned:ty: $($form:ty),*) => {$(
        impl IntoKey<$owned> for $form {
            fn into_key(self) -> Key {
                Key::single(<$owned>::from(self.to_owned()).into_value())
            }
        }
    )*};
}
borrowed!(String: &str, &&str, Cow<'_, str>, &Cow<'_, str>, Box<str>, &Box<str>, char);
borrowed!(Vec<u8>: &[u8], &&[u8], Cow<'_, [u8]>);

impl<const N: usize> IntoKey<Vec<u8>> for &[u8; N] {
    fn into_key(self) -> Key {
        Key::single(Value::Bytes(self.to_vec()))
    }
}

impl<const N: usize> IntoKey<Vec<u8>> for [u8; N] {
    fn into_key(self) -> Key {
        Key::single(Value::Bytes(self.to_vec()))
    }
}

macro_rules! tuples {
    ($($owned:ident $given:ident $index:tt),*) => {
        #[diagnostic::do_not_recommend]
        impl<$($owned: ColumnValue),*> RecordKey for ($($owned,)*) {
            fn columns() -> Vec<(String, crate::ColumnType)> {
                vec![$((format!("key{}", $index + 1), $owned::TYPE)),*]
            }

            fn to_key(&self) -> Key {
                Key(SmallVec::from_vec(vec![$(self.$index.to_value()),*]))
            }

            fn from_key(key: Key) -> Result<Self> {
                let mut values = key.into_values();
                let mut next = || values.next().ok_or_else(|| Error::invalid_data("the key has too few columns"));
                let key = ($($owned::from_value(next()?)?,)*);
                match values.next() {
                    None => Ok(key),
                    Some(_) => Err(Error::invalid_data("the key has too many columns")),
                }
            }
        }

        impl<$($owned: ColumnValue, $given: IntoKey<$owned>),*> IntoKey<($($owned,)*)> for ($($given,)*) {
            fn into_key(self) -> Key {
                let mut values = Vec::new();
                $(values.extend(self.$index.into_key().0);)*
                Key(SmallVec::from_vec(values))
            }
        }

        impl<'a, $($owned: ColumnValue, $given),*> IntoKey<($($owned,)*)> for &'a ($($given,)*)
        where
            $(&'a $given: IntoKey<$owned>),*
        {
            fn into_key(self) -> Key {
                let mut values = Vec::new();
                $(values.extend((&self.$index).into_key().0);)*
                Key(SmallVec::from_vec(values))
            }
        }
    };
}
tuples!(A X 0);
tuples!(A X 0, B Y 1);
tuples!(A X 0, B Y 1, C Z 2);
tuples!(A X 0, B Y 1, C Z 2, D W 3);
tuples!(A X 0, B Y 1, C Z 2, D W 3, E V 4);
tuples!(A X 0, B Y 1, C Z 2, D W 3, E V 4, F U 5);
tuples!(A X 0, B Y 1, C Z 2, D W 3, E V 4, F U 5, G T 6);
tuples!(A X 0, B Y 1, C Z 2, D W 3, E V 4, F U 5, G T 6, H S 7);
