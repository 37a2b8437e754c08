//! The backends of typed tables, through Diesel.

pub(crate) mod sqlite;
