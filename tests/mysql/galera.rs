//! Writes to both nodes of a Galera cluster, by child processes: this program, run again with a job.

use std::collections::HashMap;
use std::process::{Child, Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use hilcat::{Cache, DynScope, ErrorKind};
use libtest_mimic::{Completion, Failed};
use mysql::prelude::Queryable;
use serde_json::{Value, json};

use crate::server::{Case, PASSED, Server, cases, name, texts};

pub const CASES: &[Case] = cases![
    processes_on_both_nodes_open_a_fresh_database,
    no_write_is_lost_between_the_nodes,
    a_node_that_is_not_ready_for_a_while,
    a_node_that_is_not_ready,
];

pub const NODES: [(&str, &str); 2] =
    [("galera", "HILCAT_TEST_GALERA"), ("galera", "HILCAT_TEST_GALERA_SECOND")];

/// The job of a child process: its name, the table and the URI.
pub const JOB: &str = "HILCAT_TEST_GALERA_JOB";

const PROCESSES: usize = 4;
const ROUNDS: usize = 40;
const KEYS: [&str; 3] = ["a", "b", "c"];
const SECOND: Duration = Duration::from_secs(1);

fn nodes() -> [Server; 2] {
    NODES.map(|(engine, variable)| Server::of(engine, variable).unwrap())
}

/// Returns the URI of another database of the server.
fn in_database(server: &Server, database: &str) -> String {
    format!("{}/{database}?timeout=20s", server.uri.rsplit_once('/').unwrap().0)
}

fn scope(uri: &str, table: &str) -> hilcat::Result<DynScope> {
    Cache::from_uri(uri)?.dynamic_with(texts(table))
}

/// Starts processes, alternately on both nodes.
fn start(table: &str, database: &str) -> Vec<Child> {
    let nodes = nodes();
    let start = |at: usize| {
        Command::new(std::env::current_exe().unwrap())
            .env(JOB, format!("{at} {table} {}", in_database(&nodes[at % 2], database)))
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap()
    };
    (0..PROCESSES).map(start).collect()
}

fn finish(children: Vec<Child>) -> Vec<Output> {
    let outputs = children.into_iter().map(|child| child.wait_with_output().unwrap());
    outputs
        .inspect(|output| {
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        })
        .collect()
}

/// Runs the job of a child process: changes the same records as the other children, and prints for
/// each change the value that it replaced and the value that it wrote.
pub fn work(task: &str) {
    let words: Vec<&str> = task.splitn(3, ' ').collect();
    let scope = scope(words[2], words[1]).unwrap();
    scope.set(format!("opened-{}", words[0]), json!({"v": "1"})).unwrap();
    for round in 0..ROUNDS {
        let (key, value) = (KEYS[round % KEYS.len()], format!("{}-{round}", words[0]));
        let (old, new) = change(&scope, round, key, &value);
        println!("{key} {old} {new}");
        scope.set(format!("own-{}", words[0]), json!({"v": value})).unwrap();
    }
}

/// Makes a change. Returns the value that it replaced and the value that it wrote, `-` for none.
fn change(scope: &DynScope, round: usize, key: &str, value: &str) -> (String, String) {
    let record = json!({"v": value});
    match round % 4 {
        0 | 1 => match scope.update(key, record).unwrap() {
            Some(old) => (text(&old), value.to_owned()),
            None => ("-".to_owned(), value.to_owned()),
        },
        2 => match text(&scope.get(key, || record).unwrap()) {
            stored if stored == value => ("-".to_owned(), stored),
            _ => ("-".to_owned(), "-".to_owned()),
        },
        _ => (scope.pop(key).unwrap().map_or_else(|| "-".to_owned(), |old| text(&old)), "-".into()),
    }
}

fn text(record: &Value) -> String {
    record["v"].as_str().unwrap().to_owned()
}

/// Waits until both nodes have the database: a node applies changes of the other one a little later.
fn until_both_have(database: &str) {
    let start = Instant::now();
    for mut node in nodes().map(|node| node.raw()) {
        while node.query_drop(format!("USE `{database}`")).is_err() {
            assert!(start.elapsed() < SECOND * 20, "{database} is not on both nodes");
            thread::sleep(SECOND / 50);
        }
    }
}

/// One process creates hilcat's own tables and that of the scope, and the others wait for it.
fn processes_on_both_nodes_open_a_fresh_database(server: &Server) -> Result<Completion, Failed> {
    for _ in 0..3 {
        let (table, database) = (name(), name());
        server.raw().query_drop(format!("CREATE DATABASE `{database}`"))?;
        until_both_have(&database);
        finish(start(&table, &database));
        let scope = scope(&in_database(server, &database), &table)?;
        let opened = (0..PROCESSES).map(|at| format!("opened-{at}"));
        assert_eq!(scope.fetch_many(opened)?.iter().flatten().count(), PROCESSES);
        server.raw().query_drop(format!("DROP DATABASE `{database}`"))?;
    }
    PASSED
}

/// Each written value is replaced or removed once, or is stored at the end, on both nodes.
fn no_write_is_lost_between_the_nodes(server: &Server) -> Result<Completion, Failed> {
    let (table, database) = (name(), server.uri.rsplit_once('/').unwrap().1);
    let mut left: HashMap<(String, String), i32> = HashMap::new();
    for output in finish(start(&table, database)) {
        for line in String::from_utf8(output.stdout)?.lines() {
            let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
            let [key, old, new] = <[String; 3]>::try_from(words).unwrap();
            *left.entry((key.clone(), old)).or_default() -= 1;
            *left.entry((key, new)).or_default() += 1;
        }
    }
    left.retain(|(_, value), count| value != "-" && *count != 0);
    let scopes = nodes().map(|node| scope(&in_database(&node, database), &table).unwrap());
    for scope in &scopes {
        until_equal(scope, &left);
        for at in 0..PROCESSES {
            let own = scope.fetch(format!("own-{at}"))?.map(|own| text(&own));
            assert_eq!(own, Some(format!("{at}-{}", ROUNDS - 1)));
        }
    }
    PASSED
}

/// Waits until the stored values are these: a node may lag behind the other.
fn until_equal(scope: &DynScope, left: &HashMap<(String, String), i32>) {
    let start = Instant::now();
    loop {
        let records = KEYS.iter().filter_map(|key| Some((key, scope.fetch(*key).unwrap()?)));
        let found: HashMap<_, _> =
            records.map(|(key, record)| (((*key).to_owned(), text(&record)), 1)).collect();
        if found == *left {
            return;
        }
        assert!(start.elapsed() < SECOND * 5, "{found:?} is not {left:?}");
        thread::sleep(SECOND / 50);
    }
}

/// Makes a node refuse all statements, like one without contact to the others, until it is dropped.
struct NotReady<'a>(&'a Server);

