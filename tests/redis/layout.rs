//! Keys and values in the server. These are released formats, which must not change.

use std::collections::BTreeMap;
use std::time::Duration;

use hilcat::{Cache, Column, ColumnType, Schema};
use serde_json::json;

use crate::Test;
use crate::support::{Other, SECOND, Server, numbers, until};

pub(crate) const TESTS: &[Test] = &[
    ("records_are_json_under_readable_names", records_are_json_under_readable_names),
    ("records_are_hashes", records_are_hashes),
    ("fields_of_newer_schemas_are_kept", fields_of_newer_schemas_are_kept),
    ("scopes_are_registered", scopes_are_registered),
    ("other_formats_are_read", other_formats_are_read),
    ("records_expire", records_expire),
    ("clear_removes_nothing_else", clear_removes_nothing_else),
    ("unreadable_records_are_kept", unreadable_records_are_kept),
    ("each_record_is_popped_once", each_record_is_popped_once),
    ("concurrent_keys_are_not_overwritten", concurrent_keys_are_not_overwritten),
    ("scopes_survive_flushdb", scopes_survive_flushdb),
];

fn articles() -> Schema {
    Schema::new("news: {x}")
        .unique(Column::new("id", ColumnType::Text))
        .unique(Column::new("day", ColumnType::Date))
        .column(Column::new("title", ColumnType::Text).nullable(true))
        .column(Column::new("blob", ColumnType::Bytes))
        .column(Column::new("score", ColumnType::Double))
}

const KEY: (&str, &str) = ("a:1,\u{e9}", "2013-01-31");

fn article() -> serde_json::Value {
    json!({"title": null, "blob": {"$bytes": "AP8="}, "score": {"$float": "NaN"}})
}

fn records_are_json_under_readable_names(server: &Server) {
    server.cache().dynamic_with(articles()).unwrap().set(KEY, article()).unwrap();
    let mut other = server.other();
    let name = format!("{}:news%3A %7Bx%7D:a%3A1%252C\u{e9},2013-01-31", server.prefix);
    assert_eq!(other.names(&server.prefix), [format!("{}::scopes", server.prefix), name.clone()]);
    let fingerprint = articles().fingerprint();
    let expected = format!(
        "{{\"$hilcat\":\"{fingerprint}\",\"id\":\"a:1,\u{e9}\",\"day\":\"2013-01-31\",\"title\":null,\"blob\":{{\"$bytes\":\"AP8=\"}},\"score\":{{\"$float\":\"NaN\"}}}}"
    );
    assert_eq!(other.ask::<String>(&["GET", &name]), expected);
    assert_eq!(other.ask::<i64>(&["PTTL", &name]), -1);
}

fn records_are_hashes(server: &Server) {
    let cache = Cache::from_uri(&server.with("layout=hash")).unwrap();
    let scope = cache.dynamic_with(articles()).unwrap();
    scope.set(KEY, article()).unwrap();
    let mut other = server.other();
    let name = format!("{}:news%3A %7Bx%7D:a%3A1%252C\u{e9},2013-01-31", server.prefix);
    let fields: BTreeMap<String, String> = other.ask(&["HGETALL", &name]);
    let fingerprint = format!("\"{}\"", articles().fingerprint());
    let expected = [
        ("$hilcat", fingerprint.as_str()),
        ("blob", "{\"$bytes\":\"AP8=\"}"),
        ("day", "\"2013-01-31\""),
        ("id", "\"a:1,\u{e9}\""),
        ("score", "{\"$float\":\"NaN\"}"),
        ("title", "null"),
    ];
    assert_eq!(fields, expected.map(|(name, value)| (name.to_owned(), value.to_owned())).into());
    // Another program changes a field.
    other.ask::<()>(&["HSET", &name, "title", "\"new\""]);
    assert_eq!(scope.fetch(KEY).unwrap().unwrap()["title"], json!("new"));
    other.ask::<()>(&["HSET", &name, "title", "7"]);
    assert_eq!(scope.fetch(KEY).unwrap_err().column(), Some("title"));
}

