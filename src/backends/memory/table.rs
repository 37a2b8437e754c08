//! The records of a scope, and the schema that they stand under.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::RwLock;

use super::rows::{Rows, Stored};
use crate::schema::{Apply, merged, plan, project, unknown_columns, upgrade};
use crate::{ColumnType, Plan, Result, Schema};

/// The records of a scope. All handles on the scope share it.
#[derive(Debug)]
pub(super) struct Table {
    pub(super) rows: Arc<dyn Rows>,
    /// The columns of all schemas that it was opened with. Rows keep the schema that they were
    /// written under.
    layout: RwLock<Arc<Schema>>,
    /// How often its records were dropped for a schema that does not go with the one before.
    generation: AtomicU64,
}

impl Table {
    pub(super) fn new(schema: &Arc<Schema>, rows: Arc<dyn Rows>) -> Self {
        Self { rows, layout: RwLock::new(schema.clone()), generation: AtomicU64::new(0) }
    }

    pub(super) fn layout(&self) -> Arc<Schema> {
        self.layout.read().clone()
    }

    pub(super) fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// What a schema would change.
    pub(super) fn plan(&self, schema: &Schema) -> Plan {
        plan(&self.layout.read(), schema)
    }

    /// Brings the table under a schema, and gives what that changed. No row is touched where all
    /// changes are safe: each is brought over when it is read.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::SchemaChange`](crate::ErrorKind::SchemaChange) with the plan where the policy
    /// does not allow it.
    pub(super) fn apply(&self, schema: &Arc<Schema>, when: Apply) -> Result<Plan> {
        let mut layout = self.layout.write();
        let upgrade = upgrade(&layout, schema, when)?;
        if upgrade.recreate {
            self.generation.fetch_add(1, Ordering::AcqRel);
            self.rows.clear();
        }
        // Options alone are no other layout: rows that were written before are read as they are.
        let stored = &upgrade.stored;
        let same = stored.columns == layout.columns && stored.key == layout.key;
        if upgrade.other && !(same && stored.table == layout.table && !upgrade.recreate) {
            if !upgrade.recreate && spells_keys_anew(&layout, schema) {
                self.rekey(schema)?;
            }
            // Most schemas know all columns: then handles share the layout of their rows.
            *layout = match upgrade.stored == **schema {
                true => schema.clone(),
                false => Arc::new(upgrade.stored),
            };
        }
        Ok(upgrade.plan)
    }

    /// The layout for what a handle under a schema writes over a record of another layout: the
    /// one that stands, and what the schema has besides since another program dropped it.
    pub(super) fn layout_for(&self, schema: &Schema) -> Arc<Schema> {
        let layout = self.layout();
        let knows_all = unknown_columns(schema, &layout).next().is_none();
        match knows_all {
            true => layout,
            false => Arc::new(merged(Some(&layout), schema)),
        }
    }

    /// Stores every record again under the key that it has in a new schema.
    fn rekey(&self, schema: &Arc<Schema>) -> Result<()> {
        for old in self.rows.clone().all() {
            let row = project(old.row.clone(), &old.layout, schema)?;
            let new = Stored::new(row, schema.clone());
            self.rows.change(&old.key(), &mut |_| Ok(None))?;
            let new = Arc::new(new);
            self.rows.change(&new.key(), &mut |_| Ok(Some(new.clone())))?;
        }
        Ok(())
    }
}

/// Whether the same key is written in another way: a decimal of more digits after the point is.
fn spells_keys_anew(old: &Schema, new: &Schema) -> bool {
    let types = |schema: &Schema| schema.key_columns().map(|column| column.ty).collect::<Vec<_>>();
    let (old, new) = (types(old), types(new));
    let decimal = |ty: &ColumnType| matches!(ty, ColumnType::Decimal { .. });
    old.iter().zip(&new).any(|(old, new)| old != new && decimal(new))
}
