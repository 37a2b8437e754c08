//! Typed Diesel queries over the rows of a cache, and cache calls in transactions of Diesel's.

#![cfg(all(feature = "derive", feature = "sqlite"))]
#![allow(clippy::unwrap_used, reason = "a failed test panics")]

use std::error::Error as StdError;
use std::time::{Duration, Instant};

use diesel::prelude::*;
use hilcat::{Cache, ErrorKind, Scope, ScopeRecord};
use tempfile::TempDir;

type Failed = Box<dyn StdError + Send + Sync>;

#[derive(Debug, Clone, PartialEq, ScopeRecord)]
#[scope(name = "articles", diesel)]
struct Article {
    #[scope(unique)]
    id: String,
    name: Option<String>,
    count: i32,
}

fn article(id: &str, count: i32) -> Article {
    Article { id: id.into(), name: (count % 2 == 0).then(|| format!("name of {id}")), count }
}

/// A file, with a cache on it.
struct Ground {
    directory: TempDir,
    cache: Cache,
}

impl Ground {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("cache.db").display().to_string();
        let cache = Cache::from_uri(&format!("sqlite:///{path}?timeout=300ms")).unwrap();
        Self { directory, cache }
    }

    /// A connection of the caller's own.
    fn connection(&self) -> SqliteConnection {
        let path = self.directory.path().join("cache.db");
        SqliteConnection::establish(path.to_str().unwrap()).unwrap()
    }

    fn articles(&self) -> Scope<Article> {
        let articles = self.cache.scope::<Article>().unwrap();
        articles.set_many((0..5).map(|at| article(&format!("a{at}"), at))).unwrap();
        articles
    }
}

#[test]
fn what_the_cache_wrote_is_read_by_diesel() {
    let ground = Ground::new();
    ground.articles();
    let found = ground.cache.diesel_read(|connection: &mut SqliteConnection| {
        articles::table
            .filter(articles::count.gt(1).and(articles::name.is_not_null()))
            .order(articles::count.desc())
            .select(Article::as_select())
            .load(connection)
    });
    assert_eq!(found.unwrap(), [article("a4", 4), article("a2", 2)]);

    let all = ground.cache.diesel_read(|connection: &mut SqliteConnection| {
        articles::table.order(articles::id).load::<Article>(connection)
    });
    assert_eq!(all.unwrap().len(), 5);

    let missing = ground.cache.diesel_read(|connection: &mut SqliteConnection| {
        articles::table.find("zz").first::<Article>(connection).optional()
    });
    assert_eq!(missing.unwrap(), None);
}

#[test]
fn what_diesel_wrote_is_read_by_the_cache() {
    let ground = Ground::new();
    let stored = ground.articles();
    let written = ground.cache.diesel(|connection: &mut SqliteConnection| {
        let one = article("b1", 11);
        let many = vec![article("b2", 12), article("b3", 13)];
        let mut written = diesel::insert_into(articles::table).values(&one).execute(connection)?;
        written += diesel::insert_into(articles::table).values(&many).execute(connection)?;
        written += diesel::insert_into(articles::table)
            .values(many[0].clone().with_id("b4"))
            .execute(connection)?;
        written += diesel::insert_into(articles::table)
            .values(article("b1", 21))
            .on_conflict(articles::id)
            .do_update()
            .set(articles::count.eq(21))
            .execute(connection)?;
        written +=
            diesel::delete(articles::table.filter(articles::count.lt(5))).execute(connection)?;
        QueryResult::Ok(written)
    });
    assert_eq!(written.unwrap(), 1 + 2 + 1 + 1 + 5);
    assert_eq!(stored.len().unwrap(), 4);
    let b1 = Article { count: 21, ..article("b1", 11) };
    assert_eq!(stored.fetch("b1").unwrap(), Some(b1));
    assert_eq!(stored.fetch("b4").unwrap(), Some(article("b2", 12).with_id("b4")));
}

impl Article {
    fn with_id(self, id: &str) -> Self {
        Self { id: id.into(), ..self }
    }
}

