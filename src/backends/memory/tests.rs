//! Tests of bounds, of expiry, and of handles with different schemas, which the conformance suite
//! does not cover.

use std::sync::Arc;
use std::time::Duration;

use super::Memory;
use crate::store::{ScopeStore, Store};
use crate::{Cache, Column, ColumnType, ErrorKind, Key, Migrate, Row, Schema, Value};

fn schema() -> Schema {
    Schema::new("a")
        .unique(Column::new("id", ColumnType::BigInt))
        .column(Column::new("v", ColumnType::Text).nullable(true))
}

fn open(memory: &Memory, schema: Schema) -> Arc<dyn ScopeStore> {
    memory.open(&Arc::new(schema)).unwrap()
}

fn key(id: i64) -> Key {
    Key::single(id.into())
}

fn row(id: i64, v: &str) -> Row {
    vec![id.into(), v.into()]
}

fn stores() -> [Memory; 2] {
    [Memory::new(), Memory::builder().max_entries(1_000).build().unwrap()]
}

#[test]
fn the_bound_of_entries_applies_to_all_scopes_together() {
    let memory = Memory::builder().max_entries(100).build().unwrap();
    let scopes = ["a", "b"].map(|name| {
        let mut schema = schema().table(name);
        schema.name = name.into();
        open(&memory, schema)
    });
    for id in 0..1_000 {
        scopes.iter().for_each(|scope| scope.set(row(id, "x")).unwrap());
    }
    memory.bound.as_ref().unwrap().run_pending();
    let kept: u64 = scopes.iter().map(|scope| scope.len().unwrap()).sum();
    assert!((1..=100).contains(&kept), "{kept}");
}

#[test]
fn the_bound_of_bytes_includes_the_values() {
    let memory = Memory::builder().max_bytes(100_000).build().unwrap();
    let scope = open(&memory, schema());
    for id in 0..100 {
        scope.set(row(id, &"x".repeat(10_000))).unwrap();
    }
    memory.bound.as_ref().unwrap().run_pending();
    let kept = scope.len().unwrap();
    assert!((1..10).contains(&kept), "{kept}");
}

#[test]
fn bounds_of_zero_are_refused() {
    for uri in ["memory:?max_entries=0", "memory:?max_bytes=0", "memory:?max_entries=x"] {
        let error = Cache::from_uri(uri).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidConfig, "{error}");
        assert!(error.to_string().contains("from 1"), "{error}");
    }
    let both = Memory::builder().max_entries(1).max_bytes(1).build().unwrap_err();
    assert_eq!(both.kind(), ErrorKind::InvalidConfig);
    assert!(Cache::from_uri("memory:?max_bytes=1000000").is_ok());
}

#[test]
fn handles_with_different_schemas_share_records() {
    for memory in stores() {
        let old = open(&memory, schema());
        old.set(row(1, "one")).unwrap();
        let newer = Schema::new("a")
            .column(Column::new("extra", ColumnType::Int).default_value(7))
            .unique(Column::new("id", ColumnType::BigInt))
            .column(Column::new("name", ColumnType::Text).nullable(true).was("v"));
        let new = open(&memory, newer);
        let of = |extra: i64, id: i64, name: &str| vec![extra.into(), id.into(), name.into()];
        assert_eq!(new.fetch(&key(1)).unwrap(), Some(of(7, 1, "one")));
        new.set(of(8, 1, "two")).unwrap();
        assert_eq!(old.fetch(&key(1)).unwrap(), Some(row(1, "two")), "a renamed column is found");
        assert_eq!(old.update(row(1, "three")).unwrap(), Some(row(1, "two")));
        assert_eq!(new.fetch(&key(1)).unwrap(), Some(of(8, 1, "three")), "`extra` is left alone");
        old.set_many(vec![row(2, "x"), row(1, "four")]).unwrap();
        new.set(vec![Value::Absent, 2.into(), Value::Absent]).unwrap();
        assert_eq!(new.pop(&key(2)).unwrap(), Some(of(7, 2, "x")));
        let rows: Vec<Row> = old.rows().unwrap().map(Result::unwrap).collect();
        assert_eq!(rows, [row(1, "four")]);
    }
}

