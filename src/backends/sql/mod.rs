//! The backends of typed tables, through Diesel: a table for each scope, a column for each field.
//!
//! All of it is generic over a [`Dialect`](dialect::Dialect): what differs between engines stands
//! in one file each under `dialect/`.

#![cfg_attr(
    not(all(feature = "sqlite", feature = "postgresql", feature = "mysql")),
    allow(dead_code, reason = "each engine uses a part of what they share")
)]

mod batch;
pub(crate) mod cell;
mod database;
mod dialect;
pub(crate) mod engine;
mod error;
mod identity;
pub(crate) mod join;
pub(crate) mod lend;
#[cfg(feature = "server")]
pub(crate) mod link;
mod migrate;
#[cfg(feature = "mysql")]
pub(crate) mod mysql;
mod pool;
#[cfg(feature = "postgresql")]
pub(crate) mod postgresql;
mod registry;
mod render;
#[cfg(feature = "server")]
mod server;
pub mod sql_types;
#[cfg(feature = "sqlite")]
pub(crate) mod sqlite;
mod statement;
mod table;
mod write;
