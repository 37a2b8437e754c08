//! Reading and writing one document.

use std::time::{Duration, Instant};

use elasticsearch::http::Method;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::bulk::{Or, Seen, Write, check_size};
use super::client::{Effect, Request};
use super::document;
use super::failure::{Failed, Fault, met_others};
use super::names;
use super::scope::Session;
use crate::{Error, Key, Result, Row, Value};

/// A stored document.
#[derive(Debug, Deserialize)]
pub(super) struct Document {
    #[serde(rename = "_source")]
    pub(super) source: Option<Box<RawValue>>,
    #[serde(flatten)]
    pub(super) seen: Seen,
}

/// An answer to the question for a document.
#[derive(Debug, Deserialize)]
struct Got {
    found: bool,
}

impl Session<'_> {
    /// The path of a document.
    fn document(&self, id: &str) -> String {
        format!("{}/_doc/{}", self.target.path, names::in_path(id))
    }

    /// What every write says besides.
    fn write_parameters(&self) -> String {
        let cluster = self.cluster;
        [&cluster.limit(self.deadline), self.target.require_alias(), cluster.refresh.parameter()]
            .concat()
    }

    pub(super) fn exists(&self, key: &Key) -> Result<bool, Failed> {
        if self.target.leases {
            return Ok(self.fetch(key)?.is_some());
        }
        let path = format!("{}?_source=false", self.document(&self.id(key)?));
        let answer = self.cluster.client.send(Request::read(path), self.deadline)?;
        match answer.read_any::<Got>() {
            Some(got) => Ok(got.found),
            None => Err(unexpected(answer.success())),
        }
    }

    /// The document of an id.
    pub(super) fn get(&self, id: &str) -> Result<Option<Document>, Failed> {
        let answer = self.cluster.client.send(Request::read(self.document(id)), self.deadline)?;
        match answer.read_any::<Got>() {
            Some(Got { found: false }) => Ok(None),
            Some(Got { found: true }) => answer.read().map(Some),
            None => Err(unexpected(answer.success())),
        }
    }

    pub(super) fn fetch(&self, key: &Key) -> Result<Option<Row>, Failed> {
        let id = self.id(key)?;
        let document = self.get(&id)?;
        Ok(document.map(|document| self.row(&id, &document)).transpose()?.flatten())
    }

    /// The row of a document; `None` if it has a lease alone.
    pub(super) fn row(&self, id: &str, document: &Document) -> Result<Option<Row>> {
        let source = document.source.as_deref().ok_or_else(|| {
            Error::invalid_data("the mapping of the index lets no source of documents be kept")
        })?;
        match document::is_vacant(source, self.schema, self.target)? {
            true => Ok(None),
            false => document::read(id, source, self.schema, self.target).map(Some),
        }
    }

    /// Inserts or overwrites: in one request, in which the server merges the record into the one
    /// that stands.
    pub(super) fn set(&self, row: &Row) -> Result<(), Failed> {
        document::check(row, self.schema)?;
        if document::has_object(row) {
            return self.replace(row, false).map(drop);
        }
        let id = self.id(&self.schema.key_of(row))?;
        let members = document::write_merged(row, self.target)?;
        check_size(&members)?;
        let full = self.full(row);
        let or = match &full {
            Ok(full) => self.or(row, full)?,
            Err(_) => Or::Nothing,
        };
        if self.target.leases && full.is_err() {
            // There may be a lease alone, into which nothing can be merged.
            return self.replace(row, false).map(drop);
        }
        let body = Write::merging(&members, &or);
        let (path, parameters) = (names::in_path(&id).to_string(), self.write_parameters());
        let path = format!("{}/_update/{path}?{parameters}&retry_on_conflict=5", self.target.path);
        self.again(|| {
            let request = Request::new(Method::Post, &*path, Effect::Repeatable);
            let answer = self.cluster.client.send(request.body(&*body), self.deadline)?;
            match (answer.success(), &full) {
                (Ok(_), _) => Ok(()),
                // There is none that it could be merged into.
                (Err(fault), Err(lacks)) if fault.is("document_missing_exception") => {
                    Err(lacks.clone().into())
                }
                (Err(fault), _) => Err(fault.into_failed()),
            }
        })
    }

    /// The row of a new record.
    ///
    /// # Errors
    ///
    /// Where it lacks a value.
    pub(super) fn full(&self, row: &Row) -> Result<Row> {
        let mut full = row.clone();
        self.schema.fill_absent(&mut full)?;
        Ok(full)
    }

    /// The document that is made of a row where none stands.
    pub(super) fn or(&self, row: &Row, full: &Row) -> Result<Or> {
        match row.iter().any(Value::is_absent) {
            true => document::write(full, self.target).map(Or::Source),
            false => Ok(Or::Members),
        }
    }

    /// Inserts or overwrites the document that was seen, and gives it where it is asked for.
    pub(super) fn replace(&self, row: &Row, wanted: bool) -> Result<Option<Row>, Failed> {
        document::check(row, self.schema)?;
        let id = self.id(&self.schema.key_of(row))?;
        self.again(|| {
            let Some(old) = self.get(&id)? else {
                let source = document::write(&self.full(row)?, self.target)?;
                return self.put(&id, source, None, Effect::Once).map(|()| None);
            };
            // With leases it has to be known whether there is a record.
            let looks = wanted || self.target.leases;
            let replaced = looks.then(|| self.row(&id, &old)).transpose()?.flatten();
            let source = match looks && replaced.is_none() {
                true => document::write(&self.full(row)?, self.target)?,
                false => self.over(row, &old)?,
            };
            self.put(&id, source, Some(old.seen), Effect::Once).map(|()| replaced)
        })
    }

    /// The source of a row over a document that stands.
    pub(super) fn over(&self, row: &Row, old: &Document) -> Result<String> {
        match old.source.as_deref() {
            Some(source) => document::write_over(row, source, self.target),
            None => document::write(row, self.target),
        }
    }

    pub(super) fn put(
        &self,
        id: &str,
        source: String,
        over: Option<Seen>,
        effect: Effect,
    ) -> Result<(), Failed> {
        self.put_with(id, source, over, effect, &self.write_parameters())
    }

    /// Writes what no search has to find.
    pub(super) fn put_hidden(
        &self,
        id: &str,
        source: String,
        over: Option<Seen>,
    ) -> Result<(), Failed> {
        let parameters = self.cluster.limit(self.deadline) + self.target.require_alias();
        self.put_with(id, source, over, Effect::Once, &parameters)
    }

    fn put_with(
        &self,
        id: &str,
        source: String,
        over: Option<Seen>,
        effect: Effect,
        parameters: &str,
    ) -> Result<(), Failed> {
        check_size(&source)?;
        let condition = over.map_or_else(|| "&op_type=create".to_owned(), Seen::parameters);
        let path = format!("{}?{parameters}{condition}", self.document(id));
        let request = Request::new(Method::Put, path, effect).body(source);
        let answer = self.cluster.client.send(request, self.deadline)?;
        answer.success().map(drop).map_err(Fault::into_failed)
    }

    /// Writes a record where there is none, or one that is expired at a time: in one request, unless
    /// there is a document. A record that counts is given.
    pub(super) fn insert(&self, row: &Row, at: Option<i64>) -> Result<Option<Row>, Failed> {
        document::check(row, self.schema)?;
        let key = self.schema.key_of(row);
        let full = match self.full(row) {
            Ok(full) => full,
            Err(lacks) => return self.fetch(&key)?.map(Some).ok_or(lacks.into()),
        };
        let id = self.id(&key)?;
        let source = document::write(&full, self.target)?;
        // An insert that is repeated finds its own record, and gives that.
        self.again(|| match self.put(&id, source.clone(), None, Effect::Repeatable) {
            Ok(()) => Ok(None),
            Err(Failed::Conflict) => match self.get(&id)? {
                None => Err(Failed::Conflict),
                Some(stored) => match self.is_open(&id, &stored, at)? {
                    Ok(row) => Ok(Some(row)),
                    Err(seen) => {
                        self.put(&id, source.clone(), Some(seen), Effect::Once).map(|()| None)
                    }
                },
            },
            Err(failed) => Err(failed),
        })
    }

    /// Removes a record and gives it; a lease is revoked.
    pub(super) fn pop(&self, key: &Key) -> Result<Option<Row>, Failed> {
        let id = self.id(key)?;
        self.again(|| {
            let Some(document) = self.get(&id)? else { return Ok(None) };
            let row = self.row(&id, &document)?;
            self.delete(&id, document.seen).map(|()| row)
        })
    }

    /// Removes the document that was seen.
    pub(super) fn delete(&self, id: &str, seen: Seen) -> Result<(), Failed> {
        let condition = seen.parameters();
        let path = format!("{}?{}{condition}", self.document(id), self.delete_parameters());
        let request = Request::new(Method::Delete, path, Effect::Once);
        let answer = self.cluster.client.send(request, self.deadline)?;
        match answer.success() {
            Ok(_) => Ok(()),
            Err(fault) if fault.status == 404 && !fault.is_gone() => Err(Failed::Conflict),
            Err(fault) => Err(fault.into_failed()),
        }
    }

    /// As other writes, but that removing makes no index.
    fn delete_parameters(&self) -> String {
        self.cluster.limit(self.deadline) + self.cluster.refresh.parameter()
    }

    /// Does something again while others come before it, until the deadline.
    pub(super) fn again<T>(&self, step: impl Fn() -> Result<T, Failed>) -> Result<T, Failed> {
        let mut pause = Duration::from_micros(500);
        loop {
            match step() {
                Err(Failed::Conflict) if Instant::now() + pause < self.deadline => {
                    std::thread::sleep(pause);
                    pause = (pause * 2).min(Duration::from_millis(20));
                }
                Err(Failed::Conflict) => return Err(met_others().into()),
                done => return done,
            }
        }
    }
}

/// The failure of an answer that tells nothing of a document.
fn unexpected(answer: Result<&[u8], Fault>) -> Failed {
    match answer {
        Err(fault) => fault.into_failed(),
        Ok(_) => Fault { status: 200, name: String::new(), reason: None }.into_failed(),
    }
}
