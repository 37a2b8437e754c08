//! Remembered absence: the internal scope that belongs to a scope with a `negative_ttl`.

use std::sync::Arc;

use super::Core;
use crate::store::ABSENT;
use crate::{Column, ColumnType, Key, Result, Row, Schema, Value};

/// The keys of a scope for which a computation returned no record.
#[derive(Debug)]
pub(crate) struct Absent(Arc<Core>);

impl Absent {
    pub(super) fn new(core: Arc<Core>) -> Self {
        Self(core)
    }

    /// Returns the schema of the internal scope for `schema`, or `None` without a `negative_ttl`.
    pub(crate) fn absence_schema(schema: &Schema) -> Option<Schema> {
        let ttl = schema.freshness.negative_ttl?;
        let mut absent = Schema::new(format!("{ABSENT}{}", schema.name))
            .table(format!("{ABSENT}{}", schema.table))
            .ttl(ttl)
            .auto_purge(schema.freshness.auto_purge.unwrap_or(true));
        absent.freshness.on_unavailable = schema.freshness.on_unavailable;
        for column in schema.key_columns() {
            absent = absent.unique(Column::new(&column.name, column.ty));
        }
        let name = if schema.is_key_name("absent") { "is_absent" } else { "absent" };
        Some(absent.column(Column::new(name, ColumnType::Bool)))
    }

    fn row(key: &Key) -> Row {
        key.values().iter().cloned().chain([Value::Bool(true)]).collect()
    }
}

impl Core {
    /// Returns whether a key is remembered as absent.
    pub(super) fn is_absent(&self, key: &Key) -> Result<bool> {
        match &self.absent {
            Some(Absent(core)) => Ok(core.live(core.store.fetch(key)?).is_some()),
            None => Ok(false),
        }
    }

    /// Remembers a key as absent, if the scope has a `negative_ttl`.
    pub(super) fn remember_absence(&self, key: &Key) -> Result<()> {
        let Some(Absent(core)) = &self.absent else { return Ok(()) };
        core.store.set(core.stamp(Absent::row(key), None))?;
        core.after_writes(1);
        Ok(())
    }

    /// Forgets the absence of keys that are about to be written or removed.
    pub(super) fn end_absence(&self, keys: &[Key]) -> Result<()> {
        match &self.absent {
            Some(Absent(core)) => core.store.pop_many(keys).map(drop),
            None => Ok(()),
        }
    }

    pub(super) fn end_all_absence(&self) -> Result<()> {
        match &self.absent {
            Some(Absent(core)) => core.store.clear(),
            None => Ok(()),
        }
    }

    pub(super) fn purge_absence(&self) -> Result<u64> {
        match &self.absent {
            Some(Absent(core)) => core.purge(),
            None => Ok(0),
        }
    }
}
