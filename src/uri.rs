//! The URIs of caches, and their options.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use percent_encoding::percent_decode_str;

use crate::freshness::Freshness;
use crate::freshness::text::{NAMES, Words};
use crate::options::Options;
use crate::spelling::did_you_mean;
use crate::{Error, Result, duration};

/// The URI of a cache: `scheme:rest?option=value&...`.
///
/// Its `Debug` output shows only the scheme and the names of the options, since the rest may
/// contain a password.
#[derive(Clone, PartialEq, Eq)]
pub struct Uri {
    scheme: String,
    rest: String,
    options: Vec<(String, String)>,
}

impl Uri {
    /// Returns the scheme, in lower case.
    pub fn scheme(&self) -> &str {
        &self.scheme
    }

    /// Returns the part between the colon after the scheme and the question mark. Percent-escapes
    /// are not decoded.
    pub fn rest(&self) -> &str {
        &self.rest
    }

    /// Removes an option and returns its value. [`finish`](Uri::finish) reports the remaining ones.
    pub fn take(&mut self, name: &str) -> Option<String> {
        let at = self.options.iter().position(|(known, _)| known == name)?;
        Some(self.options.remove(at).1)
    }

    /// Returns which of two spellings of an option the URI has; `name` if it has neither.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidConfig`](crate::ErrorKind::InvalidConfig) if it has both.
    #[cfg(any(feature = "server", feature = "redis", feature = "elasticsearch"))]
    pub(crate) fn spelling<'n>(&self, name: &'n str, alias: Option<&'n str>) -> Result<&'n str> {
        let has = |name: &str| self.options.iter().any(|(known, _)| known == name);
        match alias.filter(|alias| has(alias)) {
            None => Ok(name),
            Some(alias) if has(name) => Err(Error::invalid_config(format!(
                "duplicate option: `{name}` and `{alias}` are the same; remove one of them"
            ))),
            Some(alias) => Ok(alias),
        }
    }

    /// Takes an option and parses it.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidConfig`](crate::ErrorKind::InvalidConfig), naming the option and the
    /// expected value, if it cannot be parsed.
    pub fn take_parsed<T: FromStr>(&mut self, name: &str, expected: &str) -> Result<Option<T>> {
        self.take(name)
            .map(|text| {
                text.parse().map_err(|_| {
                    Error::invalid_config(format!("the option `{name}` must be {expected}"))
                })
            })
            .transpose()
    }

    /// Takes an option that is one of a set of words.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidConfig`](crate::ErrorKind::InvalidConfig), listing the words, if it is
    /// none of them.
    pub fn take_choice<T: Copy>(&mut self, name: &str, choices: &[(&str, T)]) -> Result<Option<T>> {
        let Some(text) = self.take(name) else { return Ok(None) };
        let words = || choices.iter().map(|(word, _)| *word);
        let found = choices.iter().find(|(word, _)| word.eq_ignore_ascii_case(&text));
        found.map(|(_, choice)| Some(*choice)).ok_or_else(|| {
            Error::invalid_config(format!(
                "the option `{name}` is one of {}{}",
                words().collect::<Vec<_>>().join(", "),
                did_you_mean(&text, words()),
            ))
        })
    }

    /// Takes an option that is a duration, such as `3s`.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidConfig`](crate::ErrorKind::InvalidConfig) if it is not a duration.
    pub fn take_duration(&mut self, name: &str) -> Result<Option<Duration>> {
        let duration = self.take(name).map(|text| duration::parse(&text)).transpose();
        duration.map_err(|error| {
            Error::invalid_config(format!("the option `{name}`: {}", error.message()))
        })
    }

    /// Takes the options common to all URIs.
    ///
    /// # Errors
    ///
    /// As [`take_parsed`](Uri::take_parsed).
    pub fn take_common(&mut self, mut options: Options) -> Result<Options> {
        options.timeout = self.take_duration("timeout")?.unwrap_or(options.timeout);
        options.freshness = self.take_freshness()?.or(&options.freshness);
        let read_only = self.take_choice("read_only", &[("true", true), ("false", false)])?;
        // A member of a read-only cache is read-only, whatever its own URI says.
        options.read_only |= read_only.unwrap_or_default();
        let lazy = self.take_choice("lazy", &[("true", true), ("false", false)])?;
        options.lazy = lazy.unwrap_or(options.lazy);
        let pool_size = self.take_parsed::<std::num::NonZeroU32>("pool_size", "a number from 1")?;
        options.pool_size = pool_size.map_or(options.pool_size, Into::into);
        Ok(options)
    }

