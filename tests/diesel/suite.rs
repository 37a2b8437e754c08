//! The cases of every engine. Each engine includes this file as a module, and defines `TestContext`, a
//! database of its own, and `Conn`, the connections of a cache's pool.

use std::error::Error as _;

use diesel::prelude::*;
use hilcat::{Cache, ErrorKind, Scope};

use super::{Conn, TestContext};
use crate::records::*;
use crate::{Case, Failed, cases, diesel_queries, diesel_transaction};

/// The cases of this module.
pub(crate) const CASES: &[Case<TestContext>] = &cases![
    the_example_of_queries,
    the_example_of_a_transaction,
    diesel_reads_what_the_cache_wrote,
    the_cache_reads_what_diesel_wrote,
    diesels_errors_have_their_kind_and_are_the_source,
    the_error_for_another_engine_names_both,
    an_open_transaction_is_rolled_back,
    calls_commit_with_the_callers_transaction,
    calls_roll_back_with_the_callers_transaction,
    an_error_of_a_call_rolls_back_both,
    inserted_records_are_validated,
    names_and_composite_keys,
    one_column,
    long_keys,
    records_that_expire,
];

impl TestContext {
    pub(crate) fn articles(&self) -> Scope<Article> {
        let articles = self.cache.scope::<Article>().unwrap();
        articles.set_many((0..5).map(|at| article(&format!("a{at}"), at))).unwrap();
        articles
    }
}

fn diesel_reads_what_the_cache_wrote(context: &TestContext) {
    context.articles();
    let found = context.cache.diesel_read(|connection: &mut Conn| {
        articles::table
            .filter(articles::count.gt(1).and(articles::name.is_not_null()))
            .order(articles::count.desc())
            .select(Article::as_select())
            .load(connection)
    });
    assert_eq!(found.unwrap(), [article("a4", 4), article("a2", 2)]);

    let all = context.cache.diesel_read(|connection: &mut Conn| {
        articles::table.order(articles::id).load::<Article>(connection)
    });
    assert_eq!(all.unwrap().len(), 5);

    let missing = context.cache.diesel_read(|connection: &mut Conn| {
        articles::table.find("zz").first::<Article>(connection).optional()
    });
    assert_eq!(missing.unwrap(), None);
}

