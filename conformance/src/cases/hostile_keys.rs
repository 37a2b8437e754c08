//! Keys that engines or encodings confuse with each other, or treat specially.

use hilcat::Result;

use super::keys::two_texts;
use super::{Case, case_list};
use crate::context::{TestContext, all_keys, all_rows, key, key_of, pair, row, sorted};
use crate::records::{Raw, RawKey};

pub(crate) const CASES: &[Case] = case_list![Stores:
    unusual_keys_are_exact_one_by_one,
    unusual_keys_are_exact_in_batches,
    unusual_keys_are_exact_in_compound_keys,
];

/// The keys, which are all different.
pub(crate) const HOSTILE: &[&str] = &[
    "a",
    "A",
    "a ",
    " a",
    "a\t",
    "\u{e9}",
    "e\u{301}",
    "E\u{301}",
    "\u{c9}",
    "\u{df}",
    "ss",
    "\u{131}",
    "i",
    "I",
    "\u{fb01}",
    "fi",
    "\u{212b}",
    "\u{c5}",
    "",
    " ",
    "  ",
    ".",
    "..",
    "/",
    "//",
    "a/b",
    "a//b",
    "/a",
    "a/",
    "../a",
    "%2F",
    "%2f",
    "%",
    "%%",
    "%00",
    "%s",
    "{x}",
    "{",
    "}",
    "{}",
    "*",
    "?",
    "[a]",
    "[^a]",
    "'",
    "''",
    "\"",
    "\"\"",
    "`",
    "\\",
    "\\\\",
    "\\n",
    "\\'",
    "\n",
    "\r",
    "\r\n",
    "\t",
    "\u{b}",
    "\u{7f}",
    "\u{1}",
    "\u{1b}[0m",
    "\u{a0}",
    "\u{200b}",
    "\u{feff}a",
    "\u{202e}a",
    "\u{1f600}",
    "\u{1f468}\u{200d}\u{1f469}\u{200d}\u{1f467}",
    "\u{10ffff}",
    "\u{fffd}",
    "\u{ffff}",
    "007",
    "7",
    "7.0",
    "07",
    "+7",
    "-7",
    "7e0",
    "0x7",
    "1e400",
    "NaN",
    "nan",
    "NULL",
    "null",
    "Null",
    "None",
    "nil",
    "true",
    "TRUE",
    "t",
    "1",
    "0",
    "-0",
    "a:b",
    ":a",
    "a;b",
    "a,b",
    "(a,b)",
    "a|b",
    "a-b",
    "a_b",
    "_",
    "-",
    "--",
    "-- x",
    "a=b",
    "a&b",
    "#",
    "a#b",
    "$1",
    "$",
    "?1",
    ":id",
    "@id",
    "~",
    "!",
    "^",
    "<a>",
    "&amp;",
    "con",
    "NUL",
    "a.json",
    "a\u{2028}b",
    "id",
    "_id",
    "key",
    "x'00'",
    "; drop table x; --",
];

fn value_of(at: usize) -> String {
    format!("value {at}")
}

fn unusual_keys_are_exact_one_by_one(context: TestContext) -> Result<()> {
    let scope = context.texts()?;
    for (at, &id) in HOSTILE.iter().enumerate() {
        scope.set(&pair(id, value_of(at)))?;
        assert_eq!(scope.fetch(key(id))?, Some(pair(id, value_of(at))), "{id:?}");
        assert!(scope.exists(key(id))?, "{id:?}");
        assert_eq!(all_keys(&scope)?, [key(id)]);
        assert_eq!(scope.update(&pair(id, "new"))?, Some(pair(id, value_of(at))), "{id:?}");
        assert_eq!(scope.pop(key(id))?, Some(pair(id, "new")), "{id:?}");
        assert!(!scope.exists(key(id))?, "{id:?}");
        assert_eq!(scope.len()?, 0, "{id:?}");
    }
    Ok(())
}

fn unusual_keys_are_exact_in_batches(context: TestContext) -> Result<()> {
    let scope = context.texts()?;
    let records: Vec<Raw> =
        HOSTILE.iter().enumerate().map(|(at, &id)| pair(id, value_of(at))).collect();
    scope.set_many(&records)?;
    assert_eq!(scope.len()?, HOSTILE.len() as u64);
    assert_eq!(all_keys(&scope)?, sorted(HOSTILE.iter().map(|&id| key(id))));
    assert_eq!(all_rows(&scope)?, sorted(records.clone()));
    for (&id, record) in HOSTILE.iter().zip(&records) {
        assert_eq!(scope.fetch(key(id))?.as_ref(), Some(record), "{id:?}");
    }
    let reversed: Vec<RawKey> = HOSTILE.iter().rev().map(|&id| key(id)).collect();
    let expected: Vec<Option<Raw>> = records.iter().rev().cloned().map(Some).collect();
    assert_eq!(scope.fetch_many(&reversed)?, expected);
    let odd = || HOSTILE.iter().skip(1).step_by(2).map(|&id| key(id));
    let popped: Vec<_> = records.iter().skip(1).step_by(2).cloned().map(Some).collect();
    assert_eq!(scope.pop_many(odd())?, popped);
    assert_eq!(all_rows(&scope)?, sorted(records.iter().step_by(2).cloned()));
    Ok(())
}

fn unusual_keys_are_exact_in_compound_keys(context: TestContext) -> Result<()> {
    let scope = context.raw(two_texts(&context))?;
    let parts: Vec<&str> = HOSTILE.iter().step_by(9).copied().chain(["", "a", "a "]).collect();
    let mut records = Vec::new();
    for first in &parts {
        for second in &parts {
            records.push(row([(*first).into(), (*second).into(), (records.len() as i64).into()]));
        }
    }
    records.sort_by_key(|record| format!("{:?}", &record.0[..2]));
    records.dedup_by_key(|record| format!("{:?}", &record.0[..2]));
    scope.set_many(&records)?;
    assert_eq!(all_rows(&scope)?, sorted(records.clone()));
    for record in &records {
        let id = key_of([record.0[0].clone(), record.0[1].clone()]);
        assert_eq!(scope.fetch(&id)?.as_ref(), Some(record));
    }
    Ok(())
}
