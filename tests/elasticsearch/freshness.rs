//! Expiry and leases in the index.

use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant, UNIX_EPOCH};

use elasticsearch::http::Method;
use hilcat::testing::ManualClock;
use hilcat::{Cache, Column, ColumnType, DynScope, ErrorKind, Schema, SingleFlight};
use serde_json::{Value as Json, json};

use crate::Test;
use crate::support::{SECOND, Server, int, null, scope};

pub const TESTS: &[Test] = &[
    ("the_expiry_is_a_date_to_the_microsecond", the_expiry_is_a_date_to_the_microsecond),
    ("distant_expiries_are_found", distant_expiries_are_found),
    ("the_column_is_added_to_existing_indices", the_column_is_added_to_existing_indices),
    ("foreign_indices_expire_by_a_column", foreign_indices_expire_by_a_column),
    ("leases_are_not_records", leases_are_not_records),
    ("every_write_turns_a_lease_into_a_record", every_write_turns_a_lease_into_a_record),
    ("a_removal_revokes_the_lease", a_removal_revokes_the_lease),
    ("purges_keep_leases", purges_keep_leases),
    ("leases_without_renewal_are_taken_over", leases_without_renewal_are_taken_over),
];

const MICRO: Duration = Duration::from_micros(1);

fn open(server: &Server, clock: &ManualClock, schema: Schema) -> DynScope {
    let cache = Cache::builder(server.indices.uri("timeout=30s")).clock(clock.clone());
    cache.open().unwrap().dynamic_with(schema).unwrap()
}

fn clock() -> ManualClock {
    ManualClock::new(UNIX_EPOCH + SECOND * 1_000_000_000)
}

fn source(server: &Server, id: &str) -> Json {
    server.get(&format!("{}/_doc/{id}", server.name("a")))["_source"].clone()
}

/// Returns the number of documents, including placeholders.
fn documents(server: &Server) -> u64 {
    server.ask(Method::Post, &format!("{}/_refresh", server.name("a")), None);
    server.get(&format!("{}/_count", server.name("a")))["count"].as_u64().unwrap()
}

fn the_expiry_is_a_date_to_the_microsecond(server: &Server) {
    let clock = clock();
    let records = open(server, &clock, scope([int("n")]).ttl(SECOND));
    for n in 0..12 {
        records.set(format!("k{n:02}"), json!({"n": n})).unwrap();
        clock.advance(if n % 3 == 0 { MICRO * 700 } else { MICRO });
    }
    assert_eq!(source(server, "k00")["hilcat_expires_at"], json!("2001-09-09T01:46:41Z"));
    assert_eq!(source(server, "k01")["hilcat_expires_at"], json!("2001-09-09T01:46:41.000700Z"));
    assert_eq!(source(server, "k02")["hilcat_expires_at"], json!("2001-09-09T01:46:41.000701Z"));
    let field = &server.mappings("a")["properties"]["hilcat_expires_at"];
    assert_eq!(field["type"], json!("date"));
    // One microsecond before each expiry, and at each expiry.
    clock.advance(SECOND - MICRO * (4 * 700 + 8) - MICRO);
    let mut live = 12;
    for n in 0..12 {
        let (keys, rows) = (records.keys().unwrap().count(), records.iter().unwrap().count());
        assert_eq!((records.len().unwrap(), keys, rows), (live, live as usize, live as usize));
        clock.advance(MICRO);
        live -= 1;
        assert_eq!(records.len().unwrap(), live, "{n}");
        assert_eq!(records.purge().unwrap(), 1);
        assert_eq!(documents(server), live);
        clock.advance(if n % 3 == 0 { MICRO * 700 } else { MICRO } - MICRO);
    }
}

fn distant_expiries_are_found(server: &Server) {
    let schema = scope([null(Column::new("until", ColumnType::Timestamp))]).expires_at("until");
    let records = open(server, &clock(), schema);
    for (key, until) in [
        ("a", json!("0001-01-01T00:00:00Z")),
        ("b", json!("1969-12-31T23:59:59.999999Z")),
        ("c", json!("9999-12-31T23:59:59.999999Z")),
        ("d", json!(null)),
    ] {
        records.set(key, json!({"until": until})).unwrap();
    }
    assert_eq!((records.len().unwrap(), records.keys().unwrap().count()), (2, 2));
    assert_eq!(records.purge().unwrap(), 2);
    assert_eq!(documents(server), 2);
}

