//! Properties of the public types and traits.

#![allow(clippy::unwrap_used, reason = "a failed test panics")]

use std::collections::BTreeMap;
use std::sync::Arc;

use hilcat::backend::{Memory, MemoryBuilder, Noop, Registry};
use hilcat::store::{Capabilities, Options, ScopeStore, Store, Uri};
use hilcat::{
    Cache, CacheBuilder, Change, Column, ColumnType, DynScope, Entry, Error, ErrorKind, Freshness,
    Key, MapScope, Migrate, Plan, Result, Schema, Schemas, Scope, Shape, Step, Value,
};

/// Types that are `Send` and `Sync`.
const fn send_and_sync<T: Send + Sync + ?Sized>() {}

/// Types that are cheap to clone, and that any thread or task can share.
const fn cheap_handle<T: Clone + Send + Sync + 'static>() {}

const _: () = {
    cheap_handle::<Cache>();
    cheap_handle::<Scope<String>>();
    cheap_handle::<MapScope<String, i64>>();
    cheap_handle::<DynScope>();
    cheap_handle::<Error>();
    cheap_handle::<ErrorKind>();
    cheap_handle::<Key>();
    cheap_handle::<Value>();
    cheap_handle::<ColumnType>();
    cheap_handle::<Column>();
    cheap_handle::<Schema>();
    cheap_handle::<Schemas>();
    cheap_handle::<Freshness>();
    cheap_handle::<Migrate>();
    cheap_handle::<Shape>();
    cheap_handle::<Registry>();
    cheap_handle::<Options>();
    send_and_sync::<CacheBuilder>();
    send_and_sync::<Change>();
    send_and_sync::<Entry<String>>();
    send_and_sync::<Plan>();
    send_and_sync::<Step>();
    send_and_sync::<Memory>();
    send_and_sync::<Noop>();
    send_and_sync::<MemoryBuilder>();
    send_and_sync::<Capabilities>();
    send_and_sync::<Uri>();
    send_and_sync::<dyn Store>();
    send_and_sync::<dyn ScopeStore>();
};

#[cfg(feature = "sqlite")]
const _: () = {
    use hilcat::backend::{Sqlite, SqliteBuilder, SqliteKv, SqliteKvBuilder};
    cheap_handle::<Sqlite>();
    cheap_handle::<SqliteKv>();
    send_and_sync::<SqliteBuilder>();
    send_and_sync::<SqliteKvBuilder>();
};

#[cfg(feature = "postgresql")]
const _: () = {
    use hilcat::backend::{PostgresConnection, Postgresql, PostgresqlBuilder};
    const fn send<T: Send>() {}
    cheap_handle::<Postgresql>();
    send_and_sync::<PostgresqlBuilder>();
    send::<PostgresConnection>();
};

#[cfg(feature = "mysql")]
const _: () = {
    use hilcat::backend::{Mysql, MysqlBuilder, MysqlConnection};
    const fn send<T: Send>() {}
    cheap_handle::<Mysql>();
    send_and_sync::<MysqlBuilder>();
    send::<MysqlConnection>();
};

#[cfg(feature = "redis")]
const _: () = {
    cheap_handle::<hilcat::backend::Redis>();
    send_and_sync::<hilcat::backend::RedisBuilder>();
};

#[cfg(feature = "elasticsearch")]
const _: () = {
    cheap_handle::<hilcat::backend::Elasticsearch>();
    send_and_sync::<hilcat::backend::ElasticsearchBuilder>();
};

#[cfg(feature = "async")]
const _: () = {
    use hilcat::{
        AsyncCache, AsyncCacheBuilder, AsyncDynScope, AsyncMapScope, AsyncScope, Listing,
    };
    const fn send_and_unpin<T: Send + Unpin>() {}
    cheap_handle::<AsyncCache>();
    cheap_handle::<AsyncScope<String>>();
    cheap_handle::<AsyncMapScope<String, i64>>();
    cheap_handle::<AsyncDynScope>();
    send_and_sync::<AsyncCacheBuilder>();
    send_and_unpin::<Listing<String>>();

    /// Compiles only if the futures are `Send`.
    const fn send<T: Send>(_: &T) {}

    #[expect(dead_code, reason = "it only has to compile")]
    fn futures_are_send(cache: &AsyncCache, scope: &AsyncMapScope<String, i64>) {
        send(&AsyncCache::from_uri("memory:"));
        send(&cache.map::<String, i64>("a"));
        send(&cache.dynamic("a"));
        send(&scope.fetch("a"));
        send(&scope.fetch_many(["a", "b"]));
        send(&scope.set("a", &1));
        send(&scope.set_many([("a", 1)]));
        send(&scope.get("a", || async { 1 }));
        send(&scope.try_get("a", || async { Err("no") }));
        send(&scope.get_optional("a", || async { None }));
        send(&scope.get_in_background("a", || async { 1 }));
        send(&scope.refresh("a", || async { 1 }));
        send(&scope.get_many(["a"], |keys| async { keys.into_iter().map(|key| (key, 1)) }));
        send(&scope.pop("a"));
        send(&scope.iter());
    }
};

