//! The record of every race, and the data that all sides share.

use diesel::prelude::{Insertable, Queryable, Selectable};
use hilcat::ScopeRecord;
use serde::{Deserialize, Serialize};

/// The number of records.
pub const RECORDS: usize = 10_000;

/// The number of random picks of a record; longer runs repeat them.
const PICKS: usize = 1 << 16;

diesel::table! {
    items (id) {
        id -> Text,
        name -> Text,
        comment -> Nullable<Text>,
        count -> Integer,
        score -> Double,
    }
}

/// A record of about a hundred bytes. The derives of Diesel and serde are for the hand-written
/// peers.
#[derive(
    Debug, Clone, PartialEq, ScopeRecord, Queryable, Selectable, Insertable, Serialize, Deserialize,
)]
#[scope(name = "items")]
#[diesel(table_name = items)]
pub struct Item {
    #[scope(unique)]
    pub id: String,
    pub name: String,
    pub comment: Option<String>,
    pub count: i32,
    pub score: f64,
}

/// The records, unordered, and the order in which they are read.
#[derive(Debug)]
pub struct Data {
    pub items: Vec<Item>,
    picks: Vec<usize>,
}

impl Data {
    /// Creates the data, which is the same in every run.
    pub fn new() -> Self {
        let mut random = Random(0x9E37_79B9_7F4A_7C15);
        let items = (0..RECORDS).map(|at| item(at, random.next())).collect();
        let picks = (0..PICKS).map(|_| random.next() as usize % RECORDS).collect();
        Self { items, picks }
    }

    /// Returns the record that a step reads.
    pub fn pick(&self, step: usize) -> &Item {
        &self.items[self.picks[step % PICKS]]
    }

    /// Returns distinct keys for one batch.
    pub fn keys(&self, count: usize) -> Vec<&str> {
        self.items[..count].iter().map(|item| item.id.as_str()).collect()
    }
}

/// Creates a record. One in four has no comment; the mean size is about a hundred bytes.
fn item(at: usize, random: u64) -> Item {
    Item {
        id: format!("item-{random:016x}"),
        name: format!("The item that was made as number {at}"),
        comment: (!at.is_multiple_of(4))
            .then(|| format!("{random:016x} is all there is to say of it")),
        count: random as u32 as i32,
        score: random as f64 / 1e9,
    }
}

/// A xorshift generator: random enough for keys, and the same everywhere.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }
}
