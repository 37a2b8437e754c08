//! Every snippet of the README of the Python package hilcat, in the same order, with hilcat in Rust.
//!
//! `cargo run --example from_python` runs it on a SQLite database in memory. `HILCAT_CACHE` selects
//! another cache: `HILCAT_CACHE=postgresql://localhost/app cargo run --features postgresql
//! --example from_python`.

use std::collections::HashMap;
use std::error::Error;
use std::sync::{LazyLock, Mutex};

use hilcat::{Cache, Schemas, ScopeRecord};
use serde_json::json;

type Result<T = (), E = Box<dyn Error + Send + Sync>> = std::result::Result<T, E>;

/// The schemas, in place of `SqliteScopeConfig(scope='a', uniq_column='id', ...)`. They are the same
/// for every backend: types have the same names, and a text key on MySQL needs no `varchar(50)`.
const SCHEMAS: &str = r#"
    [scopes.a]
    unique_column = "id"
    columns = ["id", "name", "comment", "count"]
    column_types = { count = "int" }

    [scopes.b]
    unique_column = "eid"
    columns = ["eid", "name", "comment", "status"]
    column_types = { eid = "int" }

    [scopes.one]
    unique_column = "key"
    columns = ["value"]
    column_types = { value = "int" }
"#;

/// The cache of all snippets, including the cached functions.
static CACHE: LazyLock<Cache> = LazyLock::new(|| {
    let uri = std::env::var("HILCAT_CACHE").unwrap_or_else(|_| "sqlite::memory:".to_owned());
    let schemas = Schemas::from_str(SCHEMAS);
    let opened = schemas.and_then(|schemas| Cache::builder(uri).schemas(schemas).open());
    match opened {
        // A namespace for this program only.
        Ok(cache) => cache.prefix("from_python"),
        Err(error) => {
            eprintln!("the cache cannot be opened: {error}");
            std::process::exit(2)
        }
    }
});

/// Runs the snippets.
pub(crate) fn main() -> Result {
    empty()?;
    embedded_backends()?;
    servers();
    the_api()?;
    decorated()?;
    #[cfg(feature = "sqlite")]
    a_store_of_the_package()?;
    empty()
}

/// Removes the records of an earlier run.
fn empty() -> Result {
    for name in ["a", "b", "one"] {
        CACHE.dynamic(name)?.clear()?;
    }
    f1_forget(1)?;
    f3_forget(1, 2)?;
    Ok(())
}

/// "Init by different backends": opens those that need no server.
fn embedded_backends() -> Result {
    let directory = tempfile::tempdir()?;
    let root = directory.path();

    // Cache.from_uri('sqlite:///t.db')
    #[cfg(feature = "sqlite")]
    let by_uri = Cache::from_uri(&format!("sqlite:///{}", root.join("t.db").display()))?;
    #[cfg(not(feature = "sqlite"))]
    let by_uri = Cache::from_uri("memory:")?;

    // MemoryCache()
    let in_memory = Cache::memory();

    // SimpleTextFileCache()
    let texts = Cache::from_store(hilcat::backend::Files::text(root.join("texts")).open()?);
    texts.map::<String, String>("pages")?.set("index", &"one\r\ntwo".to_owned())?;

    println!("opened: {}, {}, {}", by_uri.backend(), in_memory.backend(), texts.backend());
    Ok(())
}

/// "Init by different backends": builds those of servers. Nothing is sent before `open`.
fn servers() {
    // RedisCache(host='localhost', port=6579); as a URI: redis://localhost:6579
    #[cfg(feature = "redis")]
    let _ = hilcat::backend::Redis::builder("localhost").port(6579);

    // ElasticSearchCache(hosts=['https://localhost:9200']); as a URI: es+https://localhost:9200
    #[cfg(feature = "elasticsearch")]
    let _ = hilcat::backend::Elasticsearch::builder("localhost:9200").https(true);

    // PostgresqlCache(database="postgresql://postgres:123@localhost:5432/hilcat_test", ...)
    #[cfg(feature = "postgresql")]
    let _ = hilcat::backend::Postgresql::builder("localhost")
        .user("postgres")
        .password("123")
        .database("hilcat_test");

    // MysqlCache(connection=connection, ...): hilcat opens the connections that it needs.
    #[cfg(feature = "mysql")]
    let _ = hilcat::backend::Mysql::builder("localhost").database("hilcat_test");
}

