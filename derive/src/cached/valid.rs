//! Validates a function: returns a [`Function`], or all its errors.

use proc_macro2::{Span, TokenStream, TokenTree};
use quote::ToTokens;
use syn::ext::IdentExt;
use syn::spanned::Spanned;
use syn::{
    Expr, FnArg, GenericArgument, GenericParam, ItemFn, Pat, PatType, Path, PathArguments,
    Receiver, ReturnType, Signature, Type,
};

use super::attr::FunctionAttrs;
use super::model::{Argument, Failure, Function, Key, Nullable, OnError};
use crate::error::Errors;
use crate::valid::is_option;

/// Validates a function and its attributes.
pub(super) fn function(
    item: &ItemFn,
    attrs: FunctionAttrs,
    mut errors: Errors,
) -> syn::Result<Function<'_>> {
    let parsed_without_errors = errors.is_empty();
    check_signature(&item.sig, &mut errors);
    // Otherwise, the missing attribute may be a mistyped one.
    if attrs.cache.is_none() && parsed_without_errors {
        errors.at(item.sig.ident.span(), "no cache is given: write `#[cached(cache = ...)]`");
    }
    attrs.freshness.check(false, &mut errors);
    let key = key(item, &attrs, &mut errors);
    check_column(&attrs, &key, &mut errors);
    let returned = returned(&item.sig, &mut errors);
    let failure = failure(&attrs, &returned, &mut errors);
    let cache = attrs.cache.map(|cache| cache.value);
    let placeholder = || syn::parse_quote!(());
    let cache: Expr = cache.unwrap_or_else(placeholder);
    errors.finish(Function {
        item,
        krate: library(attrs.krate.map(|krate| krate.value)),
        clones_cache: may_consume_self(&item.sig)
            && word(cache.to_token_stream(), "self").is_some(),
        cache,
        scope: attrs.scope.map(|scope| scope.value),
        table: attrs.table.map(|table| table.value),
        column: attrs.column.map(|column| column.value),
        freshness: attrs.freshness,
        migrate: attrs.migrate.map(|migrate| migrate.value),
        key,
        json: attrs.json.map(|_| Nullable(is_option(&returned.value))),
        value: returned.value,
        failure,
    })
}

fn library(path: Option<Path>) -> Path {
    path.unwrap_or_else(|| syn::parse_quote!(::hilcat))
}

fn check_signature(sig: &Signature, errors: &mut Errors) {
    for (token, what) in [
        (sig.constness.map(|token| token.span()), "a `const fn` runs when it is compiled"),
        (sig.unsafety.map(|token| token.span()), "what an `unsafe fn` relies on is not in its key"),
        (sig.abi.as_ref().map(Spanned::span), "an `extern fn` is called by other languages"),
    ] {
        if let Some(span) = token {
            errors.at(span, format!("{what}: it cannot be cached"));
        }
    }
    if let Some(token) = sig.asyncness
        && !cfg!(feature = "async")
    {
        errors.at(token.span(), "an `async fn` is cached with the cargo feature `async` of hilcat");
    }
    let is_type = |param: &&GenericParam| !matches!(param, GenericParam::Lifetime(_));
    if let Some(param) = sig.generics.params.iter().find(is_type) {
        errors.push(syn::Error::new_spanned(
            param,
            "a cached function cannot be generic over types: its table is of one type; write a function for each type",
        ));
    }
    for argument in typed(sig) {
        if let Some(span) = impl_trait(&argument.ty) {
            errors.at(
                span,
                "a cached function cannot take an `impl Trait`: its table is of one type; name the type",
            );
        }
    }
}

fn typed(sig: &Signature) -> impl Iterator<Item = &PatType> {
    sig.inputs.iter().filter_map(|input| match input {
        FnArg::Typed(argument) => Some(argument),
        FnArg::Receiver(_) => None,
    })
}

/// Returns the span of an `impl Trait` in a type.
fn impl_trait(ty: &Type) -> Option<Span> {
    word(ty.to_token_stream(), "impl")
}

/// Returns the span of an identifier in tokens.
fn word(tokens: TokenStream, wanted: &str) -> Option<Span> {
    tokens.into_iter().find_map(|token| match token {
        TokenTree::Ident(ident) => (ident == wanted).then(|| ident.span()),
        TokenTree::Group(group) => word(group.stream(), wanted),
        _ => None,
    })
}

fn key(item: &ItemFn, attrs: &FunctionAttrs, errors: &mut Errors) -> Key {
    if let Some(key) = &attrs.key {
        return Key::Expressions(match &key.value {
            Expr::Tuple(tuple) if !tuple.elems.is_empty() => tuple.elems.iter().cloned().collect(),
            other => vec![other.clone()],
        });
    }
    if typed(&item.sig).next().is_none() {
        errors.at(
            item.sig.ident.span(),
            "the arguments of a cached function are its key, and this one has none: add `key = ...`, for example `key = \"all\"`",
        );
    }
    let arguments = typed(&item.sig).filter_map(|argument| {
        // `check_signature` has already reported these.
        let wrong = impl_trait(&argument.ty).is_some();
        errors.keep(self::argument(argument)).filter(|_| !wrong)
    });
    Key::Arguments(arguments.collect())
}

