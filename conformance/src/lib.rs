//! The suite that every backend of [`hilcat`] passes, for the tests of a backend of your own.
//!
//! A [`Case`] is one property of the contract of [`Store`](hilcat::store::Store) and
//! [`ScopeStore`](hilcat::store::ScopeStore). It runs on a [`Storage`], which is fresh for each case and opens
//! caches on the backend. Its [`Requirement`] selects the backends by their
//! [`Capabilities`](hilcat::store::Capabilities).
//!
//! # Examples
//!
//! All cases in one test:
//!
//! ```
//! use hilcat::backend::Memory;
//! use hilcat_conformance::Storage;
//!
//! # /*
//! #[test]
//! # */
//! fn memory_conforms() {
//!     hilcat_conformance::run_all(|| Storage::of_store(|| Ok(Memory::new())));
//! }
//! # memory_conforms();
//! ```
//!
//! A test for each case, with the crate `libtest-mimic` (in `Cargo.toml`, such a test has `harness = false`):
//!
//! ```no_run
//! use std::process::ExitCode;
//!
//! use hilcat::backend::Memory;
//! use hilcat::store::Store as _;
//! use hilcat_conformance::{Storage, cases_for, check_against_model};
//! use libtest_mimic::{Arguments, Trial};
//!
//! fn storage() -> Storage {
//!     Storage::of_store(|| Ok(Memory::new()))
//! }
//!
//! fn main() -> ExitCode {
//!     let cases = cases_for(Memory::new().capabilities());
//!     let mut trials: Vec<Trial> =
//!         cases.map(|case| Trial::test(case.name(), move || Ok(case.run(storage())?))).collect();
//!     trials.push(Trial::test("model", || Ok(check_against_model(60, storage)?)));
//!     libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
//! }
//! ```
//!
//! A backend on disk returns the same records whenever its storage is opened again. The closure owns the directory, which is
//! removed after the case:
//!
//! ```
//! # #[cfg(unix)] {
//! use hilcat::Cache;
//! use hilcat_conformance::Storage;
//! # mod tempfile {
//! #     pub struct TempDir(std::path::PathBuf);
//! #     impl TempDir { pub fn path(&self) -> &std::path::Path { &self.0 } }
//! #     impl Drop for TempDir { fn drop(&mut self) { let _ = std::fs::remove_dir_all(&self.0); } }
//! #     pub fn tempdir() -> std::io::Result<TempDir> {
//! #         let path = std::env::temp_dir().join(hilcat_conformance::unique_name());
//! #         std::fs::create_dir(&path)?;
//! #         Ok(TempDir(path))
//! #     }
//! # }
//!
//! fn storage() -> Storage {
//!     let directory = tempfile::tempdir().unwrap();
//!     Storage::new(move |clock| {
//!         let uri = format!("file://{}", directory.path().display());
//!         Cache::builder(uri).clock(clock.clone()).open()
//!     })
//! }
//! # let case = hilcat_conformance::cases().next().unwrap();
//! # case.run(storage()).unwrap();
//! # }
//! ```
//!
//! # Questions
//!
//! ## May an engine be open in one process only?
//!
//! Yes. The suite runs in one process. Cases for persistent backends open a second cache while the first is open, to act as
//! another process: return a cache on the same engine, of which the `Store` is a cheap clone. Where a case closes all caches
//! and opens the storage again, it calls the closure of [`Storage::on_close`] in between: drop the engine there. Leave
//! [`Capabilities::shared_single_flight`](hilcat::store::Capabilities::shared_single_flight) off, since no other process can
//! share a computation.
//!
//! ## What happens to the handles of a scope that is recreated?
//!
//! Under `migrate = "recreate"`, opening a scope with another schema drops its records while older handles exist. A write
//! through an older handle must not store a record of the older schema:
//! return [`ErrorKind::SchemaChange`](hilcat::ErrorKind::SchemaChange), so that the caller opens the scope again. A read through an older
//! handle decodes what it finds, or returns [`ErrorKind::InvalidData`](hilcat::ErrorKind::InvalidData) where the columns do not match;
//! it never returns a value under the wrong column.
//!
//! ## Which parts of a URI are decoded?
//!
//! [`Uri::rest`](hilcat::store::Uri::rest) keeps its percent-escapes, since an escape may hide a separator: split it first, then decode
//! each part, for instance with the crate `percent-encoding`. The values of options are decoded. Pass a `Storage` a URI with escapes
//! (a directory with a space in its name) to test this; the suite does not know the URIs of a backend.
//!
//! ## What does `pop` do with a record that cannot be read?
//!
//! It returns the error of `fetch`, [`ErrorKind::InvalidData`](hilcat::ErrorKind::InvalidData), and leaves the record where it is, as
//! `pop_many` and `update` do: removing the record would lose it together with the error that reports it. `set` of all columns and `clear`
//! need not read what they replace. The suite cannot write such a record through the contract; a test of the backend's own does.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a failed case panics")]

mod cases;
mod context;
mod model;
mod records;
mod run;
mod storage;

pub use self::cases::{Case, Requirement, cases, cases_for};
pub use self::model::check_against_model;
pub use self::run::run_all;
pub use self::storage::{Storage, unique_name};