#[test]
fn one_store_in_a_pointer_serves_several_caches() -> Result<()> {
    let store: Arc<dyn Store> = Arc::new(Memory::new());
    let writer = Cache::from_store(Arc::clone(&store));
    let reader = Cache::from_store(Box::new(Arc::clone(&store)));
    writer.map::<i64, i64>("squares")?.set(7, &49)?;
    assert_eq!(reader.map::<i64, i64>("squares")?.fetch(7)?, Some(49));
    assert_eq!(store.scopes()?, ["squares"]);
    assert_eq!(writer.capabilities(), store.capabilities());
    Ok(())
}

#[test]
fn a_boxed_store_is_a_store() -> Result<()> {
    let store: Box<dyn Store> = Box::new(Memory::new());
    let squares = Cache::from_store(store).map::<i64, i64>("squares")?;
    squares.set(7, &49)?;
    assert_eq!(squares.len()?, 1);
    Ok(())
}

#[test]
fn the_accessors_of_a_schema_return_what_its_builder_was_given() {
    let schema = Schema::new("articles")
        .table("t")
        .unique(Column::new("id", ColumnType::Text))
        .column(Column::new("count", ColumnType::Int))
        .shape(Shape::Tuple)
        .migrate(Migrate::Manual)
        .dropped(["old"])
        .keep(["theirs"])
        .ttl_never();
    assert_eq!((schema.name(), schema.table_name()), ("articles", "t"));
    assert_eq!(schema.columns()[1].name, "count");
    assert_eq!(schema.key_positions(), [0]);
    assert_eq!((schema.value_shape(), schema.migrate_policy()), (Shape::Tuple, Migrate::Manual));
    assert_eq!(
        (schema.dropped_columns(), schema.kept_columns()),
        (&["old".into()][..], &["theirs".into()][..])
    );
    assert!(schema.freshness().ttl.is_some());
    let mut other = schema.renamed("b");
    other.columns_mut()[1].nullable = true;
    assert_eq!((other.name(), other.table_name()), ("b", "t"));
    assert!(other.columns()[1].nullable);
}

#[test]
fn keys_sort_as_the_keys_of_a_map() -> Result<()> {
    let squares = Cache::memory().map::<i64, i64>("squares")?;
    squares.set_many([3_i64, -1, 10].map(|n| (n, n * n)))?;
    let keys = squares.keys()?.map(|key| Ok((Key::single(key?.into()), ())));
    let sorted = keys.collect::<Result<BTreeMap<_, _>>>()?;
    let sorted: Vec<String> = sorted.keys().map(Key::to_string).collect();
    assert_eq!(sorted, ["-1", "3", "10"]);
    Ok(())
}

#[test]
fn a_key_that_does_not_fit_is_an_error_of_every_call() -> Result<()> {
    let cache = Cache::memory();
    let squares = cache.map::<u8, i64>("squares")?;
    let errors = [
        squares.fetch(300).unwrap_err(),
        squares.exists(-1).unwrap_err(),
        squares.set(300, &1).unwrap_err(),
        squares.set_many([(300, 1_i64)]).unwrap_err(),
        squares.update(300, &1).unwrap_err(),
        squares.get(300, || unreachable!()).unwrap_err(),
        squares.try_get(300, || -> Result<i64> { unreachable!() }).unwrap_err(),
        squares.get_optional(300, || unreachable!()).unwrap_err(),
        squares.refresh(300, || 1).unwrap_err(),
        squares.get_in_background(300, || 1).unwrap_err(),
        squares.get_many([300], |_| Vec::<(u8, i64)>::new()).unwrap_err(),
        squares.pop(300).unwrap_err(),
        squares.pop_many([300]).unwrap_err(),
        squares.fetch_many([300]).unwrap_err(),
        squares.entry(300).unwrap_err(),
    ];
    for error in errors {
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
        assert_eq!(error.scope(), Some("squares"), "{error}");
        assert!(error.to_string().contains("out of the range of u8"), "{error}");
    }
    assert_eq!(squares.len()?, 0);
    let error = squares.fetch(300).unwrap_err().to_string();
    assert_eq!(
        error,
        "memory fetch, scope `squares`, key `300`: the key is out of the range of u8"
    );
    Ok(())
}

#[test]
fn the_error_of_a_closure_names_the_call_and_the_kind() -> Result<()> {
    let words = Cache::memory().map::<String, i64>("words")?;
    let failed = words.try_get("a", || "x".parse::<i64>()).unwrap_err();
    assert_eq!(failed.kind(), ErrorKind::Compute);
    assert_eq!(
        failed.to_string(),
        "memory get, scope `words`, key `a`: the closure failed with core::num::error::ParseIntError"
    );
    assert!(format!("{failed:#}").ends_with("ParseIntError: invalid digit found in string"));
    let nested =
        words.try_get("a", || Err(Error::new(ErrorKind::Timeout, "too slow"))).unwrap_err();
    assert_eq!(nested.kind(), ErrorKind::Timeout);
    assert!(nested.to_string().ends_with("key `a`: the closure failed with timeout: too slow"));
    let missing = words.get_many(["a", "b"], |_| [("b".to_owned(), 1)]).unwrap_err();
    let text = missing.to_string();
    assert!(text.contains("key `a`: the closure of `get_many` returned no record"), "{text}");
    Ok(())
}
