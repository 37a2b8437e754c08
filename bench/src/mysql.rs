//! MySQL and MariaDB, compared with the crate `mysql` and hand-written Diesel.

mod peers;

use self::peers::{DieselPeer, RawPeer};
use crate::harness::Outcome;
use crate::record::{Data, Item};
use crate::report::Line;
use crate::server::{Sides, open, uri, with};

/// The database of the tables; it is created for the run and dropped afterwards.
const DATABASE: &str = "hilcat_bench";

pub fn run(data: &Data, print: &mut dyn FnMut(Line)) -> Outcome {
    on("MySQL", ["HILCAT_BENCH_MYSQL", "HILCAT_TEST_MYSQL8"], data, print)
}

pub fn run_mariadb(data: &Data, print: &mut dyn FnMut(Line)) -> Outcome {
    on("MariaDB", ["HILCAT_BENCH_MARIADB", "HILCAT_TEST_MARIADB"], data, print)
}

fn on(
    server: &'static str,
    variables: [&str; 2],
    data: &Data,
    print: &mut dyn FnMut(Line),
) -> Outcome {
    let Some(given) = uri(variables) else { return Ok(()) };
    RawPeer::make_database(&given, DATABASE)?;
    // The peer does not use TLS either.
    let uri = with(&in_database(&given)?, "ssl-mode=disabled");
    let cache = open(&uri)?;
    let scope = cache.scope::<Item>()?;
    let raw = RawPeer::open(&uri)?;
    let mut sides = Sides { server, uri, scope, raw, diesel: DieselPeer(cache) };
    sides.run(data, print)?;
    drop(sides);
    RawPeer::drop_database(&given, DATABASE)
}

/// Returns the URI with another database.
fn in_database(uri: &str) -> Outcome<String> {
    let (before, options) = uri.split_once('?').map_or((uri, None), |(a, b)| (a, Some(b)));
    let (server, _) = before.rsplit_once('/').ok_or("the URI names no database")?;
    let options = options.map(|options| format!("?{options}")).unwrap_or_default();
    Ok(format!("{server}/{DATABASE}{options}"))
}
