//! Paths and contents of files.

use hilcat::{Cache, Column, ColumnType, ErrorKind, Schema};
use serde_json::json;

use crate::names;

fn open(directory: &tempfile::TempDir, options: &str) -> Cache {
    Cache::from_uri(&format!("file://{}{options}", directory.path().display())).unwrap()
}

fn articles() -> Schema {
    Schema::new("articles")
        .unique(Column::new("id", ColumnType::Text))
        .column(Column::new("count", ColumnType::Int).nullable(true))
}

/// Released format: existing files must be found, and other programs read them.
#[test]
fn golden_files() {
    let directory = tempfile::tempdir().unwrap();
    let cache = open(&directory, "");
    cache.dynamic_with(articles()).unwrap().set("a1", json!({"count": 3})).unwrap();
    let text = std::fs::read_to_string(directory.path().join("articles/a1.json")).unwrap();
    let fingerprint = articles().fingerprint();
    assert_eq!(text, format!(r#"{{"$hilcat":"{fingerprint}","id":"a1","count":3}}"#));
    assert_eq!(fingerprint, "703fb214c45543d6", "it is stored in files");
    let schema = directory.path().join(".hilcat/articles/schema.toml");
    assert_eq!(std::fs::read_to_string(schema).unwrap(), articles().to_toml());
}

#[test]
fn readable_keys_are_readable_paths() {
    let directory = tempfile::tempdir().unwrap();
    let cache = open(&directory, "");
    let scope = cache.map::<String, i64>("pages").unwrap();
    let keys = ["a", "a/b", "a/b/c", "a.json/b", "2013-01-31", "hello world", "..", "\u{e9}"];
    scope.set_many(keys.iter().map(|key| (key.to_string(), 1))).unwrap();
    assert_eq!(
        names(directory.path()),
        [
            "pages/%2E..json",
            "pages/%C3%A9.json",
            "pages/2013-01-31.json",
            "pages/a.jso%6E/b.json",
            "pages/a.json",
            "pages/a/b.json",
            "pages/a/b/c.json",
            "pages/hello%20world.json",
        ]
    );
    let routes = cache.map::<(String, String), i64>("routes").unwrap();
    routes.set(("JFK", "LAX"), &1).unwrap();
    assert!(directory.path().join("routes/JFK,LAX.json").is_file());
}

#[test]
fn keys_with_many_segments_are_found() {
    let directory = tempfile::tempdir().unwrap();
    let scope = open(&directory, "").map::<String, i64>("s").unwrap();
    let keys: Vec<String> = (1..12).map(|parts| vec!["p"; parts].join("/")).collect();
    scope.set_many(keys.iter().map(|key| (key.clone(), 1))).unwrap();
    let mut found: Vec<String> = scope.keys().unwrap().map(Result::unwrap).collect();
    found.sort();
    assert_eq!(found, keys);
    assert!(directory.path().join("s/p/p/p/p/p/p/p/p.json").is_file(), "eight are a path");
    assert!(!directory.path().join("s/p/p/p/p/p/p/p/p").exists(), "nine are not");
}

#[test]
fn empty_directories_are_removed() {
    let directory = tempfile::tempdir().unwrap();
    let scope = open(&directory, "").map::<String, i64>("s").unwrap();
    scope.set_many(["a/b/c", "a/d", "e/f"].map(|key| (key.to_owned(), 1))).unwrap();
    assert_eq!(scope.pop("a/b/c").unwrap(), Some(1));
    assert!(!directory.path().join("s/a/b").exists());
    assert!(directory.path().join("s/a/d.json").exists());
    scope.pop_many(["a/d", "e/f"]).unwrap();
    assert_eq!(std::fs::read_dir(directory.path().join("s")).unwrap().count(), 0);
    scope.set("a/b/c", &2).unwrap();
    scope.clear().unwrap();
    assert_eq!(std::fs::read_dir(directory.path().join("s")).unwrap().count(), 0);
}

#[test]
fn files_of_other_programs_are_ignored() {
    let directory = tempfile::tempdir().unwrap();
    let scope = open(&directory, "").map::<String, i64>("s").unwrap();
    scope.set("a", &1).unwrap();
    for name in ["notes.txt", ".swp", "a b.json", "a%2f.json"] {
        std::fs::write(directory.path().join("s").join(name), "mine").unwrap();
    }
    assert_eq!((scope.len().unwrap(), scope.keys().unwrap().count()), (1, 1));
    assert_eq!(scope.iter().unwrap().count(), 1);
    scope.clear().unwrap();
    assert_eq!(names(directory.path()).len(), 4);
}

#[test]
fn records_under_another_name_are_reported() {
    let directory = tempfile::tempdir().unwrap();
    let scope = open(&directory, "").map::<String, i64>("s").unwrap();
    scope.set("a", &1).unwrap();
    let at = |name: &str| directory.path().join("s").join(name);
    std::fs::copy(at("a.json"), at("b.json")).unwrap();
    let error = scope.fetch("b").unwrap_err();
    assert_eq!((error.kind(), error.column()), (ErrorKind::InvalidData, Some("key")), "{error}");
    std::fs::write(at("b.json"), "{\"key\": \"b\", \"val").unwrap();
    assert_eq!(scope.fetch("b").unwrap_err().kind(), ErrorKind::InvalidData);
    scope.set("b", &2).unwrap();
    assert_eq!(scope.fetch("b").unwrap(), Some(2), "a malformed record can be overwritten");
}

/// A file written by hand or by another program is read by the names of the columns.
#[test]
fn hand_written_records_are_read() {
    let directory = tempfile::tempdir().unwrap();
    let scope = open(&directory, "").dynamic_with(articles()).unwrap();
    std::fs::write(
        directory.path().join("articles/x.json"),
        "\n{ \"id\" : \"x\", \"count\" : 7 }\n",
    )
    .unwrap();
    assert_eq!(scope.fetch("x").unwrap(), Some(json!({"id": "x", "count": 7})));
}

#[test]
fn scopes_have_separate_directories() {
    let directory = tempfile::tempdir().unwrap();
    let cache = open(&directory, "");
    cache.dynamic_with(articles()).unwrap();
    let other = articles().renamed("other");
    let error = cache.dynamic_with(other).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidSchema, "{error}");
    assert!(error.to_string().contains("`articles`"), "{error}");
}

#[test]
fn the_options_can_change_at_any_time() {
    let directory = tempfile::tempdir().unwrap();
    let put = |options: &str, key: &str| {
        open(&directory, options).map::<String, i64>("s").unwrap().set(key, &1).unwrap();
    };
    put("", "a");
    if cfg!(feature = "msgpack") {
        put("?format=msgpack&suffix=.json", "b");
    }
    if cfg!(feature = "zstd") {
        put("?compress=1", "c");
    }
    let scope = open(&directory, "").map::<String, i64>("s").unwrap();
    assert_eq!(
        scope.len().unwrap(),
        1 + u64::from(cfg!(feature = "msgpack")) + u64::from(cfg!(feature = "zstd"))
    );
    scope.iter().unwrap().for_each(|record| assert_eq!(record.unwrap().1, 1));
}

#[test]
fn relative_directories_do_not_follow_the_working_directory() {
    let cache = Cache::from_uri("file:./target/no-such-directory-of-a-test").unwrap();
    assert!(cache.scopes().unwrap().is_empty(), "it is made by the first scope");
    assert!(!std::path::Path::new("target/no-such-directory-of-a-test").exists());
}
