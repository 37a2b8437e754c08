//! Checks that every value is accounted for.
//!
//! Each value is written by one call. A value of an acknowledged `update` or `set` is stored until
//! another call replaces or removes it. That call returns the value, unless it is a `set`. So at the
//! end, each such value was returned by one call or is stored. A computed value need not have been
//! stored, but is returned at most once.

use std::collections::HashMap;

use crate::worker::{Event, KNOWN, Outcome, SET, What};

#[derive(Default)]
pub struct Account {
    keys: HashMap<String, Record>,
    report: Report,
}

/// The history of one key.
#[derive(Default)]
struct Record {
    /// The values that were or may have been written, each with the call and its outcome.
    written: HashMap<String, (What, Outcome)>,
    /// The number of calls that replaced or removed each value.
    taken: HashMap<String, usize>,
    read: Vec<String>,
    /// The number of calls that may have replaced or removed a value without returning it.
    silent: usize,
}

/// The numbers of calls and of violations.
#[derive(Debug, Default)]
pub struct Report {
    calls: usize,
    acknowledged: usize,
    not_done: usize,
    unknown: usize,
    /// Acknowledged values that are not stored and were not returned by a call.
    lost: usize,
    /// Values that two calls returned, or that are stored although a call replaced or removed them.
    duplicate: usize,
    /// Values that were returned, but that no call wrote to this key.
    foreign: usize,
    /// Values that were returned although the call that wrote them reported that nothing was changed.
    denied: usize,
}

impl Report {
    pub fn check(&self) {
        let wrong = [self.lost, self.duplicate, self.foreign, self.denied];
        assert_eq!(wrong, [0; 4], "{self:?}");
        assert!(self.acknowledged >= 20, "{self:?}");
    }
}

impl Account {
    pub fn add(&mut self, event: Event) {
        self.report.calls += 1;
        let record = self.keys.entry(event.key).or_default();
        match (event.outcome, event.what) {
            (Outcome::Done, What::Update | What::Set | What::Pop) => self.report.acknowledged += 1,
            (Outcome::Done, _) => {}
            (Outcome::NotDone, _) => self.report.not_done += 1,
            (Outcome::Unknown, _) => self.report.unknown += 1,
        }
        let writes = matches!(event.what, What::Update | What::Set | What::Pop);
        let is_silent = match event.outcome {
            Outcome::Done => event.what == What::Set,
            Outcome::NotDone => false,
            Outcome::Unknown => writes,
        };
        record.silent += usize::from(is_silent);
        if let Some(value) = event.wrote {
            let known = record.written.insert(value, (event.what, event.outcome));
            assert!(known.is_none(), "a value was written by two calls");
        }
        match event.found {
            Some(value) if event.what == What::Read => record.read.push(value),
            Some(value) => *record.taken.entry(value).or_default() += 1,
            None => {}
        }
    }

    /// Compares the history with the values that are stored at the end.
    pub fn close(mut self, stored: impl Fn(&str) -> Option<String>) -> Report {
        for key in KNOWN.into_iter().chain(SET) {
            let mut record = self.keys.remove(key).unwrap_or_default();
            if let Some(value) = stored(key) {
                *record.taken.entry(value).or_default() += 1;
            }
            record.compare(&mut self.report);
        }
        self.report
    }
}

impl Record {
    fn compare(&self, report: &mut Report) {
        let lost = self.written.iter().filter(|(value, written)| {
            matches!(written, (What::Update | What::Set, Outcome::Done))
                && !self.taken.contains_key(*value)
        });
        report.lost += lost.count().saturating_sub(self.silent);
        report.duplicate += self.taken.values().filter(|count| **count > 1).count();
        for value in self.taken.keys().chain(&self.read) {
            match self.written.get(value) {
                None => report.foreign += 1,
                Some((_, Outcome::NotDone)) => report.denied += 1,
                Some(_) => {}
            }
        }
    }
}

/// Checks that faults are detected, by the history of two calls, the value that is stored at the end,
/// and the report's numbers of lost, duplicate, foreign and denied values.
pub fn notices_faults() {
    let event = |what, wrote: Option<&str>, found: Option<&str>| Event {
        what,
        outcome: Outcome::Done,
        key: KNOWN[0].to_owned(),
        wrote: wrote.map(str::to_owned),
        found: found.map(str::to_owned),
    };
    let report = |events: Vec<Event>, stored: Option<&str>| {
        let mut account = Account::default();
        events.into_iter().for_each(|event| account.add(event));
        let stored = stored.map(str::to_owned);
        let report = account.close(|key| stored.clone().filter(|_| key == KNOWN[0]));
        [report.lost, report.duplicate, report.foreign, report.denied]
    };
    let update = |wrote, found| event(What::Update, Some(wrote), found);
    let two = |found| vec![update("a", None), update("b", found)];
    assert_eq!(report(two(Some("a")), Some("b")), [0; 4]);
    assert_eq!(report(two(None), Some("b")), [1, 0, 0, 0]);
    assert_eq!(report(two(Some("a")), Some("a")), [1, 1, 0, 0]);
    assert_eq!(report(two(Some("x")), Some("b")), [1, 0, 1, 0]);
    // A fill that overwrites.
    let fill = vec![update("a", None), event(What::Fill, Some("b"), None)];
    assert_eq!(report(fill, Some("b")), [1, 0, 0, 0]);
    let denied = Event { outcome: Outcome::NotDone, ..update("b", None) };
    assert_eq!(report(vec![denied], Some("b")), [0, 0, 0, 1]);
    let unknown = Event { outcome: Outcome::Unknown, ..event(What::Pop, None, None) };
    assert_eq!(report(vec![update("a", None), unknown], None), [0; 4]);
}
