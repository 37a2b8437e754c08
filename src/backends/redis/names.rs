//! Names of records in a server: `<prefix>:<scope>:<key>`.
//!
//! In scope and key, colons, braces, percent signs and control characters are percent-encoded;
//! other characters are written unchanged. Hence a name has exactly two colons after its prefix,
//! and braces occur only where they mark a hash tag. In the plain layout the name is the bare key.

use std::borrow::Cow;
use std::sync::Arc;

use crate::codec::key::{escape, from_text, to_text, unescape};
use crate::{ColumnType, Error, Key, Result, Schema, Value, text};

/// How names are built from keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Naming {
    /// The bare key.
    Plain,
    /// Prefix, scope and key.
    Scoped,
    /// Prefix, scope in braces, and key: all records share a slot of a cluster.
    SlotPerScope,
}

/// The suffix of the names of leases.
const LEASE: &[u8] = b"::lease";

/// The names of a scope's records.
#[derive(Debug)]
pub(super) struct Names {
    naming: Naming,
    /// The part of each name before the key.
    prefix: Vec<u8>,
    schema: Arc<Schema>,
}

impl Names {
    pub(super) fn new(prefix: &str, naming: Naming, schema: &Arc<Schema>) -> Self {
        let scope = escape(&schema.name, is_plain);
        let prefix = match naming {
            Naming::Plain => prefix.to_owned(),
            Naming::Scoped => format!("{prefix}:{scope}:"),
            Naming::SlotPerScope => format!("{prefix}:{{{scope}}}:"),
        };
        Self { naming, prefix: prefix.into_bytes(), schema: schema.clone() }
    }

    pub(super) fn name(&self, key: &Key) -> Vec<u8> {
        let key: Cow<'_, [u8]> = match (self.naming, key.values()) {
            (Naming::Plain, [Value::Bytes(bytes)]) => bytes.into(),
            (Naming::Plain, _) => bytes_of(to_text(key)),
            _ => match to_text(key) {
                Cow::Borrowed(text) => bytes_of(escape(text, is_plain)),
                Cow::Owned(text) => escape(&text, is_plain).into_owned().into_bytes().into(),
            },
        };
        [self.prefix.as_slice(), &key].concat()
    }

    /// Whether a name belongs to a record of this scope, as opposed to another program or a cache
    /// with a longer prefix.
    pub(super) fn has(&self, name: &[u8]) -> bool {
        let key = name.strip_prefix(self.prefix.as_slice());
        key.is_some_and(|key| self.naming == Naming::Plain || !key.contains(&b':'))
    }

    /// Returns the key that a name was built from.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidData`](crate::ErrorKind::InvalidData), naming the column, if it is not a
    /// key of the schema.
    pub(super) fn key(&self, name: &[u8]) -> Result<Key> {
        let key = name.get(self.prefix.len()..).unwrap_or_default();
        if self.naming == Naming::Plain {
            return self.plain_key(key);
        }
        let text = std::str::from_utf8(key).ok().and_then(unescape);
        let text = text.ok_or_else(|| {
            Error::invalid_data("a key in the server does not have hilcat's encoding")
        })?;
        from_text(&text, &self.schema)
    }

    fn plain_key(&self, key: &[u8]) -> Result<Key> {
        let column = &self.schema.columns[self.schema.key[0]];
        let value = match (column.ty, std::str::from_utf8(key)) {
            (ColumnType::Bytes, _) => Ok(Value::Bytes(key.into())),
            (ty, Ok(text)) => text::to_value(text, ty),
            (_, Err(_)) => Err(Error::invalid_data("it is not valid UTF-8")),
        };
        let value = value.map_err(|error| {
            Error::invalid_data(format!("a key in the server does not fit: {}", error.message()))
                .with_column(&column.name)
        });
        value.map(Key::single)
    }

    /// Returns a pattern that matches all names.
    pub(super) fn pattern(&self) -> Vec<u8> {
        let mut pattern = Vec::with_capacity(self.prefix.len() + 1);
        for &byte in &self.prefix {
            if b"*?[]\\^".contains(&byte) {
                pattern.push(b'\\');
            }
            pattern.push(byte);
        }
        pattern.push(b'*');
        pattern
    }

    /// Returns an example of a name.
    pub(super) fn sample(&self) -> Vec<u8> {
        [self.prefix.as_slice(), b"x"].concat()
    }

    /// Returns the name of a record's lease, which shares the slot of the record: if the record's
    /// name has no hash tag, all of it becomes the tag. It has more colons than the name of any
    /// record.
    pub(super) fn lease_of(record: &[u8]) -> Vec<u8> {
        match super::slot::tag(record) {
            Some(_) => [record, LEASE].concat(),
            None => [b"{", record, b"}", LEASE].concat(),
        }
    }

    /// Whether a name belongs to the lease of one of the scope's records.
    pub(super) fn has_lease(&self, name: &[u8]) -> bool {
        let Some(record) = name.strip_suffix(LEASE) else { return false };
        let bare = record.strip_prefix(b"{").and_then(|record| record.strip_suffix(b"}"));
        [Some(record), bare].into_iter().flatten().any(|record| self.has(record))
    }

    /// Returns a pattern that matches the names of all leases.
    pub(super) fn lease_pattern(&self) -> Vec<u8> {
        match self.in_one_slot() {
            true => [&self.pattern(), LEASE].concat(),
            false => [b"{", self.pattern().as_slice(), b"}", LEASE].concat(),
        }
    }

    /// Whether all names share a slot of a cluster.
    pub(super) fn in_one_slot(&self) -> bool {
        super::slot::tag(&self.prefix).is_some()
    }
}

