//! Expiry: when records expire, and how each method treats them.

use std::time::Duration;

use hilcat::{Column, ColumnType, ErrorKind, Result, Schema, Scope, Value};

use super::{Case, case_list};
use crate::context::{TestContext, all_keys, all_rows, key, pair, row, sorted};
use crate::records::Raw;

pub(crate) const CASES: &[Case] = case_list![Expiry:
    an_expired_record_is_absent_for_every_read,
    an_expired_record_is_absent_for_pop_and_update,
    a_write_restarts_the_time_to_live,
    a_partial_set_treats_an_expired_record_as_missing,
    a_write_can_set_its_own_time_to_live,
    a_time_to_live_needs_a_scope_that_uses_expiry,
    touch_restarts_the_time_to_live,
    an_entry_has_the_expiry_of_its_record,
    a_column_can_hold_the_expiry,
    jitter_shortens_the_time_to_live,
    the_expiry_is_that_of_the_write,
    a_scope_without_a_ttl_honours_and_ends_stored_expiries,
    adding_a_ttl_leaves_existing_records_without_expiry,
    options_without_effect_are_errors,
    the_expiry_column_is_hidden,
];

pub(crate) const OF_PERSISTENT: &[Case] = case_list![PersistentExpiry:
    the_expiry_survives_reopening,
    removing_the_ttl_reveals_no_expired_record,
];

pub(crate) const WITHOUT: &[Case] = case_list![NoExpiry: options_of_freshness_are_refused];

pub(crate) const MINUTE: Duration = Duration::from_secs(60);
pub(crate) const SECOND: Duration = Duration::from_secs(1);

/// The scope of texts with a time to live of a minute.
pub(crate) fn minutes(context: &TestContext) -> Result<Scope<Raw>> {
    context.raw(texts(context).ttl(MINUTE))
}

pub(crate) fn texts(context: &TestContext) -> Schema {
    context.pairs(ColumnType::Text, ColumnType::Text)
}

fn an_expired_record_is_absent_for_every_read(context: TestContext) -> Result<()> {
    let scope = minutes(&context)?;
    scope.set(&pair("old", "1"))?;
    context.advance(MINUTE - SECOND);
    scope.set_many([pair("new", "2"), pair("newer", "3")])?;
    assert_eq!(scope.len()?, 3);
    assert_eq!(scope.fetch(key("old"))?, Some(pair("old", "1")));
    // A record is expired at the microsecond of its expiry.
    context.advance(SECOND);
    assert!(!scope.exists(key("old"))? && scope.exists(key("new"))?);
    assert_eq!(scope.fetch(key("old"))?, None);
    let rows = scope.fetch_many(["new", "old", "newer"].map(key))?;
    assert_eq!(rows, [Some(pair("new", "2")), None, Some(pair("newer", "3"))]);
    assert_eq!(all_keys(&scope)?, sorted(["new", "newer"].map(key)));
    assert_eq!(all_rows(&scope)?, sorted([pair("new", "2"), pair("newer", "3")]));
    assert_eq!(scope.len()?, 2);
    context.advance(MINUTE);
    assert_eq!((scope.len()?, all_keys(&scope)?, all_rows(&scope)?), (0, vec![], vec![]));
    Ok(())
}

fn an_expired_record_is_absent_for_pop_and_update(context: TestContext) -> Result<()> {
    let scope = minutes(&context)?;
    scope.set_many(["a", "b", "c", "d"].map(|id| pair(id, "old")))?;
    context.advance(MINUTE);
    scope.set(&pair("d", "new"))?;
    assert_eq!(scope.pop(key("a"))?, None);
    assert_eq!(scope.pop_many(["b", "d"].map(key))?, [None, Some(pair("d", "new"))]);
    assert_eq!(scope.update(&pair("c", "new"))?, None);
    assert_eq!(scope.update(&pair("c", "newer"))?, Some(pair("c", "new")));
    Ok(())
}

