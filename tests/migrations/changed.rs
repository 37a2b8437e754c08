//! Tables that another program drops, changes or guards by triggers while hilcat uses them.

use hilcat::{ErrorKind, Migrate};
use serde_json::json;

use crate::support::{File, int, null, scope};

#[test]
fn a_dropped_table_is_created_again() {
    let file = File::new();
    let schema = || scope([null(int("n"))]);
    let open = file.cache().dynamic_with(schema()).unwrap();
    type Call = fn(&hilcat::DynScope);
    let calls: [(&str, Call); 9] = [
        ("set", |scope| scope.set("x", json!({"n": 1})).unwrap()),
        ("fetch", |scope| assert_eq!(scope.fetch("x").unwrap(), None)),
        ("fetch_many", |scope| assert_eq!(scope.fetch_many(["x"]).unwrap(), [None])),
        ("exists", |scope| assert!(!scope.exists("x").unwrap())),
        ("pop", |scope| assert_eq!(scope.pop("x").unwrap(), None)),
        ("set_many", |scope| assert_eq!(scope.set_many([("x", json!({"n": 1}))]).unwrap(), 1)),
        ("update", |scope| assert_eq!(scope.update("x", json!({"n": 1})).unwrap(), None)),
        ("keys", |scope| assert_eq!(scope.keys().unwrap().count(), 0)),
        ("clear", |scope| scope.clear().unwrap()),
    ];
    for (name, call) in calls {
        file.run("DROP TABLE a");
        call(&open);
        assert!(!file.ddl("a").is_empty(), "{name}");
        // A new process, although the registry lists the table.
        file.run("DROP TABLE a");
        call(&file.cache().dynamic_with(schema()).unwrap());
        assert!(!file.ddl("a").is_empty(), "{name}");
    }
    file.run("DROP TABLE a; DROP TABLE hilcat_scopes; DROP TABLE __diesel_schema_migrations");
    open.set("x", json!({"n": 1})).unwrap();
    assert_eq!(file.cache().dynamic_with(schema()).unwrap().len().unwrap(), 1);
}

#[test]
fn a_dropped_table_of_a_manual_scope_is_not_created_again() {
    let file = File::new();
    let schema = scope([null(int("n"))]).migrate(Migrate::Manual);
    let cache = file.cache();
    cache.migrate(&schema).unwrap();
    let open = cache.dynamic_with(schema).unwrap();
    file.run("DROP TABLE a");
    let error = open.set("x", json!({"n": 1})).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::SchemaChange, "{error}");
    assert!(file.ddl("a").is_empty());
}

#[test]
fn a_table_changed_by_hand_is_repaired_or_reported() {
    let file = File::new();
    let schema = scope([null(int("n")), int("m").default_value(7_i32)]);
    let open = file.cache().dynamic_with(schema.clone()).unwrap();
    open.set("x", json!({"n": 1, "m": 2})).unwrap();
    file.run("ALTER TABLE a DROP COLUMN n; ALTER TABLE a DROP COLUMN m");
    // A nullable column is added again, without its values.
    assert_eq!(open.fetch("x").unwrap(), Some(json!({"id": "x", "n": null, "m": 7})));
    open.set("y", json!({"n": 3})).unwrap();

    file.run("ALTER TABLE a RENAME COLUMN n TO other");
    let before = file.dump();
    for scope in [open, file.cache().dynamic_with(schema.clone()).unwrap()] {
        for error in [scope.fetch("x").unwrap_err(), scope.set("x", json!({"n": 1})).unwrap_err()] {
            assert_eq!(error.kind(), ErrorKind::SchemaChange, "{error}");
            assert!(error.to_string().contains("! add column `n` int, which may be a new name of a column that the schema does not have (`other`)"), "{error}");
        }
    }
    assert_eq!(file.dump(), before);
}

/// A handle of an older version with the policy `recreate` does not drop the columns of a newer one.
#[test]
fn an_open_handle_never_recreates() {
    let file = File::new();
    let old = scope([int("n")]).migrate(Migrate::Recreate);
    let new = scope([int("m")]).migrate(Migrate::Recreate);
    let handle = file.cache().dynamic_with(old).unwrap();
    let newer = file.cache().dynamic_with(new).unwrap();
    newer.set("x", json!({"m": 1})).unwrap();
    assert_eq!(handle.fetch("x").unwrap_err().kind(), ErrorKind::SchemaChange);
    assert_eq!(newer.len().unwrap(), 1);
}

