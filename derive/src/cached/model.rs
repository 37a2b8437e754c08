//! The validated model of a cached function.

use proc_macro2::Span;
use syn::{Expr, Ident, ItemFn, Path, Type};

use crate::ast::Migrate;
use crate::freshness::FreshnessAttrs;

/// A cached function.
pub(super) struct Function<'a> {
    /// The original function.
    pub(super) item: &'a ItemFn,
    /// The path of the library.
    pub(super) krate: Path,
    pub(super) cache: Expr,
    /// Whether the cache must be cloned: it is in `self`, which the body may change or move.
    pub(super) clones_cache: bool,
    pub(super) scope: Option<String>,
    pub(super) table: Option<String>,
    pub(super) column: Option<String>,
    pub(super) freshness: FreshnessAttrs,
    pub(super) migrate: Option<Migrate>,
    pub(super) key: Key,
    /// The type of the stored value: the return type, or the type in a `Result`.
    pub(super) value: Type,
    /// Set if the value is stored as JSON.
    pub(super) json: Option<Nullable>,
    pub(super) failure: Failure,
}

/// Whether a type is an `Option`, whose `None` is stored as NULL.
pub(super) struct Nullable(pub(super) bool);

/// The key of a value.
pub(super) enum Key {
    /// The arguments.
    Arguments(Vec<Argument>),
    /// The expressions of `key`.
    Expressions(Vec<Expr>),
}

/// An argument that is part of the key.
pub(super) struct Argument {
    pub(super) ident: Ident,
    /// The type without references, and the number of those.
    pub(super) ty: Type,
    pub(super) references: usize,
}

/// The value of `on_error`.
#[derive(Clone)]
pub(super) enum OnError {
    Compute,
    Panic,
    /// Calls a function with the error, and computes.
    Call(Expr),
}

/// The behavior on an error of the cache.
pub(super) enum Failure {
    /// The function returns no `Result`.
    Plain(OnError),
    /// It returns a `Result` at this span, whose error is converted by `From<hilcat::Error>`.
    From(Span),
    /// It returns a `Result`, whose error is converted by this function.
    Map(Expr),
    /// It returns a `Result`, and errors of the cache are hidden.
    Hidden(OnError),
}
