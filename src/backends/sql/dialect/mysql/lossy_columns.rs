//! Checks of values for columns of other programs that hold less than their column type. A value that
//! the server would change is rejected.

use std::sync::Arc;

use crate::backends::sql::dialect::ValueCheck;
use crate::{ColumnType, Error, Result, Value, temporal};

/// The first and the last microsecond of a `TIMESTAMP`.
const TIMESTAMPS: (i64, i64) = (1_000_000, 2_147_483_647_999_999);

/// Returns the check of values for a declared type, or `None` if the column returns all values of the
/// type unchanged.
pub(super) fn check_for(declared: &str, ty: ColumnType) -> Option<ValueCheck> {
    let (plain, charset) = match declared.split_once(" character set ") {
        Some((plain, charset)) => (plain, charset),
        None => (declared, "utf8mb4"),
    };
    let (name, arguments) = split(plain);
    match ty {
        ColumnType::SmallInt | ColumnType::Int | ColumnType::BigInt => integers(plain),
        ColumnType::Real | ColumnType::Double => floats(name, &numbers(arguments)),
        ColumnType::Text | ColumnType::Varchar(_) => texts(name, arguments, charset),
        ColumnType::Bytes => bytes(name, &numbers(arguments)),
        ColumnType::Time | ColumnType::Timestamp => times(name, &numbers(arguments)),
        _ => None,
    }
}

/// Splits `decimal(10,2)` into `decimal` and `10,2`.
fn split(declared: &str) -> (&str, &str) {
    match declared.split_once('(') {
        Some((name, rest)) => (name, rest.rsplit_once(')').map_or(rest, |(inside, _)| inside)),
        None => (declared, ""),
    }
}

fn numbers(arguments: &str) -> Vec<usize> {
    arguments.split(',').filter_map(|number| number.trim().parse().ok()).collect()
}

/// Returns a check of values that are present; all columns return NULL unchanged.
fn check(
    declared: &str,
    fits: impl Fn(&Value) -> bool + Send + Sync + 'static,
) -> Option<ValueCheck> {
    let message = format!(
        "mysql: the column, declared as {declared}, would change the value; widen the column"
    );
    Some(Arc::new(move |value| -> Result<()> {
        match value {
            Value::Null | Value::Absent => Ok(()),
            value if fits(value) => Ok(()),
            _ => Err(Error::unsupported(message.as_str())),
        }
    }))
}

fn integers(declared: &str) -> Option<ValueCheck> {
    let range = match declared {
        "tinyint" | "tinyint(1)" => -128..=127,
        "tinyint unsigned" | "tinyint(1) unsigned" => 0..=255,
        "smallint unsigned" => 0..=65_535,
        "mediumint" => -8_388_608..=8_388_607,
        "mediumint unsigned" => 0..=16_777_215,
        "int unsigned" => 0..=4_294_967_295,
        _ => return None,
    };
    check(declared, move |value| matches!(value, Value::Int(n) if range.contains(n)))
}

/// `FLOAT(7,3)` and `DOUBLE(7,3)` round values.
fn floats(name: &str, arguments: &[usize]) -> Option<ValueCheck> {
    let [digits, after] = *arguments else { return None };
    let single = name == "float";
    let declared = format!("{name}({digits},{after})");
    check(&declared, move |value| {
        let Value::Float(v) = value else { return false };
        let rounded: f64 = format!("{v:.after$}").parse().unwrap_or(f64::NAN);
        let stored = if single { f64::from(rounded as f32) } else { rounded };
        let before = i32::try_from(digits.saturating_sub(after)).unwrap_or(i32::MAX);
        stored == *v && v.abs() < 10_f64.powi(before)
    })
}

fn texts(name: &str, arguments: &str, charset: &str) -> Option<ValueCheck> {
    let most = match name {
        "tinytext" => 255,
        "text" => 65_535,
        "mediumtext" => 16_777_215,
        _ => usize::MAX,
    };
    let holds = characters(charset);
    let members = (name == "enum").then(|| members(arguments));
    // A `CHAR` loses trailing spaces.
    let cut = name == "char";
    if most == usize::MAX && holds.is_none() && members.is_none() && !cut {
        return None;
    }
    check(&format!("{name} in {charset}"), move |value| {
        let Value::Text(text) = value else { return false };
        // In another character set the length differs, and the server checks it.
        (text.len() <= most || holds.is_some())
            && holds.is_none_or(|holds| text.chars().all(holds))
            && !(cut && text.ends_with(' '))
            && members.as_ref().is_none_or(|members| members.contains(text))
    })
}

/// Returns the predicate of the characters of a set, or `None` if it has all characters or the server
/// rejects others.
fn characters(charset: &str) -> Option<fn(char) -> bool> {
    // The characters of Windows-1252 in place of the C1 control characters.
    const LATIN1: &str = "€\u{81}‚ƒ„…†‡ˆ‰Š‹Œ\u{8d}Ž\u{8f}\u{90}‘’“”•–—˜™š›œ\u{9d}žŸ";
    match charset {
        "ascii" => Some(|c| c.is_ascii()),
        "latin1" => {
            Some(|c| c.is_ascii() || ('\u{a0}'..='\u{ff}').contains(&c) || LATIN1.contains(c))
        }
        "utf8" | "utf8mb3" | "ucs2" => Some(|c| c <= '\u{ffff}'),
        _ => None,
    }
}

