//! Generates the code of `#[scope(diesel)]`: Diesel's table, and the struct as a row of it.
//!
//! Diesel reads and writes cells, one per column. The code that `expand` generates converts fields
//! to column values and back.

use proc_macro2::{Span, TokenStream};
use quote::{format_ident, quote};
use syn::ext::IdentExt;
use syn::{Ident, Path};

use crate::ast::{Column, Field, Kind, Record};
use crate::column_type::ColumnType;
use crate::expand::check_written;

/// The names that Diesel's macro uses itself in the module of a table.
const RESERVED: [&str; 9] =
    ["table", "columns", "dsl", "star", "all_columns", "SqlType", "BoxedQuery", "bool", "str"];

/// Generates the table and the implementations, if `diesel` is set.
pub(crate) fn record(record: &Record) -> Option<TokenStream> {
    let module = record.diesel.as_ref()?;
    let columns: Vec<_> = record
        .columns()
        .filter_map(|(field, column)| {
            let (ty, nullable) = column.seen?;
            let ident = column_ident(&field.ident, module);
            Some(DieselColumn { field, column, ident, ty, nullable })
        })
        .collect();
    let table = table(record, module, &columns);
    let checks = columns.iter().filter_map(|column| column.check(&record.krate));
    let reading = reading(record, module, &columns);
    let inserting = inserting(record, module, &columns);
    Some(quote! {
        #table

        const _: () = {
            #(#checks)*
            #reading
            #inserting
        };
    })
}

/// A column of Diesel's table.
struct DieselColumn<'a> {
    field: &'a Field,
    column: &'a Column,
    ident: Ident,
    ty: ColumnType,
    nullable: bool,
}

/// Returns the name of the field, with a `_` appended if Diesel uses the name itself.
fn column_ident(field: &Ident, module: &Ident) -> Ident {
    let name = field.unraw().to_string();
    match RESERVED.contains(&name.as_str()) || *module == name {
        true => format_ident!("{name}_", span = field.span()),
        false => field.clone(),
    }
}

fn table(record: &Record, module: &Ident, columns: &[DieselColumn<'_>]) -> TokenStream {
    let name = record.table.as_ref().unwrap_or(&record.name);
    let keys = columns.iter().filter(|column| column.column.unique).map(|column| &column.ident);
    let doc = format!("The table of `{}` in Diesel.", record.ident);
    let definitions = columns.iter().map(|column| {
        let (ident, name) = (&column.ident, &column.column.name);
        let ty = column.sql_type(&record.krate);
        let sql_name = (ident.unraw() != name).then(|| quote!(#[sql_name = #name]));
        let doc = format!("The column `{name}`.");
        quote!(#[doc = #doc] #sql_name #ident -> #ty)
    });
    quote! {
        ::diesel::table! {
            #[doc = #doc]
            #[sql_name = #name]
            #module (#(#keys),*) {
                #(#definitions,)*
            }
        }
    }
}

impl DieselColumn<'_> {
    fn sql_type(&self, krate: &Path) -> TokenStream {
        let of_diesel = |name: &str| {
            let name = Ident::new(name, Span::call_site());
            quote!(::diesel::sql_types::#name)
        };
        let ty = match self.ty {
            ColumnType::Bool => of_diesel("Bool"),
            ColumnType::SmallInt => of_diesel("SmallInt"),
            ColumnType::Int => of_diesel("Integer"),
            ColumnType::BigInt => of_diesel("BigInt"),
            ColumnType::Real => of_diesel("Float"),
            ColumnType::Double => of_diesel("Double"),
            ColumnType::Text | ColumnType::Varchar(_) => of_diesel("Text"),
            ColumnType::Bytes => of_diesel("Binary"),
            ColumnType::Date => of_diesel("Date"),
            ColumnType::Time => of_diesel("Time"),
            ColumnType::UBigInt => quote!(#krate::sql_types::UBigInt),
            ColumnType::Decimal { precision, scale } => {
                quote!(#krate::sql_types::DecimalOf<#precision, #scale>)
            }
            ColumnType::Json => quote!(#krate::sql_types::Json),
            ColumnType::Timestamp => quote!(#krate::sql_types::UtcTimestamp),
            ColumnType::Uuid => quote!(#krate::sql_types::Uuid),
        };
        match self.nullable {
            true => quote!(::diesel::sql_types::Nullable<#ty>),
            false => ty,
        }
    }

    /// Generates a check at compile time that a type is the one that usually has this name.
    fn check(&self, krate: &Path) -> Option<TokenStream> {
        let Self { field, column, ty, nullable, .. } = self;
        match column.kind {
            Kind::Natural | Kind::Typed(..) => {
                Some(check_written(krate, field, column, *nullable, *ty))
            }
            Kind::Json { .. } => None,
        }
    }
}

/// Generates `Queryable` and `Selectable`.
fn reading(record: &Record, module: &Ident, columns: &[DieselColumn<'_>]) -> TokenStream {
    let Record { ident, krate, .. } = record;
    let idents: Vec<_> = columns.iter().map(|column| &column.ident).collect();
    let sql_types = columns.iter().map(|column| column.sql_type(krate));
    let cells = columns.iter().map(|_| quote!(#krate::__private::Cell));
    let places = (0..columns.len()).map(syn::Index::from);
    quote! {
        #[automatically_derived]
        impl<DB: #krate::backend::Engine> ::diesel::deserialize::Queryable<(#(#sql_types,)*), DB>
            for #ident
        {
            type Row = (#(#cells,)*);

            fn build(row: Self::Row) -> ::diesel::deserialize::Result<Self> {
                #krate::__private::record([#(row.#places),*])
            }
        }

        #[automatically_derived]
        impl<DB: #krate::backend::Engine> ::diesel::expression::Selectable<DB> for #ident {
            type SelectExpression = (#(#module::#idents,)*);

            fn construct_selection() -> Self::SelectExpression {
                (#(#module::#idents,)*)
            }
        }
    }
}

/// Generates `Insertable` for the struct and for a reference to it.
fn inserting(record: &Record, module: &Ident, columns: &[DieselColumn<'_>]) -> TokenStream {
    let Record { ident, krate, .. } = record;
    let table = quote!(#module::table);
    let idents: Vec<_> = columns.iter().map(|column| &column.ident).collect();
    let pairs = quote! {
        (#(::diesel::dsl::Eq<#module::#idents, #krate::__private::Cell>,)*)
    };
    quote! {
        #[automatically_derived]
        impl ::diesel::insertable::Insertable<#table> for &#ident {
            type Values = <#pairs as ::diesel::insertable::Insertable<#table>>::Values;

            fn values(self) -> Self::Values {
                static SCHEMA: ::std::sync::LazyLock<#krate::Schema> =
                    ::std::sync::LazyLock::new(<#ident as #krate::ScopeRecord>::schema);
                let mut cells = #krate::__private::Inserted::of(self, &SCHEMA);
                let pairs: #pairs = (
                    #(::diesel::expression_methods::ExpressionMethods::eq(
                        #module::#idents,
                        cells.next(),
                    ),)*
                );
                ::diesel::insertable::Insertable::<#table>::values(pairs)
            }
        }

        #[automatically_derived]
        impl ::diesel::insertable::Insertable<#table> for #ident {
            type Values = <#pairs as ::diesel::insertable::Insertable<#table>>::Values;

            fn values(self) -> Self::Values {
                ::diesel::insertable::Insertable::<#table>::values(&self)
            }
        }

        #[automatically_derived]
        impl #krate::__private::UndecoratedInsertRecord<#table> for #ident {}
    }
}
