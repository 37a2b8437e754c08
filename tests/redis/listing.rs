//! Listings while the server changes.

use std::collections::HashMap;

use hilcat::{DynScope, Result};
use serde_json::json;

use crate::Test;
use crate::support::{SECOND, Server, numbers};

pub(crate) const TESTS: &[Test] = &[
    ("shrinking_tables_cause_no_duplicates", shrinking_tables_cause_no_duplicates),
    ("listings_survive_lost_connections", listings_survive_lost_connections),
];

fn fill(scope: &DynScope, count: i64) {
    let keys: Vec<i64> = (0..count).collect();
    for keys in keys.chunks(20_000) {
        scope.set_many(keys.iter().map(|n| (format!("k{n}"), json!({"n": n})))).unwrap();
    }
}

/// Uses a separate database, so that its hash table contains these records only.
fn shrinking_tables_cause_no_duplicates(server: &Server) {
    let cache = hilcat::Cache::from_uri(&server.with("db=9&timeout=20s")).unwrap();
    let scope = cache.dynamic_with(numbers()).unwrap();
    fill(&scope, 60_000);
    let mut keys = scope.keys().unwrap();
    let mut seen = HashMap::new();
    let mut see = |key: Result<serde_json::Value>| {
        *seen.entry(key.unwrap().as_str().unwrap().to_owned()).or_insert(0) += 1;
    };
    keys.by_ref().take(20_000).for_each(&mut see);
    // Most records are removed, and the server shrinks its hash table.
    let gone = (0..60_000).filter(|n| n % 100 != 0).map(|n| format!("k{n}"));
    for gone in gone.collect::<Vec<_>>().chunks(20_000) {
        scope.pop_many(gone).unwrap();
    }
    std::thread::sleep(SECOND);
    keys.for_each(&mut see);
    assert_eq!(seen.values().max(), Some(&1));
    for n in (0..60_000).step_by(100) {
        assert!(seen.contains_key(&format!("k{n}")), "{n}");
    }
    scope.clear().unwrap();
    server.other().ask::<()>(&["SELECT", "9"]);
}

/// Uses a separate database, so that connections of other tests are not affected.
fn listings_survive_lost_connections(server: &Server) {
    let cache = hilcat::Cache::from_uri(&server.with("db=8&timeout=20s")).unwrap();
    let scope = cache.dynamic_with(numbers()).unwrap();
    fill(&scope, 10_000);
    let mut seen: Vec<String> = Vec::new();
    let mut other = server.other();
    for (at, key) in scope.keys().unwrap().enumerate() {
        seen.push(key.unwrap().as_str().unwrap().to_owned());
        if at == 3_000 {
            let clients: String = other.ask(&["CLIENT", "LIST"]);
            let ours = clients.lines().filter(|client| client.contains(" db=8 "));
            let ids: Vec<&str> =
                ours.filter_map(|client| client.split(['=', ' ']).nth(1)).collect();
            assert!(!ids.is_empty());
            for id in ids {
                other.ask::<()>(&["CLIENT", "KILL", "ID", id]);
            }
        }
    }
    assert_eq!(seen.len(), 10_000);
    seen.sort();
    seen.dedup();
    assert_eq!(seen.len(), 10_000);
    scope.clear().unwrap();
}
