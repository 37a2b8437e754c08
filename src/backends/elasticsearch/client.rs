//! Requests to the hosts of a cluster, each bounded by a deadline.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use elasticsearch::http::Method;
use parking_lot::Mutex;
use serde::Deserialize;
use tokio::sync::Semaphore;

use super::failure::{Failed, Fault};
use super::runtime;
use super::transport::{Content, Failure, Transport};
use crate::remote::{Retry, too_large};
use crate::{Error, ErrorKind, Result};

/// The first pause before a request that was refused for a moment is sent again; it doubles up to
/// the last.
const PAUSES: (Duration, Duration) = (Duration::from_millis(20), Duration::from_secs(1));

/// How long a host that did not answer is asked only after all others.
const SUSPECTED: Duration = Duration::from_secs(30);

/// The hosts of a cluster.
#[derive(Clone)]
pub(super) struct Client {
    hosts: Arc<[Host]>,
    next: Arc<AtomicUsize>,
    /// As many requests at once as there can be connections.
    permits: Arc<Semaphore>,
    retry: Retry,
}

/// A host, and when it last left a request without an answer.
struct Host {
    transport: Transport,
    silent: Mutex<Option<Instant>>,
}

impl Host {
    fn new(transport: Transport) -> Self {
        Self { transport, silent: Mutex::default() }
    }

    fn is_suspect(&self) -> bool {
        self.silent.lock().is_some_and(|since| since.elapsed() < SUSPECTED)
    }
}

/// A request to a host. Where it is given up, as when its deadline passes, the host is suspect.
struct Attempt<'a> {
    host: &'a Host,
    answered: bool,
}

impl Drop for Attempt<'_> {
    fn drop(&mut self) {
        *self.host.silent.lock() = (!self.answered).then(Instant::now);
    }
}

/// What a request does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Effect {
    /// It changes nothing.
    Read,
    /// It writes, and can be repeated: then the same stands as before.
    Repeatable,
    /// It writes, and a second time it would do something else.
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
    /// Whether it holds records, of which no message may show anything.
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

    /// The body is of several lines.
    pub(super) fn lines(mut self) -> Self {
        self.content = Content::Lines;
        self
    }

    /// It holds no record.
    pub(super) fn about_indices(mut self) -> Self {
        self.private = false;
        self
    }
}

/// An answer, whatever its status.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    body: Vec<u8>,
    private: bool,
}

impl Answer {
    fn is_passing(&self) -> bool {
        matches!(self.status, 429 | 503) && Fault::of_answer(self.status, &self.body).is_passing()
    }

    /// Its body, or what it says went wrong.
    pub(super) fn success(&self) -> Result<&[u8], Fault> {
        match self.status {
            200..300 => Ok(&self.body),
            status => Err(match self.private {
                true => Fault::of_answer(status, &self.body).without_reason(),
                false => Fault::of_answer(status, &self.body),
            }),
        }
    }

    /// Its body, read.
    pub(super) fn read<'a, T: Deserialize<'a>>(&'a self) -> Result<T, Failed> {
        let body = self.success().map_err(Fault::into_failed)?;
        Ok(parse(body)?)
    }

    /// Its body, read whatever its status is.
    pub(super) fn read_any<'a, T: Deserialize<'a>>(&'a self) -> Option<T> {
        serde_json::from_slice(&self.body).ok()
    }
}

/// Reads what the server answered.
pub(super) fn parse<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T> {
    serde_json::from_slice(body).map_err(|error| {
        let what = crate::json::describe(&error);
        Error::new(ErrorKind::Backend, format!("the cluster gave an answer that is none: {what}"))
    })
}

/// How an exchange ended without an answer.
enum Lost {
    /// No host could be connected to.
    Unreachable(String),
    /// The connection was lost when the request was sent.
    Meanwhile(String),
    /// The host gave an answer that is longer than this limit.
    TooLong(u64),
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

    /// Sends a request and gives the answer.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Timeout`] where the deadline passed and nothing was changed;
    /// [`ErrorKind::Unavailable`] where no host answers, or where it is not known whether a write
    /// was done.
    pub(super) fn send(&self, request: Request, deadline: Instant) -> Result<Answer> {
        let (effect, this) = (request.effect, self.clone());
        match runtime::run(deadline, async move { this.exchange(&request, deadline).await })? {
            Some(Ok(answer)) => Ok(answer),
            Some(Err(lost)) => Err(lost_error(effect, &lost)),
            None => Err(late_error(effect)),
        }
    }

