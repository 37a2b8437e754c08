//! Requests to the hosts of a cluster, each bounded by a deadline.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use elasticsearch::http::Method;
use parking_lot::Mutex;
use serde::Deserialize;
use tokio::sync::Semaphore;

use super::call_error::{CallError, ServerError};
use super::runtime;
use super::transport::{Content, Transport, TransportError};
use crate::backoff::BackOff;
use crate::remote::{Retry, too_large};
use crate::{Error, ErrorKind, Result};

/// Returns the pauses between attempts of a request that an overloaded or starting cluster refuses.
pub(super) fn overload_back_off(deadline: Instant) -> BackOff {
    BackOff::with_range(Duration::from_millis(20), Duration::from_secs(1), deadline)
}

/// How long a host that failed to respond is tried only after all others.
const UNRESPONSIVE_FOR: Duration = Duration::from_secs(30);

/// The hosts of a cluster.
#[derive(Clone)]
pub(super) struct Client {
    hosts: Arc<[Host]>,
    next: Arc<AtomicUsize>,
    /// Limits the number of concurrent requests to that of the connections.
    permits: Arc<Semaphore>,
    retry: Retry,
}

/// A host, and when it last failed to respond.
struct Host {
    transport: Transport,
    unresponsive_since: Mutex<Option<Instant>>,
}

impl Host {
    fn new(transport: Transport) -> Self {
        Self { transport, unresponsive_since: Mutex::default() }
    }

    fn is_unresponsive(&self) -> bool {
        self.unresponsive_since.lock().is_some_and(|since| since.elapsed() < UNRESPONSIVE_FOR)
    }
}

/// A request to a host. If it is dropped without a response, as on a timeout, the host counts as
/// unresponsive.
struct Attempt<'a> {
    host: &'a Host,
    answered: bool,
}

impl Drop for Attempt<'_> {
    fn drop(&mut self) {
        *self.host.unresponsive_since.lock() = (!self.answered).then(Instant::now);
    }
}

/// The effect of a request, which decides whether it can be repeated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Effect {
    /// It changes nothing.
    Read,
    /// It writes, and repeating it has no further effect.
    Repeatable,
    /// It writes, and repeating it could have another effect.
    Once,
}

/// A request.
#[derive(Debug, Clone)]
pub(super) struct Request {
    method: Method,
    path: String,
    body: Option<Arc<Vec<u8>>>,
    effect: Effect,
    content: Content,
    /// Whether the body contains records, which must not appear in messages.
    private: bool,
}

impl Request {
    pub(super) fn new(method: Method, path: impl Into<String>, effect: Effect) -> Self {
        let content = Content::Json;
        Self { method, path: path.into(), body: None, effect, content, private: true }
    }

    pub(super) fn read(path: impl Into<String>) -> Self {
        Self::new(Method::Get, path, Effect::Read)
    }

    pub(super) fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = Some(Arc::new(body.into()));
        self
    }

    /// Marks the body as newline-delimited JSON.
    pub(super) fn lines(mut self) -> Self {
        self.content = Content::Lines;
        self
    }

    /// Marks the request as one without records.
    pub(super) fn about_indices(mut self) -> Self {
        self.private = false;
        self
    }
}

/// A response of any status.
#[derive(Debug)]
pub(super) struct Response {
    pub(super) status: u16,
    body: Vec<u8>,
    private: bool,
}

impl Response {
    fn is_transient(&self) -> bool {
        matches!(self.status, 429 | 503)
            && ServerError::from_response(self.status, &self.body).is_transient()
    }

    /// Returns the body, or the error of an unsuccessful response.
    pub(super) fn success(&self) -> Result<&[u8], ServerError> {
        match self.status {
            200..300 => Ok(&self.body),
            status => Err(match self.private {
                true => ServerError::from_response(status, &self.body).without_reason(),
                false => ServerError::from_response(status, &self.body),
            }),
        }
    }

    /// Parses the body of a successful response.
    pub(super) fn read<'a, T: Deserialize<'a>>(&'a self) -> Result<T, CallError> {
        let body = self.success().map_err(ServerError::into_call_error)?;
        Ok(parse(body)?)
    }

    /// Parses the body of a response of any status.
    pub(super) fn read_any<'a, T: Deserialize<'a>>(&'a self) -> Option<T> {
        serde_json::from_slice(&self.body).ok()
    }
}

/// Parses a response body.
pub(super) fn parse<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T> {
    serde_json::from_slice(body).map_err(|error| {
        let what = crate::json::describe(&error);
        Error::new(ErrorKind::Backend, format!("malformed response from the cluster: {what}"))
    })
}

/// Why a request has no response.
enum NoResponse {
    /// No host could be connected to.
    Unreachable(String),
    /// The connection was lost after the request was sent.
    Interrupted(String),
    /// The response is longer than this limit.
    TooLarge(u64),
}

impl Client {
    pub(super) fn new(hosts: Vec<Transport>, connections: u32, retry: Retry) -> Self {
        Self {
            retry,
            hosts: hosts.into_iter().map(Host::new).collect(),
            next: Arc::default(),
            permits: Arc::new(Semaphore::new(connections.max(1) as usize)),
        }
    }

    /// Sends a request and returns the response.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Timeout`] if the deadline passed and nothing was changed;
    /// [`ErrorKind::Unavailable`] if no host responded, or if it is not known whether a write was
    /// done.
    pub(super) fn send(&self, request: Request, deadline: Instant) -> Result<Response> {
        let (effect, this) = (request.effect, self.clone());
        match runtime::run(deadline, async move { this.exchange(&request, deadline).await })? {
            Some(Ok(response)) => Ok(response),
            Some(Err(lost)) => Err(no_response_error(effect, &lost)),
            None => Err(timeout_error(effect)),
        }
    }

