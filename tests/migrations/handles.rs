//! Several handles and versions, and the cost of opening.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier, Mutex};
use std::thread;

use diesel::connection::{
    InstrumentationEvent, get_default_instrumentation, set_default_instrumentation,
};
use hilcat::{Cache, Column, ColumnType, ErrorKind};
use serde_json::json;

use crate::support::{File, int, null, scope, text};

#[test]
fn handles_of_compatible_schemas_work_together() {
    let file = File::new();
    let cache = file.cache();
    let old = cache.dynamic_with(scope([int("n")])).unwrap();
    old.set("x", json!({"n": 1})).unwrap();
    let new = cache
        .dynamic_with(scope([Column::new("n", ColumnType::BigInt), text("m").default_value("d")]))
        .unwrap();
    old.set("y", json!({"n": 2})).unwrap();
    assert_eq!(new.fetch("y").unwrap(), Some(json!({"id": "y", "n": 2, "m": "d"})));
    new.set("z", json!({"n": 9_000_000_000_i64, "m": "e"})).unwrap();
    assert_eq!(old.fetch("x").unwrap(), Some(json!({"id": "x", "n": 1})));
    // The older handle returns an error for this value, never another number.
    let error = old.fetch("z").unwrap_err();
    assert_eq!((error.kind(), error.column()), (ErrorKind::InvalidData, Some("n")));
    // A write of the older handle keeps the columns that it lacks.
    old.set("z", json!({"n": 3})).unwrap();
    assert_eq!(new.fetch("z").unwrap(), Some(json!({"id": "z", "n": 3, "m": "e"})));
    // A process of the older version gets an error that names what it would lose.
    let error = file.cache().dynamic_with(scope([int("n")])).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::SchemaChange);
    // The open handle of this process goes on.
    assert_eq!(cache.dynamic_with(scope([int("n")])).unwrap().len().unwrap(), 3);
}

#[test]
fn a_column_may_be_nullable_in_one_version_only() {
    let file = File::new();
    let (nullable, required) = (scope([null(int("n"))]), scope([int("n")]));
    file.cache().dynamic_with(nullable.clone()).unwrap().set("x", json!({"n": null})).unwrap();
    for _ in 0..2 {
        let before = file.ddl("a");
        let scope = file.cache().dynamic_with(required.clone()).unwrap();
        assert!(scope.set("y", json!({"n": null})).is_err());
        file.cache().dynamic_with(nullable.clone()).unwrap();
        assert_eq!(file.ddl("a"), before);
    }
}

#[test]
fn the_registry_entry_of_one_table_does_not_apply_to_another() {
    let file = File::new();
    let json = scope([null(Column::new("v", ColumnType::Json))]);
    file.cache().dynamic_with(json.clone()).unwrap().set("x", json!({"v": [1]})).unwrap();
    let cache = file.cache();
    let mut as_text = json.clone();
    as_text.columns_mut()[1].ty = ColumnType::Text;
    let error = cache.dynamic_with(as_text).unwrap_err();
    assert!(error.to_string().contains("! change column `v` from json to text"), "{error}");
    file.run("CREATE TABLE t (id TEXT PRIMARY KEY, v TEXT NOT NULL)");
    let mut moved = json.table("t");
    moved.columns_mut()[1] = null(text("v"));
    let plan = cache.plan(&moved).unwrap();
    assert!(plan.is_safe(), "{plan}");
}

#[test]
fn concurrent_threads_can_open_one_scope() {
    let file = File::new();
    for uri in [file.uri(), "sqlite::memory:".to_owned()] {
        let cache = Cache::from_uri(&uri).unwrap();
        let start = Barrier::new(16);
        thread::scope(|threads| {
            for at in 0..16 {
                let (cache, start) = (&cache, &start);
                threads.spawn(move || {
                    start.wait();
                    let opened = cache.dynamic_with(scope([int("n")])).unwrap();
                    opened.set(format!("k{at}"), json!({"n": at})).unwrap();
                });
            }
        });
        assert_eq!(cache.dynamic_with(scope([int("n")])).unwrap().len().unwrap(), 16);
    }
}

/// Returns the statements that this thread sends during `call`.
fn counted(call: impl FnOnce()) -> Vec<String> {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _only = ONE_AT_A_TIME.lock().unwrap();
    let sent: Arc<Mutex<Vec<String>>> = Arc::default();
    let log = sent.clone();
    COUNT.lock().unwrap().replace(log);
    set_default_instrumentation(|| Some(Box::new(note))).unwrap();
    call();
    COUNT.lock().unwrap().take();
    assert!(get_default_instrumentation().is_some());
    sent.lock().unwrap().clone()
}

static COUNT: Mutex<Option<Arc<Mutex<Vec<String>>>>> = Mutex::new(None);

fn note(event: InstrumentationEvent<'_>) {
    if let InstrumentationEvent::StartQuery { query, .. } = event
        && let Some(log) = &*COUNT.lock().unwrap()
        && thread::current().name().is_some_and(|name| name.contains("reopen"))
    {
        log.lock().unwrap().push(query.to_string());
    }
}

#[test]
fn reopening_costs_one_statement_for_all_scopes() {
    let file = File::new();
    let schemas = || {
        (0..100)
            .map(|at| scope([int("n")]).table(format!("t{at}")))
            .enumerate()
            .map(|(at, schema)| schema.renamed(format!("s{at}")))
    };
    let cache = file.cache();
    schemas().for_each(|schema| drop(cache.dynamic_with(schema).unwrap()));
    let before = file.dump();
    let opened = AtomicUsize::new(0);
    let sent = counted(|| {
        let cache = file.cache();
        for schema in schemas() {
            cache.dynamic_with(schema).unwrap();
            opened.fetch_add(1, Ordering::Relaxed);
        }
    });
    assert_eq!(opened.into_inner(), 100);
    assert_one_statement(sent);
    assert_eq!(file.dump(), before);
}

fn assert_one_statement(sent: Vec<String>) {
    let sent: Vec<_> = sent.into_iter().filter(|sql| !sql.starts_with("PRAGMA")).collect();
    assert_eq!(sent.len(), 1, "{sent:#?}");
    assert!(sent[0].contains("FROM `hilcat_scopes`"), "{sent:?}");
}

/// The stored schema has the columns of both versions, in whatever order they open the scope.
#[test]
fn alternating_versions_reopen_with_one_statement() {
    let file = File::new();
    let v1 = || scope([int("n")]);
    let v2 = || scope([int("n"), null(text("t"))]);
    let dropping = || scope([int("n")]).dropped(["gone"]);
    for schema in [v1(), v2(), dropping()] {
        file.cache().dynamic_with(schema).unwrap();
    }
    let before = file.dump();
    for schema in [v1, dropping, v2, v1, dropping] {
        let sent = counted(|| drop(file.cache().dynamic_with(schema()).unwrap()));
        assert_one_statement(sent);
        assert_eq!(file.dump(), before);
    }
}
