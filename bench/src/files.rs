//! Files, compared with hand-written `std::fs` and `serde_json`: a temporary file that is renamed,
//! with the same `fsync` calls. Also the codec alone, compared with `serde_json`.

use std::fs::{self, File};
use std::hint::black_box;
use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;

use hilcat::backend::Files;
use hilcat::store::{Codec, CodecOptions};
use hilcat::{Cache, Scope, ScopeRecord};

use crate::harness::{Outcome, Race};
use crate::record::{Data, Item};
use crate::report::{Goal, Line};

/// The number of records in a batch.
const BATCH: usize = 100;

pub fn run(data: &Data, print: &mut dyn FnMut(Line)) -> Outcome {
    codec(data, print)?;
    let directory = tempfile::tempdir()?;
    let loose = Sides::open(data, directory.path().join("loose"), false)?;
    loose.get(data, print);
    loose.set("files, not synced: set", data, print);
    loose.set_many("files, not synced: set_many, 100", data, print);
    let durable = Sides::open(data, directory.path().join("durable"), true)?;
    durable.set("files: set", data, print);
    durable.set_many("files: set_many, 100", data, print);
    Ok(())
}

fn codec(data: &Data, print: &mut dyn FnMut(Line)) -> Outcome {
    let codec = Codec::new(&Arc::new(Item::schema()), CodecOptions::default());
    let encoded = data
        .items
        .iter()
        .map(|item| codec.encode(&item.to_row()?))
        .collect::<Result<Vec<_>, _>>()?;
    let by_hand = data.items.iter().map(serde_json::to_vec).collect::<Result<Vec<_>, _>>()?;
    let count = data.items.len();
    Race::new("codec: struct to bytes")
        .hilcat(|step| {
            let item = black_box(data.pick(step));
            black_box(codec.encode(&item.to_row().unwrap()).unwrap());
        })
        .against("`serde_json::to_vec`", Goal::None, |step| {
            black_box(serde_json::to_vec(black_box(data.pick(step))).unwrap());
        })
        .run()
        .into_iter()
        .for_each(&mut *print);
    Race::new("codec: bytes to struct")
        .hilcat(|step| {
            let bytes = black_box(&encoded[step % count]);
            black_box(Item::from_row(codec.decode(bytes).unwrap()).unwrap());
        })
        .against("`serde_json::from_slice`", Goal::None, |step| {
            black_box(serde_json::from_slice::<Item>(black_box(&by_hand[step % count])).unwrap());
        })
        .run()
        .into_iter()
        .for_each(print);
    Ok(())
}

/// Both sides, with the same records.
struct Sides {
    scope: Scope<Item>,
    by_hand: ByHand,
}

impl Sides {
    fn open(data: &Data, directory: PathBuf, durable: bool) -> Outcome<Self> {
        let store = Files::json(directory.join("hilcat")).durable(durable).open()?;
        let scope = Cache::from_store(store).scope::<Item>()?;
        scope.set_many(&data.items)?;
        let by_hand = ByHand { directory: directory.join("hand"), durable };
        fs::create_dir_all(&by_hand.directory)?;
        let loose = ByHand { directory: by_hand.directory.clone(), durable: false };
        data.items.iter().try_for_each(|item| loose.set(item))?;
        for item in data.items.iter().step_by(97) {
            if scope.fetch(&item.id)?.as_ref() != Some(item) || by_hand.get(&item.id)? != *item {
                return Err(format!("the sides differ in the record `{}`", item.id).into());
            }
        }
        Ok(Self { scope, by_hand })
    }

    fn get(&self, data: &Data, print: &mut dyn FnMut(Line)) {
        let race = Race::new("files: get")
            .hilcat(|step| {
                let id = black_box(data.pick(step).id.as_str());
                black_box(self.scope.fetch(id).unwrap());
            })
            .against("`std::fs` by hand", Goal::None, |step| {
                black_box(self.by_hand.get(black_box(&data.pick(step).id)).unwrap());
            });
        race.run().into_iter().for_each(print);
    }

    fn set(&self, work: &'static str, data: &Data, print: &mut dyn FnMut(Line)) {
        let race = Race::new(work)
            .hilcat(|step| self.scope.set(black_box(data.pick(step))).unwrap())
            .against("`std::fs` by hand", Goal::None, |step| {
                self.by_hand.set(black_box(data.pick(step))).unwrap();
            });
        race.run().into_iter().for_each(print);
    }

    /// The hand-written batch is a loop that can be interrupted halfway; hilcat's is all or nothing.
    fn set_many(&self, work: &'static str, data: &Data, print: &mut dyn FnMut(Line)) {
        let batch = |step: usize| {
            let begin = step * BATCH % (data.items.len() - BATCH);
            &data.items[begin..begin + BATCH]
        };
        let race = Race::batches(work, BATCH)
            .hilcat(|step| self.scope.set_many(black_box(batch(step))).unwrap())
            .against("`std::fs` by hand, a loop", Goal::None, |step| {
                black_box(batch(step)).iter().for_each(|item| self.by_hand.set(item).unwrap());
            });
        race.run().into_iter().for_each(print);
    }
}

/// Hand-written code for one process with one writer.
struct ByHand {
    directory: PathBuf,
    durable: bool,
}

impl ByHand {
    fn path(&self, id: &str) -> PathBuf {
        self.directory.join(format!("{id}.json"))
    }

    fn get(&self, id: &str) -> Outcome<Item> {
        Ok(serde_json::from_slice(&fs::read(self.path(id))?)?)
    }

    fn set(&self, item: &Item) -> Outcome {
        let temporary = self.directory.join("temporary");
        let mut file = File::create(&temporary)?;
        file.write_all(&serde_json::to_vec(item)?)?;
        if self.durable {
            file.sync_data()?;
        }
        drop(file);
        fs::rename(temporary, self.path(&item.id))?;
        if self.durable {
            File::open(&self.directory)?.sync_all()?;
        }
        Ok(())
    }
}
