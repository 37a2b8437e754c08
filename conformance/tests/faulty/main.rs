//! Stores with a deliberate fault: the suite must detect each of them.
//!
//! A [`FaultyStore`] wraps a memory store and has one fault. Without a fault it passes the suite.

mod fault;
mod store;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::sync::atomic::{AtomicUsize, Ordering};

use hilcat::backend::Memory;
use hilcat::store::{Capabilities, ExpirySupport, Store};
use hilcat_conformance::{Case, Storage, cases_for};
use libtest_mimic::{Arguments, Failed, Trial};

use crate::fault::{FAULTS, Fault};
use crate::store::FaultyStore;

fn main() -> ExitCode {
    let fault = |&fault: &Fault| {
        Trial::test(format!("faulty::{fault:?}"), move || assert_is_detected(fault))
    };
    let trials = passes("faultless", Fault::None)
        .chain(passes("without_expiry", Fault::LacksExpiry))
        .chain(FAULTS.iter().map(fault));
    libtest_mimic::run(&Arguments::from_args(), trials.collect()).exit_code()
}

/// A test for each case, which passes.
fn passes(name: &'static str, fault: Fault) -> impl Iterator<Item = Trial> {
    cases_for(capabilities(fault)).map(move |case| {
        let run = move || Ok(case.run(storage(fault))?);
        Trial::test(format!("{name}::{}", case.name()), run)
    })
}

/// The capabilities of a store with this fault.
fn capabilities(fault: Fault) -> Capabilities {
    let mut capabilities = Memory::new().capabilities();
    if fault == Fault::LacksExpiry {
        capabilities.expiry = ExpirySupport::Unsupported;
        capabilities.max_records = false;
    }
    capabilities
}

/// A fresh store with this fault.
fn storage(fault: Fault) -> Storage {
    Storage::of_store(move || Ok(FaultyStore { inner: Memory::new(), fault }))
}

fn assert_is_detected(fault: Fault) -> Result<(), Failed> {
    let fails = |case: &&Case| {
        let run = || case.run(storage(fault));
        !matches!(catch_unwind(AssertUnwindSafe(run)), Ok(Ok(())))
    };
    match quietly(|| cases_for(Memory::new().capabilities()).find(fails)) {
        Some(_) => Ok(()),
        None => Err(format!("no case fails on a store with the fault {fault:?}").into()),
    }
}

/// Runs work that is expected to panic, also in other threads, without printing the messages. While it runs, the messages of other
/// tests are not printed either; their results contain them.
fn quietly<T>(work: impl FnOnce() -> T) -> T {
    static QUIET: AtomicUsize = AtomicUsize::new(0);
    static HOOK: std::sync::Once = std::sync::Once::new();
    HOOK.call_once(|| {
        let loud = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            if QUIET.load(Ordering::SeqCst) == 0 {
                loud(info);
            }
        }));
    });
    QUIET.fetch_add(1, Ordering::SeqCst);
    let done = work();
    QUIET.fetch_sub(1, Ordering::SeqCst);
    done
}
