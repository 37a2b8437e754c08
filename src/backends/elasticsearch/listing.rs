//! Listings: pages of the documents that a scope had when the listing started.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use elasticsearch::http::Method;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value as Json, json};

use super::call_error::{CallError, ServerError};
use super::client::{Client, Effect, Request, parse};
use super::cluster::{Cluster, of_several};
use super::document;
use super::leases;
use super::names;
use super::scope::Session;
use super::target::Target;
use crate::{Error, ErrorKind, Key, Result, Row, Schema};

/// How long the server keeps the state of a listing after each page.
const KEPT: &str = "5m";
/// The number of documents on the first page. Later pages fill about this many bytes.
const FIRST: usize = 32;
const PAGE: usize = 2 << 20;
/// The maximum number of documents on a page.
const MAX_DOCUMENTS: usize = 10_000;

#[derive(Deserialize)]
struct Opened {
    id: String,
}

#[derive(Deserialize)]
struct Count {
    count: u64,
}

#[derive(Deserialize)]
struct Page<'a> {
    pit_id: Option<String>,
    #[serde(borrow)]
    hits: Hits<'a>,
}

#[derive(Deserialize)]
struct Hits<'a> {
    #[serde(borrow)]
    hits: Vec<Hit<'a>>,
}

#[derive(Deserialize)]
struct Hit<'a> {
    #[serde(rename = "_id")]
    id: String,
    #[serde(rename = "_source", borrow)]
    source: Option<&'a RawValue>,
    sort: Json,
}

/// An item that a listing reads from each document.
pub(super) trait Listed: Sized + Send {
    fn fields(schema: &Schema, target: &Target) -> Json;

    fn read(id: &str, source: Option<&RawValue>, schema: &Schema, target: &Target) -> Result<Self>;
}

impl Listed for Key {
    fn fields(schema: &Schema, target: &Target) -> Json {
        match target.foreign {
            true => json!(false),
            false => schema.key.iter().map(|at| target.fields[*at].name.clone()).collect(),
        }
    }

    fn read(id: &str, source: Option<&RawValue>, schema: &Schema, target: &Target) -> Result<Self> {
        document::read_key(id, source, schema, target)
    }
}

impl Listed for Row {
    fn fields(_: &Schema, _: &Target) -> Json {
        json!(true)
    }

    fn read(id: &str, source: Option<&RawValue>, schema: &Schema, target: &Target) -> Result<Self> {
        let none = || {
            Error::invalid_data(
                "the mapping of the index disables `_source`, so its documents cannot be read",
            )
        };
        document::read(id, source.ok_or_else(none)?, schema, target)
    }
}

/// The id of a document, for its removal.
pub(super) struct Id(pub(super) String);

impl Listed for Id {
    fn fields(_: &Schema, _: &Target) -> Json {
        json!(false)
    }

    fn read(id: &str, _: Option<&RawValue>, _: &Schema, _: &Target) -> Result<Self> {
        Ok(Self(id.to_owned()))
    }
}

/// An ongoing listing. Dropping it releases its state in the server.
pub(super) struct Listing<T> {
    cluster: Arc<Cluster>,
    schema: Arc<Schema>,
    target: Arc<Target>,
    /// Selects the documents; `None` for all.
    query: Option<Json>,
    /// The time at which listed records must be live.
    live: Option<i64>,
    /// The index being listed, which may have been replaced since.
    index: String,
    state: State,
    after: Option<Json>,
    size: usize,
    page: VecDeque<Result<T>>,
    ended: bool,
}

/// The point in time that the server keeps for a listing.
struct State {
    client: Client,
    id: String,
}

impl Drop for State {
    fn drop(&mut self) {
        let body = json!({"id": self.id}).to_string();
        let request = Request::new(Method::Delete, "_pit", Effect::Once).body(body);
        self.client.spawn_detached(request, Duration::from_secs(5));
    }
}

impl Session<'_> {
    /// Starts a listing, which includes every acknowledged write.
    pub(super) fn list<T: Listed>(&self) -> Result<Listing<T>, CallError> {
        self.list_some(None, None)
    }

    /// Starts a listing of the documents that match a query and are live at a time.
    pub(super) fn list_some<T: Listed>(
        &self,
        query: Option<Json>,
        live: Option<i64>,
    ) -> Result<Listing<T>, CallError> {
        let (cluster, schema, target) = (self.cluster, self.schema, self.target);
        let index = self.index()?;
        cluster.refresh_index(target, self.deadline)?;
        let path = format!("{}/_pit?keep_alive={KEPT}", names::in_path(&index));
        let request = Request::new(Method::Post, path, Effect::Read);
        let opened: Opened = cluster.client.send(request, self.deadline)?.read()?;
        let client = cluster.client.clone();
        Ok(Listing {
            cluster: cluster.clone(),
            schema: schema.clone(),
            target: target.clone(),
            query,
            live,
            index,
            state: State { client, id: opened.id },
            after: None,
            size: FIRST,
            page: VecDeque::new(),
            ended: false,
        })
    }

    /// Returns the name of the scope's current index.
    pub(super) fn index(&self) -> Result<String, CallError> {
        let Target { name, path, foreign, .. } = &**self.target;
        let response =
            self.cluster.client.send(Request::read(format!("{path}/_alias")), self.deadline)?;
        let found: BTreeMap<String, Json> = response.read()?;
        if found.len() > 1 {
            return Err(of_several(name, found.keys()).into());
        }
        // An index with the name of hilcat's alias was created by another program.
        let found = found.into_keys().next().filter(|index| *foreign || index != name);
        found.ok_or(CallError::IndexMissing)
    }

    pub(super) fn count(&self) -> Result<u64, CallError> {
        self.count_of(None)
    }

    /// Counts the records among the documents that match a query.
    pub(super) fn count_of(&self, query: Option<Json>) -> Result<u64, CallError> {
        self.index()?;
        self.cluster.refresh_index(self.target, self.deadline)?;
        let path = format!("{}/_count", self.target.path);
        let request = match (query, self.target.leases) {
            (None, false) => Request::read(path),
            (query, leases) => {
                let none = leases.then(leases::vacant);
                let query = json!({"bool": {
                    "filter": query.into_iter().collect::<Vec<_>>(),
                    "must_not": none.into_iter().collect::<Vec<_>>(),
                }});
                let body = json!({"query": query}).to_string();
                Request::new(Method::Post, path, Effect::Read).body(body)
            }
        };
        let response = self.cluster.client.send(request, self.deadline)?;
        response.read::<Count>().map(|count| count.count)
    }
}

