//! What `#[derive(ScopeRecord)]` refuses, and in what words: one error for each misuse, at its
//! place. `TRYBUILD=overwrite cargo test --test compile_fail` writes the words anew.

#[cfg(feature = "column_types")]
#[test]
fn every_misuse_is_one_error() {
    trybuild::TestCases::new().compile_fail("tests/compile_fail/*.rs");
}

/// Run by `cargo test -p hilcat-compile-fail --no-default-features`.
#[cfg(not(feature = "column_types"))]
#[test]
fn a_type_of_a_feature_that_is_off_names_the_feature() {
    trybuild::TestCases::new().compile_fail("tests/compile_fail_without_features/*.rs");
}