fn fields_of_newer_schemas_are_kept(server: &Server) {
    let uri = server.with("layout=hash");
    let old = Cache::from_uri(&uri).unwrap().dynamic_with(numbers()).unwrap();
    old.set("x", json!({"n": 1})).unwrap();
    let newer = numbers().column(Column::new("m", ColumnType::Int).nullable(true));
    let new = Cache::from_uri(&uri).unwrap().dynamic_with(newer).unwrap();
    new.set("x", json!({"n": 2, "m": 7})).unwrap();
    old.set("x", json!({"n": 3})).unwrap();
    assert_eq!(new.fetch("x").unwrap(), Some(json!({"id": "x", "n": 3, "m": 7})));
    old.set_many([("x", json!({"n": 4})), ("y", json!({"n": 4}))]).unwrap();
    assert_eq!(new.fetch("x").unwrap(), Some(json!({"id": "x", "n": 4, "m": 7})));
    assert_eq!(new.fetch("y").unwrap(), Some(json!({"id": "y", "n": 4, "m": null})));
}

fn scopes_are_registered(server: &Server) {
    let schema = numbers();
    server.cache().dynamic_with(schema.clone()).unwrap();
    let mut other = server.other();
    let name = format!("{}::scopes", server.prefix);
    let entries: BTreeMap<String, String> = other.ask(&["HGETALL", &name]);
    let expected = format!("# {} 0\n{}", schema.fingerprint(), schema.to_toml());
    assert_eq!(entries, [("a".to_owned(), expected)].into());
    other.ask::<()>(&["HSET", &name, "a", "what is this"]);
    assert!(server.cache().dynamic_with(schema).is_err());
}

fn other_formats_are_read(server: &Server) {
    let value = |n| json!({"id": "x".repeat(2_000), "n": n});
    let key = "x".repeat(2_000);
    for (n, options) in
        ["format=json", "format=msgpack", "compress=1kb", "format=msgpack&compress=0"]
            .into_iter()
            .enumerate()
    {
        let cache = Cache::from_uri(&server.with(options)).unwrap();
        let written = cache.dynamic_with(numbers()).unwrap();
        if n > 0 {
            assert_eq!(written.fetch(&*key).unwrap(), Some(value(n - 1)), "{options}");
        }
        written.set(&*key, value(n)).unwrap();
        let bytes: Vec<u8> = server.other().ask(&["GET", &format!("{}:a:{key}", server.prefix)]);
        assert_eq!(options.contains("compress"), bytes.len() < 500, "{options}: {}", bytes.len());
        assert_eq!(options == "format=json", bytes[0] == b'{', "{options}");
    }
}

fn records_expire(server: &Server) {
    let schema = numbers()
        .column(Column::new("m", ColumnType::BigInt).nullable(true))
        .ttl(Duration::from_millis(600));
    for layout in ["record", "hash"] {
        let options = format!("layout={layout}&slots=scope");
        let scope = Cache::from_uri(&server.with(&options)).unwrap().dynamic_with(schema.clone());
        let scope = scope.unwrap();
        let mut other = server.other();
        let mut left =
            |key: &str| -> i64 { other.ask(&["PTTL", &format!("{}:{{a}}:{key}", server.prefix)]) };
        scope.set("whole", json!({"n": 1, "m": 1})).unwrap();
        scope.update("updated", json!({"n": 1, "m": 1})).unwrap();
        scope.set("part", json!({"n": 1})).unwrap();
        scope
            .set_many([("many", json!({"n": 1, "m": 1})), ("more", json!({"n": 2, "m": 2}))])
            .unwrap();
        for key in ["whole", "updated", "part", "many", "more"] {
            assert!((1..=600).contains(&left(key)), "{layout} {key}");
        }
        assert_eq!(scope.len().unwrap(), 5);
        until(SECOND * 5, || scope.fetch("part").unwrap().is_none());
        until(SECOND * 5, || scope.len().unwrap() == 0);
        assert!(!scope.exists("whole").unwrap());
        // An expired record is missing: none of it is kept.
        scope.set("part", json!({"n": 2})).unwrap();
        assert_eq!(scope.fetch("part").unwrap(), Some(json!({"id": "part", "n": 2, "m": null})));
        scope.clear().unwrap();
    }
}

