//! Caches made of caches. A layer is a [`Store`](crate::store::Store) that wraps other stores and
//! uses only their public interface.
//!
//! Guarantees beyond the contract of a store are documented at the constructors:
//! [`Cache::tiered`](crate::Cache::tiered), [`staged`](crate::Cache::staged),
//! [`fan_out`](crate::Cache::fan_out) and [`prefix`](crate::Cache::prefix).

pub(crate) mod config;
pub(crate) mod fan_out;
mod layer_store;
mod limits;
mod plans;
pub(crate) mod prefix;
mod read_only;
pub(crate) mod staged;
mod stripes;
pub(crate) mod tiered;
mod write_tracker;

pub use self::fan_out::OnFailure;
pub(crate) use self::layer_store::LayerStore;
pub(crate) use self::read_only::ReadOnly;
pub(crate) use self::write_tracker::Tiers;
