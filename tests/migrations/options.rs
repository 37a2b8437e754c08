//! The options of a URI.

use std::time::{Duration, Instant};

use diesel::connection::SimpleConnection;
use hilcat::{Cache, ErrorKind};
use serde_json::json;

use crate::support::{File, int, scope};

#[test]
fn every_option_is_accepted() {
    for options in [
        "synchronous=full",
        "synchronous=NORMAL",
        "synchronous=off&pool_size=1",
        "timeout=250ms",
        "timeout=3s&pool_size=64&ttl=1h&synchronous=normal",
    ] {
        let file = File::new();
        let cache = Cache::from_uri(&format!("{}?{options}", file.uri())).unwrap();
        let scope = cache.dynamic_with(scope([int("n")])).unwrap();
        scope.set("x", json!({"n": 1})).unwrap();
        assert_eq!(file.cache().scopes().unwrap(), ["a"], "{options}");
        assert_eq!(file.query("SELECT journal_mode FROM pragma_journal_mode"), ["wal"]);
    }
}

#[test]
fn the_timeout_is_honoured() {
    let file = File::new();
    let uri = format!("{}?timeout=200ms", file.uri());
    // The options in the URI override those of the builder.
    let cache = Cache::builder(uri).timeout(Duration::from_secs(60)).open().unwrap();
    let scope = cache.dynamic_with(scope([int("n")])).unwrap();
    let mut other = file.connection();
    other.batch_execute("BEGIN IMMEDIATE").unwrap();
    let start = Instant::now();
    assert_eq!(scope.set("x", json!({"n": 1})).unwrap_err().kind(), ErrorKind::Timeout);
    let took = start.elapsed();
    assert!(took >= Duration::from_millis(180) && took < Duration::from_millis(700), "{took:?}");
}

#[test]
fn invalid_options_are_named() {
    let file = File::new();
    for (options, expected) in [
        (
            "synchronus=full",
            "`sqlite:` has no option `synchronus`; its options are lazy, read_only, timeout, pool_size, ttl, stale_while_revalidate, stale_if_error, jitter, negative_ttl, max_records, auto_purge, single_flight, lease, on_unavailable, synchronous, single_table, scope_columns, key_columns, columns, column_types, default_column_type, value, migrate; did you mean `synchronous`?",
        ),
        ("x=1", "its options are lazy, read_only, timeout, pool_size, ttl, stale_while_revalidate"),
        (
            "synchronous=fulll",
            "the option `synchronous` is one of full, normal, off; did you mean `full`?",
        ),
        ("pool_size=0", "the option `pool_size` must be a number from 1"),
        ("pool_size=-1", "the option `pool_size` must be a number from 1"),
        ("timeout=soon", "the option `timeout`: `soon` is not a duration; write it as 30s"),
        ("timeout", "write it as name=value"),
        ("timeout=1s&timeout=2s", "duplicate option `timeout` in the URI"),
    ] {
        let error = Cache::from_uri(&format!("{}?{options}", file.uri())).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidConfig, "{error}");
        assert!(error.to_string().contains(expected), "{options}: {error}");
        assert!(!error.to_string().contains(&file.path()), "{error}");
    }
    assert!(!std::path::Path::new(&file.path()).exists());
}

#[test]
fn a_path_is_decoded() {
    let directory = tempfile::tempdir().unwrap();
    for (escaped, name) in [
        ("a%20b.db", "a b.db"),
        ("100%25.db", "100%.db"),
        ("what%3F.db", "what?.db"),
        ("%C3%A9%F0%9F%98%80.db", "é😀.db"),
        ("é.db", "é.db"),
        ("plus+#.db", "plus+#.db"),
        ("file:x.db", "file:x.db"),
    ] {
        let uri = format!("sqlite:///{}/{escaped}", directory.path().display());
        let cache = Cache::from_uri(&uri).unwrap();
        cache.dynamic_with(scope([int("n")])).unwrap().set("x", json!({"n": 1})).unwrap();
        assert!(directory.path().join(name).is_file(), "{name}");
    }
    let error = Cache::from_uri("sqlite:////tmp/%FF.db").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidConfig);
    let error = Cache::from_uri("sqlite:////tmp/%00.db").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidConfig);
}

#[test]
fn the_error_for_a_uri_without_a_path_shows_the_syntax() {
    for uri in ["sqlite:", "sqlite://", "sqlite:///", "sqlite:t.db", "sqlite://t.db"] {
        let error = Cache::from_uri(uri).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidConfig);
        assert!(
            error.to_string().contains("sqlite:///relative.db or sqlite:////absolute/path.db"),
            "{error}"
        );
    }
}
