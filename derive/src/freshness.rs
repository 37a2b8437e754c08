//! The freshness attributes of records and cached functions.

use proc_macro2::TokenStream;
use quote::quote;
use syn::Path;

use crate::attr::{Given, Item};
use crate::error::Errors;
use crate::spelling::did_you_mean;
use crate::spelling::duration;

/// The attributes except `negative_ttl`, which cached functions do not have.
pub(crate) const NAMES: [&str; 9] = [
    "ttl",
    "stale_while_revalidate",
    "stale_if_error",
    "jitter",
    "max_records",
    "auto_purge",
    "single_flight",
    "lease",
    "on_unavailable",
];

/// The freshness attributes. Durations are in milliseconds.
#[derive(Default)]
pub(crate) struct FreshnessAttrs {
    /// `Some(None)` is `"never"`.
    ttl: Option<Given<Option<u64>>>,
    stale_while_revalidate: Option<Given<u64>>,
    stale_if_error: Option<Given<u64>>,
    jitter: Option<Given<f64>>,
    negative_ttl: Option<Given<u64>>,
    max_records: Option<Given<u64>>,
    auto_purge: Option<Given<bool>>,
    /// Whether it is `"shared"`.
    single_flight: Option<Given<bool>>,
    lease: Option<Given<u64>>,
    /// Whether it is `"compute"`.
    on_unavailable: Option<Given<bool>>,
}

impl FreshnessAttrs {
    /// Parses an attribute, or returns `None` if it is no freshness attribute.
    pub(crate) fn read(&mut self, item: &Item) -> Option<syn::Result<()>> {
        let time = |item: &Item| item.text(duration::parse);
        Some(match item.key().as_str() {
            "ttl" => item.put(&mut self.ttl, |item| item.text(ttl)),
            "stale_while_revalidate" => item.put(&mut self.stale_while_revalidate, time),
            "stale_if_error" => item.put(&mut self.stale_if_error, time),
            "negative_ttl" => item.put(&mut self.negative_ttl, time),
            "lease" => item.put(&mut self.lease, time),
            "jitter" => item.put(&mut self.jitter, |item| item.plain(part)),
            "max_records" => item.put(&mut self.max_records, |item| item.plain(number)),
            "auto_purge" => {
                let words = [("on", true), ("off", false), ("true", true), ("false", false)];
                item.put(&mut self.auto_purge, |item| item.plain(|text| word(text, &words)))
            }
            "single_flight" => {
                let words = [("process", false), ("shared", true)];
                item.put(&mut self.single_flight, |item| item.plain(|text| word(text, &words)))
            }
            "on_unavailable" => {
                let words = [("fail", false), ("compute", true)];
                item.put(&mut self.on_unavailable, |item| item.plain(|text| word(text, &words)))
            }
            _ => return None,
        })
    }

    /// Reports attributes that cannot be combined. `expires_at` is whether a field holds the expiry.
    pub(crate) fn check(&self, expires_at: bool, errors: &mut Errors) {
        let expires = expires_at || self.ttl.as_ref().is_some_and(|ttl| ttl.value.is_some());
        let needs = [
            (
                "stale_while_revalidate",
                self.stale_while_revalidate.as_ref().map(|given| given.span),
            ),
            ("stale_if_error", self.stale_if_error.as_ref().map(|given| given.span)),
            ("jitter", self.jitter.as_ref().map(|given| given.span)),
            ("max_records", self.max_records.as_ref().map(|given| given.span)),
        ];
        for (name, span) in needs {
            if let Some(span) = span.filter(|_| !expires) {
                errors.at(span, format!("`{name}` needs records that expire: add `ttl = \"1h\"`"));
            }
        }
        if let (Some(ttl), true) = (&self.ttl, expires_at) {
            errors.at(
                ttl.span,
                "`ttl` and `expires_at` both set the expiry of a record: keep one of them",
            );
        }
        if let (Some(jitter), true) = (&self.jitter, expires_at) {
            errors.at(
                jitter.span,
                "`jitter` shortens a `ttl`, but the expiry is in a field here: remove `jitter`",
            );
        }
        let shared = self.single_flight.as_ref().is_some_and(|given| given.value);
        if let Some(lease) = self.lease.as_ref().filter(|_| !shared) {
            errors.at(
                lease.span,
                "`lease` needs computations that processes share: add `single_flight = \"shared\"`",
            );
        }
    }

