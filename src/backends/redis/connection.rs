//! One connection to a server.

use std::io::{self, Write};
use std::time::{Duration, Instant};

use redis::Value;

use super::call_error::{CallError, refused, unreachable};
use super::command::Commands;
use super::login::{Address, Login, Resp};
use super::reply::{Replies, Unread};
use super::servers::Call;
use crate::remote::{Deadline, Stream, too_large};
use crate::{Error, ErrorKind};

/// A connection that is set up.
pub(super) struct Connection {
    replies: Replies<Stream>,
    max_response: u64,
    /// How many replies are still to come.
    pending: usize,
    broken: bool,
    asking: bool,
    pub(super) used: Instant,
    /// Two connections of one epoch are to the same server, and it was never lost between.
    pub(super) epoch: u64,
}

impl Connection {
    /// Connects and logs in.
    ///
    /// # Errors
    ///
    /// [`CallError::NotSent`], whatever it was: of the caller's own commands none was sent.
    pub(super) fn open(
        address: &Address,
        login: &Login,
        deadline: Instant,
    ) -> Result<Self, CallError> {
        let stream = Stream::open(address, login.tls.as_ref(), u64::MAX, Deadline::at(deadline));
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
            // A server before Redis 6 knows a password alone.
            (Resp::Resp2, Some(password), None) => commands.add(&[b"AUTH", password.as_bytes()]),
            (Resp::Resp2, Some(password), _) => {
                commands.add(&[b"AUTH", user, password.as_bytes()]);
            }
        }
        if login.database != 0 {
            commands.add(&[b"SELECT", login.database.to_string().as_bytes()]);
        }
        if commands.count() == 0 {
            // A server that turns the connection away says so to the first command that it gets,
            // which is not to be the caller's.
            commands.add(&[b"PING"]);
        }
        self.ask(&commands)?.iter().try_for_each(check)
    }

    /// Begins a call that is to end by a deadline.
    pub(super) fn begin(&mut self, deadline: Instant) {
        self.asking = false;
        self.replies.stream_mut().begin(Deadline::at(deadline));
    }

    /// Sends commands and gives the replies to them. One that the server refused is an reply,
    /// too.
    pub(super) fn ask(&mut self, commands: &Commands) -> Result<Vec<Value>, CallError> {
        self.send(commands)?;
        self.replies(commands.count())
    }

    fn replies(&mut self, count: usize) -> Result<Vec<Value>, CallError> {
        (0..count).map(|_| self.reply()).collect()
    }

    /// Sends commands that are a unit each, and gives the replies to them.
    pub(super) fn query_each(&mut self, units: &[Commands]) -> Result<Vec<Value>, CallError> {
        self.send_each(units.len(), |at, commands| commands.append(&units[at]))?;
        let replies: Result<Vec<_>, _> = units.iter().map(|_| self.reply_of_each()).collect();
        replies?.into_iter().map(into_result).collect()
    }

    /// Sends so many units of one command each, as `add` adds them. Each has an
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

    /// The reply to the next of the units that [`send_each`](Connection::send_each) sent.
    pub(super) fn reply_of_each(&mut self) -> Result<Value, CallError> {
        for _ in 0..self.asking().count() {
            self.reply()?;
        }
        self.reply()
    }

    /// Prepares it for a call on a key whose slot is about to move to this server.
    pub(super) fn send_asking(&mut self) -> Result<(), CallError> {
        self.asking = true;
        self.query_unit(&self.asking()).map(drop)
    }

    /// What has to be sent before each command or transaction but the first: nothing, unless the
    /// slot of the key is about to move to this server.
    pub(super) fn asking(&self) -> Commands {
        match self.asking {
            true => Commands::one(&[b"ASKING"]),
            false => Commands::default(),
        }
    }

    /// Sends commands that are one unit, as a single one is or a transaction, and gives the last
    /// reply.
    pub(super) fn query_unit(&mut self, unit: &Commands) -> Result<Value, CallError> {
        self.send(unit)?;
        self.reply_to(unit)
    }

    /// The same for a unit that writes: waits for the replicas that are to have it, too.
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

    /// Reads the reply to what [`wait_command`] gave.
    pub(super) fn check_replicated(&mut self, call: Call) -> Result<(), CallError> {
        if call.replicas == 0 {
            return Ok(());
        }
        match into_result(self.reply()?)? {
            Value::Int(count) if count >= i64::from(call.replicas) => Ok(()),
            Value::Int(count) => Err(CallError::Final(Error::new(
                ErrorKind::Unavailable,
                format!(
                    "it was written, but {count} replicas had it by the deadline, and not {}",
                    call.replicas
                ),
            ))),
            _ => Err(unexpected()),
        }
    }

    /// The last reply to a unit of commands, where the server refused none of them.
    pub(super) fn reply_to(&mut self, unit: &Commands) -> Result<Value, CallError> {
        let (mut last, mut refusal) = (Value::Nil, None);
        for _ in 0..unit.count() {
            match into_result(self.reply()?) {
                Ok(value) => last = value,
                // Of a transaction that is given up the first says why.
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

    /// The next reply; what the server says unasked is skipped.
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

    /// Whether nothing has arrived since the last reply, such as the end of the stream.
    pub(super) fn is_quiet(&self) -> bool {
        self.replies.is_empty() && self.replies.stream().is_quiet()
    }

    /// Whether nothing comes from it any more.
    pub(super) fn is_broken(&self) -> bool {
        self.broken
    }

    /// Whether it cannot be used again: what comes from it next may be an reply to what a call
    /// sent that did not wait for it.
    pub(super) fn is_unusable(&self) -> bool {
        self.broken || self.pending > 0
    }

    /// Keeps it from being used again: the server of it is not the one that is wanted any more.
    pub(super) fn give_up(&mut self) {
        self.broken = true;
    }
}

/// The command that waits for the replicas that are to have what was written; none for 0.
pub(super) fn wait_command(call: Call) -> Commands {
    if call.replicas == 0 {
        return Commands::default();
    }
    // The server gives up a little before the call does, so that it can say so.
    let left = call.deadline.saturating_duration_since(Instant::now()) * 9 / 10;
    let (replicas, millis) = (call.replicas.to_string(), left.as_millis().max(1).to_string());
    Commands::one(&[b"WAIT", replicas.as_bytes(), millis.as_bytes()])
}

/// Refusals as errors.
pub(super) fn into_result(value: Value) -> Result<Value, CallError> {
    check(&value).map(|()| value)
}

/// Whether it is no refusal, and no transaction in which there is one.
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

/// The failure of a command whose reply is not of the kind that the command has.
pub(super) fn unexpected() -> CallError {
    CallError::Final(Error::invalid_data(
        "the server gave an reply of another kind than the command has",
    ))
}

pub(super) fn left(deadline: Instant) -> io::Result<Duration> {
    Deadline::at(deadline).remaining()
}
