//! Cached functions, compared with the macro of the crate `cached` on its closest store: the same
//! struct, cloned into and out of the memory of the process.

use std::hint::black_box;
use std::sync::LazyLock;

use hilcat::Cache;

use crate::harness::{Outcome, Race};
use crate::record::{Data, Item};
use crate::report::{Goal, Line};

static CACHE: LazyLock<Cache> = LazyLock::new(Cache::memory);
static DATA: LazyLock<Data> = LazyLock::new(Data::new);

#[hilcat::cached(cache = CACHE, on_error = "panic")]
fn ours(id: &str) -> Item {
    DATA.items.iter().find(|item| item.id == id).unwrap().clone()
}

#[cached::macros::cached(max_size = 1_000_000, key = "String", convert = { id.to_owned() })]
fn theirs(id: &str) -> Item {
    DATA.items.iter().find(|item| item.id == id).unwrap().clone()
}

pub fn run(data: &Data, print: &mut dyn FnMut(Line)) -> Outcome {
    data.items
        .iter()
        .for_each(|item| assert!(ours(&item.id) == *item && theirs(&item.id) == *item));
    let scope = CACHE.scope::<Item>()?;
    let hit = Race::new("a cached function: a hit")
        .hilcat(|step| {
            black_box(ours(black_box(data.pick(step).id.as_str())));
        })
        .against("`scope.get`", Goal::AtMost(1.0), |step| {
            let id = black_box(data.pick(step).id.as_str());
            black_box(scope.get(id, || unreachable!("it is stored")).unwrap());
        })
        .against("`cached`, its LRU store", Goal::AtMost(1.0), |step| {
            black_box(theirs(black_box(data.pick(step).id.as_str())));
        });
    hit.run().into_iter().for_each(&mut *print);
    Ok(())
}
