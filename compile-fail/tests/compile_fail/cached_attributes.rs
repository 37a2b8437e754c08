use std::sync::LazyLock;

use hilcat::{Cache, cached};

static CACHE: LazyLock<Cache> = LazyLock::new(Cache::memory);

#[cached(scope = "s")]
fn no_cache(x: i64) -> i64 {
    x
}

#[cached(cache = CACHE, colum = "y")]
fn unknown(x: i64) -> i64 {
    x
}

#[cached(cache = CACHE, ttl = "soon")]
fn no_duration(x: i64) -> i64 {
    x
}

#[cached(cache = CACHE, scope = "a", scope = "b")]
fn twice(x: i64) -> i64 {
    x
}

#[cached(cache = CACHE, on_error = "ignore")]
fn no_such_word(x: i64) -> i64 {
    x
}

#[cached(cache = CACHE, map_error = to_text)]
fn no_result(x: i64) -> i64 {
    x
}

#[cached(cache = CACHE, map_error = to_text, on_error = "compute")]
fn both(x: i64) -> Result<i64, String> {
    Ok(x)
}

#[cached(cache = CACHE, column = "x")]
fn column_of_an_argument(x: i64) -> i64 {
    x
}

#[cached(cache)]
fn without_value(x: i64) -> i64 {
    x
}

#[cached(cache = CACHE)]
struct NoFunction;

fn to_text(error: hilcat::Error) -> String {
    error.to_string()
}

fn main() {}
