//! The cases. Each is a function that panics or gives an error where the backend is wrong.

mod batches;
mod compute;
mod concurrent;
mod keys;
mod listing;
mod persistence;
mod schema;
mod scopes;
mod single;
mod values;

use hilcat::Result;
use hilcat::store::Capabilities;

use crate::ground::Ground;

/// One case.
pub struct Case {
    pub name: &'static str,
    pub needs: Needs,
    pub run: fn(Ground) -> Result<()>,
}

/// What a backend must do for a case to make sense.
#[derive(Clone, Copy)]
pub enum Needs {
    /// Stores something.
    Storing,
    /// Its records outlive the cache that wrote them.
    Persistent,
    /// Stores nothing.
    Nothing,
}

impl Needs {
    /// Why a backend cannot run the case, where it cannot.
    pub fn missing(self, has: Capabilities) -> Option<&'static str> {
        match self {
            Self::Persistent if !has.persistent => {
                Some("not asked of it: its records end with the cache")
            }
            _ => None,
        }
    }

    /// Whether the case is for backends that store nothing, as all others are for those that do.
    pub fn is_nothing(self) -> bool {
        matches!(self, Self::Nothing)
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

/// All cases, those that are done soonest first.
pub fn all() -> impl Iterator<Item = &'static Case> {
    let lists: [&'static [Case]; 12] = [
        single::CASES,
        single::OF_NOOP,
        keys::CASES,
        values::CASES,
        scopes::CASES,
        schema::CASES,
        schema::ACROSS_CACHES,
        compute::CASES,
        persistence::CASES,
        batches::CASES,
        listing::CASES,
        concurrent::CASES,
    ];
    lists.into_iter().flatten()
}
