//! The backends of typed tables, through Diesel: a table for each scope, a column for each field.
//!
//! All of it is generic over a [`Dialect`](dialect::Dialect): what differs between engines stands
//! in one file each under `dialect/`.

mod batch;
pub(crate) mod cell;
mod database;
mod dialect;
pub(crate) mod engine;
mod error;
mod identity;
pub(crate) mod join;
pub(crate) mod lend;
mod migrate;
mod pool;
mod registry;
mod render;
pub mod sql_types;
pub(crate) mod sqlite;
mod statement;
mod table;