#[test]
fn diesel_s_errors_keep_their_kind_and_are_the_source() {
    let ground = Ground::new();
    ground.articles();
    let insert = |connection: &mut SqliteConnection| {
        diesel::insert_into(articles::table).values(article("a1", 1)).execute(connection)
    };
    let error = ground.cache.diesel(insert).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Backend, "{error}");
    assert!(error.to_string().starts_with("sqlite diesel: "), "{error}");
    let source = error.source().unwrap().downcast_ref::<diesel::result::Error>();
    use diesel::result::{DatabaseErrorKind, Error::DatabaseError};
    assert!(matches!(source, Some(DatabaseError(DatabaseErrorKind::UniqueViolation, _))));

    let own = |_: &mut SqliteConnection| Err::<(), Failed>("mine".into());
    let error = ground.cache.diesel(own).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Compute);
    assert_eq!(error.source().unwrap().to_string(), "mine");
}

#[test]
fn a_writer_that_is_held_elsewhere_is_a_timeout() {
    let ground = Ground::new();
    ground.articles();
    let mut connection = ground.connection();
    let error = connection.immediate_transaction(|_| {
        let error = ground.cache.diesel(|connection: &mut SqliteConnection| {
            diesel::delete(articles::table).execute(connection)
        });
        QueryResult::Ok(error.unwrap_err())
    });
    let error = error.unwrap();
    assert_eq!(error.kind(), ErrorKind::Timeout, "{error}");
    assert!(error.is_retryable());
}

#[test]
fn another_engine_or_backend_is_named() {
    let memory = Cache::memory();
    let error = memory.diesel(|_: &mut SqliteConnection| QueryResult::Ok(())).unwrap_err();
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
fn nested_use_ends_by_the_deadline() {
    let ground = Ground::new();
    let stored = ground.articles();
    let start = Instant::now();
    let error = ground.cache.diesel(|_: &mut SqliteConnection| {
        let inner = ground.cache.diesel(|_: &mut SqliteConnection| QueryResult::Ok(()));
        assert_eq!(inner.unwrap_err().kind(), ErrorKind::Timeout);
        // A reader goes on beside the writer.
        assert!(stored.exists("a1")?);
        stored.set(&article("c", 1))
    });
    let error = error.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout, "{error}");
    assert!(start.elapsed() < Duration::from_secs(3));
    stored.set(&article("c", 1)).unwrap();
}

#[test]
fn a_database_in_memory_lends_its_one_connection() {
    let cache = Cache::from_uri("sqlite::memory:").unwrap();
    let stored = cache.scope::<Article>().unwrap();
    stored.set(&article("a1", 1)).unwrap();
    let panic = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        cache.diesel(|connection: &mut SqliteConnection| {
            connection.transaction(|connection| -> QueryResult<()> {
                diesel::delete(articles::table).execute(connection)?;
                panic!("in the middle")
            })
        })
    }));
    assert!(panic.is_err());
    assert_eq!(stored.fetch("a1").unwrap(), Some(article("a1", 1)));
}

#[test]
fn a_transaction_that_is_left_open_is_rolled_back() {
    use diesel::connection::{AnsiTransactionManager, TransactionManager};
    let ground = Ground::new();
    let stored = ground.articles();
    let error = ground.cache.diesel(|connection: &mut SqliteConnection| {
        AnsiTransactionManager::begin_transaction(connection)?;
        diesel::delete(articles::table).execute(connection)
    });
    let error = error.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
    assert_eq!(stored.len().unwrap(), 5);
    stored.set(&article("a9", 9)).unwrap();
}

