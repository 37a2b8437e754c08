//! Typed Diesel queries over the rows of a cache, and cache calls in transactions of Diesel's.
//!
//! An engine is a file of its own, which says what its connections and its databases are and has
//! the suite as a module.

#![cfg(all(feature = "derive", feature = "sqlite"))]
#![allow(clippy::unwrap_used, reason = "a failed test panics")]

mod records;
mod sqlite;

/// The error of a transaction: Diesel's, hilcat's or one of the test's own.
type Failed = Box<dyn std::error::Error + Send + Sync>;
