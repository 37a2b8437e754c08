//! The backends of typed tables, through Diesel: a table for each scope, a column for each field.
//!
//! All of it is generic over a [`Dialect`](dialect::Dialect): what differs between engines stands
//! in one file each under `dialect/`.

#![cfg_attr(
    not(all(feature = "sqlite", feature = "postgresql", feature = "mysql")),
    allow(dead_code, reason = "an engine has use for what others have none for")
)]

mod batch;
mod database;
mod dialect;
mod error;
mod identity;
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
pub(crate) mod single;
#[cfg(feature = "sqlite")]
pub(crate) mod sqlite;
mod statement;
mod table;
mod write;
