//! The other program: a Python process that runs as long as the test does.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use serde_json::{Value as Json, json};

/// A running program that has a cache of the Python package open.
pub struct Program {
    child: Child,
    input: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Program {
    /// Starts a program that opens a cache by this description.
    pub fn start(python: &Path, opened: &Json) -> Self {
        let program = concat!(env!("CARGO_MANIFEST_DIR"), "/python/program.py");
        let mut command = Command::new(python);
        command.arg(program).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let input = child.stdin.take().unwrap();
        let answers = BufReader::new(child.stdout.take().unwrap());
        let mut program = Self { child, input, answers };
        assert_eq!(program.ask(opened), json!(true));
        program
    }

    fn ask(&mut self, line: &Json) -> Json {
        writeln!(self.input, "{line}").unwrap();
        let mut answer = String::new();
        self.answers.read_line(&mut answer).unwrap();
        serde_json::from_str(&answer).expect("the program answers each line")
    }

    /// Makes a call that must not fail, and returns its result.
    pub fn call(&mut self, call: Json) -> Json {
        let answer = self.ask(&call);
        assert!(answer.get("error").is_none(), "{call}: {answer}");
        answer
    }

    pub fn set(&mut self, scope: impl Into<Json>, key: &Json, value: &Json) {
        assert_eq!(self.call(json!(["set", scope.into(), key, value])), json!(true));
    }

    pub fn fetch(&mut self, scope: impl Into<Json>, key: &Json) -> Json {
        self.call(json!(["fetch", scope.into(), key]))
    }

    pub fn exists(&mut self, scope: impl Into<Json>, key: &Json) -> bool {
        self.call(json!(["exists", scope.into(), key])) == json!(true)
    }

    pub fn pop(&mut self, scope: impl Into<Json>, key: &Json) {
        self.call(json!(["pop", scope.into(), key]));
    }

    /// Returns the keys of a scope, sorted by their text.
    pub fn keys(&mut self, scope: impl Into<Json>) -> Vec<Json> {
        sorted(untupled(self.call(json!(["keys", scope.into()]))))
    }

    /// Returns the scopes, sorted by their text.
    pub fn scopes(&mut self) -> Vec<Json> {
        sorted(untupled(self.call(json!(["scopes"]))))
    }

    pub fn run(&mut self, sql: &str) {
        self.call(json!(["run", sql]));
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // Otherwise the program would wait for another line.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Converts keys to hilcat's form: arrays, not tuples.
fn untupled(list: Json) -> Vec<Json> {
    let Json::Array(items) = list else { panic!("not a list: {list}") };
    items.into_iter().map(|item| item.get("tuple").cloned().unwrap_or(item)).collect()
}

pub fn sorted(mut items: Vec<Json>) -> Vec<Json> {
    items.sort_by_key(Json::to_string);
    items
}
