//! Durations as hilcat reads them everywhere: `1h`, `90s`, `250ms`, `1h30m`.

/// The units, in milliseconds.
const UNITS: [(&str, u64); 5] =
    [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

/// Reads a duration as milliseconds.
pub(crate) fn parse(text: &str) -> Result<u64, String> {
    read(text).filter(|millis| *millis > 0).ok_or_else(|| {
        format!(
            "`{text}` is not a duration; write it as 30s, 5m, 1h30m, 2d or 250ms, more than zero"
        )
    })
}

fn read(text: &str) -> Option<u64> {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_as_the_library_reads_them() {
        for (text, millis) in
            [("1h", 3_600_000), ("250ms", 250), ("1h30m", 5_400_000), ("2d1s5ms", 172_801_005)]
        {
            assert_eq!(parse(text), Ok(millis), "{text}");
        }
        for wrong in ["", "5", "h", "5x", "-1s", "0s", "1.5h", "99999999999999999999s", "1h "] {
            assert!(parse(wrong).is_err(), "{wrong}");
            // The library reads durations in the options of a URI.
            let uri = format!("memory:?ttl={}", wrong.replace(' ', "%20"));
            assert!(hilcat::Cache::from_uri(&uri).is_err(), "{wrong}");
        }
    }
}
