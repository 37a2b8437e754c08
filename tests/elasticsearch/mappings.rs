//! Stored mappings. Released layouts must remain readable.

use std::sync::atomic::Ordering;
use std::thread;

use elasticsearch::http::Method;
use hilcat::{Cache, Column, ColumnType, ErrorKind, Migrate, Schema};
use serde_json::{Value as Json, json};

use crate::Test;
use crate::connect::Proxy;
use crate::support::{SECOND, Server, int, null, scope, text};

pub const TESTS: &[Test] = &[
    ("indices_have_every_type", indices_have_every_type),
    ("unchanged_scopes_take_one_request", unchanged_scopes_take_one_request),
    ("names_of_indices", names_of_indices),
    ("invalid_names_are_refused", invalid_names_are_refused),
    ("columns_are_added_and_renamed", columns_are_added_and_renamed),
    ("other_metadata_is_kept", other_metadata_is_kept),
    ("indices_of_other_scopes_are_refused", indices_of_other_scopes_are_refused),
    ("recreated_in_one_step", recreated_in_one_step),
    ("deleted_indices_are_recreated", deleted_indices_are_recreated),
    ("scopes_are_those_of_the_prefix", scopes_are_those_of_the_prefix),
    ("shards_and_replicas", shards_and_replicas),
    ("scopes_with_many_columns", scopes_with_many_columns),
    ("concurrent_openings", concurrent_openings),
    ("numbers_can_be_searched", numbers_can_be_searched),
];

fn every_type() -> Schema {
    use ColumnType as Ty;
    let types = [
        ("bool", Ty::Bool),
        ("smallint", Ty::SmallInt),
        ("int", Ty::Int),
        ("bigint", Ty::BigInt),
        ("ubigint", Ty::UBigInt),
        ("real", Ty::Real),
        ("double", Ty::Double),
        ("decimal", Ty::Decimal { precision: 10, scale: 2 }),
        ("text", Ty::Text),
        ("varchar", Ty::Varchar(50)),
        ("bytes", Ty::Bytes),
        ("json", Ty::Json),
        ("date", Ty::Date),
        ("time", Ty::Time),
        ("timestamp", Ty::Timestamp),
        ("uuid", Ty::Uuid),
    ];
    types
        .into_iter()
        .fold(scope([]), |schema, (name, ty)| schema.column(null(Column::new(name, ty))))
}

fn indices_have_every_type(server: &Server) {
    let schema = every_type().column(int("_n.m").default_value(7));
    let plan = server.cache().plan(&schema).unwrap();
    let index = format!("{}a@1", server.indices.prefix);
    let request = &plan.steps[0].sql[0];
    let (start, body) = request.split_once(" {").unwrap();
    assert_eq!(start, format!("PUT /{index}"));
    let body: Json = serde_json::from_str(&format!("{{{body}")).unwrap();
    let long = json!({"type": "long", "coerce": false});
    let double = json!({"type": "double", "coerce": false, "ignore_malformed": true});
    let near = json!({"type": "double", "ignore_malformed": true});
    let exact = json!({"type": "keyword", "fields": {"number": near}});
    let text = json!({"type": "keyword", "ignore_above": 8191});
    let word = json!({"type": "keyword"});
    let expected = json!({
        "aliases": {format!("{}a", server.indices.prefix): {}},
        "settings": {"number_of_replicas": 0},
        "mappings": {
            "dynamic": "strict",
            "_meta": {"hilcat": {
                "version": 1,
                "scope": "a",
                "table": "a",
                "fingerprint": schema.fingerprint(),
                "schema": schema.to_toml(),
                "fields": {},
                "fills": {},
            }},
            "properties": {
                "id": text,
                "bool": {"type": "boolean"},
                "smallint": long,
                "int": long,
                "bigint": long,
                "ubigint": exact,
                "real": double,
                "double": double,
                "decimal": exact,
                "text": text,
                "varchar": text,
                "bytes": {"type": "binary"},
                "json": {"type": "object", "enabled": false},
                "date": {"type": "date", "format": "strict_date"},
                "time": word,
                "timestamp": {"type": "date", "format": "strict_date_optional_time_nanos"},
                "uuid": word,
                "%5fn%2em": long,
            },
        },
    });
    assert_eq!(body, expected);
    assert_eq!(server.cache().migrate(&schema).unwrap(), plan);
    assert!(server.cache().plan(&schema).unwrap().is_empty());
    assert_eq!(server.indices.names(), [index]);
    assert_eq!(server.mappings("a")["_meta"], expected["mappings"]["_meta"]);
}

