//! Concurrent calls that become one statement: each caller gets its own result.

use futures_util::future::join_all;
use hilcat::{AsyncMapScope, Cache, ErrorKind};

use crate::runtimes::{current_thread, multi_thread};
use crate::{Place, Test, tests};

pub const TESTS: &[Test] =
    tests![each_fetch_has_its_own_record, a_refused_row_fails_alone, the_last_of_many_sets_counts];

fn each_fetch_has_its_own_record(place: &Place) {
    multi_thread().block_on(async {
        let scope = place.cache().map::<i64, i64>(&place.scope).await.unwrap();
        let sets = (0..2_500).map(|n| {
            let scope = scope.clone();
            tokio::spawn(async move { scope.set(n, &(n * n)).await.unwrap() })
        });
        join_all(sets).await.into_iter().for_each(Result::unwrap);
        let fetches = (0..5_000).map(|n| {
            let scope = scope.clone();
            // Half of the keys have no record.
            tokio::spawn(async move { (n, scope.fetch(n).await.unwrap()) })
        });
        for fetched in join_all(fetches).await {
            let (n, value) = fetched.unwrap();
            assert_eq!(value, (n < 2_500).then_some(n * n), "{n}");
        }
    });
}

/// The database refuses one row of many.
fn a_refused_row_fails_alone(place: &Place) {
    current_thread().block_on(async {
        let cache = place.cache();
        let scope = cache.map::<i64, i64>(&place.scope).await.unwrap();
        if !refuse_13(&cache.clone().into_blocking(), &place.scope) {
            return;
        }
        let results = join_all((0..50).map(|n| set(&scope, n))).await;
        for (n, result) in results.into_iter().enumerate() {
            match n {
                13 => assert_ne!(result.unwrap_err().kind(), ErrorKind::Unavailable),
                _ => result.unwrap(),
            }
        }
        assert_eq!(scope.len().await.unwrap(), 49);
        assert!(!scope.exists(13).await.unwrap());
    });
}

async fn set(scope: &AsyncMapScope<i64, i64>, n: i64) -> hilcat::Result<()> {
    scope.set(n, &n).await
}

/// Has the table refuse the value 13. Returns `false` if the store has no table.
fn refuse_13(cache: &Cache, table: &str) -> bool {
    use diesel::connection::SimpleConnection;
    let check = format!("ALTER TABLE {table} ADD CHECK (value <> 13)");
    match cache.backend() {
        "sqlite" => {
            let trigger = format!(
                "CREATE TRIGGER t13 BEFORE INSERT ON {table} WHEN NEW.value = 13
                 BEGIN SELECT RAISE(ABORT, 'not this one'); END"
            );
            cache.diesel(|connection: &mut diesel::SqliteConnection| {
                connection.batch_execute(&trigger)
            })
        }
        "postgresql" => cache.diesel(|connection: &mut hilcat::backend::PostgresConnection| {
            connection.batch_execute(&check)
        }),
        "mysql" | "mariadb" => cache.diesel(|connection: &mut hilcat::backend::MysqlConnection| {
            connection.batch_execute(&check)
        }),
        _ => return false,
    }
    .unwrap();
    true
}

/// Sets of one key that are made at the same time end with one of their values, and a set that is
/// made after another one ended counts.
fn the_last_of_many_sets_counts(place: &Place) {
    multi_thread().block_on(async {
        let scope = place.cache().map::<i64, i64>(&place.scope).await.unwrap();
        for round in 0..20 {
            let sets = (0..50).map(|n| {
                let scope = scope.clone();
                tokio::spawn(async move { scope.set(n % 5, &(round * 100 + n)).await.unwrap() })
            });
            join_all(sets).await.into_iter().for_each(Result::unwrap);
            for key in 0..5 {
                let value = scope.fetch(key).await.unwrap().unwrap();
                assert_eq!((value / 100, value % 5), (round, key));
            }
            scope.set(0, &-1).await.unwrap();
            assert_eq!(scope.fetch(0).await.unwrap(), Some(-1));
        }
    });
}
