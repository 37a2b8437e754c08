//! A child process.

use std::hash::{BuildHasher, RandomState};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use hilcat::{Cache, Column, ColumnType, DynScope, ErrorKind, Schema};
use serde_json::{Value, json};

const JOB: &str = "HILCAT_CONTENTION_JOB";
const SECONDS: &str = "HILCAT_CONTENTION_SECONDS";
const THREADS: usize = 4;

/// The keys whose records are replaced by `update` alone, so that every replaced value is known.
pub const KNOWN: [&str; 3] = ["k0", "k1", "k2"];

/// The keys whose records `set` overwrites as well.
pub const SET: [&str; 2] = ["s0", "s1"];

/// The operation of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum What {
    Update,
    Set,
    Pop,
    /// A computed value was returned to the caller that computed it.
    Fill,
    /// A value of another caller was returned in place of the computed one.
    Read,
}

/// The outcome of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    Done,
    NotDone,
    Unknown,
}

/// A call with the value that it wrote, and the value that it replaced, removed or read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    pub what: What,
    pub outcome: Outcome,
    pub key: String,
    pub wrote: Option<String>,
    pub found: Option<String>,
}

impl Event {
    fn line(&self) -> String {
        let part = |value: &Option<String>| value.clone().unwrap_or_else(|| "-".to_owned());
        let (wrote, found) = (part(&self.wrote), part(&self.found));
        format!("{:?} {:?} {} {wrote} {found}", self.what, self.outcome, self.key)
    }

    pub fn parse(line: &str) -> Self {
        let parts: Vec<&str> = line.split(' ').collect();
        let [what, outcome, key, wrote, found] = parts[..] else { panic!("{line}") };
        let value = |part: &str| (part != "-").then(|| part.to_owned());
        Self {
            what: match what {
                "Update" => What::Update,
                "Set" => What::Set,
                "Pop" => What::Pop,
                "Fill" => What::Fill,
                _ => What::Read,
            },
            outcome: match outcome {
                "Done" => Outcome::Done,
                "NotDone" => Outcome::NotDone,
                _ => Outcome::Unknown,
            },
            key: key.to_owned(),
            wrote: value(wrote),
            found: value(found),
        }
    }
}

/// Opens the scope that all processes share.
pub fn open(uri: &str, scope: &str) -> DynScope {
    let schema = Schema::new(scope)
        .unique(Column::new("id", ColumnType::Text))
        .column(Column::new("v", ColumnType::Text));
    Cache::from_uri(uri).unwrap().dynamic_with(schema).unwrap()
}

/// Returns the value in a record.
pub fn value_of(record: Option<Value>) -> Option<String> {
    record.map(|record| record["v"].as_str().unwrap().to_owned())
}

/// The job of a child process, passed in the environment.
pub struct Job {
    uri: String,
    scope: String,
    number: String,
}

impl Job {
    pub fn give(command: &mut Command, uri: &str, scope: &str, number: usize) {
        command.env(JOB, format!("{number} {scope} {uri}"));
    }

    pub fn from_env() -> Option<Self> {
        let job = std::env::var(JOB).ok()?;
        let parts: Vec<&str> = job.splitn(3, ' ').collect();
        let [number, scope, uri] = parts[..] else { panic!("{job}") };
        Some(Self { uri: uri.into(), scope: scope.into(), number: number.into() })
    }

    pub fn run(self) {
        let scope = open(&self.uri, &self.scope);
        std::io::stdin().read_line(&mut String::new()).unwrap();
        let seconds = std::env::var(SECONDS).map_or(2.0, |seconds| seconds.parse().unwrap());
        let end = Instant::now() + Duration::from_secs_f64(seconds);
        let work = |thread| {
            let (scope, name) = (scope.clone(), format!("{}.{thread}", self.number));
            move || Worker { scope, name, count: 0, random: seed() }.work(end)
        };
        let threads: Vec<_> = (0..THREADS).map(|at| thread::spawn(work(at))).collect();
        for thread in threads {
            let events = thread.join().unwrap();
            events.iter().for_each(|event| println!("{}", event.line()));
        }
    }
}

fn seed() -> u64 {
    RandomState::new().hash_one(0) | 1
}

struct Worker {
    scope: DynScope,
    name: String,
    count: u64,
    random: u64,
}

impl Worker {
    fn random(&mut self, below: usize) -> usize {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        usize::try_from(self.random >> 33).unwrap() % below
    }

    /// Returns a value that no other call writes.
    fn value(&mut self) -> String {
        self.count += 1;
        format!("{}.{}", self.name, self.count)
    }

    fn work(mut self, end: Instant) -> Vec<Event> {
        let mut events = Vec::new();
        while Instant::now() < end {
            let (value, pause) = (self.value(), self.random(3_000));
            let keys = [KNOWN.as_slice(), &SET].concat();
            let key = keys[self.random(keys.len())];
            let event = match self.random(20) {
                0..7 => self.update(key, value),
                7..13 => self.get(key, value, Duration::from_micros(pause as u64)),
                13..17 => self.pop(key),
                _ => match SET.contains(&key) {
                    true => self.set(key, value),
                    false => self.update(key, value),
                },
            };
            events.push(event);
        }
        events
    }

    fn update(&self, key: &str, value: String) -> Event {
        let replaced = self.scope.update(key, json!({"v": value}));
        event(What::Update, key, Some(value), replaced)
    }

    fn set(&self, key: &str, value: String) -> Event {
        let done = self.scope.set(key, json!({"v": value})).map(|()| None);
        event(What::Set, key, Some(value), done)
    }

    fn pop(&self, key: &str) -> Event {
        event(What::Pop, key, None, self.scope.pop(key))
    }

    fn get(&self, key: &str, value: String, pause: Duration) -> Event {
        let found = self.scope.get(key, || {
            thread::sleep(pause);
            json!({"v": value})
        });
        match found.map(|record| value_of(Some(record))) {
            Ok(found) if found.as_ref() == Some(&value) => {
                event(What::Fill, key, Some(value), Ok(None))
            }
            Ok(found) => {
                let read = event(What::Read, key, None, Ok(None));
                Event { found, ..read }
            }
            Err(error) => event(What::Fill, key, Some(value), Err(error)),
        }
    }
}

fn event(
    what: What,
    key: &str,
    wrote: Option<String>,
    found: hilcat::Result<Option<Value>>,
) -> Event {
    let key = key.to_owned();
    match found {
        Ok(found) => Event { what, outcome: Outcome::Done, key, wrote, found: value_of(found) },
        Err(error) => {
            eprintln!("{error}");
            let outcome = match error.kind() {
                ErrorKind::Timeout => Outcome::NotDone,
                _ => Outcome::Unknown,
            };
            Event { what, outcome, key, wrote, found: None }
        }
    }
}
