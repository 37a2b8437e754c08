use std::cell::RefCell;

use super::*;

fn entry(expires: i64) -> Entry {
    Entry { expires, file: 7, path: format!("a/{expires}\n") }
}

fn index() -> (tempfile::TempDir, Index) {
    let directory = tempfile::tempdir().unwrap();
    let index = Index::new(Dir::make_root(directory.path()).unwrap());
    (directory, index)
}

/// Returns the expiries that are due, sorted.
fn due(index: &Index, at: i64, limit: usize) -> Vec<i64> {
    let (seen, mut finished) = (RefCell::new(Vec::new()), Vec::new());
    let mut visit = |entry: &Entry| {
        let mut seen = seen.borrow_mut();
        Ok(match entry.expires <= at {
            false => Visit::Keep,
            true if seen.len() == limit => Visit::Stop,
            true => {
                seen.push(entry.expires);
                Visit::Remove
            }
        })
    };
    // A call that has removed enough ends.
    while (limit == 0 || seen.borrow().len() < limit)
        && index.step(at, &mut finished, &mut visit).unwrap()
    {}
    let mut seen = seen.into_inner();
    seen.sort_unstable();
    seen
}

#[test]
fn entries_are_due_once() {
    let (_directory, index) = index();
    let second = 1_000_000;
    let start = 1_800_000_000 * second;
    let times: Vec<i64> = (0..20_000).map(|n| start + n * 37 * second / 10).collect();
    for part in times.chunks(700) {
        index.add(&part.iter().map(|time| entry(*time)).collect::<Vec<_>>()).unwrap();
    }
    assert_eq!(due(&index, start - 1, usize::MAX), [] as [i64; 0]);
    let mut all = Vec::new();
    for at in [start, start + 5 * second, start + 3_600 * second, start + 40_000 * second] {
        all.extend(due(&index, at, usize::MAX));
        assert!(all.len() == times.iter().filter(|time| **time <= at).count());
    }
    all.extend(due(&index, i64::MAX, usize::MAX));
    assert_eq!(all, times);
    assert_eq!(due(&index, i64::MAX, usize::MAX), [] as [i64; 0]);
}

#[test]
fn entries_beyond_a_limit_are_kept() {
    let (_directory, index) = index();
    index.add(&(0..100).map(entry).collect::<Vec<_>>()).unwrap();
    assert_eq!(due(&index, 1_000, 30).len(), 30);
    assert_eq!(due(&index, 1_000, 30).len(), 30);
    assert_eq!(due(&index, 1_000, 100).len(), 40);
}

#[test]
fn an_incomplete_entry_damages_no_other() {
    let (directory, index) = index();
    index.add(&[entry(1)]).unwrap();
    let inbox = directory.path().join(INBOX);
    let mut bytes = std::fs::read(&inbox).unwrap();
    bytes.extend_from_slice(b"\n{\"expires\":5,\"fi");
    std::fs::write(&inbox, bytes).unwrap();
    index.add(&[entry(2)]).unwrap();
    assert_eq!(due(&index, 10, usize::MAX), [1, 2]);
}

#[test]
fn the_earliest_entries_come_first() {
    let (_directory, index) = index();
    index.add(&[50, 3, 10_000_000, 7].map(entry)).unwrap();
    assert_eq!(due(&index, -1, 0), [] as [i64; 0]);
    let mut seen = Vec::new();
    let mut visit = |entry: &Entry| {
        seen.push(entry.expires);
        Ok(if seen.len() == 3 { Visit::Stop } else { Visit::Remove })
    };
    assert!(index.visit_earliest(&mut visit).unwrap());
    assert_eq!(seen, [3, 7, 50]);
    assert_eq!(due(&index, 100, usize::MAX), [50]);
}
