//! The interface to Diesel: pooled connections, the operations of a scope in the caller's
//! transaction, and the conversions of column values.

pub(crate) mod checkout;
pub(crate) mod column_value;
pub(crate) mod engine;
pub mod sql_types;
pub(crate) mod transaction;
