//! The macros of hilcat. Use them through `hilcat`, which exports them.
//!
//! Four rooms: `attr` reads what is written in `#[scope(...)]`, `valid` has the rules and makes an
//! `ast::Record` of it, `expand` writes the implementation. `#[cached]` has the same four, in `cached`.

mod ast;
mod attr;
mod cached;
mod column_type;
mod diesel;
mod error;
mod expand;
mod freshness;
#[cfg(test)]
mod snapshots;
mod spelling;
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
/// | `ttl = "1h"` | how long a record is fresh after each write: `30s`, `5m`, `1h30m`, `2d`, `250ms`; `"never"` lets single writes have a time to live |
/// | `stale_while_revalidate = "10m"` | how long after that `get` may serve the old record while one caller computes a new one |
/// | `stale_if_error = "1d"` | how long after that the old record is served if the computation fails |
/// | `jitter = "10%"` | the part of the `ttl` by which each write shortens it at random at the most |
/// | `negative_ttl = "30s"` | how long `get_optional` remembers that there is no record |
/// | `max_records = 1000000` | how many records are kept; those that expire first go first |
/// | `auto_purge = "off"` | writes do not remove expired records in small steps |
/// | `single_flight = "shared"`, `lease = "30s"` | one computation of a missing record across processes, and how long a process that computes keeps the right to without renewing it |
/// | `on_unavailable = "compute"` | `get` and `try_get` compute and return while the store cannot be reached |
/// | `migrate = "safe"` | what is done with a table that differs: `safe` (as without it), `recreate` or `manual`; see `hilcat::Migrate` |
/// | `dropped = ["old"]` | columns that are removed from the table, with their values; one that is not there is no error |
/// | `keep = ["old"]` | columns of the table that belong to other programs, so that none is taken for the former name of a new field |
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
/// | `expires_at` | the field, a timestamp or an `Option` of one, says when the record stops being fresh; `None` is never |
/// | `skip` | the field is not kept; what is read has the `Default` of its type |
/// | `was = "old"` | the column's former name: a column that has it is renamed |
///
/// Without `type` and `json` the column has the type of the field's `hilcat::ColumnValue`, and can
/// be NULL where the field is an `Option`.
///
/// # Times
///
/// Columns hold whole microseconds. A time is cut to them, towards the past, when a record is turned
/// into a row: a `chrono::DateTime<Utc>` as `Utc::now()` gives it, with nanoseconds, comes back
/// without its last three digits, so that the record that is fetched does not equal the one that
/// was set. `get` returns what was stored, and so does `update` of what it replaced. Cut the time
/// first where it is compared: `Utc::now().trunc_subsecs(6)`, of `chrono::SubsecRound`. Two keys
/// that differ by less are one key. All other values come back exactly, or are refused: see
/// `hilcat::ColumnType`.
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

