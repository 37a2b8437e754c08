//! Text and binary files.

use hilcat::{Cache, Column, ColumnType, ErrorKind, Schema, backend::Files};
use serde_json::json;

use crate::tree;

#[test]
fn text_is_stored_byte_for_byte() {
    let directory = tempfile::tempdir().unwrap();
    let cache = Cache::from_store(Files::text(directory.path()).open().unwrap());
    let scope = cache.map::<String, String>("pages").unwrap();
    let texts = ["", "a\r\nb\rc\n", "\u{feff}bom", "\u{e9} e\u{301}", "\0", " "];
    for (at, text) in texts.iter().enumerate() {
        scope.set(format!("k{at}"), &text.to_string()).unwrap();
        assert_eq!(scope.fetch(format!("k{at}")).unwrap().as_deref(), Some(*text));
    }
    let files = tree(directory.path());
    for (at, text) in texts.iter().enumerate() {
        assert_eq!(files[&format!("pages/k{at}.txt")], text.as_bytes());
    }
    assert_eq!(scope.update("k0", &"new".to_owned()).unwrap().as_deref(), Some(""));
    assert_eq!(scope.pop("k1").unwrap().as_deref(), Some(texts[1]));
    assert_eq!(scope.iter().unwrap().count(), texts.len() - 1);
}

#[test]
fn bytes_are_stored() {
    let directory = tempfile::tempdir().unwrap();
    let cache = Cache::from_store(Files::binary(directory.path()).suffix("").open().unwrap());
    let scope = cache.map::<i64, Vec<u8>>("blobs").unwrap();
    let all: Vec<u8> = (0..=255).collect();
    scope.set_many([(7, all.clone()), (-7, Vec::new())]).unwrap();
    assert_eq!(tree(directory.path())["blobs/7"], all);
    assert_eq!(scope.fetch_many([-7, 7, 8]).unwrap(), [Some(Vec::new()), Some(all), None]);
    assert_eq!(cache.scopes().unwrap(), ["blobs"]);
}

/// The file name is a digest and the file contains the text only, so the key is stored in a
/// separate file.
#[test]
fn long_keys_of_text_files_are_found() {
    let directory = tempfile::tempdir().unwrap();
    let open = || Cache::from_store(Files::text(directory.path()).open().unwrap());
    let scope = open().map::<String, String>("pages").unwrap();
    let keys = ["k".repeat(2_700), "\u{e9}/".repeat(900), "k".repeat(2_701)];
    scope.set(&keys[0], &"zero".to_owned()).unwrap();
    scope
        .set_many([(keys[1].clone(), "one".to_owned()), (keys[2].clone(), "two".to_owned())])
        .unwrap();
    let scope = open().map::<String, String>("pages").unwrap();
    let mut found: Vec<_> = scope.iter().unwrap().map(Result::unwrap).collect();
    found.sort_by(|a, b| b.1.cmp(&a.1));
    assert_eq!(found.len(), 3);
    assert_eq!(found[0], (keys[0].clone(), "zero".to_owned()));
    assert_eq!(found[1], (keys[2].clone(), "two".to_owned()));
    assert_eq!(scope.pop(&keys[1]).unwrap().as_deref(), Some("one"));
    assert_eq!(scope.keys().unwrap().count(), 2);
    scope.clear().unwrap();
    assert!(tree(directory.path()).is_empty());
}

#[test]
fn unsupported_schemas_are_refused() {
    let directory = tempfile::tempdir().unwrap();
    let text = Cache::from_store(Files::text(directory.path()).open().unwrap());
    let schema = |ty| {
        Schema::new("s")
            .unique(Column::new("id", ColumnType::Text))
            .column(Column::new("v", ty).nullable(true))
    };
    let two = schema(ColumnType::Text).column(Column::new("w", ColumnType::Text));
    for wrong in [schema(ColumnType::Int), schema(ColumnType::Bytes), two] {
        assert_eq!(text.dynamic_with(wrong).unwrap_err().kind(), ErrorKind::InvalidSchema);
    }
    assert!(text.scopes().unwrap().is_empty());
    let scope = text.dynamic_with(schema(ColumnType::Varchar(3))).unwrap();
    let error = scope.set_many([("a", json!({"v": "x"})), ("b", json!({"v": null}))]).unwrap_err();
    assert_eq!((error.kind(), error.column()), (ErrorKind::Unsupported, Some("v")), "{error}");
    assert_eq!(scope.len().unwrap(), 0, "the batch changed nothing");
    for bytes in [&b"\xff"[..], b"four"] {
        std::fs::write(directory.path().join("s/c.txt"), bytes).unwrap();
        let error = scope.fetch("c").unwrap_err();
        assert_eq!((error.kind(), error.column()), (ErrorKind::InvalidData, Some("v")), "{error}");
    }
}

/// A file that was copied under another name contains the record of another key.
#[test]
fn records_of_other_keys_are_refused_and_kept() {
    let directory = tempfile::tempdir().unwrap();
    let uri = format!("file://{}", directory.path().display());
    let scope = Cache::from_uri(&uri).unwrap().map::<String, i64>("s").unwrap();
    scope.set("a", &1).unwrap();
    let at = |name: &str| directory.path().join(format!("s/{name}.json"));
    std::fs::copy(at("a"), at("b")).unwrap();
    let before = tree(directory.path());
    let refused = [
        scope.fetch("b").unwrap_err(),
        scope.update("b", &2).unwrap_err(),
        scope.pop("b").unwrap_err(),
        scope.pop_many(["a", "b"]).unwrap_err(),
        scope.get("b", || 2).unwrap_err(),
    ];
    for error in refused {
        assert_eq!(error.kind(), ErrorKind::InvalidData, "{error}");
        assert!(error.message().contains("another key"), "{error}");
    }
    assert_eq!(tree(directory.path()), before, "nothing was changed");
    // A write that does not return the old record overwrites it, as it does any other damaged file.
    scope.set("b", &3).unwrap();
    assert_eq!((scope.fetch("a").unwrap(), scope.fetch("b").unwrap()), (Some(1), Some(3)));
}

/// Another program writes the file while the value is computed.
#[test]
fn files_of_other_programs_are_not_overwritten() {
    let directory = tempfile::tempdir().unwrap();
    let uri = format!("file://{}", directory.path().display());
    let scope = Cache::from_uri(&uri).unwrap().map::<String, i64>("s").unwrap();
    scope.set("a", &7).unwrap();
    let path = directory.path().join("s/a.json");
    let record = std::fs::read(&path).unwrap();
    std::fs::remove_file(&path).unwrap();
    let got = scope.get("a", || {
        std::fs::write(&path, &record).unwrap();
        1
    });
    assert_eq!(got.unwrap(), 7);
    assert_eq!(std::fs::read(&path).unwrap(), record);
    std::fs::remove_file(&path).unwrap();
    let in_the_way = scope.get("a", || {
        std::fs::create_dir(&path).unwrap();
        1
    });
    assert_eq!(in_the_way.unwrap_err().kind(), ErrorKind::Unsupported);
}
