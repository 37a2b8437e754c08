//! The leases by which processes share computations, in a table of hilcat's own.

/// The table's name.
pub(super) const TABLE: &str = "hilcat_leases";