    /// Takes the freshness options, the defaults of the scopes.
    fn take_freshness(&mut self) -> Result<Freshness> {
        let mut words = Words::default();
        for name in freshness_names() {
            if let Some(text) = self.take(name) {
                let read = words.set(name, &text);
                read.map_err(|error| {
                    Error::invalid_config(format!("the option {}", error.message()))
                })?;
            }
        }
        words.finish()
    }

    /// Checks that all options were taken.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidConfig`](crate::ErrorKind::InvalidConfig), listing the known options, if
    /// one remains.
    pub fn finish(self, known: &[&str]) -> Result<()> {
        let Some((name, _)) = self.options.first() else { return Ok(()) };
        let known = || {
            let common = ["lazy", "read_only", "timeout", "pool_size"].into_iter();
            common.chain(freshness_names()).chain(known.iter().copied())
        };
        Err(Error::invalid_config(format!(
            "`{}:` has no option `{name}`; its options are {}{}",
            self.scheme,
            known().collect::<Vec<_>>().join(", "),
            did_you_mean(name, known()),
        )))
    }
}

/// Returns the freshness options of a cache: all but `expires_at`, which names a column of a scope.
fn freshness_names<'a>() -> impl Iterator<Item = &'a str> {
    NAMES.into_iter().filter(|name| *name != "expires_at")
}

impl FromStr for Uri {
    type Err = Error;

    /// Parses a URI.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidConfig`](crate::ErrorKind::InvalidConfig) if there is no scheme, an
    /// option has no value or is repeated, or a percent-escape is not UTF-8. The message never
    /// contains the URI.
    fn from_str(text: &str) -> Result<Self> {
        let (scheme, rest) = text.split_once(':').ok_or_else(|| {
            Error::invalid_config(
                "the URI has no scheme; write it as sqlite:///cache.db or memory:",
            )
        })?;
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        let mut options: Vec<(String, String)> = Vec::new();
        for part in query.split('&').filter(|part| !part.is_empty()) {
            let (name, value) = part.split_once('=').ok_or_else(|| {
                Error::invalid_config("an option of the URI has no value; write it as name=value")
            })?;
            let (name, value) = (decode(name)?, decode(value)?);
            if options.iter().any(|(known, _)| *known == name) {
                return Err(Error::invalid_config(format!("duplicate option `{name}` in the URI")));
            }
            options.push((name, value));
        }
        Ok(Self { scheme: scheme.to_ascii_lowercase(), rest: rest.to_owned(), options })
    }
}

impl fmt::Debug for Uri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let options: Vec<_> = self.options.iter().map(|(name, _)| name).collect();
        f.debug_struct("Uri")
            .field("scheme", &self.scheme)
            .field("options", &options)
            .finish_non_exhaustive()
    }
}

/// Decodes the percent-escapes of a part of a URI.
pub(crate) fn decode(text: &str) -> Result<String> {
    let decoded = percent_decode_str(text).decode_utf8();
    decoded
        .map(Into::into)
        .map_err(|_| Error::invalid_config("a percent-escape in the URI is not UTF-8"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_uri_is_split() {
        let mut uri: Uri = "SQLite:///a%20b.db?timeout=3s&x=a%26b".parse().unwrap();
        assert_eq!((uri.scheme(), uri.rest()), ("sqlite", "///a%20b.db"));
        assert_eq!(uri.take_common(Options::default()).unwrap().timeout, Duration::from_secs(3));
        assert_eq!(uri.take("x").as_deref(), Some("a&b"));
        uri.finish(&[]).unwrap();
    }

    #[test]
    fn an_unknown_option_names_the_known_ones() {
        let uri: Uri = "memory:?max_entrys=3".parse().unwrap();
        let error = uri.finish(&["max_entries"]).unwrap_err().to_string();
        assert!(error.contains("timeout, pool_size, ttl, stale_while"), "{error}");
        assert!(error.ends_with("did you mean `max_entries`?"), "{error}");
        assert!("memory:?a".parse::<Uri>().is_err());
        assert!("memory:?a=1&a=2".parse::<Uri>().is_err());
        assert!("t.db".parse::<Uri>().is_err());
    }

    #[test]
    fn debug_keeps_secrets() {
        let uri: Uri = "postgresql://me:secret@host/db?password=secret".parse().unwrap();
        assert!(!format!("{uri:?}").contains("secret"), "{uri:?}");
    }
}