fn the_column_is_added_to_existing_indices(server: &Server) {
    let clock = clock();
    let without = open(server, &clock, scope([int("n")]));
    without.set("old", json!({"n": 1})).unwrap();
    assert!(server.mappings("a")["properties"]["hilcat_expires_at"].is_null());
    let with = open(server, &clock, scope([int("n")]).ttl(SECOND));
    with.set("new", json!({"n": 1})).unwrap();
    clock.advance(SECOND * 2);
    assert_eq!((with.len().unwrap(), with.exists("old").unwrap()), (1, true));
    // A handle without the column sees and clears the expiry.
    let without = open(server, &clock, scope([int("n")]));
    assert_eq!(without.fetch("new").unwrap(), None);
    without.set("new", json!({"n": 2})).unwrap();
    assert_eq!(with.fetch("new").unwrap().unwrap()["n"], json!(2));
    let stored = server.mappings("a")["_meta"]["hilcat"]["schema"].as_str().unwrap().to_owned();
    assert!(stored.contains("ttl = \"1s\""), "{stored}");
    open(server, &clock, scope([int("n")]).ttl(SECOND * 5));
    let stored = server.mappings("a")["_meta"]["hilcat"]["schema"].as_str().unwrap().to_owned();
    assert!(stored.contains("ttl = \"5s\""), "{stored}");
}

fn foreign_indices_expire_by_a_column(server: &Server) {
    let name = server.name("a");
    server.put(&name, json!({"mappings": {"properties": {"until": {"type": "date"}}}}));
    for (id, until) in [("a", "2001-01-01T00:00:00Z"), ("b", "2101-01-01T00:00:00Z")] {
        server.put(&format!("{name}/_doc/{id}?refresh=true"), json!({"until": until}));
    }
    let schema = scope([null(Column::new("until", ColumnType::Timestamp))]).expires_at("until");
    let records = open(server, &clock(), schema.clone());
    assert_eq!((records.len().unwrap(), records.keys().unwrap().count()), (1, 1));
    assert!(records.fetch("a").unwrap().is_none() && records.exists("b").unwrap());
    assert_eq!(records.purge().unwrap(), 1);
    assert_eq!(documents(server), 1);
    let shared = schema.single_flight(SingleFlight::Shared { lease: SECOND });
    let error = server.cache().dynamic_with(shared).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
}

fn leased() -> Schema {
    let schema = scope([null(int("n")), null(int("m"))]).ttl(SECOND * 600);
    schema.single_flight(SingleFlight::Shared { lease: SECOND * 2 })
}

fn leases_are_not_records(server: &Server) {
    let clock = clock();
    let records = open(server, &clock, leased());
    let other = open(server, &clock, leased());
    records.set("there", json!({"n": 1})).unwrap();
    records
        .get("a", || {
            assert_eq!(documents(server), 2);
            let lease = source(server, "a");
            assert!(lease["hilcat%lease"].is_string() && lease["id"].is_null(), "{lease}");
            assert!(!other.exists("a").unwrap() && other.fetch("a").unwrap().is_none());
            assert_eq!(other.fetch_many(["a", "there"]).unwrap().iter().flatten().count(), 1);
            assert_eq!(other.len().unwrap(), 1);
            assert_eq!((other.keys().unwrap().count(), other.iter().unwrap().count()), (1, 1));
            json!({"n": 2})
        })
        .unwrap();
    assert_eq!(other.fetch("a").unwrap().unwrap()["n"], json!(2));
    let stored = source(server, "a");
    assert!(stored["hilcat%lease"].is_null() && stored["hilcat%vacant"].is_null(), "{stored}");
    // The lease of a stale record disappears with the new record.
    clock.advance(SECOND * 700);
    let computed = records.get("a", || {
        let lease = source(server, "a");
        assert!(lease["hilcat%lease"].is_string() && lease["n"] == json!(2), "{lease}");
        json!({"n": 3})
    });
    assert_eq!(computed.unwrap()["n"], json!(3));
    assert!(source(server, "a")["hilcat%lease"].is_null());
    // A failed computation releases its lease.
    let failed = records.try_get("no", || Err::<Json, _>("no"));
    assert!(failed.is_err());
    assert_eq!(documents(server), 2);
}

