//! The removal of expired records, and bounds of scopes.

use std::time::Duration;

use hilcat::{ErrorKind, Result};

use super::expiry::{MINUTE, SECOND, texts};
use super::{Case, case_list};
use crate::context::{TestContext, key, pair};

pub(crate) const CASES: &[Case] = case_list![Expiry:
    purge_removes_records_past_all_windows,
    a_purge_of_the_cache_covers_every_scope,
    churn_leaves_few_expired_records,
    max_records_removes_the_records_that_expire_first,
];

/// Returns whether the server itself removes expired records, by its own clock.
fn removes_itself(context: &TestContext) -> bool {
    context.cache.capabilities().removes_expired
}

fn purge_removes_records_past_all_windows(context: TestContext) -> Result<()> {
    let schema = texts(&context).ttl(MINUTE).stale_if_error(MINUTE).auto_purge(false);
    let scope = context.raw(schema)?;
    scope.set_many((0..2_500).map(|at| pair(format!("{at}"), "v")))?;
    context.advance(MINUTE);
    scope.set(&pair("live", "v"))?;
    assert_eq!(scope.purge()?, 0, "the records are stale");
    context.advance(MINUTE - Duration::from_micros(1));
    assert_eq!(scope.purge()?, 0);
    context.advance(Duration::from_micros(1));
    scope.set(&pair("live", "v"))?;
    assert_eq!(scope.purge()?, if removes_itself(&context) { 0 } else { 2_500 });
    assert_eq!((scope.purge()?, scope.len()?), (0, 1));
    Ok(())
}

fn a_purge_of_the_cache_covers_every_scope(context: TestContext) -> Result<()> {
    let schema = |name: &str| {
        let name = format!("{}{name}", context.scope);
        texts(&context).ttl(MINUTE).auto_purge(false).renamed(&name).table(&name)
    };
    for name in ["x", "y"] {
        context.raw(schema(name))?.set_many(["a", "b"].map(|id| pair(id, "v")))?;
    }
    context.advance(MINUTE);
    if context.is_exclusive() {
        assert_eq!(context.cache.purge()?, if removes_itself(&context) { 0 } else { 4 });
    }
    let removed = |name: &str| context.cache.purge_scope(&format!("{}{name}", context.scope));
    let left = if context.is_exclusive() || removes_itself(&context) { 0 } else { 2 };
    assert_eq!((removed("x")?, removed("y")?, removed("none")?), (left, left, 0));
    Ok(())
}

fn churn_leaves_few_expired_records(context: TestContext) -> Result<()> {
    let scope = context.raw(texts(&context).ttl(SECOND))?;
    for at in 0..500 {
        scope.set(&pair(format!("{at}"), "v"))?;
        context.advance(SECOND / 100);
    }
    let live = scope.len()?;
    assert!((99..=101).contains(&live), "{live}");
    // A purge finds the expired records that the writes did not remove.
    let left = scope.purge()?;
    assert!(left <= 200, "{left}");
    Ok(())
}

fn max_records_removes_the_records_that_expire_first(context: TestContext) -> Result<()> {
    let schema = texts(&context).ttl(MINUTE).max_records(100);
    if !context.cache.capabilities().max_records {
        let error = context.raw(schema).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported);
        assert!(error.to_string().contains("`max_records`"), "{error}");
        return Ok(());
    }
    let scope = context.raw(schema)?;
    for at in 0..300 {
        scope.set(&pair(format!("{at:04}"), "v"))?;
        context.advance(Duration::from_millis(10));
        if at % 20 == 0 {
            assert!(scope.len()? <= 150, "at {at}");
        }
    }
    assert!(scope.exists(key("0299"))? && !scope.exists(key("0100"))?);
    assert!(scope.len()? >= 75);
    Ok(())
}
