//! Reads of several documents.

use elasticsearch::http::Method;
use serde::Deserialize;
use serde_json::json;
use serde_json::value::RawValue;

use super::bulk::DocumentVersion;
use super::call_error::{CallError, Cause, ServerError, is_transient};
use super::client::{Effect, Request, overload_back_off};
use super::scope::Session;
use super::single::Document;
use crate::{Error, ErrorKind, Key, Result, Row};

/// The maximum number of documents in one request.
const PAGE: usize = 1_000;

#[derive(Deserialize)]
struct MultiGetResponse {
    docs: Vec<MultiGetItem>,
}

#[derive(Deserialize)]
struct MultiGetItem {
    #[serde(default)]
    found: bool,
    #[serde(rename = "_source")]
    source: Option<Box<RawValue>>,
    #[serde(flatten)]
    version: Option<DocumentVersion>,
    #[serde(default)]
    error: Option<Cause>,
}

impl MultiGetItem {
    /// Whether the shard of the document is not started yet.
    fn is_transient(&self) -> bool {
        match &self.error {
            Some(Cause::Named { name, .. }) => is_transient(name),
            _ => false,
        }
    }

    fn document(self) -> Result<Option<Document>, CallError> {
        match (self.error, self.found, self.version) {
            (Some(cause), ..) => Err(ServerError::from_item(status_of(&cause), cause)
                .without_reason()
                .into_call_error()),
            (None, true, Some(version)) => Ok(Some(Document { source: self.source, version })),
            _ => Ok(None),
        }
    }
}

/// Returns the status that a request for this document alone would have.
fn status_of(cause: &Cause) -> u16 {
    match cause {
        Cause::Named { name, .. } if is_transient(name) => 503,
        Cause::Named { name, .. } if name == "illegal_argument_exception" => 400,
        _ => 404,
    }
}

impl Session<'_> {
    pub(super) fn fetch_many(&self, keys: &[Key]) -> Result<Vec<Option<Row>>, CallError> {
        let ids = self.ids(keys)?;
        let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
        let mut rows = Vec::with_capacity(keys.len());
        for (ids, keys) in ids.chunks(PAGE).zip(keys.chunks(PAGE)) {
            for ((id, key), document) in ids.iter().zip(keys).zip(self.get_some(ids)?) {
                let row = document.map(|document| self.row(id, &document)).transpose();
                rows.push(row.map_err(|error| error.with_key(key))?.flatten());
            }
        }
        Ok(rows)
    }

    pub(super) fn ids(&self, keys: &[Key]) -> Result<Vec<String>> {
        keys.iter().map(|key| self.id(key).map_err(|error| error.with_key(key))).collect()
    }

    /// Reads the documents with these ids, in their order.
    pub(super) fn get_all(&self, ids: &[&str]) -> Result<Vec<Option<Document>>, CallError> {
        let mut documents = Vec::with_capacity(ids.len());
        for ids in ids.chunks(PAGE) {
            documents.extend(self.get_some(ids)?);
        }
        Ok(documents)
    }

    fn get_some(&self, ids: &[&str]) -> Result<Vec<Option<Document>>, CallError> {
        let path = format!("{}/_mget", self.target.path);
        let request = Request::new(Method::Post, path, Effect::Read);
        let request = request.body(json!({"ids": ids}).to_string());
        let mut back_off = overload_back_off(self.deadline);
        let response: MultiGetResponse = loop {
            let response = self.cluster.client.send(request.clone(), self.deadline)?;
            let response: MultiGetResponse = response.read()?;
            let ready = !response.docs.iter().any(MultiGetItem::is_transient);
            if ready || !back_off.pause() {
                break response;
            }
        };
        if response.docs.len() != ids.len() {
            let message = "malformed response from the cluster: it has another number of documents than requested";
            return Err(Error::new(ErrorKind::Backend, message).into());
        }
        response.docs.into_iter().map(MultiGetItem::document).collect()
    }
}
