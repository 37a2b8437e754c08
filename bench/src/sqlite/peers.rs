//! Hand-written peers: rusqlite, and Diesel's query language.

use std::path::Path;

use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use diesel::upsert::excluded;
use hilcat::backend::{Sqlite, Synchronous};
use rusqlite::{Connection as RawConnection, OptionalExtension as _, Row, Statement, params};

use crate::harness::Outcome;
use crate::record::{Item, items};

const GET: &str = "SELECT id, name, comment, count, score FROM items WHERE id = ?1";

const SET: &str = "INSERT INTO items (id, name, comment, count, score) VALUES (?1, ?2, ?3, ?4, ?5)
    ON CONFLICT (id) DO UPDATE SET name = excluded.name, comment = excluded.comment,
    count = excluded.count, score = excluded.score";

/// Returns the statement with which hilcat creates the table, read from the database: the peers use
/// the same table.
pub fn table_of_hilcat() -> Outcome<String> {
    let directory = tempfile::tempdir()?;
    let path = directory.path().join("table.db");
    hilcat::Cache::from_store(Sqlite::builder(&path).open()?).scope::<Item>()?;
    let connection = RawConnection::open(path)?;
    let find = "SELECT sql FROM sqlite_schema WHERE name = 'items'";
    Ok(connection.query_row(find, [], |row| row.get(0))?)
}

/// Returns the statements that prepare a connection to a database in a file or in memory.
fn preparation(path: Option<&Path>, synchronous: Synchronous, table: &str) -> String {
    let journal = if path.is_some() { "PRAGMA journal_mode = WAL;" } else { "" };
    let synchronous = match synchronous {
        Synchronous::Full => "FULL",
        Synchronous::Normal => "NORMAL",
        Synchronous::Off => "OFF",
        other => panic!("no peer for {other:?}"),
    };
    format!("{journal} PRAGMA synchronous = {synchronous}; {table};")
}

/// rusqlite.
pub struct RawPeer(RawConnection);

impl RawPeer {
    pub fn open(path: Option<&Path>, synchronous: Synchronous, table: &str) -> Outcome<Self> {
        let connection = path.map_or_else(RawConnection::open_in_memory, RawConnection::open)?;
        connection.execute_batch(&preparation(path, synchronous, table))?;
        Ok(Self(connection))
    }

    pub fn get(&self, id: &str) -> rusqlite::Result<Option<Item>> {
        self.0.prepare_cached(GET)?.query_row([id], read).optional()
    }

    pub fn set(&self, item: &Item) -> rusqlite::Result<()> {
        let mut set = self.0.prepare_cached(SET)?;
        write(&mut set, item)
    }

    pub fn set_many(&self, items: &[Item]) -> rusqlite::Result<()> {
        self.0.execute_batch("BEGIN IMMEDIATE")?;
        let mut set = self.0.prepare_cached(SET)?;
        items.iter().try_for_each(|item| write(&mut set, item))?;
        self.0.execute_batch("COMMIT")
    }

    pub fn keep_get(&self) -> rusqlite::Result<Kept<'_>> {
        self.0.prepare(GET).map(Kept)
    }

    pub fn keep_set(&self) -> rusqlite::Result<Kept<'_>> {
        self.0.prepare(SET).map(Kept)
    }
}

/// A statement that is prepared once and kept.
pub struct Kept<'a>(Statement<'a>);

impl Kept<'_> {
    pub fn get(&mut self, id: &str) -> rusqlite::Result<Option<Item>> {
        self.0.query_row([id], read).optional()
    }

    pub fn set(&mut self, item: &Item) -> rusqlite::Result<()> {
        write(&mut self.0, item)
    }
}

fn read(row: &Row<'_>) -> rusqlite::Result<Item> {
    Ok(Item {
        id: row.get(0)?,
        name: row.get(1)?,
        comment: row.get(2)?,
        count: row.get(3)?,
        score: row.get(4)?,
    })
}

fn write(set: &mut Statement<'_>, item: &Item) -> rusqlite::Result<()> {
    set.execute(params![item.id, item.name, item.comment, item.count, item.score]).map(drop)
}

/// Diesel, as in its guides.
pub struct DieselPeer(SqliteConnection);

impl DieselPeer {
    pub fn open(path: Option<&Path>, synchronous: Synchronous, table: &str) -> Outcome<Self> {
        let url = path.map_or(Some(":memory:"), Path::to_str);
        let url = url.ok_or("the path of the temporary directory is not UTF-8")?;
        let mut connection = SqliteConnection::establish(url)?;
        connection.batch_execute(&preparation(path, synchronous, table))?;
        Ok(Self(connection))
    }

    pub fn get(&mut self, id: &str) -> QueryResult<Option<Item>> {
        items::table.find(id).select(Item::as_select()).get_result(&mut self.0).optional()
    }

    pub fn set(&mut self, item: &Item) -> QueryResult<()> {
        let changes = (
            items::name.eq(excluded(items::name)),
            items::comment.eq(excluded(items::comment)),
            items::count.eq(excluded(items::count)),
            items::score.eq(excluded(items::score)),
        );
        let insert = diesel::insert_into(items::table).values(item);
        insert.on_conflict(items::id).do_update().set(changes).execute(&mut self.0).map(drop)
    }
}
