//! Tables whose records start to expire, and tables that cannot store an expiry.

use std::time::{Duration, SystemTime};

use hilcat::testing::ManualClock;
use hilcat::{Cache, Column, ColumnType, ErrorKind, Migrate, Schema};
use serde_json::json;

use super::support::File;

const MINUTE: Duration = Duration::from_secs(60);

fn schema() -> Schema {
    Schema::new("a")
        .unique(Column::new("id", ColumnType::Text))
        .column(Column::new("v", ColumnType::Int).nullable(true))
}

fn open(file: &File, clock: &ManualClock) -> Cache {
    Cache::builder(file.uri()).clock(clock.clone()).open().unwrap()
}

const COLUMNS: &str = "SELECT name FROM pragma_table_info('a')";
const INDEXES: &str = "SELECT name FROM pragma_index_list('a') WHERE origin = 'c'";

#[test]
fn a_ttl_is_added_and_removed() {
    let (file, clock) = (File::new(), ManualClock::new(SystemTime::now()));
    let old = open(&file, &clock).dynamic_with(schema()).unwrap();
    old.set("old", json!({ "v": 1 })).unwrap();
    assert_eq!(file.query(COLUMNS), ["id", "v"]);

    let fresh = open(&file, &clock).dynamic_with(schema().ttl(MINUTE)).unwrap();
    assert_eq!(file.query(COLUMNS), ["id", "v", "hilcat_expires_at"]);
    assert!(file.query(INDEXES)[0].starts_with("hilcat_ix_"));
    fresh.set("new", json!({ "v": 2 })).unwrap();
    clock.advance(MINUTE);
    assert!(fresh.exists("old").unwrap(), "it has no expiry");
    assert!(!fresh.exists("new").unwrap());

    for policy in [Migrate::Safe, Migrate::Manual] {
        let without = open(&file, &clock).dynamic_with(schema().migrate(policy)).unwrap();
        assert!(!without.exists("new").unwrap(), "{policy:?}");
        assert_eq!(without.len().unwrap(), 1);
    }
    let without = open(&file, &clock).dynamic_with(schema()).unwrap();
    without.set("new", json!({ "v": 3 })).unwrap();
    clock.advance(MINUTE * 60);
    assert!(fresh.exists("new").unwrap(), "a write without a time to live ends the expiry");
    assert_eq!(
        file.query("SELECT definition FROM hilcat_scopes")[0].matches("ttl").count(),
        1,
        "what other programs say of freshness stays"
    );
}

#[test]
fn opening_an_unchanged_scope_writes_nothing() {
    let (file, clock) = (File::new(), ManualClock::new(SystemTime::now()));
    let programs = [schema().ttl(MINUTE).stale_if_error(MINUTE), schema()];
    for schema in &programs {
        drop(open(&file, &clock).dynamic_with(schema.clone()).unwrap());
    }
    let version = || {
        file.query("SELECT CAST(total AS TEXT) FROM (SELECT count(*) AS total FROM __diesel_schema_migrations)")
    };
    let (before, entry) = (version(), file.query("SELECT fingerprint FROM hilcat_scopes"));
    file.run("CREATE TRIGGER watch BEFORE UPDATE ON hilcat_scopes BEGIN SELECT RAISE(ABORT, 'written'); END");
    for schema in &programs {
        drop(open(&file, &clock).dynamic_with(schema.clone()).unwrap());
        assert!(open(&file, &clock).plan(schema).unwrap().is_empty());
    }
    assert_eq!((version(), file.query("SELECT fingerprint FROM hilcat_scopes")), (before, entry));
}

#[test]
fn a_purge_of_unopened_scopes_uses_the_stored_options() {
    let (file, clock) = (File::new(), ManualClock::new(SystemTime::now()));
    let ttl = || schema().ttl(MINUTE);
    let scope = open(&file, &clock).dynamic_with(ttl().stale_if_error(MINUTE)).unwrap();
    scope.set("a", json!({ "v": 1 })).unwrap();
    clock.advance(MINUTE);
    assert_eq!(open(&file, &clock).purge().unwrap(), 0, "it is in its window");
    drop(open(&file, &clock).dynamic_with(ttl()).unwrap());
    assert_eq!(open(&file, &clock).purge().unwrap(), 1);
}

#[test]
fn a_table_of_another_program_cannot_store_an_expiry() {
    let file = File::with("CREATE TABLE a (id TEXT PRIMARY KEY NOT NULL, v INTEGER, t TIMESTAMP)");
    let clock = ManualClock::new(SystemTime::now());
    let with_column = || schema().column(Column::new("t", ColumnType::Timestamp).nullable(true));
    // Opening it does not make it a table of hilcat's.
    for policy in [Migrate::Manual, Migrate::Safe, Migrate::Safe] {
        let wrong = with_column().ttl(MINUTE).migrate(policy);
        let error = open(&file, &clock).dynamic_with(wrong).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported);
        assert!(error.to_string().contains("`expires_at`"), "{error}");
        drop(open(&file, &clock).dynamic_with(with_column().migrate(policy)).ok());
    }
    // The defaults of the cache apply where they can be honoured.
    let cache = Cache::builder(file.uri()).ttl(MINUTE).clock(clock.clone()).open().unwrap();
    let scope = cache.dynamic_with(with_column()).unwrap();
    scope.set("a", json!({ "v": 1, "t": null })).unwrap();
    assert_eq!(file.query("SELECT count(*) FROM pragma_table_info('a')"), ["3"]);

    let by_column = with_column().expires_at("t");
    let scope = open(&file, &clock).dynamic_with(by_column).unwrap();
    file.run("INSERT INTO a VALUES ('b', 2, '2001-01-01 00:00:00'), ('c', 3, 5)");
    assert_eq!(scope.len().unwrap(), 2, "what is no time is not judged");
    assert_eq!(scope.purge().unwrap(), 1);
    assert_eq!(file.query("SELECT id FROM a ORDER BY id"), ["a", "c"]);
}

#[test]
fn an_adopted_table_of_hilcat_keeps_its_expiry() {
    let (file, clock) = (File::new(), ManualClock::new(SystemTime::now()));
    let scope = open(&file, &clock).dynamic_with(schema().ttl(MINUTE)).unwrap();
    scope.set("a", json!({ "v": 1 })).unwrap();
    file.run("DELETE FROM hilcat_scopes");
    let adopted = || {
        let builder = Cache::builder(file.uri()).adopt_tables().clock(clock.clone());
        builder.open().unwrap().dynamic("a").unwrap()
    };
    assert_eq!(adopted().fetch("a").unwrap(), Some(json!({ "id": "a", "v": 1 })));
    clock.advance(MINUTE);
    assert_eq!(adopted().fetch("a").unwrap(), None);
}
