//! Options of the encoding of records, which do not affect decoding.

use crate::uri::Uri;
use crate::{Error, Result};

/// The format of new records.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Format {
    #[default]
    Json,
    #[cfg(feature = "msgpack")]
    MessagePack,
}

impl Format {
    /// Parses the name of a format.
    ///
    /// # Errors
    ///
    /// Fails if there is no such format, or its cargo feature is not enabled.
    pub(crate) fn named(name: &str) -> Result<Self> {
        match name.to_ascii_lowercase().as_str() {
            "json" => Ok(Self::Json),
            #[cfg(feature = "msgpack")]
            "msgpack" => Ok(Self::MessagePack),
            #[cfg(not(feature = "msgpack"))]
            "msgpack" => Err(Error::invalid_config(
                "`format=msgpack` requires the cargo feature `msgpack` of hilcat",
            )),
            _ => Err(Error::invalid_config("unknown `format`; the formats are json, msgpack")),
        }
    }
}

/// The encoding of a [`Codec`](super::Codec), which decodes records of every encoding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CodecOptions {
    pub(crate) format: Format,
    /// Records that are longer than this are compressed.
    pub(crate) compress_above: Option<usize>,
}

impl CodecOptions {
    /// The names of the options in a URI.
    pub const NAMES: &[&str] = &["format", "compress"];

    /// Takes the options of a URI: `format=json` or `msgpack`, and `compress=1kb`, the size above
    /// which records are compressed.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidConfig`](crate::ErrorKind::InvalidConfig), naming the allowed values or
    /// the required cargo feature.
    pub fn take(uri: &mut Uri) -> Result<Self> {
        let format = uri.take("format").map(|name| Format::named(&name)).transpose()?;
        Ok(Self {
            format: format.unwrap_or_default(),
            compress_above: uri.take("compress").map(|size| compress_above(&size)).transpose()?,
        })
    }
}

/// Parses the option `compress`.
///
/// # Errors
///
/// Fails if it is not a size, or the cargo feature is not enabled.
pub(crate) fn compress_above(text: &str) -> Result<usize> {
    if cfg!(not(feature = "zstd")) {
        return Err(Error::invalid_config(
            "the option `compress` requires the cargo feature `zstd` of hilcat",
        ));
    }
    parse_size(text).ok_or_else(|| {
        Error::invalid_config(
            "the option `compress` is not a size; use the size above which records are compressed, such as 1kb or 4096",
        )
    })
}

/// Parses a number of bytes: `4096`, `1kb`, `2 MiB`. A kilobyte has 1,024 bytes.
pub(crate) fn parse_size(text: &str) -> Option<usize> {
    let text = text.trim().to_ascii_lowercase();
    let digits = text.trim_end_matches(|c: char| !c.is_ascii_digit());
    let unit = match text[digits.len()..].trim() {
        "" | "b" => 1,
        "k" | "kb" | "kib" => 1 << 10,
        "m" | "mb" | "mib" => 1 << 20,
        _ => return None,
    };
    digits.parse::<usize>().ok()?.checked_mul(unit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_units() {
        for (text, bytes) in [("0", 0), ("4096", 4_096), ("1kb", 1_024), ("2 MiB", 2 << 20)] {
            assert_eq!(parse_size(text), Some(bytes), "{text}");
        }
        for text in ["", "kb", "-1", "1.5kb", "1tb", "99999999999999999999"] {
            assert_eq!(parse_size(text), None, "{text}");
        }
    }

    #[test]
    fn unknown_formats_list_the_known_ones() {
        let mut uri: Uri = "redis://host?format=xml".parse().unwrap();
        let error = CodecOptions::take(&mut uri).unwrap_err().to_string();
        assert!(error.contains("json, msgpack"), "{error}");
        let mut uri: Uri = "redis://host?format=JSON&timeout=3s".parse().unwrap();
        assert_eq!(CodecOptions::take(&mut uri).unwrap(), CodecOptions::default());
    }
}
