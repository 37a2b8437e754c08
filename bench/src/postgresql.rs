//! PostgreSQL, compared with tokio-postgres and hand-written Diesel.

mod peers;

use hilcat::Scope;

use self::peers::{DieselPeer, Pipelined, RawPeer};
use crate::harness::{Outcome, Race};
use crate::record::{Data, Item};
use crate::report::{Goal, Line};
use crate::server::{CALLERS, FETCHES, Sides, fetch_at_once, open, uri, with};
use crate::tasks::Tasks;

/// The schema of the tables; it is created for the run and dropped afterwards.
const SCHEMA: &str = "hilcat_bench";

pub fn run(data: &Data, print: &mut dyn FnMut(Line)) -> Outcome {
    let Some(server) = uri(["HILCAT_BENCH_POSTGRESQL", "HILCAT_TEST_POSTGRESQL15"]) else {
        return Ok(());
    };
    let mut raw = RawPeer::open(&server)?;
    raw.run(&format!("DROP SCHEMA IF EXISTS {SCHEMA} CASCADE; CREATE SCHEMA {SCHEMA}"))?;
    let uri = with(&server, &format!("schema={SCHEMA}"));
    let cache = open(&uri)?;
    let scope = cache.scope::<Item>()?;
    raw.prepare(SCHEMA)?;
    let mut sides = Sides { server: "PostgreSQL", uri, scope, raw, diesel: DieselPeer(cache) };
    sides.run(data, print)?;
    let pipelined = Pipelined::open(&server, SCHEMA)?;
    at_once(&sides.scope, &pipelined, data, print);
    let tasks = Tasks::of(sides.scope.clone())?;
    tasks_at_once(&tasks, &pipelined, data, print);
    let mut sides = without_waiting_for_the_disk(sides)?;
    sides.set(data, print);
    let Sides { scope, mut raw, diesel, .. } = sides;
    drop((scope, diesel));
    raw.run(&format!("DROP SCHEMA {SCHEMA} CASCADE"))
}

/// The same sides without waiting for the disk, which would dominate the times.
fn without_waiting_for_the_disk(
    sides: Sides<RawPeer, DieselPeer>,
) -> Outcome<Sides<RawPeer, DieselPeer>> {
    let Sides { uri, mut raw, .. } = sides;
    let cache = open(&with(&uri, "synchronous_commit=off"))?;
    raw.run("SET synchronous_commit = off")?;
    let (server, scope) = ("PostgreSQL, synchronous_commit=off", cache.scope::<Item>()?);
    Ok(Sides { server, uri, scope, raw, diesel: DieselPeer(cache) })
}

fn at_once(scope: &Scope<Item>, pipelined: &Pipelined, data: &Data, print: &mut dyn FnMut(Line)) {
    let race = Race::batches("PostgreSQL: 32 callers fetch at once", CALLERS * FETCHES)
        .hilcat(|step| fetch_at_once(scope, data, step))
        .against("tokio-postgres, pipelined on one connection", Goal::Faster(1.4), |step| {
            pipelined.fetch_at_once(data, step);
        });
    race.run().into_iter().for_each(print);
}

fn tasks_at_once(tasks: &Tasks, pipelined: &Pipelined, data: &Data, print: &mut dyn FnMut(Line)) {
    let peer = "tokio-postgres, pipelined on one connection";
    Race::batches("PostgreSQL: 32 tasks fetch at once", CALLERS * FETCHES)
        .hilcat(|step| tasks.fetch_at_once(data, step))
        .against(peer, Goal::Faster(1.4), |step| pipelined.fetch_at_once(data, step))
        .run()
        .into_iter()
        .for_each(&mut *print);
    Race::batches("PostgreSQL: 32 tasks set at once", CALLERS * FETCHES)
        .hilcat(|step| tasks.set_at_once(data, step))
        .against(peer, Goal::Faster(1.4), |step| pipelined.set_at_once(data, step))
        .run()
        .into_iter()
        .for_each(print);
}
