//! The spelling of durations: `1h`, `90s`, `250ms`, `1h30m`.

/// The units in milliseconds, longest first.
pub(crate) const UNITS: [(&str, u64); 5] =
    [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

/// Parses a duration, a sequence of numbers with a unit, as milliseconds.
///
/// # Errors
///
/// A message that names the units, if the text is not a duration or the duration is zero.
pub(crate) fn parse(text: &str) -> Result<u64, String> {
    sum_of_parts(text).filter(|millis| *millis > 0).ok_or_else(|| {
        format!(
            "`{text}` is not a duration; write it as 30s, 5m, 1h30m, 2d or 250ms, more than zero"
        )
    })
}

fn sum_of_parts(text: &str) -> Option<u64> {
    let mut rest = text;
    let mut total: u64 = 0;
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let (number, after) = rest.split_at(digits);
        let letters = after.bytes().take_while(u8::is_ascii_alphabetic).count();
        let (unit, after) = after.split_at(letters);
        let (_, millis) = UNITS.iter().find(|(name, _)| *name == unit)?;
        total = total.checked_add(number.parse::<u64>().ok()?.checked_mul(*millis)?)?;
        rest = after;
    }
    Some(total)
}
