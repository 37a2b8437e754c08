//! What Diesel knows a prepared statement by.
//!
//! Diesel finds the prepared statement of a query by the query's type where the type says that it
//! has one, and else by its text, which it then makes and hashes at every call: a fifth of a
//! microsecond. The statements of a scope are made at run time and are all of one type, so that
//! each is lent a type of its own: one of 4,096 that exist for nothing else. None is ever lent
//! twice, since a connection may still have the statement that had it; when all are lent, later
//! statements are found by their text.

use std::any::TypeId;
use std::cell::Cell;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The identity of one statement, if there was one left.
#[derive(Debug, Clone, Copy)]
pub(crate) struct StatementId(Option<TypeId>);

thread_local! {
    /// The identity of the statement that this thread is about to run.
    static ABOUT_TO_RUN: Cell<Option<TypeId>> = const { Cell::new(None) };
}

impl StatementId {
    /// One that no statement has had.
    pub(crate) fn new() -> Self {
        static LENT: AtomicUsize = AtomicUsize::new(0);
        // It cannot come around: it would take thousands of years.
        Self(IDENTITIES.get(LENT.fetch_add(1, Ordering::Relaxed)).copied())
    }

    /// Says that the statement that has this identity is what this thread runs next.
    pub(crate) fn announce(self) {
        ABOUT_TO_RUN.set(self.0);
    }

    /// The identity that was announced; once.
    pub(crate) fn announced() -> Option<TypeId> {
        ABOUT_TO_RUN.take()
    }
}

/// A hexadecimal digit as a type.
struct Digit<const D: u8>;

/// The types of three digits.
static IDENTITIES: LazyLock<Vec<TypeId>> = LazyLock::new(|| {
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
    fn no_two_are_the_same() {
        let distinct: HashSet<TypeId> = IDENTITIES.iter().copied().collect();
        assert_eq!((IDENTITIES.len(), distinct.len()), (4096, 4096));
        let (a, b) = (StatementId::new(), StatementId::new());
        assert!(a.0.is_some() && a.0 != b.0);
        a.announce();
        assert_eq!(StatementId::announced(), a.0);
        assert_eq!(StatementId::announced(), None);
    }
}
