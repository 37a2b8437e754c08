//! How long records are fresh, and what is served when they no longer are.

mod options;
pub(crate) mod text;
mod validate;

pub use self::options::{Freshness, OnUnavailable, SingleFlight, Ttl};
pub(crate) use self::validate::invalid;

/// The name of the column that says when a record stops being fresh, in the tables, documents and
/// serialised records of scopes that use expiry and have no column of their own for it.
pub const EXPIRES_AT: &str = "hilcat_expires_at";