/// "Cache api".
fn the_api() -> Result {
    let one = CACHE.dynamic("one")?;

    // cache.exists('one', scope='a'), cache.fetch('one', 1, scope='a'): a miss is None, and the
    // default is `unwrap_or`.
    println!("exists: {}", one.exists("one")?);
    println!("fetch: {}", one.fetch("one")?.unwrap_or(json!(1)));

    // cache.set('one', 1, scope='a')
    one.set("one", json!(1))?;

    // cache.update('one', 2, scope='a'): returns the replaced value, on every backend.
    println!("update: {:?}", one.update("one", json!(2))?.map(|old| old.to_string()));

    // cache.get('two', lambda: 2, scope='a')
    println!("get: {}", one.get("two", || json!(2))?);

    // cache.pop('one', scope='a')
    println!("pop: {:?}", one.pop("one")?.map(|old| old.to_string()));

    // The scope that the README declares. A partial `set` leaves the other columns unchanged.
    let a = CACHE.dynamic("a")?;
    a.set("a1", json!({"name": "jii", "comment": "this is a1", "count": 1}))?;
    a.set("a1", json!({"count": 2}))?;
    println!("a1: {}", a.fetch("a1")?.unwrap_or_default());
    CACHE.dynamic("b")?.set(7, json!({"name": "mii", "status": "ok"}))?;
    println!("7: {}", CACHE.dynamic("b")?.fetch(7)?.unwrap_or_default());

    // cache.scopes(), cache.keys('a')
    println!("scopes: {:?}", CACHE.scopes()?);
    println!("keys: {}", one.keys()?.collect::<Result<serde_json::Value, _>>()?);

    // cache.load(), cache.backup(): of a staged cache, which the package calls MiddleCache.
    let staged = Cache::staged(Cache::memory(), CACHE.clone());
    staged.load(None)?;
    staged.dynamic("one")?.set("three", json!(3))?;
    println!("unsaved: {:?}", staged.unsaved()?);
    staged.backup(None)?;
    println!("after the backup: {}", one.fetch("three")?.unwrap_or_default());
    Ok(())
}

/// The number of runs of each function with its arguments.
static RUNS: LazyLock<Mutex<HashMap<String, i64>>> = LazyLock::new(Mutex::default);

fn run(call: String) -> i64 {
    let mut runs = RUNS.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    let count = runs.entry(call).or_default();
    *count += 1;
    *count
}

/// @cache(scope='f1')
#[hilcat::cached(cache = CACHE, scope = "f1")]
fn f1(x: i64) -> i64 {
    x + 1 + run(format!("f1({x})"))
}

fn f2(x: i64) -> i64 {
    x + 1 + run(format!("f2({x})"))
}

#[derive(Debug, Clone, PartialEq, ScopeRecord)]
#[scope(name = "f3")]
struct Sum {
    #[scope(unique)]
    key: String,
    value: i64,
}

fn make_key(x: i64, y: i64) -> String {
    format!("{x}-{y}")
}

/// @cache(scope='f3', make_key_func=make_key)
#[hilcat::cached(cache = CACHE, key = make_key(x, y))]
fn f3(x: i64, y: i64) -> Sum {
    Sum { key: make_key(x, y), value: x + y + run(format!("f3({x}, {y})")) }
}

/// "Decorate a function".
fn decorated() -> Result {
    // With the cache: the same result.
    println!("f1: {}, {}", f1(1), f1(1));
    // Without the cache: a different result.
    println!("f2: {}, {}", f2(1), f2(1));
    println!("f3: {:?}, {:?}", f3(1, 2), f3(1, 2));
    Ok(())
}

/// Opens an existing database of the package.
#[cfg(feature = "sqlite")]
fn a_store_of_the_package() -> Result {
    use diesel::connection::SimpleConnection;
    use diesel::{Connection, SqliteConnection};

    let directory = tempfile::tempdir()?;
    let path = directory.path().join("t.db");
    let mut package = SqliteConnection::establish(&path.display().to_string())?;
    // What SqliteCache(database='t.db', scopes=[SqliteScopeConfig(scope='a', ...)]) executes.
    let statements = "CREATE TABLE IF NOT EXISTS a (id str,name str,comment str,count int, PRIMARY KEY (id));
        INSERT INTO a(id,name,count) VALUES ('a1','jii',1) ON CONFLICT(id) DO UPDATE SET id='a1',name='jii',count=1";
    package.batch_execute(statements)?;

    let schemas = Schemas::from_str(SCHEMAS)?;
    let uri = format!("sqlite:///{}", path.display());
    let cache = Cache::builder(uri).schemas(schemas).open()?;
    println!("from the package: {}", cache.dynamic("a")?.fetch("a1")?.unwrap_or_default());
    Ok(())
}
