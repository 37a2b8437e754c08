//! Every snippet of the Python package's README, in its order, as it is written here.
//!
//! ```text
//! cargo run --example from_python                                   on a SQLite database in memory
//! HILCAT_CACHE=postgresql://... cargo run --example from_python     on any other backend
//! ```
//!
//! All of it happens under a prefix of its own, which is emptied at the end.

use std::collections::HashMap;
use std::sync::{LazyLock, Mutex};

use hilcat::{Cache, Error, Result, Schemas, ScopeRecord};
use serde_json::json;

/// What `Cache.from_uri(...)` is given.
fn uri() -> String {
    std::env::var("HILCAT_CACHE").unwrap_or_else(|_| "sqlite::memory:".to_owned())
}

/// "init by different backends": one function; the URI says which. `MemoryCache()` is
/// `Cache::memory()`, and the classes with arguments are builders in `hilcat::backend`.
static CACHE: LazyLock<Result<Cache>> = LazyLock::new(|| {
    let cache = Cache::builder(uri()).schemas(schemas()?).open()?;
    Ok(cache.prefix("from_python"))
});

fn cache() -> &'static Cache {
    CACHE.as_ref().unwrap_or_else(|error| {
        eprintln!("from_python: {error}");
        std::process::exit(2)
    })
}

/// `SqliteScopeConfig(...)`, `PostgresqlScopeConfig(...)` and `MysqlScopeConfig(...)`: one format, the
/// same on every backend.
fn schemas() -> Result<Schemas> {
    Schemas::from_str(
        r#"
        [scopes.a]
        unique_column = "id"
        columns = ["id", "name", "comment", "count"]
        column_types = { id = "varchar(50)", count = "int" }

        [scopes.b]
        unique_column = "eid"
        columns = ["eid", "name", "comment", "status"]
        column_types = { eid = "int" }
        "#,
    )
}

fn main() -> Result<()> {
    init()?;
    scopes_with_columns()?;
    cache_api()?;
    decorate_a_function()?;
    for scope in cache().scopes()? {
        match scope.as_str() {
            "a" | "b" => cache().dynamic(&scope)?.clear()?,
            "f3" => cache().scope::<Sum>()?.clear()?,
            _ => {}
        }
    }
    Ok(())
}

fn init() -> Result<()> {
    println!("opened: {}", cache().backend());
    // MemoryCache()
    let memory = Cache::memory();
    memory.map::<String, i64>("numbers")?.set("one", &1)?;
    println!("in memory: {:?}", memory.map::<String, i64>("numbers")?.fetch("one")?);
    Ok(())
}

/// A cache of declared scopes: `cache.set(key, {...}, scope='a')`.
fn scopes_with_columns() -> Result<()> {
    let a = cache().dynamic("a")?;
    a.set("a1", json!({"name": "jii", "comment": "this is a1", "count": 1}))?;
    println!("a: {:?}", a.fetch("a1")?.map(|value| value.to_string()));
    let b = cache().dynamic("b")?;
    b.set(7, json!({"name": "b", "status": "new"}))?;
    println!("b: {:?}", b.fetch(7)?.map(|value| value.to_string()));
    Ok(())
}

/// The methods in the order of the README. `scope=` is the handle.
fn cache_api() -> Result<()> {
    let numbers = cache().map::<String, i64>("numbers")?;
    numbers.clear()?;
    // cache.exists('one', scope='numbers')
    println!("exists: {}", numbers.exists("one")?);
    // cache.fetch('one', 1, scope='numbers')
    println!("fetch, or a default: {}", numbers.fetch("one")?.unwrap_or(1));
    // cache.set('one', 1, scope='numbers')
    numbers.set("one", &1)?;
    // cache.update('one', 2, scope='numbers'), which gives what it replaced
    println!("update gives what was there: {:?}", numbers.update("one", &2)?);
    // cache.get('two', lambda: 2, scope='numbers')
    println!("get computes: {}", numbers.get("two", || 2)?);
    println!("get finds: {}", numbers.get("two", || unreachable!("it is stored"))?);
    // cache.pop('one', scope='numbers')
    println!("pop: {:?}", numbers.pop("one")?);
    // cache.scopes()
    println!("scopes: {:?}", cache().scopes()?);
    // cache.keys(scope='numbers')
    println!("keys: {:?}", numbers.keys()?.collect::<Result<Vec<_>>>()?);
    numbers.clear()?;
    // cache.load() and cache.backup(), for a cache that has a storage behind it
    let staged = Cache::staged(Cache::memory(), Cache::memory());
    staged.load(None)?;
    staged.map::<String, i64>("numbers")?.set("one", &1)?;
    println!("not saved yet: {:?}", staged.unsaved()?);
    staged.backup(None)?;
    println!("not saved yet: {:?}", staged.unsaved()?);
    Ok(())
}

/// How often each function ran.
static RUNS: Mutex<Option<HashMap<String, i64>>> = Mutex::new(None);

fn run(call: String) -> i64 {
    let mut runs = RUNS.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    let count = runs.get_or_insert_default().entry(call).or_default();
    *count += 1;
    *count
}

#[hilcat::cached(cache = cache(), scope = "f1", column = "y")]
fn f1(x: i64) -> Result<i64, Error> {
    Ok(x + 1 + run(format!("f1 {x}")))
}

/// The same without a cache.
fn f2(x: i64) -> i64 {
    x + 1 + run(format!("f2 {x}"))
}

fn make_key(x: i64, y: i64) -> String {
    format!("{x}-{y}")
}

/// What `f3` returns: a dict there, a record here.
#[derive(Debug, PartialEq, ScopeRecord)]
#[scope(name = "f3")]
struct Sum {
    #[scope(unique)]
    key: String,
    value: i64,
}

#[hilcat::cached(cache = cache(), key = make_key(x, y))]
fn f3(x: i64, y: i64) -> Result<Sum, Error> {
    Ok(Sum { key: make_key(x, y), value: x + y + run(format!("f3 {x} {y}")) })
}

fn decorate_a_function() -> Result<()> {
    f1_forget(1)?;
    f3_forget(1, 2)?;
    // With a cache, the same result.
    println!("f1: {} {}", f1(1)?, f1(1)?);
    // Without one, another one.
    println!("f2: {} {}", f2(1), f2(1));
    println!("f3: {:?} {:?}", f3(1, 2)?, f3(1, 2)?);
    assert_eq!((f1(1)?, f3(1, 2)?.value), (3, 4));
    f1_forget(1)?;
    Ok(())
}
