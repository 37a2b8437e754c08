//! Batches: many keys in one statement.

use std::collections::HashMap;

use crate::{Key, Row, Schema};

/// Rows that come in any order, put into that of the keys that were asked for.
pub(super) struct InOrder<'a> {
    schema: &'a Schema,
    keys: &'a [Key],
    /// Where each key was asked for first.
    first: HashMap<&'a Key, usize, foldhash::fast::RandomState>,
    rows: Vec<Option<Row>>,
}

impl<'a> InOrder<'a> {
    pub(super) fn new(schema: &'a Schema, keys: &'a [Key]) -> Self {
        let mut first = HashMap::with_capacity_and_hasher(keys.len(), Default::default());
        for (at, key) in keys.iter().enumerate() {
            first.entry(key).or_insert(at);
        }
        Self { schema, keys, first, rows: vec![None; keys.len()] }
    }

    /// Takes a row; one that was not asked for is left out.
    pub(super) fn put(&mut self, row: Row) {
        if let Some(&at) = self.first.get(&self.schema.key_of(&row)) {
            self.rows[at] = Some(row);
        }
    }

    /// The rows; a key that was asked for twice has its row twice.
    pub(super) fn finish(mut self) -> Vec<Option<Row>> {
        if self.first.len() < self.keys.len() {
            for (at, key) in self.keys.iter().enumerate() {
                let first = self.first[key];
                if first < at {
                    self.rows[at] = self.rows[first].clone();
                }
            }
        }
        self.rows
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Column, ColumnType, Value};

    #[test]
    fn rows_come_in_the_order_asked() {
        let schema = Schema::new("a").unique(Column::new("id", ColumnType::Int));
        let keys = [3, 1, 2, 1].map(|id| Key::single(Value::Int(id)));
        let mut rows = InOrder::new(&schema, &keys);
        for id in [1, 3, 9] {
            rows.put(vec![Value::Int(id)]);
        }
        let row = |id| Some(vec![Value::Int(id)]);
        assert_eq!(rows.finish(), [row(3), row(1), None, row(1)]);
    }
}
