//! Hand-written peers: the crate `mysql`, and Diesel's query language.

use std::hint::black_box;

use diesel::dsl::DuplicatedKeys;
use diesel::prelude::*;
use hilcat::Cache;
use hilcat::backend::MysqlConnection;
use mysql::prelude::Queryable as _;
use mysql::{Conn, Opts, OptsBuilder, Statement};

use crate::harness::Outcome;
use crate::record::{Item, items};
use crate::server::{ByDiesel, Raw};

const GET: &str = "SELECT id, name, comment, count, score FROM items WHERE id = ?";

const SET: &str = "INSERT INTO items (id, name, comment, count, score) VALUES (?, ?, ?, ?, ?)
    ON DUPLICATE KEY UPDATE name = VALUES(name), comment = VALUES(comment),
    count = VALUES(count), score = VALUES(score)";

/// The `mysql` crate.
pub struct RawPeer {
    client: Conn,
    get: Statement,
    set: Statement,
}

/// Connects with the client's form of hilcat's URI.
fn connect(uri: &str) -> Outcome<Conn> {
    let uri = uri.replacen("mariadb:", "mysql:", 1);
    let uri = uri.split('?').next().unwrap_or_default();
    // By default the client switches to the Unix socket, which would not be comparable.
    let options = OptsBuilder::from_opts(Opts::from_url(uri)?).prefer_socket(false);
    Ok(Conn::new(options)?)
}

impl RawPeer {
    pub fn make_database(uri: &str, name: &str) -> Outcome {
        let mut client = connect(uri)?;
        client.query_drop(format!("DROP DATABASE IF EXISTS {name}"))?;
        Ok(client.query_drop(format!("CREATE DATABASE {name}"))?)
    }

    pub fn drop_database(uri: &str, name: &str) -> Outcome {
        Ok(connect(uri)?.query_drop(format!("DROP DATABASE {name}"))?)
    }

    pub fn open(uri: &str) -> Outcome<Self> {
        let mut client = connect(uri)?;
        let (get, set) = (client.prep(GET)?, client.prep(SET)?);
        Ok(Self { client, get, set })
    }
}

impl Raw for RawPeer {
    const NAME: &'static str = "the mysql crate, a prepared statement";

    fn get(&mut self, id: &str) -> Option<Item> {
        let row = self.client.exec_first(&self.get, (id,)).unwrap();
        row.map(|(id, name, comment, count, score)| Item { id, name, comment, count, score })
    }

    fn set(&mut self, item: &Item) {
        let values = (&item.id, &item.name, &item.comment, item.count, item.score);
        self.client.exec_drop(&self.set, values).unwrap();
    }

    fn set_many(&mut self, items: &[Item]) {
        self.client.query_drop("BEGIN").unwrap();
        items.iter().for_each(|item| self.set(item));
        self.client.query_drop("COMMIT").unwrap();
    }
}

/// Diesel, as in its guides.
pub struct DieselPeer(pub Cache);

impl ByDiesel for DieselPeer {
    fn get_all<'a>(&self, ids: impl Iterator<Item = &'a str>) {
        let all = |connection: &mut MysqlConnection| {
            for id in ids {
                let query = items::table.find(black_box(id)).select(Item::as_select());
                black_box(query.get_result(connection).optional()?);
            }
            QueryResult::Ok(())
        };
        self.0.diesel_read(all).unwrap();
    }

    fn set_all<'a>(&self, items: impl Iterator<Item = &'a Item>) {
        let all = |connection: &mut MysqlConnection| {
            for item in items {
                let changes = (
                    items::name.eq(&item.name),
                    items::comment.eq(&item.comment),
                    items::count.eq(item.count),
                    items::score.eq(item.score),
                );
                let insert = diesel::insert_into(items::table).values(item);
                insert.on_conflict(DuplicatedKeys).do_update().set(changes).execute(connection)?;
            }
            QueryResult::Ok(())
        };
        self.0.diesel(all).unwrap();
    }
}
