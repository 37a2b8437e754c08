//! Parses `#[cached(...)]`. `valid` checks which attributes can be combined.

use proc_macro2::TokenStream;
use syn::parse::{ParseStream, Parser};
use syn::{Expr, ExprLit, Lit, Path};

use super::model::OnError;
use crate::ast::Migrate;
use crate::attr::{Given, Item};
use crate::error::Errors;
use crate::freshness::{FreshnessAttrs, NAMES};
use crate::spelling::did_you_mean;

const KNOWN: [&str; 19] = [
    "cache",
    "scope",
    "table",
    "column",
    "ttl",
    "stale_while_revalidate",
    "stale_if_error",
    "jitter",
    "max_records",
    "auto_purge",
    "single_flight",
    "lease",
    "on_unavailable",
    "migrate",
    "key",
    "json",
    "map_error",
    "on_error",
    "crate",
];

/// The attributes of a function.
#[derive(Default)]
pub(super) struct FunctionAttrs {
    pub(super) cache: Option<Given<Expr>>,
    pub(super) scope: Option<Given<String>>,
    pub(super) table: Option<Given<String>>,
    pub(super) column: Option<Given<String>>,
    pub(super) freshness: FreshnessAttrs,
    pub(super) migrate: Option<Given<Migrate>>,
    pub(super) key: Option<Given<Expr>>,
    pub(super) json: Option<Given<()>>,
    pub(super) map_error: Option<Given<Expr>>,
    pub(super) on_error: Option<Given<OnError>>,
    pub(super) krate: Option<Given<Path>>,
}

/// Parses the attributes. Invalid ones are reported in `errors` and ignored.
pub(super) fn of_function(attributes: TokenStream, errors: &mut Errors) -> FunctionAttrs {
    let takes = format!(
        "write `#[cached(cache = ...)]` with attributes in the parentheses: `{}`",
        KNOWN.join("`, `")
    );
    let parse = |input: ParseStream<'_>| Item::parse_all(input, &takes);
    let items = errors.keep(parse.parse2(attributes)).unwrap_or_default();
    let mut parsed = FunctionAttrs::default();
    for item in items {
        if NAMES.contains(&item.key().as_str())
            && let Some(done) = parsed.freshness.read(&item)
        {
            errors.keep(done);
            continue;
        }
        let done = match item.key().as_str() {
            "cache" => item.put(&mut parsed.cache, Item::expr),
            "scope" => item.put(&mut parsed.scope, Item::name),
            "table" => item.put(&mut parsed.table, Item::name),
            "column" => item.put(&mut parsed.column, Item::name),
            "migrate" => item.put(&mut parsed.migrate, Item::migrate),
            "key" => item.put(&mut parsed.key, Item::expr),
            "json" => item.put(&mut parsed.json, Item::flag),
            "map_error" => item.put(&mut parsed.map_error, Item::expr),
            "on_error" => item.put(&mut parsed.on_error, on_error),
            "crate" => item.put(&mut parsed.krate, Item::path),
            name => Err(item.wrong(format!(
                "unknown attribute `{name}`; the attributes of a cached function are `{}`{}",
                KNOWN.join("`, `"),
                did_you_mean(name, KNOWN)
            ))),
        };
        errors.keep(done);
    }
    parsed
}

/// Parses `on_error`: a word, or an expression that is called with the error.
fn on_error(item: &Item) -> syn::Result<OnError> {
    let expr = item.expr()?;
    let Expr::Lit(ExprLit { lit: Lit::Str(word), .. }) = &expr else {
        return Ok(OnError::Call(expr));
    };
    match word.value().as_str() {
        "compute" => Ok(OnError::Compute),
        "panic" => Ok(OnError::Panic),
        other => Err(syn::Error::new(
            word.span(),
            format!(
                "unknown value `{other}`; `on_error` is `compute`, `panic`, or a function that takes the error{}",
                did_you_mean(other, ["compute", "panic"])
            ),
        )),
    }
}