impl<'a> NotReady<'a> {
    fn begin(server: &'a Server) -> Self {
        server.raw().query_drop("SET GLOBAL wsrep_reject_queries = ALL").unwrap();
        Self(server)
    }
}

impl Drop for NotReady<'_> {
    fn drop(&mut self) {
        self.0.raw().query_drop("SET GLOBAL wsrep_reject_queries = NONE").unwrap();
    }
}

fn a_node_that_is_not_ready_for_a_while(server: &Server) -> Result<Completion, Failed> {
    let scope = scope(&server.with("timeout=10s"), &name())?;
    scope.set("a", json!({"v": "1"}))?;
    let not_ready = NotReady::begin(server);
    let done = thread::scope(|threads| {
        let calls = threads.spawn(|| scope.update("a", json!({"v": "2"})));
        thread::sleep(SECOND);
        drop(not_ready);
        calls.join().unwrap()
    });
    assert_eq!(done?.map(|old| text(&old)), Some("1".to_owned()));
    PASSED
}

fn a_node_that_is_not_ready(server: &Server) -> Result<Completion, Failed> {
    let scope = scope(&server.with("timeout=1s"), &name())?;
    scope.set("a", json!({"v": "1"}))?;
    let not_ready = NotReady::begin(server);
    let (refused, read) = (scope.pop("a"), scope.fetch("a"));
    drop(not_ready);
    for error in [refused.unwrap_err(), read.unwrap_err()] {
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
        assert!(error.is_retryable() && error.to_string().contains("cluster"), "{error}");
    }
    assert!(scope.pop("a")?.is_some());
    PASSED
}