/// Every call of the cache on a connection, which leaves a0, a2, a3 and n1 to n3.
fn every_call(stored: &Scope<Article>, connection: &mut SqliteConnection) -> hilcat::Result<()> {
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
    ground
        .connection()
        .immediate_transaction(|connection| {
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
    let failed = ground.connection().immediate_transaction(|connection| {
        every_call(&stored, connection)?;
        diesel::delete(articles::table).execute(connection)?;
        Err::<(), Failed>("no".into())
    });
    assert_eq!(failed.unwrap_err().to_string(), "no");
    let after = stored.iter().unwrap().collect::<hilcat::Result<Vec<_>>>().unwrap();
    assert_eq!(before, after);
}

/// A record that cannot be written whole: its column is narrower than its field.
#[derive(Debug, Clone, PartialEq, ScopeRecord)]
#[scope(name = "narrow", diesel)]
struct Narrow {
    #[scope(unique)]
    id: i32,
    #[scope(type = "smallint")]
    count: i32,
    #[scope(type = "varchar(3)")]
    name: String,
}

#[test]
fn an_error_of_a_call_rolls_back_both() {
    let ground = Ground::new();
    let (stored, narrow) = (ground.articles(), ground.cache.scope::<Narrow>().unwrap());
    let failed = ground.connection().immediate_transaction(|connection| {
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
fn a_call_that_fails_undoes_itself_and_no_more() {
    let ground = Ground::new();
    let stored = ground.articles();
    let mut connection = ground.connection();
    connection
        .immediate_transaction(|connection| {
            diesel::sql_query(
                "CREATE TRIGGER refuse BEFORE INSERT ON articles WHEN new.count = 13 \
             BEGIN SELECT RAISE(ABORT, 'thirteen'); END",
            )
            .execute(connection)?;
            stored.on(connection)?.set(&article("n1", 1))?;
            // More than one statement has.
            let batch = (0..100).map(|at| article(&format!("m{at}"), at - 86));
            let error = stored.on(connection)?.set_many(batch).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Backend, "{error}");
            assert!(!stored.on(connection)?.exists("m0")?);
            Ok::<(), Failed>(())
        })
        .unwrap();
    assert_eq!(stored.len().unwrap(), 6);
}

#[test]
fn what_is_inserted_is_checked_as_a_scope_does() {
    let ground = Ground::new();
    let narrow = ground.cache.scope::<Narrow>().unwrap();
    for (record, column) in [
        (Narrow { id: 1, count: 40_000, name: "abc".into() }, "count"),
        (Narrow { id: 1, count: 1, name: "abcd".into() }, "name"),
    ] {
        let error = ground.cache.diesel(|connection: &mut SqliteConnection| {
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

/// A table and columns whose names are not those of a module and of fields.
#[derive(Debug, Clone, PartialEq, ScopeRecord)]
#[scope(name = "odd", table = "odd table; `1`", diesel)]
struct OddNames {
    #[scope(unique, column = "the key")]
    id: i64,
    #[scope(unique)]
    r#type: String,
    #[scope(column = "Größe")]
    table: f64,
    odd_names: bool,
    #[scope(skip)]
    seen: bool,
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
    let found = ground.cache.diesel(|connection: &mut SqliteConnection| {
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

/// A scope of keys alone, in a module whose name is given.
#[derive(Debug, Clone, PartialEq, ScopeRecord)]
#[scope(name = "seen", diesel = "seen_keys")]
struct Seen {
    #[scope(unique)]
    id: i32,
}

#[test]
fn one_column() {
    let ground = Ground::new();
    let stored = ground.cache.scope::<Seen>().unwrap();
    let found = ground.cache.diesel(|connection: &mut SqliteConnection| {
        diesel::insert_into(seen_keys::table)
            .values(&[Seen { id: 1 }, Seen { id: 2 }][..])
            .execute(connection)?;
        seen_keys::table.filter(seen_keys::id.gt(1)).load::<Seen>(connection)
    });
    assert_eq!(found.unwrap(), [Seen { id: 2 }]);
    assert_eq!(stored.len().unwrap(), 2);
}

#[cfg(all(feature = "chrono", feature = "uuid", feature = "rust_decimal"))]
mod types {
    use chrono::{DateTime, NaiveDate, NaiveDateTime, NaiveTime, Utc};
    use hilcat::sql_types::value;
    use hilcat::{ColumnType, ColumnValue, Value};
    use rust_decimal::Decimal;
    use serde::{Deserialize, Serialize};
    use uuid::Uuid;

    use super::*;

    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    struct Link {
        to: String,
    }

    #[derive(Debug, Clone, Copy, PartialEq)]
    struct Celsius(f64);

    impl ColumnValue for Celsius {
        const TYPE: ColumnType = ColumnType::Double;

        fn to_value(&self) -> Value {
            self.0.to_value()
        }

        fn from_value(value: Value) -> hilcat::Result<Self> {
            f64::from_value(value).map(Self)
        }
    }

    /// Diesel has tuples of sixteen without a feature of its own: so these are two.
    #[derive(Debug, Clone, PartialEq, ScopeRecord)]
    #[scope(name = "numbers", diesel)]
    struct Numbers {
        #[scope(unique)]
        id: u64,
        small: i8,
        unsigned: u8,
        short: i16,
        unsigned_short: u16,
        int: i32,
        unsigned_int: u32,
        long: i64,
        unsigned_long: Option<u64>,
        float: f32,
        double: f64,
        decimal: Decimal,
        #[scope(type = "decimal(10,2)")]
        money: Option<Decimal>,
        #[scope(type = "double")]
        warm: Celsius,
        #[scope(type = "bigint")]
        wide: i16,
    }

    fn numbers(id: u64) -> Numbers {
        Numbers {
            id,
            small: i8::MIN,
            unsigned: u8::MAX,
            short: i16::MIN,
            unsigned_short: u16::MAX,
            int: i32::MIN,
            unsigned_int: u32::MAX,
            long: i64::MIN,
            unsigned_long: Some(u64::MAX),
            float: 0.1,
            double: f64::MIN_POSITIVE,
            decimal: "-12.5".parse().unwrap(),
            money: Some("3.5".parse().unwrap()),
            warm: Celsius(36.6),
            wide: i16::MAX,
        }
    }

    fn sparse_numbers(id: u64) -> Numbers {
        Numbers { unsigned_long: None, money: None, ..numbers(id) }
    }

    #[derive(Debug, Clone, PartialEq, ScopeRecord)]
    #[scope(name = "others", diesel)]
    struct Others {
        #[scope(unique)]
        id: Uuid,
        bool: bool,
        bytes: Vec<u8>,
        date: NaiveDate,
        time: NaiveTime,
        at: DateTime<Utc>,
        naive: Option<NaiveDateTime>,
        value: serde_json::Value,
        #[scope(json)]
        links: Vec<Link>,
        #[scope(json)]
        meta: Option<Link>,
        text: Option<String>,
    }

    fn others(id: u128) -> Others {
        let at = DateTime::from_timestamp_micros(1_359_609_300_123_456).unwrap();
        Others {
            id: Uuid::from_u128(id),
            bool: true,
            bytes: vec![0, 255],
            date: at.date_naive(),
            time: at.time(),
            at,
            naive: Some(at.naive_utc()),
            value: serde_json::json!({"a": [1, null]}),
            links: vec![Link { to: "é".into() }],
            meta: Some(Link { to: String::new() }),
            text: Some("007".into()),
        }
    }

    fn sparse_others(id: u128) -> Others {
        Others { naive: None, meta: None, text: None, ..others(id) }
    }

    /// Asserts that a column of four records, two by the cache and the same two by Diesel, has as
    /// many different values on the disk as it should.
    fn assert_same_on_disk<R: ScopeRecord>(ground: &Ground) {
        #[derive(QueryableByName)]
        struct Distinct {
            #[diesel(sql_type = diesel::sql_types::BigInt)]
            count: i64,
        }
        let schema = R::schema();
        for column in schema.columns.iter().filter(|column| column.name != "id") {
            let query = format!(
                "SELECT count(DISTINCT typeof(`{name}`) || quote(`{name}`)) AS count FROM {table}",
                name = column.name,
                table = schema.table
            );
            let distinct = diesel::sql_query(query).get_result(&mut ground.connection());
            let Distinct { count } = distinct.unwrap();
            assert_eq!(count, 1 + i64::from(column.nullable), "{}", column.name);
        }
    }

    #[test]
    fn numbers_are_the_same_both_ways() {
        let ground = Ground::new();
        let stored = ground.cache.scope::<Numbers>().unwrap();
        stored.set_many(&[numbers(1), sparse_numbers(2)]).unwrap();
        let found = ground.cache.diesel(|connection: &mut SqliteConnection| {
            let found = numbers::table.order(numbers::id).load::<Numbers>(connection)?;
            diesel::insert_into(numbers::table)
                .values(&vec![numbers(3), sparse_numbers(u64::MAX)])
                .execute(connection)?;
            QueryResult::Ok(found)
        });
        assert_eq!(found.unwrap(), [numbers(1), sparse_numbers(2)]);
        let inserted = [Some(numbers(3)), Some(sparse_numbers(u64::MAX))];
        assert_eq!(stored.fetch_many([3, u64::MAX]).unwrap(), inserted);
        assert_same_on_disk::<Numbers>(&ground);
    }

    #[test]
    fn other_types_are_the_same_both_ways() {
        let ground = Ground::new();
        let stored = ground.cache.scope::<Others>().unwrap();
        stored.set_many(&[others(1), sparse_others(2)]).unwrap();
        let found = ground.cache.diesel(|connection: &mut SqliteConnection| {
            let found = others::table.order(others::id).load::<Others>(connection)?;
            diesel::insert_into(others::table)
                .values(&vec![others(3), sparse_others(4)])
                .execute(connection)?;
            QueryResult::Ok(found)
        });
        assert_eq!(found.unwrap(), [others(1), sparse_others(2)]);
        let ids = [3, 4].map(Uuid::from_u128);
        assert_eq!(stored.fetch_many(ids).unwrap(), [Some(others(3)), Some(sparse_others(4))]);
        assert_same_on_disk::<Others>(&ground);
    }

    #[test]
    fn numbers_go_into_expressions() {
        let ground = Ground::new();
        let stored = ground.cache.scope::<Numbers>().unwrap();
        stored.set_many(&[numbers(1), sparse_numbers(2)]).unwrap();
        let one = numbers(1);
        let found = ground.cache.diesel_read(|connection: &mut SqliteConnection| {
            numbers::table
                .filter(numbers::id.eq(value(one.id)))
                .filter(numbers::money.eq(value(one.money)))
                .filter(numbers::decimal.eq(value(one.decimal)))
                .filter(numbers::unsigned_long.eq(value(u64::MAX)))
                .filter(numbers::unsigned_int.eq(value(one.unsigned_int)))
                .filter(numbers::warm.gt(value(Celsius(36.0))))
                .filter(numbers::short.lt(0))
                .load::<Numbers>(connection)
        });
        assert_eq!(found.unwrap(), [one]);
    }

    #[test]
    fn other_types_go_into_expressions() {
        let ground = Ground::new();
        let stored = ground.cache.scope::<Others>().unwrap();
        stored.set_many(&[others(1), sparse_others(2)]).unwrap();
        let one = others(1);
        let before = one.at - chrono::Duration::microseconds(1);
        let found = ground.cache.diesel_read(|connection: &mut SqliteConnection| {
            others::table
                .filter(others::id.eq(value(one.id)))
                .filter(others::at.le(value(one.at)).and(others::at.gt(value(before))))
                .filter(others::naive.eq(value(one.naive)))
                .filter(others::date.eq(value(one.date)).and(others::time.eq(value(one.time))))
                .filter(others::bool_.eq(true))
                .filter(others::text.eq("007"))
                .filter(others::bytes.eq(vec![0, 255]))
                .load::<Others>(connection)
        });
        assert_eq!(found.unwrap(), [one]);
    }

    #[test]
    fn a_stored_value_of_another_form_is_an_error() {
        let ground = Ground::new();
        ground.cache.scope::<Others>().unwrap().set(&others(1)).unwrap();
        let error = ground.cache.diesel(|connection: &mut SqliteConnection| {
            diesel::sql_query("UPDATE others SET at = 'soon'").execute(connection)?;
            others::table.load::<Others>(connection)
        });
        let error = error.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidData, "{error}");
        assert_eq!(error.column(), Some("at"));
        assert!(!error.to_string().contains("soon"), "{error}");
    }
}
