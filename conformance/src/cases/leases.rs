//! One computation across processes: each of the caches of a case is one.

use std::sync::Barrier;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use hilcat::{ErrorKind, Result, Schema, Scope, SingleFlight};

use super::expiry::{MINUTE, texts};
use super::{Case, case_list};
use crate::context::{TestContext, join, key, pair};
use crate::records::Raw;

pub(crate) const CASES: &[Case] = case_list![Stores:
    processes_compute_a_key_once,
    get_many_shares_computations,
    a_removal_elsewhere_voids_a_shared_computation,
    a_stale_record_is_served_while_another_process_computes,
    a_failed_shared_computation_lets_others_compute,
    a_lease_outlasts_its_time_while_its_holder_computes,
];

const LEASE: Duration = Duration::from_millis(600);

fn shared(schema: Schema) -> Schema {
    schema.single_flight(SingleFlight::Shared { lease: LEASE })
}

/// The scope as two processes have it; none where no other process can use the store.
fn two(context: &TestContext, schema: Schema) -> Result<Option<(Scope<Raw>, Scope<Raw>)>> {
    let schema = shared(schema);
    if !context.cache.capabilities().shared_single_flight {
        let error = context.raw(schema).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
        return Ok(None);
    }
    let other = context.cache.detached();
    Ok(Some((context.raw(schema.clone())?, context.raw_in(&other, schema)?)))
}

fn processes_compute_a_key_once(context: TestContext) -> Result<()> {
    for schema in [texts(&context), texts(&context).ttl(MINUTE)] {
        let Some((one, other)) = two(&context, schema)? else { return Ok(()) };
        for round in 0..3 {
            let (calls, barrier) = (AtomicU32::new(0), Barrier::new(6));
            let id = format!("{round}");
            let get = |scope: &Scope<Raw>| {
                barrier.wait();
                scope.get(key(id.clone()), || {
                    calls.fetch_add(1, Ordering::SeqCst);
                    thread::sleep(Duration::from_millis(60));
                    pair(id.clone(), "v")
                })
            };
            thread::scope(|threads| -> Result<()> {
                let scopes = [&one, &other, &one, &other, &one, &other];
                let callers = scopes.map(|scope| threads.spawn(|| get(scope)));
                for caller in callers {
                    assert_eq!(join(caller)?, pair(id.clone(), "v"));
                }
                Ok(())
            })?;
            assert_eq!(calls.load(Ordering::SeqCst), 1);
        }
        one.clear()?;
    }
    Ok(())
}

fn get_many_shares_computations(context: TestContext) -> Result<()> {
    let Some((one, other)) = two(&context, texts(&context).ttl(MINUTE))? else { return Ok(()) };
    let (calls, barrier) = (AtomicU32::new(0), Barrier::new(2));
    let get = |scope: &Scope<Raw>, ids: [&str; 3]| {
        barrier.wait();
        scope.get_many(ids.map(key), |missing| {
            calls.fetch_add(missing.len() as u32, Ordering::SeqCst);
            thread::sleep(Duration::from_millis(60));
            missing.into_iter().map(|key| pair(key.0.values()[0].clone(), "v")).collect::<Vec<_>>()
        })
    };
    thread::scope(|threads| -> Result<()> {
        let first = threads.spawn(|| get(&one, ["a", "b", "c"]));
        assert_eq!(get(&other, ["c", "b", "d"])?, ["c", "b", "d"].map(|id| pair(id, "v")));
        assert_eq!(join(first)?, ["a", "b", "c"].map(|id| pair(id, "v")));
        Ok(())
    })?;
    assert_eq!(calls.load(Ordering::SeqCst), 4);
    assert_eq!(one.len()?, 4);
    Ok(())
}

fn a_removal_elsewhere_voids_a_shared_computation(context: TestContext) -> Result<()> {
    type Remove = fn(&Scope<Raw>) -> Result<()>;
    let removals: [Remove; 3] = [
        |scope| scope.pop(key("a")).map(drop),
        |scope| scope.pop_many([key("a")]).map(drop),
        |scope| scope.clear(),
    ];
    for schema in [texts(&context), texts(&context).ttl(MINUTE)] {
        let Some((one, other)) = two(&context, schema)? else { return Ok(()) };
        for remove in removals {
            let got = one.get(key("a"), || {
                remove(&other).unwrap();
                pair("a", "void")
            })?;
            assert_eq!(got, pair("a", "void"));
            assert_eq!(one.fetch(key("a"))?, None);
            assert_eq!(other.get(key("a"), || pair("a", "new"))?, pair("a", "new"));
            other.pop(key("a"))?;
        }
        // What is written elsewhere is returned.
        let got = one.get(key("a"), || {
            other.set(&pair("a", "written")).unwrap();
            pair("a", "void")
        })?;
        assert_eq!((got, one.pop(key("a"))?), (pair("a", "written"), Some(pair("a", "written"))));
    }
    Ok(())
}

fn a_stale_record_is_served_while_another_process_computes(context: TestContext) -> Result<()> {
    let schema = texts(&context).ttl(MINUTE).stale_while_revalidate(MINUTE);
    let Some((one, other)) = two(&context, schema)? else { return Ok(()) };
    one.set(&pair("a", "old"))?;
    context.advance(MINUTE);
    let got = one.get(key("a"), || {
        let served = other.get(key("a"), || panic!("another process computes"));
        assert_eq!(served.unwrap(), pair("a", "old"));
        pair("a", "new")
    })?;
    assert_eq!((got, other.fetch(key("a"))?), (pair("a", "new"), Some(pair("a", "new"))));
    Ok(())
}

fn a_failed_shared_computation_lets_others_compute(context: TestContext) -> Result<()> {
    let Some((one, other)) = two(&context, texts(&context))? else { return Ok(()) };
    assert!(one.try_get(key("a"), || Err::<Raw, _>("on purpose")).is_err());
    let began = Instant::now();
    assert_eq!(other.get(key("a"), || pair("a", "v"))?, pair("a", "v"));
    // It was given back: nobody has to wait until it is over.
    assert!(one.fetch(key("a"))?.is_some() && began.elapsed() < LEASE * 20);
    Ok(())
}

fn a_lease_outlasts_its_time_while_its_holder_computes(context: TestContext) -> Result<()> {
    let Some((one, other)) = two(&context, texts(&context))? else { return Ok(()) };
    let (calls, begun) = (AtomicU32::new(0), Barrier::new(2));
    let compute = |slow: bool| {
        calls.fetch_add(1, Ordering::SeqCst);
        if slow {
            begun.wait();
            thread::sleep(LEASE * 3);
        }
        pair("a", "v")
    };
    thread::scope(|threads| -> Result<()> {
        let first = threads.spawn(|| one.get(key("a"), || compute(true)));
        begun.wait();
        assert_eq!(other.get(key("a"), || compute(false))?, pair("a", "v"));
        assert_eq!(join(first)?, pair("a", "v"));
        Ok(())
    })?;
    assert_eq!(calls.load(Ordering::SeqCst), 1, "the lease was renewed");
    Ok(())
}
