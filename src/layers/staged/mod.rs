//! A layer that works in one store and saves whole scopes to another.

mod scope;
mod stage;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use parking_lot::Mutex;

use self::scope::StagedScope;
use self::stage::{Stage, Stores};
use super::LayerStore;
use super::layer_store::open_alike;
use super::limits::Limits;
use super::plans::merged;
use crate::spelling::did_you_mean;
use crate::store::{Adopted, Capabilities, ExpirySupport, ScopeStore, Store};
use crate::{Error, ErrorKind, Plan, Result, Schema};

/// The store of [`Cache::staged`](crate::Cache::staged).
#[derive(Debug)]
pub(crate) struct Staged {
    memory: LayerStore,
    storage: LayerStore,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    /// The scopes that were opened.
    stages: BTreeMap<String, Arc<Stage>>,
    /// The scopes to load when they are opened.
    wanted: Wanted,
}

#[derive(Debug, Default)]
struct Wanted {
    all: bool,
    names: BTreeSet<String>,
}

impl Staged {
    pub(crate) fn new(memory: LayerStore, storage: LayerStore) -> Self {
        Self { memory, storage, inner: Mutex::default() }
    }

    /// Returns the stage of a scope, and whether it is new and must be loaded.
    fn stage(&self, schema: &Arc<Schema>, stores: Stores) -> (Arc<Stage>, bool) {
        let mut inner = self.inner.lock();
        if let Some(stage) = inner.stages.get(&schema.name) {
            stage.reopen(stores);
            return (stage.clone(), false);
        }
        let stage = Arc::new(Stage::new(&schema.name, stores));
        inner.stages.insert(schema.name.clone(), stage.clone());
        let wanted = inner.wanted.names.remove(&schema.name) || inner.wanted.all;
        (stage, wanted)
    }

    fn stages(&self) -> Vec<Arc<Stage>> {
        self.inner.lock().stages.values().cloned().collect()
    }

    /// Splits the named scopes into the stages of opened ones and the names of the others.
    fn opened(&self, scopes: &[String]) -> (Vec<Arc<Stage>>, Vec<String>) {
        let inner = self.inner.lock();
        let mut opened = Vec::new();
        let mut others = Vec::new();
        for name in scopes {
            match inner.stages.get(name) {
                Some(stage) => opened.push(stage.clone()),
                None => others.push(name.clone()),
            }
        }
        (opened, others)
    }

    fn unknown(&self, name: &str) -> Error {
        let inner = self.inner.lock();
        let names = || inner.stages.keys().map(String::as_str);
        let opened = names().collect::<Vec<_>>().join(", ");
        let suggestion = did_you_mean(name, names());
        let message = format!(
            "the scope is not open, so nothing was backed up; open scopes: {opened}{suggestion}"
        );
        Error::new(ErrorKind::UnknownScope, message).with_scope(name)
    }
}

