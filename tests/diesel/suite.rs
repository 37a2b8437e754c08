//! What holds on every engine: a module of this file for each, in which `Ground` is a database of
//! its own and `Conn` the connections of a cache's pool.

use std::error::Error as _;

use diesel::prelude::*;
use hilcat::{Cache, ErrorKind, Scope};

use super::{Conn, Ground, in_transaction};
use crate::Failed;
use crate::records::*;

impl Ground {
    pub(crate) fn articles(&self) -> Scope<Article> {
        let articles = self.cache.scope::<Article>().unwrap();
        articles.set_many((0..5).map(|at| article(&format!("a{at}"), at))).unwrap();
        articles
    }
}

#[test]
fn what_the_cache_wrote_is_read_by_diesel() {
    let ground = Ground::new();
    ground.articles();
    let found = ground.cache.diesel_read(|connection: &mut Conn| {
        articles::table
            .filter(articles::count.gt(1).and(articles::name.is_not_null()))
            .order(articles::count.desc())
            .select(Article::as_select())
            .load(connection)
    });
    assert_eq!(found.unwrap(), [article("a4", 4), article("a2", 2)]);

    let all = ground.cache.diesel_read(|connection: &mut Conn| {
        articles::table.order(articles::id).load::<Article>(connection)
    });
    assert_eq!(all.unwrap().len(), 5);

    let missing = ground.cache.diesel_read(|connection: &mut Conn| {
        articles::table.find("zz").first::<Article>(connection).optional()
    });
    assert_eq!(missing.unwrap(), None);
}

#[test]
fn what_diesel_wrote_is_read_by_the_cache() {
    let ground = Ground::new();
    let stored = ground.articles();
    let written = ground.cache.diesel(|connection: &mut Conn| {
        let one = article("b1", 11);
        let many = vec![article("b2", 12), article("b3", 13)];
        let mut written = diesel::insert_into(articles::table).values(&one).execute(connection)?;
        written += diesel::insert_into(articles::table).values(&many).execute(connection)?;
        written += diesel::insert_into(articles::table)
            .values(many[0].clone().with_id("b4"))
            .execute(connection)?;
        written +=
            diesel::delete(articles::table.filter(articles::count.lt(5))).execute(connection)?;
        QueryResult::Ok(written)
    });
    assert_eq!(written.unwrap(), 1 + 2 + 1 + 5);
    assert_eq!(stored.len().unwrap(), 4);
    assert_eq!(stored.fetch("b1").unwrap(), Some(article("b1", 11)));
    assert_eq!(stored.fetch("b4").unwrap(), Some(article("b2", 12).with_id("b4")));
}

#[test]
fn diesel_s_errors_keep_their_kind_and_are_the_source() {
    let ground = Ground::new();
    ground.articles();
    let insert = |connection: &mut Conn| {
        diesel::insert_into(articles::table).values(article("a1", 1)).execute(connection)
    };
    let error = ground.cache.diesel(insert).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Backend, "{error}");
    assert!(error.to_string().starts_with("sqlite diesel: "), "{error}");
    let source = error.source().unwrap().downcast_ref::<diesel::result::Error>();
    use diesel::result::{DatabaseErrorKind, Error::DatabaseError};
    assert!(matches!(source, Some(DatabaseError(DatabaseErrorKind::UniqueViolation, _))));

    let own = |_: &mut Conn| Err::<(), Failed>("mine".into());
    let error = ground.cache.diesel(own).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Compute);
    assert_eq!(error.source().unwrap().to_string(), "mine");
}

#[test]
fn another_engine_or_backend_is_named() {
    let memory = Cache::memory();
    let error = memory.diesel(|_: &mut Conn| QueryResult::Ok(())).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    let text = error.to_string();
    assert!(text.contains("`memory`") && text.contains("`sqlite`"), "{text}");

    let articles = memory.scope::<Article>().unwrap();
    let mut connection = Ground::new().connection();
    let error = articles.on(&mut connection).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert_eq!(error.scope(), Some("articles"));
    let text = error.to_string();
    assert!(text.contains("`memory`") && text.contains("`sqlite`"), "{text}");
}

#[test]
fn a_transaction_that_is_left_open_is_rolled_back() {
    use diesel::connection::{AnsiTransactionManager, TransactionManager};
    let ground = Ground::new();
    let stored = ground.articles();
    let error = ground.cache.diesel(|connection: &mut Conn| {
        AnsiTransactionManager::begin_transaction(connection)?;
        diesel::delete(articles::table).execute(connection)
    });
    let error = error.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
    assert_eq!(stored.len().unwrap(), 5);
    stored.set(&article("a9", 9)).unwrap();
}

/// Every call of the cache on a connection, which leaves a0, a2, a3 and n1 to n3.
fn every_call(stored: &Scope<Article>, connection: &mut Conn) -> hilcat::Result<()> {
    let mut here = stored.on(connection)?;
    assert!(here.exists("a1")? && !here.exists("n1")?);
    here.set(&article("n1", 1))?;
    assert_eq!(here.update(&article("n1", 2))?, Some(article("n1", 1)));
    assert_eq!(here.update(&article("n2", 2))?, None);
    here.set_many(&[article("n3", 3), article("n3", 4)])?;
    assert_eq!(here.fetch("n3")?, Some(article("n3", 4)));
    assert_eq!(
        here.fetch_many(["n2", "zz", "n1"])?,
        [Some(article("n2", 2)), None, Some(article("n1", 2))]
    );
    assert_eq!(here.pop("a1")?, Some(article("a1", 1)));
    assert_eq!(here.pop("a1")?, None);
    assert_eq!(here.pop_many(["a4", "a4"])?, [Some(article("a4", 4)), None]);
    Ok(())
}

