//! The cases. Each is a function that panics or returns an error if the backend is wrong.

mod batches;
mod compute;
mod concurrent;
mod deploys;
mod expiry;
mod fills;
mod handles;
mod hostile_keys;
mod keys;
mod leases;
mod listing;
mod literals;
mod persistence;
mod purge;
mod read_only;
mod schema;
mod scopes;
mod single;
mod stale;
mod values;

use std::fmt;

use hilcat::Result;
use hilcat::store::{Capabilities, ExpirySupport};

use crate::Storage;
use crate::context::TestContext;

/// One property of the contract of backends.
pub struct Case {
    name: &'static str,
    requirement: Requirement,
    run: fn(TestContext) -> Result<()>,
}

impl Case {
    /// Returns the unique name of the case.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Returns which backends the case applies to.
    pub fn requirement(&self) -> Requirement {
        self.requirement
    }

    /// Runs the case.
    ///
    /// # Errors
    ///
    /// An error of the backend where the case expects none.
    ///
    /// # Panics
    ///
    /// If the backend does not behave as the case expects, or the case does not apply to the backend.
    pub fn run(&self, storage: Storage) -> Result<()> {
        let context = TestContext::open(storage)?;
        let capabilities = context.cache.capabilities();
        assert!(
            self.requirement.is_met_by(&capabilities),
            "the case `{}` is for other backends: it requires {:?}, and there are {capabilities:?}",
            self.name,
            self.requirement
        );
        (self.run)(context)
    }
}

impl fmt::Debug for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Case")
            .field("name", &self.name)
            .field("requirement", &self.requirement)
            .finish_non_exhaustive()
    }
}

/// Selects the backends that a case applies to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Requirement {
    /// Backends that store records.
    Stores,
    /// Backends whose records outlive the cache that wrote them.
    Persistent,
    /// Backends whose records end with the cache.
    Volatile,
    /// Backends that store nothing.
    StoresNothing,
    /// Backends whose records [carry their expiry](ExpirySupport::Full).
    Expiry,
    /// Backends whose records carry their expiry and outlive the cache.
    PersistentExpiry,
    /// Backends whose records [do not expire](ExpirySupport::Unsupported).
    NoExpiry,
}

impl Requirement {
    /// Returns whether backends with these capabilities are selected.
    pub fn is_met_by(self, capabilities: &Capabilities) -> bool {
        let has_expiry = capabilities.expiry == ExpirySupport::Full;
        match self {
            Self::Stores => capabilities.stores,
            Self::Persistent => capabilities.stores && capabilities.persistent,
            Self::Volatile => capabilities.stores && !capabilities.persistent,
            Self::StoresNothing => !capabilities.stores,
            Self::Expiry => capabilities.stores && has_expiry,
            Self::PersistentExpiry => Self::Persistent.is_met_by(capabilities) && has_expiry,
            Self::NoExpiry => {
                capabilities.stores && capabilities.expiry == ExpirySupport::Unsupported
            }
        }
    }
}

/// Builds a list of cases, each named as its function.
macro_rules! case_list {
    ($requirement:ident: $($case:ident),* $(,)?) => {
        &[$($crate::cases::Case {
            name: stringify!($case),
            requirement: $crate::cases::Requirement::$requirement,
            run: $case,
        }),*]
    };
}
use case_list;

/// Returns the cases for a backend of these capabilities; short ones first.
pub fn cases_for(capabilities: Capabilities) -> impl Iterator<Item = &'static Case> {
    cases().filter(move |case| case.requirement.is_met_by(&capabilities))
}

/// Returns all cases; short ones first.
pub fn cases() -> impl Iterator<Item = &'static Case> {
    let lists: [&'static [Case]; 28] = [
        single::CASES,
        single::OF_NOOP,
        keys::CASES,
        hostile_keys::CASES,
        values::CASES,
        literals::CASES,
        scopes::CASES,
        schema::CASES,
        handles::CASES,
        handles::ACROSS_CACHES,
        deploys::CASES,
        deploys::ACROSS_CACHES,
        compute::CASES,
        fills::CASES,
        fills::OF_PERSISTENT,
        expiry::CASES,
        purge::CASES,
        expiry::OF_PERSISTENT,
        expiry::WITHOUT,
        stale::CASES,
        leases::CASES,
        leases::WITH_EXPIRY,
        persistence::CASES,
        read_only::CASES,
        persistence::OF_VOLATILE,
        batches::CASES,
        listing::CASES,
        concurrent::CASES,
    ];
    lists.into_iter().flatten()
}
