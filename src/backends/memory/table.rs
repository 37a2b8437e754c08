//! The records of a scope and their stored schema.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::RwLock;

use super::rows::{Rows, Stored};
use crate::schema::{Apply, merged, plan, project, unknown_columns, upgrade};
use crate::{ColumnType, Plan, Result, Schema};

/// The records of a scope, shared by all of its handles.
#[derive(Debug)]
pub(super) struct Table {
    pub(super) rows: Arc<dyn Rows>,
    /// The columns of all schemas that the scope was opened with. Rows keep the schema that they
    /// were written under.
    layout: RwLock<Arc<Schema>>,
    /// How many times the records were dropped for an incompatible schema.
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

    /// Plans a migration without applying it.
    pub(super) fn plan(&self, schema: &Schema) -> Plan {
        plan(&self.layout.read(), schema)
    }

    /// Migrates the table to a schema and returns the applied plan. Safe changes touch no rows:
    /// each is converted when it is read.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::SchemaChange`](crate::ErrorKind::SchemaChange) with the plan if the policy does
    /// not allow it.
    pub(super) fn apply(&self, schema: &Arc<Schema>, when: Apply) -> Result<Plan> {
        let mut layout = self.layout.write();
        let upgrade = upgrade(&layout, schema, when)?;
        if upgrade.recreate {
            self.generation.fetch_add(1, Ordering::AcqRel);
            self.rows.clear();
        }
        // Options alone do not change the layout: existing rows are read unchanged.
        let stored = &upgrade.stored;
        let same = stored.columns == layout.columns && stored.key == layout.key;
        if upgrade.other && !(same && stored.table == layout.table && !upgrade.recreate) {
            if !upgrade.recreate && changes_key_text(&layout, schema) {
                self.rekey(schema)?;
            }
            // Usually the schema has all columns, and the handle can share the layout of its rows.
            *layout = match upgrade.stored == **schema {
                true => schema.clone(),
                false => Arc::new(upgrade.stored),
            };
        }
        Ok(upgrade.plan)
    }

    /// Returns the layout for a write over a record of another layout: the stored one, plus columns
    /// of the schema that another program has dropped.
    pub(super) fn layout_for(&self, schema: &Schema) -> Arc<Schema> {
        let layout = self.layout();
        let knows_all = unknown_columns(schema, &layout).next().is_none();
        match knows_all {
            true => layout,
            false => Arc::new(merged(Some(&layout), schema)),
        }
    }

    /// Stores every record again under its key in a new schema.
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

/// Whether equal keys have another text in the new schema, as decimals of another scale do.
fn changes_key_text(old: &Schema, new: &Schema) -> bool {
    let types = |schema: &Schema| schema.key_columns().map(|column| column.ty).collect::<Vec<_>>();
    let (old, new) = (types(old), types(new));
    let decimal = |ty: &ColumnType| matches!(ty, ColumnType::Decimal { .. });
    old.iter().zip(&new).any(|(old, new)| old != new && decimal(new))
}
