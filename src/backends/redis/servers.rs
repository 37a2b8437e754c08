//! The servers behind a cache: one, one that sentinels watch, or a cluster. Finds who has a key,
//! and asks again where the answer is that somebody else has it, or a connection was lost.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use redis::Value;

use super::cluster::Cluster;
use super::command::Commands;
use super::failed::{Elsewhere, Failed};
use super::link::{Link, left, waiting};
use super::place::Address;
use super::pool::{Limits, Pool};
use super::sentinel::Sentinels;
use crate::Result;

/// What is waited before servers that are busy with themselves are asked again.
const PAUSE: Duration = Duration::from_millis(25);

/// A deadline, and whether what is done may be done twice.
#[derive(Debug, Clone, Copy)]
pub(super) struct Call {
    pub(super) deadline: Instant,
    /// Whether it does the same when it is done twice, so that it is repeated where nobody knows
    /// whether it was done.
    pub(super) twice: bool,
    /// How many replicas are to have what is written before the call ends; 0 for a call that
    /// reads.
    pub(super) replicas: u32,
}

/// Where the keys are.
#[derive(Debug)]
pub(super) enum Servers {
    One(Arc<Pool>),
    Watched(Sentinels),
    Cluster(Cluster),
}

impl Servers {
    pub(super) fn one(address: Address, limits: Limits) -> Self {
        Self::One(Arc::new(Pool::new(address, limits)))
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
    fn pool(&self, slot: u16, deadline: Instant) -> Result<Arc<Pool>, Failed> {
        match self {
            Self::One(pool) => Ok(pool.clone()),
            Self::Watched(sentinels) => sentinels.pool(deadline),
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
    fn wait<T>(&self, deadline: Instant, mut what: impl FnMut() -> Result<T, Failed>) -> Result<T> {
        let mut attempts = Attempts::new(Call { deadline, twice: true, replicas: 0 });
        loop {
            match what() {
                Ok(done) => return Ok(done),
                Err(failed) => self.retry(failed, None, &mut attempts),
            }
            .map_err(Failed::into_error)?;
        }
    }

    /// Finds out anew who has what, once the server of these connections does not have it any
    /// more, or does not answer.
    fn doubt(&self, pool: &Arc<Pool>) {
        match self {
            Self::One(_) => {}
            Self::Watched(sentinels) => sentinels.doubt(pool),
            Self::Cluster(cluster) => cluster.doubt(pool),
        }
    }

    /// Runs a call on a connection to who has a slot; again where nothing was done, and once more
    /// where that is unknown and it may be done twice.
    pub(super) fn run<T>(
        &self,
        slot: u16,
        call: Call,
        work: impl FnMut(&mut Link) -> Result<T, Failed>,
    ) -> Result<T> {
        self.try_run(slot, call, work).map_err(Failed::into_error)
    }

    fn try_run<T>(
        &self,
        slot: u16,
        call: Call,
        mut work: impl FnMut(&mut Link) -> Result<T, Failed>,
    ) -> Result<T, Failed> {
        let mut attempts = Attempts::new(call);
        let mut asked: Option<Address> = None;
        loop {
            let found = match &asked {
                Some(address) => self.at(address),
                None => self.pool(slot, call.deadline),
            };
            let result = found.map_err(|failed| (failed, None)).and_then(|pool| {
                let run = pool.run(call, |link| {
                    if asked.is_some() {
                        link.ask_first()?;
                    }
                    work(link)
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
    fn at(&self, address: &Address) -> Result<Arc<Pool>, Failed> {
        match self {
            Self::Cluster(cluster) => Ok(cluster.at(address)),
            _ => Err(Failed::Elsewhere(Elsewhere::Later)),
        }
    }

    /// Says whether a call is made again, at the address where there is one; where not, gives its
    /// failure.
    fn retry(
        &self,
        failed: Failed,
        pool: Option<&Arc<Pool>>,
        attempts: &mut Attempts,
    ) -> Result<Option<Address>, Failed> {
        let again = attempts.again(&failed, self);
        self.learn(&failed, pool);
        match (again, failed) {
            (Again::No, failed) => Err(attempts.outcome(failed)),
            (_, Failed::Elsewhere(Elsewhere::Ask(address))) => Ok(Some(address)),
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
    fn learn(&self, failed: &Failed, pool: Option<&Arc<Pool>>) {
        match (failed, pool) {
            (Failed::Own(_) | Failed::Elsewhere(Elsewhere::Ask(_) | Elsewhere::Full), _) => {}
            (Failed::Elsewhere(Elsewhere::Moved(address)), _) => {
                if let Self::Cluster(cluster) = self {
                    cluster.moved(address);
                }
            }
            (Failed::Lost(_) | Failed::NotSent(_), Some(pool)) => {
                pool.give_up();
                self.doubt(pool);
            }
            (_, Some(pool)) => self.doubt(pool),
            (_, None) => {}
        }
    }

    /// Sends units of commands of one key each, with its slot, to who has them, and gives the last
    /// answer to each, in order.
    pub(super) fn spread(&self, call: Call, units: &[(u16, Commands)]) -> Result<Vec<Value>> {
        let mut answers: Vec<Option<Value>> = vec![None; units.len()];
        let mut attempts = Attempts::new(call);
        loop {
            let open = (0..units.len()).filter(|&at| answers[at].is_none()).collect::<Vec<_>>();
            if open.is_empty() {
                return Ok(answers.into_iter().flatten().collect());
            }
            let Err((failed, pool)) = self.round(call, units, &open, &mut answers) else {
                continue;
            };
            let asked = self.retry(failed, pool.as_ref(), &mut attempts);
            // Of those whose slot is about to move one goes alone.
            if asked.map_err(Failed::into_error)?.is_some() {
                let first = answers.iter().position(Option::is_none).unwrap_or_default();
                let (slot, unit) = &units[first];
                answers[first] = Some(self.run(*slot, call, |link| link.write(unit, call))?);
            }
        }
    }

    /// Sends the units that have no answer yet, each server its own, and takes the answers. The
    /// first failure is given, with whose it was, when all others have answered.
    fn round(
        &self,
        call: Call,
        units: &[(u16, Commands)],
        open: &[usize],
        answers: &mut [Option<Value>],
    ) -> Result<(), Trouble> {
        let shares = self.shares(call, units, open)?;
        // Nothing is sent to any before there is a connection to each.
        let links = shares.iter().map(|share| share.pool.take(call).map_err(share.blame()));
        let mut links = links.collect::<Result<Vec<_>, _>>()?;
        let mut trouble = None;
        for (share, link) in shares.iter().zip(&mut links) {
            if let Err(failed) = share.send(link.link(), units, call) {
                trouble.get_or_insert(share.blame()(failed));
            }
        }
        for (share, link) in shares.iter().zip(&mut links) {
            if link.link().is_lost() {
                continue;
            }
            if let Err(failed) = share.receive(link.link(), units, call, answers) {
                trouble.get_or_insert(share.blame()(failed));
            }
        }
        trouble.map_or(Ok(()), Err)
    }

    /// What each server has to do, in the order of their addresses, so that no two calls that take
    /// connections wait for one another.
    fn shares(
        &self,
        call: Call,
        units: &[(u16, Commands)],
        open: &[usize],
    ) -> Result<Vec<Share>, Trouble> {
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
type Trouble = (Failed, Option<Arc<Pool>>);

/// What one server has to do of a round.
struct Share {
    pool: Arc<Pool>,
    units: Vec<usize>,
}

impl Share {
    fn blame(&self) -> impl Fn(Failed) -> Trouble {
        |failed| (failed, Some(self.pool.clone()))
    }

    fn send(&self, link: &mut Link, units: &[(u16, Commands)], call: Call) -> Result<(), Failed> {
        let mut all = Commands::default();
        self.units.iter().for_each(|&at| all.append(&units[at].1));
        all.append(&waiting(call));
        link.send(&all)
    }

    /// Takes all answers, unless the connection is lost; gives the first failure.
    fn receive(
        &self,
        link: &mut Link,
        units: &[(u16, Commands)],
        call: Call,
        answers: &mut [Option<Value>],
    ) -> Result<(), Failed> {
        let mut failure = None;
        for &at in &self.units {
            match link.answer_to(&units[at].1) {
                Ok(answer) => answers[at] = Some(answer),
                Err(failed @ Failed::Lost(_)) => return Err(failed),
                Err(failed) => drop(failure.get_or_insert(failed)),
            }
        }
        let replicated = link.replicated(call);
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

    fn again(&mut self, failed: &Failed, servers: &Servers) -> Again {
        let alone = matches!(servers, Servers::One(_));
        match failed {
            Failed::Own(_) => Again::No,
            // Where there are others, one of them is about to take its place.
            Failed::NotSent(_) if alone => Again::No,
            Failed::NotSent(_) => Again::AfterAPause,
            Failed::Lost(kind) => match (self.call.twice, self.lost.replace(*kind)) {
                (true, None) => Again::Now,
                _ => Again::No,
            },
            Failed::Elsewhere(Elsewhere::Moved(_) | Elsewhere::Ask(_)) if alone => Again::No,
            Failed::Elsewhere(Elsewhere::Moved(_) | Elsewhere::Ask(_)) => {
                self.moves += 1;
                if self.moves <= 3 { Again::Now } else { Again::AfterAPause }
            }
            Failed::Elsewhere(Elsewhere::Demoted) if alone => Again::No,
            Failed::Elsewhere(elsewhere) => {
                self.put_off |= *elsewhere == Elsewhere::Later;
                Again::AfterAPause
            }
        }
    }

    /// The failure of a call whose last attempt failed so: where the connection was lost under the
    /// one before, that this one did nothing says nothing; and where the call was put off, that the
    /// deadline left no time to ask again.
    fn outcome(&self, failed: Failed) -> Failed {
        match (failed, self.lost) {
            (Failed::NotSent(_) | Failed::Elsewhere(_), Some(kind)) => Failed::Lost(kind),
            (Failed::NotSent(_), None) if self.put_off => Failed::Elsewhere(Elsewhere::Later),
            (failed, _) => failed,
        }
    }
}