/// The mapping contains the schema, so that nothing is compared; all scopes are read in one
/// request.
fn unchanged_scopes_take_one_request(server: &Server) {
    let schema = |n: usize| Schema::new(format!("s{n}")).unique(text("id")).column(int("n"));
    let cache = server.cache();
    (0..5).for_each(|n| drop(cache.dynamic_with(schema(n)).unwrap()));
    let before: Vec<Json> = (0..5).map(|n| server.mappings(&format!("s{n}"))).collect();
    let proxy = Proxy::open(server);
    let asked = || proxy.requests.load(Ordering::Relaxed);
    let cache = Cache::from_uri(&proxy.uri).unwrap();
    (0..5).for_each(|n| drop(cache.dynamic_with(schema(n)).unwrap()));
    assert_eq!(asked(), 2, "one when it was opened, one for all scopes");
    // A scope that is opened again is looked up.
    let other = schema(1).column(null(int("m")));
    cache.dynamic_with(other).unwrap();
    // The older schema remains usable.
    cache.dynamic_with(schema(1).ttl(SECOND)).unwrap();
    let retyped = Schema::new("s1").unique(text("id")).column(text("n"));
    assert_eq!(cache.dynamic_with(retyped).unwrap_err().kind(), ErrorKind::SchemaChange);
    assert!(asked() > 4);
    let reordered = Schema::new("s0").column(int("n")).unique(text("id"));
    cache.dynamic_with(reordered).unwrap().set("x", json!({"n": 1})).unwrap();
    assert_eq!(server.mappings("s0"), before[0], "the order of columns does not matter");
}

fn names_of_indices(server: &Server) {
    let cache = server.cache();
    for (scope, name) in
        [("Flights 1", "%46lights%201"), ("-x", "-x"), ("a@1", "a%401"), ("\u{540d}", "\u{540d}")]
    {
        let schema = Schema::new(scope).unique(text("id")).column(int("n"));
        cache.dynamic_with(schema).unwrap().set("x", json!({"n": 1})).unwrap();
        assert_eq!(server.get(&format!("{}/_doc/x", server.name(name)))["_source"]["n"], 1);
    }
    assert_eq!(cache.scopes().unwrap(), ["-x", "Flights 1", "a@1", "\u{540d}"]);
}

fn invalid_names_are_refused(server: &Server) {
    let schema = |name: String| Schema::new(name).unique(text("id")).column(int("n"));
    let error = server.cache().dynamic_with(schema("x".repeat(250))).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
    let error = server.cache().dynamic_with(schema("X".repeat(80))).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
    assert!(server.indices.names().is_empty());
    let longest = "x".repeat(238 - server.indices.prefix.len());
    server.cache().dynamic_with(schema(longest)).unwrap().set("x", json!({"n": 1})).unwrap();
}

fn columns_are_added_and_renamed(server: &Server) {
    let old = scope([int("n"), null(text("name"))]);
    let a = server.cache().dynamic_with(old).unwrap();
    a.set("x", json!({"n": 1, "name": "one"})).unwrap();
    let new = scope([
        Column::new("n", ColumnType::BigInt),
        null(text("title")).was("name"),
        text("name").default_value("first"),
    ]);
    let plan = server.cache().migrate(&new).unwrap();
    assert_eq!(plan.steps.len(), 3, "{plan}");
    assert!(plan.steps[0].sql[0].contains("/_mapping {"), "{plan}");
    assert!(plan.steps[1].sql.is_empty(), "{plan}");
    let mappings = server.mappings("a");
    assert_eq!(mappings["properties"]["title"], json!({"type": "alias", "path": "name"}));
    assert_eq!(mappings["properties"]["name%-2"]["type"], "keyword");
    let b = server.cache().dynamic_with(new.clone()).unwrap();
    let before = json!({"id": "x", "n": 1, "title": "one", "name": "first"});
    assert_eq!(b.fetch("x").unwrap(), Some(before));
    // The document itself has not changed.
    let stored = server.get(&format!("{}/_doc/x", server.name("a")));
    assert_eq!((&stored["_version"], &stored["_source"]["name"]), (&json!(1), &json!("one")));
    // A later change of the default does not affect older documents.
    let mut newer = new;
    newer.columns_mut()[3].default = Some("second".into());
    let c = server.cache().dynamic_with(newer).unwrap();
    assert_eq!(c.fetch("x").unwrap().unwrap()["name"], "first");
    c.set("y", json!({"n": 2})).unwrap();
    assert_eq!(b.fetch("y").unwrap().unwrap()["name"], "second");
    // A handle from before the changes still works, and changes only its own columns.
    a.set("y", json!({"name": "two"})).unwrap();
    let after = json!({"id": "y", "n": 2, "title": "two", "name": "second"});
    assert_eq!(b.fetch("y").unwrap(), Some(after));
}

