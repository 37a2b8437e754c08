//! Errors of calls, and the classification of Elasticsearch's error responses.

use serde::Deserialize;

use crate::{Error, ErrorKind};

/// Why a call failed.
#[derive(Debug)]
pub(super) enum CallError {
    /// The scope's index does not exist.
    IndexMissing,
    /// The mapping of the index lacks fields of the scope.
    MappingOutdated,
    /// Another client wrote the document since it was read.
    Conflict,
    /// The cluster rejected the request as invalid, as it does if the name has become an alias of
    /// several indices.
    BadRequest(Error),
    Final(Error),
}

impl From<Error> for CallError {
    fn from(error: Error) -> Self {
        Self::Final(error)
    }
}

impl CallError {
    /// Converts to the public error.
    pub(super) fn into_error(self) -> Error {
        let backend = |message| Error::new(ErrorKind::Backend, message);
        match self {
            Self::IndexMissing => backend("another program deleted the index"),
            Self::MappingOutdated => backend("another program changed the mapping of the index"),
            Self::Conflict => conflict_error(),
            Self::BadRequest(error) | Self::Final(error) => error,
        }
    }
}

/// The error of a write that was in conflict with others until the deadline.
pub(super) fn conflict_error() -> Error {
    Error::new(
        ErrorKind::Timeout,
        "other clients kept writing the same record until the deadline passed; nothing was changed",
    )
    .while_waiting()
}

/// An error response, or an error of one item of a response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ServerError {
    pub(super) status: u16,
    /// The type of the error, such as `index_not_found_exception`.
    pub(super) name: String,
    /// The description of the error, if no record was sent: it may quote a value.
    pub(super) reason: Option<String>,
}

/// The type of the error of an index or a cluster that is blocked for such requests.
const BLOCK: &str = "cluster_block_exception";

/// Types of errors of a cluster that did nothing because it was not ready: its state is not
/// recovered, it has no master, or a shard is not started.
const TRANSIENT: [&str; 6] = [
    BLOCK,
    "master_not_discovered_exception",
    "no_shard_available_action_exception",
    "process_cluster_event_timeout_exception",
    "search_phase_execution_exception",
    "unavailable_shards_exception",
];

/// Whether an error of this type is one of a cluster that was not ready.
pub(super) fn is_transient(name: &str) -> bool {
    TRANSIENT.contains(&name)
}

#[derive(Deserialize)]
struct Body {
    error: Cause,
}

/// An error in a response: an object, or text.
#[derive(Deserialize)]
#[serde(untagged)]
pub(super) enum Cause {
    Named {
        #[serde(rename = "type")]
        name: String,
        #[serde(default)]
        reason: Option<String>,
        #[serde(default)]
        caused_by: Option<Box<Cause>>,
    },
    Other(serde::de::IgnoredAny),
}

impl ServerError {
    /// Reads the error from a response.
    pub(super) fn from_response(status: u16, body: &[u8]) -> Self {
        let cause = serde_json::from_slice::<Body>(body).map(|body| body.error);
        match cause {
            Ok(cause) => Self::from_item(status, cause),
            Err(_) => Self { status, name: String::new(), reason: None },
        }
    }

    /// Reads the error from an item of a response.
    pub(super) fn from_item(status: u16, cause: Cause) -> Self {
        match cause {
            Cause::Named { name, reason, caused_by } => {
                let inner = caused_by.and_then(|cause| Self::from_item(status, *cause).reason);
                let reason = reason.map(|reason| match inner {
                    Some(inner) if inner != reason => format!("{reason}: {inner}"),
                    _ => reason,
                });
                Self { status, name, reason }
            }
            Cause::Other(_) => Self { status, name: String::new(), reason: None },
        }
    }

    /// Removes the description, which may quote a value of a record. That of a block is kept, since
    /// it names only the index and the block.
    pub(super) fn without_reason(mut self) -> Self {
        if !self.is(BLOCK) {
            self.reason = None;
        }
        self
    }

    pub(super) fn is_index_missing(&self) -> bool {
        self.name == "index_not_found_exception"
    }

    /// Whether the cluster did nothing and the request can be repeated later: the cluster is
    /// overloaded, or the shards of a new index are not started.
    pub(super) fn is_transient(&self) -> bool {
        match self.status {
            429 => !self.is(BLOCK),
            503 => is_transient(&self.name),
            _ => false,
        }
    }

    /// Whether the index is blocked for writes because the disk is full.
    fn is_disk_full(&self) -> bool {
        let says = |reason: &String| {
            reason.contains("read-only-allow-delete") || reason.contains("flood-stage")
        };
        self.is(BLOCK) && self.reason.as_ref().is_some_and(says)
    }

    pub(super) fn is(&self, name: &str) -> bool {
        self.name == name
    }

    pub(super) fn into_call_error(self) -> CallError {
        match (self.status, self.name.as_str()) {
            _ if self.is_index_missing() => CallError::IndexMissing,
            (_, "strict_dynamic_mapping_exception") => CallError::MappingOutdated,
            (409, _) => CallError::Conflict,
            (400, "illegal_argument_exception") => CallError::BadRequest(self.into_error()),
            _ => CallError::Final(self.into_error()),
        }
    }

