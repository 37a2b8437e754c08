//! Caches 3,322 planes as typed rows: `cargo run --example planes`. A second run reads them from the
//! cache.
//!
//! The cache is the file `planes.db`, or the one that `HILCAT_CACHE` names.

use std::cell::Cell;
use std::collections::HashMap;
use std::error::Error;
use std::time::Instant;

use hilcat::{Cache, ScopeRecord};

/// A row of the table `planes`.
#[derive(Debug, Clone, PartialEq, ScopeRecord)]
#[scope(name = "planes")]
struct Plane {
    #[scope(unique)]
    tailnum: String,
    year: Option<i16>,
    #[scope(column = "type")]
    kind: String,
    manufacturer: String,
    model: String,
    engines: i16,
    seats: i16,
    speed: Option<i16>,
    engine: String,
}

/// Represents a slow source: an API, a model, a remote database.
struct Registry {
    lines: HashMap<String, csv::StringRecord>,
    lookups: Cell<usize>,
}

impl Registry {
    fn open() -> Result<Self, Box<dyn Error>> {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/data/nycflights13/planes.csv");
        let mut lines = HashMap::new();
        for line in csv::Reader::from_path(path)?.into_records() {
            let line = line?;
            lines.insert(line[0].to_owned(), line);
        }
        Ok(Self { lines, lookups: Cell::new(0) })
    }

    fn look_up(&self, tailnum: &str) -> Result<Plane, Box<dyn Error + Send + Sync>> {
        self.lookups.set(self.lookups.get() + 1);
        let line = self.lines.get(tailnum).ok_or("no such plane")?;
        let number = |at: usize| match &line[at] {
            "NA" => Ok(None),
            text => text.parse().map(Some),
        };
        Ok(Plane {
            tailnum: line[0].to_owned(),
            year: number(1)?,
            kind: line[2].to_owned(),
            manufacturer: line[3].to_owned(),
            model: line[4].to_owned(),
            engines: line[5].parse()?,
            seats: line[6].parse()?,
            speed: number(7)?,
            engine: line[8].to_owned(),
        })
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let uri = std::env::var("HILCAT_CACHE")
        .unwrap_or_else(|_| "sqlite:///planes.db?synchronous=normal".to_owned());
    let registry = Registry::open()?;
    let mut tailnums: Vec<&String> = registry.lines.keys().collect();
    tailnums.sort();

    let cache = Cache::from_uri(&uri)?;
    let planes = cache.scope::<Plane>()?;

    let start = Instant::now();
    let mut seats: i64 = 0;
    for tailnum in &tailnums {
        let plane = planes.try_get(*tailnum, || registry.look_up(tailnum))?;
        seats += i64::from(plane.seats);
    }
    let computed = registry.lookups.get();
    println!("{} planes with {seats} seats in {:.1?}", tailnums.len(), start.elapsed());
    println!("computed: {computed}, served from the cache: {}", tailnums.len() - computed);
    println!("{:?}", planes.fetch("N10156")?);
    Ok(())
}
