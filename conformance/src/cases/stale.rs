//! What `get` and its kin serve, compute and store when a record is expired.

use std::sync::Barrier;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::Duration;

use hilcat::{ErrorKind, Result, Scope};

use super::expiry::{MINUTE, minutes, texts};
use super::{Case, case_list};
use crate::context::{TestContext, all_rows, join, key, pair, within};
use crate::records::Raw;

pub(crate) const CASES: &[Case] = case_list![Stores:
    an_expired_record_is_computed_anew,
    a_stale_record_is_served_while_one_caller_computes,
    a_stale_record_is_served_if_the_computation_fails,
    a_stale_record_that_is_removed_is_never_served,
    get_many_computes_what_is_expired_or_stale,
    get_in_background_keeps_no_caller_waiting,
    absence_is_remembered_for_its_time,
    a_write_ends_a_remembered_absence,
    absence_removes_a_stale_record,
    refresh_replaces_what_is_stored,
    refresh_keeps_what_was_written_meanwhile,
    a_fill_over_an_expired_record_keeps_a_newer_write,
];

const SECOND: Duration = Duration::from_secs(1);

/// A failing computation.
fn fail() -> Result<Raw, &'static str> {
    Err("on purpose")
}

fn an_expired_record_is_computed_anew(context: TestContext) -> Result<()> {
    let scope = minutes(&context)?;
    for round in 0..3 {
        let new = pair("a", format!("{round}"));
        assert_eq!(scope.get(key("a"), || new.clone())?, new);
        context.advance(MINUTE - SECOND);
        assert_eq!(scope.get(key("a"), || panic!("it is fresh"))?, new);
        context.advance(SECOND);
    }
    assert_eq!(scope.try_get(key("a"), fail).unwrap_err().kind(), ErrorKind::Compute);
    Ok(())
}

fn a_stale_record_is_served_while_one_caller_computes(context: TestContext) -> Result<()> {
    let scope = context.raw(texts(&context).ttl(MINUTE).stale_while_revalidate(MINUTE))?;
    scope.set(&pair("a", "old"))?;
    context.advance(MINUTE);
    let (begun, go_on) = (Barrier::new(2), Barrier::new(2));
    thread::scope(|threads| -> Result<()> {
        let computes = threads.spawn(|| {
            scope.get(key("a"), || {
                begun.wait();
                go_on.wait();
                pair("a", "new")
            })
        });
        begun.wait();
        let served: Vec<_> =
            (0..5).map(|_| scope.get(key("a"), || panic!("another computes"))).collect();
        assert_eq!(scope.fetch(key("a"))?, None, "a read serves nothing stale");
        go_on.wait();
        assert_eq!(join(computes)?, pair("a", "new"));
        for served in served {
            assert_eq!(served?, pair("a", "old"));
        }
        Ok(())
    })?;
    assert_eq!(scope.fetch(key("a"))?, Some(pair("a", "new")));
    Ok(())
}

fn a_stale_record_is_served_if_the_computation_fails(context: TestContext) -> Result<()> {
    for schema in [
        texts(&context).ttl(MINUTE).stale_if_error(MINUTE * 2),
        texts(&context).ttl(MINUTE).stale_while_revalidate(MINUTE * 2),
    ] {
        let scope = context.raw(schema)?;
        scope.set(&pair("a", "old"))?;
        context.advance(MINUTE);
        assert_eq!(scope.try_get(key("a"), fail)?, pair("a", "old"));
        context.advance(MINUTE * 2 - SECOND);
        assert_eq!(scope.try_get(key("a"), fail)?, pair("a", "old"));
        context.advance(SECOND);
        assert_eq!(scope.try_get(key("a"), fail).unwrap_err().kind(), ErrorKind::Compute);
        assert_eq!(scope.get(key("a"), || pair("a", "new"))?, pair("a", "new"));
    }
    Ok(())
}

fn a_stale_record_that_is_removed_is_never_served(context: TestContext) -> Result<()> {
    type Remove = fn(&Scope<Raw>) -> Result<()>;
    let removals: [Remove; 3] = [
        |scope| scope.pop(key("a")).map(|popped| assert_eq!(popped, None)),
        |scope| scope.pop_many([key("a")]).map(|popped| assert_eq!(popped, [None])),
        |scope| scope.clear(),
    ];
    let schema = texts(&context).ttl(MINUTE).stale_if_error(MINUTE).stale_while_revalidate(MINUTE);
    let scope = context.raw(schema)?;
    for remove in removals {
        scope.set(&pair("a", "old"))?;
        context.advance(MINUTE);
        remove(&scope)?;
        assert_eq!(scope.try_get(key("a"), fail).unwrap_err().kind(), ErrorKind::Compute);
    }
    Ok(())
}

