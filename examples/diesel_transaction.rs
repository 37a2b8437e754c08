//! Cache calls in a Diesel transaction of your own: `cargo run --example diesel_transaction`.
//!
//! The program has a table of its own, `orders`, and caches the stock of each item in the same
//! database. An order and the stock that it leaves are committed together, or neither is.
//!
//! The database is `shop.db`, or whatever `HILCAT_CACHE` names.

use std::error::Error;

use diesel::prelude::*;
use hilcat::{Cache, Scope, ScopeRecord};

diesel::table! {
    /// What was ordered.
    orders (id) {
        /// The number of the order.
        id -> Integer,
        /// What.
        item -> Text,
        /// How many.
        pieces -> Integer,
    }
}

const CREATE: &str = "CREATE TABLE IF NOT EXISTS orders \
     (id INTEGER PRIMARY KEY, item VARCHAR(50) NOT NULL, pieces INTEGER NOT NULL)";

/// How many pieces of an item there are.
#[derive(Debug, Clone, PartialEq, ScopeRecord)]
#[scope(name = "stock")]
pub struct Stock {
    #[scope(unique)]
    item: String,
    pieces: i32,
}

/// The error of the transaction: Diesel's, hilcat's or one of the program's own.
type Failed = Box<dyn Error + Send + Sync>;

/// The program for a type of connection.
macro_rules! shop {
    ($name:ident, $connection:ty) => {
        mod $name {
            use super::*;

            /// Takes an order: by Diesel into the program's table, by hilcat from the stock.
            fn order(
                connection: &mut $connection,
                stock: &Scope<Stock>,
                (id, item, pieces): (i32, &str, i32),
            ) -> Result<Stock, Failed> {
                connection.transaction(|connection| {
                    diesel::insert_into(orders::table)
                        .values((
                            orders::id.eq(id),
                            orders::item.eq(item),
                            orders::pieces.eq(pieces),
                        ))
                        .execute(connection)?;
                    let mut stock = stock.on(connection)?;
                    let mut left = stock.fetch(item)?.ok_or("there is no such item")?;
                    left.pieces -= pieces;
                    stock.set(&left)?;
                    match left.pieces {
                        0.. => Ok(left),
                        _ => Err("there are not that many".into()),
                    }
                })
            }

            /// Takes two orders, of which the second one asks too much; gives how many there are.
            pub(super) fn run(
                connection: &mut $connection,
                stock: &Scope<Stock>,
            ) -> Result<i64, Failed> {
                diesel::sql_query(CREATE).execute(connection)?;
                diesel::delete(orders::table).execute(connection)?;
                let left = order(connection, stock, (1, "chair", 3))?;
                println!("ordered 3 chairs, {} left", left.pieces);
                match order(connection, stock, (2, "chair", 3)) {
                    Ok(left) => println!("ordered 3 more chairs, {} left", left.pieces),
                    Err(error) => println!("no more chairs: {error}"),
                }
                Ok(orders::table.count().get_result(connection)?)
            }
        }
    };
}
#[cfg(feature = "sqlite")]
shop!(sqlite, SqliteConnection);
#[cfg(feature = "postgresql")]
shop!(postgresql, hilcat::backend::PostgresConnection);
#[cfg(feature = "mysql")]
shop!(mysql, hilcat::backend::MysqlConnection);

/// Runs the program on the database of a URI; gives how many orders there are, and the stock.
///
/// # Errors
///
/// Where the database fails.
pub fn run(uri: &str) -> Result<(i64, Option<Stock>), Failed> {
    let cache = Cache::from_uri(uri)?;
    let stock = cache.scope::<Stock>()?; // before the transaction: this makes the table
    stock.set(&Stock { item: "chair".to_owned(), pieces: 4 })?;
    let orders = match cache.backend() {
        // A connection of the program's own.
        #[cfg(feature = "sqlite")]
        "sqlite" => {
            let path = uri.trim_start_matches("sqlite:///").split('?').next().unwrap_or_default();
            sqlite::run(&mut SqliteConnection::establish(path)?, &stock)?
        }
        // One that the cache lends: it needs no library of C.
        #[cfg(feature = "postgresql")]
        "postgresql" => cache.diesel(|connection| postgresql::run(connection, &stock))?,
        #[cfg(feature = "mysql")]
        "mysql" => cache.diesel(|connection| mysql::run(connection, &stock))?,
        other => return Err(format!("this example is not built for `{other}`").into()),
    };
    Ok((orders, stock.fetch("chair")?))
}

fn main() -> Result<(), Failed> {
    let uri = std::env::var("HILCAT_CACHE").unwrap_or_else(|_| "sqlite:///shop.db".to_owned());
    let (orders, stock) = run(&uri)?;
    println!("{orders} orders, {stock:?}");
    Ok(())
}