/// Whether a character is written unchanged.
fn is_plain(c: char) -> bool {
    !(matches!(c, ':' | '%' | '{' | '}') || c.is_control())
}

fn bytes_of(text: Cow<'_, str>) -> Cow<'_, [u8]> {
    match text {
        Cow::Borrowed(text) => text.as_bytes().into(),
        Cow::Owned(text) => text.into_bytes().into(),
    }
}

/// Returns the name of the hash that stores the schemas of a cache. It differs from the names of
/// all records, since no scope has an empty name.
pub(super) fn of_registry(prefix: &str) -> Vec<u8> {
    format!("{prefix}::scopes").into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Column;

    fn names(naming: Naming, ty: ColumnType) -> Names {
        let schema = Schema::new("a:b")
            .unique(Column::new("id", ty))
            .column(Column::new("v", ColumnType::Text));
        Names::new("app", naming, &Arc::new(schema))
    }

    /// Released format: existing records must be found under these names.
    #[test]
    fn names_are_readable_and_reversible() {
        let scoped = names(Naming::Scoped, ColumnType::Text);
        for (key, name) in [
            ("a b/\u{e9}", "app:a%3Ab:a b/\u{e9}"),
            ("", "app:a%3Ab:"),
            ("{x}:%41\n", "app:a%3Ab:%7Bx%7D%3A%2541%0A"),
        ] {
            let key = Key::single(key.into());
            assert_eq!(scoped.name(&key), name.as_bytes());
            assert!(scoped.has(name.as_bytes()));
            assert_eq!(scoped.key(name.as_bytes()).unwrap(), key);
        }
        assert!(!scoped.has(b"app:a%3Ab:x:y") && !scoped.has(b"app:a"));
        assert!(scoped.key(b"app:a%3Ab:%2").is_err());
        let one_slot = names(Naming::SlotPerScope, ColumnType::BigInt);
        assert_eq!(one_slot.name(&Key::single(Value::Int(7))), b"app:{a%3Ab}:7");
        assert!(one_slot.in_one_slot() && !scoped.in_one_slot());
        assert_eq!(one_slot.key(b"app:{a%3Ab}:x").unwrap_err().column(), Some("id"));
    }

    #[test]
    fn a_plain_name_is_the_key() {
        let schema = Schema::new("a").unique(Column::new("id", ColumnType::Bytes));
        let plain = Names::new("", Naming::Plain, &Arc::new(schema));
        let key = Key::single(vec![0_u8, 58, 255].into());
        assert_eq!(plain.name(&key), [0, 58, 255]);
        assert_eq!(plain.key(&[0, 58, 255]).unwrap(), key);
        assert_eq!(plain.pattern(), b"*");
    }

    #[test]
    fn pattern_characters_are_escaped() {
        let schema = Schema::new("a*[b]?\\").unique(Column::new("id", ColumnType::Int));
        let names = Names::new("p", Naming::Scoped, &Arc::new(schema));
        assert_eq!(names.pattern(), br"p:a\*\[b\]\?\\:*");
    }
}