    /// Sends a request that nobody waits for.
    pub(super) fn leave(&self, request: Request, limit: Duration) {
        let (deadline, this) = (Instant::now() + limit, self.clone());
        runtime::leave(limit, async move { drop(this.exchange(&request, deadline).await) });
    }

    /// Sends a request until there is an answer to it other than that the cluster has too much to
    /// do, or is not ready: of which nothing was done.
    async fn exchange(&self, request: &Request, deadline: Instant) -> Result<Answer, Lost> {
        let _permit = self.permits.acquire().await;
        let mut pause = PAUSES.0;
        let mut repeated = false;
        loop {
            match self.attempt(request).await {
                Ok(answer) if answer.is_passing() && Instant::now() + pause < deadline => {
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(PAUSES.1);
                }
                // The first attempt may have been done, whatever became of the second.
                Ok(answer) if repeated && matches!(answer.status, 429 | 500..) => {
                    let why = format!("and then it was refused with status {}", answer.status);
                    return Err(Lost::Meanwhile(why));
                }
                Ok(answer) => return Ok(answer),
                Err(Lost::Meanwhile(_)) if self.repeats(request.effect) && !repeated => {
                    repeated = true;
                }
                Err(Lost::Unreachable(why)) if repeated => return Err(Lost::Meanwhile(why)),
                Err(lost) => return Err(lost),
            }
        }
    }

    /// Whether a request is sent once more whose connection was lost.
    fn repeats(&self, effect: Effect) -> bool {
        match effect {
            Effect::Read => true,
            Effect::Repeatable => self.retry != Retry::Never,
            Effect::Once => false,
        }
    }

    /// Sends a request to the first host that can be connected to, beginning with the next one;
    /// those that did not answer lately come last.
    async fn attempt(&self, request: &Request) -> Result<Answer, Lost> {
        let first = self.next.fetch_add(1, Ordering::Relaxed) % self.hosts.len();
        let mut hosts: Vec<&Host> = self.hosts.iter().collect();
        hosts.rotate_left(first);
        hosts.sort_by_key(|host| host.is_suspect());
        let mut unreachable = String::new();
        for host in hosts {
            let mut attempt = Attempt { host, answered: false };
            match send(&host.transport, request).await {
                Err(Lost::Unreachable(why)) => unreachable = why,
                done => {
                    attempt.answered = done.is_ok();
                    return done;
                }
            }
        }
        Err(Lost::Unreachable(unreachable))
    }
}

async fn send(host: &Transport, request: &Request) -> Result<Answer, Lost> {
    let sent = host.send(request.method, &request.path, request.body.as_ref(), request.content);
    match sent.await {
        // A proxy that gave up may have handed the request on, and its answer may be lost.
        Ok((status @ (502 | 504), body)) if Fault::of_answer(status, &body).name.is_empty() => {
            Err(Lost::Meanwhile(format!("status {status}, of a proxy before the cluster")))
        }
        Ok((status, body)) => Ok(Answer { status, body, private: request.private }),
        Err(Failure::TooLong(limit)) => Err(Lost::TooLong(limit)),
        Err(Failure::Client(error)) => Err(lost(&error)),
    }
}

/// What became of a request that has no answer. The messages are of the innermost causes, which
/// name no address and no login.
fn lost(error: &reqwest::Error) -> Lost {
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
    if unreachable { Lost::Unreachable(why) } else { Lost::Meanwhile(why) }
}

fn lost_error(effect: Effect, lost: &Lost) -> Error {
    let unavailable = |message| Error::new(ErrorKind::Unavailable, message);
    match (lost, effect) {
        (Lost::Unreachable(why), _) => unavailable(format!(
            "no host of the cluster can be reached; nothing was changed ({why})"
        )),
        (Lost::Meanwhile(why), Effect::Read) => {
            unavailable(format!("the connection was lost ({why})"))
        }
        (Lost::Meanwhile(why), _) => unavailable(format!(
            "the connection was lost; whether the call was done is not known ({why})"
        )),
        (Lost::TooLong(limit), _) => too_large(*limit),
    }
}

fn late_error(effect: Effect) -> Error {
    match effect {
        Effect::Read => Error::new(
            ErrorKind::Timeout,
            "the cluster did not answer until the deadline passed; nothing was changed",
        ),
        _ => Error::new(
            ErrorKind::Unavailable,
            "the cluster did not answer until the deadline passed; whether the call was done is not known",
        ),
    }
}
