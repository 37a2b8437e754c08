//! Operations on one document.

use elasticsearch::http::Method;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::bulk::{DocumentVersion, IfMissing, Write, check_size};
use super::call_error::{CallError, ServerError, conflict_error};
use super::client::{Effect, Request};
use super::document;
use super::names;
use super::scope::Session;
use crate::backoff::BackOff;
use crate::{Error, Key, Result, Row, Value};

/// A stored document.
#[derive(Debug, Deserialize)]
pub(super) struct Document {
    #[serde(rename = "_source")]
    pub(super) source: Option<Box<RawValue>>,
    #[serde(flatten)]
    pub(super) version: DocumentVersion,
}

/// A response to a request for a document.
#[derive(Debug, Deserialize)]
struct Got {
    found: bool,
}

impl Session<'_> {
    /// Returns the path of a document.
    fn document(&self, id: &str) -> String {
        format!("{}/_doc/{}", self.target.path, names::in_path(id))
    }

    /// Returns the parameters of all writes.
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

    /// Reads the document with an id.
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

    /// Reads the row of a document; `None` for a placeholder.
    pub(super) fn row(&self, id: &str, document: &Document) -> Result<Option<Row>> {
        let source = document.source.as_deref().ok_or_else(|| {
            Error::invalid_data(
                "the mapping of the index disables `_source`, so its documents cannot be read",
            )
        })?;
        match document::is_vacant(source, self.schema, self.target)? {
            true => Ok(None),
            false => document::read(id, source, self.schema, self.target).map(Some),
        }
    }

    /// Inserts or overwrites a record in one request, which merges it into a stored document.
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
            // The document may be a placeholder, into which an incomplete row cannot be merged.
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
                // There is no document to merge an incomplete row into.
                (Err(server_error), Err(incomplete))
                    if server_error.is("document_missing_exception") =>
                {
                    Err(incomplete.clone().into())
                }
                (Err(server_error), _) => Err(server_error.into_call_error()),
            }
        })
    }

    /// Completes a row with the defaults of absent columns.
    ///
    /// # Errors
    ///
    /// Fails if an absent column has no default and cannot be NULL.
    pub(super) fn full(&self, row: &Row) -> Result<Row> {
        let mut full = row.clone();
        self.schema.fill_absent(&mut full)?;
        Ok(full)
    }

    /// Returns what a merge stores if there is no document.
    pub(super) fn if_missing(&self, row: &Row, full: &Row) -> Result<IfMissing> {
        match row.iter().any(Value::is_absent) {
            true => document::write(full, self.target).map(IfMissing::Source),
            false => Ok(IfMissing::Members),
        }
    }

    /// Inserts a record or overwrites the stored one. Returns the stored record if `wanted`.
    pub(super) fn replace(&self, row: &Row, wanted: bool) -> Result<Option<Row>, CallError> {
        document::check(row, self.schema)?;
        let id = self.id(&self.schema.key_of(row))?;
        self.retry_conflicts(|| {
            let Some(old) = self.get(&id)? else {
                let source = document::write(&self.full(row)?, self.target)?;
                return self.put(&id, source, None, Effect::Once).map(|()| None);
            };
            // With leases, it matters whether the document is a placeholder.
            let reads = wanted || self.target.leases;
            let replaced = reads.then(|| self.row(&id, &old)).transpose()?.flatten();
            let source = match reads && replaced.is_none() {
                true => document::write(&self.full(row)?, self.target)?,
                false => self.over(row, &old)?,
            };
            self.put(&id, source, Some(old.version), Effect::Once).map(|()| replaced)
        })
    }

    /// Returns the source for a row written over a stored document.
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

    /// Writes a document without a refresh, since searches need not find it.
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

    /// Inserts a record if there is none, or only one that is expired at the time `at`. Returns the
    /// live record otherwise. If there is no document, this takes one request.
    pub(super) fn insert(&self, row: &Row, at: Option<i64>) -> Result<Option<Row>, CallError> {
        document::check(row, self.schema)?;
        let key = self.schema.key_of(row);
        let full = match self.full(row) {
            Ok(full) => full,
            Err(incomplete) => return self.fetch(&key)?.map(Some).ok_or(incomplete.into()),
        };
        let id = self.id(&key)?;
        let source = document::write(&full, self.target)?;
        // Repeatable, since a repeated insert finds and returns its own record.
        self.retry_conflicts(|| match self.put(&id, source.clone(), None, Effect::Repeatable) {
            Ok(()) => Ok(None),
            Err(CallError::Conflict) => match self.get(&id)? {
                None => Err(CallError::Conflict),
                Some(stored) => match self.live_or_version(&id, &stored, at)? {
                    Ok(row) => Ok(Some(row)),
                    Err(version) => {
                        self.put(&id, source.clone(), Some(version), Effect::Once).map(|()| None)
                    }
                },
            },
            Err(failed) => Err(failed),
        })
    }

    /// Removes a record and returns it. Its lease is revoked.
    pub(super) fn pop(&self, key: &Key) -> Result<Option<Row>, CallError> {
        let id = self.id(key)?;
        self.retry_conflicts(|| {
            let Some(document) = self.get(&id)? else { return Ok(None) };
            let row = self.row(&id, &document)?;
            self.delete(&id, document.version).map(|()| row)
        })
    }

    /// Removes a document if it still has this version.
    pub(super) fn delete(&self, id: &str, version: DocumentVersion) -> Result<(), CallError> {
        let condition = version.parameters();
        let path = format!("{}?{}{condition}", self.document(id), self.delete_parameters());
        let request = Request::new(Method::Delete, path, Effect::Once);
        let response = self.cluster.client.send(request, self.deadline)?;
        match response.success() {
            Ok(_) => Ok(()),
            Err(server_error) if server_error.status == 404 && !server_error.is_index_missing() => {
                Err(CallError::Conflict)
            }
            Err(server_error) => Err(server_error.into_call_error()),
        }
    }

    /// Returns the parameters of removals, which never create an index.
    fn delete_parameters(&self) -> String {
        self.cluster.timeout_parameter(self.deadline) + self.cluster.refresh.parameter()
    }

    /// Repeats a step while it is in conflict with other writes, until the deadline.
    pub(super) fn retry_conflicts<T>(
        &self,
        step: impl Fn() -> Result<T, CallError>,
    ) -> Result<T, CallError> {
        let mut back_off = BackOff::until(self.deadline);
        loop {
            match step() {
                Err(CallError::Conflict) if back_off.pause() => {}
                Err(CallError::Conflict) => return Err(conflict_error().into()),
                done => return done,
            }
        }
    }
}

/// The error of a response that does not describe a document.
fn unexpected(response: Result<&[u8], ServerError>) -> CallError {
    match response {
        Err(server_error) => server_error.into_call_error(),
        Ok(_) => ServerError { status: 200, name: String::new(), reason: None }.into_call_error(),
    }
}