#[test]
fn calls_are_committed_with_the_caller_s_transaction() {
    let ground = Ground::new();
    let stored = ground.articles();
    in_transaction(&mut ground.connection(), |connection| {
        every_call(&stored, connection)?;
        diesel::insert_into(articles::table).values(article("d1", 1)).execute(connection)?;
        assert_eq!(stored.on(connection)?.fetch("d1")?, Some(article("d1", 1)));
        // Nobody else sees it yet.
        assert_eq!(stored.len()?, 5);
        Ok::<(), Failed>(())
    })
    .unwrap();
    let mut keys = stored.keys().unwrap().collect::<hilcat::Result<Vec<_>>>().unwrap();
    keys.sort();
    assert_eq!(keys, ["a0", "a2", "a3", "d1", "n1", "n2", "n3"]);
}

#[test]
fn calls_are_rolled_back_with_the_caller_s_transaction() {
    let ground = Ground::new();
    let stored = ground.articles();
    let before = stored.iter().unwrap().collect::<hilcat::Result<Vec<_>>>().unwrap();
    let failed = in_transaction(&mut ground.connection(), |connection| {
        every_call(&stored, connection)?;
        diesel::delete(articles::table).execute(connection)?;
        Err::<(), Failed>("no".into())
    });
    assert_eq!(failed.unwrap_err().to_string(), "no");
    let after = stored.iter().unwrap().collect::<hilcat::Result<Vec<_>>>().unwrap();
    assert_eq!(before, after);
}

#[test]
fn an_error_of_a_call_rolls_back_both() {
    let ground = Ground::new();
    let (stored, narrow) = (ground.articles(), ground.cache.scope::<Narrow>().unwrap());
    let failed = in_transaction(&mut ground.connection(), |connection| {
        diesel::delete(articles::table).execute(connection)?;
        stored.on(connection)?.set(&article("n1", 1))?;
        narrow.on(connection)?.set(&Narrow { id: 1, count: 40_000, name: String::new() })?;
        Ok::<(), Failed>(())
    });
    let error = failed.unwrap_err().downcast::<hilcat::Error>().unwrap();
    assert_eq!((error.kind(), error.column()), (ErrorKind::InvalidInput, Some("count")));
    assert_eq!(stored.len().unwrap(), 5);
}

#[test]
fn what_is_inserted_is_checked_as_a_scope_does() {
    let ground = Ground::new();
    let narrow = ground.cache.scope::<Narrow>().unwrap();
    for (record, column) in [
        (Narrow { id: 1, count: 40_000, name: "abc".into() }, "count"),
        (Narrow { id: 1, count: 1, name: "abcd".into() }, "name"),
    ] {
        let error = ground.cache.diesel(|connection: &mut Conn| {
            diesel::insert_into(narrow::table).values(&record).execute(connection)
        });
        let error = error.unwrap_err();
        assert_eq!(
            (error.kind(), error.column()),
            (ErrorKind::InvalidInput, Some(column)),
            "{error}"
        );
    }
    assert_eq!(narrow.len().unwrap(), 0);
}

#[test]
fn names_and_composite_keys() {
    let ground = Ground::new();
    let stored = ground.cache.scope::<OddNames>().unwrap();
    let odd = |id: i64, ty: &str| OddNames {
        id,
        r#type: ty.into(),
        table: 0.5,
        odd_names: true,
        seen: false,
    };
    stored.set(&odd(1, "x")).unwrap();
    let found = ground.cache.diesel(|connection: &mut Conn| {
        diesel::insert_into(odd_names::table).values(odd(2, "y")).execute(connection)?;
        diesel::update(odd_names::table.find((1, "x")))
            .set((odd_names::table_.eq(7.5), odd_names::odd_names_.eq(false)))
            .execute(connection)?;
        odd_names::table.order(odd_names::r#type).load::<OddNames>(connection)
    });
    let changed = OddNames { table: 7.5, odd_names: false, ..odd(1, "x") };
    assert_eq!(found.unwrap(), [changed.clone(), odd(2, "y")]);
    assert_eq!(stored.fetch((1, "x")).unwrap(), Some(changed));
    assert_eq!(stored.fetch((2, "y")).unwrap(), Some(odd(2, "y")));
}

#[test]
fn one_column() {
    let ground = Ground::new();
    let stored = ground.cache.scope::<Seen>().unwrap();
    let found = ground.cache.diesel(|connection: &mut Conn| {
        diesel::insert_into(seen_keys::table)
            .values(&[Seen { id: 1 }, Seen { id: 2 }][..])
            .execute(connection)?;
        seen_keys::table.filter(seen_keys::id.gt(1)).load::<Seen>(connection)
    });
    assert_eq!(found.unwrap(), [Seen { id: 2 }]);
    assert_eq!(stored.len().unwrap(), 2);
}
