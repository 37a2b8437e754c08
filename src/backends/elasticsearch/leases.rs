//! Leases: fields of the record's document, or of a placeholder document without a record.
//!
//! Elasticsearch has no transactions over several documents, so the lease is stored in the document
//! of its record. Both are changed only if the document still has the version that was read. A
//! removal of the document removes the lease as well.
//!
//! Processes have no common clock. A process takes over a lease when it has seen the document
//! unchanged for the duration of the lease, since the holder rewrites it every third of that time.
//! Only the waiting process measures the time, so the clocks need not agree.
//!
//! A placeholder has none of the record's fields, so that no read takes it for a record, and a
//! field that excludes it from counts. If its holder dies, it remains until the key is computed, or
//! until a purge at least one hour after the lease expired, which allows for clocks that differ.

use std::collections::HashMap;
use std::time::{Duration, Instant, SystemTime};

use parking_lot::Mutex;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value as Json, json};

use super::bulk::DocumentVersion;
use super::call_error::CallError;
use super::client::Effect;
use super::document;
use super::scope::{Scope, Session};
use super::single::Document;
use super::target::{LEASE, UNTIL, VACANT};
use crate::clock::micros;
use crate::store::{LeasedFill, Leases};
use crate::{Error, Key, Result, Row};

/// How long after its expiry a placeholder is purged.
const GRACE_PERIOD: Duration = Duration::from_secs(3_600);
/// The maximum number of observed leases in memory.
const MAX_OBSERVED: usize = 10_000;

/// For each document, the version with another holder's lease that this process has seen, and since
/// when.
pub(super) type Observed = Mutex<HashMap<String, (DocumentVersion, Instant)>>;

/// A lease in a document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Lease {
    holder: String,
    time: Duration,
}

#[derive(Deserialize)]
struct Members {
    #[serde(rename = "hilcat%lease")]
    lease: Option<String>,
    #[serde(rename = "hilcat%vacant")]
    vacant: Option<bool>,
}

fn members(source: &RawValue) -> Result<Members> {
    serde_json::from_str(source.get())
        .map_err(|_| Error::invalid_data("the lease of the document is malformed"))
}

/// Reads the lease of a document.
pub(super) fn held(source: &RawValue) -> Result<Option<Lease>> {
    Ok(members(source)?.lease.as_deref().and_then(Lease::read))
}

/// Whether a document is a placeholder without a record.
pub(super) fn is_vacant(source: &RawValue) -> Result<bool> {
    Ok(members(source)?.vacant == Some(true))
}

/// Returns a query for placeholders whose lease expired long ago.
pub(super) fn abandoned() -> Json {
    let before = millis(SystemTime::now() - GRACE_PERIOD);
    let ended = json!({"range": {UNTIL: {"lt": before, "format": "epoch_millis"}}});
    json!({"bool": {"filter": [{"term": {VACANT: true}}, ended]}})
}

/// Returns a query for placeholders.
pub(super) fn vacant() -> Json {
    json!({"term": {VACANT: true}})
}

fn millis(time: SystemTime) -> i64 {
    micros(time).div_euclid(1_000)
}

impl Lease {
    fn read(text: &str) -> Option<Self> {
        let (millis, holder) = text.split_once(' ')?;
        let time = Duration::from_millis(millis.parse().ok()?);
        Some(Self { holder: holder.to_owned(), time })
    }

    fn members(&self) -> [(&'static str, Json); 2] {
        let until = millis(SystemTime::now() + self.time);
        let lease = format!("{} {}", self.time.as_millis(), self.holder);
        [(LEASE, lease.into()), (UNTIL, until.into())]
    }

    /// Returns the source of a placeholder with this lease.
    pub(super) fn placeholder(&self) -> String {
        let [lease, until] = self.members();
        json!({lease.0: lease.1, until.0: until.1, VACANT: true}).to_string()
    }

    /// Returns the source of a document with this lease added or replaced.
    fn over(&self, document: &Document) -> Result<String> {
        match &document.source {
            Some(source) if !is_vacant(source)? => document::with_members(source, &self.members()),
            _ => Ok(self.placeholder()),
        }
    }
}

impl Session<'_> {
    /// Reads the document of a key and its lease.
    fn leased(&self, id: &str) -> Result<Option<(Document, Option<Lease>)>, CallError> {
        let Some(document) = self.get(id)? else { return Ok(None) };
        let lease = document.source.as_deref().map(held).transpose()?.flatten();
        Ok(Some((document, lease)))
    }

