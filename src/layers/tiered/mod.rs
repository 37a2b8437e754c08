//! A layer with a near store in front of a far store.

mod near;
mod scope;

use std::sync::Arc;
use std::time::Duration;

use self::near::{NEAR_UNTIL, Near};
use self::scope::TieredScope;
use super::LayerStore;
use super::layer_store::open_alike;
use super::write_tracker::Outcome;
use crate::clock::SharedClock;
use crate::freshness::Ttl;
use crate::schema::Shape;
use crate::store::{Adopted, Capabilities, ExpirySupport, ScopeStore, Store};
use crate::{Change, Column, ColumnType, Migrate, Plan, Result, Schema};

/// The store of [`Cache::tiered`](crate::Cache::tiered).
#[derive(Debug)]
pub(crate) struct Tiered {
    near: LayerStore,
    far: LayerStore,
    clock: SharedClock,
}

impl Tiered {
    pub(crate) fn new(near: LayerStore, far: LayerStore, clock: SharedClock) -> Self {
        Self { near, far, clock }
    }

    /// Returns the schema of the near store. It has exactly the columns of the scope, so a record
    /// in it is complete, and a column for the near time to live if there is one.
    fn near_schema(&self, schema: &Schema) -> Schema {
        let mut near = schema.clone().migrate(Migrate::Recreate);
        near.exact = true;
        if self.near_ttl().is_some() {
            near.columns.push(Column::new(NEAR_UNTIL, ColumnType::Timestamp).nullable(true));
            near.shape = Shape::Record;
            near.freshness.expires_at = Some(NEAR_UNTIL.to_owned());
        }
        near
    }

    /// Returns the time to live of records in the near store, if it has one.
    fn near_ttl(&self) -> Option<Duration> {
        match self.near.defaults.ttl {
            Some(Ttl::After(ttl)) => Some(ttl),
            _ => None,
        }
    }

    /// Checks that the near cache has no freshness option other than a time to live.
    fn check_near(&self) -> Result<()> {
        let mut defaults = self.near.defaults.clone();
        defaults.ttl = None;
        LayerStore { defaults, ..self.near.clone() }.check_no_freshness("near")
    }

    /// Returns whether opening the scope will drop its records in the far store.
    fn is_to_be_recreated(&self, schema: &Schema) -> Result<bool> {
        if schema.migrate != Migrate::Recreate {
            return Ok(false);
        }
        let plan = self.far.call(|far| far.plan(schema))?;
        Ok(plan.steps.iter().any(|step| step.change == Change::Recreate))
    }
}

#[deny(clippy::missing_trait_methods)]
impl Store for Tiered {
    fn name(&self) -> &'static str {
        "tiered"
    }

    /// Returns the capabilities of the far store, except for values that the near store would
    /// return differently.
    fn capabilities(&self) -> Capabilities {
        let (near, far) = (self.near.store.capabilities(), self.far.store.capabilities());
        Capabilities {
            negative_zero: near.negative_zero && far.negative_zero,
            stores: near.stores || far.stores,
            non_blocking: near.non_blocking && far.non_blocking,
            ..far
        }
    }

    /// Opens the scope in both stores. The near store is recreated if its records do not fit the
    /// schema; the far store still has them.
    fn open(&self, schema: &Arc<Schema>) -> Result<Arc<dyn ScopeStore>> {
        let recreated = self.is_to_be_recreated(schema)?;
        self.check_near()?;
        let (schema, [far]) = open_alike([&self.far], schema)?;
        let near = self.near.open(&Arc::new(self.near_schema(&schema)))?;
        let tier = self.near.tiers.of(&schema.name);
        let generation = tier.enter_layout(&schema, &near, recreated);
        let near = Near::new(near, &schema, self.near_ttl(), &self.clock);
        let scope = TieredScope::new(schema, (near, far), tier, generation);
        Ok(Arc::new(scope.named(self.far.store.name()).limited(self.capabilities())))
    }

    /// Opens the scope in the far store, which is authoritative.
    fn open_read_only(&self, schema: &Arc<Schema>) -> Result<Option<Arc<dyn ScopeStore>>> {
        self.far.open_read_only(schema)
    }

    fn plan(&self, schema: &Schema) -> Result<Plan> {
        self.far.call(|far| far.plan(schema))
    }

    fn migrate(&self, schema: &Schema) -> Result<Plan> {
        self.far.call(|far| far.migrate(schema))
    }

    fn scopes(&self) -> Result<Vec<String>> {
        self.far.call(|far| far.scopes())
    }

    fn implicit_schema(&self, scope: &str) -> Option<Schema> {
        self.far.store.implicit_schema(scope)
    }

    fn stored_schema(&self, scope: &str) -> Result<Option<Schema>> {
        self.far.call(|far| far.stored_schema(scope))
    }

    fn expiry_of(&self, schema: &Schema) -> Result<ExpirySupport> {
        self.far.call(|far| far.expiry_of(schema))
    }

    fn adopt(&self) -> Result<Adopted> {
        self.far.call(|far| far.adopt())
    }

    /// Returns `None`: direct writes to the far store's database would not reach the near store.
    fn database(&self) -> Option<&dyn std::any::Any> {
        None
    }

    fn load(&self, scopes: Option<&[String]>) -> Result<()> {
        let tiers = self.near.tiers.among(scopes);
        let guards: Vec<_> = tiers.iter().map(|tier| tier.enter_all()).collect();
        let loaded = self.far.call(|far| far.load(scopes));
        guards.into_iter().zip(&tiers).for_each(|(guard, tier)| {
            let outcome = Outcome::of(&loaded);
            guard.leave(outcome, || tier.empty());
        });
        loaded
    }

    fn backup(&self, scopes: Option<&[String]>) -> Result<()> {
        self.far.call(|far| far.backup(scopes))
    }

    fn ping(&self) -> Result<()> {
        self.far.call(|far| far.ping())
    }

    fn unsaved(&self) -> Result<Vec<String>> {
        self.far.call(|far| far.unsaved())
    }
}
