//! PostgreSQL's binary format of `numeric`: base-10,000 digits, the weight of the first digit, the
//! sign, and the number of decimal digits after the point.

use std::fmt::Write as _;

const NEGATIVE: u16 = 0x4000;

/// Encodes the canonical text of a decimal. Returns `None` if the text is malformed or too long.
pub(super) fn from_text(text: &str) -> Option<Vec<u8>> {
    let (sign, digits) = match text.strip_prefix('-') {
        Some(digits) => (NEGATIVE, digits),
        None => (0, text),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    // Groups of four digits, aligned at the point.
    let lead = (4 - whole.len() % 4) % 4;
    let trail = (4 - fraction.len() % 4) % 4;
    let zeros = |count| std::iter::repeat_n(b'0', count);
    let all: Vec<u8> =
        zeros(lead).chain(whole.bytes()).chain(fraction.bytes()).chain(zeros(trail)).collect();
    let mut groups = Vec::with_capacity(all.len() / 4);
    for group in all.chunks_exact(4) {
        groups.push(std::str::from_utf8(group).ok()?.parse::<u16>().ok()?);
    }
    let leading = groups.iter().take_while(|group| **group == 0).count();
    groups.drain(..leading);
    while groups.last() == Some(&0) {
        groups.pop();
    }
    let weight = i16::try_from((whole.len() + lead) / 4).ok()? - 1 - i16::try_from(leading).ok()?;
    let (weight, sign) = if groups.is_empty() { (0, 0) } else { (weight, sign) };
    let mut out = Vec::with_capacity(8 + 2 * groups.len());
    out.extend_from_slice(&i16::try_from(groups.len()).ok()?.to_be_bytes());
    out.extend_from_slice(&weight.to_be_bytes());
    out.extend_from_slice(&sign.to_be_bytes());
    out.extend_from_slice(&u16::try_from(fraction.len()).ok()?.to_be_bytes());
    groups.iter().for_each(|group| out.extend_from_slice(&group.to_be_bytes()));
    Some(out)
}

/// Decodes a decimal to text. Returns `None` if it is NaN, infinite or truncated.
pub(super) fn to_text(bytes: &[u8]) -> Option<String> {
    let word = |at: usize| {
        let pair = bytes.get(2 * at..2 * at + 2)?;
        Some(u16::from_be_bytes([pair[0], pair[1]]))
    };
    let (count, weight) = (usize::from(word(0)?), i32::from(word(1)? as i16));
    let (sign, scale) = (word(2)?, usize::from(word(3)?));
    if sign != 0 && sign != NEGATIVE {
        return None;
    }
    let digit = |at: i32| match usize::try_from(at) {
        Ok(at) if at < count => word(4 + at),
        _ => Some(0),
    };
    let mut whole = String::new();
    for at in 0..=weight {
        write!(whole, "{:04}", digit(at)?).ok()?;
    }
    let whole = whole.trim_start_matches('0');
    let mut fraction = String::new();
    for at in weight + 1.. {
        if fraction.len() >= scale {
            break;
        }
        write!(fraction, "{:04}", digit(at)?).ok()?;
    }
    fraction.truncate(scale);
    let sign = if sign == NEGATIVE { "-" } else { "" };
    let whole = if whole.is_empty() { "0" } else { whole };
    Some(if scale == 0 { format!("{sign}{whole}") } else { format!("{sign}{whole}.{fraction}") })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals_round_trip() {
        for text in [
            "0",
            "0.00",
            "1",
            "-1",
            "9999",
            "10000",
            "10000.0001",
            "0.0001",
            "0.00001",
            "-0.5",
            "12345.6789",
            "100000000.000010000",
            "18446744073709551615",
            "-99999999999999999999999999999.999999999",
        ] {
            assert_eq!(to_text(&from_text(text).unwrap()).as_deref(), Some(text));
        }
        // The bytes that PostgreSQL sends for 12345.678.
        let bytes = [0, 3, 0, 1, 0, 0, 0, 3, 0, 1, 9, 41, 26, 124];
        assert_eq!(from_text("12345.678").unwrap(), bytes);
    }

    #[test]
    fn malformed_numbers_are_none() {
        assert_eq!(to_text(&[0, 0, 0, 0, 0xc0, 0, 0, 0]), None);
        assert_eq!(to_text(&[0, 1, 0, 0, 0, 0, 0, 0]), None);
        assert_eq!(to_text(&[]), None);
        assert_eq!(from_text("NaN"), None);
    }
}
