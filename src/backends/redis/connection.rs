//! One connection to a server.

use std::io::{self, Write};
use std::time::Instant;

use redis::Value;

use super::call_error::{CallError, refused, unreachable};
use super::command::Commands;
use super::login::{Address, Login, Resp};
use super::reply::{Replies, Unread};
use super::servers::Call;
use crate::remote::{Deadline, Stream, too_large};
use crate::{Error, ErrorKind};

/// An open connection that has logged in.
pub(super) struct Connection {
    replies: Replies<Stream>,
    max_response: u64,
    /// The number of replies that have not been read yet.
    pending: usize,
    broken: bool,
    asking: bool,
    pub(super) used: Instant,
    /// Connections with the same epoch lead to the same server process, as far as is known.
    pub(super) epoch: u64,
}

impl Connection {
    /// Connects and logs in.
    ///
    /// # Errors
    ///
    /// [`CallError::NotSent`] for every failure, since none of the caller's commands was sent.
    pub(super) fn open(
        address: &Address,
        login: &Login,
        deadline: Deadline,
    ) -> Result<Self, CallError> {
        let stream = Stream::open(address, login.tls.as_ref(), u64::MAX, deadline);
        let stream = stream.map_err(|error| unreachable(address, &error))?;
        let mut connection = Self {
            replies: Replies::new(stream, login.max_response),
            max_response: login.max_response,
            pending: 0,
            broken: false,
            asking: false,
            used: Instant::now(),
            epoch: 0,
        };
        connection.log_in(login).map_err(|failed| match failed {
            CallError::Lost(kind) => unreachable(address, &kind.into()),
            other => other,
        })?;
        Ok(connection)
    }

    fn log_in(&mut self, login: &Login) -> Result<(), CallError> {
        let mut commands = Commands::default();
        let user = login.user.as_deref().unwrap_or("default").as_bytes();
        match (login.protocol, login.password.as_deref(), &login.user) {
            (Resp::Resp3, None, _) => commands.add(&[b"HELLO", b"3"]),
            (Resp::Resp3, Some(password), _) => {
                commands.add(&[b"HELLO", b"3", b"AUTH", user, password.as_bytes()]);
            }
            (Resp::Resp2, None, _) => {}
            // Servers before Redis 6 accept a password without a user only.
            (Resp::Resp2, Some(password), None) => commands.add(&[b"AUTH", password.as_bytes()]),
            (Resp::Resp2, Some(password), _) => {
                commands.add(&[b"AUTH", user, password.as_bytes()]);
            }
        }
        if login.database != 0 {
            commands.add(&[b"SELECT", login.database.to_string().as_bytes()]);
        }
        if commands.count() == 0 {
            // A server that has reached its `maxclients` reports it in reply to the first command,
            // which therefore must not be one of the caller's.
            commands.add(&[b"PING"]);
        }
        self.query(&commands)?.iter().try_for_each(check)
    }

    /// Starts a call with this deadline.
    pub(super) fn begin(&mut self, deadline: Deadline) {
        self.asking = false;
        self.replies.stream_mut().begin(deadline);
    }

    /// Sends commands and returns their replies, error replies included.
    pub(super) fn query(&mut self, commands: &Commands) -> Result<Vec<Value>, CallError> {
        self.send(commands)?;
        (0..commands.count()).map(|_| self.reply()).collect()
    }

    /// Sends several units of commands and returns the reply to each.
    pub(super) fn query_each(&mut self, units: &[Commands]) -> Result<Vec<Value>, CallError> {
        self.send_each(units.len(), |at, commands| commands.append(&units[at]))?;
        let replies: Result<Vec<_>, _> = units.iter().map(|_| self.reply_of_each()).collect();
        replies?.into_iter().map(into_result).collect()
    }

    /// Sends `count` units of one command each, which `add` appends. Each needs one call of
    /// [`reply_of_each`](Connection::reply_of_each).
    pub(super) fn send_each(
        &mut self,
        count: usize,
        mut add: impl FnMut(usize, &mut Commands),
    ) -> Result<(), CallError> {
        let (asking, mut all) = (self.asking(), Commands::default());
        for at in 0..count {
            all.append(&asking);
            add(at, &mut all);
        }
        self.send(&all)
    }

    /// Returns the reply to the next unit sent by [`send_each`](Connection::send_each).
    pub(super) fn reply_of_each(&mut self) -> Result<Value, CallError> {
        for _ in 0..self.asking().count() {
            self.reply()?;
        }
        self.reply()
    }

    /// Prepares the connection for commands on a key whose slot is being migrated to this server.
    pub(super) fn send_asking(&mut self) -> Result<(), CallError> {
        self.asking = true;
        self.query_unit(&self.asking()).map(drop)
    }

    /// The `ASKING` command that must precede each further command or transaction on a key whose
    /// slot is being migrated to this server; empty otherwise.
    pub(super) fn asking(&self) -> Commands {
        match self.asking {
            true => Commands::one(&[b"ASKING"]),
            false => Commands::default(),
        }
    }