fn a_write_restarts_the_time_to_live(context: TestContext) -> Result<()> {
    let scope = minutes(&context)?;
    let ids = ["set", "update", "set_many", "partial", "left"];
    scope.set_many(ids.map(|id| pair(id, "old")))?;
    context.advance(MINUTE / 2);
    scope.set(&pair("set", "new"))?;
    scope.update(&pair("update", "new"))?;
    scope.set_many([pair("set_many", "new")])?;
    scope.set(&pair("partial", Value::Absent))?;
    context.advance(MINUTE / 2);
    assert_eq!(all_keys(&scope)?, sorted(ids[..4].iter().map(|id| key(*id))));
    assert_eq!(scope.fetch(key("partial"))?, Some(pair("partial", "old")));
    context.advance(MINUTE / 2);
    assert_eq!(scope.len()?, 0);
    Ok(())
}

fn a_partial_set_treats_an_expired_record_as_missing(context: TestContext) -> Result<()> {
    let schema = texts(&context).column(Column::new("n", ColumnType::Int).default_value(7_i32));
    let scope = context.raw(schema.ttl(MINUTE))?;
    let of = |v: Value, n: Value| row(["a".into(), v, n]);
    scope.set(&of("old".into(), 1.into()))?;
    context.advance(MINUTE);
    scope.set(&of("new".into(), Value::Absent))?;
    assert_eq!(scope.fetch(key("a"))?, Some(of("new".into(), 7.into())));
    scope.set(&of(Value::Absent, 2.into()))?;
    assert_eq!(scope.fetch(key("a"))?, Some(of("new".into(), 2.into())));
    context.advance(MINUTE);
    scope.set_many([of(Value::Absent, 3.into())])?;
    assert_eq!(scope.fetch(key("a"))?, Some(of(Value::Null, 3.into())));
    context.advance(MINUTE);
    assert_eq!(scope.update(&of("x".into(), Value::Absent))?, None);
    assert_eq!(scope.fetch(key("a"))?, Some(of("x".into(), 7.into())));
    Ok(())
}

fn a_write_can_set_its_own_time_to_live(context: TestContext) -> Result<()> {
    for schema in [texts(&context).ttl(MINUTE), texts(&context).ttl_never()] {
        let scope = context.raw(schema)?;
        scope.clear()?;
        scope.set_with_ttl(&pair("a", "1"), SECOND)?;
        scope.set_many_with_ttl([pair("b", "2"), pair("c", "3")], SECOND * 2)?;
        scope.set(&pair("d", "4"))?;
        context.advance(SECOND);
        assert_eq!(all_keys(&scope)?, sorted(["b", "c", "d"].map(key)));
        // The next write uses the time to live of the scope.
        scope.set(&pair("b", "5"))?;
        context.advance(SECOND);
        assert_eq!(all_keys(&scope)?, sorted(["b", "d"].map(key)));
    }
    // Without a time to live of their own, records of the scope never expire.
    context.advance(MINUTE * 1_000_000);
    let never = context.raw(texts(&context).ttl_never())?;
    assert_eq!(all_keys(&never)?, sorted(["b", "d"].map(key)));
    Ok(())
}

fn a_time_to_live_needs_a_scope_that_uses_expiry(context: TestContext) -> Result<()> {
    let plain = context.raw(texts(&context))?;
    plain.set(&pair("a", "1"))?;
    let kind = |result: Result<()>| result.unwrap_err().kind();
    assert_eq!(kind(plain.set_with_ttl(&pair("a", "2"), MINUTE)), ErrorKind::Unsupported);
    assert_eq!(kind(plain.touch(key("a")).map(drop)), ErrorKind::Unsupported);
    assert_eq!(plain.fetch(key("a"))?, Some(pair("a", "1")));
    let entry = plain.entry(key("a"))?.unwrap();
    assert_eq!((entry.is_stale(), entry.expires_at()), (false, None));
    let scope = minutes(&context)?;
    assert_eq!(kind(scope.set_with_ttl(&pair("a", "2"), Duration::ZERO)), ErrorKind::InvalidInput);
    Ok(())
}

fn touch_restarts_the_time_to_live(context: TestContext) -> Result<()> {
    let scope = context.raw(texts(&context).ttl(MINUTE).stale_if_error(MINUTE))?;
    scope.set_many(["a", "b"].map(|id| pair(id, id)))?;
    context.advance(MINUTE / 2);
    assert!(scope.touch(key("a"))?);
    assert!(!scope.touch(key("missing"))?);
    context.advance(MINUTE / 2);
    assert_eq!(all_rows(&scope)?, [pair("a", "a")]);
    assert!(!scope.touch(key("b"))?, "touch leaves a stale record stale");
    context.advance(MINUTE / 2);
    assert!(!scope.touch(key("a"))?);
    assert_eq!(scope.len()?, 0);
    Ok(())
}

