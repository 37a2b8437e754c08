//! The handles that users hold: [`Scope`] of typed records, [`MapScope`] of one value a key, and
//! [`DynScope`] of records known only at run time. All three are thin: they turn what they are
//! given into rows and keys, and leave the rest to one core.

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