    fn into_error(self) -> Error {
        match self.status {
            _ if self.is_disk_full() => Error::new(
                ErrorKind::Backend,
                "the disk of the cluster has passed its flood-stage watermark, which blocks writes to the index (`index.blocks.read_only_allow_delete`); nothing was changed; free disk space",
            ),
            429 if self.is(BLOCK) => Error::new(
                ErrorKind::Backend,
                format!("the cluster refused the request{}", self.named()),
            ),
            300..=399 => Error::invalid_config(
                "the host responded with a redirect, which is not followed; name the host of the cluster itself",
            ),
            401 => Error::new(
                ErrorKind::Unavailable,
                "the cluster refused the login; check the user and the password, or the API key",
            )
            .with_retryable(false),
            413 => Error::unsupported(
                "the record is larger than the cluster accepts (`http.max_content_length`); nothing was changed",
            ),
            429 => Error::new(
                ErrorKind::Timeout,
                "the cluster was overloaded until the deadline passed; nothing was changed",
            ),
            _ if self.is_transient() => Error::new(
                ErrorKind::Timeout,
                format!(
                    "the cluster or a shard of the index was not ready until the deadline passed; nothing was changed{}",
                    self.named()
                ),
            ),
            502..=504 => Error::new(
                ErrorKind::Unavailable,
                format!("the cluster cannot serve requests at the moment{}", self.named()),
            ),
            _ => Error::new(
                ErrorKind::Backend,
                format!("the cluster refused the request{}", self.named()),
            ),
        }
    }

    /// Returns the type and, if allowed, the description, for the end of a message.
    pub(super) fn named(&self) -> String {
        let reason = self.reason.as_ref().map(|reason| format!(": {reason}"));
        match self.name.as_str() {
            "" => format!(" [{}]", self.status),
            name => format!(" [{} {name}]{}", self.status, reason.unwrap_or_default()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn error_responses_are_classified() {
        let body = |name: &str| format!("{{\"error\":{{\"type\":\"{name}\",\"reason\":\"r\"}}}}");
        let failed = |status, name| {
            ServerError::from_response(status, body(name).as_bytes()).into_call_error()
        };
        assert!(matches!(failed(404, "index_not_found_exception"), CallError::IndexMissing));
        assert!(matches!(
            failed(400, "strict_dynamic_mapping_exception"),
            CallError::MappingOutdated
        ));
        assert!(matches!(failed(409, "version_conflict_engine_exception"), CallError::Conflict));
        let kind = |status| failed(status, "x").into_error().kind();
        assert_eq!(kind(401), ErrorKind::Unavailable);
        assert_eq!(kind(413), ErrorKind::Unsupported);
        assert_eq!(kind(429), ErrorKind::Timeout);
        assert_eq!(kind(503), ErrorKind::Unavailable);
        assert!(!failed(401, "x").into_error().is_retryable());
        let text = failed(400, "illegal").into_error().to_string();
        assert_eq!(text, "the cluster refused the request [400 illegal]: r");
        let text =
            ServerError::from_response(405, b"{\"error\":\"no such method\"}").into_call_error();
        assert_eq!(text.into_error().to_string(), "the cluster refused the request [405]");
    }

    #[test]
    fn blocks_are_not_transient_errors() {
        let block = |status, why: &str| {
            let reason = format!("index [a] blocked by: [{why}];");
            let body = format!("{{\"error\":{{\"type\":\"{BLOCK}\",\"reason\":\"{reason}\"}}}}");
            ServerError::from_response(status, body.as_bytes()).without_reason()
        };
        let full = block(
            429,
            "TOO_MANY_REQUESTS/12/disk usage exceeded flood-stage watermark, index has read-only-allow-delete block",
        );
        assert!(!full.is_transient());
        let error = full.into_call_error().into_error();
        assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::Backend, false));
        assert!(error.message().contains("disk"), "{error}");
        let write = block(403, "FORBIDDEN/8/index write (api)");
        assert!(!write.is_transient());
        assert!(write.into_call_error().into_error().message().contains("index write (api)"));
        assert!(block(503, "SERVICE_UNAVAILABLE/1/state not recovered").is_transient());
        let server_error =
            |status, name: &str| ServerError { status, name: name.into(), reason: None };
        assert!(server_error(503, "no_shard_available_action_exception").is_transient());
        assert!(server_error(429, "es_rejected_execution_exception").is_transient());
        assert!(!server_error(503, "").is_transient() && !server_error(502, "x").is_transient());
    }

    #[test]
    fn causes_are_shown_unless_a_record_was_sent() {
        let body = br#"{"error":{"type":"a","reason":"b","caused_by":{"type":"c","reason":"d"}}}"#;
        let server_error = ServerError::from_response(400, body);
        assert_eq!(server_error.named(), " [400 a]: b: d");
        assert_eq!(server_error.without_reason().named(), " [400 a]");
    }
}
