//! The keys of dynamic scopes.

use serde_json::Value as Json;

use crate::{Key, Value};

/// A value that converts to a key of a [`DynScope`](crate::DynScope): text, integers, floats,
/// booleans, bytes, JSON (an array is a key of several columns), a [`Key`], and tuples of up to
/// eight.
pub trait DynKey {
    /// Converts the value to a key, whose values are not yet converted to the column types.
    fn into_dyn_key(self) -> Key;
}

impl DynKey for Key {
    fn into_dyn_key(self) -> Key {
        self
    }
}

impl DynKey for &Key {
    fn into_dyn_key(self) -> Key {
        self.clone()
    }
}

impl DynKey for Json {
    fn into_dyn_key(self) -> Key {
        match self {
            Json::Array(values) => Key::new(values.into_iter().map(json_part)),
            value => Key::single(json_part(value)),
        }
    }
}

impl DynKey for &Json {
    fn into_dyn_key(self) -> Key {
        self.clone().into_dyn_key()
    }
}

/// Converts numbers and text to plain values, which messages show unquoted. Other JSON is kept.
fn json_part(value: Json) -> Value {
    match value {
        Json::String(text) => Value::Text(text),
        Json::Number(number) => match (number.as_i64(), number.as_u64()) {
            (Some(integer), _) => Value::Int(integer),
            (None, Some(integer)) => Value::UInt(integer),
            _ => Value::Json(Box::new(Json::Number(number))),
        },
        Json::Null => Value::Null,
        value => Value::Json(Box::new(value)),
    }
}

macro_rules! dyn_keys {
    ($($ty:ty),*) => {$(
        impl DynKey for $ty {
            fn into_dyn_key(self) -> Key {
                Key::single(self.into())
            }
        }
    )*};
}
dyn_keys!(&str, String, bool, i8, i16, i32, i64, u8, u16, u32, u64, f32, f64, &[u8], Vec<u8>);

impl DynKey for &String {
    fn into_dyn_key(self) -> Key {
        self.as_str().into_dyn_key()
    }
}

impl DynKey for &&str {
    fn into_dyn_key(self) -> Key {
        (*self).into_dyn_key()
    }
}

macro_rules! dyn_tuples {
    ($($part:ident $index:tt),*) => {
        impl<$($part: DynKey),*> DynKey for ($($part,)*) {
            fn into_dyn_key(self) -> Key {
                let mut values = Vec::new();
                $(values.extend(self.$index.into_dyn_key().into_values());)*
                Key::new(values)
            }
        }
    };
}
dyn_tuples!(A 0);
dyn_tuples!(A 0, B 1);
dyn_tuples!(A 0, B 1, C 2);
dyn_tuples!(A 0, B 1, C 2, D 3);
dyn_tuples!(A 0, B 1, C 2, D 3, E 4);
dyn_tuples!(A 0, B 1, C 2, D 3, E 4, F 5);
dyn_tuples!(A 0, B 1, C 2, D 3, E 4, F 5, G 6);
dyn_tuples!(A 0, B 1, C 2, D 3, E 4, F 5, G 6, H 7);
