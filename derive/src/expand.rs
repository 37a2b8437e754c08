//! Generates the implementation: data and thin conversions. The library contains the logic.
//!
//! All code that needs a trait of a field's type has the span of that type and the same form. So the
//! compiler reports a type without the trait once, at the field.

use proc_macro2::{Span, TokenStream, TokenTree};
use quote::{ToTokens, quote, quote_spanned};
use syn::spanned::Spanned;
use syn::{DeriveInput, Ident, Path, Type};

use crate::ast::{Column, Fallback, Field, Kind, Migrate, Record};
use crate::column_type::ColumnType;

/// Generates the implementation for a record.
pub(crate) fn record(record: &Record) -> TokenStream {
    let Record { ident, krate, .. } = record;
    let checks = record.columns().filter_map(|(field, column)| check(krate, field, column));
    let key = key(record);
    let schema = schema(record);
    let to_row = to_row(record);
    let from_row = from_row(record);
    quote! {
        const _: () = {
            #(#checks)*

            #[automatically_derived]
            #[allow(deprecated)]
            impl #krate::ScopeRecord for #ident {
                type Key = #key;
                #schema
                #to_row
                #from_row
            }
        };
    }
}

/// Generates a stub for a struct with errors, so that uses of the struct add no further errors.
pub(crate) fn stub(input: &DeriveInput, krate: &Path, key: &[Type]) -> TokenStream {
    let ident = &input.ident;
    let (impl_generics, type_generics, where_clause) = input.generics.split_for_impl();
    let key = match key {
        [] => quote!(::std::string::String),
        types => key_of(types.iter()),
    };
    quote! {
        const _: () = {
            #[automatically_derived]
            impl #impl_generics #krate::ScopeRecord for #ident #type_generics #where_clause {
                type Key = #key;
                fn schema() -> #krate::Schema {
                    ::core::unimplemented!()
                }
                fn to_row(&self) -> #krate::Result<#krate::Row> {
                    ::core::unimplemented!()
                }
                fn from_row(_: #krate::Row) -> #krate::Result<Self> {
                    ::core::unimplemented!()
                }
            }
        };
    }
}

/// Returns the type of the unique field, or the tuple of several.
fn key(record: &Record) -> TokenStream {
    key_of(record.columns().filter(|(_, column)| column.unique).map(|(field, _)| &field.ty))
}