/// Keeps the values of a function in a cache: a call whose value is stored does not run it.
///
/// ```
/// use std::sync::LazyLock;
/// use hilcat::Cache;
///
/// static CACHE: LazyLock<Cache> = LazyLock::new(Cache::memory);
///
/// /// The table `squares(x bigint primary key, square bigint)`.
/// #[hilcat::cached(cache = CACHE, scope = "squares", column = "square")]
/// fn square(x: i64) -> i64 {
///     x * x
/// }
///
/// #[hilcat::cached(cache = CACHE, ttl = "1h")]
/// fn page(host: &str, path: &str) -> Result<String, Box<dyn std::error::Error + Send + Sync>> {
///     Ok(format!("what {host} has at {path}"))
/// }
///
/// assert_eq!(square(7), 49);
/// assert_eq!(page("example.org", "/")?, page("example.org", "/")?);
/// assert_eq!(square_refresh(7), 49);
/// assert!(square_forget(7)?);
/// # Ok::<(), Box<dyn std::error::Error + Send + Sync>>(())
/// ```
///
/// # Attributes
///
/// | `#[cached(...)]` | what it says |
/// | --- | --- |
/// | `cache = EXPR` | the cache: a static, a `LazyLock`, a call, `self.cache`; whatever gives a `hilcat::Cache` or derefs to one |
/// | `scope = "s"` | the name of the scope and, unless `table` says otherwise, of its table; without it, the function's name, or that of the record it returns |
/// | `table = "t"` | the name of the table |
/// | `column = "c"` | the name of the value's column; without it `value`, or `result` where an argument is named `value` |
/// | `ttl = "1h"` | how long a value is fresh; also `stale_while_revalidate`, `stale_if_error`, `jitter`, `max_records`, `auto_purge`, `single_flight`, `lease` and `on_unavailable`, as the derive of `ScopeRecord` has them |
/// | `migrate = "recreate"` | what is done where the stored schema is that of another signature: the stored values are dropped; without it they stay, and nothing is stored; see `hilcat::Migrate` |
/// | `key = EXPR` | the key, made of the arguments, in place of them: a value, or a tuple for a key of several columns |
/// | `json` | the value is any serde type, kept as JSON |
/// | `map_error = EXPR` | makes the function's error of a `hilcat::Error`: a function or closure |
/// | `on_error = "compute"` | where the cache fails, the value is computed and not stored; `"panic"` panics; a function or closure is told the `&hilcat::Error` before the value is computed |
/// | `crate = "path"` | where the library is, if not at `::hilcat` |
///
/// # The key
///
/// The arguments are the unique columns, by name and type; `&str` and `&[u8]` are text and bytes.
/// `self` is no part of it: two objects on one cache share their values. A function without
/// arguments needs a `key`. With `key = (a, b)` the columns are `key1` and `key2`, with a single
/// value `key`.
///
/// # The value
///
/// A `ScopeRecord` is kept in its own columns: the arguments, or `key`, are the values of its unique
/// columns. Any other type that a column can be of is kept in one column, an `Option` as NULL for
/// `None`, which is a value as any other. Of a `Result` the `Ok` is kept; an `Err` is returned and
/// the next call computes again. What is returned is always as a later call would return it.
///
/// However many threads, or futures, ask for one value at once, the function runs once, and the
/// others wait. If it panics, fails or is cancelled, the next caller runs it. No table is touched
/// before the first call.
///
/// # When the cache is down
///
/// A function that returns no `Result` computes, and nothing is stored: as if it was not cached. One
/// that returns a `Result` returns the cache's error: its own error type is `From<hilcat::Error>`,
/// or `map_error` says how. `on_error` chooses for either. What was computed before the cache failed
/// is never computed twice.
///
/// A function whose arguments or return type changed does not go with the values that are stored.
/// Where a schema is stored beside them, the scope is refused
/// (`hilcat::ErrorKind::SchemaChange`, with the plan), and nothing is stored until `migrate` or
/// another `scope` says what is to be done. A function that returns no `Result` goes on computing; the
/// error is given to `on_error`, by each call of `NAME_forget`, and, with the feature `tracing` of
/// hilcat, once for each process as an event of level WARN.
///
/// # Beside the function
///
/// `NAME_refresh` takes the same arguments, always runs the function, and stores and returns what it
/// gives. `NAME_forget` takes them, too, and removes the stored value: `hilcat::Result<bool>` says
/// whether there was one. Both are as visible as the function. Its body stands in the first of them
/// a second time: a `static` inside it would be two.
///
/// # `async fn`
///
/// It needs the feature `async` of hilcat, and no runtime: what may wait for a store runs in threads
/// of the `blocking` crate, and a store in memory is asked at once. A future that is dropped while
/// it computes lets the next caller compute. A function that awaits its own value is an error of
/// the cache as it is for threads, unless it does so in a task of its own, which is not known to
/// belong to it.
///
/// # What cannot be
///
/// Generic types and `impl Trait`, since a table is of one type; a returned reference, since the
/// value is read from a store; `const` and `unsafe` functions; functions of a trait's implementation,
/// which has no place for those beside it.
#[proc_macro_attribute]
pub fn cached(
    attributes: proc_macro::TokenStream,
    item: proc_macro::TokenStream,
) -> proc_macro::TokenStream {
    cached::function(attributes.into(), item.into()).into()
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
