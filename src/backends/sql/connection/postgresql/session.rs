//! The settings that statements run under, with and without a pooler between client and server.
//!
//! A pooler such as PgBouncer may assign each transaction of a client to another session of the
//! server, and each session to many clients. A client can then neither rely on the state of a
//! session nor leave state in it, such as settings or prepared statements, whose names could
//! collide. Behind a pooler every call is therefore one transaction that begins with the settings,
//! and its statements have no names. It is sent in one message, so that a call is one round trip.

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
    /// Detected for each connection: a pooler that shares sessions reports its own process ids.
    #[default]
    Detect,
    /// The session belongs to the client until the connection ends: there is no pooler, or it is in
    /// session mode.
    Session,
    /// The session belongs to the client until the end of a transaction.
    Transaction,
}

/// The kind of a session, which decides how statements run.
#[derive(Debug, Default)]
pub(super) enum Session {
    /// The settings are set once, and statements are prepared.
    #[default]
    Own,
    /// Each transaction begins with the statements of the settings.
    Shared { settings: String },
}

/// The result of the first query.
pub(super) struct Opened {
    /// Whether other clients may use the session.
    pub(super) shared: bool,
    pub(super) schema: Option<String>,
}

impl Pooler {
    /// Returns the first query, which applies the settings and selects the current schema. In a
    /// shared session the settings end with the query.
    pub(super) fn first_query(self, client: &Client, settings: &[(&str, String)]) -> String {
        let shared = match self {
            Self::Session => "false".to_owned(),
            Self::Transaction => "true".to_owned(),
            Self::Detect => format!("pg_backend_pid() <> {}", process_id(client)),
        };
        let set = set(settings, &shared);
        // State of other clients is reset here too. The schema is selected by a separate statement,
        // since the settings change it.
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
        // A session is treated as shared unless it is known to be exclusive.
        let shared = get(0) != Some("f");
        Ok(Opened { shared, schema: get(1).map(str::to_owned) })
    }
}

impl Session {
    /// Returns the session of a client.
    pub(super) fn new(shared: bool, settings: &[(&'static str, String)]) -> Self {
        if !shared {
            return Self::Own;
        }
        let (reset, set) = (reset(settings), set(settings, "true"));
        // A temporary table of another client must not hide a table of the schema.
        let last = "set_config('search_path', current_setting('search_path') || ', pg_temp', true)";
        Self::Shared { settings: format!("{reset}; {set}; SELECT {last}") }
    }

    /// Returns the statements that begin the transaction of one statement.
    pub(super) fn begin(&self) -> Option<String> {
        match self {
            Self::Own => None,
            Self::Shared { settings } => Some(format!("{BEGIN}; {settings}")),
        }
    }

    /// Adds the settings to statements that run outside a transaction or begin one.
    pub(super) fn with_settings(&self, sql: &str) -> Option<String> {
        let Self::Shared { settings } = self else { return None };
        Some(match sql {
            "BEGIN" => format!("{BEGIN}; {settings}"),
            // The statement sets its own isolation level.
            sql if sql.starts_with("BEGIN") => format!("{sql}; {settings}"),
            sql => format!("{settings}; {sql}"),
        })
    }
}

/// The settings of another client that would change the meaning or the rights of statements. They
/// are reset to the defaults of the login until the end of the transaction. The role follows the
/// session authorization, which resets it.
const FOREIGN_SETTINGS: [&str; 6] =
    ["SESSION AUTHORIZATION", "role", "search_path", "lock_timeout", "row_security", QUOTES];

/// Whether the names of types are quoted, which are compared as text.
const QUOTES: &str = "quote_all_identifiers";

/// Returns the statements that reset the settings of other clients, except for those that are set.
fn reset(settings: &[(&str, String)]) -> String {
    let foreign =
        FOREIGN_SETTINGS.iter().filter(|foreign| settings.iter().all(|(name, _)| name != *foreign));
    let statements = foreign.map(|name| match *name {
        "SESSION AUTHORIZATION" => "SET LOCAL SESSION AUTHORIZATION DEFAULT".to_owned(),
        name => format!("SET LOCAL {name} TO DEFAULT"),
    });
    statements.collect::<Vec<_>>().join("; ")
}

/// Begins a transaction, regardless of the default isolation level that another client set.
const BEGIN: &str = "BEGIN ISOLATION LEVEL READ COMMITTED";

/// Returns the statement that applies the settings, until the end of the transaction if the SQL
/// expression `local` is true.
fn set(settings: &[(&str, String)], local: &str) -> String {
    let settings = settings.iter().map(|(name, value)| {
        format!("set_config('{name}', '{}', {local})", value.replace('\'', "''"))
    });
    format!("SELECT {}", settings.collect::<Vec<_>>().join(", "))
}

/// Returns the process id that the server, or a pooler, reported for cancelling; 0 if none.
///
/// tokio-postgres exposes it only in the request that cancels a query. The request is written to
/// memory here: its last eight bytes are the id and a secret.
fn process_id(client: &Client) -> i32 {
    let request = Request::default();
    let written = client.cancel_token().cancel_query_raw(request.clone(), InMemory).now_or_never();
    let bytes = request.0.lock();
    match (written, bytes.last_chunk::<8>()) {
        (Some(Ok(())), Some(&[a, b, c, d, ..])) => i32::from_be_bytes([a, b, c, d]),
        _ => 0,
    }
}

/// A request that is written to memory.
#[derive(Clone, Default)]
struct Request(Arc<Mutex<Vec<u8>>>);

/// Accepts TLS without encrypting.
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
    /// Reads the server's answer to the request for TLS, which is the only read.
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
