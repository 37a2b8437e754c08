//! Expiring records.
//!
//! The source of a document has its expiry as a date, exact to the microsecond. The indexed date is
//! only exact to the millisecond, so queries return a few documents too many and the source
//! decides.
//!
//! Invariant: the operations of this module replace or remove a document only if it still has the
//! version that was read. Therefore a record written concurrently is kept.

use std::time::Instant;

use elasticsearch::http::Method;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value as Json, json};

use super::bulk::{DocumentVersion, Outcome, Write};
use super::call_error::CallError;
use super::client::{Effect, Request};
use super::document;
use super::leases;
use super::listing::Listing;
use super::scope::Session;
use super::single::Document;
use super::target::{LEASE, UNTIL, VACANT};
use crate::store::is_live;
use crate::{Key, Result, Row, Value};

/// The maximum number of documents that one step of a purge removes.
const STEP: usize = 1_000;

#[derive(Deserialize)]
struct Page {
    hits: Hits,
}

#[derive(Deserialize)]
struct Hits {
    hits: Vec<Hit>,
}

#[derive(Deserialize)]
struct Hit {
    #[serde(rename = "_id")]
    id: String,
    #[serde(rename = "_source")]
    source: Option<Box<RawValue>>,
    #[serde(flatten)]
    version: DocumentVersion,
}

