//! Why a call did not succeed, and what that says of what was done.

use std::io;

use redis::{ServerError, ServerErrorKind};

use super::login::Address;
use crate::{Error, ErrorKind};

/// Why a call on a connection failed.
#[derive(Debug)]
pub(super) enum CallError {
    /// No connection could be had: nothing was sent.
    NotSent(Error),
    /// The connection was lost when something was sent: nobody knows what was done.
    Lost(io::ErrorKind),
    /// The server did nothing, and says who does or that it may be asked again.
    Redirect(Redirect),
    /// It is so.
    Final(Error),
}

/// Where, or when, a command that was not done is done.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Redirect {
    /// The slot has moved to this server.
    Moved(Address),
    /// The slot is about to move; the key may be there already.
    Ask(Address),
    /// This server is no master any more.
    ReadOnly,
    /// Later: it is loading its data, or the cluster is not whole.
    TryAgain,
    /// Once one of its clients is gone: it has reached its `maxclients`.
    MaxClients,
}

impl From<Error> for CallError {
    fn from(error: Error) -> Self {
        Self::Final(error)
    }
}

impl CallError {
    /// The public error.
    pub(super) fn into_error(self) -> Error {
        match self {
            Self::Final(error) | Self::NotSent(error) => error,
            Self::Lost(kind) => lost(kind),
            Self::Redirect(Redirect::ReadOnly) => Error::new(
                ErrorKind::Unavailable,
                "the server is a replica, which cannot be written to; nothing was done",
            ),
            Self::Redirect(Redirect::Moved(_) | Redirect::Ask(_)) => Error::invalid_config(
                "the server is one of a cluster; write its URI as redis+cluster:// and not as redis://",
            ),
            Self::Redirect(Redirect::MaxClients) => Error::new(
                ErrorKind::Timeout,
                "the server had reached its `maxclients` until the deadline passed; nothing was done",
            ),
            Self::Redirect(Redirect::TryAgain) => Error::new(
                ErrorKind::Timeout,
                "the servers were moving data, loading it or choosing a master until the deadline passed; nothing was done",
            ),
        }
    }
}

fn lost(kind: io::ErrorKind) -> Error {
    let what = match kind {
        io::ErrorKind::TimedOut => "the server did not reply until the deadline",
        _ => "the connection was lost before the reply",
    };
    Error::new(ErrorKind::Unavailable, format!("{what}: what was sent may have been done or not"))
}

/// Where no connection can be had.
pub(super) fn unreachable(address: &Address, error: &io::Error) -> CallError {
    CallError::NotSent(address.unreachable(error))
}

/// What a server's refusal means. Its own words may hold keys and values, and are not passed on.
pub(super) fn refused(error: &ServerError) -> CallError {
    use ServerErrorKind as Kind;
    let elsewhere = match error.kind() {
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
    elsewhere.map_or_else(|| CallError::Final(refusal(error)), CallError::Redirect)
}

/// The address in `MOVED 3999 127.0.0.1:6381`.
fn address(error: &ServerError) -> Option<Address> {
    let (host, port) = error.details()?.split(' ').nth(1)?.rsplit_once(':')?;
    Some(Address::tcp(host, port.parse().ok()?))
}

/// Whether it is what a server says to a connection beyond its `maxclients`.
fn is_full(error: &ServerError) -> bool {
    error.code() == "ERR"
        && error.details().is_some_and(|details| details.starts_with("max number of clients"))
}

/// What the server's access control list refuses. Of its words only the name of a command is
/// passed on.
fn not_permitted(details: &str) -> Error {
    let command = details.split_once("the '").and_then(|(_, rest)| rest.split_once("' command"));
    let plain =
        |name: &&str| name.bytes().all(|b| b.is_ascii_alphanumeric() || b"|-_".contains(&b));
    let what = match command.map(|(name, _)| name).filter(plain) {
        Some(command) => format!("run the command `{command}`"),
        None if details.contains("key") => "access a key of this name".to_owned(),
        None => "do this".to_owned(),
    };
    Error::new(
        ErrorKind::Backend,
        format!(
            "the server's access control list does not let the user {what} (NOPERM); nothing was done"
        ),
    )
}

fn refusal(error: &ServerError) -> Error {
    let details = error.details().unwrap_or_default();
    let login = |what: &str| {
        Error::new(ErrorKind::Unavailable, format!("the server refuses the login: {what}"))
            .with_retryable(false)
    };
    match error.code() {
        "WRONGPASS" => login("the user or the password is wrong"),
        "NOAUTH" => login("it wants a password"),
        "NOPERM" => not_permitted(details),
        "EXECABORT" if details.contains("permissions") => not_permitted(details),
        "ERR" if details.contains("AUTH") && details.contains("password") => {
            login("it has no password, and one was given")
        }
        "WRONGTYPE" => Error::invalid_data(
            "the key holds a value of another type: another program's, or one of another `layout`",
        ),
        "OOM" => Error::new(
            ErrorKind::Backend,
            "the server has reached its `maxmemory` and evicts nothing; nothing was written",
        ),
        "MISCONF" => Error::new(
            ErrorKind::Backend,
            "the server cannot save to its disk and takes no writes until it can (MISCONF); nothing was written",
        ),
        "NOREPLICAS" => Error::new(
            ErrorKind::Unavailable,
            "the server has fewer replicas than its `min-replicas-to-write`; nothing was written",
        ),
        "CROSSSLOT" => Error::unsupported("the keys are in different slots of the cluster"),
        "ERR" if details.contains("unknown command") => Error::unsupported(
            "the server does not know a command that hilcat needs; Redis 6.2, Valkey or newer does",
        ),
        "ERR" if details.contains("DB index") => {
            Error::invalid_config("the server has no database of this number")
        }
        code => Error::new(ErrorKind::Backend, format!("the server refused the command ({code})")),
    }
}
