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

use super::{DynScope, MapScope, Scope};
use crate::{ColumnValue, RecordKey, ScopeRecord};

impl<R: ScopeRecord> Scope<R> {
    /// Returns the handle of the same scope for async code.
    pub fn into_async(self) -> AsyncScope<R> {
        AsyncScope::new(self.core)
    }
}

impl<K: RecordKey, V: ColumnValue> MapScope<K, V> {
    /// Returns the handle of the same scope for async code.
    pub fn into_async(self) -> AsyncMapScope<K, V> {
        AsyncMapScope::new(self.core)
    }
}

impl DynScope {
    /// Returns the handle of the same scope for async code.
    pub fn into_async(self) -> AsyncDynScope {
        AsyncDynScope::new(self)
    }
}