    /// Returns the calls of builder methods; `time` converts milliseconds to an argument.
    pub(crate) fn calls(&self, krate: &Path, time: impl Fn(u64) -> TokenStream) -> TokenStream {
        let ttl = self.ttl.as_ref().map(|ttl| match ttl.value {
            Some(millis) => {
                let ttl = time(millis);
                quote!(.ttl(#ttl))
            }
            None => quote!(.ttl_never()),
        });
        let window = |given: &Option<Given<u64>>| given.as_ref().map(|given| time(given.value));
        let revalidate =
            window(&self.stale_while_revalidate).map(|time| quote!(.stale_while_revalidate(#time)));
        let error = window(&self.stale_if_error).map(|time| quote!(.stale_if_error(#time)));
        let negative = window(&self.negative_ttl).map(|time| quote!(.negative_ttl(#time)));
        let jitter =
            self.jitter.as_ref().map(|given| given.value).map(|part| quote!(.jitter(#part)));
        let records = self.max_records.as_ref().map(|given| given.value);
        let records = records.map(|records| quote!(.max_records(#records)));
        let purge = self.auto_purge.as_ref().map(|given| given.value);
        let purge = purge.map(|on| quote!(.auto_purge(#on)));
        let flight = self.single_flight.as_ref().map(|shared| {
            let flight = match (shared.value, &self.lease) {
                (false, _) => quote!(Process),
                (true, None) => quote!(Shared { lease: #krate::SingleFlight::DEFAULT_LEASE }),
                (true, Some(lease)) => {
                    let millis = lease.value;
                    quote!(Shared { lease: ::core::time::Duration::from_millis(#millis) })
                }
            };
            quote!(.single_flight(#krate::SingleFlight::#flight))
        });
        let unavailable = self.on_unavailable.as_ref().map(|computes| {
            let what = if computes.value { quote!(Compute) } else { quote!(Fail) };
            quote!(.on_unavailable(#krate::OnUnavailable::#what))
        });
        quote!(#ttl #revalidate #error #jitter #negative #records #purge #flight #unavailable)
    }
}

fn ttl(text: &str) -> Result<Option<u64>, String> {
    if text == "never" { Ok(None) } else { duration::parse(text).map(Some) }
}

/// Parses `10%` or `0.1`.
fn part(text: &str) -> Result<f64, String> {
    let (digits, whole) = match text.strip_suffix('%') {
        Some(percent) => (percent, 100.0),
        None => (text, 1.0),
    };
    let part = digits.parse::<f64>().ok().map(|digits| digits / whole);
    part.filter(|part| *part > 0.0 && *part < 1.0).ok_or_else(|| {
        "write a part of the time to live as \"10%\" or 0.1, more than 0 and less than 100%"
            .to_owned()
    })
}

fn number(text: &str) -> Result<u64, String> {
    let number = text.replace('_', "").parse::<u64>().ok().filter(|number| *number > 0);
    number.ok_or_else(|| "write a number from 1".to_owned())
}

fn word<T: Copy>(text: &str, words: &[(&str, T)]) -> Result<T, String> {
    let found = words.iter().find(|(word, _)| *word == text);
    found.map(|(_, meant)| *meant).ok_or_else(|| {
        let names: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
        let meant = did_you_mean(text, names.iter().copied());
        format!("unknown value `{text}`; the values are `{}`{meant}", names.join("`, `"))
    })
}
