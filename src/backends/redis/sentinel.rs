//! A master with its replicas, and the sentinels that say which one is the master.

use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::{Mutex, RwLock};
use redis::Value;

use super::call_error::{CallError, Redirect};
use super::command::Commands;
use super::connection::{Connection, left, unexpected};
use super::login::{Address, Login};
use super::pool::{Pool, PoolOptions};
use crate::{Error, ErrorKind};

/// How long one server may take to say who is the master.
const NODE_TIMEOUT: Duration = Duration::from_millis(500);

/// The sentinels, and the master as they last said.
#[derive(Debug)]
pub(super) struct Sentinels {
    sentinels: Vec<Address>,
    master: String,
    /// How the sentinels are logged in to.
    login: Login,
    options: PoolOptions,
    current: RwLock<Option<Arc<Pool>>>,
    /// Held by who asks.
    asking: Mutex<()>,
}

impl Sentinels {
    pub(super) fn new(
        sentinels: Vec<Address>,
        master: String,
        login: Login,
        options: PoolOptions,
    ) -> Self {
        Self {
            sentinels,
            master,
            login,
            options,
            current: RwLock::default(),
            asking: Mutex::new(()),
        }
    }

    /// The connections to the master.
    pub(super) fn pool(&self, deadline: Instant) -> Result<Arc<Pool>, CallError> {
        if let Some(pool) = &*self.current.read() {
            return Ok(pool.clone());
        }
        let Some(_alone) = self.asking.try_lock_until(deadline) else { return Err(no_answer()) };
        if let Some(pool) = &*self.current.read() {
            return Ok(pool.clone());
        }
        let pool = Arc::new(Pool::new(self.ask(deadline)?, self.options.clone()));
        *self.current.write() = Some(pool.clone());
        Ok(pool)
    }

    /// The master does not reply, or is none any more.
    pub(super) fn mark_stale(&self, pool: &Arc<Pool>) {
        let mut current = self.current.write();
        if current.as_ref().is_some_and(|current| Arc::ptr_eq(current, pool)) {
            *current = None;
        }
    }

    /// Asks the sentinels, one after the other, until one knows a master that says that it is one.
    fn ask(&self, deadline: Instant) -> Result<Address, CallError> {
        let mut failure = no_answer();
        for sentinel in &self.sentinels {
            let patience = || left(deadline).map(|left| Instant::now() + NODE_TIMEOUT.min(left));
            let (Ok(by), named) = (patience(), self.master.as_bytes()) else { break };
            let question: [&[u8]; 3] = [b"SENTINEL", b"GET-MASTER-ADDR-BY-NAME", named];
            let reply = Connection::open(sentinel, &self.login, by)
                .and_then(|mut connection| connection.query_unit(&Commands::one(&question)));
            let address = match reply {
                Ok(reply) => read_address(&reply),
                Err(CallError::Final(error)) => {
                    return Err(CallError::Final(not_a_sentinel(error)));
                }
                Err(failed) => Err(failed),
            };
            match address {
                Ok(Some(address)) => match patience().map(|by| self.is_master(&address, by)) {
                    Ok(Ok(true)) => return Ok(address),
                    Ok(Err(CallError::Final(error))) => return Err(CallError::Final(error)),
                    _ => failure = CallError::Redirect(Redirect::TryAgain),
                },
                Ok(None) => failure = CallError::Final(self.unknown()),
                Err(CallError::Lost(_)) => {}
                Err(failed) => failure = failed,
            }
        }
        Err(failure)
    }

    /// Whether a server is a master: for a while sentinels name one that is none any more.
    fn is_master(&self, address: &Address, by: Instant) -> Result<bool, CallError> {
        let mut connection = Connection::open(address, &self.options.login, by)?;
        match connection.query_unit(&Commands::one(&[b"ROLE"]))? {
            Value::Array(role) => Ok(match role.first() {
                Some(Value::BulkString(role)) => role == b"master",
                Some(Value::SimpleString(role)) => role == "master",
                _ => false,
            }),
            _ => Err(unexpected()),
        }
    }

    fn unknown(&self) -> Error {
        Error::invalid_config(format!("the sentinels watch no master named `{}`", self.master))
    }
}

fn read_address(reply: &Value) -> Result<Option<Address>, CallError> {
    let parts = match reply {
        Value::Nil => return Ok(None),
        Value::Array(parts) => parts,
        _ => return Err(unexpected()),
    };
    let [Value::BulkString(host), Value::BulkString(port)] = &parts[..] else {
        return Err(unexpected());
    };
    let text = |bytes| std::str::from_utf8(bytes).map_err(|_| unexpected());
    let port = text(port)?.parse().map_err(|_| unexpected())?;
    Ok(Some(Address::tcp(text(host)?, port)))
}

fn no_answer() -> CallError {
    CallError::NotSent(Error::new(ErrorKind::Unavailable, "no sentinel answered"))
}

fn not_a_sentinel(error: Error) -> Error {
    match error.kind() {
        ErrorKind::Backend | ErrorKind::Unsupported => Error::invalid_config(
            "the server is no sentinel; a redis+sentinel: URI names the sentinels, and after them the master's name",
        ),
        _ => error,
    }
}
