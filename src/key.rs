//! Keys: the values of a scope's unique columns, and conversions to them.

use std::any::type_name;
use std::borrow::Cow;
use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};

use smallvec::SmallVec;

use crate::{ColumnValue, Error, Result, Value, text};

/// The values of the unique columns of one record, in key order.
///
/// Keys are exact: `a`, `A` and `a ` are three different keys. Two keys are equal if their values
/// are of the same types and equal.
///
/// Keys are ordered value by value: numbers, dates and times by size, text and bytes by their
/// bytes, values of different types by type. `-0.0` equals `0.0`, and NaN orders as in
/// [`f64::total_cmp`].
#[derive(Debug, Clone)]
pub struct Key(SmallVec<[Value; 1]>);

impl Key {
    /// Creates a key of several values.
    pub fn new(values: impl IntoIterator<Item = Value>) -> Self {
        Self(values.into_iter().collect())
    }

    /// Creates a key of one value.
    pub fn single(value: Value) -> Self {
        Self(SmallVec::from_buf([value]))
    }

    /// Returns the values, in key order.
    pub fn values(&self) -> &[Value] {
        &self.0
    }

    pub(crate) fn values_mut(&mut self) -> &mut [Value] {
        &mut self.0
    }

    /// Consumes the key and returns an iterator over its values, in key order.
    pub fn into_values(self) -> impl ExactSizeIterator<Item = Value> + DoubleEndedIterator {
        self.0.into_iter()
    }

    /// Returns the approximate size of the key in memory, in bytes.
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

impl Ord for Key {
    fn cmp(&self, other: &Self) -> Ordering {
        let values = self.0.iter().zip(&other.0).map(|(a, b)| a.total_cmp(b));
        let first = values.into_iter().find(|order| order.is_ne());
        first.unwrap_or_else(|| self.0.len().cmp(&other.0.len()))
    }
}

impl PartialOrd for Key {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// Writes a single value bare, and several as a tuple.
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

/// An owned key type: a [`ColumnValue`] or a tuple of up to eight of them.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be used as a key",
    label = "not a key type",
    note = "a key is of a type that a column can be of, such as String, i64 or one that implements `hilcat::ColumnValue`, or a tuple of up to eight of them"
)]
pub trait RecordKey: Sized {
    /// Returns the types of the key's columns, with default names.
    fn columns() -> Vec<(String, crate::ColumnType)>;

    /// Converts the value to a [`Key`].
    fn to_key(&self) -> Key;

    /// Converts a [`Key`] back.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidData`](crate::ErrorKind::InvalidData) if the values are not of the key's
    /// types.
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
            _ => Err(Error::invalid_data("the key does not have exactly one column")),
        }
    }
}

