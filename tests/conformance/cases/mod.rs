//! The cases. Each is a function that panics or gives an error where the backend is wrong.

mod batches;
mod compute;
mod concurrent;
mod deploys;
mod expiry;
mod fills;
mod keys;
mod leases;
mod listing;
mod persistence;
mod read_only;
mod schema;
mod scopes;
mod single;
mod stale;
mod values;

use hilcat::Result;

use crate::backends::Durability;
use crate::context::TestContext;

/// One case.
pub struct Case {
    pub name: &'static str,
    pub needs: Needs,
    pub run: fn(TestContext) -> Result<()>,
}

/// Which backends a case is for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Needs {
    /// Those that store something.
    Storing,
    /// Those whose records outlive the cache that wrote them.
    Persistent,
    /// Those whose records end with it.
    Volatile,
    /// Those that store nothing.
    Nothing,
}

impl Needs {
    fn is_met(self, keeps: Durability) -> bool {
        match self {
            Self::Storing => keeps != Durability::Nothing,
            Self::Persistent => keeps == Durability::ForGood,
            Self::Volatile => keeps == Durability::WhileOpen,
            Self::Nothing => keeps == Durability::Nothing,
        }
    }
}

/// A list of cases, each named as its function.
macro_rules! cases {
    ($needs:ident: $($case:ident),* $(,)?) => {
        &[$($crate::cases::Case {
            name: stringify!($case),
            needs: $crate::cases::Needs::$needs,
            run: $case,
        }),*]
    };
}
pub(crate) use cases;

/// The cases that are asked of a backend, those that are done soonest first.
pub fn asked_of(keeps: Durability) -> impl Iterator<Item = &'static Case> {
    all().filter(move |case| case.needs.is_met(keeps))
}

fn all() -> impl Iterator<Item = &'static Case> {
    let lists: [&'static [Case]; 22] = [
        single::CASES,
        single::OF_NOOP,
        keys::CASES,
        values::CASES,
        scopes::CASES,
        schema::CASES,
        schema::ACROSS_CACHES,
        deploys::CASES,
        deploys::ACROSS_CACHES,
        compute::CASES,
        fills::CASES,
        fills::OF_PERSISTENT,
        expiry::CASES,
        expiry::OF_PERSISTENT,
        stale::CASES,
        leases::CASES,
        persistence::CASES,
        read_only::CASES,
        persistence::OF_VOLATILE,
        batches::CASES,
        listing::CASES,
        concurrent::CASES,
    ];
    lists.into_iter().flatten()
}
