//! `hilcat batch`: reads and writes one JSON object per line, in order.

use std::collections::HashMap;
use std::io::{BufReader, Read};
use std::process::ExitCode;

use hilcat::{DynScope, Entry, Error, ErrorKind};
use serde::ser::{Serialize, SerializeStruct, Serializer};
use serde_json::{Value as Json, json};

use crate::args::Source;
use crate::failure::Failure;
use crate::lines::{self, Line};
use crate::output::{EntryOf, InOrder, Output};
use crate::request::{Operation, Request};

/// Answers the lines of an input. Each answer is written before the next line is waited for.
pub(crate) fn run(
    source: &Source,
    input: impl Read,
    output: &mut Output,
) -> Result<ExitCode, Failure> {
    let mut input = BufReader::with_capacity(1 << 16, input);
    let mut scopes = Scopes { source, opened: HashMap::new() };
    let mut line = Vec::new();
    let mut first = true;
    loop {
        // While complete lines are buffered, their answers are written together.
        if !input.buffer().contains(&b'\n') {
            output.flush()?;
        }
        line.clear();
        let read = lines::read(&mut input, &mut line, lines::LIMIT);
        if std::mem::take(&mut first) {
            lines::skip_byte_order_mark(&mut line);
        }
        let answer = match read.map_err(Failure::io(None, "standard input"))? {
            Line::End => return Ok(ExitCode::SUCCESS),
            Line::TooLong => Answer::Error(Error::new(
                ErrorKind::InvalidInput,
                format!("the line is longer than {} bytes", lines::LIMIT),
            )),
            Line::Read => scopes.answer(&line).unwrap_or_else(Answer::Error),
        };
        output.json(&answer)?;
    }
}

/// The opened scopes, by name.
struct Scopes<'a> {
    source: &'a Source,
    opened: HashMap<String, DynScope>,
}

impl Scopes<'_> {
    fn answer(&mut self, line: &[u8]) -> hilcat::Result<Answer> {
        match Request::parse(line)? {
            Request::Scopes => Ok(Answer::Json(json!(self.source.cache.scopes()?))),
            Request::OnScope(name, operation) => perform(self.open(name)?, operation),
        }
    }

    fn open(&mut self, name: String) -> hilcat::Result<DynScope> {
        if let Some(scope) = self.opened.get(&name) {
            return Ok(scope.clone());
        }
        let scope = self.source.scope(&name)?;
        self.opened.insert(name, scope.clone());
        Ok(scope)
    }
}

fn perform(scope: DynScope, operation: Operation) -> hilcat::Result<Answer> {
    Ok(match operation {
        Operation::Set(key, value, ttl) => {
            match ttl {
                Some(ttl) => scope.set_with_ttl(key, value, ttl)?,
                None => scope.set(key, value)?,
            }
            Answer::Json(Json::Null)
        }
        Operation::Touch(key) => Answer::Json(json!(scope.touch(key)?)),
        Operation::Entry(key) => {
            let entry = scope.entry(key)?;
            Answer::Entry(scope, entry)
        }
        Operation::Purge => Answer::Json(json!(scope.purge()?)),
        Operation::Update(key, value) => {
            let replaced = scope.update(key, value)?;
            Answer::Record(scope, replaced)
        }
        Operation::Fetch(key) => {
            let found = scope.fetch(key)?;
            Answer::Record(scope, found)
        }
        Operation::Exists(key) => Answer::Json(json!(scope.exists(key)?)),
        Operation::Pop(key) => {
            let removed = scope.pop(key)?;
            Answer::Record(scope, removed)
        }
        Operation::Keys => Answer::Json(Json::Array(scope.keys()?.collect::<Result<_, _>>()?)),
        Operation::SetMany(items, ttl) => Answer::Json(json!(match ttl {
            Some(ttl) => scope.set_many_with_ttl(items, ttl)?,
            None => scope.set_many(items)?,
        })),
        Operation::FetchMany(keys) => {
            let found = scope.fetch_many(keys)?;
            Answer::Records(scope, found)
        }
        Operation::PopMany(keys) => {
            let removed = scope.pop_many(keys)?;
            Answer::Records(scope, removed)
        }
    })
}

/// The answer to a line.
enum Answer {
    Json(Json),
    Record(DynScope, Option<Json>),
    Records(DynScope, Vec<Option<Json>>),
    Entry(DynScope, Option<Entry<Json>>),
    Error(Error),
}

impl Serialize for Answer {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut answer = serializer.serialize_struct("Answer", 2)?;
        answer.serialize_field("ok", &!matches!(self, Self::Error(_)))?;
        match self {
            Self::Json(result) => answer.serialize_field("result", result)?,
            Self::Record(scope, record) => {
                answer.serialize_field("result", &in_order(scope, record.as_ref()))?;
            }
            Self::Records(scope, records) => {
                let records = records.iter().map(|record| in_order(scope, record.as_ref()));
                answer.serialize_field("result", &records.collect::<Vec<_>>())?;
            }
            Self::Entry(scope, entry) => {
                let entry = entry.as_ref().map(|entry| EntryOf { scope, entry });
                answer.serialize_field("result", &entry)?;
            }
            Self::Error(error) => answer.serialize_field("error", &Reported(error))?,
        }
        answer.end()
    }
}

fn in_order<'a>(scope: &'a DynScope, record: Option<&'a Json>) -> Option<InOrder<'a>> {
    record.map(|value| InOrder { schema: scope.schema(), value })
}

/// An error in an answer.
struct Reported<'a>(&'a Error);

impl Serialize for Reported<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut error = serializer.serialize_struct("Error", 2)?;
        error.serialize_field("kind", self.0.kind().as_str())?;
        error.serialize_field("message", &self.0.to_string())?;
        error.end()
    }
}
