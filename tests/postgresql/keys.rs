//! Keys that are longer than an index entry.

use hilcat::{Cache, Column, ColumnType, DynScope, ErrorKind, Key, Migrate, Schema, Value};
use serde_json::json;

use crate::Test;
use crate::support::{Server, int, null, scope, text};

pub(crate) const TESTS: &[Test] = &[
    ("keys_of_any_length", keys_of_any_length),
    ("short_keys_are_stored_in_clear", short_keys_are_stored_in_clear),
    ("long_keys_in_pairs", long_keys_in_pairs),
    ("long_keys_of_bytes", long_keys_of_bytes),
    ("keys_of_other_programs_are_read_or_refused", keys_of_other_programs_are_read_or_refused),
    ("a_key_column_is_widened", a_key_column_is_widened),
    ("an_older_table_is_upgraded", an_older_table_is_upgraded),
    ("a_table_of_another_program_is_unchanged", a_table_of_another_program_is_unchanged),
    ("names_of_scopes_in_one_table", names_of_scopes_in_one_table),
    ("a_short_key_has_no_auxiliary_column", a_short_key_has_no_auxiliary_column),
];

/// Returns text that PostgreSQL cannot compress.
fn noise(length: usize) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let letter = |_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        char::from(LETTERS[(state >> 32) as usize % 64])
    };
    (0..length).map(letter).collect()
}

/// Returns two keys that differ only in their last character.
fn twins(length: usize) -> [String; 2] {
    ["1", "2"].map(|end| noise(length - 1) + end)
}

fn keys_of_any_length(server: &Server) {
    let a = server.cache().dynamic_with(scope([null(int("n"))])).unwrap();
    for length in [1, 2_047, 2_048, 2_049, 2_692, 2_700, 10_000, 100_000] {
        every_call(&a, &twins(length));
        every_call(
            &a,
            &["é", "ü"].map(|end| noise(length % 64) + &"\u{20ac}".repeat(length / 3) + end),
        );
    }
}

fn every_call(a: &DynScope, [x, y]: &[String; 2]) {
    let (x, y) = (x.as_str(), y.as_str());
    let record = |id: &str, n: i32| json!({"id": id, "n": n});
    a.set(x, json!({"n": 1})).unwrap();
    assert!(a.exists(x).unwrap() && !a.exists(y).unwrap());
    assert_eq!(a.update(y, json!({"n": 2})).unwrap(), None);
    assert_eq!(a.update(y, json!({})).unwrap(), Some(record(y, 2)));
    a.set(x, json!({})).unwrap();
    assert_eq!(a.get(x, || unreachable!()).unwrap(), record(x, 1));
    a.set_many([(x, json!({"n": 3})), (y, json!({"n": 4})), (x, json!({"n": 5}))]).unwrap();
    let found = [Some(record(y, 4)), None, Some(record(x, 5)), Some(record(y, 4))];
    assert_eq!(a.fetch_many([y, "-", x, y]).unwrap(), found);
    let mut keys: Vec<_> =
        a.keys().unwrap().map(|key| key.unwrap().as_str().unwrap().to_owned()).collect();
    keys.sort();
    let mut expected = vec![x.to_owned(), y.to_owned()];
    expected.sort();
    assert_eq!(keys, expected);
    assert_eq!(a.pop(x).unwrap(), Some(record(x, 5)));
    assert_eq!(a.pop_many([x, y, y]).unwrap(), [None, Some(record(y, 4)), None]);
    assert_eq!(a.len().unwrap(), 0);
}

fn short_keys_are_stored_in_clear(server: &Server) {
    let a = server.cache().dynamic_with(scope([int("n")])).unwrap();
    let (short, long) = (noise(2_047), noise(2_048));
    a.set_many([(short.as_str(), json!({"n": 1})), (long.as_str(), json!({"n": 2}))]).unwrap();
    assert_eq!(server.query("SELECT id FROM a WHERE n = 1 AND hilcat_whole_1 IS NULL"), [short]);
    assert_eq!(
        server.query("SELECT hilcat_whole_1 FROM a WHERE n = 2"),
        std::slice::from_ref(&long)
    );
    let substitute = &server.query("SELECT id FROM a WHERE n = 2")[0];
    assert_eq!((substitute.len(), &substitute[..1_984]), (2_048, &long[..1_984]));
    // The substitute of one key can be another key.
    assert!(!a.exists(substitute.as_str()).unwrap());
    a.set(substitute.as_str(), json!({"n": 3})).unwrap();
    assert_eq!(a.fetch(long.as_str()).unwrap(), Some(json!({"id": long, "n": 2})));
    assert_eq!(a.fetch(substitute.as_str()).unwrap(), Some(json!({"id": substitute, "n": 3})));
}

fn pairs() -> Schema {
    Schema::new("a").unique(text("x")).unique(int("i")).unique(text("y")).column(int("n"))
}

