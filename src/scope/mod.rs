//! The public handles: [`Scope`] for typed records, [`MapScope`] for one value per key, and
//! [`DynScope`] for records known only at run time. Each converts its arguments to rows and keys,
//! and calls the shared [`Core`].

#[cfg(feature = "async")]
mod asynchronous;
mod core;
mod dynamic;
mod entry;
mod json_rows;
mod map;
#[cfg(feature = "sql")]
mod transaction;
mod typed;

#[cfg(feature = "async")]
pub use self::asynchronous::{AsyncDynScope, AsyncMapScope, AsyncScope, Listing};
pub(crate) use self::core::{Absent, Core, Opening};
pub use self::dynamic::DynScope;
pub use self::entry::Entry;
pub use self::map::MapScope;
#[cfg(feature = "sql")]
pub use self::transaction::TransactionScope;
pub use self::typed::Scope;
