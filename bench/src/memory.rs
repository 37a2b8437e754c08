//! Memory, compared with moka: the same structs, cloned in and out, without bounds.

use std::hint::black_box;

use hilcat::Cache;

use crate::harness::{Outcome, Race};
use crate::record::{Data, Item};
use crate::report::{Goal, Line};

pub fn run(data: &Data, print: &mut dyn FnMut(Line)) -> Outcome {
    let cache = Cache::memory();
    let scope = cache.scope::<Item>()?;
    scope.set_many(&data.items)?;
    let peer = moka::sync::Cache::<String, Item>::builder().build();
    data.items.iter().for_each(|item| peer.insert(item.id.clone(), item.clone()));

    let get = Race::new("memory: get, a hit")
        .hilcat(|step| {
            let id = black_box(data.pick(step).id.as_str());
            black_box(scope.get(id, || unreachable!("it is stored")).unwrap());
        })
        .against("moka `get`", Goal::AtMost(1.3), |step| {
            let id = black_box(data.pick(step).id.as_str());
            black_box(peer.get(id).unwrap());
        });
    get.run().into_iter().for_each(&mut *print);

    let fetch = Race::new("memory: fetch")
        .hilcat(|step| {
            let id = black_box(data.pick(step).id.as_str());
            black_box(scope.fetch(id).unwrap());
        })
        .against("moka `get`", Goal::AtMost(1.3), |step| {
            let id = black_box(data.pick(step).id.as_str());
            black_box(peer.get(id));
        });
    fetch.run().into_iter().for_each(&mut *print);

    let set = Race::new("memory: set")
        .hilcat(|step| scope.set(black_box(data.pick(step))).unwrap())
        .against("moka `insert`", Goal::AtMost(1.3), |step| {
            let item = black_box(data.pick(step));
            peer.insert(item.id.clone(), item.clone());
        });
    set.run().into_iter().for_each(&mut *print);
    Ok(())
}