fn an_entry_has_the_expiry_of_its_record(context: TestContext) -> Result<()> {
    let scope = context.raw(texts(&context).ttl(MINUTE).stale_while_revalidate(MINUTE))?;
    assert!(scope.entry(key("a"))?.is_none());
    scope.set(&pair("a", "1"))?;
    let expires = context.now() + MINUTE;
    let entry = scope.entry(key("a"))?.unwrap();
    assert_eq!((entry.is_stale(), entry.expires_at()), (false, Some(expires)));
    assert_eq!(entry.into_record(), pair("a", "1"));
    context.advance(MINUTE);
    let entry = scope.entry(key("a"))?.unwrap();
    assert_eq!((entry.is_stale(), entry.expires_at()), (true, Some(expires)));
    assert_eq!(scope.fetch(key("a"))?, None);
    context.advance(MINUTE);
    assert!(scope.entry(key("a"))?.is_none());
    Ok(())
}

fn a_column_can_hold_the_expiry(context: TestContext) -> Result<()> {
    let until = Column::new("until", ColumnType::Timestamp).nullable(true);
    let scope = context.raw(texts(&context).column(until).expires_at("until"))?;
    let now = context.now().duration_since(std::time::UNIX_EPOCH).unwrap().as_micros() as i64;
    let of = |id: &str, until: Value| row([id.into(), "v".into(), until]);
    let after = |seconds: i64| Value::Timestamp(now + seconds * 1_000_000 + 1);
    scope.set_many([of("a", after(1)), of("b", after(2)), of("never", Value::Null)])?;
    assert_eq!(scope.fetch(key("a"))?, Some(of("a", after(1))));
    context.advance(SECOND);
    assert_eq!(scope.len()?, 3);
    context.advance(Duration::from_micros(1));
    assert_eq!(all_keys(&scope)?, sorted(["b", "never"].map(key)));
    assert_eq!(scope.pop(key("a"))?, None);
    for result in [scope.set_with_ttl(&of("b", after(2)), SECOND), scope.touch(key("b")).map(drop)]
    {
        assert_eq!(result.unwrap_err().kind(), ErrorKind::InvalidInput);
    }
    // A record whose expiry has passed is missing at once.
    scope.set(&of("b", after(-1)))?;
    assert!(!scope.exists(key("b"))?);
    let computed = scope.get(key("b"), || of("b", after(9)))?;
    assert_eq!((scope.fetch(key("b"))?, scope.len()?), (Some(computed), 2));
    Ok(())
}

fn jitter_shortens_the_time_to_live(context: TestContext) -> Result<()> {
    let scope = context.raw(texts(&context).ttl(MINUTE).jitter(0.1))?;
    let mut seen = std::collections::BTreeSet::new();
    for at in 0..40 {
        scope.set(&pair(format!("{at}"), "v"))?;
        let expires = scope.entry(key(format!("{at}")))?.unwrap().expires_at().unwrap();
        let left = expires.duration_since(context.now()).unwrap();
        assert!(left <= MINUTE && left >= MINUTE * 9 / 10 - SECOND, "{left:?}");
        seen.insert(left);
    }
    assert!(seen.len() > 20, "expiries are spread");
    Ok(())
}

fn the_expiry_is_that_of_the_write(context: TestContext) -> Result<()> {
    let short = context.raw(texts(&context).ttl(SECOND))?;
    let long = context.raw(texts(&context).ttl(MINUTE))?;
    short.set(&pair("short", "1"))?;
    long.set(&pair("long", "2"))?;
    context.advance(SECOND);
    for scope in [&short, &long] {
        assert_eq!(all_keys(scope)?, [key("long")]);
    }
    Ok(())
}

fn a_scope_without_a_ttl_honours_and_ends_stored_expiries(context: TestContext) -> Result<()> {
    let scope = minutes(&context)?;
    scope.set_many(["a", "b"].map(|id| pair(id, "old")))?;
    let plain = context.raw(texts(&context))?;
    assert_eq!(plain.len()?, 2);
    plain.set(&pair("a", "new"))?;
    context.advance(MINUTE);
    for scope in [&scope, &plain] {
        assert_eq!(all_rows(scope)?, [pair("a", "new")]);
    }
    assert_eq!(plain.get(key("b"), || pair("b", "computed"))?, pair("b", "computed"));
    context.advance(MINUTE);
    assert_eq!(scope.len()?, 2);
    Ok(())
}

