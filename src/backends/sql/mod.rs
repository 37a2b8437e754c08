//! The backends of typed tables, through Diesel: a table for each scope, a column for each field.
//!
//! All of it is generic over a [`Dialect`](dialect::Dialect): what differs between engines stands
//! in one file each under `dialect/`.

mod batch;
mod database;
mod dialect;
mod error;
mod identity;
mod migrate;
mod pool;
mod registry;
mod render;
pub(crate) mod single;
pub(crate) mod sqlite;
mod statement;
mod table;