fn long_keys_in_pairs(server: &Server) {
    let a = server.cache().dynamic_with(pairs()).unwrap();
    let parts =
        [twins(2_700)[0].clone(), twins(2_700)[1].clone(), noise(1_024), "s".into(), String::new()];
    let both = parts.iter().flat_map(|x| parts.iter().map(move |y| (x.as_str(), 7, y.as_str())));
    let keys: Vec<_> = both.collect();
    a.set_many(keys.iter().enumerate().map(|(n, key)| (*key, json!({"n": n})))).unwrap();
    for (n, (x, i, y)) in keys.iter().enumerate() {
        let record = json!({"x": x, "i": i, "y": y, "n": n});
        assert_eq!(a.fetch((*x, *i, *y)).unwrap(), Some(record));
    }
    assert_eq!(a.fetch_many(keys.clone()).unwrap().iter().flatten().count(), keys.len());
    assert_eq!(a.keys().unwrap().count(), keys.len());
    assert_eq!(a.pop_many(keys.clone()).unwrap().iter().flatten().count(), keys.len());
}

fn long_keys_of_bytes(server: &Server) {
    let schema = Schema::new("a").unique(Column::new("id", ColumnType::Bytes)).column(int("n"));
    let a = server.cache().dynamic_with(schema).unwrap();
    for length in [2_047, 2_048, 2_700, 10_000] {
        let keys = twins(length).map(|key| Key::single(Value::Bytes(key.into_bytes())));
        for (n, key) in keys.iter().enumerate() {
            a.set(key.clone(), json!({"n": n})).unwrap();
        }
        for (n, key) in keys.iter().enumerate() {
            assert_eq!(a.pop(key.clone()).unwrap().unwrap()["n"], n);
        }
    }
}

fn keys_of_other_programs_are_read_or_refused(server: &Server) {
    let a = server.cache().dynamic_with(scope([int("n")])).unwrap();
    server.run("INSERT INTO a VALUES ('theirs', 1)");
    assert_eq!(a.fetch("theirs").unwrap(), Some(json!({"id": "theirs", "n": 1})));
    // A long key in clear would never be found.
    assert!(server.sql().fails("INSERT INTO a VALUES (repeat('k', 2048), 1)"));
    assert!(server.sql().fails("INSERT INTO a VALUES (repeat('k', 3000), 1)"));
}

fn a_key_column_is_widened(server: &Server) {
    let with = |ty| Schema::new("a").unique(Column::new("id", ty)).column(null(int("n")));
    let cache = server.cache();
    let (short, long) = ("k".repeat(100), twins(5_000));
    cache
        .dynamic_with(with(ColumnType::Varchar(100)))
        .unwrap()
        .set(short.as_str(), json!({"n": 1}))
        .unwrap();
    let long_of = |length: usize| &long[0][..length];
    for (ty, length) in [
        (ColumnType::Varchar(3_000), 3_000),
        (ColumnType::Varchar(4_000), 4_000),
        (ColumnType::Text, 5_000),
    ] {
        let a = server.cache().dynamic_with(with(ty)).unwrap();
        assert!(cache.plan(&with(ty)).unwrap().is_empty(), "{ty}");
        a.set(long_of(length), json!({"n": length})).unwrap();
        assert_eq!(a.fetch(short.as_str()).unwrap().unwrap()["n"], 1);
        assert_eq!(a.fetch(long_of(length)).unwrap().unwrap()["n"], length);
    }
    assert_eq!(server.query("SELECT count(*) FROM a WHERE hilcat_whole_1 IS NOT NULL"), ["3"]);
}

/// The table has the layout from before long keys had substitutes.
fn an_older_table_is_upgraded(server: &Server) {
    let schema = pairs();
    let cache = server.cache();
    cache.dynamic_with(schema.clone()).unwrap();
    server.run(
        r#"DROP TABLE a;
           CREATE TABLE a (x text COLLATE "C" NOT NULL, i integer NOT NULL, y text COLLATE "C" NOT NULL, n integer NOT NULL, PRIMARY KEY (x, i, y));
           UPDATE hilcat_scopes SET fingerprint = split_part(fingerprint, ',', 1);"#,
    );
    // Keys in clear that fit into the index, some of them only after compression.
    let long = [
        format!("a{}", "\u{20ac}".repeat(2_000)),
        "\u{e9}".repeat(600),
        "k".repeat(1_024),
        "k".repeat(1_023),
    ];
    for (n, key) in long.iter().enumerate() {
        server.run(&format!(
            "INSERT INTO a VALUES ('{key}', {n}, 's', {n}), ('s', {n}, '{key}', {n})"
        ));
    }
    let manual = schema.clone().migrate(Migrate::Manual);
    let a = server.cache().dynamic_with(manual).unwrap();
    assert_eq!(a.fetch((long[0].as_str(), 0, "s")).unwrap().unwrap()["n"], 0);
    let refused = a.set((noise(2_700).as_str(), 1, "s"), json!({"n": 1})).unwrap_err();
    assert_eq!(
        (refused.kind(), refused.column()),
        (ErrorKind::Unsupported, Some("x")),
        "{refused}"
    );

    let plan = server.cache().plan(&schema).unwrap();
    assert!(plan.is_safe() && plan.steps.len() == 2, "{plan}");
    let a = server.cache().dynamic_with(schema.clone()).unwrap();
    assert!(server.cache().plan(&schema).unwrap().is_empty());
    for (n, key) in long.iter().enumerate() {
        let found =
            a.fetch_many([(key.as_str(), n as i64, "s"), ("s", n as i64, key.as_str())]).unwrap();
        assert_eq!(found.iter().flatten().count(), 2, "{n}");
        a.set((key.as_str(), n as i64, "s"), json!({"n": 9})).unwrap();
    }
    assert_eq!(a.len().unwrap(), 8);
    assert_eq!(server.query("SELECT count(hilcat_whole_1) + count(hilcat_whole_3) FROM a"), ["6"]);
}

