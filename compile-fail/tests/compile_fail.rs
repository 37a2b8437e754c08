//! What `#[derive(ScopeRecord)]` refuses, and in what words: one error for each misuse, at its
//! place. `TRYBUILD=overwrite cargo test --test compile_fail` writes the words anew.

#[test]
fn every_misuse_is_one_error() {
    trybuild::TestCases::new().compile_fail("tests/compile_fail/*.rs");
}
