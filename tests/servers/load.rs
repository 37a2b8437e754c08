//! Eight writers during a failure of the server: all acknowledged records exist afterwards, and every
//! call ends by its deadline.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use hilcat::{DynScope, Error, ErrorKind};
use serde_json::json;

/// The deadline of a call of the writers.
pub(crate) const DEADLINE: Duration = Duration::from_secs(2);

/// The number of records in a batch.
const BATCH: usize = 20;

/// The state of one writer.
#[derive(Default)]
struct Writer {
    /// The keys of the records that were acknowledged, each written once.
    acknowledged: Vec<String>,
    /// The keys of each batch of which the outcome is not known.
    unknown: Vec<Vec<String>>,
    /// The last number that was written to the writer's own record (`tried`), and the last one that
    /// was acknowledged (`done`).
    tried: u64,
    done: u64,
    failed: usize,
    slowest: Duration,
}

impl Writer {
    /// Runs a call that may fail. Returns whether it was acknowledged.
    fn call<T>(&mut self, call: impl FnOnce() -> Result<T, Error>) -> bool {
        let start = Instant::now();
        let result = call();
        self.slowest = self.slowest.max(start.elapsed());
        let Err(error) = result else { return true };
        let expected = matches!(error.kind(), ErrorKind::Unavailable | ErrorKind::Timeout);
        assert!(expected && error.is_retryable(), "{error:?}");
        self.failed += 1;
        // A pause, as in a real program.
        thread::sleep(Duration::from_millis(20));
        false
    }

    /// Updates the writer's own record, and writes a new record and a batch of new records.
    fn write(&mut self, scope: &DynScope, name: usize) {
        self.tried += 1;
        let n = self.tried;
        if self.call(|| scope.set(format!("own-{name}"), json!({"v": n.to_string()}))) {
            self.done = n;
        }
        let key = format!("one-{name}-{n}");
        if self.call(|| scope.set(key.as_str(), json!({"v": "1"}))) {
            self.acknowledged.push(key);
        }
        let batch: Vec<String> = (0..BATCH).map(|at| format!("many-{name}-{n}-{at}")).collect();
        let values = batch.iter().map(|key| (key.as_str(), json!({"v": "1"})));
        match self.call(|| scope.set_many(values)) {
            true => self.acknowledged.extend(batch),
            false => self.unknown.push(batch),
        }
    }

    /// Compares the stored records with the acknowledged ones.
    fn check(&self, scope: &DynScope, name: usize) {
        let limit = DEADLINE.mul_f64(1.1);
        assert!(self.slowest <= limit, "a call took {:?}", self.slowest);
        let own = scope.fetch(format!("own-{name}")).unwrap().unwrap();
        let own: u64 = own["v"].as_str().unwrap().parse().unwrap();
        assert!(
            (self.done..=self.tried).contains(&own),
            "{} <= {own} <= {}",
            self.done,
            self.tried
        );
        for keys in self.acknowledged.chunks(1_000) {
            let found = scope.fetch_many(keys.iter().map(String::as_str)).unwrap();
            assert_eq!(found.iter().filter(|record| record.is_none()).count(), 0);
        }
        for batch in &self.unknown {
            let found = scope.fetch_many(batch.iter().map(String::as_str)).unwrap();
            let found = found.iter().flatten().count();
            assert!(found == 0 || found == BATCH, "{found} of a batch are there");
        }
    }
}

/// A fault: its name, the commands for the server, and the pause after the first one.
pub(crate) type Fault = (&'static str, &'static [&'static str], Duration);

pub(crate) const FAULTS: [Fault; 3] = [
    ("killed", &["kill", "start"], Duration::from_millis(2_500)),
    ("stopped", &["pause", "resume"], Duration::from_millis(3_500)),
    ("restarted", &["restart"], Duration::ZERO),
];

/// Injects a fault by commands that `run` executes.
pub(crate) fn fault_injection((_, commands, pause): Fault, mut run: impl FnMut(&str)) {
    for (at, command) in commands.iter().enumerate() {
        run(command);
        if at == 0 {
            thread::sleep(pause);
        }
    }
}

/// Lets eight writers write while `pull` injects a fault, and afterwards until a write of each is
/// acknowledged again. `reader` is the scope of another cache with a longer timeout.
pub(crate) fn survives(scope: &DynScope, reader: &DynScope, pull: impl FnOnce()) {
    let (pulled, stop) = (AtomicBool::new(false), AtomicBool::new(false));
    let (pulled, stop) = (&pulled, &stop);
    let work = |name: usize| {
        move || {
            let (mut writer, mut again) = (Writer::default(), 0);
            while !stop.load(Ordering::SeqCst) || again < 3 {
                let (after, before) = (pulled.load(Ordering::SeqCst), writer.acknowledged.len());
                writer.write(scope, name);
                again += usize::from(after && writer.acknowledged.len() > before + BATCH);
            }
            writer
        }
    };
    let mut took = Duration::ZERO;
    let writers: Vec<Writer> = thread::scope(|threads| {
        let writers: Vec<_> = (0..8).map(|name| threads.spawn(work(name))).collect();
        thread::sleep(Duration::from_millis(700));
        let start = Instant::now();
        pull();
        took = start.elapsed();
        pulled.store(true, Ordering::SeqCst);
        thread::sleep(Duration::from_secs(1));
        stop.store(true, Ordering::SeqCst);
        writers.into_iter().map(|writer| writer.join().unwrap()).collect()
    });
    writers.iter().enumerate().for_each(|(name, writer)| writer.check(reader, name));
    let acknowledged: usize = writers.iter().map(|writer| writer.acknowledged.len()).sum();
    let failed: usize = writers.iter().map(|writer| writer.failed).sum();
    let slowest = writers.iter().map(|writer| writer.slowest).max().unwrap_or_default();
    println!("{acknowledged} acknowledged, {failed} failed, the slowest call {slowest:?}");
    assert!(acknowledged > 500, "{acknowledged} acknowledged, {failed} failed");
    // The fault lasted longer than a call waits.
    assert!(failed > 0 || took < DEADLINE, "nothing failed in {took:?}");
}
