//! A cluster: who of its masters has which slots.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use parking_lot::{Mutex, RwLock};
use redis::Value;

use super::command::Commands;
use super::failed::{Elsewhere, Failed};
use super::link::{Link, left, unexpected};
use super::place::Address;
use super::pool::{Limits, Pool};
use super::slot::SLOTS;
use crate::{Error, ErrorKind};

/// How long one node may take to say who has which slots.
const PATIENCE: Duration = Duration::from_millis(500);

/// The nodes of a cluster.
#[derive(Debug)]
pub(super) struct Cluster {
    /// Those that were named.
    seeds: Vec<Address>,
    limits: Limits,
    map: RwLock<Arc<Map>>,
    pools: Mutex<HashMap<Address, Arc<Pool>>>,
    /// Whether the map may be wrong.
    doubted: AtomicBool,
    /// Held by who asks for the map.
    asking: Mutex<()>,
    /// Those that did not answer lately, which are asked last.
    silent: Mutex<Vec<Address>>,
}

/// Who has which slots.
#[derive(Debug, Default)]
struct Map {
    /// The first and last slot of each range, in order.
    ranges: Vec<(u16, u16, Arc<Pool>)>,
    /// All nodes, those that stand by included.
    nodes: Vec<Address>,
}

impl Map {
    fn find(&self, slot: u16) -> Option<&Arc<Pool>> {
        let at = self.ranges.partition_point(|(_, last, _)| *last < slot);
        self.ranges.get(at).filter(|(first, ..)| *first <= slot).map(|(_, _, pool)| pool)
    }
}

impl Cluster {
    pub(super) fn new(seeds: Vec<Address>, limits: Limits) -> Self {
        Self {
            seeds,
            limits,
            map: RwLock::default(),
            pools: Mutex::default(),
            doubted: AtomicBool::new(true),
            asking: Mutex::new(()),
            silent: Mutex::default(),
        }
    }

    /// The connections to who has a slot.
    pub(super) fn pool(&self, slot: u16, deadline: Instant) -> Result<Arc<Pool>, Failed> {
        let map = self.map(deadline)?;
        map.find(slot).cloned().ok_or_else(|| self.later())
    }

    /// A slot of each master.
    pub(super) fn masters(&self, deadline: Instant) -> Result<Vec<u16>, Failed> {
        let map = self.map(deadline)?;
        let mut seen = HashSet::new();
        let ranges = map.ranges.iter();
        let slots = ranges.filter(|(_, _, pool)| seen.insert(&pool.address)).map(|range| range.0);
        let slots = slots.collect();
        let covered: u32 = map.ranges.iter().map(|(a, b, _)| u32::from(b - a) + 1).sum();
        match covered == u32::from(SLOTS) {
            true => Ok(slots),
            false => Err(self.later()),
        }
    }

    /// Nobody has some slot, until a replica takes its master's place.
    fn later(&self) -> Failed {
        self.doubted.store(true, Ordering::Release);
        Failed::Elsewhere(Elsewhere::Later)
    }

    /// The connections to a node.
    pub(super) fn at(&self, address: &Address) -> Arc<Pool> {
        let mut pools = self.pools.lock();
        let new = || Arc::new(Pool::new(address.clone(), self.limits.clone()));
        pools.entry(address.clone()).or_insert_with(new).clone()
    }

    /// A node does not answer, or is no master any more.
    pub(super) fn doubt(&self, pool: &Arc<Pool>) {
        let mut silent = self.silent.lock();
        if !silent.contains(&pool.address) {
            silent.push(pool.address.clone());
        }
        self.doubted.store(true, Ordering::Release);
    }

    /// A node says that a slot is at another.
    pub(super) fn moved(&self, to: &Address) {
        self.silent.lock().retain(|silent| silent != to);
        self.doubted.store(true, Ordering::Release);
    }

