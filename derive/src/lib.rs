//! The derive macro of hilcat. Use it through `hilcat`, which exports it.
//!
//! Four rooms: `attr` reads what is written in `#[scope(...)]`, `valid` has the rules and makes an
//! `ast::Record` of it, `expand` writes the implementation.

mod ast;
mod attr;
mod column_type;
mod diesel;
mod duration;
mod error;
mod expand;
#[cfg(test)]
mod snapshots;
mod valid;

use proc_macro2::TokenStream;
use syn::DeriveInput;

use crate::error::Errors;

/// Makes a struct with named fields a record of a scope: implements `hilcat::ScopeRecord`.
///
/// ```
/// use hilcat::{Cache, ScopeRecord};
///
/// #[derive(Debug, Clone, PartialEq, ScopeRecord)]
/// #[scope(name = "pages", ttl = "1h")]
/// struct Page {
///     #[scope(unique)]
///     host: String,
///     #[scope(unique)]
///     path: String,
///     #[scope(type = "smallint", default = 200)]
///     status: i32,
///     title: Option<String>,
///     #[scope(json, default)]
///     links: Vec<String>,
///     #[scope(column = "body_text", was = "body")]
///     body: String,
///     #[scope(skip)]
///     seen: bool,
/// }
///
/// let pages = Cache::from_uri("memory:")?.scope::<Page>()?;
/// let page = Page {
///     host: "example.org".into(),
///     path: "/".into(),
///     status: 200,
///     title: None,
///     links: vec!["/about".into()],
///     body: "hello".into(),
///     seen: false,
/// };
/// pages.set(&page)?;
/// assert_eq!(pages.fetch(("example.org", "/"))?, Some(page));
/// # Ok::<(), hilcat::Error>(())
/// ```
///
/// # Attributes of the struct
///
/// | `#[scope(...)]` | what it says |
/// | --- | --- |
/// | `name = "a"` | the name of the scope; without it, the struct's name in snake case |
/// | `table = "t"` | the name of its table; without it, the name of the scope |
/// | `ttl = "1h"` | how long a record is good for: `30s`, `5m`, `1h30m`, `2d`, `250ms` |
/// | `migrate = "safe"` | what is done with a table that differs: `safe` (as without it), `recreate` or `manual`; see `hilcat::Migrate` |
/// | `diesel` | makes a Diesel table, too: see below. `diesel = "m"` names its module |
/// | `crate = "path"` | where the library is, if not at `::hilcat` |
///
/// # Attributes of a field
///
/// | `#[scope(...)]` | what it says |
/// | --- | --- |
/// | `unique` | the field is the key; of several, each is a part of it, in field order, and the key is a tuple. One is needed, eight are the most; not for an `Option` or JSON |
/// | `column = "c"` | the name of the column; without it, the field's |
/// | `type = "varchar(50)"` | the type of the column, one that holds the same kind of value as the field's type: an integer field can be `smallint`, `int` or `bigint`, a `String` can be `text` or `varchar(n)`, a float `real` or `double`, a decimal `decimal(p,s)` |
/// | `json` | the field is any serde type, kept as JSON in one column |
/// | `default` | a record that does not give the column has the `Default` of the field's type; older records get it when the column is added |
/// | `default = expr` | the same with an expression of the field's type |
/// | `skip` | the field is not kept; what is read has the `Default` of its type |
/// | `was = "old"` | the column's former name: a column that has it is renamed |
///
/// Without `type` and `json` the column has the type of the field's `hilcat::ColumnValue`, and can
/// be NULL where the field is an `Option`.
///
/// # Diesel
///
/// `#[scope(diesel)]` declares Diesel's table of the scope beside the struct (`diesel::table!`), in
/// a module that is named as the table, or as the struct in snake case where the table's name is
/// no identifier; its columns are named as the fields are (with a `_` behind where Diesel has that
/// name for itself, as `table` and `columns`). The struct is then `Queryable`, `Selectable` and
/// `Insertable`, on the engines that hilcat is built for: see `hilcat::Cache::diesel`.
///
/// Your crate needs `diesel` among its own dependencies, and hilcat a backend with tables
/// (`sqlite`). The type of a column is seen from the field's type as it is written, so that a type
/// of your own needs a `type = "..."`. Columns of types that engines keep differently are of the
/// SQL types in `hilcat::sql_types`, and what is inserted is checked as `Scope::set` does. Diesel
/// counts columns: more than 32 need its feature `64-column-tables`.
#[proc_macro_derive(ScopeRecord, attributes(scope))]
pub fn derive_scope_record(input: proc_macro::TokenStream) -> proc_macro::TokenStream {
    derive(&syn::parse_macro_input!(input as DeriveInput)).into()
}

fn derive(input: &DeriveInput) -> TokenStream {
    let mut errors = Errors::default();
    let said = attr::of_struct(&input.attrs, &mut errors);
    let krate = valid::library(&said);
    match valid::record(input, said, errors) {
        Ok(record) => {
            let (implementation, diesel) = (expand::record(&record), diesel::record(&record));
            quote::quote!(#implementation #diesel)
        }
        Err(errors) => {
            let stub = expand::stub(input, &krate, &valid::key_types(input));
            let errors = errors.into_compile_error();
            quote::quote!(#stub #errors)
        }
    }
}
