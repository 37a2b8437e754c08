//! The settings that statements run under, with and without a pooler between client and server.
//!
//! A pooler such as PgBouncer may give each transaction of a client another session of the server,
//! and each session to many clients. Then nothing of a session can be relied on, and nothing may be
//! left in it: not a prepared statement, whose name another client may use for another one, nor a
//! setting. So behind a pooler every call is one transaction, which begins with its settings, and
//! its statements have no name. All of it is sent at once: it stays one round trip.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::{future, io};

use futures_util::FutureExt;
use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_postgres::tls::{ChannelBinding, TlsConnect, TlsStream};
use tokio_postgres::{Client, SimpleQueryMessage};

/// Whether a pooler between client and server shares sessions among clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Pooler {
    /// Found out at each connection: a pooler that shares sessions has process ids of its own.
    #[default]
    Detect,
    /// A session is the client's alone as long as the connection lasts: there is no pooler, or it
    /// is in session mode.
    Session,
    /// A session is the client's only until the end of a transaction.
    Transaction,
}

/// How statements run in the session.
#[derive(Debug, Default)]
pub(super) enum Session {
    /// The session has the settings, and keeps prepared statements.
    #[default]
    Own,
    /// Each transaction begins with these statements.
    Shared { settings: String },
}

/// What the first query tells of a session.
pub(super) struct Opened {
    /// Whether another client may be given the session.
    pub(super) shared: bool,
    pub(super) schema: Option<String>,
}

impl Pooler {
    /// The first query: it sets what statements run under and asks for the schema. Where sessions
    /// are shared the settings end with the query.
    pub(super) fn first_query(self, client: &Client, settings: &[(&str, String)]) -> String {
        let shared = match self {
            Self::Session => "false".to_owned(),
            Self::Transaction => "true".to_owned(),
            Self::Detect => format!("pg_backend_pid() <> {}", process_id(client)),
        };
        let set = set(settings, &shared);
        // What another client left in the session does not count here either; the schema is asked
        // for by a statement of its own, since those before it change it.
        let reset = reset(settings);
        format!("{reset}; {set}; SELECT {shared}, current_schema()")
    }

    pub(super) async fn open(
        self,
        client: &Client,
        settings: &[(&str, String)],
    ) -> Result<Opened, tokio_postgres::Error> {
        let messages = client.simple_query(&self.first_query(client, settings)).await?;
        let last = messages.iter().rev().find_map(|message| match message {
            SimpleQueryMessage::Row(row) => Some(row),
            _ => None,
        });
        let get = |at| last.and_then(|row| row.try_get(at).ok().flatten());
        // What is not known to be the client's own is shared.
        let shared = get(0) != Some("f");
        Ok(Opened { shared, schema: get(1).map(str::to_owned) })
    }
}

impl Session {
    /// The session of a client, where it is shared or not.
    pub(super) fn new(shared: bool, settings: &[(&'static str, String)]) -> Self {
        if !shared {
            return Self::Own;
        }
        let (reset, set) = (reset(settings), set(settings, "true"));
        // A temporary table that another client left in the session hides none of the schema.
        let last = "set_config('search_path', current_setting('search_path') || ', pg_temp', true)";
        Self::Shared { settings: format!("{reset}; {set}; SELECT {last}") }
    }

    /// What begins the transaction of one statement.
    pub(super) fn begin(&self) -> Option<String> {
        match self {
            Self::Own => None,
            Self::Shared { settings } => Some(format!("{BEGIN}; {settings}")),
        }
    }

    /// Statements that run outside a transaction, or begin one, with the settings.
    pub(super) fn with_settings(&self, sql: &str) -> Option<String> {
        let Self::Shared { settings } = self else { return None };
        Some(match sql {
            "BEGIN" => format!("{BEGIN}; {settings}"),
            // Another isolation was asked for.
            sql if sql.starts_with("BEGIN") => format!("{sql}; {settings}"),
            sql => format!("{settings}; {sql}"),
        })
    }
}

/// What another client may have left in a session and would change what statements mean or may do.
/// Until the end of the transaction each is again what the server gives a login. The role comes
/// after the login, which resets it.
const LEFT: [&str; 6] =
    ["SESSION AUTHORIZATION", "role", "search_path", "lock_timeout", "row_security", QUOTES];

/// Whether names of types are quoted, by which they are told apart.
const QUOTES: &str = "quote_all_identifiers";

/// The statements that undo what was left, but for what is set anyway.
fn reset(settings: &[(&str, String)]) -> String {
    let left = LEFT.iter().filter(|left| settings.iter().all(|(name, _)| name != *left));
    let statements = left.map(|name| match *name {
        "SESSION AUTHORIZATION" => "SET LOCAL SESSION AUTHORIZATION DEFAULT".to_owned(),
        name => format!("SET LOCAL {name} TO DEFAULT"),
    });
    statements.collect::<Vec<_>>().join("; ")
}

/// Begins a transaction, whatever isolation another client made the session's default.
const BEGIN: &str = "BEGIN ISOLATION LEVEL READ COMMITTED";

/// The statement that sets all of them, until the end of the transaction where `local` is true.
fn set(settings: &[(&str, String)], local: &str) -> String {
    let settings = settings.iter().map(|(name, value)| {
        format!("set_config('{name}', '{}', {local})", value.replace('\'', "''"))
    });
    format!("SELECT {}", settings.collect::<Vec<_>>().join(", "))
}

/// The process id that the server, or a pooler in its place, gave the client for cancelling; 0
/// where it gave none.
///
/// tokio-postgres keeps it to itself but for the request that cancels a query, which here is
/// written to memory: its last eight bytes are the id and a secret.
fn process_id(client: &Client) -> i32 {
    let request = Request::default();
    let written = client.cancel_token().cancel_query_raw(request.clone(), InMemory).now_or_never();
    let bytes = request.0.lock();
    match (written, bytes.last_chunk::<8>()) {
        (Some(Ok(())), Some(&[a, b, c, d, ..])) => i32::from_be_bytes([a, b, c, d]),
        _ => 0,
    }
}

/// What is written, in memory.
#[derive(Clone, Default)]
struct Request(Arc<Mutex<Vec<u8>>>);

/// Says that the request is encrypted, where encryption is asked for.
struct InMemory;

impl TlsConnect<Request> for InMemory {
    type Stream = Request;
    type Error = io::Error;
    type Future = future::Ready<io::Result<Request>>;

    fn connect(self, stream: Request) -> Self::Future {
        future::ready(Ok(stream))
    }
}

impl TlsStream for Request {
    fn channel_binding(&self) -> ChannelBinding {
        ChannelBinding::none()
    }
}

impl AsyncRead for Request {
    /// The only thing that is read is whether the server can encrypt.
    fn poll_read(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        buffer.put_slice(b"S");
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Request {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.0.lock().extend_from_slice(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
