//! keys, iter and len.

use std::collections::HashMap;
use std::time::Duration;

use hilcat::{Result, Scope, Value};

use super::{Case, case_list};
use crate::context::{TestContext, all_keys, all_rows, key, pair, sorted, within};
use crate::records::Raw;

pub(crate) const CASES: &[Case] = case_list![Stores:
    a_listing_of_nothing,
    a_listing_of_one,
    a_listing_of_a_page_and_more,
    a_listing_of_ten_thousand_and_one,
    a_listing_follows_the_writes_before_it,
    a_listing_is_sound_while_others_write,
    an_open_listing_blocks_no_write,
    an_open_listing_can_be_left,
];

fn listed(context: &TestContext, count: i64) -> Result<()> {
    let scope = context.numbers()?;
    let records: Vec<Raw> = (0..count).map(|n| pair(n * 7 - 3, n)).collect();
    scope.set_many(&records)?;
    assert_eq!(scope.len()?, count as u64);
    assert_eq!(all_keys(&scope)?, sorted((0..count).map(|n| key(n * 7 - 3))));
    assert_eq!(all_rows(&scope)?, sorted(records));
    // Where all scopes share one space, every listing that comes later would go through these.
    scope.clear()
}

fn a_listing_of_nothing(context: TestContext) -> Result<()> {
    listed(&context, 0)
}

fn a_listing_of_one(context: TestContext) -> Result<()> {
    listed(&context, 1)
}

fn a_listing_of_a_page_and_more(context: TestContext) -> Result<()> {
    listed(&context, 2_500)
}

fn a_listing_of_ten_thousand_and_one(context: TestContext) -> Result<()> {
    listed(&context, 10_001)
}

fn a_listing_follows_the_writes_before_it(context: TestContext) -> Result<()> {
    let scope = context.numbers()?;
    for n in 0..30 {
        scope.set(&pair(n, n))?;
        assert_eq!((scope.len()?, scope.keys()?.count() as i64), (n as u64 + 1, n + 1));
    }
    for n in 0..30 {
        scope.pop(key(n))?;
        assert_eq!((scope.len()?, scope.iter()?.count() as i64), (29 - n as u64, 29 - n));
    }
    Ok(())
}

/// A record that nobody touches is seen once, however many are written and removed meanwhile.
fn a_listing_is_sound_while_others_write(context: TestContext) -> Result<()> {
    let scope = context.numbers()?;
    scope.set_many((0..6_000).map(|n| pair(n, n)))?;
    let mut seen: HashMap<i64, u32> = HashMap::new();
    for (at, found) in scope.keys()?.enumerate() {
        let id = found?.0;
        let [Value::Int(id)] = id.values() else { panic!("{id}") };
        *seen.entry(*id).or_default() += 1;
        // The odd ones are the busy ones: removed, written again, and new.
        let n = at as i64;
        if n % 50 == 0 && n < 6_000 {
            scope.pop(key(n + 1))?;
            scope.set(&pair(5_999 - n, -n))?;
            scope.set(&pair(10_001 + n, n))?;
            scope.set(&pair(-n - 1, n))?;
        }
    }
    for id in (0..6_000).step_by(2) {
        assert_eq!(seen.get(&id), Some(&1), "{id}");
    }
    scope.clear()
}

const LIMIT: Duration = Duration::from_secs(20);

/// One who holds a listing open, and writes: with some engines the two wait for one another.
fn an_open_listing_blocks_no_write(context: TestContext) -> Result<()> {
    let scope = context.numbers()?;
    scope.set_many((0..3_000).map(|n| pair(n, n)))?;
    let worker = scope.clone();
    within(LIMIT, move || write_while_listing(&worker))?;
    assert_eq!(all_rows(&scope)?, [pair(5, 5)]);
    Ok(())
}

fn write_while_listing(scope: &Scope<Raw>) -> Result<()> {
    let mut keys = scope.keys()?;
    let mut rows = scope.iter()?;
    assert!(keys.next().is_some_and(|key| key.is_ok()));
    assert!(rows.next().is_some_and(|row| row.is_ok()));
    scope.set(&pair(-1, 1))?;
    assert_eq!(scope.update(&pair(-1, 2))?, Some(pair(-1, 1)));
    scope.set_many((-100..0).map(|n| pair(n, n)))?;
    assert_eq!(scope.get(key(-200), || pair(-200, 3))?, pair(-200, 3));
    assert_eq!(scope.pop(key(-1))?, Some(pair(-1, -1)));
    scope.pop_many((-100..-50).map(key))?;
    let other = scope.clone();
    std::thread::spawn(move || other.set(&pair(-300, 4))).join().unwrap()?;
    assert_eq!(scope.fetch(key(-300))?, Some(pair(-300, 4)));
    assert!(keys.next().is_some_and(|key| key.is_ok()));
    scope.clear()?;
    scope.set(&pair(5, 5))?;
    keys.try_for_each(|key| key.map(drop))?;
    rows.try_for_each(|row| row.map(drop))
}

/// Listings that nobody reads to the end hold nothing back.
fn an_open_listing_can_be_left(context: TestContext) -> Result<()> {
    let scope = context.numbers()?;
    scope.set_many((0..3_000).map(|n| pair(n, n)))?;
    let worker = scope.clone();
    within(LIMIT, move || -> Result<()> {
        for n in 0..40 {
            let mut rows = worker.iter()?;
            assert!(rows.next().is_some_and(|row| row.is_ok()));
            let mut keys = worker.keys()?;
            assert!(keys.next().is_some_and(|key| key.is_ok()));
            worker.set(&pair(n, -n))?;
        }
        Ok(())
    })?;
    assert_eq!(scope.len()?, 3_000);
    scope.clear()
}