fn the_cache_reads_what_diesel_wrote(context: &TestContext) {
    let stored = context.articles();
    let written = context.cache.diesel(|connection: &mut Conn| {
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

fn diesels_errors_have_their_kind_and_are_the_source(context: &TestContext) {
    context.articles();
    let insert = |connection: &mut Conn| {
        diesel::insert_into(articles::table).values(article("a1", 1)).execute(connection)
    };
    let error = context.cache.diesel(insert).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Backend, "{error}");
    assert!(
        error.to_string().starts_with(&format!("{} diesel: ", context.cache.backend())),
        "{error}"
    );
    let source = error.source().unwrap().downcast_ref::<diesel::result::Error>();
    use diesel::result::{DatabaseErrorKind, Error::DatabaseError};
    assert!(matches!(source, Some(DatabaseError(DatabaseErrorKind::UniqueViolation, _))));

    let own = |_: &mut Conn| Err::<(), Failed>("mine".into());
    let error = context.cache.diesel(own).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Compute);
    assert_eq!(error.source().unwrap().to_string(), "mine");
}

fn the_error_for_another_engine_names_both(context: &TestContext) {
    let here = format!("`{}`", context.cache.backend());
    let memory = Cache::memory();
    let error = memory.diesel(|_: &mut Conn| QueryResult::Ok(())).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    let text = error.to_string();
    assert!(text.contains("`memory`") && text.contains(&here), "{text}");

    let articles = memory.scope::<Article>().unwrap();
    let joined = context.in_transaction(|connection| Ok(articles.on(connection).map(drop)));
    let error = joined.unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert_eq!(error.scope(), Some("articles"));
    let text = error.to_string();
    assert!(text.contains("`memory`") && text.contains(&here), "{text}");
}

fn an_open_transaction_is_rolled_back(context: &TestContext) {
    use diesel::connection::{AnsiTransactionManager, TransactionManager};
    let stored = context.articles();
    let error = context.cache.diesel(|connection: &mut Conn| {
        AnsiTransactionManager::begin_transaction(connection)?;
        diesel::delete(articles::table).execute(connection)
    });
    let error = error.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
    assert_eq!(stored.len().unwrap(), 5);
    stored.set(&article("a9", 9)).unwrap();
}

/// Makes every call of the cache on a connection, after which a0, a2, a3 and n1 to n3 exist.
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

fn calls_commit_with_the_callers_transaction(context: &TestContext) {
    let stored = context.articles();
    context
        .in_transaction(|connection| {
            every_call(&stored, connection)?;
            diesel::insert_into(articles::table).values(article("d1", 1)).execute(connection)?;
            assert_eq!(stored.on(connection)?.fetch("d1")?, Some(article("d1", 1)));
            // No other connection sees it yet.
            assert_eq!(stored.len()?, 5);
            Ok::<(), Failed>(())
        })
        .unwrap();
    let mut keys = stored.keys().unwrap().collect::<hilcat::Result<Vec<_>>>().unwrap();
    keys.sort();
    assert_eq!(keys, ["a0", "a2", "a3", "d1", "n1", "n2", "n3"]);
}

fn calls_roll_back_with_the_callers_transaction(context: &TestContext) {
    let stored = context.articles();
    let before = stored.iter().unwrap().collect::<hilcat::Result<Vec<_>>>().unwrap();
    let failed = context.in_transaction(|connection| {
        every_call(&stored, connection)?;
        diesel::delete(articles::table).execute(connection)?;
        Err::<(), Failed>("no".into())
    });
    assert_eq!(failed.unwrap_err().to_string(), "no");
    let after = stored.iter().unwrap().collect::<hilcat::Result<Vec<_>>>().unwrap();
    assert_eq!(before, after);
}

fn an_error_of_a_call_rolls_back_both(context: &TestContext) {
    let (stored, narrow) = (context.articles(), context.cache.scope::<Narrow>().unwrap());
    let failed = context.in_transaction(|connection| {
        diesel::delete(articles::table).execute(connection)?;
        stored.on(connection)?.set(&article("n1", 1))?;
        narrow.on(connection)?.set(&Narrow { id: 1, count: 40_000, name: String::new() })?;
        Ok::<(), Failed>(())
    });
    let error = failed.unwrap_err().downcast::<hilcat::Error>().unwrap();
    assert_eq!((error.kind(), error.column()), (ErrorKind::InvalidInput, Some("count")));
    assert_eq!(stored.len().unwrap(), 5);
}

fn inserted_records_are_validated(context: &TestContext) {
    let narrow = context.cache.scope::<Narrow>().unwrap();
    for (record, column) in [
        (Narrow { id: 1, count: 40_000, name: "abc".into() }, "count"),
        (Narrow { id: 1, count: 1, name: "abcd".into() }, "name"),
    ] {
        let error = context.cache.diesel(|connection: &mut Conn| {
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

fn names_and_composite_keys(context: &TestContext) {
    let stored = context.cache.scope::<OddNames>().unwrap();
    let odd = |id: i64, ty: &str| OddNames {
        id,
        r#type: ty.into(),
        table: 0.5,
        odd_names: true,
        seen: false,
    };
    stored.set(&odd(1, "x")).unwrap();
    let found = context.cache.diesel(|connection: &mut Conn| {
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

fn one_column(context: &TestContext) {
    let stored = context.cache.scope::<Seen>().unwrap();
    let found = context.cache.diesel(|connection: &mut Conn| {
        diesel::insert_into(seen_keys::table)
            .values(&[Seen { id: 1 }, Seen { id: 2 }][..])
            .execute(connection)?;
        seen_keys::table.filter(seen_keys::id.gt(1)).load::<Seen>(connection)
    });
    assert_eq!(found.unwrap(), [Seen { id: 2 }]);
    assert_eq!(stored.len().unwrap(), 2);
}

fn the_example_of_queries(context: &TestContext) {
    // The second result comes from the cache.
    for _ in 0..2 {
        let (popular, readers) = diesel_queries::run(&context.uri()).unwrap();
        assert_eq!(readers, 45);
        let popular = format!("{popular:?}");
        let at = |name: &str| popular.find(&format!("{name:?}"));
        assert!(at("a7") < at("a2") && at("a7").is_some(), "{popular}");
        assert!(at("a0").is_none() && at("a9").is_none(), "{popular}");
    }
    let error = diesel_queries::run("memory:").unwrap_err();
    assert!(error.to_string().contains("`memory`"), "{error}");
}

fn the_example_of_a_transaction(context: &TestContext) {
    let (orders, stock) = diesel_transaction::run(&context.uri()).unwrap();
    assert_eq!(orders, 1);
    assert!(format!("{stock:?}").contains("pieces: 1"), "{stock:?}");
}

/// If an index cannot hold a key, Diesel reads its shortened form, and cannot write a key that the
/// cache would not find.
fn long_keys(context: &TestContext) {
    let stored = context.articles();
    let long = (0..700).map(|at| format!("{:04x}", at * 7919 % 65_521)).collect::<String>();
    let other = long.clone() + "2";
    context
        .in_transaction(|connection| {
            let mut joined = stored.on(connection)?;
            joined.set(&article(&long, 8))?;
            joined.set_many([article(&other, 9), article("b", 1)])?;
            assert_eq!(joined.fetch(&long)?, Some(article(&long, 8)));
            assert_eq!(joined.update(&article(&other, 10))?, Some(article(&other, 9)));
            assert_eq!(joined.pop("b")?, Some(article("b", 1)));
            Ok::<(), Failed>(())
        })
        .unwrap();
    assert_eq!(stored.fetch(&other).unwrap(), Some(article(&other, 10)));
    let seen = context.cache.diesel_read(|connection: &mut Conn| {
        articles::table.filter(articles::count.eq(8)).load::<Article>(connection)
    });
    let seen = seen.unwrap().remove(0);
    let whole = context.cache.backend() == "sqlite";
    assert_eq!((seen.id == long, seen.name), (whole, article(&long, 8).name));
    assert_eq!(seen.id[..512], long[..512]);
    let written = context.cache.diesel(|connection: &mut Conn| {
        let long = article(&(long.clone() + "3"), 1);
        diesel::insert_into(articles::table).values(long).execute(connection)
    });
    assert_eq!(written.is_ok(), whole, "{written:?}");
    assert_eq!(stored.len().unwrap(), if whole { 8 } else { 7 });
}

/// A record that expires.
#[derive(Debug, Clone, PartialEq, hilcat::ScopeRecord)]
#[scope(name = "tokens", ttl = "1h")]
struct Token {
    #[scope(unique)]
    id: String,
    user: String,
}

fn records_that_expire(context: &TestContext) {
    let tokens = context.cache.scope::<Token>().unwrap();
    let token = |id: &str| Token { id: id.into(), user: "u".into() };
    let minute = std::time::Duration::from_secs(60);
    context
        .in_transaction(|connection| {
            let mut here = tokens.on(connection)?;
            here.set_many([token("a"), token("b")])?;
            here.set_with_ttl(&token("b"), minute)?;
            let entry = here.entry("a")?.ok_or("no entry")?;
            assert!(
                !entry.is_stale()
                    && entry.expires_at() > here.entry("b")?.ok_or("no entry")?.expires_at()
            );
            assert!(here.touch("b")? && !here.touch("c")?);
            assert!(here.entry("b")?.ok_or("no entry")?.expires_at() >= entry.expires_at());
            here.set_with_ttl(&token("c"), std::time::Duration::from_millis(1))?;
            std::thread::sleep(std::time::Duration::from_millis(2));
            assert!(!here.exists("c")? && !here.touch("c")? && here.fetch("c")?.is_none());
            assert_eq!(here.update(&token("c"))?, None);
            Ok::<(), Failed>(())
        })
        .unwrap();
    assert_eq!(tokens.len().unwrap(), 3);
    let stored = context.cache.scope::<Article>().unwrap();
    context
        .in_transaction(|connection| {
            let mut here = stored.on(connection)?;
            assert_eq!(here.touch("a").unwrap_err().kind(), ErrorKind::Unsupported);
            let error = here.set_with_ttl(&article("a", 1), minute).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Unsupported);
            Ok::<(), Failed>(())
        })
        .unwrap();
}