    /// Sends a request in the background and ignores its outcome.
    pub(super) fn spawn_detached(&self, request: Request, limit: Duration) {
        let (deadline, this) = (Instant::now() + limit, self.clone());
        runtime::spawn_detached(
            limit,
            async move { drop(this.exchange(&request, deadline).await) },
        );
    }

    /// Sends a request, and repeats it while the cluster refuses it as overloaded or not ready,
    /// which means that it had no effect.
    async fn exchange(&self, request: &Request, deadline: Instant) -> Result<Response, NoResponse> {
        let _permit = self.permits.acquire().await;
        let mut back_off = overload_back_off(deadline);
        let mut repeated = false;
        loop {
            match self.attempt(request).await {
                Ok(response) if response.is_transient() => {
                    let pause = back_off.next_pause();
                    // Sleeping past the deadline would lose the response, whose outcome is known.
                    if pause >= back_off.left() {
                        return Ok(response);
                    }
                    tokio::time::sleep(pause).await;
                }
                // The first attempt may have been done, whatever the outcome of the second.
                Ok(response) if repeated && matches!(response.status, 429 | 500..) => {
                    let why =
                        format!("a second attempt was refused with status {}", response.status);
                    return Err(NoResponse::Interrupted(why));
                }
                Ok(response) => return Ok(response),
                Err(NoResponse::Interrupted(_)) if self.repeats(request.effect) && !repeated => {
                    repeated = true;
                }
                Err(NoResponse::Unreachable(why)) if repeated => {
                    return Err(NoResponse::Interrupted(why));
                }
                Err(lost) => return Err(lost),
            }
        }
    }

    /// Whether a request is repeated after a lost connection.
    fn repeats(&self, effect: Effect) -> bool {
        match effect {
            Effect::Read => true,
            Effect::Repeatable => self.retry != Retry::Never,
            Effect::Once => false,
        }
    }

    /// Sends a request to the first host that can be connected to. Each attempt starts with the
    /// next host, and tries unresponsive ones last.
    async fn attempt(&self, request: &Request) -> Result<Response, NoResponse> {
        let first = self.next.fetch_add(1, Ordering::Relaxed) % self.hosts.len();
        let mut hosts: Vec<&Host> = self.hosts.iter().collect();
        hosts.rotate_left(first);
        hosts.sort_by_key(|host| host.is_unresponsive());
        let mut unreachable = String::new();
        for host in hosts {
            let mut attempt = Attempt { host, answered: false };
            match send(&host.transport, request).await {
                Err(NoResponse::Unreachable(why)) => unreachable = why,
                done => {
                    attempt.answered = done.is_ok();
                    return done;
                }
            }
        }
        Err(NoResponse::Unreachable(unreachable))
    }
}

async fn send(host: &Transport, request: &Request) -> Result<Response, NoResponse> {
    let sent = host.send(request.method, &request.path, request.body.as_ref(), request.content);
    match sent.await {
        // A proxy that timed out may have forwarded the request.
        Ok((status @ (502 | 504), body))
            if ServerError::from_response(status, &body).name.is_empty() =>
        {
            Err(NoResponse::Interrupted(format!("status {status} from a proxy")))
        }
        Ok((status, body)) => Ok(Response { status, body, private: request.private }),
        Err(TransportError::TooLarge(limit)) => Err(NoResponse::TooLarge(limit)),
        Err(TransportError::Client(error)) => Err(classify(&error)),
    }
}

/// Classifies the error of the HTTP client. The message is that of the innermost cause, which
/// contains no address and no credentials.
fn classify(error: &reqwest::Error) -> NoResponse {
    let mut unreachable = error.is_connect() || error.is_builder();
    let mut cause: &dyn std::error::Error = error;
    while let Some(inner) = cause.source() {
        let client = inner.downcast_ref::<reqwest::Error>();
        unreachable |= client.is_some_and(|client| client.is_connect() || client.is_builder());
        cause = inner;
    }
    let why = match cause.downcast_ref::<reqwest::Error>() {
        Some(_) => "the client failed".to_owned(),
        None => cause.to_string(),
    };
    if unreachable { NoResponse::Unreachable(why) } else { NoResponse::Interrupted(why) }
}

fn no_response_error(effect: Effect, lost: &NoResponse) -> Error {
    let unavailable = |message| Error::new(ErrorKind::Unavailable, message);
    match (lost, effect) {
        (NoResponse::Unreachable(why), _) => unavailable(format!(
            "no host of the cluster can be reached; nothing was changed ({why})"
        )),
        (NoResponse::Interrupted(why), Effect::Read) => {
            unavailable(format!("the connection was lost ({why})"))
        }
        (NoResponse::Interrupted(why), _) => unavailable(format!(
            "the connection was lost; whether the call was done is not known ({why})"
        )),
        (NoResponse::TooLarge(limit), _) => too_large(*limit),
    }
}

fn timeout_error(effect: Effect) -> Error {
    match effect {
        Effect::Read => Error::new(
            ErrorKind::Timeout,
            "the cluster did not respond before the deadline passed; nothing was changed",
        ),
        _ => Error::new(
            ErrorKind::Unavailable,
            "the cluster did not respond before the deadline passed; whether the call was done is not known",
        ),
    }
}