#[deny(clippy::missing_trait_methods)]
impl Store for Staged {
    fn name(&self) -> &'static str {
        "staged"
    }

    /// Returns what both stores support, since the records of one are saved to the other. Work is
    /// not persistent until it is backed up.
    fn capabilities(&self) -> Capabilities {
        let (memory, storage) =
            (self.memory.store.capabilities(), self.storage.store.capabilities());
        Capabilities {
            persistent: false,
            nan: memory.nan && storage.nan,
            negative_zero: memory.negative_zero && storage.negative_zero,
            nul_in_text: memory.nul_in_text && storage.nul_in_text,
            tables: memory.tables || storage.tables,
            expiry: storage.expiry.min(memory.expiry),
            non_blocking: memory.non_blocking && storage.non_blocking,
            ..memory
        }
    }

    /// Opens the scope in both stores, so that a schema that the storage rejects is an error before
    /// there is work to save.
    fn open(&self, schema: &Arc<Schema>) -> Result<Arc<dyn ScopeStore>> {
        if self.memory.store.capabilities().evicts {
            return Err(Error::unsupported(
                "the working store of a staged cache evicts records, and they would be missing from the next backup; use a store without a bound, such as `memory:`",
            ));
        }
        self.memory.check_no_freshness("memory")?;
        let (schema, [storage, memory]) = open_alike([&self.storage, &self.memory], schema)?;
        let (stage, wanted) = self.stage(&schema, Stores { memory: memory.clone(), storage });
        if wanted {
            stage.load()?;
        }
        let limits = Limits::of(self.capabilities());
        Ok(Arc::new(StagedScope::new(schema, memory, stage, limits)))
    }

    /// Opens the work if the scope is open, and else the records of the storage.
    fn open_read_only(&self, schema: &Arc<Schema>) -> Result<Option<Arc<dyn ScopeStore>>> {
        match self.inner.lock().stages.contains_key(&schema.name) {
            true => self.memory.open_read_only(schema),
            false => self.storage.open_read_only(schema),
        }
    }

    fn plan(&self, schema: &Schema) -> Result<Plan> {
        let plan = self.storage.call(|storage| storage.plan(schema))?;
        Ok(merged(plan, self.memory.call(|memory| memory.plan(schema))?))
    }

    fn migrate(&self, schema: &Schema) -> Result<Plan> {
        let plan = self.storage.call(|storage| storage.migrate(schema))?;
        Ok(merged(plan, self.memory.call(|memory| memory.migrate(schema))?))
    }

    /// Returns the scopes of both stores, since a scope of the storage can be loaded.
    fn scopes(&self) -> Result<Vec<String>> {
        let mut scopes = self.storage.call(|storage| storage.scopes())?;
        scopes.extend(self.memory.call(|memory| memory.scopes())?);
        scopes.sort_unstable();
        scopes.dedup();
        Ok(scopes)
    }

    fn implicit_schema(&self, scope: &str) -> Option<Schema> {
        self.storage.store.implicit_schema(scope)
    }

    /// Returns the schema of the work; the storage has the schema of the last backup.
    fn stored_schema(&self, scope: &str) -> Result<Option<Schema>> {
        self.memory.call(|memory| memory.stored_schema(scope))
    }

    fn expiry_of(&self, schema: &Schema) -> Result<ExpirySupport> {
        let memory = self.memory.call(|memory| memory.expiry_of(schema))?;
        Ok(memory.min(self.storage.call(|storage| storage.expiry_of(schema))?))
    }

    fn adopt(&self) -> Result<Adopted> {
        self.storage.call(|storage| storage.adopt())
    }

    /// Returns `None`: the work is not in the database of the storage.
    fn database(&self) -> Option<&dyn std::any::Any> {
        None
    }

    fn load(&self, scopes: Option<&[String]>) -> Result<()> {
        let stages = match scopes {
            None => {
                self.inner.lock().wanted.all = true;
                self.stages()
            }
            Some(scopes) => {
                let (stages, others) = self.opened(scopes);
                self.inner.lock().wanted.names.extend(others);
                stages
            }
        };
        stages.iter().try_for_each(|stage| stage.load())
    }

    /// Without names, only the scopes with unsaved work are backed up. The others are already in
    /// the storage, where another process may have changed them since.
    fn backup(&self, scopes: Option<&[String]>) -> Result<()> {
        let stages = match scopes {
            None => {
                let mut stages = self.stages();
                stages.retain(|stage| stage.is_unsaved());
                stages
            }
            Some(scopes) => {
                let (stages, others) = self.opened(scopes);
                if let Some(name) = others.first() {
                    return Err(self.unknown(name));
                }
                stages
            }
        };
        stages.iter().try_for_each(|stage| stage.backup())
    }

    fn ping(&self) -> Result<()> {
        self.storage.call(|storage| storage.ping())
    }

    fn unsaved(&self) -> Result<Vec<String>> {
        let stages = self.stages();
        let unsaved = stages.iter().filter(|stage| stage.is_unsaved());
        Ok(unsaved.map(|stage| stage.scope().to_owned()).collect())
    }
}
