//! SQLite, compared with rusqlite and hand-written Diesel: the same library, table, data and
//! durability, each side with its own database.

mod peers;
mod trips;

use std::hint::black_box;
use std::path::Path;

use hilcat::backend::{Sqlite, Synchronous};
use hilcat::{Cache, Scope};

use self::peers::{DieselPeer, RawPeer};
use crate::harness::{Outcome, Race};
use crate::record::{Data, Item, RECORDS};
use crate::report::{Goal, Line};
use crate::tasks::Tasks;

/// The number of keys of a `fetch_many`.
const KEYS: usize = 1_000;

pub fn run(data: &Data, print: &mut dyn FnMut(Line)) -> Outcome {
    let file = Goals { raw: 1.10, diesel_get: 1.0, diesel_set: 1.2 };
    let memory = Goals { raw: 1.3, ..file };

    let directory = tempfile::tempdir()?;
    let mut sides = Sides::open(data, Some(directory.path()), Synchronous::Normal)?;
    sides.get("SQLite file: get", data, file, print);
    sides.set("SQLite file, synchronous=NORMAL: set", data, file, print);
    sides.hit(data, print);
    sides.task(data, print)?;
    sides.set_many(data, print);
    sides.fetch_many(data, print);
    drop(sides);

    let directory = tempfile::tempdir()?;
    let mut sides = Sides::open(data, Some(directory.path()), Synchronous::Full)?;
    sides.set("SQLite file, synchronous=FULL: set", data, file, print);
    drop(sides);

    let mut sides = Sides::open(data, None, Synchronous::Normal)?;
    sides.get("SQLite in memory: get", data, memory, print);
    sides.set("SQLite in memory: set", data, memory, print);
    drop(sides);

    trips::run(print)
}

/// The goals for the ratios to the raw client and to Diesel.
#[derive(Clone, Copy)]
struct Goals {
    raw: f64,
    diesel_get: f64,
    diesel_set: f64,
}

/// The sides of a race, all with the same records.
struct Sides {
    scope: Scope<Item>,
    raw: RawPeer,
    diesel: DieselPeer,
}

impl Sides {
    /// Opens databases in a directory, or in memory.
    fn open(data: &Data, directory: Option<&Path>, synchronous: Synchronous) -> Outcome<Self> {
        let path = |name: &str| directory.map(|directory| directory.join(name));
        let builder = path("hilcat.db").map_or_else(Sqlite::in_memory, Sqlite::builder);
        let cache = Cache::from_store(builder.synchronous(synchronous).open()?);
        let scope = cache.scope::<Item>()?;
        scope.set_many(&data.items)?;
        let table = peers::table_of_hilcat()?;
        let raw = RawPeer::open(path("raw.db").as_deref(), synchronous, &table)?;
        raw.set_many(&data.items)?;
        let mut diesel = DieselPeer::open(path("diesel.db").as_deref(), synchronous, &table)?;
        data.items.iter().try_for_each(|item| diesel.set(item))?;
        let sides = Self { scope, raw, diesel };
        sides.check(data)
    }

    /// Checks that all sides return the same records: otherwise they would not be comparable.
    fn check(mut self, data: &Data) -> Outcome<Self> {
        for item in data.items.iter().step_by(97) {
            let found =
                [self.scope.fetch(&item.id)?, self.raw.get(&item.id)?, self.diesel.get(&item.id)?];
            if found.iter().any(|found| found.as_ref() != Some(item)) {
                return Err(format!("the sides differ in the record `{}`", item.id).into());
            }
        }
        Ok(self)
    }

    fn get(&mut self, work: &'static str, data: &Data, goals: Goals, print: &mut dyn FnMut(Line)) {
        let Self { scope, raw, diesel } = self;
        let mut kept = raw.keep_get().unwrap();
        let raw = &*raw;
        let race = Race::new(work)
            .hilcat(|step| {
                let id = black_box(data.pick(step).id.as_str());
                black_box(scope.fetch(id).unwrap());
            })
            .against("rusqlite, `prepare_cached`", Goal::AtMost(goals.raw), |step| {
                black_box(raw.get(black_box(&data.pick(step).id)).unwrap());
            })
            .against("rusqlite, one statement kept", Goal::AtMost(goals.raw), |step| {
                black_box(kept.get(black_box(&data.pick(step).id)).unwrap());
            })
            .against("Diesel, `find`", Goal::AtMost(goals.diesel_get), |step| {
                black_box(diesel.get(black_box(&data.pick(step).id)).unwrap());
            });
        race.run().into_iter().for_each(print);
    }