fn other_metadata_is_kept(server: &Server) {
    let a = server.cache().dynamic_with(scope([text("n")])).unwrap();
    let mut meta = server.mappings("a")["_meta"].clone();
    meta["owner"] = json!("us");
    let path = format!("{}/_mapping", server.name("a"));
    let fields = json!({"words": {"type": "text"}});
    let field = json!({"type": "keyword", "ignore_above": 8191, "fields": fields});
    server.put(&path, json!({"_meta": meta, "properties": {"n": field}}));
    server.cache().dynamic_with(scope([text("n"), null(int("m"))])).unwrap();
    for _ in 0..2 {
        let mappings = server.mappings("a");
        assert_eq!(mappings["_meta"]["owner"], "us");
        assert_eq!(mappings["properties"]["n"]["fields"], fields);
        assert_eq!(mappings["properties"]["m"]["type"], "long");
        a.clear().unwrap();
    }
}

fn indices_of_other_scopes_are_refused(server: &Server) {
    let cache = server.cache();
    cache.dynamic_with(scope([int("n")])).unwrap();
    let other = scope([int("n")]).table("a").renamed("b");
    let error = cache.dynamic_with(other).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidSchema, "{error}");
    assert!(error.to_string().contains("the scope `a`"), "{error}");
    // Metadata of a later release is not changed.
    let mut meta = server.mappings("a")["_meta"].clone();
    meta["hilcat"]["version"] = json!(2);
    server.put(&format!("{}/_mapping", server.name("a")), json!({"_meta": meta}));
    let error = server.cache().dynamic_with(scope([int("n")])).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
}

fn recreated_in_one_step(server: &Server) {
    let cache = server.cache();
    let a = cache.dynamic_with(scope([int("n")])).unwrap();
    a.set_many((0..100).map(|n| (n.to_string(), json!({"n": n})))).unwrap();
    a.clear().unwrap();
    assert_eq!((a.len().unwrap(), server.indices.names().len()), (0, 1));
    a.set("x", json!({"n": 1})).unwrap();
    let new = scope([text("n")]).migrate(Migrate::Recreate);
    let b = server.cache().dynamic_with(new).unwrap();
    assert_eq!((b.len().unwrap(), server.indices.names().len()), (0, 1));
    b.set("x", json!({"n": "one"})).unwrap();
    // An older handle writes nothing that the new schema would misread, and misreads nothing.
    let error = a.set("y", json!({"n": 1})).map(|()| b.fetch("y")).unwrap_or_else(Err);
    assert!(error.is_err(), "{error:?}");
    assert_eq!(a.fetch("x").unwrap_err().column(), Some("n"));
    assert_eq!(b.fetch("x").unwrap(), Some(json!({"id": "x", "n": "one"})));
}

fn deleted_indices_are_recreated(server: &Server) {
    let a = server.cache().dynamic_with(scope([int("n")])).unwrap();
    let calls: [fn(&hilcat::DynScope) -> hilcat::Result<()>; 7] = [
        |a| a.set("x", json!({"n": 1})),
        |a| a.fetch("x").map(|found| assert_eq!(found, None)),
        |a| a.set_many([("x", json!({"n": 1}))]).map(drop),
        |a| a.pop_many(["x"]).map(drop),
        |a| a.update("x", json!({"n": 1})).map(drop),
        |a| a.keys().map(|keys| assert_eq!(keys.count(), 0)),
        |a| a.len().map(|len| assert_eq!(len, 0)),
    ];
    for call in calls {
        a.set("z", json!({"n": 1})).unwrap();
        let index = server.indices.names().pop().unwrap();
        let index = index.strip_prefix(&server.indices.prefix).unwrap().to_owned();
        server.ask(Method::Delete, &server.name(&index), None);
        call(&a).unwrap();
        let mappings = server.mappings("a");
        assert_eq!(
            mappings["dynamic"], "strict",
            "the index was not created by the write: {mappings}"
        );
    }
}

