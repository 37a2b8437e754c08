//! The records of a scope, and the schema that they stand under.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use parking_lot::RwLock;

use super::rows::{Rows, Stored};
use crate::schema::{Standing, StandingColumn, diff, project};
use crate::{Change, ColumnType, Error, ErrorKind, Migrate, Plan, Result, Schema, Step};

/// When a change of the schema is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Apply {
    /// When the scope is opened: the schema's policy counts.
    OnOpen,
    /// By a call of its own.
    OnDemand,
}

/// The records of a scope. All handles on the scope share it.
#[derive(Debug)]
pub(super) struct Table {
    pub(super) rows: Arc<dyn Rows>,
    /// The schema that it was last opened with. Rows keep the one that they were written under.
    layout: RwLock<Arc<Schema>>,
    /// How often its records were dropped for a schema that does not go with the one before.
    generation: AtomicU64,
    /// Whether some of its records may expire.
    expiring: AtomicBool,
}

impl Table {
    pub(super) fn new(schema: Arc<Schema>, rows: Arc<dyn Rows>) -> Self {
        let expiring = AtomicBool::new(schema.ttl.is_some());
        Self { rows, layout: RwLock::new(schema), generation: AtomicU64::new(0), expiring }
    }

    pub(super) fn layout(&self) -> Arc<Schema> {
        self.layout.read().clone()
    }

    pub(super) fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    pub(super) fn is_expiring(&self) -> bool {
        self.expiring.load(Ordering::Relaxed)
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
    /// [`ErrorKind::SchemaChange`] with the plan where the policy does not allow it.
    pub(super) fn apply(&self, schema: &Arc<Schema>, when: Apply) -> Result<Plan> {
        let mut layout = self.layout.write();
        let plan = plan(&layout, schema);
        let manual = schema.migrate == Migrate::Manual && when == Apply::OnOpen;
        let recreate = plan.steps.iter().any(|step| step.change == Change::Recreate);
        if !recreate && (!plan.is_safe() || manual && !plan.is_empty()) {
            return Err(refusal(&plan, manual && plan.is_safe()));
        }
        if recreate {
            self.generation.fetch_add(1, Ordering::AcqRel);
            self.rows.clear();
        }
        self.expiring.fetch_or(schema.ttl.is_some(), Ordering::Relaxed);
        if !same_layout(&layout, schema) {
            if !recreate && spells_keys_anew(&layout, schema) {
                self.rekey(schema)?;
            }
            *layout = schema.clone();
        }
        Ok(plan)
    }

    /// Stores every record again under the key that it has in a new schema.
    fn rekey(&self, schema: &Arc<Schema>) -> Result<()> {
        for old in self.rows.clone().all() {
            let row = project(old.row.clone(), &old.layout, schema)?;
            let new = Stored { row, layout: schema.clone(), expires: old.expires };
            self.rows.change(&old.key(), &mut |_| Ok(None))?;
            let new = Arc::new(new);
            self.rows.change(&new.key(), &mut |_| Ok(Some(new.clone())))?;
        }
        Ok(())
    }
}

fn plan(standing: &Schema, schema: &Schema) -> Plan {
    let column = |column: &crate::Column| StandingColumn {
        name: column.name.clone(),
        declared: column.ty.to_string(),
        ty: Some(column.ty),
        known: true,
        nullable: column.nullable,
    };
    let standing = Standing {
        columns: standing.columns.iter().map(column).collect(),
        key: standing.key_columns().map(|column| column.name.clone()).collect(),
        wholes: Vec::new(),
    };
    let mut changes = diff(&standing, schema, |have, want| have.ty == Some(want.ty));
    if schema.migrate == Migrate::Recreate && !changes.iter().all(Change::is_safe) {
        changes = vec![Change::Recreate];
    }
    let steps = changes.into_iter().map(|change| Step { change, sql: Vec::new() });
    Plan { steps: steps.collect(), ..Plan::empty(schema) }
}

/// The error for a plan that is not applied.
fn refusal(plan: &Plan, manual: bool) -> Error {
    let why = match manual {
        true => "the schema's policy is manual: apply it with Cache::migrate",
        false => {
            "steps marked with ! can lose records or values: let the scope be made anew with migrate = \"recreate\""
        }
    };
    Error::new(
        ErrorKind::SchemaChange,
        format!("the records stand under another schema, and nothing was changed; {why}\n{plan}"),
    )
}

/// Whether rows of the two look the same, default values included.
fn same_layout(a: &Schema, b: &Schema) -> bool {
    a.columns == b.columns && a.key == b.key
}

/// Whether the same key is written in another way: a decimal of more digits after the point is.
fn spells_keys_anew(old: &Schema, new: &Schema) -> bool {
    let types = |schema: &Schema| schema.key_columns().map(|column| column.ty).collect::<Vec<_>>();
    let (old, new) = (types(old), types(new));
    let decimal = |ty: &ColumnType| matches!(ty, ColumnType::Decimal { .. });
    old.iter().zip(&new).any(|(old, new)| old != new && decimal(new))
}
