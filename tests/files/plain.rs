//! The layout of the Python package: the key is the path, and the file contains the bare value.

use hilcat::{Cache, Column, ColumnType, ErrorKind, Schema, Shape, backend::Files};
use serde_json::json;

use crate::names;

fn record() -> Schema {
    Schema::new("a")
        .unique(Column::new("id", ColumnType::Text))
        .column(Column::new("name", ColumnType::Text).nullable(true))
        .column(Column::new("count", ColumnType::Int).nullable(true))
}

fn single() -> Schema {
    Schema::new("d")
        .unique(Column::new("id", ColumnType::Text).key_only())
        .column(Column::new("v", ColumnType::Json))
        .shape(Shape::Single)
}

/// As written by `json.dump`, without keys.
#[test]
fn files_of_python_are_read() {
    let directory = tempfile::tempdir().unwrap();
    for (path, text) in [
        ("a/x.json", r#"{"name": "\u00e9", "count": 3}"#),
        ("a/deep/er.json", r#"{"id": "deep/er", "name": null, "more": [1, 2]}"#),
        ("d/one.json", "[1, 2.5, null]"),
        ("d/two words.json", "\"text\""),
    ] {
        let path = directory.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    let cache = Cache::from_store(Files::json(directory.path()).plain().open().unwrap());
    assert_eq!(cache.scopes().unwrap(), ["a", "d"]);
    let a = cache.dynamic_with(record()).unwrap();
    assert_eq!(a.fetch("x").unwrap(), Some(json!({"id": "x", "name": "\u{e9}", "count": 3})));
    assert_eq!(
        a.fetch("deep/er").unwrap(),
        Some(json!({"id": "deep/er", "name": null, "count": null}))
    );
    assert_eq!(a.len().unwrap(), 2);
    let d = cache.dynamic_with(single()).unwrap();
    assert_eq!(d.fetch("one").unwrap(), Some(json!([1, 2.5, null])));
    assert_eq!(d.pop("two words").unwrap(), Some(json!("text")));
    // A partial write keeps fields that hilcat does not know.
    a.set("deep/er", json!({"count": 7})).unwrap();
    let text = std::fs::read_to_string(directory.path().join("a/deep/er.json")).unwrap();
    let value: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(value, json!({"id": "deep/er", "name": null, "count": 7, "more": [1, 2]}));
}

#[test]
fn tuples_are_arrays() {
    let directory = tempfile::tempdir().unwrap();
    let cache = Cache::from_store(Files::json(directory.path()).plain().open().unwrap());
    let mut schema = record().shape(Shape::Tuple);
    schema.columns_mut()[0].in_value = false;
    let scope = cache.dynamic_with(schema).unwrap();
    scope.set("x", json!(["n", 3])).unwrap();
    let file = directory.path().join("a/x.json");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "[\"n\", 3]");
    std::fs::write(&file, "[\"short\"]").unwrap();
    assert_eq!(scope.fetch("x").unwrap(), Some(json!(["short", null])));
    for wrong in ["[1, 2]", "[\"a\", 1, 2]", "{}", "[", "\"a\""] {
        std::fs::write(&file, wrong).unwrap();
        assert_eq!(scope.fetch("x").unwrap_err().kind(), ErrorKind::InvalidData, "{wrong}");
    }
}

#[test]
fn bare_values_are_written() {
    let directory = tempfile::tempdir().unwrap();
    let open = |options: &str| {
        Cache::from_uri(&format!("file://{}?layout=plain{options}", directory.path().display()))
            .unwrap()
    };
    let d = open("").dynamic_with(single()).unwrap();
    d.set_many([("a b", json!({"x": [1]})), ("deep/er", json!(7))]).unwrap();
    let read = |path: &str| std::fs::read_to_string(directory.path().join(path)).unwrap();
    assert_eq!((read("d/a b.json"), read("d/deep/er.json")), (r#"{"x":[1]}"#.into(), "7".into()));
    let text = open("&format=text").map::<String, String>("t").unwrap();
    text.set("page/1", &"a\r\n".to_owned()).unwrap();
    assert_eq!(read("t/page/1"), "a\r\n");
    assert_eq!(names(directory.path()), ["d/a b.json", "d/deep/er.json", "t/page/1"]);
}

/// Without a suffix, a file can be in the place of another key's directory. This is an error, and
/// nothing is changed.
#[test]
fn keys_that_cannot_be_paths_are_refused() {
    let directory = tempfile::tempdir().unwrap();
    let cache = Cache::from_store(Files::text(directory.path()).plain().open().unwrap());
    let scope = cache.map::<String, String>("t").unwrap();
    scope.set("a", &"1".to_owned()).unwrap();
    scope.set("d/e", &"2".to_owned()).unwrap();
    for key in ["", "..", "../x", "/x", "x/", "a/b", "d", "a\0"] {
        let set = scope.set(key, &"x".to_owned()).unwrap_err();
        let batch = [("new".to_owned(), "x".to_owned()), (key.to_owned(), "x".to_owned())];
        let batch = scope.set_many(batch).unwrap_err();
        assert_eq!(
            (set.kind(), batch.kind()),
            (ErrorKind::Unsupported, ErrorKind::Unsupported),
            "{key:?}: {set}"
        );
    }
    assert_eq!((scope.fetch("a/b").unwrap(), scope.fetch("d").unwrap()), (None, None));
    assert_eq!(names(directory.path()), ["t/a", "t/d/e"]);
    for name in ["..", "a/b", ".x"] {
        assert!(cache.map::<String, String>(name).is_err(), "{name}");
    }
}
