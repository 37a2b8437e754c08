//! The macros of hilcat. Use them through `hilcat`, which exports them.
//!
//! A derive has four stages: `attr` parses `#[scope(...)]`, `valid` checks it and builds the model in
//! `ast`, and `expand` generates the implementation. `#[cached]` has the same stages in `cached`.

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

/// Implements `hilcat::ScopeRecord` for a struct with named fields, which makes it a record of a
/// scope.
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
/// | `#[scope(...)]` | meaning |
/// | --- | --- |
/// | `name = "a"` | the name of the scope; by default the struct's name in snake case |
/// | `table = "t"` | the name of its table; by default the name of the scope |
/// | `ttl = "1h"` | how long a record is fresh after each write: `30s`, `5m`, `1h30m`, `2d`, `250ms`; `"never"` lets single writes have a time to live |
/// | `stale_while_revalidate = "10m"` | how long after its expiry `get` may serve a record while one caller computes a new one |
/// | `stale_if_error = "1d"` | how long after its expiry a record is served if the computation fails |
/// | `jitter = "10%"` | the maximum part of the `ttl` by which each write shortens it at random |
/// | `negative_ttl = "30s"` | how long `get_optional` remembers that there is no record |
/// | `max_records = 1000000` | the maximum number of records; those that expire first are removed first |
/// | `auto_purge = "off"` | writes do not remove expired records in small steps |
/// | `single_flight = "shared"`, `lease = "30s"` | a missing record is computed once across processes; `lease` is how long the right of a process to compute is valid without a renewal |
/// | `on_unavailable = "compute"` | while the store cannot be reached, `get` and `try_get` compute and return the result |
/// | `migrate = "safe"` | the policy for a table that differs: `safe` (the default), `recreate` or `manual`; see `hilcat::Migrate` |
/// | `dropped = ["old"]` | columns to remove from the table, with their values; a missing one is no error |
/// | `keep = ["old"]` | columns of the table that belong to other programs, and are not former names of new fields |
/// | `diesel` | also generates a Diesel table, see below; `diesel = "m"` names its module |
/// | `crate = "path"` | the path of the library, if it is not `::hilcat` |
///
/// # Attributes of a field
///
/// | `#[scope(...)]` | meaning |
/// | --- | --- |
/// | `unique` | the field is the key. With several unique fields, the key is a tuple of them in field order. At least one is required, and at most eight are allowed; they cannot be an `Option` or JSON |
/// | `column = "c"` | the name of the column; by default that of the field |
/// | `type = "varchar(50)"` | the type of the column, which must hold the same kind of value as the field's type: an integer field can be `smallint`, `int` or `bigint`, a `String` can be `text` or `varchar(n)`, a float `real` or `double`, a decimal `decimal(p,s)` |
/// | `json` | the field is any serde type, stored as JSON in one column |
/// | `default` | the column of a record that omits it is the `Default` of the field's type; older records get it when the column is added |
/// | `default = expr` | the same with an expression of the field's type |
/// | `expires_at` | the field, a timestamp or an `Option` of one, is the end of the record's freshness; `None` means never |
/// | `skip` | the field is not stored; when a record is read, it is the `Default` of its type |
/// | `was = "old"` | the former name of the column: a column with that name is renamed |
///
/// Without `type` and `json`, the column has the type of the field's `hilcat::ColumnValue`, and can
/// be NULL if the field is an `Option`.
///
/// # Times
///
/// Columns hold whole microseconds. When a record is converted to a row, times are truncated to
/// microseconds, towards the past. So a `chrono::DateTime<Utc>` from `Utc::now()`, which has
/// nanoseconds, loses its last three digits, and the fetched record does not equal the one that was
/// set. `get` returns the stored values, and so does `update` for the replaced record. To compare
/// records, truncate the time first: `Utc::now().trunc_subsecs(6)`, of `chrono::SubsecRound`. Keys
/// that are equal after this are the same key. All other values are returned exactly, or rejected:
/// see `hilcat::ColumnType`.
///
/// # Diesel
///
/// `#[scope(diesel)]` declares Diesel's table of the scope next to the struct (`diesel::table!`). Its
/// module has the name of the table, or that of the struct in snake case if the table's name is no
/// identifier. Its columns have the names of the fields, with a `_` appended if Diesel uses the name
/// itself, such as `table` and `columns`. The struct is then `Queryable`, `Selectable` and
/// `Insertable` on the engines that hilcat is built for: see `hilcat::Cache::diesel`.
///
/// Your crate needs the dependency `diesel`, and hilcat a backend with tables, such as `sqlite`. The
/// type of a column is determined by the name of the field's type, so types of your own need a
/// `type = "..."`. Types that engines store differently use the SQL types in `hilcat::sql_types`.
/// Inserted values are checked as by `Scope::set`. More than 32 columns need Diesel's feature
/// `64-column-tables`.
#[proc_macro_derive(ScopeRecord, attributes(scope))]
pub fn derive_scope_record(input: proc_macro::TokenStream) -> proc_macro::TokenStream {
    derive(&syn::parse_macro_input!(input as DeriveInput)).into()
}

