//! The text form of durations: `1h`, `90s`, `250ms`, `1h30m`.

use std::time::Duration;

use crate::spelling::duration;
use crate::{Error, Result};

/// Parses a duration: numbers, each followed by a unit (`d`, `h`, `m`, `s`, `ms`).
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
/// [`ErrorKind::InvalidConfig`](crate::ErrorKind::InvalidConfig) if the text is not a duration, or
/// is zero. The message lists the units.
pub fn parse(text: &str) -> Result<Duration> {
    duration::parse(text).map(Duration::from_millis).map_err(Error::invalid_config)
}

/// Formats a duration so that [`parse`] returns it.
pub(crate) fn format(time: Duration) -> String {
    let mut rest = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    let mut text = String::new();
    for (unit, millis) in duration::UNITS {
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
    fn durations_round_trip() {
        for (text, millis) in
            [("1h", 3_600_000), ("250ms", 250), ("1h30m", 5_400_000), ("2d1s5ms", 172_801_005)]
        {
            let time = Duration::from_millis(millis);
            assert_eq!(parse(text).unwrap(), time);
            assert_eq!(format(time), text);
        }
        for wrong in ["", "5", "h", "5x", "-1s", "0s", "1.5h", "99999999999999999999s", "1h "] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }
}
