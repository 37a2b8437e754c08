use super::*;

#[test]
fn a_message_names_its_context() {
    let error = Error::invalid_input("too long").with_column("name").with_scope("a");
    assert_eq!(error.to_string(), "scope `a`, column `name`: too long");
    assert_eq!(
        error.in_operation("sqlite", "set").to_string(),
        "sqlite set, scope `a`, column `name`: too long"
    );
}

#[test]
fn the_alternate_form_has_the_sources() {
    let refused = std::io::Error::new(std::io::ErrorKind::PermissionDenied, "no entry");
    let cause = Error::new(ErrorKind::Io, "cannot read `a.toml`").with_source(refused);
    let error = Error::invalid_config("no schemas").with_source(cause);
    assert_eq!(error.to_string(), "no schemas");
    assert_eq!(format!("{error:#}"), "no schemas: cannot read `a.toml`: no entry");
}

#[test]
fn a_source_that_the_message_quotes_is_not_repeated() {
    let cause = Error::invalid_input("too long");
    let error = Error::invalid_config(format!("bad option: {cause}")).with_source(cause);
    assert_eq!(format!("{error:#}"), "bad option: too long");
}

#[test]
fn the_error_of_a_closure_names_its_kind() {
    let missing = std::io::Error::new(std::io::ErrorKind::NotFound, "secret");
    let error = Error::of_closure(missing);
    assert_eq!(error.kind(), ErrorKind::Compute);
    assert_eq!(error.to_string(), "the closure failed with entity not found");
    let error = Error::of_closure("9".parse::<bool>().unwrap_err());
    assert_eq!(error.to_string(), "the closure failed with core::str::error::ParseBoolError");
    let error = Error::of_closure(Error::new(ErrorKind::Timeout, "too slow").with_scope("b"));
    assert_eq!(error.kind(), ErrorKind::Timeout);
    assert!(error.is_retryable());
    assert_eq!(error.to_string(), "the closure failed with timeout: scope `b`: too slow");
    assert_eq!(format!("{error:#}"), error.to_string());
}

#[test]
fn the_first_context_is_kept() {
    let error = Error::invalid_input("x").with_column("inner").with_column("outer");
    assert_eq!(error.column(), Some("inner"));
}
