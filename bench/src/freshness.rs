//! The cost of a time to live: the same scope with and without one, on every store. Also the
//! latency of reads and writes while another caller removes expired records.

use std::hint::black_box;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use hilcat::backend::{MysqlConnection, PostgresConnection};
use hilcat::testing::ManualClock;
use hilcat::{Cache, Scope, ScopeRecord};

use crate::harness::{Outcome, Race};
use crate::record::{Data, Item};
use crate::report::{Goal, Line};

/// The number of expired records that a purge removes, and the size of the batches that write them.
const EXPIRED: usize = 1_000_000;
const BATCH: usize = 1_000;

/// The time for which latencies are measured before the purge.
const BEFORE: Duration = Duration::from_secs(5);

/// A record with the fields of [`Item`].
macro_rules! record {
    ($name:ident, $($option:tt)*) => {
        #[derive(Debug, Clone, ScopeRecord)]
        #[scope($($option)*)]
        struct $name {
            #[scope(unique)]
            id: String,
            name: String,
            comment: Option<String>,
            count: i32,
            score: f64,
        }

        impl From<&Item> for $name {
            fn from(item: &Item) -> Self {
                let Item { id, name, comment, count, score } = item.clone();
                Self { id, name, comment, count, score }
            }
        }
    };
}

record!(Lasting, name = "lasting");
record!(Expiring, name = "expiring", ttl = "1h");
record!(Stale, name = "stale", ttl = "1h", stale_while_revalidate = "1h");
record!(Churned, name = "churned", ttl = "10s");
record!(Purged, name = "purged", ttl = "1h", auto_purge = false);

/// The names of the stores, and the environment variables with the URIs of servers.
const SERVERS: [(&str, &str); 5] = [
    ("PostgreSQL", "HILCAT_TEST_POSTGRESQL15"),
    ("MySQL", "HILCAT_TEST_MYSQL8"),
    ("MariaDB", "HILCAT_TEST_MARIADB"),
    ("Redis", "HILCAT_TEST_REDIS"),
    ("Elasticsearch", "HILCAT_TEST_ELASTICSEARCH8"),
];

fn servers() -> impl Iterator<Item = (&'static str, String)> {
    SERVERS.into_iter().filter_map(|(name, variable)| Some((name, std::env::var(variable).ok()?)))
}

pub fn run(data: &Data, print: &mut dyn FnMut(Line)) -> Outcome {
    let directory = tempfile::tempdir()?;
    let path = directory.path().display();
    let local = [
        ("memory", "memory://".to_owned()),
        ("SQLite file", format!("sqlite:///{path}/hilcat.db")),
        ("SQLite as key-value file", format!("sqlite+kv:///{path}/kv.db")),
        ("files, not synced", format!("file:///{path}/files?synchronous=off")),
    ];
    for (name, uri) in local.into_iter().chain(servers()) {
        races(name, &Cache::from_uri(&uri)?, data, print)?;
    }
    Ok(())
}

fn races(store: &str, cache: &Cache, data: &Data, print: &mut dyn FnMut(Line)) -> Outcome {
    let items = if store == "Elasticsearch" { &data.items[..1_000] } else { &data.items };
    let pick = |step: usize| step.wrapping_mul(7_919) % items.len();
    let (lasting, expiring) = (cache.scope::<Lasting>()?, cache.scope::<Expiring>()?);
    // Each pass over the records sets other values than the one before: a database may not write
    // what stays the same.
    let changed = |item: &Item| Item { count: item.count.wrapping_add(1), ..item.clone() };
    let changed: Vec<Item> = items.iter().map(changed).collect();
    let versions = [items, &changed];
    let plain = versions.map(|items| items.iter().map(Lasting::from).collect::<Vec<_>>());
    let fresh = versions.map(|items| items.iter().map(Expiring::from).collect::<Vec<_>>());
    let version = |step: usize| 1 - step / items.len() % 2;
    lasting.clear()?;
    expiring.clear()?;
    for at in (0..items.len()).step_by(BATCH) {
        lasting.set_many(&plain[0][at..at + BATCH])?;
        expiring.set_many(&fresh[0][at..at + BATCH])?;
    }
    let goal = Goal::AtMost(1.05);
    Race::new(format!("{store}: get, with a ttl"))
        .hilcat(|step| {
            black_box(expiring.get(&fresh[0][pick(step)].id, || unreachable!()).unwrap());
        })
        .against("without", goal, |step| {
            black_box(lasting.get(&plain[0][pick(step)].id, || unreachable!()).unwrap());
        })
        .run()
        .into_iter()
        .for_each(&mut *print);
    Race::new(format!("{store}: set, with a ttl"))
        .hilcat(|step| expiring.set(&fresh[version(step)][pick(step)]).unwrap())
        .against("without", goal, |step| lasting.set(&plain[version(step)][pick(step)]).unwrap())
        .run()
        .into_iter()
        .for_each(&mut *print);
    stale(store, cache, items, print)
}

/// Reading a stale record, compared with a fresh one. A thread computes the stale record all the
/// time, so the measured calls return the stored one.
fn stale(store: &str, cache: &Cache, items: &[Item], print: &mut dyn FnMut(Line)) -> Outcome {
    let scope = cache.scope::<Stale>()?;
    let records: Vec<Stale> = items[..2].iter().map(Stale::from).collect();
    let [fresh, stale] = &records[..] else { unreachable!() };
    scope.set(fresh)?;
    scope.set_with_ttl(stale, Duration::from_millis(1))?;
    thread::sleep(Duration::from_millis(20));
    let ((begin, begun), (end, ended)) = (mpsc::channel(), mpsc::channel::<()>());
    let shared = &scope;
    thread::scope(|threads| {
        threads.spawn(move || {
            shared.get(&stale.id, || {
                begin.send(()).unwrap();
                let _ = ended.recv();
                stale.clone()
            })
        });
        begun.recv()?;
        Race::new(format!("{store}: get of a stale record"))
            .hilcat(|_| {
                black_box(scope.get(&stale.id, || unreachable!()).unwrap());
            })
            .against("of a fresh one", Goal::AtMost(1.05), |_| {
                black_box(scope.get(&fresh.id, || unreachable!()).unwrap());
            })
            .run()
            .into_iter()
            .for_each(&mut *print);
        drop(end);
        Ok(())
    })
}

