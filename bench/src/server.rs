//! Races on servers: hilcat, the raw client and hand-written Diesel on one table.

mod trips;

use std::hint::black_box;
use std::ops::Range;
use std::thread;

use hilcat::{Cache, Scope};

use crate::harness::{Outcome, Race};
use crate::record::{Data, Item, RECORDS};
use crate::report::{Goal, Line};

/// The number of keys of a `fetch_many`.
const KEYS: usize = 1_000;

/// The number of concurrent callers, and of the records that each fetches in a step.
pub const CALLERS: usize = 32;
pub const FETCHES: usize = 200;

/// The raw client of a server, with prepared statements.
pub trait Raw {
    /// Its name in the table.
    const NAME: &'static str;

    fn get(&mut self, id: &str) -> Option<Item>;
    fn set(&mut self, item: &Item);
    /// A loop of the same statement in one transaction.
    fn set_many(&mut self, items: &[Item]);
}

/// Hand-written queries of Diesel on a connection of the cache, since Diesel's own need the C
/// libraries. It is checked out once per round, so that the peer has no cost of a pool or deadline.
pub trait ByDiesel {
    fn get_all<'a>(&self, ids: impl Iterator<Item = &'a str>);
    fn set_all<'a>(&self, items: impl Iterator<Item = &'a Item>);
}

/// Returns the URI of a server, from the first variable that is set.
pub fn uri(variables: [&str; 2]) -> Option<String> {
    let uri = variables.iter().find_map(|variable| std::env::var(variable).ok());
    if uri.is_none() {
        eprintln!("hilcat-bench: neither {} is set", variables.join(" nor "));
    }
    uri
}

/// Returns a URI with one more option.
pub fn with(uri: &str, option: &str) -> String {
    let sign = if uri.contains('?') { '&' } else { '?' };
    format!("{uri}{sign}{option}")
}

/// The sides of a race, all on the same table.
pub struct Sides<R, D> {
    pub server: &'static str,
    pub uri: String,
    pub scope: Scope<Item>,
    pub raw: R,
    pub diesel: D,
}

impl<R: Raw, D: ByDiesel> Sides<R, D> {
    pub fn run(&mut self, data: &Data, print: &mut dyn FnMut(Line)) -> Outcome {
        self.fill(data)?;
        self.get(data, print);
        self.set(data, print);
        self.hit(data, print);
        self.set_many(data, print);
        self.fetch_many(data, print);
        trips::run(self.server, &self.uri, print)
    }

    /// Writes all records, and checks that all sides return the same: otherwise they would not be
    /// comparable.
    fn fill(&mut self, data: &Data) -> Outcome {
        self.scope.set_many(&data.items)?;
        for item in data.items.iter().step_by(97) {
            let found = [self.scope.fetch(&item.id)?, self.raw.get(&item.id)];
            if found.iter().any(|found| found.as_ref() != Some(item)) {
                return Err(format!("the sides differ in the record `{}`", item.id).into());
            }
        }
        Ok(())
    }

    fn get(&mut self, data: &Data, print: &mut dyn FnMut(Line)) {
        let Self { server, scope, raw, diesel, .. } = self;
        let race = Race::new(format!("{server}: get"))
            .hilcat(|step| {
                black_box(scope.fetch(black_box(data.pick(step).id.as_str())).unwrap());
            })
            .against(R::NAME, Goal::AtMost(1.10), |step| {
                black_box(raw.get(black_box(&data.pick(step).id)));
            })
            .against_rounds("Diesel, `find`", Goal::AtMost(1.0), |steps: Range<usize>| {
                diesel.get_all(steps.map(|step| data.pick(step).id.as_str()));
            });
        race.run().into_iter().for_each(print);
    }

    pub fn set(&mut self, data: &Data, print: &mut dyn FnMut(Line)) {
        let Self { server, scope, raw, diesel, .. } = self;
        let race = Race::new(format!("{server}: set"))
            .hilcat(|step| scope.set(black_box(data.pick(step))).unwrap())
            .against(R::NAME, Goal::AtMost(1.10), |step| raw.set(black_box(data.pick(step))))
            .against_rounds("Diesel, an upsert", Goal::Faster(1.2), |steps: Range<usize>| {
                diesel.set_all(steps.map(|step| data.pick(step)));
            });
        race.run().into_iter().for_each(print);
    }

    fn hit(&mut self, data: &Data, print: &mut dyn FnMut(Line)) {
        let Self { server, scope, .. } = self;
        let race = Race::new(format!("{server}: get, a hit"))
            .hilcat(|step| {
                let id = black_box(data.pick(step).id.as_str());
                black_box(scope.get(id, || unreachable!("it is stored")).unwrap());
            })
            .against("hilcat, `fetch`", Goal::AtMost(1.05), |step| {
                black_box(scope.fetch(black_box(data.pick(step).id.as_str())).unwrap());
            });
        race.run().into_iter().for_each(print);
    }

    fn set_many(&mut self, data: &Data, print: &mut dyn FnMut(Line)) {
        let Self { server, scope, raw, .. } = self;
        let race = Race::batches(format!("{server}: set_many of 10,000"), RECORDS)
            .hilcat(|_| scope.set_many(black_box(&data.items)).unwrap())
            .against("the raw client's loop in one transaction", Goal::Faster(3.0), |_| {
                raw.set_many(black_box(&data.items));
            });
        race.run().into_iter().for_each(print);
    }

    fn fetch_many(&mut self, data: &Data, print: &mut dyn FnMut(Line)) {
        let Self { server, scope, .. } = self;
        let keys = data.keys(KEYS);
        let race = Race::batches(format!("{server}: fetch_many of 1,000"), KEYS)
            .hilcat(|_| {
                black_box(scope.fetch_many(black_box(&keys)).unwrap());
            })
            .against("hilcat, a loop of `fetch`", Goal::Faster(4.0), |_| {
                let found = black_box(&keys).iter().map(|key| scope.fetch(key).unwrap());
                black_box(found.collect::<Vec<_>>());
            });
        race.run().into_iter().for_each(print);
    }
}

/// Executes one step of the callers: each has a thread and fetches records one by one.
pub fn fetch_at_once(scope: &Scope<Item>, data: &Data, step: usize) {
    thread::scope(|threads| {
        for caller in 0..CALLERS {
            threads.spawn(move || {
                for at in picks(step, caller) {
                    black_box(scope.fetch(data.pick(at).id.as_str()).unwrap());
                }
            });
        }
    });
}

/// Returns which records a caller fetches in a step.
pub fn picks(step: usize, caller: usize) -> Range<usize> {
    let begin = (step * CALLERS + caller) * FETCHES;
    begin..begin + FETCHES
}

/// Opens a cache whose calls may take as long as a round.
pub fn open(uri: &str) -> Outcome<Cache> {
    Ok(Cache::from_uri(&with(uri, "timeout=120s"))?)
}