impl<T: Listed> Listing<T> {
    /// Requests the next page.
    fn fetch_page(&mut self) -> Result<(), CallError> {
        let mut body = json!({
            "size": self.size,
            "track_total_hits": false,
            "_source": self.fields(),
            "sort": ["_shard_doc"],
            "pit": {"id": self.state.id, "keep_alive": KEPT},
        });
        if let Some(query) = &self.query {
            body["query"] = query.clone();
        }
        if let Some(after) = &self.after {
            body["search_after"] = after.clone();
        }
        let path = "_search?allow_partial_search_results=false";
        let request = Request::new(Method::Post, path, Effect::Read).body(body.to_string());
        let response = self.cluster.client.send(request, self.cluster.deadline())?;
        let body = match response.success() {
            Ok(body) => body,
            Err(server_error) => return self.end_or_fail(server_error),
        };
        self.take(parse(body)?, body.len());
        Ok(())
    }

    fn take(&mut self, page: Page<'_>, bytes: usize) {
        let hits = page.hits.hits;
        self.ended = hits.len() < self.size;
        self.after = hits.last().map(|hit| hit.sort.clone());
        if let Some(id) = page.pit_id {
            self.state.id = id;
        }
        let each = bytes / hits.len().max(1);
        self.size = (PAGE / each.max(1)).clamp(1, MAX_DOCUMENTS);
        let hits = hits.into_iter().filter(|hit| self.is_listed(hit));
        let read = |hit: Hit<'_>| {
            let read = T::read(&hit.id, hit.source, &self.schema, &self.target);
            read.map_err(|error| error.with_key(&hit.id))
        };
        let page: Vec<_> = hits.map(read).collect();
        self.page.extend(page);
    }

    /// The fields to request of each document, including the expiry if it decides.
    fn fields(&self) -> Json {
        let mut fields = T::fields(&self.schema, &self.target);
        let expiry = self.live.and_then(|_| self.schema.expiry_column());
        if let Some(column) = expiry {
            let field = Json::from(self.target.fields[column].name.as_str());
            match &mut fields {
                Json::Array(fields) => fields.push(field),
                Json::Bool(false) => fields = json!([field]),
                _ => {}
            }
        }
        fields
    }

    /// Whether a document is a live record. An unreadable document is listed, so that reading it
    /// reports the error.
    fn is_listed(&self, hit: &Hit<'_>) -> bool {
        let Some(source) = hit.source else { return true };
        let vacant = document::is_vacant(source, &self.schema, &self.target);
        let expiry = self.live.zip(self.schema.expiry_column()).and_then(|(at, column)| {
            let field = &self.target.fields[column].name;
            let expiry = document::expiry(source, &self.schema.columns[column], field);
            expiry.ok().flatten().map(|expires| expires <= at)
        });
        !vacant.unwrap_or(false) && expiry != Some(true)
    }

    /// Handles a failed page. If the index has been deleted, the listing ends, since all of its
    /// records were removed; otherwise it fails.
    fn end_or_fail(&mut self, server_error: ServerError) -> Result<(), CallError> {
        let path = format!("{}?filter_path=*.aliases", names::in_path(&self.index));
        let response = self.cluster.client.send(Request::read(path), self.cluster.deadline())?;
        match response.success() {
            Err(gone) if gone.is_index_missing() => {
                self.ended = true;
                Ok(())
            }
            _ if server_error.is("search_context_missing_exception") || server_error.status == 404 => {
                Err(Error::new(
                    ErrorKind::Unavailable,
                    format!("the cluster no longer has the state of the listing, which it keeps for {KEPT} after each page and until a restart; start the listing again"),
                )
                .into())
            }
            _ => Err(server_error.into_call_error()),
        }
    }
}

impl<T: Listed> Iterator for Listing<T> {
    type Item = Result<T>;

    fn next(&mut self) -> Option<Self::Item> {
        while self.page.is_empty() && !self.ended {
            if let Err(failed) = self.fetch_page() {
                self.ended = true;
                return Some(Err(failed.into_error()));
            }
        }
        self.page.pop_front()
    }
}