    fn set(&mut self, work: &'static str, data: &Data, goals: Goals, print: &mut dyn FnMut(Line)) {
        let Self { scope, raw, diesel } = self;
        let mut kept = raw.keep_set().unwrap();
        let raw = &*raw;
        let race = Race::new(work)
            .hilcat(|step| scope.set(black_box(data.pick(step))).unwrap())
            .against("rusqlite, `prepare_cached`", Goal::AtMost(goals.raw), |step| {
                raw.set(black_box(data.pick(step))).unwrap();
            })
            .against("rusqlite, one statement kept", Goal::AtMost(goals.raw), |step| {
                kept.set(black_box(data.pick(step))).unwrap();
            })
            .against("Diesel, `on_conflict`", Goal::Faster(goals.diesel_set), |step| {
                diesel.set(black_box(data.pick(step))).unwrap();
            });
        race.run().into_iter().for_each(print);
    }

    fn hit(&mut self, data: &Data, print: &mut dyn FnMut(Line)) {
        let scope = &self.scope;
        let race = Race::new("SQLite file: get, a hit")
            .hilcat(|step| {
                let id = black_box(data.pick(step).id.as_str());
                black_box(scope.get(id, || unreachable!("it is stored")).unwrap());
            })
            // The same time, within the error of the measurement.
            .against("hilcat, `fetch`", Goal::AtMost(1.05), |step| {
                let id = black_box(data.pick(step).id.as_str());
                black_box(scope.fetch(id).unwrap());
            });
        race.run().into_iter().for_each(print);
    }

    fn task(&self, data: &Data, print: &mut dyn FnMut(Line)) -> Outcome {
        let (scope, tasks) = (&self.scope, Tasks::of(self.scope.clone())?);
        let race = Race::new("SQLite file: an async fetch by one task")
            .hilcat(|step| tasks.fetch(black_box(data.pick(step).id.as_str())))
            .against("hilcat, `fetch`", Goal::AtMost(3.0), |step| {
                let id = black_box(data.pick(step).id.as_str());
                black_box(scope.fetch(id).unwrap());
            });
        race.run().into_iter().for_each(print);
        Ok(())
    }

    fn set_many(&mut self, data: &Data, print: &mut dyn FnMut(Line)) {
        let Self { scope, raw, .. } = self;
        let race = Race::batches("SQLite file: set_many of 10,000", RECORDS)
            .hilcat(|_| scope.set_many(black_box(&data.items)).unwrap())
            .against("rusqlite, a loop in one transaction", Goal::AtMost(1.05), |_| {
                raw.set_many(black_box(&data.items)).unwrap();
            });
        race.run().into_iter().for_each(print);
    }

    fn fetch_many(&mut self, data: &Data, print: &mut dyn FnMut(Line)) {
        let Self { scope, raw, .. } = self;
        let keys = data.keys(KEYS);
        let mut kept = raw.keep_get().unwrap();
        let race = Race::batches("SQLite file: fetch_many of 1,000", KEYS)
            .hilcat(|_| {
                black_box(scope.fetch_many(black_box(&keys)).unwrap());
            })
            .against("hilcat, a loop of `fetch`", Goal::Faster(2.0), |_| {
                let found = black_box(&keys).iter().map(|key| scope.fetch(key).unwrap());
                black_box(found.collect::<Vec<_>>());
            })
            .against("rusqlite, a loop of one statement", Goal::None, |_| {
                let found = black_box(&keys).iter().map(|key| kept.get(key).unwrap());
                black_box(found.collect::<Vec<_>>());
            });
        race.run().into_iter().for_each(print);
    }
}
