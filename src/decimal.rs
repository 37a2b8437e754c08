//! Decimals in canonical text: an optional sign, digits, and exactly `scale` digits after the
//! point. Equal numbers have the same text.

use std::cmp::Ordering;

use crate::{Error, Result};

/// Converts a decimal to its canonical form, with `scale` digits after the point.
///
/// # Errors
///
/// If the text is not a decimal number, has nonzero digits beyond the scale, or more than
/// `precision` digits.
pub(crate) fn canonical(text: &str, precision: u16, scale: u16) -> Result<String> {
    let (whole, fraction, negative) = split(text).ok_or_else(|| {
        Error::invalid_input("not a decimal number; write it in digits, as -12.50")
    })?;
    let whole = whole.trim_start_matches('0');
    let fraction = fraction.trim_end_matches('0');
    let (precision, scale) = (usize::from(precision), usize::from(scale));
    if fraction.len() > scale || whole.len() > precision - scale {
        return Err(Error::invalid_input(format!(
            "the number does not fit decimal({precision},{scale}): it has {} digits before the point and {} after it",
            whole.len(),
            fraction.len(),
        )));
    }
    let sign = if negative && !(whole.is_empty() && fraction.is_empty()) { "-" } else { "" };
    let whole = if whole.is_empty() { "0" } else { whole };
    Ok(match scale {
        0 => format!("{sign}{whole}"),
        scale => format!("{sign}{whole}.{fraction:0<scale$}"),
    })
}

/// Returns the digits before the point, the digits after it, and whether the number is negative.
fn split(text: &str) -> Option<(&str, &str, bool)> {
    let (negative, digits) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let only_digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    let some = !(whole.is_empty() && fraction.is_empty());
    (some && only_digits(whole) && only_digits(fraction)).then_some((whole, fraction, negative))
}

/// Compares two decimals by size, and equal ones of different scales by their text.
pub(crate) fn compare(a: &str, b: &str) -> Ordering {
    let by_size = match (split(a), split(b)) {
        (Some((_, _, true)), Some((_, _, false))) => Ordering::Less,
        (Some((_, _, false)), Some((_, _, true))) => Ordering::Greater,
        (Some((a, a_fraction, negative)), Some((b, b_fraction, _))) => {
            let (a, b) = (a.trim_start_matches('0'), b.trim_start_matches('0'));
            let fractions = (a_fraction.trim_end_matches('0'), b_fraction.trim_end_matches('0'));
            let order = (a.len(), a, fractions.0).cmp(&(b.len(), b, fractions.1));
            if negative { order.reverse() } else { order }
        }
        _ => Ordering::Equal,
    };
    by_size.then_with(|| a.cmp(b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_numbers_have_the_same_text() {
        for text in ["12.5", "+12.50", "0012.500", "12.5000000"] {
            assert_eq!(canonical(text, 10, 2).unwrap(), "12.50");
        }
        assert_eq!(canonical("-0.00", 10, 2).unwrap(), "0.00");
        assert_eq!(canonical("-.5", 10, 2).unwrap(), "-0.50");
        assert_eq!(canonical("7", 10, 0).unwrap(), "7");
        assert_eq!(canonical("0", 2, 2).unwrap(), "0.00");
    }

    #[test]
    fn numbers_that_do_not_fit_are_errors() {
        for text in ["", "-", ".", "1e3", "1,5", "NaN", " 1", "1.234", "123456789"] {
            assert!(canonical(text, 10, 2).is_err(), "{text}");
        }
    }
}
