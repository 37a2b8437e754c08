//! Stored documents. Released formats must remain readable.

use elasticsearch::http::Method;
use hilcat::{Column, ColumnType, ErrorKind, Schema};
use serde_json::{Value as Json, json};

use crate::Test;
use crate::support::{Server, int, null, scope, text};

pub const TESTS: &[Test] = &[
    ("documents_have_every_type", documents_have_every_type),
    ("ids_are_made_from_keys", ids_are_made_from_keys),
    ("json_objects_are_replaced_and_not_merged", json_objects_are_replaced_and_not_merged),
    ("texts_of_any_length", texts_of_any_length),
    ("oversized_records_are_refused_in_advance", oversized_records_are_refused_in_advance),
    ("invalid_documents_are_reported", invalid_documents_are_reported),
    ("writes_are_seen_by_others_as_asked", writes_are_seen_by_others_as_asked),
    ("listings_release_their_state", listings_release_their_state),
];

fn source(server: &Server, table: &str, id: &str) -> Json {
    let id = percent_encoding::utf8_percent_encode(id, percent_encoding::NON_ALPHANUMERIC);
    server.get(&format!("{}/_doc/{id}", server.name(table)))["_source"].clone()
}

fn documents_have_every_type(server: &Server) {
    use ColumnType as Ty;
    let columns = [
        ("bool", Ty::Bool, json!(true), json!(true)),
        ("small", Ty::SmallInt, json!(-32768), json!(-32768)),
        ("big", Ty::BigInt, json!(i64::MIN), json!(i64::MIN)),
        ("ubig", Ty::UBigInt, json!(u64::MAX), json!(u64::MAX)),
        ("real", Ty::Real, json!(0.5), json!(0.5)),
        ("double", Ty::Double, json!(0.1), json!(0.1)),
        ("nan", Ty::Double, json!({"$float": "NaN"}), json!("NaN")),
        ("infinity", Ty::Double, json!({"$float": "-Infinity"}), json!("-Infinity")),
        ("price", Ty::Decimal { precision: 10, scale: 2 }, json!("-12.50"), json!("-12.50")),
        ("text", Ty::Text, json!("007"), json!("007")),
        ("bytes", Ty::Bytes, json!({"$bytes": "AP8n"}), json!("AP8n")),
        ("json", Ty::Json, json!({"": [null, {"a.b": 1}]}), json!({"": [null, {"a.b": 1}]})),
        ("date", Ty::Date, json!("0001-01-01"), json!("0001-01-01")),
        ("time", Ty::Time, json!("23:59:59.999999"), json!("23:59:59.999999")),
        (
            "at",
            Ty::Timestamp,
            json!("9999-12-31T23:59:59.999999Z"),
            json!("9999-12-31T23:59:59.999999Z"),
        ),
        (
            "uuid",
            Ty::Uuid,
            json!("67e55044-10b1-426f-9247-bb680e5fe0c8"),
            json!("67e55044-10b1-426f-9247-bb680e5fe0c8"),
        ),
        ("nothing", Ty::Text, json!(null), json!(null)),
    ];
    let column = |(name, ty, ..): &(&str, Ty, Json, Json)| null(Column::new(*name, *ty));
    let a = server.cache().dynamic_with(scope(columns.iter().map(column))).unwrap();
    let object = |pick: fn(&(&str, Ty, Json, Json)) -> Json| {
        let members = columns.iter().map(|column| (column.0.to_owned(), pick(column)));
        Json::Object([("id".to_owned(), json!("x"))].into_iter().chain(members).collect())
    };
    a.set("x", object(|column| column.2.clone())).unwrap();
    assert_eq!(source(server, "a", "x"), object(|column| column.3.clone()));
    assert_eq!(a.fetch("x").unwrap(), Some(object(|column| column.2.clone())));
    // Read again after the server has merged an update into the document.
    a.set("x", json!({"nothing": "something"})).unwrap();
    a.set("x", json!({"nothing": null})).unwrap();
    assert_eq!(a.fetch("x").unwrap(), Some(object(|column| column.2.clone())));
}

