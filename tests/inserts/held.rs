//! Inserts that wait for an uncommitted record, and inserts that violate another unique index.

use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use diesel::connection::SimpleConnection;
use hilcat::backend::{MysqlConnection, PostgresConnection};
use hilcat::store::ScopeStore;
use hilcat::{Cache, ErrorKind, Key, Result, Row};

use super::{Case, list};
use crate::stores::{TestContext, row};

pub const CASES: &[Case] = list![
    a_record_that_is_committed_is_waited_for,
    a_record_that_is_rolled_back_is_waited_for,
    a_record_is_waited_for_until_the_deadline,
    a_write_that_waits_for_an_insert_has_one_deadline,
    another_unique_index_is_an_error,
];

/// Runs statements on a connection of the cache, and `body` before the last one.
fn run(context: &TestContext, cache: &Cache, statements: [&str; 3], body: impl Fn()) {
    let [begin, write, end] = statements;
    macro_rules! on {
        ($connection:ty) => {
            cache.diesel(|connection: &mut $connection| {
                connection.batch_execute(begin)?;
                connection.batch_execute(write)?;
                body();
                connection.batch_execute(end)
            })
        };
    }
    match context.tested.name {
        name if name.starts_with("sqlite") => on!(diesel::SqliteConnection),
        name if name.starts_with("postgresql") => on!(PostgresConnection),
        _ => on!(MysqlConnection),
    }
    .unwrap();
}

/// Inserts `a`, and then `a` and `b`, while a transaction that has written `a` is open. After `hold`
/// the transaction is committed or rolled back.
fn while_held<T: Send + 'static>(
    context: &TestContext,
    end: &str,
    hold: Duration,
    timeout: &str,
    insert: fn(&dyn ScopeStore) -> T,
) -> (T, Duration) {
    let store = context.store_with(&context.texts(), timeout);
    let (held, is_held) = mpsc::channel();
    let inserting = thread::spawn(move || {
        is_held.recv().unwrap();
        let start = Instant::now();
        (insert(&*store), start.elapsed())
    });
    let write = format!("INSERT INTO {} (id, v) VALUES ('a', 'theirs')", context.scope);
    let begin = if context.tested.name.starts_with("sqlite") { "BEGIN IMMEDIATE" } else { "BEGIN" };
    run(context, &context.cache(), [begin, &write, end], || {
        held.send(()).unwrap();
        thread::sleep(hold);
    });
    inserting.join().unwrap()
}

type Found = (Option<Row>, Vec<Option<Row>>);

fn insert_both(store: &dyn ScopeStore) -> Found {
    let one = store.insert(row(["a", "ours"])).unwrap();
    (one, store.insert_many(vec![row(["b", "ours"]), row(["a", "ours too"])]).unwrap())
}

const HOLD: Duration = Duration::from_millis(400);

fn a_record_that_is_committed_is_waited_for(context: &TestContext) {
    let (found, took) = while_held(context, "COMMIT", HOLD, "20s", insert_both);
    let theirs = Some(row(["a", "theirs"]));
    assert_eq!(found, (theirs.clone(), vec![None, theirs]));
    assert!(took >= HOLD / 2, "{took:?}");
}

fn a_record_that_is_rolled_back_is_waited_for(context: &TestContext) {
    let (found, took) = while_held(context, "ROLLBACK", HOLD, "20s", insert_both);
    assert_eq!(found, (None, vec![None, Some(row(["a", "ours"]))]));
    assert!(took >= HOLD / 2, "{took:?}");
}

fn a_record_is_waited_for_until_the_deadline(context: &TestContext) {
    let insert = |store: &dyn ScopeStore| -> Result<Option<Row>> { store.insert(row(["a", "x"])) };
    // MySQL's lock wait has whole seconds: with a deadline of one second, no time would be left for its error.
    let (hold, latest) = (Duration::from_millis(4_000), Duration::from_millis(2_800));
    let (found, took) = while_held(context, "ROLLBACK", hold, "2s", insert);
    let error = found.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout, "{error}");
    assert!(took < latest, "{took:?}: {error}");
    assert_eq!(context.store(&context.texts()).len().unwrap(), 0);
    let many = |store: &dyn ScopeStore| store.insert_many(vec![row(["a", "x"]), row(["b", "x"])]);
    let (found, took) = while_held(context, "ROLLBACK", hold, "2s", many);
    assert_eq!(found.unwrap_err().kind(), ErrorKind::Timeout);
    assert!(took < latest, "{took:?}");
    assert_eq!(context.store(&context.texts()).len().unwrap(), 0);
}

/// A write waits for the insert of a value that was computed for its key, and then for the
/// transaction that blocked the insert. Both waits count towards its deadline.
fn a_write_that_waits_for_an_insert_has_one_deadline(context: &TestContext) {
    let cache = Cache::from_uri(&context.uri("timeout=1s")).unwrap();
    let scope = cache.dynamic_with(context.texts()).unwrap();
    let write = format!("INSERT INTO {} (id, v) VALUES ('a', 'theirs')", context.scope);
    let begin = if context.tested.name.starts_with("sqlite") { "BEGIN IMMEDIATE" } else { "BEGIN" };
    let timed = |call: &dyn Fn() -> Result<()>| {
        let start = Instant::now();
        (call().unwrap_err(), start.elapsed())
    };
    run(context, &context.cache(), [begin, &write, "ROLLBACK"], || {
        thread::scope(|threads| {
            let get = || timed(&|| scope.get("a", || serde_json::json!({"v": "x"})).map(drop));
            let getting = threads.spawn(get);
            thread::sleep(Duration::from_millis(200));
            let (_, took) = timed(&|| scope.set("a", serde_json::json!({"v": "new"})));
            assert!(took < Duration::from_millis(1_500), "{took:?}");
            let (_, took) = getting.join().unwrap();
            assert!(took < Duration::from_millis(1_500), "{took:?}");
        });
    });
}

/// The violation is not mistaken for a duplicate key, so the call is not repeated until the deadline.
fn another_unique_index_is_an_error(context: &TestContext) {
    let column = |name| hilcat::Column::new(name, hilcat::ColumnType::BigInt);
    let schema = context.schema().unique(column("id")).column(column("v"));
    let store = context.store(&schema);
    let index = format!("CREATE UNIQUE INDEX u_{0} ON {0} (v)", context.scope);
    run(context, &context.cache(), ["SELECT 1", &index, "SELECT 1"], || {});
    let row = |id: i64, v: i64| vec![id.into(), v.into()];
    assert_eq!(store.insert(row(1, 7)).unwrap(), None);
    let start = Instant::now();
    assert_eq!(store.insert(row(2, 7)).unwrap_err().kind(), ErrorKind::Backend);
    let error = store.insert_many(vec![row(3, 8), row(2, 7)]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Backend, "{error}");
    assert!(start.elapsed() < Duration::from_secs(10));
    assert_eq!(store.len().unwrap(), 1);
    assert_eq!(store.insert(row(1, 9)).unwrap(), Some(row(1, 7)));
    assert_eq!(store.fetch(&Key::single(2.into())).unwrap(), None);
}