fn get_many_computes_what_is_expired_or_stale(context: TestContext) -> Result<()> {
    let scope = context.raw(texts(&context).ttl(MINUTE).stale_while_revalidate(MINUTE))?;
    scope.set(&pair("gone", "old"))?;
    context.advance(MINUTE);
    scope.set(&pair("stale", "old"))?;
    context.advance(MINUTE);
    scope.set(&pair("fresh", "old"))?;
    let mut asked = Vec::new();
    let rows = scope.get_many(["fresh", "stale", "gone", "none"].map(key), |missing| {
        asked.extend(missing.iter().cloned());
        missing.into_iter().map(|key| pair(key.0.values()[0].clone(), "new")).collect::<Vec<_>>()
    })?;
    let expected = [("fresh", "old"), ("stale", "new"), ("gone", "new"), ("none", "new")];
    assert_eq!(rows, expected.map(|(id, v)| pair(id, v)));
    assert_eq!(asked.len(), 3);
    assert_eq!(scope.len()?, 4);
    // A key that another caller computes is served stale.
    context.advance(MINUTE);
    let (begun, go_on) = (Barrier::new(2), Barrier::new(2));
    thread::scope(|threads| -> Result<()> {
        let computes = threads.spawn(|| {
            scope.get(key("stale"), || {
                begun.wait();
                go_on.wait();
                pair("stale", "newest")
            })
        });
        begun.wait();
        let rows = scope.get_many(["stale", "fresh"].map(key), |missing| {
            missing
                .into_iter()
                .map(|key| pair(key.0.values()[0].clone(), "newest"))
                .collect::<Vec<_>>()
        });
        go_on.wait();
        join(computes)?;
        assert_eq!(rows?, [pair("stale", "new"), pair("fresh", "newest")]);
        Ok(())
    })
}

fn get_in_background_keeps_no_caller_waiting(context: TestContext) -> Result<()> {
    let scope = context.raw(texts(&context).ttl(MINUTE).stale_while_revalidate(MINUTE))?;
    assert_eq!(scope.get_in_background(key("a"), || pair("a", "old"))?, pair("a", "old"));
    context.advance(MINUTE);
    let (go_on, may_go_on) = std::sync::mpsc::channel::<()>();
    let served = scope.get_in_background(key("a"), move || {
        let _ = may_go_on.recv();
        pair("a", "new")
    })?;
    assert_eq!(served, pair("a", "old"));
    // One computation is under way, and no other one begins.
    let again = scope.get_in_background(key("a"), || panic!("another computes"))?;
    assert_eq!(again, pair("a", "old"));
    drop(go_on);
    within(Duration::from_secs(60), move || {
        while scope.fetch(key("a")).unwrap() != Some(pair("a", "new")) {
            thread::sleep(Duration::from_millis(5));
        }
    });
    Ok(())
}

fn absence_is_remembered_for_its_time(context: TestContext) -> Result<()> {
    let scope = context.raw(texts(&context).ttl(MINUTE * 10).negative_ttl(MINUTE))?;
    let calls = AtomicU32::new(0);
    let none = || {
        calls.fetch_add(1, Ordering::Relaxed);
        None
    };
    assert_eq!(scope.get_optional(key("a"), none)?, None);
    assert_eq!(scope.get_optional(key("a"), none)?, None);
    assert_eq!(calls.load(Ordering::Relaxed), 1);
    // No other read sees it.
    assert!(!scope.exists(key("a"))? && scope.len()? == 0 && all_rows(&scope)?.is_empty());
    assert!(!context.cache.scopes()?.iter().any(|scope| scope.contains("absent")));
    context.advance(MINUTE);
    assert_eq!(scope.get_optional(key("a"), none)?, None);
    assert_eq!(calls.load(Ordering::Relaxed), 2);
    context.advance(MINUTE);
    let some = scope.get_optional(key("a"), || Some(pair("a", "1")))?;
    assert_eq!((some, scope.fetch(key("a"))?), (Some(pair("a", "1")), Some(pair("a", "1"))));
    assert_eq!(scope.get_optional(key("a"), || panic!("it is there"))?, Some(pair("a", "1")));
    // Without the option nothing is remembered.
    let forgetful = minutes(&context)?;
    assert_eq!(forgetful.get_optional(key("b"), none)?, None);
    assert_eq!(forgetful.get_optional(key("b"), none)?, None);
    assert_eq!(calls.load(Ordering::Relaxed), 4);
    Ok(())
}

