//! hilcat's async handles, called by the tasks of a runtime with one thread.

use std::hint::black_box;

use hilcat::{AsyncScope, Scope};
use tokio::runtime::Runtime;
use tokio::task::LocalSet;

use crate::harness::Outcome;
use crate::record::{Data, Item};
use crate::server::{CALLERS, picks};

pub struct Tasks {
    runtime: Runtime,
    scope: AsyncScope<Item>,
}

impl Tasks {
    pub fn of(scope: Scope<Item>) -> Outcome<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        Ok(Self { runtime, scope: scope.into_async() })
    }

    /// Fetches one record by one task.
    pub fn fetch(&self, id: &str) {
        black_box(self.runtime.block_on(self.scope.fetch(id)).unwrap());
    }

    /// Executes one step of the callers: each is a task and fetches records one by one.
    pub fn fetch_at_once(&self, data: &Data, step: usize) {
        let caller = |caller: usize| {
            let scope = self.scope.clone();
            let ids: Vec<String> = picks(step, caller).map(|at| data.pick(at).id.clone()).collect();
            async move {
                for id in ids {
                    black_box(scope.fetch(&id).await.unwrap());
                }
            }
        };
        let tasks = LocalSet::new();
        (0..CALLERS).for_each(|at| drop(tasks.spawn_local(caller(at))));
        self.runtime.block_on(tasks);
    }

    /// The same for sets.
    pub fn set_at_once(&self, data: &Data, step: usize) {
        let caller = |caller: usize| {
            let scope = self.scope.clone();
            let items: Vec<Item> = picks(step, caller).map(|at| data.pick(at).clone()).collect();
            async move {
                for item in items {
                    scope.set(&item).await.unwrap();
                }
            }
        };
        let tasks = LocalSet::new();
        (0..CALLERS).for_each(|at| drop(tasks.spawn_local(caller(at))));
        self.runtime.block_on(tasks);
    }
}
