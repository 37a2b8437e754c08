//! Schema changes on SQLite, and what other programs and other processes do to a database.
#![cfg(feature = "sqlite")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a failed test panics")]

mod adopt;
mod changed;
mod deadlines;
mod expiry;
mod foreign;
mod handles;
mod kill;
mod options;
mod processes;
mod refused;
mod steps;
mod support;
mod unknown;