    /// Sends a unit, which is a single command or a transaction, and returns its last reply.
    pub(super) fn query_unit(&mut self, unit: &Commands) -> Result<Value, CallError> {
        self.send(unit)?;
        self.reply_to(unit)
    }

    /// Like [`query_unit`](Connection::query_unit), and waits until enough replicas have the write.
    pub(super) fn write(&mut self, unit: &Commands, call: Call) -> Result<Value, CallError> {
        if call.replicas == 0 {
            return self.query_unit(unit);
        }
        let mut commands = unit.clone();
        commands.append(&wait_command(call));
        self.send(&commands)?;
        let reply = self.reply_to(unit)?;
        self.check_replicated(call).map(|()| reply)
    }

    /// Reads the reply to [`wait_command`].
    pub(super) fn check_replicated(&mut self, call: Call) -> Result<(), CallError> {
        if call.replicas == 0 {
            return Ok(());
        }
        match into_result(self.reply()?)? {
            Value::Int(count) if count >= i64::from(call.replicas) => Ok(()),
            Value::Int(count) => Err(CallError::Final(Error::new(
                ErrorKind::Unavailable,
                format!(
                    "the write was done, but {count} of {} replicas acknowledged it before the deadline passed",
                    call.replicas
                ),
            ))),
            _ => Err(unexpected()),
        }
    }

    /// Returns the last reply to a unit, or the first error reply.
    pub(super) fn reply_to(&mut self, unit: &Commands) -> Result<Value, CallError> {
        let (mut last, mut refusal) = (Value::Nil, None);
        for _ in 0..unit.count() {
            match into_result(self.reply()?) {
                Ok(value) => last = value,
                // Of an aborted transaction, the first error states the cause.
                Err(failed) => drop(refusal.get_or_insert(failed)),
            }
        }
        match refusal {
            Some(failed) => Err(failed),
            None => Ok(last),
        }
    }

    pub(super) fn send(&mut self, commands: &Commands) -> Result<(), CallError> {
        let stream = self.replies.stream_mut();
        let sent = stream.write_all(commands.bytes()).and_then(|()| stream.flush());
        self.pending += commands.count();
        sent.map_err(|error| self.lost(error.kind()))
    }

    /// Returns the next reply. Push messages are skipped.
    pub(super) fn reply(&mut self) -> Result<Value, CallError> {
        loop {
            match self.replies.next() {
                Ok(Value::Push { .. }) => {}
                Ok(value) => {
                    self.pending = self.pending.saturating_sub(1);
                    return Ok(value);
                }
                Err(Unread::Io(io::ErrorKind::TimedOut)) => {
                    return Err(self.lost(io::ErrorKind::TimedOut));
                }
                Err(Unread::TooLarge) => {
                    self.broken = true;
                    return Err(CallError::Final(too_large(self.max_response)));
                }
                Err(Unread::Io(_) | Unread::Malformed) => {
                    return Err(self.lost(io::ErrorKind::ConnectionReset));
                }
            }
        }
    }

    fn lost(&mut self, kind: io::ErrorKind) -> CallError {
        self.broken = true;
        CallError::Lost(kind)
    }

    /// Whether nothing has arrived since the last reply, not even the end of the stream.
    pub(super) fn is_quiet(&self) -> bool {
        self.replies.is_empty() && self.replies.stream().is_quiet()
    }

    /// Whether no more replies can be read.
    pub(super) fn is_broken(&self) -> bool {
        self.broken
    }

    /// Whether the connection cannot be reused: it is broken, or the next reply may belong to an
    /// earlier command.
    pub(super) fn is_unusable(&self) -> bool {
        self.broken || self.pending > 0
    }

    /// Prevents the connection from being reused.
    pub(super) fn mark_broken(&mut self) {
        self.broken = true;
    }
}

/// The `WAIT` command for the required number of replicas; empty if that is 0.
pub(super) fn wait_command(call: Call) -> Commands {
    if call.replicas == 0 {
        return Commands::default();
    }
    // The server stops waiting shortly before the deadline, so that its reply arrives in time.
    let left = call.deadline.left() * 9 / 10;
    let (replicas, millis) = (call.replicas.to_string(), left.as_millis().max(1).to_string());
    Commands::one(&[b"WAIT", replicas.as_bytes(), millis.as_bytes()])
}

/// Converts an error reply into an error.
pub(super) fn into_result(value: Value) -> Result<Value, CallError> {
    check(&value).map(|()| value)
}

/// Fails if the reply is an error, or a transaction that contains one.
fn check(value: &Value) -> Result<(), CallError> {
    match value {
        Value::ServerError(error) => Err(refused(error)),
        Value::Array(items) => items.iter().try_for_each(|item| match item {
            Value::ServerError(error) => Err(refused(error)),
            _ => Ok(()),
        }),
        _ => Ok(()),
    }
}

/// The error of a reply whose type does not match the command.
pub(super) fn unexpected() -> CallError {
    CallError::Final(Error::invalid_data("malformed reply: its type does not match the command"))
}
