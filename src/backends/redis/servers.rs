//! The servers behind a cache: one, one that sentinels watch, or a cluster. Finds who has a key,
//! and asks again where the reply is that somebody else has it, or a connection was lost.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use redis::Value;

use super::call_error::{CallError, Redirect};
use super::cluster::Cluster;
use super::command::Commands;
use super::connection::{Connection, left, wait_command};
use super::login::Address;
use super::pool::{Pool, PoolOptions};
use super::sentinel::Sentinels;
use crate::Result;

/// What is waited before servers that are busy with themselves are asked again.
const PAUSE: Duration = Duration::from_millis(25);

/// A deadline, and whether what is done may be done idempotent.
#[derive(Debug, Clone, Copy)]
pub(super) struct Call {
    pub(super) deadline: Instant,
    /// Whether it does the same when it is done idempotent, so that it is repeated where nobody knows
    /// whether it was done.
    pub(super) idempotent: bool,
    /// How many replicas are to have what is written before the call ends; 0 for a call that
    /// reads.
    pub(super) replicas: u32,
}

/// Where the keys are.
#[derive(Debug)]
pub(super) enum Servers {
    One(Arc<Pool>),
    Sentinel(Sentinels),
    Cluster(Cluster),
}

impl Servers {
    pub(super) fn one(address: Address, options: PoolOptions) -> Self {
        Self::One(Arc::new(Pool::new(address, options)))
    }

    /// The slot of a key; 0 where there are none.
    pub(super) fn slot(&self, key: &[u8]) -> u16 {
        match self {
            Self::Cluster(_) => super::slot::of(key),
            _ => 0,
        }
    }

    pub(super) fn is_cluster(&self) -> bool {
        matches!(self, Self::Cluster(_))
    }

    /// The connections to who has a slot.
    fn pool(&self, slot: u16, deadline: Instant) -> Result<Arc<Pool>, CallError> {
        match self {
            Self::One(pool) => Ok(pool.clone()),
            Self::Sentinel(sentinels) => sentinels.pool(deadline),
            Self::Cluster(cluster) => cluster.pool(slot, deadline),
        }
    }

    /// A slot of each server that has any.
    pub(super) fn all(&self, deadline: Instant) -> Result<Vec<u16>> {
        match self {
            Self::Cluster(cluster) => self.wait(deadline, || cluster.masters(deadline)),
            _ => Ok(vec![0]),
        }
    }

    /// Tries something until the servers know who is who.
    fn wait<T>(
        &self,
        deadline: Instant,
        mut what: impl FnMut() -> Result<T, CallError>,
    ) -> Result<T> {
        let mut attempts = Attempts::new(Call { deadline, idempotent: true, replicas: 0 });
        loop {
            match what() {
                Ok(done) => return Ok(done),
                Err(failed) => self.retry(failed, None, &mut attempts),
            }
            .map_err(CallError::into_error)?;
        }
    }

    /// Finds out anew who has what, once the server of these connections does not have it any
    /// more, or does not reply.
    fn mark_stale(&self, pool: &Arc<Pool>) {
        match self {
            Self::One(_) => {}
            Self::Sentinel(sentinels) => sentinels.mark_stale(pool),
            Self::Cluster(cluster) => cluster.mark_stale(pool),
        }
    }

    /// Runs a call on a connection to who has a slot; again where nothing was done, and once more
    /// where that is unknown and it may be done idempotent.
    pub(super) fn run<T>(
        &self,
        slot: u16,
        call: Call,
        work: impl FnMut(&mut Connection) -> Result<T, CallError>,
    ) -> Result<T> {
        self.try_run(slot, call, work).map_err(CallError::into_error)
    }

    fn try_run<T>(
        &self,
        slot: u16,
        call: Call,
        mut work: impl FnMut(&mut Connection) -> Result<T, CallError>,
    ) -> Result<T, CallError> {
        let mut attempts = Attempts::new(call);
        let mut asked: Option<Address> = None;
        loop {
            let found = match &asked {
                Some(address) => self.at(address),
                None => self.pool(slot, call.deadline),
            };
            let result = found.map_err(|failed| (failed, None)).and_then(|pool| {
                let run = pool.run(call, |connection| {
                    if asked.is_some() {
                        connection.send_asking()?;
                    }
                    work(connection)
                });
                run.map_err(|failed| (failed, Some(pool)))
            });
            match result {
                Ok(done) => return Ok(done),
                Err((failed, pool)) => asked = self.retry(failed, pool.as_ref(), &mut attempts)?,
            }
        }
    }

