//! Typed Diesel queries over cached rows: `cargo run --example diesel_queries`.
//!
//! The cache is in memory, or the one that `HILCAT_CACHE` names. Your own crate needs `diesel` among
//! its dependencies.

use std::error::Error;

use diesel::prelude::*;
use hilcat::{Cache, ScopeRecord};

/// An article with the number of its readers. `diesel` generates the module `articles`.
#[derive(Debug, Clone, PartialEq, ScopeRecord)]
#[scope(name = "articles", diesel)]
pub struct Article {
    #[scope(unique)]
    id: String,
    name: String,
    comment: Option<String>,
    count: i32,
}

/// Represents a slow computation.
fn expensive(id: u32) -> Article {
    Article {
        id: format!("a{id}"),
        name: format!("article {id}"),
        comment: id.is_multiple_of(3).then(|| "to be read again".to_owned()),
        count: i32::try_from(id * 7 % 10).unwrap_or_default(),
    }
}

/// Queries the articles with more than three readers, and the number of all readers: the same query
/// on every engine, each with its own type of connection.
macro_rules! popular {
    ($cache:expr, $connection:ty) => {
        $cache.diesel_read(|connection: &mut $connection| {
            let popular = articles::table
                .filter(articles::count.gt(3).and(articles::comment.is_null()))
                .order((articles::count.desc(), articles::id))
                .select(Article::as_select())
                .load(connection)?;
            let readers: Option<i64> =
                articles::table.select(diesel::dsl::sum(articles::count)).first(connection)?;
            QueryResult::Ok((popular, readers.unwrap_or_default()))
        })
    };
}

/// Fills the cache at a URI and queries it.
///
/// # Errors
///
/// If the cache fails.
pub fn run(uri: &str) -> Result<(Vec<Article>, i64), Box<dyn Error>> {
    let cache = Cache::from_uri(uri)?;
    let stored = cache.scope::<Article>()?;
    for id in 0..10 {
        stored.get(format!("a{id}"), || expensive(id))?;
    }
    match cache.backend() {
        #[cfg(feature = "sqlite")]
        "sqlite" => Ok(popular!(cache, diesel::SqliteConnection)?),
        #[cfg(feature = "postgresql")]
        "postgresql" => Ok(popular!(cache, hilcat::backend::PostgresConnection)?),
        #[cfg(feature = "mysql")]
        "mysql" => Ok(popular!(cache, hilcat::backend::MysqlConnection)?),
        other => Err(format!("this example is not built for `{other}`").into()),
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let uri = std::env::var("HILCAT_CACHE").unwrap_or_else(|_| "sqlite::memory:".to_owned());
    let (popular, readers) = run(&uri)?;
    for article in &popular {
        println!("{:3} readers: {}", article.count, article.name);
    }
    println!("{readers} readers in all");
    Ok(())
}
