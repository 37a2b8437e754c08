//! Hand-written peers: tokio-postgres, and Diesel's query language.

use std::hint::black_box;
use std::rc::Rc;
use std::str::FromStr;

use diesel::prelude::*;
use diesel::upsert::excluded;
use hilcat::Cache;
use hilcat::backend::PostgresConnection;
use tokio::runtime::Runtime;
use tokio::task::LocalSet;
use tokio_postgres::{Client, Config, NoTls, Row, Statement};

use crate::harness::Outcome;
use crate::record::{Data, Item, items};
use crate::server::{ByDiesel, CALLERS, Raw, picks};

const GET: &str = "SELECT id, name, comment, count, score FROM items WHERE id = $1";

const SET: &str = "INSERT INTO items (id, name, comment, count, score) VALUES ($1, $2, $3, $4, $5)
    ON CONFLICT (id) DO UPDATE SET name = excluded.name, comment = excluded.comment,
    count = excluded.count, score = excluded.score";

/// tokio-postgres, on a runtime of the calling thread, as its blocking wrapper does it.
pub struct RawPeer {
    runtime: Runtime,
    client: Client,
    prepared: Option<(Statement, Statement)>,
}

fn runtime() -> Outcome<Runtime> {
    Ok(tokio::runtime::Builder::new_current_thread().enable_all().build()?)
}

async fn connect(uri: &str) -> Outcome<Client> {
    let (client, connection) = Config::from_str(uri)?.connect(NoTls).await?;
    tokio::spawn(async move { drop(connection.await) });
    Ok(client)
}

impl RawPeer {
    pub fn open(uri: &str) -> Outcome<Self> {
        let runtime = runtime()?;
        let client = runtime.block_on(connect(uri))?;
        Ok(Self { runtime, client, prepared: None })
    }

    pub fn run(&mut self, sql: &str) -> Outcome {
        Ok(self.runtime.block_on(self.client.batch_execute(sql))?)
    }

    pub fn prepare(&mut self, schema: &str) -> Outcome {
        self.run(&format!("SET search_path = {schema}"))?;
        let Self { runtime, client, .. } = self;
        let prepared = runtime.block_on(async {
            Ok::<_, tokio_postgres::Error>((client.prepare(GET).await?, client.prepare(SET).await?))
        });
        self.prepared = Some(prepared?);
        Ok(())
    }
}

fn read(row: &Row) -> Item {
    Item {
        id: row.get(0),
        name: row.get(1),
        comment: row.get(2),
        count: row.get(3),
        score: row.get(4),
    }
}

async fn write(client: &Client, set: &Statement, item: &Item) {
    let values: [&(dyn tokio_postgres::types::ToSql + Sync); 5] =
        [&item.id, &item.name, &item.comment, &item.count, &item.score];
    client.execute(set, &values).await.unwrap();
}

impl Raw for RawPeer {
    const NAME: &'static str = "tokio-postgres, a prepared statement";

    fn get(&mut self, id: &str) -> Option<Item> {
        let Self { runtime, client, prepared } = self;
        let (get, _) = prepared.as_ref().unwrap();
        runtime.block_on(client.query_opt(get, &[&id])).unwrap().map(|row| read(&row))
    }

    fn set(&mut self, item: &Item) {
        let Self { runtime, client, prepared } = self;
        let (_, set) = prepared.as_ref().unwrap();
        runtime.block_on(write(client, set, item));
    }

    fn set_many(&mut self, items: &[Item]) {
        let Self { runtime, client, prepared } = self;
        let (_, set) = prepared.as_ref().unwrap();
        runtime.block_on(async {
            client.batch_execute("BEGIN").await.unwrap();
            for item in items {
                write(client, set, item).await;
            }
            client.batch_execute("COMMIT").await.unwrap();
        });
    }
}

/// tokio-postgres with many tasks on one connection, whose requests it pipelines.
pub struct Pipelined {
    runtime: Runtime,
    client: Rc<Client>,
    get: Statement,
    set: Statement,
}

impl Pipelined {
    pub fn open(uri: &str, schema: &str) -> Outcome<Self> {
        let runtime = runtime()?;
        let (client, get, set) = runtime.block_on(async {
            let client = connect(uri).await?;
            client.batch_execute(&format!("SET search_path = {schema}")).await?;
            let (get, set) = (client.prepare(GET).await?, client.prepare(SET).await?);
            Outcome::Ok((client, get, set))
        })?;
        Ok(Self { runtime, client: Rc::new(client), get, set })
    }

    pub fn set_at_once(&self, data: &Data, step: usize) {
        let caller = |caller: usize| {
            let (client, set) = (self.client.clone(), self.set.clone());
            let items: Vec<Item> = picks(step, caller).map(|at| data.pick(at).clone()).collect();
            async move {
                for item in items {
                    write(&client, &set, &item).await;
                }
            }
        };
        let tasks = LocalSet::new();
        (0..CALLERS).for_each(|at| drop(tasks.spawn_local(caller(at))));
        self.runtime.block_on(tasks);
    }

    pub fn fetch_at_once(&self, data: &Data, step: usize) {
        let caller = |caller: usize| {
            let (client, get) = (self.client.clone(), self.get.clone());
            let ids: Vec<String> = picks(step, caller).map(|at| data.pick(at).id.clone()).collect();
            async move {
                for id in ids {
                    let row = client.query_opt(&get, &[&id]).await.unwrap();
                    black_box(row.map(|row| read(&row)));
                }
            }
        };
        let tasks = LocalSet::new();
        (0..CALLERS).for_each(|at| drop(tasks.spawn_local(caller(at))));
        self.runtime.block_on(tasks);
    }
}

/// Diesel, as in its guides.
pub struct DieselPeer(pub Cache);

impl ByDiesel for DieselPeer {
    fn get_all<'a>(&self, ids: impl Iterator<Item = &'a str>) {
        let all = |connection: &mut PostgresConnection| {
            for id in ids {
                let query = items::table.find(black_box(id)).select(Item::as_select());
                black_box(query.get_result(connection).optional()?);
            }
            QueryResult::Ok(())
        };
        self.0.diesel_read(all).unwrap();
    }

    fn set_all<'a>(&self, items: impl Iterator<Item = &'a Item>) {
        let all = |connection: &mut PostgresConnection| {
            for item in items {
                let changes = (
                    items::name.eq(excluded(items::name)),
                    items::comment.eq(excluded(items::comment)),
                    items::count.eq(excluded(items::count)),
                    items::score.eq(excluded(items::score)),
                );
                let insert = diesel::insert_into(items::table).values(item);
                insert.on_conflict(items::id).do_update().set(changes).execute(connection)?;
            }
            QueryResult::Ok(())
        };
        self.0.diesel(all).unwrap();
    }
}
