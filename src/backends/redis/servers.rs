//! The servers of a cache: a single one, a master found through sentinels, or a cluster.
//!
//! A call is sent to the server that owns the slot of its key. It follows redirections, and is
//! repeated by the rules of [`Attempts`] after a lost connection or a temporary refusal.

use std::collections::BTreeMap;
use std::sync::Arc;

use redis::Value;

use super::call_error::{CallError, Redirect};
use super::cluster::Cluster;
use super::command::Commands;
use super::connection::{Connection, wait_command};
use super::login::Address;
use super::pool::{Pool, PoolOptions};
use super::sentinel::Sentinels;
use crate::Result;
use crate::remote::{Attempts, Deadline, Outcome};

/// How many redirections a call follows before it pauses: more indicate that the cluster is moving
/// slots.
const MAX_MOVES: u32 = 3;

/// The properties of a call that determine when it ends and whether it is repeated.
#[derive(Debug, Clone, Copy)]
pub(super) struct Call {
    pub(super) deadline: Deadline,
    /// Whether executing the call twice has the same effect as once, so that it is repeated if its
    /// outcome is unknown.
    pub(super) idempotent: bool,
    /// How many replicas must have a write before the call ends; 0 for a call that reads.
    pub(super) replicas: u32,
}

/// The servers that hold the keys.
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

    /// Returns the slot of a key; 0 outside of clusters.
    pub(super) fn slot(&self, key: &[u8]) -> u16 {
        match self {
            Self::Cluster(_) => super::slot::of(key),
            _ => 0,
        }
    }

    pub(super) fn is_cluster(&self) -> bool {
        matches!(self, Self::Cluster(_))
    }

    /// The connections to the server that owns a slot.
    fn pool(&self, slot: u16, deadline: Deadline) -> Result<Arc<Pool>, CallError> {
        match self {
            Self::One(pool) => Ok(pool.clone()),
            Self::Sentinel(sentinels) => sentinels.pool(deadline),
            Self::Cluster(cluster) => cluster.pool(slot, deadline),
        }
    }

    /// Returns one slot of each server that owns any.
    pub(super) fn all_slots(&self, deadline: Deadline) -> Result<Vec<u16>> {
        match self {
            Self::Cluster(cluster) => self.retry_until(deadline, || cluster.masters(deadline)),
            _ => Ok(vec![0]),
        }
    }

    /// Repeats a closure while it fails temporarily, until the deadline.
    fn retry_until<T>(
        &self,
        deadline: Deadline,
        mut run: impl FnMut() -> Result<T, CallError>,
    ) -> Result<T> {
        let mut attempts = CallAttempts::new(Call { deadline, idempotent: true, replicas: 0 });
        loop {
            match run() {
                Ok(done) => return Ok(done),
                Err(failed) => self.retry(failed, None, &mut attempts)?,
            };
        }
    }

    /// Has the server of a slot looked up again before the next call, since the server of this pool
    /// does not respond or no longer owns it.
    fn mark_stale(&self, pool: &Arc<Pool>) {
        match self {
            Self::One(_) => {}
            Self::Sentinel(sentinels) => sentinels.mark_stale(pool),
            Self::Cluster(cluster) => cluster.mark_stale(pool),
        }
    }

    /// Runs a closure on a connection to the server that owns a slot, and repeats it as
    /// [`CallAttempts`] allows.
    pub(super) fn run<T>(
        &self,
        slot: u16,
        call: Call,
        mut work: impl FnMut(&mut Connection) -> Result<T, CallError>,
    ) -> Result<T> {
        let mut attempts = CallAttempts::new(call);
        let mut asking: Option<Address> = None;
        loop {
            let found = match &asking {
                Some(address) => self.pool_at(address),
                None => self.pool(slot, call.deadline),
            };
            let result = found.map_err(|failed| (failed, None)).and_then(|pool| {
                attempts.begin();
                let run = pool.run(call, |connection| {
                    if asking.is_some() {
                        connection.send_asking()?;
                    }
                    work(connection)
                });
                run.map_err(|failed| (failed, Some(pool)))
            });
            match result {
                Ok(done) => return Ok(done),
                Err((failed, pool)) => asking = self.retry(failed, pool.as_ref(), &mut attempts)?,
            }
        }
    }

    /// The connections to a server that an `ASK` redirection names.
    fn pool_at(&self, address: &Address) -> Result<Arc<Pool>, CallError> {
        match self {
            Self::Cluster(cluster) => Ok(cluster.at(address)),
            _ => Err(CallError::Redirect(Redirect::TryAgain)),
        }
    }

    /// Prepares the next attempt after a failure. Returns the address that an `ASK` redirection
    /// names.
    ///
    /// # Errors
    ///
    /// The final error, if the call is not made again.
    fn retry(
        &self,
        failed: CallError,
        pool: Option<&Arc<Pool>>,
        attempts: &mut CallAttempts,
    ) -> Result<Option<Address>, CallError> {
        self.note_failure(&failed, pool);
        match (attempts.retries_after(&failed, self), failed) {
            (false, failed) => Err(attempts.conclude(failed)),
            (true, CallError::Redirect(Redirect::Ask(address))) => Ok(Some(address)),
            (true, _) => Ok(None),
        }
    }

    /// Updates the knowledge of the servers after a failure.
    fn note_failure(&self, failed: &CallError, pool: Option<&Arc<Pool>>) {
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
                pool.discard_all();
                self.mark_stale(pool);
            }
            (_, Some(pool)) => self.mark_stale(pool),
            (_, None) => {}
        }
    }

    /// Sends units of one key each to the servers that own their slots. Returns the last reply to
    /// each unit, in the order of `units`.
    pub(super) fn run_each(&self, call: Call, units: &[(u16, Commands)]) -> Result<Vec<Value>> {
        let mut replies: Vec<Option<Value>> = vec![None; units.len()];
        let mut attempts = CallAttempts::new(call);
        loop {
            attempts.begin();
            let open = (0..units.len()).filter(|&at| replies[at].is_none()).collect::<Vec<_>>();
            if open.is_empty() {
                return Ok(replies.into_iter().flatten().collect());
            }
            let Err((failed, pool)) = self.run_round(call, units, &open, &mut replies) else {
                continue;
            };
            // After an `ASK` redirection, the first unit without a reply is sent by itself.
            if self.retry(failed, pool.as_ref(), &mut attempts)?.is_some() {
                let first = replies.iter().position(Option::is_none).unwrap_or_default();
                let (slot, unit) = &units[first];
                replies[first] =
                    Some(self.run(*slot, call, |connection| connection.write(unit, call))?);
            }
        }
    }

    /// Sends the units without a reply to their servers and reads the replies of all servers, even
    /// if one fails.
    ///
    /// # Errors
    ///
    /// The first failure, with the pool that it came from.
    fn run_round(
        &self,
        call: Call,
        units: &[(u16, Commands)],
        open: &[usize],
        replies: &mut [Option<Value>],
    ) -> Result<(), ServerFailure> {
        let shares = self.group_by_server(call, units, open)?;
        // Nothing is sent to any server before there is a connection to each.
        let connections =
            shares.iter().map(|share| share.pool.checkout(call).map_err(share.with_pool()));
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

    /// Groups units by server. The order by address prevents deadlocks: all calls check out
    /// connections to several servers in the same order.
    fn group_by_server(
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

/// A failure, and the pool that it came from, if any.
type ServerFailure = (CallError, Option<Arc<Pool>>);

/// The positions of the units that one server executes.
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

    /// Reads all replies, unless the connection is lost. Returns the first failure.
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

/// The attempts of one call.
struct CallAttempts {
    attempts: Attempts,
    /// The servers were moving data, loading it or electing a master.
    deferred: bool,
    /// The number of redirections that were followed without a pause.
    moves: u32,
}

impl CallAttempts {
    fn new(call: Call) -> Self {
        let attempts = Attempts::new(call.deadline, call.idempotent);
        Self { attempts, deferred: false, moves: 0 }
    }

    fn begin(&mut self) {
        self.attempts.begin();
    }

    /// Whether the call is made again after this failure. Sleeps first where the servers need time.
    fn retries_after(&mut self, failed: &CallError, servers: &Servers) -> bool {
        let single = matches!(servers, Servers::One(_));
        match failed {
            CallError::Final(_) => false,
            CallError::Lost(_) => self.attempts.again(Outcome::Unknown),
            // A single server has no replica that could become the master.
            CallError::NotSent(_)
            | CallError::Redirect(Redirect::Moved(_) | Redirect::Ask(_) | Redirect::ReadOnly)
                if single =>
            {
                false
            }
            CallError::NotSent(_) => self.attempts.again(Outcome::NotDone),
            CallError::Redirect(Redirect::Ask(_)) => true,
            CallError::Redirect(Redirect::Moved(_)) if self.moves < MAX_MOVES => {
                self.moves += 1;
                true
            }
            CallError::Redirect(redirect) => {
                self.deferred |= matches!(redirect, Redirect::TryAgain | Redirect::Moved(_));
                self.attempts.after_refusal()
            }
        }
    }

    /// The error of a call that is not made again. It never claims that nothing was changed if an
    /// earlier attempt has an unknown outcome.
    fn conclude(&self, failed: CallError) -> CallError {
        let failed = match failed {
            CallError::NotSent(_) | CallError::Redirect(Redirect::Moved(_)) if self.deferred => {
                CallError::Redirect(Redirect::TryAgain)
            }
            failed => failed,
        };
        match failed {
            CallError::NotSent(_) | CallError::Redirect(_) => {
                CallError::Final(self.attempts.conclude(Outcome::NotDone, failed.into_error()))
            }
            failed => failed,
        }
    }
}
