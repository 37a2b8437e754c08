//! Converts the arguments of a function to a key.

use crate::{ColumnType, ColumnValue, Value};

/// One value of a key, with the type of its column.
#[derive(Debug, Clone)]
pub struct Part {
    pub(super) ty: ColumnType,
    pub(super) value: Value,
}

/// A type that can be part of a key, owned or borrowed.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be used as a key",
    label = "not a key type",
    note = "the arguments of a cached function are its key: each is of a type that a column can be of, such as i64, String or &str",
    note = "use `key = ...` with an expression of the arguments, such as `key = format!(\"{{x:?}}\")` or a tuple, if one is not"
)]
pub trait KeyPart {
    /// Returns the value with its column type.
    fn key_part(&self) -> Part;
}

#[diagnostic::do_not_recommend]
impl<T: ColumnValue> KeyPart for T {
    fn key_part(&self) -> Part {
        const {
            assert!(!T::NULLABLE, "a part of a key cannot be an Option: a key is never NULL");
            assert!(!matches!(T::TYPE, ColumnType::Json), "a part of a key cannot be json");
        }
        Part { ty: T::TYPE, value: self.to_value() }
    }
}

impl KeyPart for str {
    fn key_part(&self) -> Part {
        Part { ty: ColumnType::Text, value: self.into() }
    }
}

impl KeyPart for [u8] {
    fn key_part(&self) -> Part {
        Part { ty: ColumnType::Bytes, value: self.into() }
    }
}
