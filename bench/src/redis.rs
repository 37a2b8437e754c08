//! Redis, compared with hand-written redis-rs and serde_json: the server that `HILCAT_TEST_REDIS`
//! names, one connection for each side.

use std::hint::black_box;

use hilcat::{Cache, Scope};
use redis::{Client, Commands, Connection, Pipeline};

use crate::harness::{Outcome, Race};
use crate::record::{Data, Item};
use crate::report::{Goal, Line};

/// The number of records in a batch.
const BATCH: usize = 1_000;

/// The goal for one record, and for a batch.
const ONE: Goal = Goal::AtMost(1.05);
const MANY: Goal = Goal::AtMost(1.10);

pub fn run(data: &Data, print: &mut dyn FnMut(Line)) -> Outcome {
    let Ok(uri) = std::env::var("HILCAT_TEST_REDIS") else {
        eprintln!("redis is left out: HILCAT_TEST_REDIS is not set");
        return Ok(());
    };
    let client = Client::open(uri.as_str())?;
    let sides = Sides { uri: &uri, client: &client, data };
    sides.one(print)?;
    sides.batches(print)?;
    sides.threads(print)
}

struct Sides<'a> {
    uri: &'a str,
    client: &'a Client,
    data: &'a Data,
}

fn name(item: &Item) -> String {
    format!("peer:items:{}", item.id)
}

fn put(pipe: &mut Pipeline, item: &Item) {
    pipe.set(name(item), serde_json::to_vec(item).unwrap()).ignore();
}

impl Sides<'_> {
    fn scope(&self) -> Result<Scope<Item>, hilcat::Error> {
        let scope = Cache::from_uri(&format!("{}?prefix=bench", self.uri))?.scope::<Item>()?;
        scope.set_many(&self.data.items)?;
        Ok(scope)
    }

    fn peer(&self) -> Result<Connection, redis::RedisError> {
        let mut peer = self.client.get_connection()?;
        let mut pipe = Pipeline::new();
        self.data.items.iter().for_each(|item| put(&mut pipe, item));
        pipe.exec(&mut peer)?;
        Ok(peer)
    }

    fn one(&self, print: &mut dyn FnMut(Line)) -> Outcome {
        let (scope, data) = (self.scope()?, self.data);
        let (mut getter, mut setter) = (self.peer()?, self.peer()?);
        let get = Race::new("Redis: get")
            .hilcat(|step| {
                let id = black_box(data.pick(step).id.as_str());
                black_box(scope.fetch(id).unwrap().unwrap());
            })
            .against("redis-rs, serde_json", ONE, |step| {
                let bytes: Vec<u8> = getter.get(name(black_box(data.pick(step)))).unwrap();
                black_box(serde_json::from_slice::<Item>(&bytes).unwrap());
            });
        get.run().into_iter().for_each(&mut *print);

        let set = Race::new("Redis: set")
            .hilcat(|step| scope.set(black_box(data.pick(step))).unwrap())
            .against("redis-rs, serde_json", ONE, |step| {
                let item = black_box(data.pick(step));
                let bytes = serde_json::to_vec(item).unwrap();
                setter.set::<_, _, ()>(name(item), bytes).unwrap();
            });
        set.run().into_iter().for_each(&mut *print);

        let hit = Race::new("Redis: get, a hit")
            .hilcat(|step| {
                let id = black_box(data.pick(step).id.as_str());
                black_box(scope.get(id, || unreachable!("it is stored")).unwrap());
            })
            .against("hilcat, `fetch`", ONE, |step| {
                let id = black_box(data.pick(step).id.as_str());
                black_box(scope.fetch(id).unwrap());
            });
        hit.run().into_iter().for_each(&mut *print);
        Ok(())
    }

    fn batches(&self, print: &mut dyn FnMut(Line)) -> Outcome {
        let (scope, items) = (self.scope()?, &self.data.items[..BATCH]);
        let (mut setter, mut getter, mut many) = (self.peer()?, self.peer()?, self.peer()?);
        let set = Race::batches("Redis: set_many of 1,000", BATCH)
            .hilcat(|_| scope.set_many(black_box(items)).unwrap())
            .against("redis-rs, a pipeline of SET", MANY, |_| {
                let mut pipe = Pipeline::with_capacity(BATCH);
                black_box(items).iter().for_each(|item| put(&mut pipe, item));
                pipe.exec(&mut setter).unwrap();
            });
        set.run().into_iter().for_each(&mut *print);

        let keys = self.data.keys(BATCH);
        let fetch = Race::batches("Redis: fetch_many of 1,000", BATCH)
            .hilcat(|_| drop(black_box(scope.fetch_many(keys.iter().copied()).unwrap())))
            .against("redis-rs, a pipeline of GET", MANY, |_| {
                let mut pipe = Pipeline::with_capacity(BATCH);
                for item in items {
                    pipe.get(name(item));
                }
                let found: Vec<Vec<u8>> = pipe.query(&mut getter).unwrap();
                black_box(read(&found));
            })
            .against("redis-rs, MGET", Goal::None, |_| {
                let names: Vec<String> = items.iter().map(name).collect();
                let found: Vec<Vec<u8>> = many.mget(names).unwrap();
                black_box(read(&found));
            });
        fetch.run().into_iter().for_each(&mut *print);
        Ok(())
    }

    /// The measurement behind the pool: eight threads, each with a connection during a call, against
    /// eight that share the multiplexed connection of redis-rs.
    fn threads(&self, print: &mut dyn FnMut(Line)) -> Outcome {
        let (scope, data) = (self.scope()?, self.data);
        let runtime = tokio::runtime::Runtime::new()?;
        let shared = runtime.block_on(self.client.get_multiplexed_async_connection())?;
        let eight = |work: &(dyn Fn(usize) + Sync), step: usize| {
            std::thread::scope(|threads| {
                for thread in 0..8 {
                    threads.spawn(move || {
                        (0..EACH).for_each(|n| work((step * 8 + thread) * EACH + n))
                    });
                }
            });
        };
        let race = Race::batches("Redis: get, eight threads", 8 * EACH)
            .hilcat(|step| {
                let get = |step| drop(black_box(scope.fetch(&*data.pick(step).id).unwrap()));
                eight(&get, step);
            })
            .against("redis-rs, multiplexed", Goal::None, |step| {
                let get = |step: usize| {
                    let mut shared = shared.clone();
                    let name = name(data.pick(step));
                    let bytes: Vec<u8> =
                        runtime.block_on(redis::AsyncCommands::get(&mut shared, name)).unwrap();
                    black_box(serde_json::from_slice::<Item>(&bytes).unwrap());
                };
                eight(&get, step);
            });
        race.run().into_iter().for_each(&mut *print);
        Ok(())
    }
}

/// The number of records that each thread reads in one step.
const EACH: usize = 500;

fn read(found: &[Vec<u8>]) -> Vec<Item> {
    found.iter().map(|bytes| serde_json::from_slice(bytes).unwrap()).collect()
}