fn every_write_turns_a_lease_into_a_record(server: &Server) {
    let writes: [fn(&DynScope); 6] = [
        |other| other.set("a", json!({"n": 7, "m": 7})).unwrap(),
        |other| other.set("a", json!({"n": 7})).unwrap(),
        |other| assert_eq!(other.update("a", json!({"n": 7})).unwrap(), None),
        |other| assert_eq!(other.set_many([("a", json!({"n": 7, "m": 7}))]).unwrap(), 1),
        |other| {
            let both = [("a", json!({"n": 7})), ("b", json!({"n": 7}))];
            assert_eq!(other.set_many(both).unwrap(), 2);
        },
        |other| other.set_with_ttl("a", json!({"n": 7}), SECOND * 60).unwrap(),
    ];
    let clock = clock();
    let (records, other) = (open(server, &clock, leased()), open(server, &clock, leased()));
    for (at, write) in writes.into_iter().enumerate() {
        let stored = records.get("a", || {
            write(&other);
            json!({"n": 1})
        });
        assert_eq!(stored.unwrap()["n"], json!(7), "{at}: the record written meanwhile is kept");
        assert_eq!(other.fetch("a").unwrap().unwrap()["n"], json!(7), "{at}");
        other.pop("b").unwrap();
        assert_eq!((other.len().unwrap(), documents(server)), (1, 1), "{at}");
        other.clear().unwrap();
    }
}

fn a_removal_revokes_the_lease(server: &Server) {
    let removals: [fn(&DynScope); 3] = [
        |other| assert_eq!(other.pop("a").unwrap(), None),
        |other| assert_eq!(other.pop_many(["x", "a"]).unwrap(), [None, None]),
        |other| other.clear().unwrap(),
    ];
    let clock = clock();
    let (records, other) = (open(server, &clock, leased()), open(server, &clock, leased()));
    for (at, remove) in removals.into_iter().enumerate() {
        let computed = records.get("a", || {
            remove(&other);
            json!({"n": 1})
        });
        assert_eq!(computed.unwrap()["n"], json!(1));
        assert_eq!((other.fetch("a").unwrap(), documents(server)), (None, 0), "{at}");
    }
}

fn purges_keep_leases(server: &Server) {
    let clock = clock();
    let (records, other) = (open(server, &clock, leased()), open(server, &clock, leased()));
    records.set("a", json!({"n": 1})).unwrap();
    clock.advance(SECOND * 1_000);
    let computed = records.get("a", || {
        assert_eq!(other.purge().unwrap(), 1);
        assert_eq!(other.purge().unwrap(), 0);
        assert_eq!(other.len().unwrap(), 0);
        json!({"n": 2})
    });
    assert_eq!(computed.unwrap()["n"], json!(2));
    assert_eq!(other.fetch("a").unwrap().unwrap()["n"], json!(2), "the lease was not lost");
    // A lease that expired long ago is removed.
    let lease = json!({"hilcat%lease": "2000 x", "hilcat%until": 1, "hilcat%vacant": true});
    server.put(&format!("{}/_doc/gone?refresh=true", server.name("a")), lease);
    assert_eq!((other.len().unwrap(), documents(server)), (1, 2));
    other.purge().unwrap();
    assert_eq!(documents(server), 1);
}

fn leases_without_renewal_are_taken_over(server: &Server) {
    let clock = clock();
    let records = open(server, &clock, leased());
    let now = std::time::SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as u64;
    let lease =
        json!({"hilcat%lease": "2000 x", "hilcat%until": now + 9_000_000, "hilcat%vacant": true});
    server.put(&format!("{}/_doc/a", server.name("a")), lease);
    let (sender, taken) = mpsc::channel();
    let began = Instant::now();
    thread::scope(|threads| {
        threads.spawn(|| {
            let computed = records.get("a", || {
                sender.send(began.elapsed()).unwrap();
                json!({"n": 1})
            });
            assert_eq!(computed.unwrap()["n"], json!(1));
        });
        let taken = taken.recv_timeout(SECOND * 30).unwrap();
        assert!(taken >= SECOND * 2, "{taken:?}");
    });
    assert_eq!(records.len().unwrap(), 1);
}
