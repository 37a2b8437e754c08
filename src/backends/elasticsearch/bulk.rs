//! Bulk requests: many writes at once, each with its own outcome.

use std::time::Instant;

use elasticsearch::http::Method;
use serde::Deserialize;
use serde_json::json;

use super::call_error::{CallError, Cause, ServerError};
use super::client::{Effect, Request, overload_back_off};
use super::cluster::Cluster;
use super::target::Target;
use crate::{Error, ErrorKind, Result};

/// The maximum number of writes in one request, and of their bytes.
const MAX_WRITES: usize = 1_000;
const MAX_BYTES: usize = 4 << 20;
/// The maximum size of a request with the default settings of a cluster.
pub(super) const MAX_REQUEST: usize = 100 << 20;
/// How many times the server itself retries an update that is in conflict with others.
const RETRIES: u32 = 5;

/// The version of a document. A write with a version is refused if the document has another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub(super) struct DocumentVersion {
    #[serde(rename = "_seq_no")]
    seq_no: u64,
    #[serde(rename = "_primary_term")]
    primary_term: u64,
}

impl DocumentVersion {
    /// Returns the version as parameters of a request.
    pub(super) fn parameters(self) -> String {
        format!("&if_seq_no={}&if_primary_term={}", self.seq_no, self.primary_term)
    }
}

/// A write of one document.
#[derive(Debug, Clone)]
pub(super) enum Write {
    /// Merges members into the document, or creates one.
    Merge { members: String, if_missing: IfMissing },
    /// Replaces the document with version `over`; `None` creates a document.
    Put { source: String, over: Option<DocumentVersion> },
    /// Removes the document with this version.
    Remove { version: DocumentVersion },
}

/// What a merge stores if there is no document.
#[derive(Debug, Clone)]
pub(super) enum IfMissing {
    /// The members themselves.
    Members,
    /// A source that completes the members.
    Source(String),
    Nothing,
}

impl Write {
    /// Returns the body of an update.
    pub(super) fn update_body(members: &str, if_missing: &IfMissing) -> String {
        match if_missing {
            IfMissing::Members => format!("{{\"doc\":{members},\"doc_as_upsert\":true}}"),
            IfMissing::Source(or) => format!("{{\"doc\":{members},\"upsert\":{or}}}"),
            IfMissing::Nothing => format!("{{\"doc\":{members}}}"),
        }
    }

    fn push_lines(&self, lines: &mut String, target: &Target, id: &str) {
        let name = &target.name;
        let head = match self {
            Self::Merge { .. } => {
                json!({"update": {"_index": name, "_id": id, "retry_on_conflict": RETRIES}})
            }
            Self::Put { over: None, .. } => json!({"create": {"_index": name, "_id": id}}),
            Self::Put { over: Some(version), .. } => {
                json!({"index": {"_index": name, "_id": id, "if_seq_no": version.seq_no, "if_primary_term": version.primary_term}})
            }
            Self::Remove { version } => {
                json!({"delete": {"_index": name, "_id": id, "if_seq_no": version.seq_no, "if_primary_term": version.primary_term}})
            }
        };
        lines.push_str(&head.to_string());
        lines.push('\n');
        match self {
            Self::Merge { members, if_missing } => {
                lines.push_str(&Self::update_body(members, if_missing));
                lines.push('\n');
            }
            Self::Put { source, .. } => {
                lines.push_str(source);
                lines.push('\n');
            }
            Self::Remove { .. } => {}
        }
    }

    fn size(&self) -> usize {
        match self {
            Self::Merge { members, if_missing: IfMissing::Source(or) } => members.len() + or.len(),
            Self::Merge { members, .. } => members.len(),
            Self::Put { source, .. } => source.len(),
            Self::Remove { .. } => 0,
        }
    }
}

/// The outcome of a write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Outcome {
    Done,
    /// The document does not exist.
    Missing,
    /// The document has another version.
    Conflict,
    Refused(ServerError),
}

#[derive(Deserialize)]
struct BulkResponse {
    items: Vec<Item>,
}

/// The item of a response, under the name of its action.
#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Item {
    Index(Status),
    Create(Status),
    Update(Status),
    Delete(Status),
}

#[derive(Deserialize)]
struct Status {
    status: u16,
    #[serde(default)]
    error: Option<Cause>,
}

impl From<Item> for Outcome {
    fn from(item: Item) -> Self {
        let (Item::Index(it) | Item::Create(it) | Item::Update(it) | Item::Delete(it)) = item;
        let server_error =
            it.error.map(|cause| ServerError::from_item(it.status, cause).without_reason());
        match (it.status, server_error) {
            (200..300, _) => Self::Done,
            (409, _) => Self::Conflict,
            (404, None) => Self::Missing,
            (404, Some(server_error)) if server_error.is("document_missing_exception") => {
                Self::Missing
            }
            (_, Some(server_error)) => Self::Refused(server_error),
            (status, None) => {
                Self::Refused(ServerError { status, name: String::new(), reason: None })
            }
        }
    }
}

/// The progress of a batch.
pub(super) struct Progress {
    /// The outcomes of the writes; `None` for those that were not sent.
    pub(super) outcomes: Vec<Option<Outcome>>,
    /// The error that ended the batch early.
    pub(super) failed: Option<Error>,
}