#[test]
fn handles_from_before_a_recreation_cannot_write() {
    for memory in stores() {
        let old = open(&memory, schema());
        old.set(row(1, "one")).unwrap();
        let mut other = schema().migrate(Migrate::Recreate);
        other.columns[1].ty = ColumnType::Bytes;
        let new = open(&memory, other);
        assert_eq!(new.len().unwrap(), 0);
        for error in
            [old.set(row(1, "x")).unwrap_err(), old.set_many(vec![row(1, "x")]).unwrap_err()]
        {
            assert_eq!(error.kind(), ErrorKind::SchemaChange);
        }
        new.set(vec![1.into(), vec![0_u8].into()]).unwrap();
        assert_eq!(old.fetch(&key(1)).unwrap_err().kind(), ErrorKind::InvalidData);
    }
}

#[test]
fn keys_are_found_after_a_change_of_scale() {
    for memory in stores() {
        let decimal = |precision, scale| {
            Schema::new("d")
                .unique(Column::new("id", ColumnType::Decimal { precision, scale }))
                .column(Column::new("v", ColumnType::Int))
        };
        let of = |text: &str| Value::Decimal(text.into());
        open(&memory, decimal(5, 1)).set(vec![of("2.5"), 1.into()]).unwrap();
        let new = open(&memory, decimal(8, 3));
        let found = new.fetch(&Key::single(of("2.500"))).unwrap();
        assert_eq!(found, Some(vec![of("2.500"), 1.into()]));
        assert_eq!(new.len().unwrap(), 1);
    }
}

/// Each key is looked up by itself, however many keys there are.
#[test]
fn the_time_of_get_many_is_linear() {
    let scope = Cache::memory().map::<i64, i64>("m").unwrap();
    let start = std::time::Instant::now();
    let got = scope.get_many(0..50_000, |missing| missing.into_iter().map(|n| (n, n)));
    assert_eq!(got.unwrap().len(), 50_000);
    assert!(start.elapsed() < Duration::from_secs(20), "{:?}", start.elapsed());
}

fn expiring(ttl: i64, id: i64) -> Row {
    vec![id.into(), "x".into(), Value::Timestamp(ttl)]
}

fn stored() -> Schema {
    schema().ttl(Duration::from_secs(1)).stored_form()
}

#[test]
fn a_purge_removes_due_records_only() {
    for memory in stores() {
        let scope = open(&memory, stored());
        (0..500).for_each(|id| scope.set(expiring(1_000 + id, id)).unwrap());
        scope.set(vec![900.into(), "x".into(), Value::Null]).unwrap();
        // Records that were overwritten, removed or touched do not keep their earlier expiry.
        (0..10).for_each(|id| scope.set(expiring(9_000, id)).unwrap());
        (10..20).for_each(|id| drop(scope.pop(&key(id)).unwrap()));
        assert!(scope.touch(&key(20), 0, Value::Timestamp(9_000)).unwrap());
        assert_eq!(scope.purge(1_100, 30).unwrap(), 30);
        assert_eq!(scope.purge(1_100, 1_000).unwrap(), 50);
        assert_eq!(scope.purge(1_100, 1_000).unwrap(), 0);
        assert_eq!(scope.live_len(1_100).unwrap(), 500 - 10 - 80 + 1);
        assert_eq!(scope.live_len(8_999).unwrap(), 12);
        assert_eq!(scope.purge(i64::MAX - 1, 1_000).unwrap(), 410);
        assert_eq!(scope.len().unwrap(), 1);
    }
}

#[test]
fn the_expiry_index_does_not_grow() {
    let rows = super::sharded::Sharded::new();
    let layout = Arc::new(stored());
    for round in 0..20_000 {
        let record =
            Arc::new(super::rows::Stored::new(expiring(round, round % 100), layout.clone()));
        let new = record.clone();
        super::rows::Rows::change(&rows, &record.key(), &mut |_| Ok(Some(new.clone()))).unwrap();
    }
    assert!(rows.expiry_count() < 64 * 130, "{}", rows.expiry_count());
    assert_eq!(super::rows::Rows::purge(&rows, i64::MAX - 1, 1_000), 100);
}

#[test]
fn a_handle_without_expiry_clears_that_of_others() {
    for memory in stores() {
        let older = open(&memory, schema());
        let with = open(&memory, stored());
        with.set(expiring(5, 1)).unwrap();
        // One handle was opened before the column existed, the other after.
        older.set(row(1, "y")).unwrap();
        assert_eq!(with.fetch(&key(1)).unwrap().unwrap()[2], Value::Null);
        with.set(expiring(5, 1)).unwrap();
        let newer = open(&memory, schema());
        assert_eq!(newer.fetch(&key(1)).unwrap().unwrap()[2], Value::Timestamp(5));
    }
}