    fn map(&self, deadline: Instant) -> Result<Arc<Map>, Failed> {
        if self.doubted.load(Ordering::Acquire) {
            // One asks, and the others wait for it.
            let Some(_alone) = self.asking.try_lock_until(deadline) else {
                return Err(silence());
            };
            if self.doubted.swap(false, Ordering::AcqRel) {
                let asked = self.ask(deadline);
                let map = asked.inspect_err(|_| self.doubted.store(true, Ordering::Release))?;
                *self.map.write() = Arc::new(map);
            }
        }
        Ok(self.map.read().clone())
    }

    /// Asks the nodes, one after the other, until one knows.
    fn ask(&self, deadline: Instant) -> Result<Map, Failed> {
        let mut failure = silence();
        for address in self.candidates() {
            let Ok(left) = left(deadline) else { break };
            let by = Instant::now() + PATIENCE.min(left);
            let asked = Link::open(&address, &self.limits.login, by)
                .and_then(|mut link| link.ask_one(&Commands::one(&[b"CLUSTER", b"SLOTS"])))
                .and_then(|answer| self.read(&answer, &address));
            match asked {
                Ok(map) => {
                    self.silent.lock().retain(|silent| *silent != address);
                    return Ok(map);
                }
                // It is not one of a cluster, or refuses the login: so do the others.
                Err(Failed::Own(error)) => return Err(Failed::Own(not_a_cluster(error))),
                Err(failed) => failure = failed,
            }
        }
        Err(match failure {
            Failed::Lost(_) => silence(),
            failure => failure,
        })
    }

    /// The nodes that are known, those that did not answer lately last.
    fn candidates(&self) -> Vec<Address> {
        let mut candidates = self.map.read().nodes.clone();
        candidates.extend(self.seeds.iter().cloned());
        let mut seen = HashSet::new();
        candidates.retain(|address| seen.insert(address.clone()));
        let silent = self.silent.lock();
        candidates.sort_by_key(|address| silent.contains(address));
        candidates
    }

    /// Reads the answer of `CLUSTER SLOTS`: ranges of slots, each with its nodes, the master first.
    fn read(&self, answer: &Value, asked: &Address) -> Result<Map, Failed> {
        let Value::Array(ranges) = answer else { return Err(unexpected()) };
        let mut map = Map::default();
        for range in ranges {
            let Value::Array(parts) = range else { return Err(unexpected()) };
            let [Value::Int(first), Value::Int(last), nodes @ ..] = &parts[..] else {
                return Err(unexpected());
            };
            let nodes: Vec<Address> =
                nodes.iter().filter_map(|node| read_node(node, asked)).collect();
            if let (Ok(first), Ok(last), [master, ..]) =
                (u16::try_from(*first), u16::try_from(*last), &nodes[..])
            {
                map.ranges.push((first, last, self.at(master)));
            }
            map.nodes.extend(nodes);
        }
        map.ranges.sort_by_key(|(first, ..)| *first);
        Ok(map)
    }
}

/// The address of a node; one that does not know its own host's name has that by which it was
/// asked.
fn read_node(node: &Value, asked: &Address) -> Option<Address> {
    let Value::Array(parts) = node else { return None };
    let [host, Value::Int(port), ..] = &parts[..] else { return None };
    let host = match host {
        Value::BulkString(host) => std::str::from_utf8(host).ok()?,
        Value::SimpleString(host) => host,
        _ => "",
    };
    let host = if host.is_empty() { asked.host() } else { host };
    (host != "?").then_some(Address::tcp(host, u16::try_from(*port).ok()?))
}

fn silence() -> Failed {
    Failed::NotSent(Error::new(ErrorKind::Unavailable, "no node of the cluster answered"))
}

fn not_a_cluster(error: Error) -> Error {
    match error.kind() {
        ErrorKind::Backend | ErrorKind::Unsupported => Error::invalid_config(
            "the server is not one of a cluster; write its URI as redis:// and not as redis+cluster://",
        ),
        _ => error,
    }
}
