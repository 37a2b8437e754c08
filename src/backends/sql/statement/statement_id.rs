//! The IDs by which Diesel finds the prepared statement of a query.
//!
//! Diesel caches a prepared statement by the `TypeId` of the query's static type, if it has one, and
//! otherwise by the query's text, which it builds and hashes for each call. That costs 0.2 µs. The
//! statements of a scope are built at run time and share one type. Each is therefore assigned a
//! `TypeId` of its own, out of 4,096 types that exist only for this. An ID is never reused, since a
//! connection may still cache the statement that had it. Once all are assigned, later statements
//! are found by their text.

use std::any::TypeId;
use std::cell::Cell;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The ID of one statement, or `None` if all had been assigned.
#[derive(Debug, Clone, Copy)]
pub(crate) struct StatementId(Option<TypeId>);

thread_local! {
    /// The ID of the statement that this thread executes next.
    static NEXT: Cell<Option<TypeId>> = const { Cell::new(None) };
}

impl StatementId {
    /// Assigns an ID that no other statement has had.
    pub(crate) fn allocate() -> Self {
        static ALLOCATED: AtomicUsize = AtomicUsize::new(0);
        // The counter cannot wrap around: that would take thousands of years.
        Self(TYPE_IDS.get(ALLOCATED.fetch_add(1, Ordering::Relaxed)).copied())
    }

    /// Sets the ID of the statement that this thread executes next.
    pub(crate) fn announce(self) {
        NEXT.set(self.0);
    }

    /// Returns the announced ID and clears it.
    pub(crate) fn take_announced() -> Option<TypeId> {
        NEXT.take()
    }
}

/// A hexadecimal digit as a type.
struct Digit<const D: u8>;

/// The IDs of all types of three digits.
static TYPE_IDS: LazyLock<Vec<TypeId>> = LazyLock::new(|| {
    macro_rules! each_digit {
        ($digits:ident => $made:expr) => {
            each_digit!($digits => $made; 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15)
        };
        ($digits:ident => $made:expr; $($digit:literal)*) => {
            vec![$({ type $digits = Digit<$digit>; $made }),*].concat()
        };
    }
    fn of<A: 'static, B: 'static>() -> Vec<TypeId> {
        each_digit!(C => vec![TypeId::of::<(A, B, C)>()])
    }
    fn of_two<A: 'static>() -> Vec<TypeId> {
        each_digit!(B => of::<A, B>())
    }
    each_digit!(A => of_two::<A>())
});

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn ids_are_distinct() {
        let distinct: HashSet<TypeId> = TYPE_IDS.iter().copied().collect();
        assert_eq!((TYPE_IDS.len(), distinct.len()), (4096, 4096));
        let (a, b) = (StatementId::allocate(), StatementId::allocate());
        assert!(a.0.is_some() && a.0 != b.0);
        a.announce();
        assert_eq!(StatementId::take_announced(), a.0);
        assert_eq!(StatementId::take_announced(), None);
    }
}
