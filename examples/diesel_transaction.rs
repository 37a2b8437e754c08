//! Cache calls in a Diesel transaction of your own: `cargo run --example diesel_transaction`.
//!
//! The program has its own table, `orders`, and caches the stock of each item in the same
//! database. An order and the changed stock are committed together, or neither is.
//!
//! The database is `shop.db`, or the one that `HILCAT_CACHE` names.

use std::error::Error;

use diesel::prelude::*;
use hilcat::{Cache, Scope, ScopeRecord};

diesel::table! {
    /// An order.
    orders (id) {
        /// The number of the order.
        id -> Integer,
        /// The ordered item.
        item -> Text,
        /// The number of ordered pieces.
        pieces -> Integer,
    }
}

const CREATE: &str = "CREATE TABLE IF NOT EXISTS orders \
     (id INTEGER PRIMARY KEY, item VARCHAR(50) NOT NULL, pieces INTEGER NOT NULL)";

/// The number of pieces of an item in stock.
#[derive(Debug, Clone, PartialEq, ScopeRecord)]
#[scope(name = "stock")]
pub struct Stock {
    #[scope(unique)]
    item: String,
    pieces: i32,
}

/// The error of the transaction: from Diesel, from hilcat or from the program.
type Failed = Box<dyn Error + Send + Sync>;

/// Defines the program for a type of connection.
macro_rules! shop {
    ($name:ident, $connection:ty) => {
        mod $name {
            use super::*;

            /// Takes an order: inserts it through Diesel, and reduces the stock through hilcat.
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

            /// Takes two orders, of which the second exceeds the stock. Returns the number of orders.
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

/// Runs the program on the database of a URI. Returns the number of orders and the stock.
///
/// # Errors
///
/// If the database fails.
pub fn run(uri: &str) -> Result<(i64, Option<Stock>), Failed> {
    let cache = Cache::from_uri(uri)?;
    let stock = cache.scope::<Stock>()?; // before the transaction: this creates the table
    stock.set(&Stock { item: "chair".to_owned(), pieces: 4 })?;
    let orders = match cache.backend() {
        // The program opens the connection.
        #[cfg(feature = "sqlite")]
        "sqlite" => {
            let path = uri.trim_start_matches("sqlite:///").split('?').next().unwrap_or_default();
            sqlite::run(&mut SqliteConnection::establish(path)?, &stock)?
        }
        // The cache provides the connection; no C library is needed.
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