fn adding_a_ttl_leaves_existing_records_without_expiry(context: TestContext) -> Result<()> {
    let plain = context.raw(texts(&context))?;
    plain.set_many(["a", "b"].map(|id| pair(id, "old")))?;
    let scope = minutes(&context)?;
    scope.set(&pair("b", "new"))?;
    context.advance(MINUTE);
    assert_eq!(all_rows(&scope)?, [pair("a", "old")]);
    assert_eq!(scope.entry(key("a"))?.unwrap().expires_at(), None);
    Ok(())
}

fn options_without_effect_are_errors(context: TestContext) -> Result<()> {
    let text = texts(&context);
    let lease = Duration::from_millis(1);
    let wrong = [
        ("stale_while_revalidate", text.clone().stale_while_revalidate(MINUTE)),
        ("stale_if_error", text.clone().ttl_never().stale_if_error(MINUTE)),
        ("jitter", text.clone().jitter(0.5)),
        ("jitter", text.clone().ttl(MINUTE).jitter(1.5)),
        ("max_records", text.clone().max_records(5)),
        ("ttl", text.clone().ttl(Duration::ZERO)),
        ("expires_at", text.clone().expires_at("nowhere")),
        ("expires_at", text.clone().expires_at("v")),
        ("lease", text.clone().single_flight(hilcat::SingleFlight::Shared { lease })),
    ];
    for (option, schema) in wrong {
        let error = context.raw(schema).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidSchema, "{error}");
        assert!(error.to_string().contains(&format!("`{option}`")), "{option}: {error}");
    }
    Ok(())
}

fn the_expiry_column_is_hidden(context: TestContext) -> Result<()> {
    let scope = minutes(&context)?;
    assert_eq!(scope.schema().columns().len(), 2);
    let reserved = Column::new("hilcat_expires_at", ColumnType::Timestamp).nullable(true);
    let error = context.raw(texts(&context).column(reserved)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidSchema, "{error}");
    let json = context.dynamic(texts(&context).ttl(MINUTE))?;
    json.set("a", serde_json::json!({"id": "a", "v": "1"}))?;
    assert_eq!(json.fetch("a")?, Some(serde_json::json!({"id": "a", "v": "1"})));
    Ok(())
}

fn the_expiry_survives_reopening(mut context: TestContext) -> Result<()> {
    minutes(&context)?.set(&pair("a", "1"))?;
    context.open_anew()?;
    context.advance(MINUTE - SECOND);
    let scope = minutes(&context)?;
    assert_eq!(scope.fetch(key("a"))?, Some(pair("a", "1")));
    context.advance(SECOND);
    assert_eq!(scope.fetch(key("a"))?, None);
    Ok(())
}

fn removing_the_ttl_reveals_no_expired_record(mut context: TestContext) -> Result<()> {
    let scope = minutes(&context)?;
    scope.set_many(["a", "b"].map(|id| pair(id, "v")))?;
    context.advance(MINUTE / 2);
    scope.set(&pair("b", "v"))?;
    drop(scope);
    context.advance(MINUTE / 2);
    context.open_anew()?;
    let plain = context.raw(texts(&context))?;
    assert_eq!(all_keys(&plain)?, [key("b")]);
    plain.set(&pair("b", "kept"))?;
    context.advance(MINUTE);
    assert_eq!(all_rows(&plain)?, [pair("b", "kept")]);
    Ok(())
}

fn options_of_freshness_are_refused(context: TestContext) -> Result<()> {
    let schema = || texts(&context);
    for (option, schema) in
        [("ttl", schema().ttl(MINUTE)), ("negative_ttl", schema().negative_ttl(MINUTE))]
    {
        let error = context.raw(schema).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported, "{option}: {error}");
        assert!(error.to_string().contains(&format!("`{option}`")), "{option}: {error}");
    }
    let plain = context.raw(schema())?;
    let error = plain.set_with_ttl(&pair("a", "1"), MINUTE).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
    Ok(())
}