/// Caches the values of a function: a call whose value is stored does not run it.
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
/// | `#[cached(...)]` | meaning |
/// | --- | --- |
/// | `cache = EXPR` | the cache: a static, a `LazyLock`, a call, `self.cache`, or any other expression that is a `hilcat::Cache` or derefs to one |
/// | `scope = "s"` | the name of the scope and, without `table`, of its table; by default the name of the function, or that of the scope of the returned record |
/// | `table = "t"` | the name of the table |
/// | `column = "c"` | the name of the value's column; by default `value`, or `result` if an argument is named `value` |
/// | `ttl = "1h"` | how long a value is fresh; also `stale_while_revalidate`, `stale_if_error`, `jitter`, `max_records`, `auto_purge`, `single_flight`, `lease` and `on_unavailable`, as for the derive macro `ScopeRecord` |
/// | `migrate = "recreate"` | drops the stored values if they have another signature; by default they are kept, and nothing is stored; see `hilcat::Migrate` |
/// | `key = EXPR` | the key, computed from the arguments and used instead of them: a value, or a tuple for a key of several columns |
/// | `json` | the value is any serde type, stored as JSON |
/// | `map_error = EXPR` | a function or closure that converts a `hilcat::Error` to the function's error |
/// | `on_error = "compute"` | if the cache fails, the value is computed and not stored; `"panic"` panics; a function or closure is called with the `&hilcat::Error` before the value is computed |
/// | `crate = "path"` | the path of the library, if it is not `::hilcat` |
///
/// # The key
///
/// The arguments are the unique columns, by name and type; `&str` and `&[u8]` are text and bytes.
/// `self` is not part of the key: two objects with the same cache share their values. A function
/// without arguments needs a `key`. With `key = (a, b)` the columns are `key1` and `key2`, with a
/// single value `key`.
///
/// # The value
///
/// A `ScopeRecord` is stored in its own columns: the arguments, or `key`, are the values of its
/// unique columns. Any other `hilcat::ColumnValue` is stored in one column. `None` is stored as NULL
/// and is a value like any other. Of a `Result`, only the `Ok` is stored; after an `Err`, the next
/// call computes again. The returned value always equals the one that a later call returns.
///
/// If several threads or futures request the same value at once, the function runs once, and the
/// others wait. If it panics, fails or is cancelled, the next caller runs it. The table is first
/// accessed by the first call.
///
/// # When the cache is down
///
/// A function that returns no `Result` computes, and nothing is stored. A function that returns a
/// `Result` returns the cache's error, converted by `From<hilcat::Error>` or `map_error`. `on_error`
/// changes this for both. A value that was computed before the cache failed is not computed again.
///
/// If the arguments or the return type of a function changed, the stored values do not fit it. If
/// the backend stores schemas, opening the scope is an error
/// (`hilcat::ErrorKind::SchemaChange`, with the plan), and nothing is stored until `migrate` or
/// `scope` is changed. A function that returns no `Result` computes; the error is passed to
/// `on_error`, returned by each call of `NAME_forget`, and, with hilcat's feature `tracing`, emitted
/// once per process as an event of level WARN.
///
/// # Companion functions
///
/// `NAME_refresh` takes the same arguments, always runs the function, and stores and returns its
/// result. `NAME_forget` takes the same arguments, removes the stored value, and returns whether
/// there was one as `hilcat::Result<bool>`. Both have the visibility of the function. `NAME_refresh`
/// contains a copy of the function's body, so each has its own copy of a `static` inside it.
///
/// # `async fn`
///
/// An `async fn` needs hilcat's feature `async`, and no particular runtime. Calls that may wait for a
/// store run on threads of the cache; a store in memory is called directly. If a future is
/// dropped while it computes, the next caller computes. A function that awaits its own value is an
/// error of the cache, as for threads, unless it does so in a separate task, which cannot be
/// detected.
///
/// # Limitations
///
/// Generic types and `impl Trait` are not supported, since a table has one type. The function cannot
/// return a reference, since the value is read from a store. `const` and `unsafe` functions are not
/// supported, nor are functions of a trait implementation, which cannot contain the companion
/// functions.
#[proc_macro_attribute]
pub fn cached(
    attributes: proc_macro::TokenStream,
    item: proc_macro::TokenStream,
) -> proc_macro::TokenStream {
    cached::function(attributes.into(), item.into()).into()
}

fn derive(input: &DeriveInput) -> TokenStream {
    let mut errors = Errors::default();
    let attrs = attr::of_struct(&input.attrs, &mut errors);
    let krate = valid::library(&attrs);
    match valid::record(input, attrs, errors) {
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
