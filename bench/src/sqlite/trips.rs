//! Statements, counted through Diesel's instrumentation.

use std::sync::atomic::{AtomicUsize, Ordering};

use diesel::connection::{InstrumentationEvent, set_default_instrumentation};
use hilcat::backend::Sqlite;
use hilcat::{Cache, Column, ColumnType, Schema};

use crate::harness::Outcome;
use crate::record::Item;
use crate::report::{Goal, Line};

/// The number of opened scopes.
const SCOPES: usize = 100;

/// The number of statements that were started since the last count.
static STATEMENTS: AtomicUsize = AtomicUsize::new(0);

/// The number of those that set up a new connection.
static PRAGMAS: AtomicUsize = AtomicUsize::new(0);

pub fn run(print: &mut dyn FnMut(Line)) -> Outcome {
    set_default_instrumentation(|| Some(Box::new(count)))?;
    let result = counted(print);
    set_default_instrumentation(|| None)?;
    result
}

fn count(event: InstrumentationEvent<'_>) {
    let InstrumentationEvent::StartQuery { query, .. } = event else { return };
    STATEMENTS.fetch_add(1, Ordering::Relaxed);
    if query.to_string().starts_with("PRAGMA") {
        PRAGMAS.fetch_add(1, Ordering::Relaxed);
    }
}

/// Returns how many statements a call sends, and how many of them set up connections.
fn statements_of(call: impl FnOnce() -> Outcome) -> Outcome<(usize, usize)> {
    STATEMENTS.store(0, Ordering::Relaxed);
    PRAGMAS.store(0, Ordering::Relaxed);
    call()?;
    Ok((STATEMENTS.load(Ordering::Relaxed), PRAGMAS.load(Ordering::Relaxed)))
}

fn counted(print: &mut dyn FnMut(Line)) -> Outcome {
    let directory = tempfile::tempdir()?;
    let path = directory.path().join("trips.db");
    let open = || -> Outcome<Cache> {
        let cache = Cache::from_store(Sqlite::builder(&path).open()?);
        (0..SCOPES).try_for_each(|at| cache.dynamic_with(scope(at)).map(drop))?;
        Ok(cache)
    };
    let cache = open()?;
    let (fresh, _) = statements_of(|| cache.scope::<Item>().map(drop).map_err(Into::into))?;
    if fresh == 0 {
        return Err("no statement was counted where a table was made".into());
    }
    let (all, setup) = statements_of(|| open().map(drop))?;
    let work = format!("SQLite: open {SCOPES} unchanged scopes ({setup} more set connections up)");
    print(line(work, all - setup, "the goal: 2 in all", 2));

    let items = cache.scope::<Item>()?;
    let item = Item { id: "a".into(), name: "a".into(), comment: None, count: 1, score: 1.0 };
    items.set(&item)?;
    items.fetch("a")?;
    let get = || items.get("a", || unreachable!("it is stored")).map(drop).map_err(Into::into);
    let (hit, _) = statements_of(get)?;
    let (fetch, _) = statements_of(|| items.fetch("a").map(drop).map_err(Into::into))?;
    print(line("SQLite: get, a hit".into(), hit, "hilcat, `fetch`", fetch));
    Ok(())
}

fn scope(at: usize) -> Schema {
    Schema::new(format!("scope{at}"))
        .unique(Column::new("id", ColumnType::Text))
        .column(Column::new("value", ColumnType::Text).nullable(true))
}

fn line(work: String, ours: usize, against: &str, theirs: usize) -> Line {
    let (ours, theirs) = (ours as f64, theirs as f64);
    Line {
        work,
        against: against.to_owned(),
        ours,
        theirs,
        ratio: ours / theirs,
        spread: None,
        unit: "statements",
        goal: Goal::AtMost(1.0),
    }
}
