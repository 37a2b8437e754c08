//! The names of scopes, and the values of the scope columns of their rows.

use crate::{ColumnType, Error, Result, Value, text};

/// Separates the values in a name.
const SEPARATOR: char = '/';

/// The escapes in a name of several values.
const ESCAPES: [(&str, &str); 2] = [("%", "%25"), ("/", "%2F")];

/// Returns the name of the scope with these values.
pub(super) fn of(values: &[Value]) -> String {
    match values {
        [value] => text::from_value(value).into_owned(),
        values => {
            let parts = values.iter().map(|value| escape(&text::from_value(value)));
            parts.collect::<Vec<_>>().join("/")
        }
    }
}

/// Returns the values of a name.
///
/// # Errors
///
/// [`ErrorKind::InvalidInput`](crate::ErrorKind::InvalidInput) for a name that [`of`] does not
/// return, so that no scope has two names.
pub(super) fn values(name: &str, columns: &[(&str, ColumnType)]) -> Result<Vec<Value>> {
    let parts: Vec<String> = match columns {
        [_] => vec![name.to_owned()],
        _ => name.split(SEPARATOR).map(unescape).collect(),
    };
    if parts.len() != columns.len() {
        let names = columns.iter().map(|(name, _)| *name).collect::<Vec<_>>().join("/");
        return Err(Error::invalid_input(format!(
            "the name of the scope has {} parts; write it as {names}, with %2F for a slash in a part and %25 for a percent sign",
            parts.len()
        )));
    }
    let read = |(part, (column, ty)): (&String, &(&str, ColumnType))| {
        let value = text::to_value(part, *ty).and_then(|value| ty.check(&value).map(|()| value));
        value.map_err(|error| error.with_column(column))
    };
    let values = parts.iter().zip(columns).map(read).collect::<Result<Vec<_>>>()?;
    match of(&values) {
        written if written == name => Ok(values),
        written => Err(Error::invalid_input(format!("write the name of the scope as `{written}`"))),
    }
}

fn escape(part: &str) -> String {
    ESCAPES.iter().fold(part.to_owned(), |part, (plain, escaped)| part.replace(plain, escaped))
}

fn unescape(part: &str) -> String {
    let undo = |part: String, (plain, escaped): &(&str, &str)| part.replace(escaped, plain);
    ESCAPES.iter().rev().fold(part.to_owned(), undo)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TWO: [(&str, ColumnType); 2] = [("a", ColumnType::Text), ("b", ColumnType::Text)];

    #[test]
    fn a_name_converts_back_to_its_values() {
        for (a, b) in [("x", "y"), ("", ""), ("/", "%"), ("%2F", "%25"), ("a/", "/b"), ("\0", "é")]
        {
            let parts = [Value::from(a), Value::from(b)];
            assert_eq!(values(&of(&parts), &TWO).unwrap(), parts, "{a:?} {b:?}");
        }
        assert_eq!(of(&["a/b".into(), "c".into()]), "a%2Fb/c");
        assert_eq!(values("a%/b", &TWO[..1]).unwrap(), ["a%/b".into()]);
    }

    #[test]
    fn no_scope_has_two_names() {
        for wrong in ["a", "a/b/c", "", "a%2f/b", "a%41/b", "a%/b"] {
            let error = values(wrong, &TWO).unwrap_err();
            assert_eq!(error.kind(), crate::ErrorKind::InvalidInput, "{wrong}");
        }
        let int = [("n", ColumnType::Int)];
        assert_eq!(values("7", &int).unwrap(), [Value::Int(7)]);
        for wrong in ["07", "+7", "x", "2147483648"] {
            assert!(values(wrong, &int).is_err(), "{wrong}");
        }
    }
}
