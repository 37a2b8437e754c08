//! A master with replicas, found through sentinels.

use crate::remote::Deadline;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Mutex, RwLock};
use redis::Value;

use super::call_error::{CallError, Redirect};
use super::command::Commands;
use super::connection::{Connection, unexpected};
use super::login::{Address, Login};
use super::pool::{Pool, PoolOptions};
use crate::{Error, ErrorKind};

/// How long one server may take to respond while the master is looked up.
const NODE_TIMEOUT: Duration = Duration::from_millis(500);

/// The sentinels, and the master that they last reported.
#[derive(Debug)]
pub(super) struct Sentinels {
    sentinels: Vec<Address>,
    master: String,
    /// The login for the sentinels.
    login: Login,
    options: PoolOptions,
    current: RwLock<Option<Arc<Pool>>>,
    /// Held while the sentinels are queried.
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
    pub(super) fn pool(&self, deadline: Deadline) -> Result<Arc<Pool>, CallError> {
        if let Some(pool) = &*self.current.read() {
            return Ok(pool.clone());
        }
        let Some(_guard) = self.asking.try_lock_until(deadline.instant()) else {
            return Err(no_answer());
        };
        if let Some(pool) = &*self.current.read() {
            return Ok(pool.clone());
        }
        let pool = Arc::new(Pool::new(self.find_master(deadline)?, self.options.clone()));
        *self.current.write() = Some(pool.clone());
        Ok(pool)
    }

    /// Records that the master does not respond, or is no longer a master.
    pub(super) fn mark_stale(&self, pool: &Arc<Pool>) {
        let mut current = self.current.write();
        if current.as_ref().is_some_and(|current| Arc::ptr_eq(current, pool)) {
            *current = None;
        }
    }

    /// Queries the sentinels in order until one reports a master that confirms its role.
    fn find_master(&self, deadline: Deadline) -> Result<Address, CallError> {
        let mut failure = no_answer();
        for sentinel in &self.sentinels {
            if deadline.has_passed() {
                break;
            }
            let by = || deadline.min(Deadline::after(NODE_TIMEOUT));
            let command: [&[u8]; 3] =
                [b"SENTINEL", b"GET-MASTER-ADDR-BY-NAME", self.master.as_bytes()];
            let reply = Connection::open(sentinel, &self.login, by())
                .and_then(|mut connection| connection.query_unit(&Commands::one(&command)));
            let address = match reply {
                Ok(reply) => read_address(&reply),
                Err(CallError::Final(error)) => {
                    return Err(CallError::Final(not_a_sentinel(error)));
                }
                Err(failed) => Err(failed),
            };
            match address {
                Ok(Some(address)) => match self.is_master(&address, by()) {
                    Ok(true) => return Ok(address),
                    Err(CallError::Final(error)) => return Err(CallError::Final(error)),
                    _ => failure = CallError::Redirect(Redirect::TryAgain),
                },
                Ok(None) => failure = CallError::Final(self.unknown()),
                Err(CallError::Lost(_)) => {}
                Err(failed) => failure = failed,
            }
        }
        Err(failure)
    }

    /// Whether a server is a master: during a failover, sentinels may report a former master.
    fn is_master(&self, address: &Address, by: Deadline) -> Result<bool, CallError> {
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
        Error::invalid_config(format!(
            "the sentinels monitor no master named `{}`; check the name in the URI",
            self.master
        ))
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
    CallError::NotSent(Error::new(
        ErrorKind::Unavailable,
        "no sentinel responded; nothing was changed",
    ))
}

fn not_a_sentinel(error: Error) -> Error {
    match error.kind() {
        ErrorKind::Backend | ErrorKind::Unsupported => Error::invalid_config(
            "the server is not a sentinel; write the URI as redis+sentinel://host:port,host:port/master with the addresses of the sentinels",
        ),
        _ => error,
    }
}