fn a_write_ends_a_remembered_absence(context: TestContext) -> Result<()> {
    type Write = fn(&Scope<Raw>) -> Result<()>;
    let writes: [Write; 7] = [
        |scope| scope.set(&pair("a", "new")),
        |scope| scope.update(&pair("a", "new")).map(drop),
        |scope| scope.set_many([pair("a", "new")]),
        |scope| scope.pop(key("a")).map(drop),
        |scope| scope.pop_many([key("a")]).map(drop),
        |scope| scope.clear(),
        |scope| scope.get(key("a"), || pair("a", "new")).map(drop),
    ];
    let scope = context.raw(texts(&context).ttl(SECOND).negative_ttl(MINUTE))?;
    for (at, write) in writes.into_iter().enumerate() {
        assert_eq!(scope.get_optional(key("a"), || None)?, None);
        write(&scope)?;
        context.advance(SECOND);
        let computed = scope.get_optional(key("a"), || Some(pair("a", "computed")))?;
        assert_eq!(computed, Some(pair("a", "computed")), "write {at}");
        context.advance(SECOND);
    }
    Ok(())
}

fn absence_removes_a_stale_record(context: TestContext) -> Result<()> {
    let scope = context.raw(texts(&context).ttl(MINUTE).stale_if_error(MINUTE))?;
    scope.set(&pair("a", "old"))?;
    context.advance(MINUTE);
    assert_eq!(scope.get_optional(key("a"), || None)?, None);
    assert!(scope.entry(key("a"))?.is_none());
    assert!(scope.try_get(key("a"), fail).is_err());
    Ok(())
}

fn refresh_replaces_what_is_stored(context: TestContext) -> Result<()> {
    for schema in [texts(&context), texts(&context).ttl(MINUTE)] {
        let scope = context.raw(schema)?;
        scope.clear()?;
        assert_eq!(scope.refresh(key("a"), || pair("a", "1"))?, pair("a", "1"));
        assert_eq!(scope.refresh(key("a"), || pair("a", "2"))?, pair("a", "2"));
        assert_eq!(scope.fetch(key("a"))?, Some(pair("a", "2")));
        let other = scope.refresh(key("a"), || pair("b", "3")).unwrap_err();
        assert_eq!(other.kind(), ErrorKind::InvalidInput);
        context.advance(MINUTE);
        assert_eq!(scope.refresh(key("a"), || pair("a", "4"))?, pair("a", "4"));
        assert_eq!(all_rows(&scope)?, [pair("a", "4")]);
    }
    Ok(())
}

fn refresh_keeps_what_was_written_meanwhile(context: TestContext) -> Result<()> {
    let scope = context.texts()?;
    let elsewhere = context.texts_elsewhere()?;
    for writer in [&scope, &elsewhere] {
        scope.set(&pair("a", "old"))?;
        let refreshed = scope.refresh(key("a"), || {
            writer.set(&pair("a", "newer")).unwrap();
            pair("a", "computed")
        })?;
        assert_eq!(refreshed, pair("a", "newer"));
        assert_eq!(scope.fetch(key("a"))?, Some(pair("a", "newer")));
        let refreshed = scope.refresh(key("a"), || {
            writer.pop(key("a")).unwrap();
            pair("a", "computed")
        })?;
        assert_eq!(refreshed, pair("a", "computed"));
        assert_eq!(scope.fetch(key("a"))?, None, "the removal is kept");
    }
    Ok(())
}

fn a_fill_over_an_expired_record_keeps_a_newer_write(context: TestContext) -> Result<()> {
    let schema = texts(&context).ttl(MINUTE).stale_while_revalidate(MINUTE);
    let scope = context.raw(schema.clone())?;
    let cache = context.cache.detached();
    let elsewhere = context.raw_in(&cache, schema)?;
    for age in [MINUTE, MINUTE * 2] {
        scope.set_many([pair("a", "old"), pair("b", "old")])?;
        context.advance(age);
        let got = scope.get(key("a"), || {
            elsewhere.set(&pair("a", "newer")).unwrap();
            pair("a", "computed")
        })?;
        assert_eq!((got, scope.fetch(key("a"))?), (pair("a", "newer"), Some(pair("a", "newer"))));
        let got = scope.get(key("b"), || {
            scope.set(&pair("b", "newer")).unwrap();
            pair("b", "computed")
        })?;
        assert_eq!(got, pair("b", "computed"));
        assert_eq!(scope.fetch(key("b"))?, Some(pair("b", "newer")));
    }
    Ok(())
}
