//! Caches whose servers do not exist, so that no server is needed.

use std::time::Duration;

use hilcat::{Cache, DynScope, ErrorKind};
use libtest_mimic::Trial;
use serde_json::{Value, json};

use crate::server::{SECOND, closed_port, median, schema, timed};

const URIS: [(&str, &str); 4] = [
    ("postgresql", "postgresql://me:secret@ADDRESS/db?sslmode=disable&"),
    ("mysql", "mysql://me:secret@ADDRESS/db?"),
    ("redis", "redis://ADDRESS/0?"),
    ("elasticsearch", "es://ADDRESS?"),
];

pub(crate) fn trials() -> Vec<Trial> {
    type Test = (&'static str, fn(&str));
    let tests: [Test; 4] = [
        ("every_path_computes", every_path_computes),
        ("writes_fail_and_the_breaker_opens", writes_fail_and_the_breaker_opens),
        ("a_cache_that_is_not_lazy_needs_its_server", a_cache_that_is_not_lazy_needs_its_server),
        ("layers_are_lazy_in_their_members", layers_are_lazy_in_their_members),
    ];
    let trial = |(engine, uri): (&str, &'static str)| {
        tests.map(|(name, run)| {
            Trial::test(format!("{engine}::unreachable::{name}"), move || {
                run(&uri.replace("ADDRESS", &closed_port()));
                Ok(())
            })
        })
    };
    URIS.into_iter().flat_map(trial).collect()
}

fn record(n: i64) -> Value {
    json!({"id": "x", "n": n})
}

type Path = fn(&DynScope) -> hilcat::Result<Value>;
const PATHS: [(&str, Path); 6] = [
    ("get", |a| a.get("x", || record(7))),
    ("try_get", |a| a.try_get("x", || Ok::<_, hilcat::Error>(record(7)))),
    ("get_in_background", |a| a.get_in_background("x", || record(7))),
    ("get_optional", |a| Ok(a.get_optional("x", || Some(record(7)))?.unwrap())),
    ("refresh", |a| a.refresh("x", || record(7))),
    ("get_many", |a| {
        Ok(a.get_many(["x"], |keys| {
            keys.into_iter().map(|key| (key, record(7))).collect::<Vec<_>>()
        })?
        .remove(0))
    }),
];

fn every_path_computes(uri: &str) {
    let uri = format!("{uri}lazy=true&timeout=2s&on_unavailable=compute");
    for (path, call) in PATHS {
        let cache = Cache::from_uri(&uri).unwrap();
        let full = cache.capabilities().expiry == hilcat::store::ExpirySupport::Full;
        let schema = match full {
            true => schema("a").ttl(60 * SECOND).negative_ttl(SECOND),
            false => schema("a"),
        };
        let a = cache.dynamic_with(schema).unwrap();
        let mut times: Vec<Duration> = Vec::new();
        for _ in 0..20 {
            let (value, took) = timed(|| call(&a).unwrap());
            assert_eq!(value["n"], 7, "{path}");
            times.push(took);
        }
        assert!(times.iter().all(|took| *took <= 5 * SECOND / 2), "{path}: {times:?}");
        let first = times[0];
        println!("{}: {path}: first {first:?}, median {:?}", cache.backend(), median(times));
        assert_eq!(a.get_optional("y", || None::<Value>).unwrap(), None);
    }
}

fn writes_fail_and_the_breaker_opens(uri: &str) {
    let cache = Cache::from_uri(&format!("{uri}lazy=true&timeout=2s&on_unavailable=compute"));
    let a = cache.unwrap().dynamic_with(schema("a")).unwrap();
    let errors: Vec<_> = (0..8).map(|_| a.set("x", json!({"n": 1})).unwrap_err()).collect();
    for error in &errors {
        assert!(matches!(error.kind(), ErrorKind::Unavailable | ErrorKind::Timeout), "{error}");
        assert!(error.is_retryable(), "{error}");
        assert!(!error.to_string().contains("secret"), "{error}");
        assert_eq!(error.scope(), Some("a"));
    }
    assert!(!errors[4].message().contains("circuit breaker"), "{}", errors[4]);
    assert!(errors[7].message().contains("circuit breaker"), "{}", errors[7]);
    assert_eq!(a.get("x", || record(7)).unwrap()["n"], 7);
}

fn a_cache_that_is_not_lazy_needs_its_server(uri: &str) {
    let error = Cache::from_uri(&format!("{uri}timeout=2s")).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Unavailable | ErrorKind::Timeout), "{error}");
}

fn layers_are_lazy_in_their_members(uri: &str) {
    let far = format!("{uri}timeout=2s&on_unavailable=compute");
    let far: String = far.bytes().map(|byte| format!("%{byte:02x}")).collect();
    let cache = Cache::from_uri(&format!("tiered:?near=memory:&far={far}&lazy=true")).unwrap();
    let a = cache.dynamic_with(schema("a")).unwrap();
    assert_eq!(a.get("x", || record(7)).unwrap()["n"], 7);
    assert!(a.set("x", json!({"n": 1})).is_err());
    let read = Cache::builder(format!("{uri}lazy=true&timeout=2s")).read_only(true).open().unwrap();
    let a = read.dynamic_with(schema("a")).unwrap();
    assert!(a.fetch("x").unwrap_err().is_retryable());
    assert_eq!(a.set("x", json!({"n": 1})).unwrap_err().kind(), ErrorKind::ReadOnly);
}
