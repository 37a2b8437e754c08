//! The freshness of records: how long they are fresh, and what is served afterwards.

mod options;
pub(crate) mod text;
mod validate;

pub use self::options::{Freshness, OnUnavailable, SingleFlight, Ttl};
pub(crate) use self::validate::invalid;

/// The name of hilcat's own expiry column. Tables, documents and serialised records have it if
/// their scope uses expiry and names no column of its own for it.
pub const EXPIRES_AT: &str = "hilcat_expires_at";
