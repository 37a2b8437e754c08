//! The handles that users hold: [`Scope`] of typed records, [`MapScope`] of one value a key, and
//! [`DynScope`] of records known only at run time. All three are thin: they turn what they are
//! given into rows and keys, and leave the rest to one core.

mod core;
mod dynamic;
#[cfg(feature = "sql")]
mod joined;
mod map;
mod typed;

pub(crate) use self::core::Core;
pub use self::dynamic::{DynKey, DynScope};
#[cfg(feature = "sql")]
pub use self::joined::Joined;
pub use self::map::MapScope;
pub use self::typed::Scope;
