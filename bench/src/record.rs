//! The record that every race is about, and the data that all sides share.

use diesel::prelude::{Insertable, Queryable, Selectable};
use hilcat::ScopeRecord;
use serde::{Deserialize, Serialize};

/// How many records there are.
pub const RECORDS: usize = 10_000;

/// How many random picks of a record there are; longer runs begin again.
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

/// A record of about a hundred bytes. The derives of Diesel and serde are those of hand-written
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

/// The records, in no order of their keys, and the order in which they are asked for.
#[derive(Debug)]
pub struct Data {
    pub items: Vec<Item>,
    picks: Vec<usize>,
}

impl Data {
    /// The same data at every run.
    pub fn new() -> Self {
        let mut random = Random(0x9E37_79B9_7F4A_7C15);
        let items = (0..RECORDS).map(|at| item(at, random.next())).collect();
        let picks = (0..PICKS).map(|_| random.next() as usize % RECORDS).collect();
        Self { items, picks }
    }

    /// The record that is asked for at a step.
    pub fn pick(&self, step: usize) -> &Item {
        &self.items[self.picks[step % PICKS]]
    }

    /// The keys that are asked for together: none twice.
    pub fn keys(&self, count: usize) -> Vec<&str> {
        self.items[..count].iter().map(|item| item.id.as_str()).collect()
    }
}

/// One in four has no comment; the others bring the mean to about a hundred bytes.
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
