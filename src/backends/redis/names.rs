//! The names that records have in a server: `<prefix>:<scope>:<key>`.
//!
//! In the scope and the key a colon, a brace, a percent sign or a control character is written as
//! its bytes in hexadecimal, each after a `%`; all else stands as it is. So a name has two colons
//! after its prefix, and what is in braces is put there on purpose. In the plain layout a name is
//! the key alone.

use std::borrow::Cow;
use std::sync::Arc;

use crate::codec::key::{escape, from_text, to_text, unescape};
use crate::{ColumnType, Error, Key, Result, Schema, Value, text};

/// How keys are named.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Naming {
    /// As they are.
    Plain,
    /// Under the name of their scope.
    Scoped,
    /// Under the name of their scope in braces, so that all are in one slot of a cluster.
    SlotPerScope,
}

/// What the name of a lease ends in.
const LEASE: &[u8] = b"::lease";

/// The names of a scope's records.
#[derive(Debug)]
pub(super) struct Names {
    naming: Naming,
    /// What stands before each key.
    head: Vec<u8>,
    schema: Arc<Schema>,
}

impl Names {
    pub(super) fn new(prefix: &str, naming: Naming, schema: &Arc<Schema>) -> Self {
        let scope = escape(&schema.name, is_plain);
        let head = match naming {
            Naming::Plain => prefix.to_owned(),
            Naming::Scoped => format!("{prefix}:{scope}:"),
            Naming::SlotPerScope => format!("{prefix}:{{{scope}}}:"),
        };
        Self { naming, head: head.into_bytes(), schema: schema.clone() }
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
        [self.head.as_slice(), &key].concat()
    }

    /// Whether it is the name of one of the scope's records, and not of another program's or of a
    /// cache whose prefix begins as these names do.
    pub(super) fn has(&self, name: &[u8]) -> bool {
        let key = name.strip_prefix(self.head.as_slice());
        key.is_some_and(|key| self.naming == Naming::Plain || !key.contains(&b':'))
    }

    /// The key of a record of this name.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidData`](crate::ErrorKind::InvalidData), naming the column, where it is
    /// none of the schema.
    pub(super) fn key(&self, name: &[u8]) -> Result<Key> {
        let key = name.get(self.head.len()..).unwrap_or_default();
        if self.naming == Naming::Plain {
            return self.plain_key(key);
        }
        let text = std::str::from_utf8(key).ok().and_then(unescape);
        let text = text.ok_or_else(|| {
            Error::invalid_data("a key in the server is not written as hilcat writes keys")
        })?;
        from_text(&text, &self.schema)
    }

    fn plain_key(&self, key: &[u8]) -> Result<Key> {
        let column = &self.schema.columns[self.schema.key[0]];
        let value = match (column.ty, std::str::from_utf8(key)) {
            (ColumnType::Bytes, _) => Ok(Value::Bytes(key.into())),
            (ty, Ok(text)) => text::to_value(text, ty),
            (_, Err(_)) => Err(Error::invalid_data("it is not UTF-8")),
        };
        let value = value.map_err(|error| {
            Error::invalid_data(format!("a key in the server does not fit: {}", error.message()))
                .with_column(&column.name)
        });
        value.map(Key::single)
    }

    /// The pattern that all names match.
    pub(super) fn pattern(&self) -> Vec<u8> {
        let mut pattern = Vec::with_capacity(self.head.len() + 1);
        for &byte in &self.head {
            if b"*?[]\\^".contains(&byte) {
                pattern.push(b'\\');
            }
            pattern.push(byte);
        }
        pattern.push(b'*');
        pattern
    }

    /// A name that a record can have.
    pub(super) fn sample(&self) -> Vec<u8> {
        [self.head.as_slice(), b"x"].concat()
    }

    /// The name of a record's lease, which is in the slot of the record: where the record's name
    /// has no tag of its own, the whole of it is the tag. It has more colons than any record's.
    pub(super) fn lease_of(record: &[u8]) -> Vec<u8> {
        match super::slot::tag(record) {
            Some(_) => [record, LEASE].concat(),
            None => [b"{", record, b"}", LEASE].concat(),
        }
    }

    /// Whether it is the name of the lease of one of the scope's records.
    pub(super) fn has_lease(&self, name: &[u8]) -> bool {
        let Some(record) = name.strip_suffix(LEASE) else { return false };
        let bare = record.strip_prefix(b"{").and_then(|record| record.strip_suffix(b"}"));
        [Some(record), bare].into_iter().flatten().any(|record| self.has(record))
    }

    /// The pattern that the names of all leases match.
    pub(super) fn lease_pattern(&self) -> Vec<u8> {
        match self.share_a_slot() {
            true => [&self.pattern(), LEASE].concat(),
            false => [b"{", self.pattern().as_slice(), b"}", LEASE].concat(),
        }
    }

    /// Whether a cluster has all of them in one slot.
    pub(super) fn share_a_slot(&self) -> bool {
        super::slot::tag(&self.head).is_some()
    }
}

/// Whether a character stands in names as it is.
fn is_plain(c: char) -> bool {
    !(matches!(c, ':' | '%' | '{' | '}') || c.is_control())
}

fn bytes_of(text: Cow<'_, str>) -> Cow<'_, [u8]> {
    match text {
        Cow::Borrowed(text) => text.as_bytes().into(),
        Cow::Owned(text) => text.into_bytes().into(),
    }
}

/// The name of the hash that has the scopes of a cache. No record has it: no scope has an empty
/// name.
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

    /// Stored in servers: it must not change from one release to the next.
    #[test]
    fn names_are_readable_and_come_back() {
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
        let together = names(Naming::SlotPerScope, ColumnType::BigInt);
        assert_eq!(together.name(&Key::single(Value::Int(7))), b"app:{a%3Ab}:7");
        assert!(together.share_a_slot() && !scoped.share_a_slot());
        assert_eq!(together.key(b"app:{a%3Ab}:x").unwrap_err().column(), Some("id"));
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
    fn what_means_something_in_a_pattern_is_escaped() {
        let schema = Schema::new("a*[b]?\\").unique(Column::new("id", ColumnType::Int));
        let names = Names::new("p", Naming::Scoped, &Arc::new(schema));
        assert_eq!(names.pattern(), br"p:a\*\[b\]\?\\:*");
    }
}