    /// The connections to a server that may have a key already, before its slot is there.
    fn at(&self, address: &Address) -> Result<Arc<Pool>, CallError> {
        match self {
            Self::Cluster(cluster) => Ok(cluster.at(address)),
            _ => Err(CallError::Redirect(Redirect::TryAgain)),
        }
    }

    /// Says whether a call is made again, at the address where there is one; where not, gives its
    /// failure.
    fn retry(
        &self,
        failed: CallError,
        pool: Option<&Arc<Pool>>,
        attempts: &mut Attempts,
    ) -> Result<Option<Address>, CallError> {
        let again = attempts.again(&failed, self);
        self.learn(&failed, pool);
        match (again, failed) {
            (Again::No, failed) => Err(attempts.outcome(failed)),
            (_, CallError::Redirect(Redirect::Ask(address))) => Ok(Some(address)),
            (Again::Now, _) => Ok(None),
            (Again::AfterAPause, failed) => match left(attempts.call.deadline) {
                // No attempt starts that the deadline would interrupt: its outcome would be unknown.
                Ok(left) if left > PAUSE * 2 => {
                    thread::sleep(PAUSE);
                    Ok(None)
                }
                _ => Err(attempts.outcome(failed)),
            },
        }
    }

    /// Takes from a failure what it says about the servers.
    fn learn(&self, failed: &CallError, pool: Option<&Arc<Pool>>) {
        match (failed, pool) {
            (
                CallError::Final(_) | CallError::Redirect(Redirect::Ask(_) | Redirect::MaxClients),
                _,
            ) => {}
            (CallError::Redirect(Redirect::Moved(address)), _) => {
                if let Self::Cluster(cluster) = self {
                    cluster.moved(address);
                }
            }
            (CallError::Lost(_) | CallError::NotSent(_), Some(pool)) => {
                pool.give_up();
                self.mark_stale(pool);
            }
            (_, Some(pool)) => self.mark_stale(pool),
            (_, None) => {}
        }
    }

    /// Sends units of commands of one key each, with its slot, to who has them, and gives the last
    /// reply to each, in order.
    pub(super) fn spread(&self, call: Call, units: &[(u16, Commands)]) -> Result<Vec<Value>> {
        let mut replies: Vec<Option<Value>> = vec![None; units.len()];
        let mut attempts = Attempts::new(call);
        loop {
            let open = (0..units.len()).filter(|&at| replies[at].is_none()).collect::<Vec<_>>();
            if open.is_empty() {
                return Ok(replies.into_iter().flatten().collect());
            }
            let Err((failed, pool)) = self.round(call, units, &open, &mut replies) else {
                continue;
            };
            let asked = self.retry(failed, pool.as_ref(), &mut attempts);
            // Of those whose slot is about to move one goes alone.
            if asked.map_err(CallError::into_error)?.is_some() {
                let first = replies.iter().position(Option::is_none).unwrap_or_default();
                let (slot, unit) = &units[first];
                replies[first] =
                    Some(self.run(*slot, call, |connection| connection.write(unit, call))?);
            }
        }
    }

    /// Sends the units that have no reply yet, each server its own, and takes the replies. The
    /// first failure is given, with whose it was, when all others have answered.
    fn round(
        &self,
        call: Call,
        units: &[(u16, Commands)],
        open: &[usize],
        replies: &mut [Option<Value>],
    ) -> Result<(), ServerFailure> {
        let shares = self.shares(call, units, open)?;
        // Nothing is sent to any before there is a connection to each.
        let connections =
            shares.iter().map(|share| share.pool.take(call).map_err(share.with_pool()));
        let mut connections = connections.collect::<Result<Vec<_>, _>>()?;
        let mut failure = None;
        for (share, connection) in shares.iter().zip(&mut connections) {
            if let Err(failed) = share.send(connection.connection(), units, call) {
                failure.get_or_insert(share.with_pool()(failed));
            }
        }
        for (share, connection) in shares.iter().zip(&mut connections) {
            if connection.connection().is_broken() {
                continue;
            }
            if let Err(failed) = share.receive(connection.connection(), units, call, replies) {
                failure.get_or_insert(share.with_pool()(failed));
            }
        }
        failure.map_or(Ok(()), Err)
    }