fn key_of<'a>(types: impl Iterator<Item = &'a Type>) -> TokenStream {
    match &types.collect::<Vec<_>>()[..] {
        [ty] => quote!(#ty),
        types => quote!((#(#types),*)),
    }
}

/// Generates the checks that need the compiler: the values of a field fit the given column type, and
/// a key is never NULL or JSON.
fn check(krate: &Path, field: &Field, column: &Column) -> Option<TokenStream> {
    let natural = column_value(krate, &field.ty, "TYPE");
    match &column.kind {
        Kind::Typed(_, span) => {
            let ty = column_type(krate, field, column);
            Some(checked(krate, "check_type", (*span, *span), &quote!(#ty, #natural)))
        }
        Kind::Natural if column.unique => {
            let nullable = column_value(krate, &field.ty, "NULLABLE");
            Some(checked(krate, "check_key", ends(&field.ty), &quote!(#natural, #nullable)))
        }
        Kind::Natural | Kind::Json { .. } => None,
    }
}

/// Generates a call at compile time. Its error is shown from `first` to `last`.
fn checked(
    krate: &Path,
    function: &str,
    (first, last): (Span, Span),
    arguments: &TokenStream,
) -> TokenStream {
    let function = Ident::new(function, Span::call_site());
    let function = quote_spanned!(at(first)=> { #krate::__private::#function });
    let arguments = quote_spanned!(at(last)=> (#arguments));
    quote!(const _: () = #function #arguments;)
}

/// Generates the check that a field's column is the one that `#[scope(diesel)]` assumed.
pub(crate) fn check_written(
    krate: &Path,
    field: &Field,
    column: &Column,
    nullable: bool,
    taken: ColumnType,
) -> TokenStream {
    let taken = variant(taken);
    let is = column_type(krate, field, column);
    let can_be_null = column_value(krate, &field.ty, "NULLABLE");
    let arguments = quote!((#krate::ColumnType::#taken, #nullable), (#is, #can_be_null));
    checked(krate, "check_written", ends(&field.ty), &arguments)
}

fn schema(record: &Record) -> TokenStream {
    let Record { krate, name, table, freshness, expires_at, migrate, dropped, keep, .. } = record;
    let table = table.as_ref().map(|table| quote!(.table(#table)));
    let columns = record.columns().map(|(field, column)| schema_column(krate, field, column));
    let time = |millis: u64| quote!(::core::time::Duration::from_millis(#millis));
    let freshness = freshness.calls(krate, time);
    let expires_at = expires_at.as_ref().map(|column| quote!(.expires_at(#column)));
    let migrate = migrate.map(|policy| {
        let policy = policy_of(krate, policy);
        quote!(.migrate(#policy))
    });
    let dropped = (!dropped.is_empty()).then(|| quote!(.dropped([#(#dropped),*])));
    let keep = (!keep.is_empty()).then(|| quote!(.keep([#(#keep),*])));
    quote! {
        fn schema() -> #krate::Schema {
            #krate::Schema::new(#name) #table #(#columns)* #freshness #expires_at #migrate #dropped #keep
        }
    }
}

/// Returns the library's variant of a policy for migrations.
pub(crate) fn policy_of(krate: &Path, policy: Migrate) -> TokenStream {
    let policy = match policy {
        Migrate::Safe => quote!(Safe),
        Migrate::Recreate => quote!(Recreate),
        Migrate::Manual => quote!(Manual),
    };
    quote!(#krate::Migrate::#policy)
}

/// Generates `.unique(..)` or `.column(..)`.
fn schema_column(krate: &Path, field: &Field, column: &Column) -> TokenStream {
    let name = &column.name;
    let ty = column_type(krate, field, column);
    let nullable = match &column.kind {
        Kind::Json { nullable } => quote!(#nullable),
        Kind::Natural | Kind::Typed(..) => column_value(krate, &field.ty, "NULLABLE"),
    };
    let default = column.default.as_ref().map(|default| {
        let value = default_value(krate, field, column, default);
        quote!(.default_value(#value))
    });
    let was = column.was.as_ref().map(|(was, _)| quote!(.was(#was)));
    let add = if column.unique { quote!(unique) } else { quote!(column) };
    quote! {
        .#add(#krate::Column::new(#name, #ty).nullable(#nullable) #default #was)
    }
}

fn default_value(krate: &Path, field: &Field, column: &Column, default: &Fallback) -> TokenStream {
    let ty = &field.ty;
    let value = match default {
        Fallback::OfType => default_of(ty),
        Fallback::Value(value) => quote!(#value),
    };
    match &column.kind {
        Kind::Json { nullable } => {
            let json_default = json_field(krate, ty, "json_default");
            quote!({ #json_default }(&#value, #nullable))
        }
        Kind::Natural | Kind::Typed(..) => {
            let into_value = column_value(krate, ty, "into_value");
            quote!({ #into_value }(#value))
        }
    }
}

/// Returns the type of a column as an expression.
fn column_type(krate: &Path, field: &Field, column: &Column) -> TokenStream {
    match &column.kind {
        Kind::Json { .. } => quote!(#krate::ColumnType::Json),
        Kind::Typed(ty, _) => {
            let variant = variant(*ty);
            quote!(#krate::ColumnType::#variant)
        }
        Kind::Natural => column_value(krate, &field.ty, "TYPE"),
    }
}

fn variant(ty: ColumnType) -> TokenStream {
    match ty {
        ColumnType::Bool => quote!(Bool),
        ColumnType::SmallInt => quote!(SmallInt),
        ColumnType::Int => quote!(Int),
        ColumnType::BigInt => quote!(BigInt),
        ColumnType::UBigInt => quote!(UBigInt),
        ColumnType::Real => quote!(Real),
        ColumnType::Double => quote!(Double),
        ColumnType::Decimal { precision, scale } => {
            quote!(Decimal { precision: #precision, scale: #scale })
        }
        ColumnType::Text => quote!(Text),
        ColumnType::Varchar(length) => quote!(Varchar(#length)),
        ColumnType::Bytes => quote!(Bytes),
        ColumnType::Json => quote!(Json),
        ColumnType::Date => quote!(Date),
        ColumnType::Time => quote!(Time),
        ColumnType::Timestamp => quote!(Timestamp),
        ColumnType::Uuid => quote!(Uuid),
    }
}

fn to_row(record: &Record) -> TokenStream {
    let krate = &record.krate;
    let values = record.columns().map(|(field, column)| {
        let Field { ident, ty, .. } = field;
        let name = &column.name;
        match &column.kind {
            Kind::Json { nullable } => {
                let to_value = json_field(krate, ty, "to_json_value");
                quote!({ #to_value }(&self.#ident, #nullable, #name)?)
            }
            Kind::Natural | Kind::Typed(..) => {
                let to_value = column_value(krate, ty, "to_value");
                quote!({ #to_value }(&self.#ident))
            }
        }
    });
    quote! {
        fn to_row(&self) -> #krate::Result<#krate::Row> {
            ::core::result::Result::Ok(::std::vec![#(#values),*])
        }
    }
}

fn from_row(record: &Record) -> TokenStream {
    let krate = &record.krate;
    let names = record.columns().map(|(_, column)| &column.name);
    // The fields are in the order of the columns, so the cells are read in sequence.
    let fields = record.fields.iter().map(|field| {
        let Field { ident, ty, column } = field;
        let value = match column.as_ref().map(|column| &column.kind) {
            None => default_of(ty),
            Some(Kind::Json { .. }) => {
                let from_value = json_field(krate, ty, "from_json_value");
                quote_spanned!(at(ty.span())=> cells.next(|value| #from_value(value))?)
            }
            Some(Kind::Natural | Kind::Typed(..)) => {
                let from_value = column_value(krate, ty, "from_value");
                quote_spanned!(at(ty.span())=> cells.next(|value| #from_value(value))?)
            }
        };
        quote!(#ident: #value)
    });
    quote! {
        fn from_row(row: #krate::Row) -> #krate::Result<Self> {
            const COLUMNS: &[&::core::primitive::str] = &[#(#names),*];
            let mut cells = #krate::__private::Cells::new(row, COLUMNS)?;
            ::core::result::Result::Ok(Self { #(#fields),* })
        }
    }
}

/// Generates `<T as ColumnValue>::item`.
///
/// The path has the span of the type, from its first token to its last. So the compiler reports once
/// for all such paths that `T` is not a `ColumnValue`. Calls have the form `{ path }(argument)`, since
/// the compiler would report `path(argument)` at the argument, too.
fn column_value(krate: &Path, ty: &Type, item: &str) -> TokenStream {
    let (first, last) = ends(ty);
    let item = Ident::new(item, last);
    quote_spanned!(first=> <#ty as #krate::ColumnValue>::#item)
}

/// Generates `<T as JsonField>::item`, in the form of [`column_value`] for the same reason.
fn json_field(krate: &Path, ty: &Type, item: &str) -> TokenStream {
    let (first, last) = ends(ty);
    let item = Ident::new(item, last);
    quote_spanned!(first=> <#ty as #krate::__private::JsonField>::#item)
}

/// Returns the spans of the first and the last token of a type.
fn ends(ty: &Type) -> (Span, Span) {
    let mut tokens = ty.to_token_stream().into_iter();
    let first = tokens.next().map_or_else(Span::call_site, |token| token.span());
    let last = tokens.last().map_or(first, |token| match token {
        TokenTree::Group(group) => group.span_close(),
        token => token.span(),
    });
    (first, last)
}

/// Generates `<T as Default>::default()`.
fn default_of(ty: &Type) -> TokenStream {
    quote_spanned!(at(ty.span())=> <#ty as ::core::default::Default>::default())
}

/// Returns a span for generated code: errors point to `span`, and lints still treat the code as
/// generated.
fn at(span: Span) -> Span {
    Span::call_site().located_at(span)
}