fn ids_are_made_from_keys(server: &Server) {
    let cache = server.cache();
    let pairs = Schema::new("pairs").unique(text("a")).unique(int("b")).column(int("n"));
    cache.dynamic_with(pairs).unwrap().set(("a,b/%", 7), json!({"n": 1})).unwrap();
    assert_eq!(source(server, "pairs", "a%2cb/%25,7")["n"], 1);
    let a = cache.dynamic_with(scope([int("n")])).unwrap();
    for (key, id) in [("", "%"), ("..", "%2e."), ("\u{e9} {x}", "\u{e9} {x}"), ("_id", "_id")] {
        a.set(key, json!({"n": 1})).unwrap();
        assert_eq!(source(server, "a", id)["id"], key);
    }
    let long = "k".repeat(2_700);
    a.set(long.as_str(), json!({"n": 2})).unwrap();
    assert!(a.iter().unwrap().any(|row| row.unwrap()["id"] == long.as_str()));
    let path = format!("{}/_search", server.name("a"));
    let query = json!({"query": {"term": {"id": long}}, "_source": false});
    let found = server.ask(Method::Post, &path, Some(query));
    let id = found["hits"]["hits"][0]["_id"].as_str().unwrap().to_owned();
    let (start, digest) = id.split_once("%sha256:").unwrap();
    assert_eq!((start, digest.len()), (&*"k".repeat(160), 64));
    assert_eq!(source(server, "a", &id)["id"], long.as_str());
}

fn json_objects_are_replaced_and_not_merged(server: &Server) {
    let j = null(Column::new("j", ColumnType::Json));
    let a = server.cache().dynamic_with(scope([j, null(int("n"))])).unwrap();
    a.set("x", json!({"j": {"a": 1, "deep": {"b": 2}}, "n": 1})).unwrap();
    a.set("x", json!({"j": {"deep": {"c": 3}}})).unwrap();
    assert_eq!(a.fetch("x").unwrap(), Some(json!({"id": "x", "j": {"deep": {"c": 3}}, "n": 1})));
    a.set_many([("x", json!({"j": {}})), ("y", json!({"j": {"a": {}}}))]).unwrap();
    a.set_many([("y", json!({"j": {"b": {}}, "n": 2}))]).unwrap();
    assert_eq!(a.fetch("x").unwrap(), Some(json!({"id": "x", "j": {}, "n": 1})));
    assert_eq!(a.fetch("y").unwrap(), Some(json!({"id": "y", "j": {"b": {}}, "n": 2})));
    let old = a.update("y", json!({"j": {"c": 1}})).unwrap();
    assert_eq!(old, Some(json!({"id": "y", "j": {"b": {}}, "n": 2})));
    assert_eq!(a.fetch("y").unwrap(), Some(json!({"id": "y", "j": {"c": 1}, "n": 2})));
}

/// A term of the index is limited to 32,766 bytes, but texts may be longer.
fn texts_of_any_length(server: &Server) {
    let a = server.cache().dynamic_with(scope([text("t")])).unwrap();
    for length in [8_190, 8_191, 8_192, 32_766, 32_767, 100_000] {
        let long = "\u{540d}".repeat(length);
        a.set("x", json!({"t": long})).unwrap();
        assert_eq!(a.fetch("x").unwrap(), Some(json!({"id": "x", "t": long})));
        a.set_many([(long.as_str(), json!({"t": "key"}))]).unwrap();
        assert_eq!(a.pop(long.as_str()).unwrap(), Some(json!({"id": long, "t": "key"})));
    }
}

fn oversized_records_are_refused_in_advance(server: &Server) {
    let j = null(Column::new("j", ColumnType::Json));
    let a = server.cache().dynamic_with(scope([j, null(text("t"))])).unwrap();
    let deep = (0..121).fold(json!(0), |inner, _| json!([inner]));
    let long = "x".repeat(51 << 20);
    for value in [json!({"j": deep}), json!({"t": long})] {
        for error in [
            a.set("x", value.clone()).unwrap_err(),
            a.update("x", value.clone()).unwrap_err(),
            a.set_many([("y", json!({"t": "fine"})), ("x", value)]).map(drop).unwrap_err(),
        ] {
            assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
            assert!(error.to_string().len() < 400, "{error}");
        }
    }
    assert_eq!(a.len().unwrap(), 0);
    let fine = (0..120).fold(json!(0), |inner, _| json!([inner]));
    a.set("x", json!({"j": fine})).unwrap();
    assert_eq!(a.fetch("x").unwrap().unwrap()["j"], fine);
}

