//! Snapshots of the expansion.

use syn::DeriveInput;

fn expansion(input: DeriveInput) -> String {
    let file = syn::parse2(crate::derive(&input)).unwrap();
    prettyplease::unparse(&file)
}

/// Compares with the snapshot of this name.
macro_rules! assert_expansion {
    ($name:literal, {$($input:tt)*}) => {
        insta::with_settings!({ omit_expression => true, prepend_module_to_snapshot => false }, {
            insta::assert_snapshot!($name, expansion(syn::parse_quote!($($input)*)));
        })
    };
}

#[test]
fn plain() {
    assert_expansion!("plain", {
        struct Article {
            #[scope(unique)]
            id: String,
            comment: Option<String>,
            r#type: i32,
        }
    });
}

#[test]
fn every_attribute() {
    assert_expansion!("every_attribute", {
        #[scope(name = "pages", table = "crawled_pages", ttl = "1h30m")]
        #[scope(migrate = "recreate", crate = "::my::hilcat")]
        pub(crate) struct Page {
            #[scope(unique, type = "varchar(50)")]
            host: String,
            #[scope(unique)]
            path: String,
            #[scope(column = "code", type = "smallint", default = 200)]
            status: i32,
            #[scope(was = "price")]
            #[scope(type = "decimal(10,2)", default)]
            cost: Option<rust_decimal::Decimal>,
            #[scope(json, default)]
            links: Vec<Link>,
            #[scope(json)]
            meta: Option<Meta>,
            #[scope(skip)]
            seen: bool,
        }
    });
}

#[test]
fn diesel() {
    assert_expansion!("diesel", {
        #[scope(name = "events", table = "all events", diesel)]
        struct Event {
            #[scope(unique)]
            id: uuid::Uuid,
            #[scope(unique, column = "kind")]
            r#type: String,
            at: Option<DateTime<Utc>>,
            #[scope(type = "decimal(10,2)")]
            table: Money,
            #[scope(json)]
            links: Vec<Link>,
            #[scope(skip)]
            seen: bool,
        }
    });
}

#[test]
fn a_struct_with_errors_has_a_stub() {
    assert_expansion!("a_struct_with_errors_has_a_stub", {
        struct Broken {
            #[scope(unique)]
            id: u64,
            #[scope(uniqe)]
            other: u64,
        }
    });
}

/// Compares the expansion of `#[cached]` with the snapshot of this name.
macro_rules! assert_cached {
    ($name:literal, ($($attributes:tt)*) {$($item:tt)*}) => {
        insta::with_settings!({ omit_expression => true, prepend_module_to_snapshot => false }, {
            let expanded = crate::cached::function(quote::quote!($($attributes)*), quote::quote!($($item)*));
            insta::assert_snapshot!($name, prettyplease::unparse(&syn::parse2(expanded).unwrap()));
        })
    };
}

#[test]
fn a_cached_function() {
    assert_cached!("a_cached_function", (cache = CACHE, scope = "f1", column = "y", ttl = "1h") {
        /// Its documentation.
        #[must_use]
        #[cfg(all())]
        pub(crate) fn f1(x: i64, mut name: &str) -> i64 {
            x + 1
        }
    });
}

#[test]
fn a_cached_method_that_can_fail() {
    assert_cached!("a_cached_method_that_can_fail", (cache = self.cache, key = (a, b), json, crate = "::my::hilcat") {
        fn method<'a>(&mut self, a: &'a str, b: i64) -> Result<Option<Thing>, Error> {
            self.find(a, b)
        }
    });
}

#[test]
fn a_cached_function_with_errors_stays() {
    assert_cached!("a_cached_function_with_errors_stays", (cash = CACHE) {
        fn broken<T>(x: T) -> T {
            x
        }
    });
}

#[cfg(feature = "async")]
#[test]
fn a_cached_async_function() {
    assert_cached!("a_cached_async_function", (cache = CACHE, map_error = own) {
        async fn page(host: String) -> Result<String, Own> {
            Ok(get(&host).await?)
        }
    });
}
