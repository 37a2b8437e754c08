//! `get_many`: computes the missing records together.

#[cfg(feature = "async")]
mod future;

use std::collections::{HashMap, HashSet};
use std::thread;

use super::Core;
use super::expiry::{Found, Stale};
use super::get::{POLL, Task};
use crate::compute::{ComputeGuard, Role};
use crate::remote::CallClock;
use crate::store::LeasedFill;
use crate::{Error, Key, Result, Row};

/// Rows by their keys.
type ByKey = HashMap<Key, Row>;

/// The state of the keys of one call.
#[derive(Default)]
struct Known {
    /// The rows that the call returns.
    rows: ByKey,
    /// The expired records within a stale window.
    stale: HashMap<Key, Stale>,
    /// The store cannot be reached: nothing is stored.
    down: bool,
    /// The call is to wait before it tries again: other processes compute what is missing.
    wait: bool,
    /// The time that the call spends in the store.
    clock: CallClock,
}

impl Known {
    /// Returns each key once whose row is not known.
    fn missing(&self, keys: &[Key]) -> Vec<Key> {
        let mut seen = HashSet::new();
        let missing = keys.iter().filter(|key| !self.rows.contains_key(*key) && seen.insert(*key));
        missing.cloned().collect()
    }

    fn in_order(&self, keys: &[Key]) -> Vec<Row> {
        keys.iter().filter_map(|key| self.rows.get(key).cloned()).collect()
    }
}

impl Core {
    /// Returns the rows of `keys` in their order. The missing ones are computed together and
    /// stored.
    ///
    /// `compute` is called once, and again only if a concurrent computation of some of the keys
    /// failed.
    pub(crate) fn get_many<I>(
        &self,
        keys: impl Iterator<Item = Result<Key>>,
        mut compute: impl FnMut(Vec<Key>) -> Result<I>,
    ) -> Result<Vec<Row>>
    where
        I: Iterator<Item = Result<Row>>,
    {
        let keys = self.validate_keys("get_many", keys)?;
        let mut known = Known::default();
        self.lookup_many(&keys, &mut known)?;
        loop {
            let missing = known.missing(&keys);
            if missing.is_empty() {
                return Ok(known.in_order(&keys));
            }
            self.find_missing(&missing, &mut known, &mut compute)?;
        }
    }

    fn lookup_many(&self, keys: &[Key], known: &mut Known) -> Result<()> {
        let rows = known.clock.step(|| self.store.fetch_many(keys));
        let rows = match rows {
            Err(error) if self.computes_despite(&error) => {
                known.down = true;
                return Ok(());
            }
            rows => rows.map_err(|error| self.with_context("get_many", None, error))?,
        };
        for (key, row) in keys.iter().zip(rows) {
            known.stale.remove(key);
            match self.found(row) {
                Found::Fresh(row) => drop(known.rows.insert(key.clone(), row)),
                Found::Stale(old) => drop(known.stale.insert(key.clone(), old)),
                Found::Missing => {}
            }
        }
        Ok(())
    }

    /// Adds the stale record of a key that is computed elsewhere, if it may be served. Returns
    /// whether it was added.
    fn serve_stale(&self, key: &Key, known: &mut Known) -> bool {
        let old = known.stale.get(key).cloned();
        let row = self.served_while_computed(&old);
        row.map(|row| known.rows.insert(key.clone(), row)).is_some()
    }

    /// Computes the missing keys that it can claim. If there are none, waits for one of them.
    ///
    /// No guard is held while waiting, so two calls with overlapping keys cannot deadlock.
    fn find_missing<I>(
        &self,
        missing: &[Key],
        known: &mut Known,
        compute: impl FnMut(Vec<Key>) -> Result<I>,
    ) -> Result<()>
    where
        I: Iterator<Item = Result<Row>>,
    {
        let mut guards = Vec::new();
        let mut served = false;
        for key in missing {
            match self.flights.try_claim(key) {
                Some(guard) => guards.push(guard),
                None => served |= self.serve_stale(key, known),
            }
        }
        if !guards.is_empty() {
            return self.compute_claimed(guards, known, compute);
        }
        match served {
            true => Ok(()),
            false => self.wait_for(&missing[0], known),
        }
    }

    fn wait_for(&self, key: &Key, known: &mut Known) -> Result<()> {
        let role = self.flights.claim(key, &self.schema);
        if let Role::Take(Some(row)) =
            role.map_err(|error| self.with_context("get_many", Some(key), error))?
        {
            known.rows.insert(key.clone(), row);
        }
        Ok(())
    }

    fn compute_claimed<I>(
        &self,
        guards: Vec<ComputeGuard>,
        known: &mut Known,
        mut compute: impl FnMut(Vec<Key>) -> Result<I>,
    ) -> Result<()>
    where
        I: Iterator<Item = Result<Row>>,
    {
        let tasks = self.tasks(guards, known, false)?;
        if tasks.is_empty() {
            if known.wait {
                thread::sleep(POLL);
            }
            return Ok(());
        }
        let tasks = self.look_again(tasks, known)?;
        if tasks.is_empty() {
            return Ok(());
        }
        let computed = compute(keys_of(&tasks));
        let computed = computed.map_err(|error| self.with_context("get_many", None, error))?;
        self.finish_many(tasks, computed, known)
    }

    /// Returns the tasks of the keys that were not stored before they were claimed.
    fn look_again(&self, tasks: Vec<Task>, known: &mut Known) -> Result<Vec<Task>> {
        if !known.down {
            self.lookup_many(&keys_of(&tasks), known)?;
        }
        let missing = tasks.into_iter().filter(|task| !known.rows.contains_key(task.guard.key()));
        Ok(missing
            .map(|task| Task { old: known.stale.get(task.guard.key()).cloned(), ..task })
            .collect())
    }

