//! Random writes with random times to live under a moving clock, against a model.
#![cfg(all(unix, feature = "sqlite"))]
#![allow(clippy::unwrap_used, reason = "a failed test panics")]

use std::collections::BTreeMap;
use std::time::{Duration, UNIX_EPOCH};

use hilcat::testing::ManualClock;
use hilcat::{Cache, MapScope};
use proptest::prelude::*;

const TTL: u64 = 10;

/// All times are in seconds.
#[derive(Debug, Clone)]
enum Step {
    Set(u8, u64),
    SetFor(u8, u64),
    Update(u8),
    Touch(u8),
    Pop(u8),
    Get(u8),
    Refresh(u8),
    Purge,
    Clear,
    Advance(u64),
}

fn step() -> impl Strategy<Value = Step> {
    let key = 0..4_u8;
    prop_oneof![
        (key.clone(), any::<u64>()).prop_map(|(key, _)| Step::Set(key, TTL)),
        (key.clone(), 1..25_u64).prop_map(|(key, ttl)| Step::SetFor(key, ttl)),
        key.clone().prop_map(Step::Update),
        key.clone().prop_map(Step::Touch),
        key.clone().prop_map(Step::Pop),
        key.clone().prop_map(Step::Get),
        key.prop_map(Step::Refresh),
        Just(Step::Purge),
        Just(Step::Clear),
        (1..15_u64).prop_map(Step::Advance),
    ]
}

/// The expected values with their expiries.
#[derive(Default)]
struct Model {
    now: u64,
    records: BTreeMap<u8, (u64, u64)>,
}

impl Model {
    fn live(&self, key: u8) -> Option<u64> {
        self.records.get(&key).filter(|(_, expires)| self.now < *expires).map(|(value, _)| *value)
    }

    fn set(&mut self, key: u8, value: u64, ttl: u64) -> Option<u64> {
        let old = self.live(key);
        self.records.insert(key, (value, self.now + ttl));
        old
    }
}

fn run(uri: &str, steps: &[Step]) {
    let clock = ManualClock::new(UNIX_EPOCH + Duration::from_secs(1_700_000_000));
    let ttl = Duration::from_secs(TTL);
    let cache = Cache::builder(uri).clock(clock.clone()).ttl(ttl).open().unwrap();
    let scope: MapScope<i64, i64> = cache.map("records").unwrap();
    let mut model = Model::default();
    for (at, step) in steps.iter().enumerate() {
        let value = at as u64;
        let new = value as i64;
        let given = |value: Option<u64>| value.map(|value| value as i64);
        match *step {
            Step::Set(key, ttl) => {
                scope.set(i64::from(key), &new).unwrap();
                model.set(key, value, ttl);
            }
            Step::SetFor(key, ttl) => {
                scope.set_with_ttl(i64::from(key), &new, Duration::from_secs(ttl)).unwrap();
                model.set(key, value, ttl);
            }
            Step::Update(key) => {
                let old = scope.update(i64::from(key), &new).unwrap();
                assert_eq!(old, given(model.set(key, value, TTL)), "step {at}");
            }
            Step::Touch(key) => {
                let live = model.live(key);
                assert_eq!(scope.touch(i64::from(key)).unwrap(), live.is_some(), "step {at}");
                if let Some(value) = live {
                    model.set(key, value, TTL);
                }
            }
            Step::Pop(key) => {
                assert_eq!(scope.pop(i64::from(key)).unwrap(), given(model.live(key)), "step {at}");
                model.records.remove(&key);
            }
            Step::Get(key) => {
                let live = model.live(key);
                let got = scope.get(i64::from(key), || new).unwrap();
                assert_eq!(got, given(live).unwrap_or(new), "step {at}");
                if live.is_none() {
                    model.set(key, value, TTL);
                }
            }
            Step::Refresh(key) => {
                assert_eq!(scope.refresh(i64::from(key), || new).unwrap(), new);
                model.set(key, value, TTL);
            }
            Step::Purge => drop(scope.purge().unwrap()),
            Step::Clear => {
                scope.clear().unwrap();
                model.records.clear();
            }
            Step::Advance(seconds) => {
                clock.advance(Duration::from_secs(seconds));
                model.now += seconds;
            }
        }
        let expected: Vec<_> = (0..4).map(|key| given(model.live(key))).collect();
        assert_eq!(scope.fetch_many(0..4_i64).unwrap(), expected, "after step {at}");
        let live = expected.iter().flatten().count();
        assert_eq!(scope.len().unwrap(), live as u64, "after step {at}");
        assert_eq!(scope.keys().unwrap().count(), live, "after step {at}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn stores_agree_with_the_model(steps in prop::collection::vec(step(), 1..40)) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().display();
        for uri in [
            "memory:".to_owned(),
            "memory:?max_entries=1000".to_owned(),
            "sqlite::memory:".to_owned(),
            "sqlite+kv::memory:".to_owned(),
            format!("file:{path}?synchronous=off"),
            "tiered:?near=memory:%3Fttl%3D3s&far=sqlite::memory:".to_owned(),
        ] {
            run(&uri, &steps);
        }
    }
}