impl Cluster {
    /// Sends writes in chunks, in their order. Writes that an overloaded cluster refuses are
    /// repeated until the deadline.
    pub(super) fn bulk(
        &self,
        target: &Target,
        writes: &[(&str, &Write)],
        deadline: Instant,
    ) -> Progress {
        let mut progress = Progress { outcomes: vec![None; writes.len()], failed: None };
        let mut first = 0;
        while first < writes.len() && progress.failed.is_none() {
            let chunk = chunk(&writes[first..]);
            let at: Vec<usize> = (first..first + chunk).collect();
            progress.failed = self
                .send_until_accepted(target, writes, at, &mut progress.outcomes, deadline)
                .err();
            first += chunk;
        }
        progress
    }

    /// Sends a chunk, and repeats the writes in it that an overloaded cluster refuses.
    fn send_until_accepted(
        &self,
        target: &Target,
        writes: &[(&str, &Write)],
        mut left: Vec<usize>,
        outcomes: &mut [Option<Outcome>],
        deadline: Instant,
    ) -> Result<()> {
        let mut back_off = overload_back_off(deadline);
        loop {
            let sent: Vec<_> = left.iter().map(|&at| writes[at]).collect();
            let response = self.send_chunk(target, &sent, deadline)?;
            for (&at, outcome) in left.iter().zip(response) {
                outcomes[at] = Some(outcome);
            }
            let busy = |at: &usize| matches!(&outcomes[*at], Some(Outcome::Refused(server_error)) if server_error.is_transient());
            left.retain(busy);
            if left.is_empty() || !back_off.pause() {
                return Ok(());
            }
        }
    }

    fn send_chunk(
        &self,
        target: &Target,
        writes: &[(&str, &Write)],
        deadline: Instant,
    ) -> Result<Vec<Outcome>> {
        let mut lines = String::new();
        writes.iter().for_each(|(id, write)| write.push_lines(&mut lines, target, id));
        // Repeating a merge has no further effect.
        let merges = writes.iter().all(|(_, write)| matches!(write, Write::Merge { .. }));
        let effect = if merges { Effect::Repeatable } else { Effect::Once };
        let parameters = [
            target.require_alias(),
            self.refresh.parameter(),
            "&filter_path=items.*.status,items.*.error",
        ];
        let path = format!("_bulk?{}{}", self.timeout_parameter(deadline), parameters.concat());
        let request = Request::new(Method::Post, path, effect).body(lines).lines();
        let response: BulkResponse =
            self.client.send(request, deadline)?.read().map_err(CallError::into_error)?;
        match response.items.len() == writes.len() {
            true => Ok(response.items.into_iter().map(Outcome::from).collect()),
            false => Err(Error::new(
                ErrorKind::Backend,
                "malformed response from the cluster: it has another number of items than there were writes",
            )),
        }
    }
}

/// Returns how many of the writes fit into one request.
fn chunk(writes: &[(&str, &Write)]) -> usize {
    let mut bytes = 0;
    let fits = |(_, write): &&(&str, &Write)| {
        bytes += write.size();
        bytes <= MAX_BYTES
    };
    writes.iter().take(MAX_WRITES).take_while(fits).count().max(1)
}

/// Checks that a document fits into a request.
///
/// # Errors
///
/// [`ErrorKind::Unsupported`] if it is too large.
pub(super) fn check_size(source: &str) -> Result<()> {
    // A merge may contain the document twice, and there is some overhead.
    let limit = MAX_REQUEST / 2 - 4_096;
    match source.len() <= limit {
        true => Ok(()),
        false => Err(Error::unsupported(format!(
            "the record is a document of {} bytes; the limit is {limit}, half of what Elasticsearch accepts in one request",
            source.len()
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_are_split_into_chunks() {
        let write = |size: usize| Write::Put { source: "x".repeat(size), over: None };
        let pieces = |sizes: &[usize]| {
            let writes: Vec<Write> = sizes.iter().map(|size| write(*size)).collect();
            chunk(&writes.iter().map(|write| ("a", write)).collect::<Vec<_>>())
        };
        assert_eq!(pieces(&[MAX_BYTES + 1, 1]), 1);
        assert_eq!(pieces(&[MAX_BYTES / 2, MAX_BYTES / 2, 1]), 2);
        assert_eq!(pieces(&[1; MAX_WRITES + 1]), MAX_WRITES);
    }

    #[test]
    fn items_are_converted_to_outcomes() {
        let outcome = |json: &str| Outcome::from(serde_json::from_str::<Item>(json).unwrap());
        assert_eq!(outcome(r#"{"create":{"status":201}}"#), Outcome::Done);
        assert_eq!(outcome(r#"{"delete":{"status":404}}"#), Outcome::Missing);
        let missing = r#"{"update":{"status":404,"error":{"type":"document_missing_exception"}}}"#;
        assert_eq!(outcome(missing), Outcome::Missing);
        let conflict = r#"{"index":{"status":409,"error":{"type":"version_conflict"}}}"#;
        assert_eq!(outcome(conflict), Outcome::Conflict);
        let refused = r#"{"index":{"status":400,"error":{"type":"a","reason":"the value `7`"}}}"#;
        let server_error = ServerError { status: 400, name: "a".into(), reason: None };
        assert_eq!(outcome(refused), Outcome::Refused(server_error));
    }
}
