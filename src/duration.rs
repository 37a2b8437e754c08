//! Durations as people write them: `1h`, `90s`, `250ms`, `1h30m`.

use std::time::Duration;

use crate::{Error, Result};

/// The units, in milliseconds, the longest first.
const UNITS: [(&str, u64); 5] =
    [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

/// Reads a duration: numbers with a unit (`d`, `h`, `m`, `s`, `ms`) one after the other.
///
/// ```
/// use std::time::Duration;
///
/// assert_eq!(hilcat::parse_duration("1h30m")?, Duration::from_secs(5_400));
/// assert!(hilcat::parse_duration("soon").is_err());
/// # Ok::<(), hilcat::Error>(())
/// ```
///
/// # Errors
///
/// [`ErrorKind::InvalidConfig`](crate::ErrorKind::InvalidConfig) if it is not one, naming the units;
/// also if it is zero.
pub fn parse(text: &str) -> Result<Duration> {
    let wrong = || {
        Error::invalid_config(format!(
            "`{text}` is not a duration; write it as 30s, 5m, 1h30m, 2d or 250ms, more than zero"
        ))
    };
    let mut rest = text;
    let mut total: u64 = 0;
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let letters = rest[digits..].bytes().take_while(u8::is_ascii_alphabetic).count();
        let (number, unit) = (&rest[..digits], &rest[digits..digits + letters]);
        let (_, millis) = UNITS.iter().find(|(name, _)| *name == unit).ok_or_else(wrong)?;
        let part = number.parse::<u64>().ok().and_then(|number| number.checked_mul(*millis));
        total = part.and_then(|part| total.checked_add(part)).ok_or_else(wrong)?;
        rest = &rest[digits + letters..];
    }
    if total == 0 { Err(wrong()) } else { Ok(Duration::from_millis(total)) }
}

/// Writes a duration so that [`parse`] reads it back.
pub(crate) fn format(duration: Duration) -> String {
    let mut rest = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    let mut text = String::new();
    for (unit, millis) in UNITS {
        if rest >= millis {
            text.push_str(&format!("{}{unit}", rest / millis));
            rest %= millis;
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_come_back() {
        for (text, millis) in
            [("1h", 3_600_000), ("250ms", 250), ("1h30m", 5_400_000), ("2d1s5ms", 172_801_005)]
        {
            let duration = Duration::from_millis(millis);
            assert_eq!(parse(text).unwrap(), duration);
            assert_eq!(format(duration), text);
        }
        for wrong in ["", "5", "h", "5x", "-1s", "0s", "1.5h", "99999999999999999999s", "1h "] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }
}