fn clear_removes_nothing_else(server: &Server) {
    let (cache, prefix) = (server.cache(), &server.prefix);
    let mut other = server.other();
    let foreign = [
        prefix.clone(),
        format!("{prefix}:a"),
        format!("{prefix}:ab:x"),
        format!("{prefix}:a:x:y"),
        format!("{prefix}x:a:x"),
    ];
    foreign.iter().for_each(|name| other.ask(&["SET", name, "theirs"]));
    other.ask::<()>(&["RPUSH", &format!("{prefix}:a:list"), "theirs"]);
    let scope = cache.dynamic_with(numbers()).unwrap();
    scope.set_many((0..2_500).map(|n| (format!("k{n}"), json!({"n": n})))).unwrap();
    assert_eq!(scope.len().unwrap(), 2_500);
    assert_eq!(scope.keys().unwrap().filter(|key| key.is_ok()).count(), 2_500);
    scope.clear().unwrap();
    let mut expected = foreign.to_vec();
    expected.extend([format!("{prefix}::scopes"), format!("{prefix}:a:list")]);
    expected.sort();
    assert_eq!(other.names(prefix), expected);
}

/// If another program's record cannot be read, `pop` and `update` keep it.
fn unreadable_records_are_kept(server: &Server) {
    for (layout, at) in [("record", ":a:"), ("hash", ":a:"), ("plain", "")] {
        let uri = server.with(&format!("layout={layout}"));
        let scope = Cache::from_uri(&uri).unwrap().dynamic_with(numbers()).unwrap();
        let mut other = server.other();
        let name = |key: &str| format!("{}{at}{key}", server.prefix);
        other.ask::<()>(&["RPUSH", &name("list"), "x"]);
        other.ask::<()>(&["SADD", &name("set"), "x"]);
        match layout {
            "hash" => {
                other.ask::<()>(&["SET", &name("string"), "x"]);
                other.ask::<()>(&["HSET", &name("text"), "id", "what is this"]);
                other.ask::<()>(&["HSET", &name("theirs"), "id", "\"x\"", "n", "1"]);
            }
            "plain" => {
                other.ask::<()>(&["HSET", &name("hash"), "n", "1"]);
                other.ask::<()>(&["SET", &name("text"), "what is this"]);
            }
            _ => {
                other.ask::<()>(&["HSET", &name("hash"), "n", "1"]);
                other.ask::<()>(&["SET", &name("text"), "what is this"]);
                other.ask::<()>(&["SET", &name("theirs"), r#"{"id":"x","n":1}"#]);
            }
        }
        let names = other.names(&name(""));
        let dump = |other: &mut Other| -> Vec<Vec<u8>> {
            names.iter().map(|name| other.ask(&["DUMP", name])).collect()
        };
        let before = dump(&mut other);
        for key in ["list", "set", "string", "hash", "text", "theirs"] {
            if !names.contains(&name(key)) {
                continue;
            }
            scope.set("good", json!({"n": 7})).unwrap();
            for error in [
                scope.fetch(key).unwrap_err(),
                scope.pop(key).unwrap_err(),
                scope.pop_many(["good", key]).unwrap_err(),
                scope.update(key, json!({"n": 2})).unwrap_err(),
                scope.set(key, json!({})).unwrap_err(),
                scope.fetch_many(["good", key, "missing"]).unwrap_err(),
            ] {
                assert_eq!(error.kind(), hilcat::ErrorKind::InvalidData, "{layout} {key}: {error}");
                assert!(!error.to_string().contains("what is this"), "{error}");
            }
            assert_eq!(scope.fetch("good").unwrap(), Some(json!({"id": "good", "n": 7})));
            assert_eq!(dump(&mut other), before, "{layout} {key}");
        }
        let keys = (0..250).map(|n| n.to_string()).chain(["list".to_owned(), "good".to_owned()]);
        let error = scope.fetch_many(keys).unwrap_err();
        assert_eq!(error.kind(), hilcat::ErrorKind::InvalidData, "{error}");
        assert!(error.to_string().contains("`list`"), "{error}");
        names.iter().for_each(|name| other.ask(&["DEL", name]));
        scope.clear().unwrap();
    }
}

/// Records are popped and updated concurrently: each value is returned by one call only.
fn each_record_is_popped_once(server: &Server) {
    for layout in ["record", "hash"] {
        let uri = server.with(&format!("layout={layout}&timeout=30s"));
        let scope = Cache::from_uri(&uri).unwrap().dynamic_with(numbers()).unwrap();
        let (scope, next) = (&scope, &std::sync::atomic::AtomicI64::new(0));
        let n =
            |record: Option<serde_json::Value>| record.map(|record| record["n"].as_i64().unwrap());
        let work = |worker: usize| {
            move || {
                let mut given = Vec::new();
                for round in 0..60 {
                    let value = next.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                    given.extend(match (worker + round) % 3 {
                        0 => n(scope.pop("x").unwrap()),
                        1 => n(scope.pop_many(["x"]).unwrap().pop().flatten()),
                        _ => None,
                    });
                    given.extend(n(scope.update("x", json!({"n": value})).unwrap()));
                }
                given
            }
        };
        let mut given: Vec<i64> = std::thread::scope(|threads| {
            let workers: Vec<_> = (0..6).map(|worker| threads.spawn(work(worker))).collect();
            workers.into_iter().flat_map(|worker| worker.join().unwrap()).collect()
        });
        given.extend(n(scope.pop("x").unwrap()));
        given.sort_unstable();
        assert_eq!(given, (0..360).collect::<Vec<_>>(), "{layout}");
    }
}

/// After FLUSHDB, the next write registers the scope again.
fn scopes_survive_flushdb(server: &Server) {
    let cache = server.cache();
    let scope = cache.dynamic_with(numbers()).unwrap();
    scope.set("x", json!({"n": 1})).unwrap();
    let mut other = server.other();
    other.names(&server.prefix).iter().for_each(|name| other.ask(&["DEL", name]));
    assert!(cache.scopes().unwrap().is_empty());
    std::thread::sleep(SECOND / 5);
    scope.set("x", json!({"n": 2})).unwrap();
    assert_eq!(cache.scopes().unwrap(), ["a"]);
    assert_eq!(server.cache().dynamic_with(numbers()).unwrap().len().unwrap(), 1);
}

/// A list of another program appears under the name while the value is computed.
fn concurrent_keys_are_not_overwritten(server: &Server) {
    for options in ["", "layout=hash"] {
        let cache = Cache::from_uri(&server.with(options)).unwrap();
        let scope = cache.map::<i64, i64>("meanwhile").unwrap();
        let mut other = server.other();
        let name = format!("{}:meanwhile:1", server.prefix);
        let got = scope.get(1, || {
            other.ask::<i64>(&["RPUSH", &name, "theirs"]);
            10
        });
        let error = got.unwrap_err();
        assert_eq!(error.kind(), scope.fetch(1).unwrap_err().kind(), "{options}: {error}");
        assert_eq!(other.ask::<Vec<String>>(&["LRANGE", &name, "0", "-1"]), ["theirs"]);
        other.ask::<i64>(&["DEL", &name]);
    }
}
