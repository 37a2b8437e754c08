//! `get_many` for futures.
//!
//! The closure can be called only once, so it is called when all missing keys are claimed, and in
//! shared single flight when all their leases are taken. Until then the call waits for the other
//! computations, and holds no guard and no lease while it waits: two calls whose keys overlap cannot
//! wait for one another. Leases are taken in the order of the keys, so that of two processes that
//! need the same ones, one takes them all.

use std::sync::Arc;

use futures_timer::Delay;

use super::{Known, keys_of};
use crate::compute::{Claims, Role};
use crate::scope::Core;
use crate::scope::core::get::{POLL, Task};
use crate::{Key, Result, Row};

/// What follows an attempt to claim all missing keys.
enum Claimed {
    All(Claims),
    /// Another caller computes this key.
    Elsewhere(Key),
    /// A stale record was taken for a key.
    Served,
}

impl Core {
    /// As [`get_many`](Core::get_many).
    pub(crate) async fn get_many_async<I, F>(
        self: &Arc<Self>,
        keys: Result<Vec<Key>>,
        compute: impl FnOnce(Vec<Key>) -> F,
    ) -> Result<Vec<Row>>
    where
        I: IntoIterator<Item = Result<Row>>,
        F: Future<Output = Result<I>>,
    {
        let keys = self.validate_keys("get_many", keys?.into_iter().map(Ok))?;
        let mut known = self.lookup_many_async(keys.clone()).await?;
        let (claims, tasks) = loop {
            let mut missing = known.missing(&keys);
            if missing.is_empty() {
                return Ok(known.in_order(&keys));
            }
            missing.sort();
            match self.claim_all(&missing, &mut known) {
                Claimed::Served => {}
                Claimed::Elsewhere(key) => self.wait_for_async(&key, &mut known).await?,
                Claimed::All(claims) => {
                    let (claims, tasks, now_known) = self.tasks_async(claims, known).await?;
                    known = now_known;
                    if !tasks.is_empty() {
                        break (claims, tasks);
                    }
                }
            }
            if std::mem::take(&mut known.wait) {
                Delay::new(POLL).await;
            }
        };
        let computed = claims.compute(|| compute(keys_of(&tasks))).await;
        let computed = computed.map_err(|error| self.with_context("get_many", None, error))?;
        let computed: Vec<Result<Row>> = computed.into_iter().collect();
        let finish = move |core: &Self| {
            core.finish_many(tasks, computed.into_iter(), &mut known).map(|()| known)
        };
        Ok(self.finish_blocking(finish).await?.in_order(&keys))
    }

    async fn lookup_many_async(self: &Arc<Self>, keys: Vec<Key>) -> Result<Known> {
        let look = move |core: &Self| {
            let mut known = Known::default();
            core.lookup_many(&keys, &mut known).map(|()| known)
        };
        self.run_blocking(look).await
    }

    fn claim_all(&self, missing: &[Key], known: &mut Known) -> Claimed {
        let mut claims = Claims::new();
        for key in missing {
            if !self.flights.try_claim_for(key, &mut claims) {
                return match self.serve_stale(key, known) {
                    true => Claimed::Served,
                    false => Claimed::Elsewhere(key.clone()),
                };
            }
        }
        Claimed::All(claims)
    }

    async fn wait_for_async(&self, key: &Key, known: &mut Known) -> Result<()> {
        let role = self.flights.claim_async(key, &self.schema).await;
        if let Role::Take(Some(row)) =
            role.map_err(|error| self.with_context("get_many", Some(key), error))?
        {
            known.rows.insert(key.clone(), row);
        }
        Ok(())
    }

    /// Takes the leases of claimed keys, if there are any, and looks at the store once more. Returns
    /// no task if a lease could not be taken.
    async fn tasks_async(
        self: &Arc<Self>,
        mut claims: Claims,
        mut known: Known,
    ) -> Result<(Claims, Vec<Task>, Known)> {
        let prepare = move |core: &Self| {
            let guards = claims.take_guards();
            let claimed = guards.len();
            let mut tasks = core.tasks(guards, &mut known, true)?;
            if tasks.len() < claimed {
                return Ok((claims, Vec::new(), known));
            }
            tasks = core.look_again(tasks, &mut known)?;
            let leases = tasks.iter_mut().filter_map(|task| task.lease.as_mut());
            leases.for_each(|lease| lease.release_by(&core.executor));
            Ok((claims, tasks, known))
        };
        self.run_blocking(prepare).await
    }
}