/// Parses the members of an `ENUM`. The server would change other values, including numbers.
fn members(arguments: &str) -> Vec<String> {
    let (mut members, mut rest) = (Vec::new(), arguments);
    while let Some((_, quoted)) = rest.split_once('\'') {
        let mut member = String::new();
        rest = quoted;
        loop {
            let (part, after) = rest.split_once('\'').unwrap_or((rest, ""));
            member.push_str(part);
            match after.strip_prefix('\'') {
                // A doubled quote.
                Some(after) => {
                    member.push('\'');
                    rest = after;
                }
                None => {
                    rest = after;
                    break;
                }
            }
        }
        members.push(member);
    }
    members
}

fn bytes(name: &str, arguments: &[usize]) -> Option<ValueCheck> {
    let (least, most) = match (name, arguments) {
        // Shorter values are padded with zeros.
        ("binary", [length]) => (*length, *length),
        ("binary", _) => (1, 1),
        ("varbinary", [length]) => (0, *length),
        ("tinyblob", _) => (0, 255),
        ("blob", _) => (0, 65_535),
        ("mediumblob", _) => (0, 16_777_215),
        _ => return None,
    };
    check(
        &format!("{name} of {most} bytes"),
        move |value| matches!(value, Value::Bytes(bytes) if (least..=most).contains(&bytes.len())),
    )
}

fn times(name: &str, arguments: &[usize]) -> Option<ValueCheck> {
    let digits = arguments.first().copied().unwrap_or(0).min(6);
    let step = 10_i64.pow(6 - digits as u32);
    let (first, last) = match name {
        "timestamp" => TIMESTAMPS,
        "datetime" | "time" if step == 1 => return None,
        _ => (temporal::TIMESTAMPS.start, temporal::TIMESTAMPS.end),
    };
    check(&format!("{name}({digits})"), move |value| match value {
        Value::Time(v) => v % step == 0,
        Value::Timestamp(v) => v % step == 0 && (first..=last).contains(v),
        _ => false,
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed test panics")]

    use super::*;

    fn fits(declared: &str, ty: ColumnType, value: Value) -> bool {
        check_for(declared, ty).unwrap()(&value).is_ok()
    }

    #[test]
    fn values_that_change_are_rejected() {
        let text = |text: &str| Value::Text(text.to_owned());
        let bytes = |length| Value::Bytes(vec![1; length]);
        use ColumnType::{BigInt, Bytes, Double, SmallInt, Text, Time, Timestamp, Varchar};
        for (declared, ty, good, bad) in [
            ("tinyint", SmallInt, Value::Int(-128), Value::Int(128)),
            ("int unsigned", BigInt, Value::Int(u32::MAX.into()), Value::Int(-1)),
            ("float(7,3)", Double, Value::Float(0.1_f32.into()), Value::Float(0.1)),
            ("double(7,3)", Double, Value::Float(9999.125), Value::Float(0.0001)),
            ("double(7,3)", Double, Value::Float(0.1), Value::Float(10_000.0)),
            ("text", Text, text(&"é".repeat(32_767)), text(&"é".repeat(32_768))),
            ("varchar(9) character set utf8mb3", Varchar(9), text("\u{ffff}"), text("\u{10000}")),
            ("varchar(9) character set latin1", Varchar(9), text("aé€\u{81}"), text("\u{80}")),
            ("char(5)", Varchar(5), text(" a"), text("a ")),
            ("enum('X','it''s',')')", Text, text("it's"), text("x")),
            ("enum('X','it''s',')')", Text, text(")"), text("1")),
            ("binary(3)", Bytes, bytes(3), bytes(2)),
            ("blob", Bytes, bytes(65_535), bytes(65_536)),
            ("datetime", Timestamp, Value::Timestamp(-1_000_000), Value::Timestamp(1)),
            ("datetime(3)", Timestamp, Value::Timestamp(1_000), Value::Timestamp(1_001)),
            ("timestamp(6)", Timestamp, Value::Timestamp(1_000_001), Value::Timestamp(0)),
            ("time", Time, Value::Time(1_000_000), Value::Time(1_500_000)),
        ] {
            assert!(fits(declared, ty, good), "{declared}");
            assert!(!fits(declared, ty, bad), "{declared}");
            assert!(fits(declared, ty, Value::Null), "{declared}");
        }
        for (declared, ty) in [
            ("datetime(6)", Timestamp),
            ("longtext", Text),
            ("varchar(9)", Varchar(9)),
            ("bigint", BigInt),
        ] {
            assert!(check_for(declared, ty).is_none(), "{declared}");
        }
    }
}
