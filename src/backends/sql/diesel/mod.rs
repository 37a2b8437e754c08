//! What users of Diesel are given: pooled connections, the calls of a scope in a transaction of the
//! caller's, and the conversions of column values.

pub(crate) mod checkout;
pub(crate) mod column_value;
pub(crate) mod engine;
pub mod sql_types;
pub(crate) mod transaction;
