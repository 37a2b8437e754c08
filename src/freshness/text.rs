//! The text form of the options, the same in TOML files and URIs.

use std::time::Duration;

use super::{Freshness, OnUnavailable, SingleFlight, Ttl};
use crate::spelling::did_you_mean;
use crate::{Error, Result, duration};

/// The names of all options of a scope.
pub(crate) const NAMES: [&str; 11] = [
    "ttl",
    "stale_while_revalidate",
    "stale_if_error",
    "jitter",
    "negative_ttl",
    "expires_at",
    "max_records",
    "auto_purge",
    "single_flight",
    "lease",
    "on_unavailable",
];

const SWITCH: [(&str, bool); 4] = [("on", true), ("off", false), ("true", true), ("false", false)];
const FLIGHTS: [(&str, SingleFlight); 2] = [
    ("process", SingleFlight::Process),
    ("shared", SingleFlight::Shared { lease: SingleFlight::DEFAULT_LEASE }),
];
const UNAVAILABLE: [(&str, OnUnavailable); 2] =
    [("fail", OnUnavailable::Fail), ("compute", OnUnavailable::Compute)];

/// Parses options one by one.
#[derive(Default)]
pub(crate) struct Words {
    freshness: Freshness,
    lease: Option<Duration>,
}

impl Words {
    /// Parses one option.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidConfig`](crate::ErrorKind::InvalidConfig), naming the option and its
    /// valid values.
    pub(crate) fn set(&mut self, name: &str, text: &str) -> Result<()> {
        let wrong = |error: Error| Error::invalid_config(format!("`{name}`: {}", error.message()));
        let time = || duration::parse(text).map(Some).map_err(wrong);
        let freshness = &mut self.freshness;
        match name {
            "ttl" if text == "never" => freshness.ttl = Some(Ttl::Never),
            "ttl" => freshness.ttl = time()?.map(Ttl::After),
            "stale_while_revalidate" => freshness.stale_while_revalidate = time()?,
            "stale_if_error" => freshness.stale_if_error = time()?,
            "negative_ttl" => freshness.negative_ttl = time()?,
            "lease" => self.lease = time()?,
            "jitter" => freshness.jitter = Some(fraction(text).map_err(wrong)?),
            "expires_at" => freshness.expires_at = Some(text.to_owned()),
            "max_records" => freshness.max_records = Some(number(text).map_err(wrong)?),
            "auto_purge" => freshness.auto_purge = Some(word(name, text, &SWITCH)?),
            "single_flight" => freshness.single_flight = Some(word(name, text, &FLIGHTS)?),
            "on_unavailable" => freshness.on_unavailable = Some(word(name, text, &UNAVAILABLE)?),
            _ => return Err(Error::invalid_config(format!("no option `{name}`"))),
        }
        Ok(())
    }

    /// Returns the parsed options.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidConfig`](crate::ErrorKind::InvalidConfig) if `lease` is set without a
    /// shared single flight.
    pub(crate) fn finish(self) -> Result<Freshness> {
        let mut freshness = self.freshness;
        match (self.lease, &mut freshness.single_flight) {
            (None, _) => {}
            (Some(given), Some(SingleFlight::Shared { lease })) => *lease = given,
            _ => {
                return Err(Error::invalid_config(
                    "`lease` applies only to computations shared by processes: set `single_flight = \"shared\"` as well",
                ));
            }
        }
        Ok(freshness)
    }
}

/// Parses `10%` or `0.1`.
fn fraction(text: &str) -> Result<f64> {
    let (digits, whole) = match text.strip_suffix('%') {
        Some(percent) => (percent, 100.0),
        None => (text, 1.0),
    };
    let fraction = digits.parse::<f64>().ok().map(|digits| digits / whole);
    fraction.filter(|fraction| *fraction > 0.0 && *fraction < 1.0).ok_or_else(|| {
        Error::invalid_config(
            "write a fraction of the time to live as 10% or 0.1, more than 0 and less than 100%",
        )
    })
}

fn number(text: &str) -> Result<u64> {
    let number = text.parse::<u64>().ok().filter(|number| *number > 0);
    number.ok_or_else(|| Error::invalid_config("write a number from 1"))
}

fn word<T: Copy>(name: &str, text: &str, words: &[(&str, T)]) -> Result<T> {
    let found = words.iter().find(|(word, _)| *word == text);
    found.map(|(_, choice)| *choice).ok_or_else(|| {
        let names = || words.iter().map(|(word, _)| *word);
        Error::invalid_config(format!(
            "`{name}` is one of {}{}",
            names().collect::<Vec<_>>().join(", "),
            did_you_mean(text, names())
        ))
    })
}

impl Freshness {
    /// Returns the options that are set, in the form that [`Words::set`] parses.
    pub(crate) fn words(&self) -> Vec<(&'static str, String)> {
        let ttl = self.ttl.map(|ttl| match ttl {
            Ttl::After(ttl) => duration::format(ttl),
            Ttl::Never => "never".to_owned(),
        });
        let time = |time: Option<Duration>| time.map(duration::format);
        let flight = self.single_flight.map(|flight| match flight {
            SingleFlight::Process => "process",
            SingleFlight::Shared { .. } => "shared",
        });
        let unavailable = self.on_unavailable.map(|unavailable| match unavailable {
            OnUnavailable::Fail => "fail",
            OnUnavailable::Compute => "compute",
        });
        let texts = [
            ttl,
            time(self.stale_while_revalidate),
            time(self.stale_if_error),
            self.jitter.map(|jitter| jitter.to_string()),
            time(self.negative_ttl),
            self.expires_at.clone(),
            self.max_records.map(|records| records.to_string()),
            self.auto_purge.map(|on| if on { "on" } else { "off" }.to_owned()),
            flight.map(str::to_owned),
            time(self.lease()),
            unavailable.map(str::to_owned),
        ];
        NAMES.into_iter().zip(texts).filter_map(|(name, text)| Some((name, text?))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(words: &[(&str, &str)]) -> Result<Freshness> {
        let mut read = Words::default();
        words.iter().try_for_each(|(name, text)| read.set(name, text))?;
        read.finish()
    }

    #[test]
    fn options_round_trip() {
        let given = [
            ("ttl", "1h"),
            ("stale_while_revalidate", "10m"),
            ("stale_if_error", "1d"),
            ("jitter", "0.1"),
            ("negative_ttl", "30s"),
            ("max_records", "1000"),
            ("auto_purge", "off"),
            ("single_flight", "shared"),
            ("lease", "10s"),
            ("on_unavailable", "compute"),
        ];
        let freshness = read(&given).unwrap();
        let words = freshness.words();
        let words: Vec<_> = words.iter().map(|(name, text)| (*name, text.as_str())).collect();
        assert_eq!(words, given);
        assert_eq!(read(&[("jitter", "10%")]).unwrap().jitter, Some(0.1));
        assert_eq!(read(&[("ttl", "never")]).unwrap().ttl, Some(Ttl::Never));
        assert_eq!(freshness.stale_window(), Duration::from_secs(86_400));
    }

    #[test]
    fn errors_name_the_option() {
        for (name, text) in [
            ("ttl", "soon"),
            ("jitter", "100%"),
            ("jitter", "NaN"),
            ("max_records", "0"),
            ("auto_purge", "no"),
            ("single_flight", "share"),
            ("on_unavailable", "retry"),
            ("lease", "1s"),
        ] {
            let error = read(&[(name, text)]).unwrap_err().to_string();
            assert!(error.contains(&format!("`{name}`")), "{error}");
        }
    }
}
