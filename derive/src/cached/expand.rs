//! Generates the function and its companions. They contain data and a call of the library, which
//! contains the logic.
//!
//! Generated names have the hygiene `mixed_site`, so the body of the function cannot see them. Code
//! that needs a trait of a type has the span of that type, so that errors point there.

use proc_macro2::{Ident, Span, TokenStream};
use quote::{ToTokens, format_ident, quote, quote_spanned};
use syn::ext::IdentExt;
use syn::spanned::Spanned;
use syn::{Attribute, ReturnType, Signature};

use crate::expand::policy_of;

use super::model::{Argument, Failure, Function, Key, Nullable, OnError};

/// The generated names.
struct Names {
    function: Ident,
    cache: Ident,
    parts: Ident,
    kind: Ident,
    value: Ident,
    error: Ident,
}

impl Names {
    fn new() -> Self {
        let name = |name| Ident::new(name, Span::mixed_site());
        Self {
            function: name("function"),
            cache: name("cache"),
            parts: name("parts"),
            kind: name("kind"),
            value: name("value"),
            error: name("error"),
        }
    }
}

/// The generated functions.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Generated {
    Call,
    Refresh,
    Forget,
}

pub(super) fn function(function: &Function<'_>) -> TokenStream {
    let [call, refresh, forget] = [Generated::Call, Generated::Refresh, Generated::Forget]
        .map(|generated| one(function, generated));
    quote!(#call #refresh #forget)
}

/// Generates one of the three functions.
fn one(function: &Function<'_>, generated: Generated) -> TokenStream {
    let item = function.item;
    let (attributes, sig) = match generated {
        Generated::Call => {
            (item.attrs.iter().map(ToTokens::to_token_stream).collect(), item.sig.clone())
        }
        Generated::Refresh => {
            (companion_attributes(function, generated), renamed(function, "refresh"))
        }
        Generated::Forget => {
            (companion_attributes(function, generated), forget_signature(function))
        }
    };
    let vis = &item.vis;
    let attributes: TokenStream = attributes;
    let body = body(function, generated, &sig);
    quote! {
        #attributes
        #vis #sig {
            #body
        }
    }
}

/// Returns the attributes of a companion function.
fn companion_attributes(function: &Function<'_>, generated: Generated) -> TokenStream {
    let kept = |attribute: &&Attribute| {
        let path = attribute.path();
        path.is_ident("cfg") || path.is_ident("allow")
    };
    let kept = function.item.attrs.iter().filter(kept);
    let name = function.item.sig.ident.unraw();
    let doc = match generated {
        Generated::Refresh => {
            format!("Runs `{name}` even if its value is stored, and stores and returns the result.")
        }
        _ => format!(
            "Removes the stored value of a call of `{name}`. Returns whether there was one.\n\n# Errors\n\nIf the cache fails."
        ),
    };
    quote! {
        #(#kept)*
        #[doc = #doc]
        #[allow(dead_code, unused_variables, unused_mut)]
    }
}

fn renamed(function: &Function<'_>, suffix: &str) -> Signature {
    let sig = &function.item.sig;
    let name = format!("{}_{suffix}", sig.ident.unraw());
    Signature { ident: Ident::new(&name, sig.ident.span()), ..sig.clone() }
}

