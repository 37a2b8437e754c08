//! Many writes in one request, each with an outcome of its own.

use std::time::{Duration, Instant};

use elasticsearch::http::Method;
use serde::Deserialize;
use serde_json::json;

use super::call_error::{CallError, Cause, ServerError};
use super::client::{Effect, Request};
use super::cluster::Cluster;
use super::target::Target;
use crate::{Error, ErrorKind, Result};

/// How many writes, and how many bytes of them, are sent at once.
const MAX_WRITES: usize = 1_000;
const MAX_BYTES: usize = 4 << 20;
/// What the cluster takes in one request unless it is told otherwise.
pub(super) const MAX_REQUEST: usize = 100 << 20;
/// How long writes that were refused for a moment wait before they are sent again, at first.
pub(super) const PAUSE: Duration = Duration::from_millis(20);
pub(super) const LONGEST_PAUSE: Duration = Duration::from_secs(1);
/// How often the server itself begins an update again that others came before.
const RETRIES: u32 = 5;

/// The state of a document that a write is for: it is refused where there is another one by then.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub(super) struct DocumentVersion {
    #[serde(rename = "_seq_no")]
    seq_no: u64,
    #[serde(rename = "_primary_term")]
    primary_term: u64,
}

impl DocumentVersion {
    /// As parameters of a request.
    pub(super) fn parameters(self) -> String {
        format!("&if_seq_no={}&if_primary_term={}", self.seq_no, self.primary_term)
    }
}

/// A write of one document.
#[derive(Debug, Clone)]
pub(super) enum Write {
    /// Puts members into the document that stands, or makes one where none does.
    Merge { members: String, if_missing: IfMissing },
    /// Makes the document that was version, or none where none was, into this one.
    Put { source: String, over: Option<DocumentVersion> },
    /// Removes the document that was version.
    Remove { version: DocumentVersion },
}

/// The document that is made where none stands.
#[derive(Debug, Clone)]
pub(super) enum IfMissing {
    /// Of the very members.
    Members,
    /// Another one, which has what they leave out.
    Source(String),
    Nothing,
}

impl Write {
    /// The body of an update.
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

/// What became of a write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Outcome {
    Done,
    /// There is no such document.
    Missing,
    /// The document is another one than was version.
    Conflict,
    Refused(ServerError),
}

#[derive(Deserialize)]
struct BulkResponse {
    items: Vec<Item>,
}

/// An response under the name of its action.
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

/// How far a batch came.
pub(super) struct Progress {
    /// What became of the writes that were sent; of the rest nothing.
    pub(super) outcomes: Vec<Option<Outcome>>,
    /// Why it ended before its end.
    pub(super) failed: Option<Error>,
}

impl Cluster {
    /// Sends writes in pieces, in their order. What is refused for a moment is sent again until the
    /// deadline.
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

    /// Sends a chunk until nothing of it is refused for a moment.
    fn send_until_accepted(
        &self,
        target: &Target,
        writes: &[(&str, &Write)],
        mut left: Vec<usize>,
        outcomes: &mut [Option<Outcome>],
        deadline: Instant,
    ) -> Result<()> {
        let mut pause = PAUSE;
        loop {
            let sent: Vec<_> = left.iter().map(|&at| writes[at]).collect();
            let outcomes_of_chunk = self.send_chunk(target, &sent, deadline)?;
            for (&at, outcome) in left.iter().zip(outcomes_of_chunk) {
                outcomes[at] = Some(outcome);
            }
            let busy = |at: &usize| matches!(&outcomes[*at], Some(Outcome::Refused(server_error)) if server_error.is_transient());
            left.retain(busy);
            if left.is_empty() || Instant::now() + pause >= deadline {
                return Ok(());
            }
            std::thread::sleep(pause);
            pause = (pause * 2).min(LONGEST_PAUSE);
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
        // Of merges alone nothing is different when they are done twice.
        let merges = writes.iter().all(|(_, write)| matches!(write, Write::Merge { .. }));
        let effect = if merges { Effect::Repeatable } else { Effect::Once };
        let parameters = [
            target.require_alias(),
            self.refresh.parameter(),
            "&filter_path=items.*.status,items.*.error",
        ];
        let path = format!("_bulk?{}{}", self.timeout_parameter(deadline), parameters.concat());
        let request = Request::new(Method::Post, path, effect).body(lines).lines();
        let outcomes_of_chunk: BulkResponse =
            self.client.send(request, deadline)?.read().map_err(CallError::into_error)?;
        match outcomes_of_chunk.items.len() == writes.len() {
            true => Ok(outcomes_of_chunk.items.into_iter().map(Outcome::from).collect()),
            false => Err(Error::new(
                ErrorKind::Backend,
                "the cluster gave another number of outcomes_of_chunk than there were writes",
            )),
        }
    }
}

/// How many of the writes are sent at once.
fn chunk(writes: &[(&str, &Write)]) -> usize {
    let mut bytes = 0;
    let fits = |(_, write): &&(&str, &Write)| {
        bytes += write.size();
        bytes <= MAX_BYTES
    };
    writes.iter().take(MAX_WRITES).take_while(fits).count().max(1)
}

/// Checks that one request can hold a document.
///
/// # Errors
///
/// [`ErrorKind::Unsupported`] where it is too large.
pub(super) fn check_size(source: &str) -> Result<()> {
    // With room for what stands around it, twice where it is merged.
    match source.len() <= MAX_REQUEST / 2 - 4_096 {
        true => Ok(()),
        false => Err(Error::unsupported(format!(
            "the record is a document of {} bytes; Elasticsearch takes requests of up to {MAX_REQUEST}, in which it may stand twice",
            source.len()
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_is_sent_in_pieces() {
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
    fn each_item_has_an_outcome() {
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