/// A value that converts to a key of type `K`: `K` itself, a reference to it, or a borrowed form
/// (`&str` for `String`, `&[u8]` for `Vec<u8>`, tuples of these).
///
/// An integer of any type converts to an integer key. If it is out of range, the call returns an
/// error, not a miss.
///
/// ```
/// use hilcat::{Cache, ErrorKind};
///
/// let squares = Cache::memory().map::<i32, i64>("squares")?;
/// let number: usize = 12;
/// squares.set(number, &144)?;
/// assert_eq!(squares.fetch(12_u8)?, Some(144));
/// assert_eq!(squares.fetch(u64::MAX).unwrap_err().kind(), ErrorKind::InvalidInput);
/// # Ok::<(), hilcat::Error>(())
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be given as a key of type `{K}`",
    label = "expected a key of type `{K}`",
    note = "give the key, a reference to it or a borrowed form of it: `fetch(\"a1\")` for a key of type `String`, \
            `fetch(7)` for an integer, `fetch((\"JFK\", 7))` for `(String, i64)`"
)]
pub trait IntoKey<K> {
    /// Converts the value to a [`Key`].
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidInput`](crate::ErrorKind::InvalidInput) if the value is outside the
    /// range of the key's type.
    fn into_key(self) -> Result<Key>;
}

impl<T: ColumnValue> IntoKey<T> for T {
    fn into_key(self) -> Result<Key> {
        Ok(Key::single(self.into_value()))
    }
}

impl<T: ColumnValue> IntoKey<T> for &T {
    fn into_key(self) -> Result<Key> {
        Ok(Key::single(self.to_value()))
    }
}

macro_rules! borrowed {
    ($owned:ty: $($form:ty),*) => {$(
        impl IntoKey<$owned> for $form {
            fn into_key(self) -> Result<Key> {
                Ok(Key::single(<$owned>::from(self.to_owned()).into_value()))
            }
        }
    )*};
}
borrowed!(String: &str, &&str, &&String, Cow<'_, str>, &Cow<'_, str>, Box<str>, &Box<str>, char);
borrowed!(Vec<u8>: &[u8], &&[u8], Cow<'_, [u8]>);

impl<const N: usize> IntoKey<Vec<u8>> for &[u8; N] {
    fn into_key(self) -> Result<Key> {
        Ok(Key::single(Value::Bytes(self.to_vec())))
    }
}

impl<const N: usize> IntoKey<Vec<u8>> for [u8; N] {
    fn into_key(self) -> Result<Key> {
        (&self).into_key()
    }
}

/// Converts an integer to a key of the integer type `K`.
fn integer<K: ColumnValue + TryFrom<T>, T: Copy + fmt::Display>(given: T) -> Result<Key> {
    match K::try_from(given) {
        Ok(key) => Ok(Key::single(key.into_value())),
        Err(_) => {
            let message = format!("the key is out of the range of {}", type_name::<K>());
            Err(Error::invalid_input(message).with_key(given))
        }
    }
}

macro_rules! integers {
    ($($key:ident: $($given:ident),*;)*) => {$($(
        #[diagnostic::do_not_recommend]
        impl IntoKey<$key> for $given {
            fn into_key(self) -> Result<Key> {
                integer::<$key, Self>(self)
            }
        }

        #[diagnostic::do_not_recommend]
        impl IntoKey<$key> for &$given {
            fn into_key(self) -> Result<Key> {
                integer::<$key, $given>(*self)
            }
        }
    )*)*};
}
integers! {
    i8: i16, i32, i64, isize, u8, u16, u32, u64, usize;
    i16: i8, i32, i64, isize, u8, u16, u32, u64, usize;
    i32: i8, i16, i64, isize, u8, u16, u32, u64, usize;
    i64: i8, i16, i32, isize, u8, u16, u32, u64, usize;
    u8: i8, i16, i32, i64, isize, u16, u32, u64, usize;
    u16: i8, i16, i32, i64, isize, u8, u32, u64, usize;
    u32: i8, i16, i32, i64, isize, u8, u16, u64, usize;
    u64: i8, i16, i32, i64, isize, u8, u16, u32, usize;
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
            fn into_key(self) -> Result<Key> {
                let mut values = Vec::new();
                $(values.extend(self.$index.into_key()?.0);)*
                Ok(Key(SmallVec::from_vec(values)))
            }
        }

        impl<'a, $($owned: ColumnValue, $given),*> IntoKey<($($owned,)*)> for &'a ($($given,)*)
        where
            $(&'a $given: IntoKey<$owned>),*
        {
            fn into_key(self) -> Result<Key> {
                let mut values = Vec::new();
                $(values.extend((&self.$index).into_key()?.0);)*
                Ok(Key(SmallVec::from_vec(values)))
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

#[cfg(test)]
mod tests {
    use super::*;

    fn key<K>(given: impl IntoKey<K>) -> Key {
        given.into_key().unwrap()
    }

    #[test]
    fn integers_of_other_types_are_keys_if_they_fit() {
        let seven = Key::single(Value::Int(7));
        assert_eq!(key::<i64>(7), seven);
        assert_eq!(key::<i64>(7_u32), seven);
        assert_eq!(key::<i64>(&7_usize), seven);
        assert_eq!(key::<u8>(7_i64), seven);
        assert_eq!(key::<u64>(7), Key::single(Value::UInt(7)));
        assert_eq!(key::<(String, i64)>(("a", 7_usize)), key::<(String, i64)>(("a", 7_i64)));
        assert_eq!(key::<(String, i64)>(&("a", 7_u8)), key::<(String, i64)>(("a", 7_i64)));
    }

    #[test]
    fn an_integer_beyond_the_type_of_the_key_is_an_error() {
        for error in [
            IntoKey::<i64>::into_key(u64::MAX).unwrap_err(),
            IntoKey::<u64>::into_key(-1).unwrap_err(),
            IntoKey::<u8>::into_key(300).unwrap_err(),
            IntoKey::<(u8, i64)>::into_key((300, 1)).unwrap_err(),
        ] {
            assert_eq!(error.kind(), crate::ErrorKind::InvalidInput);
            assert!(error.to_string().contains("out of the range of"), "{error}");
        }
        let error = IntoKey::<u8>::into_key(300).unwrap_err();
        assert_eq!(error.to_string(), "key `300`: the key is out of the range of u8");
    }

    #[test]
    fn text_and_bytes_are_keys_in_every_usual_form() {
        let (owned, text) = (String::from("a1"), Key::single("a1".into()));
        for given in [
            key::<String>("a1"),
            key::<String>(&owned),
            key::<String>(&&owned),
            key::<String>(&"a1"),
            key::<String>(Cow::Borrowed("a1")),
            key::<String>(owned.clone()),
        ] {
            assert_eq!(given, text);
        }
        let bytes = Key::single(Value::Bytes(vec![1, 2]));
        assert_eq!(key::<Vec<u8>>([1, 2]), bytes);
        assert_eq!(key::<Vec<u8>>(&[1, 2]), bytes);
        assert_eq!(key::<Vec<u8>>(&[1_u8, 2][..]), bytes);
        assert_eq!(key::<Vec<u8>>(&vec![1, 2]), bytes);
    }

    #[test]
    fn keys_are_ordered_by_their_values() {
        let decimal = |text: &str| Key::single(Value::Decimal(text.into()));
        for ascending in [
            vec![key::<i64>(-3), key::<i64>(2), key::<i64>(10)],
            vec![key::<u64>(2), key::<u64>(u64::MAX)],
            vec![key::<String>("A"), key::<String>("a"), key::<String>("a "), key::<String>("é")],
            vec![
                key::<f64>(f64::NEG_INFINITY),
                key::<f64>(-1.5),
                key::<f64>(0.0),
                key::<f64>(f64::NAN),
            ],
            ["-10.50", "-9.00", "-0.50", "0.00", "9.00", "10.25", "10.50"].map(decimal).to_vec(),
            vec![
                key::<(String, i64)>(("a", 9)),
                key::<(String, i64)>(("a", 10)),
                key::<(String, i64)>(("b", 1)),
            ],
            vec![Key::new([]), key::<bool>(false), key::<bool>(true), key::<i64>(0)],
        ] {
            for (at, a) in ascending.iter().enumerate() {
                for (other, b) in ascending.iter().enumerate() {
                    assert_eq!(a.cmp(b), at.cmp(&other), "{a} {b}");
                }
            }
        }
        assert_eq!(key::<f64>(-0.0).cmp(&key::<f64>(0.0)), Ordering::Equal);
    }
}