fn forget_signature(function: &Function<'_>) -> Signature {
    let krate = &function.krate;
    let output: ReturnType = syn::parse_quote!(-> #krate::Result<::core::primitive::bool>);
    Signature { output, ..renamed(function, "forget") }
}

fn body(function: &Function<'_>, generated: Generated, sig: &Signature) -> TokenStream {
    let names = Names::new();
    let Names { function: data, cache, parts, kind, .. } = &names;
    let opened = cache_of(function, cache);
    let (described, key, how) = (describe(function), key(function, &names), kind_of(function));
    let call = match generated {
        Generated::Forget => forget(function, &names),
        _ => call(function, generated, sig, &names),
    };
    quote! {
        let #data = #described;
        #opened
        let #parts = #key;
        let #kind = #how;
        #call
    }
}

/// Binds the cache: borrowed, or a clone if the body may change or move `self`, or a future may
/// outlive the borrow. A temporary cache lives as long as the call.
fn cache_of(function: &Function<'_>, name: &Ident) -> TokenStream {
    let (krate, cache) = (&function.krate, &function.cache);
    let cache_span = Span::call_site().located_at(cache.span());
    let path = quote_spanned!(cache_span=> #krate::Cache);
    match function.clones_cache || function.item.sig.asyncness.is_some() {
        true => {
            quote_spanned!(cache_span=> let #name = <#path as ::core::clone::Clone>::clone(&#cache);)
        }
        false => quote_spanned!(cache_span=> let #name: &#path = &#cache;),
    }
}

/// Generates the static data of a function.
fn describe(function: &Function<'_>) -> TokenStream {
    let krate = &function.krate;
    let name = function.item.sig.ident.unraw().to_string();
    let keys: Vec<String> = match &function.key {
        Key::Arguments(arguments) => {
            arguments.iter().map(|argument| argument.ident.unraw().to_string()).collect()
        }
        Key::Expressions(_) => Vec::new(),
    };
    let scope = function.scope.as_ref().map(|scope| quote!(.scope(#scope)));
    let table = function.table.as_ref().map(|table| quote!(.table(#table)));
    let column = function.column.as_ref().map(|column| quote!(.column(#column)));
    let freshness = function.freshness.calls(krate, |millis| quote!(#millis));
    let migrate = function.migrate.map(|policy| {
        let policy = policy_of(krate, policy);
        quote!(.migrate(#policy))
    });
    quote! {{
        static FUNCTION: #krate::__private::cached::Function =
            #krate::__private::cached::Function::new(#name, &[#(#keys),*]) #scope #table #column #freshness #migrate;
        &FUNCTION
    }}
}

/// Generates the parts of the key.
fn key(function: &Function<'_>, names: &Names) -> TokenStream {
    let krate = &function.krate;
    let parts: Vec<TokenStream> = match &function.key {
        Key::Arguments(arguments) => {
            arguments.iter().map(|argument| part_of(function, argument)).collect()
        }
        Key::Expressions(expressions) => {
            let value = &names.value;
            let part = |expression| {
                quote! {
                    match &#expression {
                        #value => {
                            use #krate::__private::cached::KeyPart as _;
                            #value.key_part()
                        }
                    }
                }
            };
            expressions.iter().map(part).collect()
        }
    };
    quote!(::std::vec![#(#parts),*])
}

fn part_of(function: &Function<'_>, argument: &Argument) -> TokenStream {
    let krate = &function.krate;
    let Argument { ident, ty, references } = argument;
    let value = match references {
        0 => quote!(&#ident),
        more => {
            let derefs = (1..*more).map(|_| quote!(*));
            quote!(#(#derefs)* #ident)
        }
    };
    let part = quote_spanned!(ty.span()=> <#ty as #krate::__private::cached::KeyPart>::key_part);
    quote!({ #part }(#value))
}

/// Generates the kind of the value: a column, JSON or a record.
fn kind_of(function: &Function<'_>) -> TokenStream {
    let (krate, value) = (&function.krate, &function.value);
    if let Some(Nullable(nullable)) = function.json {
        return quote!(#krate::__private::cached::Json::<#value, #nullable>::NEW);
    }
    let kind = Ident::new("kind", Span::call_site().located_at(value.span()));
    quote! {{
        #[allow(unused_imports)]
        use #krate::__private::cached::{OfColumn as _, OfNothing as _, OfRecord as _};
        (&&&#krate::__private::cached::Return::<#value>::NEW).#kind()
    }}
}

fn forget(function: &Function<'_>, names: &Names) -> TokenStream {
    let Names { function: data, cache, parts, kind, .. } = names;
    let krate = &function.krate;
    match function.item.sig.asyncness.is_some() {
        true => {
            quote!(#krate::__private::cached::forget_async(#kind, #data, #cache, #parts).await)
        }
        false => {
            let cache = borrowed(function, cache);
            quote!(#krate::__private::cached::forget(#kind, #data, #cache, #parts))
        }
    }
}

fn borrowed(function: &Function<'_>, cache: &Ident) -> TokenStream {
    if function.clones_cache { quote!(&#cache) } else { quote!(#cache) }
}

/// Generates the call of the library, which runs the function if needed, and converts its result.
fn call(
    function: &Function<'_>,
    generated: Generated,
    sig: &Signature,
    names: &Names,
) -> TokenStream {
    let Names { function: data, cache, parts, kind, .. } = names;
    let krate = &function.krate;
    let is_async = sig.asyncness.is_some();
    let handler = match &function.failure {
        Failure::From(_) | Failure::Map(_) => None,
        Failure::Plain(on_error) | Failure::Hidden(on_error) => {
            let handler = error_handler(function, on_error, names);
            Some(quote!(#handler,))
        }
    };
    let callee = format_ident!(
        "{}{}{}",
        if handler.is_none() { "try_" } else { "" },
        if generated == Generated::Refresh { "refresh" } else { "call" },
        if is_async { "_async" } else { "" },
    );
    let cache = if is_async { quote!(#cache) } else { borrowed(function, cache) };
    let compute = compute(function, sig);
    let wait = is_async.then(|| quote!(.await));
    let called = quote! {
        #krate::__private::cached::#callee(#kind, #data, #cache, #parts, #handler #compute) #wait
    };
    finished(function, &called, names)
}

/// Converts the result of a call to the return type of the function.
fn finished(function: &Function<'_>, called: &TokenStream, names: &Names) -> TokenStream {
    let Names { value, error, .. } = names;
    let krate = &function.krate;
    let convert = match &function.failure {
        Failure::Plain(_) => return quote!(#krate::__private::cached::unfailing(#called)),
        Failure::Hidden(_) => return called.clone(),
        Failure::Map(map) => quote!((#map)(#error)),
        Failure::From(span) => {
            let span = Span::call_site().located_at(*span);
            quote_spanned! {span=>
                { <_ as #krate::__private::cached::FromCacheError>::from_cache_error }(#error)
            }
        }
    };
    quote! {
        match #called {
            ::core::result::Result::Ok(#value) => ::core::result::Result::Ok(#value),
            ::core::result::Result::Err(#krate::__private::cached::CallError::Function(#error)) => {
                ::core::result::Result::Err(#error)
            }
            ::core::result::Result::Err(#krate::__private::cached::CallError::Cache(#error, _)) => {
                ::core::result::Result::Err(#convert)
            }
        }
    }
}

/// Generates the closure that is called with an error of the cache before the value is computed.
fn error_handler(function: &Function<'_>, on_error: &OnError, names: &Names) -> TokenStream {
    let Names { function: data, error, .. } = names;
    let krate = &function.krate;
    match on_error {
        OnError::Compute => quote!(|_| ()),
        OnError::Panic => {
            quote!(|#error| -> () { #krate::__private::cached::panic_with(#data, #error) })
        }
        OnError::Call(call) => quote!(|#error: &#krate::Error| { (#call)(#error); }),
    }
}

/// Generates a closure of the body, which is called if the value is not stored.
fn compute(function: &Function<'_>, sig: &Signature) -> TokenStream {
    let (krate, block) = (&function.krate, &function.item.block);
    let ReturnType::Type(_, ty) = &sig.output else { return TokenStream::new() };
    let plain = matches!(function.failure, Failure::Plain(_));
    if sig.asyncness.is_some() {
        // An async block cannot declare its type: the unreachable `return` determines it.
        let never = Ident::new("never", Span::mixed_site());
        let run = quote! {
            async move {
                #[allow(unreachable_code, clippy::all)]
                if false {
                    let #never: #ty = loop {};
                    return #never;
                }
                #block
            }
        };
        return match plain {
            true => quote!(move || async move { #krate::__private::cached::fine(#run.await) }),
            false => quote!(move || #run),
        };
    }
    match plain {
        true => quote! {
            || #krate::__private::cached::fine((|| -> #ty #block)())
        },
        false => quote!(|| -> #ty #block),
    }
}
