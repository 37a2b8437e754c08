//! The function as the macro understands it: nothing in here can be wrong.

use proc_macro2::Span;
use syn::{Expr, Ident, ItemFn, Path, Type};

use crate::ast::Migrate;
use crate::freshness::FreshnessAttrs;

/// A function that is to be cached.
pub(super) struct Function<'a> {
    /// As it was written.
    pub(super) item: &'a ItemFn,
    /// The path of the library.
    pub(super) krate: Path,
    pub(super) cache: Expr,
    /// The cache is a part of what the body may change or move.
    pub(super) clones_cache: bool,
    pub(super) scope: Option<String>,
    pub(super) table: Option<String>,
    pub(super) column: Option<String>,
    pub(super) freshness: FreshnessAttrs,
    pub(super) migrate: Option<Migrate>,
    pub(super) key: Key,
    /// The type of what is kept: what is in a `Result`, or what is returned.
    pub(super) value: Type,
    /// It is kept as JSON; NULL for `None`.
    pub(super) json: Option<Nullable>,
    pub(super) failure: Failure,
}

/// Whether a type is an `Option`.
pub(super) struct Nullable(pub(super) bool);

/// What a value is found by.
pub(super) enum Key {
    /// The arguments.
    Arguments(Vec<Argument>),
    /// Expressions of them.
    Expressions(Vec<Expr>),
}

/// An argument that is a part of the key.
pub(super) struct Argument {
    pub(super) ident: Ident,
    /// Its type behind all references, and how many there are.
    pub(super) ty: Type,
    pub(super) references: usize,
}

/// What `on_error` says.
#[derive(Clone)]
pub(super) enum OnError {
    Compute,
    Panic,
    Tell(Expr),
}

/// What is done where the cache fails.
pub(super) enum Failure {
    /// The function returns no `Result`.
    Plain(OnError),
    /// It returns one, and an error of its own for that of the cache: by `From`, shown here.
    From(Span),
    /// The same by a function.
    Map(Expr),
    /// It returns one, and does not see errors of the cache.
    Hidden(OnError),
}