    /// What each server has to do, in the order of their addresses, so that no two calls that take
    /// connections wait for one another.
    fn shares(
        &self,
        call: Call,
        units: &[(u16, Commands)],
        open: &[usize],
    ) -> Result<Vec<Share>, ServerFailure> {
        let mut shares = BTreeMap::<Address, Share>::new();
        for &at in open {
            let pool = self.pool(units[at].0, call.deadline).map_err(|failed| (failed, None))?;
            let new = || Share { pool: pool.clone(), units: Vec::new() };
            shares.entry(pool.address.clone()).or_insert_with(new).units.push(at);
        }
        Ok(shares.into_values().collect())
    }
}

/// A failure, and whose it was where that is known.
type ServerFailure = (CallError, Option<Arc<Pool>>);

/// What one server has to do of a round.
struct Share {
    pool: Arc<Pool>,
    units: Vec<usize>,
}

impl Share {
    fn with_pool(&self) -> impl Fn(CallError) -> ServerFailure {
        |failed| (failed, Some(self.pool.clone()))
    }

    fn send(
        &self,
        connection: &mut Connection,
        units: &[(u16, Commands)],
        call: Call,
    ) -> Result<(), CallError> {
        let mut all = Commands::default();
        self.units.iter().for_each(|&at| all.append(&units[at].1));
        all.append(&wait_command(call));
        connection.send(&all)
    }

    /// Takes all replies, unless the connection is lost; gives the first failure.
    fn receive(
        &self,
        connection: &mut Connection,
        units: &[(u16, Commands)],
        call: Call,
        replies: &mut [Option<Value>],
    ) -> Result<(), CallError> {
        let mut failure = None;
        for &at in &self.units {
            match connection.reply_to(&units[at].1) {
                Ok(reply) => replies[at] = Some(reply),
                Err(failed @ CallError::Lost(_)) => return Err(failed),
                Err(failed) => drop(failure.get_or_insert(failed)),
            }
        }
        let replicated = connection.check_replicated(call);
        failure.map_or(replicated, Err)
    }
}

/// What is done after a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Again {
    No,
    Now,
    AfterAPause,
}

/// How often a call was tried.
struct Attempts {
    call: Call,
    /// How the connection was lost under an attempt, of which nobody knows what it did.
    lost: Option<io::ErrorKind>,
    /// A server said that it does the call later.
    put_off: bool,
    moves: u32,
}

impl Attempts {
    fn new(call: Call) -> Self {
        Self { call, lost: None, put_off: false, moves: 0 }
    }

    fn again(&mut self, failed: &CallError, servers: &Servers) -> Again {
        let alone = matches!(servers, Servers::One(_));
        match failed {
            CallError::Final(_) => Again::No,
            // Where there are others, one of them is about to take its place.
            CallError::NotSent(_) if alone => Again::No,
            CallError::NotSent(_) => Again::AfterAPause,
            CallError::Lost(kind) => match (self.call.idempotent, self.lost.replace(*kind)) {
                (true, None) => Again::Now,
                _ => Again::No,
            },
            CallError::Redirect(Redirect::Moved(_) | Redirect::Ask(_)) if alone => Again::No,
            CallError::Redirect(Redirect::Moved(_) | Redirect::Ask(_)) => {
                self.moves += 1;
                if self.moves <= 3 { Again::Now } else { Again::AfterAPause }
            }
            CallError::Redirect(Redirect::ReadOnly) if alone => Again::No,
            CallError::Redirect(elsewhere) => {
                self.put_off |= *elsewhere == Redirect::TryAgain;
                Again::AfterAPause
            }
        }
    }

    /// The failure of a call whose last attempt failed so: where the connection was lost under the
    /// one before, that this one did nothing says nothing; and where the call was put off, that the
    /// deadline left no time to ask again.
    fn outcome(&self, failed: CallError) -> CallError {
        match (failed, self.lost) {
            (CallError::NotSent(_) | CallError::Redirect(_), Some(kind)) => CallError::Lost(kind),
            (CallError::NotSent(_), None) if self.put_off => {
                CallError::Redirect(Redirect::TryAgain)
            }
            (failed, _) => failed,
        }
    }
}
