//! Batches: many keys in one statement.

use std::cmp::Ordering;
use std::collections::HashMap;

use crate::{Key, Row, Schema, Value};

/// The values of one column of several rows.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Column<'a> {
    rows: &'a [&'a [Value]],
    at: usize,
}

impl<'a> Column<'a> {
    /// The columns of rows that have so many.
    pub(crate) fn all(rows: &'a [&'a [Value]], columns: usize) -> Vec<Self> {
        (0..columns).map(|at| Self { rows, at }).collect()
    }

    /// The column's value in each row.
    pub(crate) fn values(self) -> impl ExactSizeIterator<Item = &'a Value> {
        self.rows.iter().map(move |row| &row[self.at])
    }
}

/// Rows in the order of the key that stands at `key` in them, of those with one key the last.
/// Statements that change rows in one order do not wait for each other in a circle.
pub(crate) fn sorted(
    key: impl IntoIterator<Item = usize>,
    mut rows: Vec<&[Value]>,
) -> Vec<&[Value]> {
    let key: Vec<usize> = key.into_iter().collect();
    let by_key = |a: &&[Value], b: &&[Value]| {
        let parts = key.iter().map(|&at| order(&a[at], &b[at]));
        parts.fold(Ordering::Equal, Ordering::then)
    };
    if !rows.is_sorted_by(|a, b| by_key(a, b).is_lt()) {
        // The sort is stable; of equal ones the first stays, so they are turned around.
        rows.reverse();
        rows.sort_by(by_key);
        rows.dedup_by(|later, earlier| by_key(later, earlier).is_eq());
    }
    rows
}

/// The order of two values of one unique column; what is one key is equal.
fn order(a: &Value, b: &Value) -> Ordering {
    match (a, b) {
        (Value::Bool(a), Value::Bool(b)) => a.cmp(b),
        (Value::Int(a), Value::Int(b))
        | (Value::Time(a), Value::Time(b))
        | (Value::Timestamp(a), Value::Timestamp(b)) => a.cmp(b),
        (Value::UInt(a), Value::UInt(b)) => a.cmp(b),
        (Value::Date(a), Value::Date(b)) => a.cmp(b),
        // The two zeros are one, and so is whatever is no number.
        (Value::Float(a), Value::Float(b)) => {
            a.partial_cmp(b).unwrap_or_else(|| a.is_nan().cmp(&b.is_nan()))
        }
        (Value::Text(a), Value::Text(b)) | (Value::Decimal(a), Value::Decimal(b)) => a.cmp(b),
        (Value::Bytes(a), Value::Bytes(b)) => a.cmp(b),
        (Value::Uuid(a), Value::Uuid(b)) => a.cmp(b),
        _ => Ordering::Equal,
    }
}

/// Rows that come in any order, put into that of the keys that were asked for.
pub(crate) struct InOrder<'a> {
    schema: &'a Schema,
    keys: &'a [Key],
    /// Where each key was asked for first.
    first: HashMap<&'a Key, usize, foldhash::fast::RandomState>,
    rows: Vec<Option<Row>>,
}

impl<'a> InOrder<'a> {
    pub(crate) fn new(schema: &'a Schema, keys: &'a [Key]) -> Self {
        let mut first = HashMap::with_capacity_and_hasher(keys.len(), Default::default());
        for (at, key) in keys.iter().enumerate() {
            first.entry(key).or_insert(at);
        }
        Self { schema, keys, first, rows: vec![None; keys.len()] }
    }

    /// Takes a row; one that was not asked for is left out.
    pub(crate) fn put(&mut self, row: Row) {
        if let Some(&at) = self.first.get(&self.schema.key_of(&row)) {
            self.rows[at] = Some(row);
        }
    }

    /// The rows; of a key that was asked for twice the first has its row.
    pub(crate) fn finish_once(self) -> Vec<Option<Row>> {
        self.rows
    }

    /// The rows; a key that was asked for twice has its row twice.
    pub(crate) fn finish(mut self) -> Vec<Option<Row>> {
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
    use crate::{Column, ColumnType};

    #[test]
    fn of_rows_with_one_key_the_last_stays() {
        let row = |id: f64, v: i64| vec![Value::Float(id), Value::Int(v)];
        let rows = [row(f64::NAN, 1), row(2.0, 2), row(0.0, 3), row(-0.0, 4), row(f64::NAN, 5)];
        let kept = sorted([0], rows.iter().map(Vec::as_slice).collect());
        let kept: Vec<&Value> = kept.into_iter().map(|row| &row[1]).collect();
        assert_eq!(kept, [&Value::Int(4), &Value::Int(2), &Value::Int(5)]);
    }

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
