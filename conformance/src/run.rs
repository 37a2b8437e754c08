//! All cases in one test.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::{Storage, cases_for, check_against_model};

/// How many random sequences of operations are compared with a model.
const SEQUENCES: u32 = 30;

/// Runs every case that applies to the backend's capabilities, each on a fresh storage, and
/// [`check_against_model`].
///
/// # Panics
///
/// If the storage cannot be opened, or if cases fail: the message has the name of each and the reason.
pub fn run_all(fresh: impl Fn() -> Storage) {
    let storage = fresh();
    let cache = storage.open().expect("the storage cannot be opened");
    let capabilities = cache.capabilities();
    drop((cache, storage));
    let mut failures: Vec<String> = Vec::new();
    let mut run = |name: &str, case: &dyn Fn() -> Result<(), String>| {
        let outcome = catch_unwind(AssertUnwindSafe(case));
        if let Err(reason) = outcome.unwrap_or_else(|panic| Err(message(&*panic))) {
            failures.push(format!("{name}: {reason}"));
        }
    };
    for case in cases_for(capabilities) {
        run(case.name(), &|| case.run(fresh()).map_err(|error| error.to_string()));
    }
    if capabilities.stores {
        run("model", &|| check_against_model(SEQUENCES, &fresh));
    }
    assert!(failures.is_empty(), "{} cases failed:\n{}", failures.len(), failures.join("\n"));
}

fn message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
    text.unwrap_or_else(|| "it panicked".to_owned())
}
