//! The plain layout: keys and values shared with the Python package.

use hilcat::{Cache, Column, ColumnType, ErrorKind, MapScope, Schema};
use serde_json::json;

use crate::Test;
use crate::support::Server;

pub(crate) const TESTS: &[Test] = &[
    ("values_of_the_python_package_are_read", values_of_the_python_package_are_read),
    ("values_are_written_like_by_python", values_are_written_like_by_python),
    ("a_cache_has_one_scope", a_cache_has_one_scope),
    ("unsupported_schemas_are_refused", unsupported_schemas_are_refused),
    ("keys_are_bare", keys_are_bare),
];

/// With a prefix, since otherwise every key of the database would belong to the scope.
fn open(server: &Server) -> Cache {
    Cache::from_uri(&server.with("layout=plain")).unwrap()
}

fn values_of_the_python_package_are_read(server: &Server) {
    // The bytes that `RedisCache.set` sends for 5, "5", 0.1, 1e16, float("nan"), b"\x00\xff" and
    // "é".
    let mut other = server.other();
    let mut set = |key: &str, value: &str| {
        other.ask::<()>(&["SET", &format!("{}{key}", server.prefix), value]);
    };
    [("i", "5"), ("f", "0.1"), ("big", "1e+16"), ("nan", "nan"), ("inf", "-inf"), ("t", "\u{e9}")]
        .into_iter()
        .for_each(|(key, value)| set(key, value));
    let of = |name: &str| open(server).map::<String, f64>(name).unwrap();
    let floats = of("floats");
    assert_eq!(floats.fetch("f").unwrap(), Some(0.1));
    assert_eq!(floats.fetch("i").unwrap(), Some(5.0));
    assert_eq!(floats.fetch("big").unwrap(), Some(1e16));
    assert!(floats.fetch("nan").unwrap().unwrap().is_nan());
    assert_eq!(floats.fetch("inf").unwrap(), Some(f64::NEG_INFINITY));
    let error = floats.fetch("t").unwrap_err();
    assert_eq!((error.kind(), error.column()), (ErrorKind::InvalidData, Some("value")), "{error}");
    let ints: MapScope<String, i64> = open(server).map("ints").unwrap();
    assert_eq!(ints.fetch("i").unwrap(), Some(5));
    assert_eq!(ints.fetch("f").unwrap_err().kind(), ErrorKind::InvalidData);
    let texts: MapScope<String, String> = open(server).map("texts").unwrap();
    assert_eq!(
        texts.fetch_many(["t", "i", "no"]).unwrap(),
        [Some("\u{e9}".into()), Some("5".into()), None]
    );
    let bytes: MapScope<String, Vec<u8>> = open(server).map("bytes").unwrap();
    assert_eq!(bytes.pop("t").unwrap(), Some(vec![0xc3, 0xa9]));
    assert_eq!(bytes.len().unwrap(), 5);
}

fn values_are_written_like_by_python(server: &Server) {
    let mut other = server.other();
    let mut raw =
        |key: &str| -> Vec<u8> { other.ask(&["GET", &format!("{}{key}", server.prefix)]) };
    open(server).map::<String, i64>("m").unwrap().set("i", &-7).unwrap();
    assert_eq!(raw("i"), b"-7");
    let texts = open(server).map::<String, String>("m").unwrap();
    texts.set("t", &"\u{e9} \n".to_owned()).unwrap();
    assert_eq!(raw("t"), "\u{e9} \n".as_bytes());
    assert_eq!(texts.update("t", &"OK".to_owned()).unwrap(), Some("\u{e9} \n".into()));
    assert_eq!(texts.fetch("t").unwrap(), Some("OK".into()));
    open(server).map::<String, Vec<u8>>("m").unwrap().set("b", &vec![0, 255]).unwrap();
    assert_eq!(raw("b"), [0, 255]);
    open(server).map::<String, f64>("m").unwrap().set_many([("f", 0.1), ("g", 1e300)]).unwrap();
    assert_eq!((raw("f"), raw("g")), (b"0.1".to_vec(), b"1e300".to_vec()));
    // Python reads `b"1e300"` as 1e300.
    assert_eq!(open(server).scopes().unwrap(), [] as [&str; 0]);
}

fn a_cache_has_one_scope(server: &Server) {
    let cache = open(server);
    let scope = cache.map::<String, i64>("one").unwrap();
    scope.set("x", &1).unwrap();
    assert_eq!(cache.scopes().unwrap(), ["one"]);
    let error = cache.map::<String, i64>("two").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidConfig, "{error}");
    let elsewhere = format!("{}&db=5", server.with("layout=plain"));
    let other = Cache::from_uri(&elsewhere).unwrap().map::<String, i64>("two").unwrap();
    assert_eq!(other.fetch("x").unwrap(), None);
}

fn unsupported_schemas_are_refused(server: &Server) {
    let cache = open(server);
    let wide = Schema::new("w")
        .unique(Column::new("id", ColumnType::Text))
        .column(Column::new("a", ColumnType::Int))
        .column(Column::new("b", ColumnType::Int));
    assert_eq!(cache.dynamic_with(wide).unwrap_err().kind(), ErrorKind::Unsupported);
    let one = Schema::new("n")
        .unique(Column::new("id", ColumnType::Text))
        .column(Column::new("v", ColumnType::Int).nullable(true));
    let scope = cache.dynamic_with(one).unwrap();
    scope.set("x", json!({"v": 1})).unwrap();
    let error = scope.set_many([("x", json!({"v": 2})), ("y", json!({"v": null}))]).unwrap_err();
    assert_eq!((error.kind(), error.column()), (ErrorKind::Unsupported, Some("v")), "{error}");
    // A partial write leaves the column out.
    scope.set("x", json!({})).unwrap();
    assert_eq!(scope.fetch("x").unwrap(), Some(json!({"id": "x", "v": 1})));
}

fn keys_are_bare(server: &Server) {
    let cache = open(server);
    let scope = cache.map::<String, i64>("m").unwrap();
    let odd = ["", "a:b", "{x}", "%41", "\n", "*"];
    scope.set_many(odd.map(|key| (key, 1))).unwrap();
    let mut other = server.other();
    // A key of another type does not belong to the scope.
    other.ask::<()>(&["RPUSH", &format!("{}list", server.prefix), "x"]);
    let mut names = other.names(&server.prefix);
    names.retain(|name| !name.ends_with("list"));
    let mut expected = odd.map(|key| format!("{}{key}", server.prefix)).to_vec();
    expected.sort();
    assert_eq!(names, expected);
    let mut keys = scope.keys().unwrap().collect::<hilcat::Result<Vec<_>>>().unwrap();
    keys.sort();
    let mut expected = odd.to_vec();
    expected.sort();
    assert_eq!(keys, expected);
    scope.clear().unwrap();
    assert_eq!(other.names(&server.prefix), [format!("{}list", server.prefix)]);
}
