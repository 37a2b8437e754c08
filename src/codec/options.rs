//! How records are written. They are read whatever the options are.

use crate::uri::Uri;
use crate::{Error, Result};

/// What records are written as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Format {
    #[default]
    Json,
    #[cfg(feature = "msgpack")]
    MessagePack,
}

impl Format {
    /// Reads the name of a format.
    ///
    /// # Errors
    ///
    /// Where there is no such format, or its cargo feature is off.
    pub(crate) fn named(name: &str) -> Result<Self> {
        match name.to_ascii_lowercase().as_str() {
            "json" => Ok(Self::Json),
            #[cfg(feature = "msgpack")]
            "msgpack" => Ok(Self::MessagePack),
            #[cfg(not(feature = "msgpack"))]
            "msgpack" => Err(Error::invalid_config(
                "`format=msgpack` needs the cargo feature `msgpack` of hilcat",
            )),
            _ => Err(Error::invalid_config("the option `format` is one of json, msgpack")),
        }
    }
}

/// How a [`Codec`](super::Codec) writes; it reads all that any of them writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CodecOptions {
    pub(crate) format: Format,
    /// Records of more bytes than this are compressed.
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
    /// [`ErrorKind::InvalidConfig`](crate::ErrorKind::InvalidConfig), naming what is expected or
    /// the cargo feature that is needed.
    pub fn take(uri: &mut Uri) -> Result<Self> {
        let format = uri.take("format").map(|name| Format::named(&name)).transpose()?;
        Ok(Self {
            format: format.unwrap_or_default(),
            compress_above: uri.take("compress").map(|size| compress_above(&size)).transpose()?,
        })
    }
}

/// Reads the option `compress`.
///
/// # Errors
///
/// Where it is not a size, or the cargo feature is off.
pub(crate) fn compress_above(text: &str) -> Result<usize> {
    if cfg!(not(feature = "zstd")) {
        return Err(Error::invalid_config(
            "the option `compress` needs the cargo feature `zstd` of hilcat",
        ));
    }
    parse_size(text).ok_or_else(|| {
        Error::invalid_config(
            "the option `compress` is the size above which records are compressed, as 1kb or 4096",
        )
    })
}

/// Reads a number of bytes: `4096`, `1kb`, `2 MiB`. A kilobyte is 1,024 bytes.
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
    fn an_unknown_format_names_the_known_ones() {
        let mut uri: Uri = "redis://host?format=xml".parse().unwrap();
        let error = CodecOptions::take(&mut uri).unwrap_err().to_string();
        assert!(error.contains("json, msgpack"), "{error}");
        let mut uri: Uri = "redis://host?format=JSON&timeout=3s".parse().unwrap();
        assert_eq!(CodecOptions::take(&mut uri).unwrap(), CodecOptions::default());
    }
}
