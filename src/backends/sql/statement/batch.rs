//! Batches: many keys or rows in one statement.

#[cfg(feature = "server")]
use std::cmp::Ordering;
use std::collections::HashMap;

#[cfg(feature = "server")]
use crate::Value;
use crate::{Key, Row, Schema};

/// The values of one column in several rows.
#[cfg(feature = "postgresql")]
#[derive(Debug, Clone, Copy)]
pub(crate) struct Column<'a> {
    rows: &'a [&'a [Value]],
    at: usize,
}

#[cfg(feature = "postgresql")]
impl<'a> Column<'a> {
    /// Returns the first `columns` columns of the rows.
    pub(crate) fn all(rows: &'a [&'a [Value]], columns: usize) -> Vec<Self> {
        (0..columns).map(|at| Self { rows, at }).collect()
    }

    /// Returns the value of the column in each row.
    pub(crate) fn values(self) -> impl ExactSizeIterator<Item = &'a Value> {
        self.rows.iter().map(move |row| &row[self.at])
    }
}

/// Sorts rows by the key columns at the positions `key`. Of several rows with the same key only the
/// last is kept.
///
/// Batches that lock rows in the same order cannot deadlock with each other.
#[cfg(feature = "server")]
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
        // The sort is stable and `dedup_by` keeps the first of equal rows, so reverse them first.
        rows.reverse();
        rows.sort_by(by_key);
        rows.dedup_by(|later, earlier| by_key(later, earlier).is_eq());
    }
    rows
}

/// Compares two values of a key column. Values that are the same key are equal.
#[cfg(feature = "server")]
fn order(a: &Value, b: &Value) -> Ordering {
    match (a, b) {
        (Value::Bool(a), Value::Bool(b)) => a.cmp(b),
        (Value::Int(a), Value::Int(b))
        | (Value::Time(a), Value::Time(b))
        | (Value::Timestamp(a), Value::Timestamp(b)) => a.cmp(b),
        (Value::UInt(a), Value::UInt(b)) => a.cmp(b),
        (Value::Date(a), Value::Date(b)) => a.cmp(b),
        // Both zeros are the same key, and so are all NaNs.
        (Value::Float(a), Value::Float(b)) => {
            a.partial_cmp(b).unwrap_or_else(|| a.is_nan().cmp(&b.is_nan()))
        }
        (Value::Text(a), Value::Text(b)) | (Value::Decimal(a), Value::Decimal(b)) => a.cmp(b),
        (Value::Bytes(a), Value::Bytes(b)) => a.cmp(b),
        (Value::Uuid(a), Value::Uuid(b)) => a.cmp(b),
        _ => Ordering::Equal,
    }
}

/// Collects rows that arrive in any order, and returns them in the order of the requested keys.
pub(crate) struct RequestOrder<'a> {
    schema: &'a Schema,
    keys: &'a [Key],
    /// The first position of each key.
    first: HashMap<&'a Key, usize, foldhash::fast::RandomState>,
    rows: Vec<Option<Row>>,
}

impl<'a> RequestOrder<'a> {
    pub(crate) fn new(schema: &'a Schema, keys: &'a [Key]) -> Self {
        let mut first = HashMap::with_capacity_and_hasher(keys.len(), Default::default());
        for (at, key) in keys.iter().enumerate() {
            first.entry(key).or_insert(at);
        }
        Self { schema, keys, first, rows: vec![None; keys.len()] }
    }

    /// Adds a row. A row of a key that was not requested is dropped.
    pub(crate) fn put(&mut self, row: Row) {
        if let Some(&at) = self.first.get(&self.schema.key_of(&row)) {
            self.rows[at] = Some(row);
        }
    }

    /// Returns the rows. Of equal keys only the first position has the row.
    #[cfg(feature = "server")]
    pub(crate) fn finish_first_only(self) -> Vec<Option<Row>> {
        self.rows
    }

    /// Returns the rows. Of equal keys each position has the row.
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
    use crate::{Column, ColumnType, Value};

    #[cfg(feature = "server")]
    #[test]
    fn the_last_row_of_each_key_is_kept() {
        let row = |id: f64, v: i64| vec![Value::Float(id), Value::Int(v)];
        let rows = [row(f64::NAN, 1), row(2.0, 2), row(0.0, 3), row(-0.0, 4), row(f64::NAN, 5)];
        let kept = sorted([0], rows.iter().map(Vec::as_slice).collect());
        let kept: Vec<&Value> = kept.into_iter().map(|row| &row[1]).collect();
        assert_eq!(kept, [&Value::Int(4), &Value::Int(2), &Value::Int(5)]);
    }

    #[test]
    fn rows_are_returned_in_the_requested_order() {
        let schema = Schema::new("a").unique(Column::new("id", ColumnType::Int));
        let keys = [3, 1, 2, 1].map(|id| Key::single(Value::Int(id)));
        let mut rows = RequestOrder::new(&schema, &keys);
        for id in [1, 3, 9] {
            rows.put(vec![Value::Int(id)]);
        }
        let row = |id| Some(vec![Value::Int(id)]);
        assert_eq!(rows.finish(), [row(3), row(1), None, row(1)]);
    }
}