impl Session<'_> {
    /// Returns the name of the field with the expiry; `None` if it cannot be queried.
    fn expiry_field(&self) -> Option<&str> {
        let column = self.schema.expiry_column().filter(|_| !self.target.foreign)?;
        Some(&self.target.fields[column].name)
    }

    /// Returns a query for documents whose expiry is in a range of milliseconds.
    fn expiring(&self, from: Option<i64>, to: i64) -> Option<Json> {
        let mut range = json!({"lte": to, "format": "epoch_millis"});
        if let Some(from) = from {
            range["gte"] = from.into();
        }
        Some(json!({"range": {self.expiry_field()?: range}}))
    }

    /// Lists the live records.
    pub(super) fn list_live<T: super::listing::Listed>(
        &self,
        at: i64,
    ) -> Result<Listing<T>, CallError> {
        let past = self.expiring(None, at.div_euclid(1_000) - 1);
        let query = past.map(|past| json!({"bool": {"must_not": [past]}}));
        self.list_some(query, Some(at))
    }

    pub(super) fn count_live(&self, at: i64) -> Result<u64, CallError> {
        let millis = at.div_euclid(1_000);
        let Some(past) = self.expiring(None, millis + 1) else {
            return Ok(self.list_live::<Key>(at)?.try_fold(0, |n, key| key.map(|_| n + 1))?);
        };
        let live = self.count_of(Some(json!({"bool": {"must_not": [past]}})))?;
        let near = self.expiring(Some(millis - 1), millis + 1);
        if self.count_of(near.clone())? == 0 {
            return Ok(live);
        }
        let near: Listing<Key> = self.list_some(near, Some(at))?;
        Ok(near.into_iter().try_fold(live, |count, key| key.map(|_| count + 1))?)
    }

    /// Removes records whose expiry has passed, the earliest first.
    ///
    /// A search finds recent writes only after a refresh. With `refresh`, the index is refreshed
    /// before the first search.
    pub(super) fn purge(
        &self,
        before: i64,
        limit: usize,
        mut refresh: bool,
    ) -> Result<usize, CallError> {
        let Some(due) = self.expiring(None, before.div_euclid(1_000) + 1) else {
            return self.purge_listed(before, limit);
        };
        let mut any = vec![due];
        if self.target.leases {
            any.push(leases::abandoned());
        }
        let query = json!({"bool": {"should": any}});
        let (mut removed, mut refreshed) = (0, false);
        while removed < limit {
            if refresh {
                self.cluster.refresh_index(self.target, self.deadline)?;
                refreshed = true;
            }
            let size = STEP.min(limit - removed);
            let hits = self.search_due(&query, size)?;
            let found = hits.len();
            let now = self.remove_due(hits, before)?;
            removed += now;
            // A full page without removals has documents that were removed before the last refresh,
            // or expire within the same millisecond, or are changing.
            if found < size || now == 0 && refreshed || Instant::now() >= self.deadline {
                break;
            }
            refresh = true;
        }
        Ok(removed)
    }

    fn search_due(&self, query: &Json, size: usize) -> Result<Vec<Hit>, CallError> {
        let field = self.expiry_field().unwrap_or_default();
        let body = json!({
            "size": size,
            "track_total_hits": false,
            "seq_no_primary_term": true,
            "_source": [field, LEASE, UNTIL, VACANT],
            "query": query,
            "sort": [{field: {"order": "asc", "missing": "_last"}}],
        });
        let path = format!("{}/_search?allow_partial_search_results=false", self.target.path);
        let request = Request::new(Method::Post, path, Effect::Read).body(body.to_string());
        let response = self.cluster.client.send(request, self.deadline)?;
        response.read::<Page>().map(|page| page.hits.hits)
    }

    fn remove_due(&self, hits: Vec<Hit>, before: i64) -> Result<usize, CallError> {
        let mut writes = Vec::with_capacity(hits.len());
        for Hit { id, source, version } in hits {
            let Some(source) = source else { continue };
            let due = match self.expiry_in(&source)? {
                Some(expires) => expires <= before,
                None => leases::is_vacant(&source)?,
            };
            if due {
                writes.push((id, self.removal(&source, version)?));
            }
        }
        self.send_removals(&writes)
    }

    /// Returns the write that removes a record but keeps its lease.
    fn removal(&self, source: &RawValue, version: DocumentVersion) -> Result<Write> {
        let lease = if self.target.leases { leases::held(source)? } else { None };
        Ok(match lease {
            Some(lease) if !leases::is_vacant(source)? => {
                Write::Put { source: lease.placeholder(), over: Some(version) }
            }
            _ => Write::Remove { version },
        })
    }

    /// Sends removals and returns how many were done. Documents that have changed are kept.
    fn send_removals(&self, writes: &[(String, Write)]) -> Result<usize, CallError> {
        if writes.is_empty() {
            return Ok(0);
        }
        let sent: Vec<_> = writes.iter().map(|(id, write)| (id.as_str(), write)).collect();
        let progress = self.cluster.bulk(self.target, &sent, self.deadline);
        if let Some(error) = progress.failed {
            return Err(error.into());
        }
        let mut done = 0;
        for outcome in progress.outcomes.into_iter().flatten() {
            match outcome {
                Outcome::Done => done += 1,
                Outcome::Missing | Outcome::Conflict => {}
                Outcome::Refused(server_error) => return Err(server_error.into_call_error()),
            }
        }
        Ok(done)
    }

    /// Purges an index of another program, whose field types do not allow a query by expiry.
    fn purge_listed(&self, before: i64, limit: usize) -> Result<usize, CallError> {
        let mut keys = Vec::new();
        let listing: Listing<Row> = self.list()?;
        for row in listing {
            let row = row?;
            if !is_live(self.schema, &row, before) {
                keys.push(self.schema.key_of(&row));
            }
            if keys.len() == limit {
                break;
            }
        }
        self.remove_expired(&keys, before)
    }

    /// Reads the expiry from a source.
    pub(super) fn expiry_in(&self, source: &RawValue) -> Result<Option<i64>> {
        let Some(column) = self.schema.expiry_column() else { return Ok(None) };
        document::expiry(source, &self.schema.columns[column], &self.target.fields[column].name)
    }

    pub(super) fn remove_expired(&self, keys: &[Key], at: i64) -> Result<usize, CallError> {
        let ids = self.ids(keys)?;
        let asked: Vec<&str> = ids.iter().map(String::as_str).collect();
        let mut writes = Vec::new();
        for ((id, key), document) in ids.iter().zip(keys).zip(self.get_all(&asked)?) {
            let Some(document) = document else { continue };
            let row = self.row(id, &document).map_err(|error| error.with_key(key))?;
            let expired = row.is_some_and(|row| !is_live(self.schema, &row, at));
            if let (true, Some(source)) = (expired, &document.source) {
                writes.push((id.clone(), self.removal(source, document.version)?));
            }
        }
        self.send_removals(&writes)
    }

    pub(super) fn touch(&self, key: &Key, at: i64, expires: &Value) -> Result<bool, CallError> {
        let Some(column) = self.schema.expiry_column() else { return Ok(false) };
        let id = self.id(key)?;
        self.retry_conflicts(|| {
            let Some(document) = self.get(&id)? else { return Ok(false) };
            let row = self.row(&id, &document)?;
            let Some(mut row) = row.filter(|row| is_live(self.schema, row, at)) else {
                return Ok(false);
            };
            row[column] = expires.clone();
            let source = self.over(&row, &document)?;
            self.put(&id, source, Some(document.version), Effect::Once).map(|()| true)
        })
    }

    pub(super) fn replace_unchanged(
        &self,
        old: Option<&Row>,
        row: &Row,
    ) -> Result<bool, CallError> {
        let Some(old) = old else { return Ok(self.insert(row, None)?.is_none()) };
        document::check(row, self.schema)?;
        let id = self.id(&self.schema.key_of(row))?;
        let Some(document) = self.get(&id)? else { return Ok(false) };
        if self.row(&id, &document)?.as_ref() != Some(old) {
            return Ok(false);
        }
        let source = self.over(row, &document)?;
        match self.put(&id, source, Some(document.version), Effect::Once) {
            Err(CallError::Conflict) => Ok(false),
            done => done.map(|()| true),
        }
    }

    /// Returns the live record of a document, or else the version of the document, which may be
    /// replaced: it has only a lease, or an expired record.
    pub(super) fn live_or_version(
        &self,
        id: &str,
        document: &Document,
        at: Option<i64>,
    ) -> Result<std::result::Result<Row, DocumentVersion>> {
        let row = self.row(id, document)?;
        let live = |row: &Row| at.is_none_or(|at| is_live(self.schema, row, at));
        Ok(row.filter(live).ok_or(document.version))
    }
}