fn argument(argument: &PatType) -> syn::Result<Argument> {
    let ident = match &*argument.pat {
        Pat::Ident(pattern) if pattern.subpat.is_none() && pattern.by_ref.is_none() => {
            pattern.ident.clone()
        }
        other => {
            return Err(syn::Error::new_spanned(
                other,
                "an argument is a column of the key and needs a name: name it, or add `key = ...`",
            ));
        }
    };
    let (mut ty, mut references) = (&*argument.ty, 0);
    loop {
        ty = match ty {
            Type::Reference(reference) => {
                references += 1;
                &reference.elem
            }
            Type::Group(group) => &group.elem,
            Type::Paren(paren) => &paren.elem,
            _ => break,
        };
    }
    if is_option(ty) {
        return Err(syn::Error::new_spanned(
            ty,
            "an argument that is an Option cannot be part of the key, which is never NULL: add `key = ...`, for example `key = format!(\"{x:?}\")`",
        ));
    }
    Ok(Argument { ident, ty: ty.clone(), references })
}

fn check_column(attrs: &FunctionAttrs, key: &Key, errors: &mut Errors) {
    let (Some(column), Key::Arguments(arguments)) = (&attrs.column, key) else { return };
    if arguments.iter().any(|argument| argument.ident.unraw() == column.value) {
        errors.at(
            column.span,
            format!(
                "`{}` is the column of an argument; choose another name for the column of the value",
                column.value
            ),
        );
    }
}

/// The return type of a function.
struct Returned {
    value: Type,
    /// The span of the `Result` that contains the value, if there is one.
    result: Option<Span>,
}

fn returned(sig: &Signature, errors: &mut Errors) -> Returned {
    let nothing = || Returned { value: syn::parse_quote!(()), result: None };
    let ReturnType::Type(_, ty) = &sig.output else {
        errors.at(sig.ident.span(), "the function returns nothing that could be cached");
        return nothing();
    };
    let (value, result) = match ok_of(ty) {
        Some(ok) => (ok, Some(ty.span())),
        None => (&**ty, None),
    };
    let message = match value {
        Type::Reference(reference)
            if reference.lifetime.is_none()
                || reference.lifetime.as_ref().is_some_and(|lifetime| lifetime.ident != "_") =>
        {
            Some(
                "the value is read from a store, so the function must return an owned type, such as `String` instead of `&str`",
            )
        }
        Type::Never(_) => Some("the function never returns, so there is nothing to cache"),
        Type::Tuple(tuple) if tuple.elems.is_empty() => {
            Some("the function returns nothing that could be cached")
        }
        other if impl_trait(other).is_some() => Some(
            "the value is read from a store, so its type must be known: name it instead of `impl Trait`",
        ),
        _ => None,
    };
    if let Some(message) = message {
        errors.push(syn::Error::new_spanned(value, message));
    }
    Returned { value: value.clone(), result }
}

/// Returns the first type argument of a type that is written `Result<..>`.
fn ok_of(ty: &Type) -> Option<&Type> {
    let path = match ty {
        Type::Group(group) => return ok_of(&group.elem),
        Type::Paren(paren) => return ok_of(&paren.elem),
        Type::Path(path) => &path.path,
        _ => return None,
    };
    let last = path.segments.last().filter(|last| last.ident == "Result")?;
    let PathArguments::AngleBracketed(arguments) = &last.arguments else { return None };
    arguments.args.iter().find_map(|argument| match argument {
        GenericArgument::Type(ty) => Some(ty),
        _ => None,
    })
}

fn failure(attrs: &FunctionAttrs, returned: &Returned, errors: &mut Errors) -> Failure {
    let on_error = attrs.on_error.as_ref();
    match (&attrs.map_error, on_error, returned.result) {
        (Some(map), Some(_), _) => {
            errors.at(map.span, "`map_error` returns the error of the cache, `on_error` hides it: keep one of them");
        }
        (Some(map), None, None) => errors.at(
            map.span,
            "`map_error` needs a function that returns a `Result`; use `on_error = ...` for this one",
        ),
        _ => {}
    }
    let hidden = on_error.map(|on_error| on_error.value.clone());
    match (&attrs.map_error, returned.result, hidden) {
        (_, None, hidden) => Failure::Plain(hidden.unwrap_or(OnError::Compute)),
        (_, Some(_), Some(hidden)) => Failure::Hidden(hidden),
        (Some(map), Some(_), None) => Failure::Map(map.value.clone()),
        (None, Some(span), None) => Failure::From(span),
    }
}

/// Returns whether the body can change `self` or move it.
fn may_consume_self(sig: &Signature) -> bool {
    let shared =
        |receiver: &Receiver| receiver.reference.is_some() && receiver.mutability.is_none();
    sig.receiver().is_some_and(|receiver| !shared(receiver))
}
