//! The examples do what they say.

#![cfg(all(feature = "derive", feature = "sqlite"))]
#![allow(clippy::unwrap_used, reason = "a failed test panics")]
#![allow(dead_code, unreachable_pub, reason = "an example is a program")]

#[path = "../examples/diesel_queries.rs"]
mod diesel_queries;
#[path = "../examples/diesel_transaction.rs"]
mod diesel_transaction;

/// A URI of a file that does not stand yet.
fn fresh(directory: &tempfile::TempDir) -> String {
    format!("sqlite:///{}", directory.path().join("example.db").display())
}

#[test]
fn diesel_queries() {
    let directory = tempfile::tempdir().unwrap();
    for uri in [fresh(&directory), fresh(&directory), "sqlite::memory:".to_owned()] {
        let (popular, readers) = diesel_queries::run(&uri).unwrap();
        assert_eq!(readers, 45);
        let popular = format!("{popular:?}");
        let at = |name: &str| popular.find(&format!("{name:?}"));
        assert!(at("a7") < at("a2") && at("a7").is_some(), "{popular}");
        assert!(at("a0").is_none() && at("a9").is_none(), "{popular}");
    }
    let error = diesel_queries::run("memory:").unwrap_err();
    assert!(error.to_string().contains("`memory`"), "{error}");
}

#[test]
fn diesel_transaction() {
    let directory = tempfile::tempdir().unwrap();
    let (orders, stock) = diesel_transaction::run(&fresh(&directory)).unwrap();
    assert_eq!(orders, 1);
    assert!(format!("{stock:?}").contains("pieces: 1"), "{stock:?}");
}