    /// The tasks of claimed keys; where processes share computations, of those whose leases could
    /// be taken. If there are none, the call is to wait for the other processes.
    ///
    /// With `all`, it stops at the first lease that is held elsewhere.
    fn tasks(&self, guards: Vec<ComputeGuard>, known: &mut Known, all: bool) -> Result<Vec<Task>> {
        let at = self.expiry.as_ref().map_or(0, |expiry| expiry.now());
        let task = |guard, lease| Task { guard, old: None, at, down: false, lease };
        let Some(time) = self.schema.freshness.lease().filter(|_| !known.down) else {
            return Ok(guards.into_iter().map(|guard| task(guard, None)).collect());
        };
        let (mut tasks, mut served) = (Vec::new(), false);
        known.wait = false;
        for guard in guards {
            let lease = known.clock.step(|| self.leases.acquire(guard.key(), time));
            let lease =
                lease.map_err(|error| self.with_context("get_many", Some(guard.key()), error))?;
            match lease {
                Some(lease) => tasks.push(task(guard, Some(lease))),
                None if self.serve_stale(guard.key(), known) => served = true,
                None if all => {
                    known.wait = true;
                    break;
                }
                None => {}
            }
        }
        known.wait |= tasks.is_empty() && !served;
        if known.wait {
            // Waiting for another process is not part of the deadline.
            known.clock = CallClock::default();
        }
        Ok(tasks)
    }

    /// Stores what was computed.
    fn finish_many(
        &self,
        tasks: Vec<Task>,
        computed: impl Iterator<Item = Result<Row>>,
        known: &mut Known,
    ) -> Result<()> {
        let wrong = |key: &Key, message: &str| {
            Err(self.with_context("get_many", Some(key), Error::invalid_input(message)))
        };
        let keys = keys_of(&tasks);
        let rows =
            computed.map(|row| self.validate_row("get_many", row)).collect::<Result<Vec<_>>>()?;
        let rows: ByKey = rows.into_iter().map(|row| (self.schema.key_of(&row), row)).collect();
        let requested: HashSet<&Key> = keys.iter().collect();
        if let Some(key) = rows.keys().find(|key| !requested.contains(key)) {
            return wrong(
                key,
                "the closure of `get_many` returned a record for this key, which it was not called with",
            );
        }
        let missing = keys.iter().find(|key| !rows.contains_key(*key)).cloned();
        let stored = rows.len();
        let clock = std::mem::take(&mut known.clock);
        let filled = clock.step(|| self.fill_many(tasks, rows, known));
        known.clock = clock;
        filled?;
        if !known.down {
            self.after_writes(stored);
        }
        match missing {
            Some(key) => wrong(
                &key,
                "the closure of `get_many` returned no record for this key; the records that it returned are stored",
            ),
            None => Ok(()),
        }
    }

    /// Stores the computed rows whose keys were not written meanwhile, and adds the result of
    /// `get_many` to `known`.
    fn fill_many(&self, tasks: Vec<Task>, mut rows: ByKey, known: &mut Known) -> Result<()> {
        let computed = tasks.into_iter().filter_map(|task| {
            let row = rows.remove(task.guard.key())?;
            Some((task, row))
        });
        let (storing, void): (Vec<_>, Vec<_>) =
            computed.partition(|(task, _)| !known.down && task.guard.begin_storing());
        let (leased, free): (Vec<_>, Vec<_>) =
            storing.into_iter().partition(|(task, _)| task.lease.is_some());
        for (mut task, row) in leased {
            let key = task.guard.key().clone();
            let filled = self.store_computed(&key, &row, task.at, task.lease.take());
            let filled = match filled {
                Err(error) if self.computes_despite(&error) => LeasedFill::Lost,
                filled => {
                    filled.map_err(|error| self.with_context("get_many", Some(&key), error))?
                }
            };
            let stored = match filled {
                LeasedFill::Existing(stored) => Some(stored),
                _ => None,
            };
            self.land(task, row, stored, known);
        }
        let inserted = self.insert_computed(&free)?;
        let ends = free.into_iter().zip(inserted).chain(void.into_iter().map(|end| (end, None)));
        for ((task, row), stored) in ends {
            self.land(task, row, stored, known);
        }
        Ok(())
    }

    fn insert_computed(&self, computed: &[(Task, Row)]) -> Result<Vec<Option<Row>>> {
        let Some(at) = computed.iter().map(|(task, _)| task.at).min() else {
            return Ok(Vec::new());
        };
        let keys: Vec<Key> = computed.iter().map(|(task, _)| task.guard.key().clone()).collect();
        let rows = computed.iter().map(|(_, row)| self.stamp(row.clone(), None)).collect();
        let inserted = self.end_absence(&keys).and_then(|()| match self.expiry {
            Some(_) => self.store.replace_expired(rows, at),
            None => self.store.insert_many(rows),
        });
        match inserted {
            Err(error) if self.computes_despite(&error) => Ok(vec![None; computed.len()]),
            inserted => inserted.map_err(|error| self.with_context("get_many", None, error)),
        }
    }

    /// Lands a computation. `stored` is the row that the store already had for the key, if any.
    fn land(&self, task: Task, row: Row, stored: Option<Row>, known: &mut Known) {
        let key = task.guard.key().clone();
        let row = match self.live(stored) {
            Some(stored) => stored,
            None => {
                task.guard.land(&self.schema, Some(&row));
                row
            }
        };
        known.rows.insert(key, row);
    }
}

fn keys_of(tasks: &[Task]) -> Vec<Key> {
    tasks.iter().map(|task| task.guard.key().clone()).collect()
}