/// Removes a million expired records from a table. Meanwhile, two callers read and write its ten
/// thousand other records.
pub fn purge(data: &Data, _: &mut dyn FnMut(Line)) -> Outcome {
    let directory = tempfile::tempdir()?;
    let file = ("SQLite file", format!("sqlite:///{}/hilcat.db", directory.path().display()));
    for (name, uri) in std::iter::once(file).chain(servers().take(2)) {
        let scope = Cache::from_uri(&uri)?.scope::<Purged>()?;
        scope.clear()?;
        fill(&scope, data)?;
        measure(name, &scope, data)?;
    }
    Ok(())
}

fn fill(scope: &Scope<Purged>, data: &Data) -> Outcome {
    let records: Vec<Purged> = data.items.iter().map(Purged::from).collect();
    scope.set_many(&records)?;
    for at in (0..EXPIRED).step_by(BATCH) {
        let expired = (at..at + BATCH).map(|at| Purged {
            id: format!("expired-{}", at.wrapping_mul(7_919) % EXPIRED),
            ..records[at % records.len()].clone()
        });
        scope.set_many_with_ttl(expired, Duration::from_millis(1))?;
    }
    Ok(())
}

fn measure(name: &str, scope: &Scope<Purged>, data: &Data) -> Outcome {
    let records: Vec<Purged> = data.items.iter().map(Purged::from).collect();
    let (purging, ended) = (AtomicBool::new(false), AtomicBool::new(false));
    let watch = |call: &dyn Fn(&Purged)| {
        let mut times = [Vec::new(), Vec::new()];
        for record in records.iter().cycle() {
            if ended.load(Ordering::Relaxed) {
                break;
            }
            let during = usize::from(purging.load(Ordering::Relaxed));
            let start = Instant::now();
            call(record);
            times[during].push(start.elapsed());
        }
        times
    };
    let (removed, took, reads, writes) = thread::scope(|threads| {
        let reader = threads.spawn(|| {
            watch(&|record| {
                black_box(scope.fetch(&record.id).unwrap());
            })
        });
        let writer = threads.spawn(|| watch(&|record| scope.set(record).unwrap()));
        thread::sleep(BEFORE);
        purging.store(true, Ordering::Relaxed);
        let start = Instant::now();
        let removed = scope.purge();
        let took = start.elapsed();
        ended.store(true, Ordering::Relaxed);
        (removed, took, reader.join().unwrap(), writer.join().unwrap())
    });
    let (removed, left) = (removed?, scope.len()?);
    println!("{name}: purge of {removed} records in {took:.1?}, {left} left");
    for (what, times) in [("read", reads), ("write", writes)] {
        let [before, during] = times.map(percentiles);
        println!("{name}: {what}: before {before}; during the purge {during}");
    }
    Ok(())
}

fn percentiles(mut times: Vec<Duration>) -> String {
    times.sort_unstable();
    let at = |part: usize| times.get(times.len() * part / 100).copied().unwrap_or_default();
    format!("median {:.1?}, p99 {:.1?} ({} calls)", at(50), at(99), times.len())
}

/// The record of the churn measurement.
const WRITES: usize = 200_000;
const LIVE: usize = 10_000;

/// Writes records that expire after ten thousand further writes, and counts the rows of the table.
pub fn churn(data: &Data, _: &mut dyn FnMut(Line)) -> Outcome {
    let directory = tempfile::tempdir()?;
    let file = ("SQLite file", format!("sqlite:///{}/hilcat.db", directory.path().display()));
    for (name, uri) in std::iter::once(file).chain(servers().take(2)) {
        let clock = ManualClock::new(SystemTime::now());
        let cache = Cache::builder(uri).clock(clock.clone()).open()?;
        let scope = cache.scope::<Churned>()?;
        scope.clear()?;
        let mut most = 0;
        for at in 0..WRITES {
            let record = Churned { id: format!("record-{at}"), ..data.pick(at).into() };
            scope.set_with_ttl(&record, Duration::from_millis(LIVE as u64))?;
            clock.advance(Duration::from_millis(1));
            if at % 1_000 == 999 {
                most = most.max(rows(&cache)?);
            }
        }
        println!(
            "{name}: {WRITES} writes, {} live, at most {most} rows in the table",
            scope.len()?
        );
    }
    Ok(())
}

#[derive(diesel::QueryableByName)]
struct Rows {
    #[diesel(sql_type = diesel::sql_types::BigInt)]
    n: i64,
}

/// Returns the number of rows of the table, including expired ones.
fn rows(cache: &Cache) -> Outcome<i64> {
    use diesel::RunQueryDsl;
    let count = "SELECT count(*) AS n FROM churned";
    let rows = match cache.backend() {
        "sqlite" => cache.diesel_read(|c: &mut diesel::SqliteConnection| {
            diesel::sql_query(count).get_result::<Rows>(c)
        })?,
        "postgresql" => cache.diesel_read(|c: &mut PostgresConnection| {
            diesel::sql_query(count).get_result::<Rows>(c)
        })?,
        _ => cache.diesel_read(|c: &mut MysqlConnection| {
            diesel::sql_query(count).get_result::<Rows>(c)
        })?,
    };
    Ok(rows.n)
}