fn a_table_of_another_program_is_unchanged(server: &Server) {
    server.run(
        "CREATE TABLE a (id text PRIMARY KEY, n int); INSERT INTO a VALUES (repeat('k', 9000), 1)",
    );
    let known = "k".repeat(9_000);
    let open: [fn(&Server) -> DynScope; 3] = [
        |server| Cache::builder(server.uri()).adopt_tables().open().unwrap().dynamic("a").unwrap(),
        |server| server.cache().dynamic_with(scope([null(int("n"))])).unwrap(),
        // Now the registry lists the table.
        |server| server.cache().dynamic_with(scope([null(int("n"))])).unwrap(),
    ];
    for open in open {
        let a = open(server);
        assert_eq!(a.fetch(known.as_str()).unwrap(), Some(json!({"id": known, "n": 1})));
        for [x, y] in [twins(100), twins(2_692)] {
            every_call_on_two_keys(&a, &x, &y);
        }
        let too_long = noise(2_693);
        for error in [
            a.set(too_long.as_str(), json!({"n": 1})).unwrap_err(),
            a.update(too_long.as_str(), json!({"n": 1})).unwrap_err(),
            a.set_many([("x", json!({"n": 1})), (too_long.as_str(), json!({"n": 1}))]).unwrap_err(),
        ] {
            assert_eq!(
                (error.kind(), error.column()),
                (ErrorKind::Unsupported, Some("id")),
                "{error}"
            );
        }
        assert_eq!(a.len().unwrap(), 1);
    }
    assert_eq!(
        server.query(
            "SELECT count(*) FROM pg_attribute WHERE attrelid = 'a'::regclass AND attnum > 0"
        ),
        ["2"]
    );
}

fn every_call_on_two_keys(a: &DynScope, x: &str, y: &str) {
    a.set_many([(x, json!({"n": 1})), (y, json!({"n": 2}))]).unwrap();
    assert_eq!(a.fetch(x).unwrap().unwrap()["n"], 1);
    assert_eq!(a.update(y, json!({"n": 3})).unwrap().unwrap()["n"], 2);
    assert_eq!(a.keys().unwrap().count(), 3);
    assert_eq!(a.pop_many([x, y]).unwrap().iter().flatten().count(), 2);
}

fn names_of_scopes_in_one_table(server: &Server) {
    let open =
        || Cache::from_uri(&server.with("single_table=all&columns=n&column_types=n:int")).unwrap();
    let cache = open();
    let [x, y] = twins(3_000);
    for (n, scope) in [x.as_str(), y.as_str(), "s"].into_iter().enumerate() {
        let scope = cache.dynamic(scope).unwrap();
        scope.set(x.as_str(), json!(n)).unwrap();
        scope.set("s", json!(n)).unwrap();
    }
    let mut names = vec![x.clone(), y.clone(), "s".to_owned()];
    names.sort();
    assert_eq!(open().scopes().unwrap(), names);
    let scope = cache.dynamic(&y).unwrap();
    assert_eq!(scope.fetch(x.as_str()).unwrap(), Some(json!(1)));
    assert_eq!((scope.len().unwrap(), scope.keys().unwrap().count()), (2, 2));
    scope.clear().unwrap();
    assert_eq!(cache.dynamic(&x).unwrap().len().unwrap(), 2);
}

fn a_short_key_has_no_auxiliary_column(server: &Server) {
    let schema = Schema::new("a")
        .unique(int("i"))
        .unique(Column::new("u", ColumnType::Uuid))
        .unique(Column::new("v", ColumnType::Varchar(250)))
        .column(text("t"));
    let plan = server.cache().plan(&schema).unwrap();
    assert!(!plan.to_string().contains("hilcat_whole"), "{plan}");
}
