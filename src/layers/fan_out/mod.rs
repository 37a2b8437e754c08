//! A layer that reads from one store and writes to several.

mod outcome;
mod scope;

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use parking_lot::Mutex;

use self::outcome::Outcomes;
use self::scope::{FanOutScope, Target};
use super::LayerStore;
use super::layer_store::open_all_alike;
use super::limits::Limits;
use super::plans::merged;
use super::stripes::Stripes;
use crate::store::{Adopted, Capabilities, ExpirySupport, ScopeStore, Store};
use crate::{Plan, Result, Schema};

/// What a fan-out does if a write to one of its stores fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum OnFailure {
    /// Skips the stores after the failed one. The default.
    #[default]
    Stop,
    /// Writes to the remaining stores. The error reports every store that failed.
    Continue,
}

/// The store of [`Cache::fan_out`](crate::Cache::fan_out).
#[derive(Debug)]
pub(crate) struct FanOut {
    /// The stores, starting with the primary one.
    members: Vec<LayerStore>,
    on_failure: OnFailure,
    /// The locks of each scope: a write holds those of its keys until all stores have it, so
    /// writes of a key reach all stores in the same order.
    orders: Mutex<HashMap<String, Arc<Stripes<()>>>>,
}

impl FanOut {
    pub(crate) fn new(
        primary: LayerStore,
        writers: Vec<LayerStore>,
        on_failure: OnFailure,
    ) -> Self {
        let members = [primary].into_iter().chain(writers).collect();
        Self { members, on_failure, orders: Mutex::default() }
    }

    fn primary(&self) -> &LayerStore {
        &self.members[0]
    }

    /// Calls every store. An error reports which stores completed the call.
    fn all(&self, call: impl Fn(&dyn Store) -> Result<()>) -> Result<()> {
        let names = self.members.iter().map(|member| member.store.name());
        let mut outcomes = Outcomes::new(names, self.on_failure);
        for member in &self.members {
            if outcomes.go_on() {
                outcomes.note(call(&*member.store));
            }
        }
        outcomes.finish(())
    }

    fn merged_plans(&self, plan: impl Fn(&dyn Store) -> Result<Plan>) -> Result<Plan> {
        let first = self.primary().call(&plan)?;
        let mut others = self.members[1..].iter();
        others
            .try_fold(first, |merged_so_far, member| Ok(merged(merged_so_far, member.call(&plan)?)))
    }
}

#[deny(clippy::missing_trait_methods)]
impl Store for FanOut {
    fn name(&self) -> &'static str {
        "fan-out"
    }

    /// Returns the capabilities of the primary store, limited to the values that all stores can hold.
    fn capabilities(&self) -> Capabilities {
        let all = |able: fn(Capabilities) -> bool| {
            self.members.iter().all(|member| able(member.store.capabilities()))
        };
        let expiry = self.members.iter().map(|member| member.store.capabilities().expiry).min();
        Capabilities {
            nan: all(|able| able.nan),
            nul_in_text: all(|able| able.nul_in_text),
            non_blocking: all(|able| able.non_blocking),
            tables: self.members.iter().any(|member| member.store.capabilities().tables),
            expiry: expiry.unwrap_or_default(),
            max_records: all(|able| able.max_records),
            shared_single_flight: false,
            ..self.primary().store.capabilities()
        }
    }

    fn open(&self, schema: &Arc<Schema>) -> Result<Arc<dyn ScopeStore>> {
        for member in &self.members[1..] {
            member.check_no_freshness("writers")?;
        }
        let members: Vec<&LayerStore> = self.members.iter().collect();
        let (schema, scopes) = open_all_alike(&members, schema)?;
        let targets = members.iter().zip(scopes);
        let targets = targets.map(|(member, scope)| Target { name: member.store.name(), scope });
        let targets = targets.collect();
        let order = self.orders.lock().entry(schema.name.clone()).or_default().clone();
        // A zero may keep its sign in one store and lose it in another.
        let limits = Limits::of(Capabilities { negative_zero: true, ..self.capabilities() });
        Ok(Arc::new(FanOutScope { schema, targets, on_failure: self.on_failure, order, limits }))
    }

    fn open_read_only(&self, schema: &Arc<Schema>) -> Result<Option<Arc<dyn ScopeStore>>> {
        self.primary().open_read_only(schema)
    }

    fn plan(&self, schema: &Schema) -> Result<Plan> {
        self.merged_plans(|store| store.plan(schema))
    }

    fn migrate(&self, schema: &Schema) -> Result<Plan> {
        self.merged_plans(|store| store.migrate(schema))
    }

    fn scopes(&self) -> Result<Vec<String>> {
        self.primary().call(|store| store.scopes())
    }

    fn implicit_schema(&self, scope: &str) -> Option<Schema> {
        self.primary().store.implicit_schema(scope)
    }

    fn stored_schema(&self, scope: &str) -> Result<Option<Schema>> {
        self.primary().call(|store| store.stored_schema(scope))
    }

    fn expiry_of(&self, schema: &Schema) -> Result<ExpirySupport> {
        let each = self.members.iter();
        let each = each.map(|member| member.call(|store| store.expiry_of(schema)));
        Ok(each.collect::<Result<Vec<_>>>()?.into_iter().min().unwrap_or_default())
    }

    fn adopt(&self) -> Result<Adopted> {
        self.primary().call(|store| store.adopt())
    }

    /// Returns `None`: direct writes to one store's database would not reach the others.
    fn database(&self) -> Option<&dyn std::any::Any> {
        None
    }

    fn load(&self, scopes: Option<&[String]>) -> Result<()> {
        self.all(|store| store.load(scopes))
    }

    fn backup(&self, scopes: Option<&[String]>) -> Result<()> {
        self.all(|store| store.backup(scopes))
    }

    fn ping(&self) -> Result<()> {
        self.members[0].call(|primary| primary.ping())
    }

    fn unsaved(&self) -> Result<Vec<String>> {
        let mut unsaved = BTreeSet::new();
        for member in &self.members {
            unsaved.extend(member.call(|store| store.unsaved())?);
        }
        Ok(unsaved.into_iter().collect())
    }
}
