//! Errors of calls, classified by what the server may have done.

use std::io;

use redis::{ServerError, ServerErrorKind};

use super::login::Address;
use crate::{Error, ErrorKind};

/// Why a call on a connection failed.
#[derive(Debug)]
pub(super) enum CallError {
    /// No connection was available; nothing was sent.
    NotSent(Error),
    /// The connection was lost after commands were sent. Whether the server executed them is
    /// unknown.
    Lost(io::ErrorKind),
    /// The server executed nothing and refers to another server, or to a later time.
    Redirect(Redirect),
    /// An error that a retry does not change.
    Final(Error),
}

/// Where, or when, the command that the server did not execute can be repeated.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Redirect {
    /// `MOVED`: the slot belongs to this server.
    Moved(Address),
    /// `ASK`: the slot is being migrated; the key may already be on this server.
    Ask(Address),
    /// `READONLY`: this server is no longer the master.
    ReadOnly,
    /// `LOADING`, `TRYAGAIN`, `CLUSTERDOWN`, `MASTERDOWN` or `BUSY`: repeat the command later.
    TryAgain,
    /// The server has reached its `maxclients`: repeat the command after another client
    /// disconnects.
    MaxClients,
}

impl From<Error> for CallError {
    fn from(error: Error) -> Self {
        Self::Final(error)
    }
}

impl CallError {
    /// Converts to the public error.
    pub(super) fn into_error(self) -> Error {
        match self {
            Self::Final(error) | Self::NotSent(error) => error,
            Self::Lost(kind) => lost(kind),
            Self::Redirect(Redirect::ReadOnly) => Error::new(
                ErrorKind::Unavailable,
                "the server is a replica and takes no writes; nothing was changed; connect to the master, or through redis+cluster:// or redis+sentinel://",
            ),
            Self::Redirect(Redirect::Moved(_) | Redirect::Ask(_)) => Error::invalid_config(
                "the server is part of a cluster; write the URI as redis+cluster:// instead of redis://",
            ),
            Self::Redirect(Redirect::MaxClients) => Error::new(
                ErrorKind::Timeout,
                "the server had no room for another client (`maxclients`) before the deadline passed; nothing was changed",
            ),
            Self::Redirect(Redirect::TryAgain) => Error::new(
                ErrorKind::Timeout,
                "the servers were moving data, loading it or electing a master until the deadline passed; nothing was changed",
            ),
        }
    }
}

fn lost(kind: io::ErrorKind) -> Error {
    let what = match kind {
        io::ErrorKind::TimedOut => "the server did not respond before the deadline passed",
        _ => "the connection to the server was lost before it responded",
    };
    Error::new(ErrorKind::Unavailable, format!("{what}; whether the call was done is not known"))
}

/// The error of a connection that could not be opened.
pub(super) fn unreachable(address: &Address, error: &io::Error) -> CallError {
    CallError::NotSent(address.unreachable(error))
}

/// Classifies an error reply. The text of the reply may contain keys and values and is not passed
/// on.
pub(super) fn refused(error: &ServerError) -> CallError {
    use ServerErrorKind as Kind;
    let redirect = match error.kind() {
        Some(Kind::Moved) => address(error).map(Redirect::Moved),
        Some(Kind::Ask) => address(error).map(Redirect::Ask),
        Some(Kind::ReadOnly) => Some(Redirect::ReadOnly),
        Some(Kind::BusyLoading | Kind::TryAgain | Kind::ClusterDown | Kind::MasterDown) => {
            Some(Redirect::TryAgain)
        }
        _ if error.code() == "BUSY" => Some(Redirect::TryAgain),
        _ if is_full(error) => Some(Redirect::MaxClients),
        _ => None,
    };
    redirect.map_or_else(|| CallError::Final(refusal(error)), CallError::Redirect)
}

/// The address in `MOVED 3999 127.0.0.1:6381`.
fn address(error: &ServerError) -> Option<Address> {
    let (host, port) = error.details()?.split(' ').nth(1)?.rsplit_once(':')?;
    Some(Address::tcp(host, port.parse().ok()?))
}

/// Whether this is the reply to a connection beyond `maxclients`.
fn is_full(error: &ServerError) -> bool {
    error.code() == "ERR"
        && error.details().is_some_and(|details| details.starts_with("max number of clients"))
}

/// The error of a command that the access control list denies. Of the reply, only the name of the
/// command is passed on.
fn not_permitted(details: &str) -> Error {
    let command = details.split_once("the '").and_then(|(_, rest)| rest.split_once("' command"));
    let plain =
        |name: &&str| name.bytes().all(|b| b.is_ascii_alphanumeric() || b"|-_".contains(&b));
    let what = match command.map(|(name, _)| name).filter(plain) {
        Some(command) => format!("run the command `{command}`"),
        None if details.contains("key") => "access a key with this name".to_owned(),
        None => "do this".to_owned(),
    };
    Error::new(
        ErrorKind::Backend,
        format!(
            "the server's access control list does not allow the user to {what} (NOPERM); nothing was changed"
        ),
    )
}

fn refusal(error: &ServerError) -> Error {
    let details = error.details().unwrap_or_default();
    let login = |what: &str| {
        Error::new(ErrorKind::Unavailable, format!("the server refused the login: {what}"))
            .with_retryable(false)
    };
    match error.code() {
        "WRONGPASS" => login("wrong user or password"),
        "NOAUTH" => login("a password is required; set the option `password`"),
        "NOPERM" => not_permitted(details),
        "EXECABORT" if details.contains("permissions") => not_permitted(details),
        "ERR" if details.contains("AUTH") && details.contains("password") => {
            login("a password was given, but the server has none configured")
        }
        "WRONGTYPE" => Error::invalid_data(
            "the key holds a value of another type, written by another program or under another `layout`",
        ),
        "OOM" => Error::new(
            ErrorKind::Backend,
            "the server has reached its `maxmemory` and evicts no keys; nothing was written; raise `maxmemory` or set `maxmemory-policy`",
        ),
        "MISCONF" => Error::new(
            ErrorKind::Backend,
            "the server cannot save to its disk and refuses writes until it can (MISCONF); nothing was written",
        ),
        "NOREPLICAS" => Error::new(
            ErrorKind::Unavailable,
            "the server has fewer replicas than `min-replicas-to-write`; nothing was written",
        ),
        "CROSSSLOT" => Error::unsupported("the keys belong to different slots of the cluster"),
        "ERR" if details.contains("unknown command") => Error::unsupported(
            "the server lacks a command that hilcat needs; Redis 6.2, Valkey 7.2 or newer is required",
        ),
        "ERR" if details.contains("DB index") => Error::invalid_config(
            "the server has no database with this number; check `db` in the URI",
        ),
        code => Error::new(ErrorKind::Backend, format!("the server refused the command ({code})")),
    }
}
