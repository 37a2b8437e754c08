//! The operations of `hilcat batch`, parsed from lines.

use std::time::Duration;

use hilcat::{Error, ErrorKind, Result};
use serde_json::{Map, Value as Json};

/// An operation.
#[derive(Debug, PartialEq)]
pub(crate) enum Request {
    Scopes,
    OnScope(String, Operation),
}

/// An operation on a scope.
#[derive(Debug, PartialEq)]
pub(crate) enum Operation {
    Set(Json, Json, Option<Duration>),
    Update(Json, Json),
    Fetch(Json),
    Exists(Json),
    Pop(Json),
    Keys,
    Touch(Json),
    Entry(Json),
    Purge,
    SetMany(Vec<(Json, Json)>, Option<Duration>),
    FetchMany(Vec<Json>),
    PopMany(Vec<Json>),
}

/// The operations with their required fields.
const OPS: [(&str, &[&str]); 13] = [
    ("set", &["scope", "key", "value"]),
    ("update", &["scope", "key", "value"]),
    ("fetch", &["scope", "key"]),
    ("exists", &["scope", "key"]),
    ("pop", &["scope", "key"]),
    ("touch", &["scope", "key"]),
    ("entry", &["scope", "key"]),
    ("keys", &["scope"]),
    ("purge", &["scope"]),
    ("scopes", &[]),
    ("set_many", &["scope", "items"]),
    ("fetch_many", &["scope", "keys"]),
    ("pop_many", &["scope", "keys"]),
];

impl Request {
    /// Parses a line.
    pub(crate) fn parse(line: &[u8]) -> Result<Self> {
        // Without the line ending, so that all errors of JSON are in line 1.
        let line = line.trim_ascii_end();
        let text = str::from_utf8(line).map_err(|_| invalid("the line is not UTF-8"))?;
        let Json::Object(map) = hilcat::parse_json(text)? else {
            return Err(invalid("the line is not a JSON object; write {\"op\": \"fetch\", ...}"));
        };
        let mut fields = Fields(map);
        let op = fields.text("op")?;
        let known = OPS.iter().find(|(name, _)| *name == op);
        let (_, names) = known.ok_or_else(|| unknown_op(&op))?;
        fields.check(&op, names)?;
        if op == "scopes" {
            return Ok(Self::Scopes);
        }
        let scope = fields.text("scope")?;
        let ttl = fields.ttl()?;
        let operation = match op.as_str() {
            "set" => Operation::Set(fields.take("key")?, fields.take("value")?, ttl),
            "update" => Operation::Update(fields.take("key")?, fields.take("value")?),
            "fetch" => Operation::Fetch(fields.take("key")?),
            "exists" => Operation::Exists(fields.take("key")?),
            "pop" => Operation::Pop(fields.take("key")?),
            "touch" => Operation::Touch(fields.take("key")?),
            "entry" => Operation::Entry(fields.take("key")?),
            "keys" => Operation::Keys,
            "purge" => Operation::Purge,
            "set_many" => Operation::SetMany(fields.items()?, ttl),
            "fetch_many" => Operation::FetchMany(fields.list("keys", "an array of keys")?),
            "pop_many" => Operation::PopMany(fields.list("keys", "an array of keys")?),
            _ => return Err(unknown_op(&op)),
        };
        Ok(Self::OnScope(scope, operation))
    }
}

fn invalid(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::InvalidInput, message)
}

fn unknown_op(op: &str) -> Error {
    let ops = OPS.map(|(name, _)| name).join(", ");
    invalid(format!("unknown op `{op}`; the ops are {ops}"))
}

/// The fields of an operation that were not yet read.
struct Fields(Map<String, Json>);

impl Fields {
    /// Checks that an operation has all its fields and no other.
    fn check(&self, op: &str, names: &[&str]) -> Result<()> {
        let optional: &[&str] = if op.starts_with("set") { &["ttl"] } else { &[] };
        let has = match names {
            [] => "no field but `op`".to_owned(),
            names => format!("op, {}", [names, optional].concat().join(", ")),
        };
        let known =
            |name: &&String| names.contains(&name.as_str()) || optional.contains(&name.as_str());
        if let Some(name) = self.0.keys().find(|name| !known(name)) {
            return Err(invalid(format!("unknown field `{name}`; `{op}` has {has}")));
        }
        match names.iter().find(|name| !self.0.contains_key(**name)) {
            Some(name) => Err(invalid(format!("the field `{name}` is missing; `{op}` has {has}"))),
            None => Ok(()),
        }
    }

    fn take(&mut self, name: &str) -> Result<Json> {
        self.0.remove(name).ok_or_else(|| invalid(format!("the field `{name}` is missing")))
    }

    fn text(&mut self, name: &str) -> Result<String> {
        match self.take(name)? {
            Json::String(text) => Ok(text),
            _ => Err(invalid(format!("the field `{name}` must be a string"))),
        }
    }

    fn ttl(&mut self) -> Result<Option<Duration>> {
        match self.0.remove("ttl") {
            None => Ok(None),
            Some(Json::String(text)) => hilcat::parse_duration(&text)
                .map(Some)
                .map_err(|error| invalid(format!("the field `ttl`: {}", error.message()))),
            Some(_) => Err(invalid("the field `ttl` must be a string, such as \"2s\"")),
        }
    }

    fn list(&mut self, name: &str, expected: &str) -> Result<Vec<Json>> {
        match self.take(name)? {
            Json::Array(items) => Ok(items),
            _ => Err(invalid(format!("the field `{name}` must be {expected}"))),
        }
    }

    fn items(&mut self) -> Result<Vec<(Json, Json)>> {
        let expected = "an array of [KEY, VALUE] pairs";
        let pair = |item| match item {
            Json::Array(pair) => <[Json; 2]>::try_from(pair).ok().map(Into::into),
            _ => None,
        };
        let items = self.list("items", expected)?.into_iter().map(pair);
        let items: Option<Vec<(Json, Json)>> = items.collect();
        items.ok_or_else(|| invalid(format!("the field `items` must be {expected}")))
    }
}
