//! The rights to compute several keys together, by one future.

use std::sync::Arc;

use super::wait_graph::Computation;
use super::{ComputeGuard, Flights};
use crate::Key;

/// The rights to compute several keys together.
pub(crate) struct Claims {
    owner: Computation,
    guards: Vec<ComputeGuard>,
}

impl Claims {
    pub(crate) fn new() -> Self {
        Self { owner: Computation::current().child(), guards: Vec::new() }
    }

    pub(crate) fn take_guards(&mut self) -> Vec<ComputeGuard> {
        std::mem::take(&mut self.guards)
    }

    /// As [`ComputeGuard::compute`], for all keys.
    pub(crate) async fn compute<F: Future>(&self, make: impl FnOnce() -> F) -> F::Output {
        self.owner.compute(make).await
    }
}

impl Flights {
    /// Takes the right to compute one more key by the computation of `claims`. Returns `false` if
    /// another caller has it.
    pub(crate) fn try_claim_for(self: &Arc<Self>, key: &Key, claims: &mut Claims) -> bool {
        let claimed = self.try_claim_as(key, || claims.owner.clone());
        claimed.map(|guard| claims.guards.push(guard)).is_ok()
    }
}