fn scopes_are_those_of_the_prefix(server: &Server) {
    let cache = server.cache();
    cache.dynamic_with(scope([int("n")])).unwrap();
    server
        .put(&server.name("others"), json!({"mappings": {"properties": {"n": {"type": "long"}}}}));
    // A cache with a longer prefix has its own scopes.
    let uri = server.indices.uri("").replace("prefix=", "xprefix=");
    let uri = uri
        .replace("xprefix=", "prefix=")
        .replace(&server.indices.prefix, &format!("{}b-", server.indices.prefix));
    let longer = Cache::from_uri(&uri).unwrap();
    longer.dynamic_with(Schema::new("c").unique(text("id")).column(int("n"))).unwrap();
    assert_eq!(cache.scopes().unwrap(), ["a"]);
    assert_eq!(longer.scopes().unwrap(), ["c"]);
}

fn shards_and_replicas(server: &Server) {
    server.with("shards=2").dynamic_with(scope([int("n")])).unwrap();
    let settings = || {
        let found = server.get(&format!("{}/_settings", server.name("a")));
        let index = found.as_object().unwrap().values().next().unwrap().clone();
        let index = &index["settings"]["index"];
        (index["number_of_shards"].clone(), index["number_of_replicas"].clone())
    };
    assert_eq!(settings(), (json!("2"), json!("0")));
    // Clearing the scope with other settings keeps those of the index.
    let a = server.cache().dynamic_with(scope([int("n")])).unwrap();
    a.set_many((0..50).map(|n| (n.to_string(), json!({"n": n})))).unwrap();
    assert_eq!((a.len().unwrap(), a.iter().unwrap().count()), (50, 50));
    a.clear().unwrap();
    assert_eq!(settings(), (json!("2"), json!("0")));
}

/// By default an index is limited to 1,000 fields.
fn scopes_with_many_columns(server: &Server) {
    let column = |n: usize| null(Column::new(format!("c{n}"), ColumnType::UBigInt));
    let a = server.cache().dynamic_with(scope((0..1_200).map(column))).unwrap();
    a.set("x", json!({"c1199": u64::MAX})).unwrap();
    let a = server.cache().dynamic_with(scope((0..1_210).map(column))).unwrap();
    a.set("x", json!({"c1209": 1})).unwrap();
    let found = a.fetch("x").unwrap().unwrap();
    assert_eq!((&found["c1199"], &found["c1209"]), (&json!(u64::MAX), &json!(1)));
}

/// Concurrent creation, migration and clearing: no errors, and every acknowledged write is kept.
fn concurrent_openings(server: &Server) {
    let wider = || scope([int("n"), null(int("m"))]);
    for round in 0..3 {
        let start = std::sync::Barrier::new(6);
        thread::scope(|threads| {
            for n in 0..6 {
                let start = &start;
                threads.spawn(move || {
                    let cache = server.cache();
                    start.wait();
                    let a = cache.dynamic_with(wider()).unwrap();
                    a.set(n.to_string(), json!({"n": round, "m": n})).unwrap();
                    if n % 3 == 0 {
                        a.clear().unwrap();
                    }
                    a.set(format!("last {n}"), json!({"n": round, "m": n})).unwrap();
                });
            }
        });
        assert_eq!(server.indices.names().len(), 1);
        let a = server.cache().dynamic_with(wider()).unwrap();
        // The last thread that cleared the scope wrote after that.
        let last = a.fetch_many(["last 0", "last 3"]).unwrap();
        assert!(last.iter().any(Option::is_some));
        assert_eq!(a.len().unwrap(), a.iter().unwrap().count() as u64);
    }
}

/// Other programs search by type.
fn numbers_can_be_searched(server: &Server) {
    let schema = every_type();
    let a = server.cache().dynamic_with(schema).unwrap();
    let row = |n: u64, price: &str, seen: &str| json!({"int": n, "ubigint": u64::MAX - n, "decimal": price, "timestamp": seen, "double": {"$float": "NaN"}});
    a.set("x", row(9, "9.50", "2013-01-31T05:15:00.000001Z")).unwrap();
    a.set("y", row(10, "10.25", "0001-01-01T00:00:00Z")).unwrap();
    assert_eq!(a.len().unwrap(), 2);
    for query in [
        json!({"range": {"int": {"lt": 10}}}),
        json!({"range": {"decimal.number": {"lt": 10}}}),
        json!({"term": {"ubigint": u64::MAX - 9}}),
        json!({"range": {"timestamp": {"gte": "2000-01-01"}}}),
        json!({"term": {"id": "x"}}),
    ] {
        let path = format!("{}/_search", server.name("a"));
        let found = server.ask(Method::Post, &path, Some(json!({"query": query})));
        let hits = found["hits"]["hits"].as_array().unwrap();
        assert_eq!((hits.len(), &hits[0]["_id"]), (1, &json!("x")), "{query}");
    }
}