    fn acquire(&self, key: &Key, lease: &Lease, observed: &Observed) -> Result<bool, CallError> {
        let id = self.id(key)?;
        self.retry_conflicts(|| {
            let (source, over) = match self.leased(&id)? {
                None => (lease.placeholder(), None),
                Some((document, Some(other)))
                    if !other.is_free(&document, lease, &id, observed) =>
                {
                    return Ok(false);
                }
                Some((document, _)) => (lease.over(&document)?, Some(document.version)),
            };
            self.put_hidden(&id, source, over)?;
            observed.lock().remove(&id);
            Ok(true)
        })
    }

    fn renew(&self, key: &Key, lease: &Lease) -> Result<bool, CallError> {
        let id = self.id(key)?;
        self.retry_conflicts(|| match self.leased(&id)? {
            Some((document, Some(held))) if held.holder == lease.holder => {
                let source = lease.over(&document)?;
                self.put_hidden(&id, source, Some(document.version)).map(|()| true)
            }
            _ => Ok(false),
        })
    }

    fn release(&self, key: &Key, holder: &str) -> Result<(), CallError> {
        let id = self.id(key)?;
        self.retry_conflicts(|| match self.leased(&id)? {
            Some((document, Some(held))) if held.holder == holder => {
                self.remove_lease(&id, &document)
            }
            _ => Ok(()),
        })
    }

    fn remove_lease(&self, id: &str, document: &Document) -> Result<(), CallError> {
        let Some(source) = &document.source else { return Ok(()) };
        match is_vacant(source)? {
            true => self.delete(id, document.version),
            false => {
                let source = document::without_members(source, &[LEASE, UNTIL])?;
                self.put_hidden(id, source, Some(document.version))
            }
        }
    }

    fn fill(&self, row: &Row, at: i64, holder: &str) -> Result<LeasedFill, CallError> {
        document::check(row, self.schema)?;
        let id = self.id(&self.schema.key_of(row))?;
        let source = document::write(&self.full(row)?, self.target)?;
        self.retry_conflicts(|| {
            let Some((document, lease)) = self.leased(&id)? else { return Ok(LeasedFill::Lost) };
            let is_holder = lease.is_some_and(|lease| lease.holder == holder);
            match self.live_or_version(&id, &document, Some(at))? {
                Ok(live) => {
                    if is_holder {
                        self.remove_lease(&id, &document)?;
                    }
                    Ok(LeasedFill::Existing(live))
                }
                Err(_) if !is_holder => Ok(LeasedFill::Lost),
                Err(version) => {
                    self.put(&id, source.clone(), Some(version), Effect::Once)?;
                    Ok(LeasedFill::Stored)
                }
            }
        })
    }
}

impl Lease {
    /// Whether the holder of the lease `other` can take over this lease.
    fn is_free(&self, document: &Document, other: &Self, id: &str, observed: &Observed) -> bool {
        if self.holder == other.holder {
            return true;
        }
        let mut observed = observed.lock();
        if observed.len() > MAX_OBSERVED {
            observed.clear();
        }
        let seen = observed.entry(id.to_owned()).or_insert((document.version, Instant::now()));
        if seen.0 != document.version {
            *seen = (document.version, Instant::now());
        }
        seen.1.elapsed() >= self.time
    }
}

fn lease(holder: &str, time: Duration) -> Lease {
    Lease { holder: holder.to_owned(), time: time.max(Duration::from_millis(1)) }
}

impl Leases for Scope {
    fn acquire(&self, key: &Key, holder: &str, time: Duration) -> Result<bool> {
        self.call(|session| session.acquire(key, &lease(holder, time), &self.observed))
    }

    fn renew(&self, key: &Key, holder: &str, time: Duration) -> Result<bool> {
        self.call(|session| session.renew(key, &lease(holder, time)))
    }

    fn release(&self, key: &Key, holder: &str) -> Result<()> {
        self.call(|session| session.release(key, holder))
    }

    fn fill(&self, row: Row, at: i64, holder: &str) -> Result<LeasedFill> {
        self.note_expiries([&row]);
        let filled = self.call(|session| session.fill(&row, at, holder));
        filled.map_err(|error| error.with_key(crate::store::ScopeStore::schema(self).key_of(&row)))
    }
}
