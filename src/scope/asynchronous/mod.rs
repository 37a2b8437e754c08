//! The handles for async code: the same scopes, whose calls are futures. They convert keys and
//! records as the blocking handles do, and leave the rest to the same core.

mod dynamic;
mod listing;
mod map;
mod typed;

pub use self::dynamic::AsyncDynScope;
pub use self::listing::Listing;
pub use self::map::AsyncMapScope;
pub use self::typed::AsyncScope;