/// Another program overwrites hilcat's own documents.
fn invalid_documents_are_reported(server: &Server) {
    let cache = server.cache();
    let a = cache.dynamic_with(scope([null(int("n")), text("t")])).unwrap();
    let path = |id: &str| format!("{}/_doc/{id}?refresh=true", server.name("a"));
    server.put(&path("x"), json!({"id": "x", "n": 3_000_000_000_u64, "t": "a"}));
    server.put(&path("y"), json!({"id": "y", "n": [1, 2], "t": "a"}));
    server.put(&path("z"), json!({"id": "z", "n": 1}));
    for (key, column) in [("x", "n"), ("y", "n"), ("z", "t")] {
        let errors = [
            a.fetch(key).unwrap_err(),
            a.fetch_many([key]).unwrap_err(),
            a.pop(key).unwrap_err(),
            a.pop_many([key]).unwrap_err(),
            a.update(key, json!({"n": 1, "t": "b"})).unwrap_err(),
        ];
        for error in errors {
            let told = (error.kind(), error.column());
            assert_eq!(told, (ErrorKind::InvalidData, Some(column)), "{error}");
            assert!(error.to_string().contains(&format!("key `{key}`")), "{error}");
        }
    }
    assert_eq!(a.iter().unwrap().filter(Result::is_err).count(), 3);
    assert_eq!(a.len().unwrap(), 3, "nothing was removed");
    // A field that the mapping lacks cannot be written by any program.
    let (status, _) =
        server.indices.send(Method::Put, &path("w"), Some(json!({"id": "w", "m": 1})));
    assert_eq!(status, 400);
}

fn writes_are_seen_by_others_as_asked(server: &Server) {
    let count = |table: &str| {
        server.get(&format!("{}/_count", server.name(table)))["count"].as_u64().unwrap()
    };
    // The index is refreshed only on request.
    let slow = |table: &str| {
        let settings = json!({"index": {"refresh_interval": "-1"}});
        server.put(&format!("{}/_settings", server.name(table)), settings);
    };
    let a = server.cache().dynamic_with(scope([int("n")])).unwrap();
    slow("a");
    a.set("x", json!({"n": 1})).unwrap();
    a.set_many([("y", json!({"n": 1}))]).unwrap();
    assert_eq!(count("a"), 0);
    assert_eq!(a.len().unwrap(), 2, "hilcat's own listings include all records");
    assert_eq!(count("a"), 2);
    let b = server.with("refresh=true").dynamic_with(scope([int("n")])).unwrap();
    b.set("z", json!({"n": 1})).unwrap();
    assert_eq!(count("a"), 3);
    b.set_many([("u", json!({"n": 1}))]).unwrap();
    assert_eq!(count("a"), 4);
    b.pop("u").unwrap();
    assert_eq!(count("a"), 3);
    server.put(
        &format!("{}/_settings", server.name("a")),
        json!({"index": {"refresh_interval": "50ms"}}),
    );
    let c = server.with("refresh=wait_for").dynamic_with(scope([int("n")])).unwrap();
    c.set("v", json!({"n": 1})).unwrap();
    assert_eq!(count("a"), 4);
}

/// Dropped and exhausted listings release their state in the server.
fn listings_release_their_state(server: &Server) {
    let a = server.cache().dynamic_with(scope([int("n")])).unwrap();
    a.set_many((0..200).map(|n| (n.to_string(), json!({"n": n})))).unwrap();
    let open = || {
        let stats = server.get(&format!("{}/_stats/search", server.name("a")));
        stats["_all"]["primaries"]["search"]["open_contexts"].as_u64().unwrap()
    };
    let mut left = a.iter().unwrap();
    left.next().unwrap().unwrap();
    let mut right = a.keys().unwrap();
    right.next().unwrap().unwrap();
    assert_eq!(open(), 2);
    assert_eq!(left.count(), 199);
    drop(right);
    let start = std::time::Instant::now();
    while open() > 0 {
        assert!(start.elapsed() < crate::support::SECOND * 10);
        std::thread::sleep(crate::support::SECOND / 50);
    }
}
