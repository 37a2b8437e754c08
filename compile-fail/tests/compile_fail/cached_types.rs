use std::collections::HashMap;
use std::sync::LazyLock;

use hilcat::{Cache, cached};

static CACHE: LazyLock<Cache> = LazyLock::new(Cache::memory);

struct Opaque;

#[cached(cache = CACHE)]
fn key_of_no_column(x: HashMap<String, i64>) -> i64 {
    x.len() as i64
}

#[cached(cache = CACHE)]
fn value_of_no_column(x: i64) -> Opaque {
    let _ = x;
    Opaque
}

#[derive(Debug)]
struct Narrow;

#[cached(cache = CACHE)]
fn narrow_error(x: i64) -> Result<i64, Narrow> {
    Ok(x)
}

#[cached(cache = 5)]
fn no_cache(x: i64) -> i64 {
    x
}

fn main() {}
