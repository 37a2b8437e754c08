//! JSON text: parsed without changing numbers, with error messages that do not quote it.

use serde_json::Value as Json;

use crate::{Error, Result, range};

/// Parses JSON text, and rejects numbers that `serde_json` would change.
///
/// These are integers beyond 64 bits, which would lose digits, and nonzero numbers too small for a
/// float, which would become zero.
///
/// # Errors
///
/// [`ErrorKind::InvalidInput`](crate::ErrorKind::InvalidInput) if the text is not JSON or contains
/// such a number.
pub fn parse(text: &str) -> Result<Json> {
    let value = serde_json::from_str(text)
        .map_err(|error| Error::invalid_input(format!("not JSON: {}", describe(&error))))?;
    match numbers(text).find_map(inexact) {
        None => Ok(value),
        Some(message) => Err(Error::invalid_input(message)),
    }
}

/// Returns an error message if `serde_json` would change this number.
fn inexact(token: &str) -> Option<&'static str> {
    let integer = !token.contains(['.', 'e', 'E']);
    if integer && token.parse::<i64>().is_err() && token.parse::<u64>().is_err() {
        return Some(
            "the JSON has an integer beyond 64 bits, which would lose digits; write it as a string",
        );
    }
    let lost = !integer && token.parse().is_ok_and(|nearest| range::is_lost(token, nearest));
    lost.then_some("the JSON has a number so small that it would become zero; write it as a string")
}

/// Describes a JSON error without quoting the text.
pub(crate) fn describe(error: &serde_json::Error) -> String {
    let what = match error.classify() {
        // Only this error has this text, and it quotes nothing.
        _ if error.to_string().starts_with("number out of range") => {
            "a number beyond the largest floating-point number"
        }
        serde_json::error::Category::Eof => "unexpected end of the text",
        serde_json::error::Category::Data => "a value of the wrong type",
        _ => "a syntax error",
    };
    format!("{what} at line {} column {}", error.line(), error.column())
}

/// Returns the numbers of a valid JSON text.
fn numbers(text: &str) -> impl Iterator<Item = &str> {
    let bytes = text.as_bytes();
    let mut at = 0;
    std::iter::from_fn(move || {
        while at < bytes.len() {
            match bytes[at] {
                b'"' => at = string_end(bytes, at),
                b'-' | b'0'..=b'9' => {
                    let start = at;
                    at += bytes[at..].iter().take_while(|b| is_number_byte(**b)).count();
                    return Some(&text[start..at]);
                }
                _ => at += 1,
            }
        }
        None
    })
}

fn is_number_byte(byte: u8) -> bool {
    byte.is_ascii_digit() || matches!(byte, b'-' | b'+' | b'.' | b'e' | b'E')
}

/// Returns the position after the string that begins at `start`.
fn string_end(bytes: &[u8], start: usize) -> usize {
    let mut at = start + 1;
    while at < bytes.len() && bytes[at] != b'"' {
        at += if bytes[at] == b'\\' { 2 } else { 1 };
    }
    at + 1
}
