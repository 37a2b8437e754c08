//! Clusters: which master serves which slots.

use crate::remote::Deadline;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::{Mutex, RwLock};
use redis::Value;

use super::call_error::{CallError, Redirect};
use super::command::Commands;
use super::connection::{Connection, unexpected};
use super::login::Address;
use super::pool::{Pool, PoolOptions};
use super::slot::SLOTS;
use crate::{Error, ErrorKind};

/// How long a node may take to return the slot map.
const NODE_TIMEOUT: Duration = Duration::from_millis(500);

/// The nodes of a cluster.
#[derive(Debug)]
pub(super) struct Cluster {
    /// The nodes that the user named.
    seeds: Vec<Address>,
    options: PoolOptions,
    map: RwLock<Arc<Map>>,
    pools: Mutex<HashMap<Address, Arc<Pool>>>,
    /// Whether the map may be outdated.
    stale: AtomicBool,
    /// Held while the map is being fetched.
    asking: Mutex<()>,
    /// The nodes that recently failed to respond. They are tried last.
    unresponsive: Mutex<Vec<Address>>,
}

/// A slot map: which node serves which slots.
#[derive(Debug, Default)]
struct Map {
    /// The first and last slot of each range, in order.
    ranges: Vec<(u16, u16, Arc<Pool>)>,
    /// All nodes, including replicas.
    nodes: Vec<Address>,
}

impl Map {
    fn find(&self, slot: u16) -> Option<&Arc<Pool>> {
        let at = self.ranges.partition_point(|(_, last, _)| *last < slot);
        self.ranges.get(at).filter(|(first, ..)| *first <= slot).map(|(_, _, pool)| pool)
    }
}

impl Cluster {
    pub(super) fn new(seeds: Vec<Address>, options: PoolOptions) -> Self {
        Self {
            seeds,
            options,
            map: RwLock::default(),
            pools: Mutex::default(),
            stale: AtomicBool::new(true),
            asking: Mutex::new(()),
            unresponsive: Mutex::default(),
        }
    }

    /// The connections to the master of a slot.
    pub(super) fn pool(&self, slot: u16, deadline: Deadline) -> Result<Arc<Pool>, CallError> {
        let map = self.map(deadline)?;
        map.find(slot).cloned().ok_or_else(|| self.uncovered())
    }

    /// Returns one slot of each master.
    pub(super) fn masters(&self, deadline: Deadline) -> Result<Vec<u16>, CallError> {
        let map = self.map(deadline)?;
        let mut seen = HashSet::new();
        let ranges = map.ranges.iter();
        let slots = ranges.filter(|(_, _, pool)| seen.insert(&pool.address)).map(|range| range.0);
        let slots = slots.collect();
        let covered: u32 = map.ranges.iter().map(|(a, b, _)| u32::from(b - a) + 1).sum();
        match covered == u32::from(SLOTS) {
            true => Ok(slots),
            false => Err(self.uncovered()),
        }
    }

    /// The error of a slot without a master, as during a failover.
    fn uncovered(&self) -> CallError {
        self.stale.store(true, Ordering::Release);
        CallError::Redirect(Redirect::TryAgain)
    }

    /// The connections to a node.
    pub(super) fn at(&self, address: &Address) -> Arc<Pool> {
        let mut pools = self.pools.lock();
        let new = || Arc::new(Pool::new(address.clone(), self.options.clone()));
        pools.entry(address.clone()).or_insert_with(new).clone()
    }

    /// Records that a node does not respond, or is no longer a master.
    pub(super) fn mark_stale(&self, pool: &Arc<Pool>) {
        let mut unresponsive = self.unresponsive.lock();
        if !unresponsive.contains(&pool.address) {
            unresponsive.push(pool.address.clone());
        }
        self.stale.store(true, Ordering::Release);
    }

    /// Records that a slot has moved to another node.
    pub(super) fn moved(&self, to: &Address) {
        self.unresponsive.lock().retain(|unresponsive| unresponsive != to);
        self.stale.store(true, Ordering::Release);
    }

    fn map(&self, deadline: Deadline) -> Result<Arc<Map>, CallError> {
        if self.stale.load(Ordering::Acquire) {
            // One caller fetches the map; the others wait for it.
            let Some(_guard) = self.asking.try_lock_until(deadline.instant()) else {
                return Err(no_answer());
            };
            if self.stale.swap(false, Ordering::AcqRel) {
                let fetched = self.fetch_map(deadline);
                let map = fetched.inspect_err(|_| self.stale.store(true, Ordering::Release))?;
                *self.map.write() = Arc::new(map);
            }
        }
        Ok(self.map.read().clone())
    }

    /// Fetches the map from the first node that returns it.
    fn fetch_map(&self, deadline: Deadline) -> Result<Map, CallError> {
        let mut failure = no_answer();
        for address in self.candidates() {
            if deadline.has_passed() {
                break;
            }
            let by = deadline.min(Deadline::after(NODE_TIMEOUT));
            let fetched = Connection::open(&address, &self.options.login, by)
                .and_then(|mut connection| {
                    connection.query_unit(&Commands::one(&[b"CLUSTER", b"SLOTS"]))
                })
                .and_then(|reply| self.read(&reply, &address));
            match fetched {
                Ok(map) => {
                    self.unresponsive.lock().retain(|unresponsive| *unresponsive != address);
                    return Ok(map);
                }
                // The node is not part of a cluster, or refuses the login; other nodes would do the
                // same.
                Err(CallError::Final(error)) => return Err(CallError::Final(not_a_cluster(error))),
                Err(failed) => failure = failed,
            }
        }
        Err(match failure {
            CallError::Lost(_) => no_answer(),
            failure => failure,
        })
    }

    /// The known nodes, the unresponsive ones last.
    fn candidates(&self) -> Vec<Address> {
        let mut candidates = self.map.read().nodes.clone();
        candidates.extend(self.seeds.iter().cloned());
        let mut seen = HashSet::new();
        candidates.retain(|address| seen.insert(address.clone()));
        let unresponsive = self.unresponsive.lock();
        candidates.sort_by_key(|address| unresponsive.contains(address));
        candidates
    }

    /// Reads the reply to `CLUSTER SLOTS`: ranges of slots, each with its nodes, the master first.
    fn read(&self, reply: &Value, asked: &Address) -> Result<Map, CallError> {
        let Value::Array(ranges) = reply else { return Err(unexpected()) };
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

/// Reads the address of a node. A node without a known host name has the host that the request was
/// sent to.
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

fn no_answer() -> CallError {
    CallError::NotSent(Error::new(
        ErrorKind::Unavailable,
        "no node of the cluster responded; nothing was changed",
    ))
}

fn not_a_cluster(error: Error) -> Error {
    match error.kind() {
        ErrorKind::Backend | ErrorKind::Unsupported => Error::invalid_config(
            "the server is not part of a cluster; write the URI as redis:// instead of redis+cluster://",
        ),
        _ => error,
    }
}