#[test]
fn a_failing_trigger_is_not_mistaken_for_a_changed_table() {
    let file = File::new();
    let scope = file.cache().dynamic_with(scope([null(int("n"))])).unwrap();
    file.run("CREATE TRIGGER t AFTER INSERT ON a BEGIN INSERT INTO nowhere VALUES (new.n); END");
    let error = scope.set("x", json!({"n": 1})).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Backend);
    assert!(error.to_string().contains("no such table: main.nowhere"), "{error}");
    assert_eq!(scope.len().unwrap(), 0);
}

/// Each of hilcat's own tables is dropped, while a cache is open and while none is.
#[test]
fn a_dropped_registry_is_created_again() {
    let named = |name: &str| scope([null(int("n"))]).renamed(name).table(name);
    let file = File::new();
    let cache = file.cache();
    let a = cache.dynamic_with(named("a")).unwrap();
    for (name, dropped) in [
        ("b", vec!["hilcat_scopes"]),
        ("c", vec!["__diesel_schema_migrations"]),
        ("d", vec!["hilcat_scopes", "__diesel_schema_migrations"]),
    ] {
        let drop_them =
            || dropped.iter().for_each(|table| file.run(&format!("DROP TABLE IF EXISTS {table}")));
        drop_them();
        a.set("x", json!({"n": 1})).unwrap();
        cache.dynamic_with(named(name)).unwrap().set("x", json!({"n": 1})).unwrap();
        assert!(file.query("SELECT scope FROM hilcat_scopes").contains(&name.to_owned()));
        drop_them();
        let again = file.cache().dynamic_with(named("a")).unwrap();
        assert_eq!(again.fetch("x").unwrap(), Some(json!({"id": "x", "n": 1})));
        assert!(file.query("SELECT scope FROM hilcat_scopes").contains(&"a".to_owned()));
    }
}

/// A trigger that suppresses a write.
#[test]
fn a_suppressed_write_is_an_error() {
    let file = File::new();
    let a = file.cache().dynamic_with(scope([null(int("n")), null(int("m"))])).unwrap();
    a.set("old", json!({"n": 1, "m": 1})).unwrap();
    file.run(
        "CREATE TRIGGER no_insert BEFORE INSERT ON a BEGIN SELECT RAISE(IGNORE); END;
         CREATE TRIGGER no_update BEFORE UPDATE ON a BEGIN SELECT RAISE(IGNORE); END",
    );
    for key in ["old", "new"] {
        let results = [
            a.set(key, json!({"n": 2, "m": 2})),
            a.set(key, json!({"n": 2})),
            a.set_many([(key, json!({"n": 2, "m": 2}))]).map(drop),
            a.set_many((0..100).map(|_| (key, json!({"n": 2, "m": 2})))).map(drop),
            a.update(key, json!({"n": 2, "m": 2})).map(drop),
            a.update(key, json!({"n": 2})).map(drop),
        ];
        for result in results {
            let error = result.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Backend, "{error}");
            assert!(error.to_string().contains("stored nothing"), "{error}");
        }
    }
    assert_eq!(file.query("SELECT id || n FROM a"), ["old1"]);
}

/// A trigger that suppresses the removal of some or all records.
#[test]
fn a_suppressed_removal_is_an_error() {
    let file = File::new();
    let a = file.cache().dynamic_with(scope([null(int("n"))])).unwrap();
    a.set_many([("x", json!({"n": 1})), ("y", json!({"n": 2}))]).unwrap();
    file.run("CREATE TRIGGER no BEFORE DELETE ON a WHEN old.n = 1 BEGIN SELECT RAISE(IGNORE); END");
    let results = [a.pop("x").map(drop), a.pop_many(["y", "x", "none"]).map(drop), a.clear()];
    for result in results {
        let error = result.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Backend, "{error}");
        assert!(error.to_string().contains("kept records that it was to remove"), "{error}");
    }
    assert_eq!(a.pop("none").unwrap(), None);
    assert_eq!(file.query("SELECT id FROM a ORDER BY id"), ["x", "y"]);
    assert!(a.pop("y").unwrap().is_some());
}
