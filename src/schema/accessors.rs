//! The public accessors of a [`Schema`].

use super::{Column, Migrate, Schema, Shape};
use crate::freshness::Freshness;

impl Schema {
    /// Returns the name of the scope.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Sets the name of the scope. The table keeps its name.
    pub fn renamed(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    /// Returns the name of the scope's table, index, prefix or directory, as
    /// [`table`](Schema::table) sets it.
    pub fn table_name(&self) -> &str {
        &self.table
    }

    /// Returns the columns in table order.
    pub fn columns(&self) -> &[Column] {
        &self.columns
    }

    /// Returns the columns in table order, mutably. Columns are added by
    /// [`unique`](Schema::unique) and [`column`](Schema::column).
    pub fn columns_mut(&mut self) -> &mut [Column] {
        &mut self.columns
    }

    /// Returns the positions of the unique columns in [`columns`](Schema::columns), in key order, as
    /// [`key`](Schema::key) sets them.
    pub fn key_positions(&self) -> &[usize] {
        &self.key
    }

    /// Returns the shape of the values of a dynamic scope, as [`shape`](Schema::shape) sets it.
    pub fn value_shape(&self) -> Shape {
        self.shape
    }

    /// Returns the freshness options.
    pub fn freshness(&self) -> &Freshness {
        &self.freshness
    }

    /// Returns the policy for an existing table that differs from the schema, as
    /// [`migrate`](Schema::migrate) sets it.
    pub fn migrate_policy(&self) -> Migrate {
        self.migrate
    }

    /// Returns the columns that are removed from an existing table, as [`dropped`](Schema::dropped)
    /// sets them.
    pub fn dropped_columns(&self) -> &[String] {
        &self.dropped
    }

    /// Returns the columns of an existing table that belong to other programs, as
    /// [`keep`](Schema::keep) sets them.
    pub fn kept_columns(&self) -> &[String] {
        &self.keep
    }
}
