use std::sync::LazyLock;

use hilcat::{Cache, cached};

static CACHE: LazyLock<Cache> = LazyLock::new(Cache::memory);

#[cached(cache = CACHE)]
fn generic<T: ToString>(x: T) -> String {
    x.to_string()
}

#[cached(cache = CACHE)]
fn of_any_type(x: impl ToString, y: i64) -> String {
    x.to_string() + &y.to_string()
}

#[cached(cache = CACHE)]
fn lent(x: &str) -> &str {
    x
}

#[cached(cache = CACHE)]
fn hidden(x: i64) -> impl ToString {
    x
}

#[cached(cache = CACHE)]
fn nothing(x: i64) {
    let _ = x;
}

#[cached(cache = CACHE)]
fn only_an_error(x: i64) -> Result<(), hilcat::Error> {
    let _ = x;
    Ok(())
}

#[cached(cache = CACHE)]
fn no_arguments() -> i64 {
    1
}

#[cached(cache = CACHE)]
fn pattern((a, b): (i64, i64)) -> i64 {
    a + b
}

#[cached(cache = CACHE)]
fn optional(x: Option<i64>) -> i64 {
    x.unwrap_or(0)
}

#[cached(cache = CACHE)]
const fn constant(x: i64) -> i64 {
    x
}

#[cached(cache = CACHE)]
unsafe fn dangerous(x: i64) -> i64 {
    x
}

fn main() {}
