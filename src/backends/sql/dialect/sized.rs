//! Statements of fixed sizes, for batches on an engine without arrays.

use std::sync::OnceLock;

use crate::Schema;
use crate::backends::sql::statement::Sql;

/// The statements for batches of fixed sizes, on an engine without arrays.
#[derive(Debug)]
pub(crate) struct Batches {
    pub(crate) fetch: SizedStatement,
    /// Fetches rows and locks them until the transaction ends.
    pub(crate) lock: SizedStatement,
    pub(crate) remove: SizedStatement,
    pub(crate) set: SizedStatement,
    /// Removes the expired rows of keys. Binds: the keys, a time.
    pub(crate) remove_expired: SizedStatement,
    /// Inserts rows. Fails if one of the keys has a row.
    pub(crate) insert: SizedStatement,
}

/// A statement in several sizes, each rendered on first use.
#[derive(Debug)]
pub(crate) struct SizedStatement {
    sizes: Vec<(usize, OnceLock<Sql>)>,
    make: fn(&Schema, usize) -> Sql,
    /// Whether the last item may be repeated to fill a statement.
    padded: bool,
}

impl SizedStatement {
    /// Creates a statement of these sizes in ascending order. The first is 1.
    pub(crate) fn new(
        sizes: impl IntoIterator<Item = usize>,
        make: fn(&Schema, usize) -> Sql,
    ) -> Self {
        let sizes = sizes.into_iter().map(|size| (size, OnceLock::new())).collect();
        Self { sizes, make, padded: true }
    }

    /// Creates a statement in which no item may be repeated.
    pub(crate) fn exact(
        sizes: impl IntoIterator<Item = usize>,
        make: fn(&Schema, usize) -> Sql,
    ) -> Self {
        Self { padded: false, ..Self::new(sizes, make) }
    }

    /// Returns the statement for the first of `items` items, and its size. If the items fill more
    /// than half of a statement, that one is returned, and the last item is to be repeated.
    pub(crate) fn fit(&self, schema: &Schema, items: usize) -> (usize, &Sql) {
        let max = if self.padded { items * 2 - 1 } else { items };
        let roomy = self.sizes.iter().find(|(size, _)| *size >= items && *size <= max);
        let full = || self.sizes.iter().rev().find(|(size, _)| *size <= items);
        let (size, sql) = roomy.or_else(full).unwrap_or(&self.sizes[0]);
        (*size, sql.get_or_init(|| (self.make)(schema, *size)))
    }
}
