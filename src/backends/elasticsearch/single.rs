//! Reading and writing one document.

use std::time::{Duration, Instant};

use elasticsearch::http::Method;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::bulk::{DocumentVersion, IfMissing, Write, check_size};
use super::call_error::{CallError, ServerError, conflict_error};
use super::client::{Effect, Request};
use super::document;
use super::names;
use super::scope::Session;
use crate::{Error, Key, Result, Row, Value};

/// A stored document.
#[derive(Debug, Deserialize)]
pub(super) struct Document {
    #[serde(rename = "_source")]
    pub(super) source: Option<Box<RawValue>>,
    #[serde(flatten)]
    pub(super) version: DocumentVersion,
}

/// An response to the question for a document.
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
        [
            &cluster.timeout_parameter(self.deadline),
            self.target.require_alias(),
            cluster.refresh.parameter(),
        ]
        .concat()
    }

    pub(super) fn exists(&self, key: &Key) -> Result<bool, CallError> {
        if self.target.leases {
            return Ok(self.fetch(key)?.is_some());
        }
        let path = format!("{}?_source=false", self.document(&self.id(key)?));
        let response = self.cluster.client.send(Request::read(path), self.deadline)?;
        match response.read_any::<Got>() {
            Some(got) => Ok(got.found),
            None => Err(unexpected(response.success())),
        }
    }

    /// The document of an id.
    pub(super) fn get(&self, id: &str) -> Result<Option<Document>, CallError> {
        let response = self.cluster.client.send(Request::read(self.document(id)), self.deadline)?;
        match response.read_any::<Got>() {
            Some(Got { found: false }) => Ok(None),
            Some(Got { found: true }) => response.read().map(Some),
            None => Err(unexpected(response.success())),
        }
    }

    pub(super) fn fetch(&self, key: &Key) -> Result<Option<Row>, CallError> {
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
    pub(super) fn set(&self, row: &Row) -> Result<(), CallError> {
        document::check(row, self.schema)?;
        if document::has_object(row) {
            return self.replace(row, false).map(drop);
        }
        let id = self.id(&self.schema.key_of(row))?;
        let members = document::write_merged(row, self.target)?;
        check_size(&members)?;
        let full = self.full(row);
        let if_missing = match &full {
            Ok(full) => self.if_missing(row, full)?,
            Err(_) => IfMissing::Nothing,
        };
        if self.target.leases && full.is_err() {
            // There may be a lease alone, into which nothing can be merged.
            return self.replace(row, false).map(drop);
        }
        let body = Write::update_body(&members, &if_missing);
        let (path, parameters) = (names::in_path(&id).to_string(), self.write_parameters());
        let path = format!("{}/_update/{path}?{parameters}&retry_on_conflict=5", self.target.path);
        self.retry_conflicts(|| {
            let request = Request::new(Method::Post, &*path, Effect::Repeatable);
            let response = self.cluster.client.send(request.body(&*body), self.deadline)?;
            match (response.success(), &full) {
                (Ok(_), _) => Ok(()),
                // There is none that it could be merged into.
                (Err(server_error), Err(lacks))
                    if server_error.is("document_missing_exception") =>
                {
                    Err(lacks.clone().into())
                }
                (Err(server_error), _) => Err(server_error.into_call_error()),
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
    pub(super) fn if_missing(&self, row: &Row, full: &Row) -> Result<IfMissing> {
        match row.iter().any(Value::is_absent) {
            true => document::write(full, self.target).map(IfMissing::Source),
            false => Ok(IfMissing::Members),
        }
    }

    /// Inserts or overwrites the document that was version, and gives it where it is asked for.
    pub(super) fn replace(&self, row: &Row, wanted: bool) -> Result<Option<Row>, CallError> {
        document::check(row, self.schema)?;
        let id = self.id(&self.schema.key_of(row))?;
        self.retry_conflicts(|| {
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
            self.put(&id, source, Some(old.version), Effect::Once).map(|()| replaced)
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
        over: Option<DocumentVersion>,
        effect: Effect,
    ) -> Result<(), CallError> {
        self.put_with(id, source, over, effect, &self.write_parameters())
    }

    /// Writes what no search has to find.
    pub(super) fn put_hidden(
        &self,
        id: &str,
        source: String,
        over: Option<DocumentVersion>,
    ) -> Result<(), CallError> {
        let parameters =
            self.cluster.timeout_parameter(self.deadline) + self.target.require_alias();
        self.put_with(id, source, over, Effect::Once, &parameters)
    }

    fn put_with(
        &self,
        id: &str,
        source: String,
        over: Option<DocumentVersion>,
        effect: Effect,
        parameters: &str,
    ) -> Result<(), CallError> {
        check_size(&source)?;
        let condition =
            over.map_or_else(|| "&op_type=create".to_owned(), DocumentVersion::parameters);
        let path = format!("{}?{parameters}{condition}", self.document(id));
        let request = Request::new(Method::Put, path, effect).body(source);
        let response = self.cluster.client.send(request, self.deadline)?;
        response.success().map(drop).map_err(ServerError::into_call_error)
    }

    /// Writes a record where there is none, or one that is expired at a time: in one request, unless
    /// there is a document. A record that counts is given.
    pub(super) fn insert(&self, row: &Row, at: Option<i64>) -> Result<Option<Row>, CallError> {
        document::check(row, self.schema)?;
        let key = self.schema.key_of(row);
        let full = match self.full(row) {
            Ok(full) => full,
            Err(lacks) => return self.fetch(&key)?.map(Some).ok_or(lacks.into()),
        };
        let id = self.id(&key)?;
        let source = document::write(&full, self.target)?;
        // An insert that is repeated finds its own record, and gives that.
        self.retry_conflicts(|| match self.put(&id, source.clone(), None, Effect::Repeatable) {
            Ok(()) => Ok(None),
            Err(CallError::Conflict) => match self.get(&id)? {
                None => Err(CallError::Conflict),
                Some(stored) => match self.is_open(&id, &stored, at)? {
                    Ok(row) => Ok(Some(row)),
                    Err(version) => {
                        self.put(&id, source.clone(), Some(version), Effect::Once).map(|()| None)
                    }
                },
            },
            Err(failed) => Err(failed),
        })
    }

    /// Removes a record and gives it; a lease is revoked.
    pub(super) fn pop(&self, key: &Key) -> Result<Option<Row>, CallError> {
        let id = self.id(key)?;
        self.retry_conflicts(|| {
            let Some(document) = self.get(&id)? else { return Ok(None) };
            let row = self.row(&id, &document)?;
            self.delete(&id, document.version).map(|()| row)
        })
    }

    /// Removes the document that was version.
    pub(super) fn delete(&self, id: &str, version: DocumentVersion) -> Result<(), CallError> {
        let condition = version.parameters();
        let path = format!("{}?{}{condition}", self.document(id), self.delete_parameters());
        let request = Request::new(Method::Delete, path, Effect::Once);
        let response = self.cluster.client.send(request, self.deadline)?;
        match response.success() {
            Ok(_) => Ok(()),
            Err(server_error) if server_error.status == 404 && !server_error.is_gone() => {
                Err(CallError::Conflict)
            }
            Err(server_error) => Err(server_error.into_call_error()),
        }
    }

    /// As other writes, but that removing makes no index.
    fn delete_parameters(&self) -> String {
        self.cluster.timeout_parameter(self.deadline) + self.cluster.refresh.parameter()
    }

    /// Does something again while others come before it, until the deadline.
    pub(super) fn retry_conflicts<T>(
        &self,
        step: impl Fn() -> Result<T, CallError>,
    ) -> Result<T, CallError> {
        let mut pause = Duration::from_micros(500);
        loop {
            match step() {
                Err(CallError::Conflict) if Instant::now() + pause < self.deadline => {
                    std::thread::sleep(pause);
                    pause = (pause * 2).min(Duration::from_millis(20));
                }
                Err(CallError::Conflict) => return Err(conflict_error().into()),
                done => return done,
            }
        }
    }
}

/// The failure of an response that tells nothing of a document.
fn unexpected(response: Result<&[u8], ServerError>) -> CallError {
    match response {
        Err(server_error) => server_error.into_call_error(),
        Ok(_) => ServerError { status: 200, name: String::new(), reason: None }.into_call_error(),
    }
}
