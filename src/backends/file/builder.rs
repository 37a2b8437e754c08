//! The options of the file backend.

use std::path::PathBuf;
use std::time::Duration;

use super::Files;
use super::format::Content;
use super::name::{Names, is_suffix};
use crate::clock::SharedClock;
use crate::codec::{CodecOptions, Format, compress_above};
use crate::store::uri::decode;
use crate::store::{Options, Uri};
use crate::{Error, Result};

/// The names of the options in a URI.
pub(super) const NAMES: &[&str] = &["format", "suffix", "layout", "compress", "synchronous"];

/// Builds a [`Files`]; created by [`Files::json`], [`Files::text`] and [`Files::binary`].
#[derive(Debug, Clone)]
#[must_use = "a builder does nothing until it is opened"]
pub struct FilesBuilder {
    root: PathBuf,
    kind: Kind,
    codec: CodecOptions,
    suffix: Option<String>,
    plain: bool,
    durable: bool,
    pub(super) timeout: Duration,
    clock: SharedClock,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Records,
    Text,
    Binary,
}

impl FilesBuilder {
    pub(super) fn new(root: PathBuf, kind: Kind) -> Self {
        let timeout = Options::default().timeout;
        Self {
            root,
            kind,
            codec: CodecOptions::default(),
            suffix: None,
            plain: false,
            durable: true,
            timeout,
            clock: SharedClock::default(),
        }
    }

    /// Sets the suffix of file names. The default is `.json`, `.txt` or `.bin`, and with
    /// [`plain`](FilesBuilder::plain) `.json` or nothing.
    ///
    /// With an empty suffix, slashes in keys are escaped: otherwise a directory could have the name
    /// of another key's file.
    pub fn suffix(mut self, suffix: impl Into<String>) -> Self {
        self.suffix = Some(suffix.into());
        self
    }

    /// Shares files with the Python package: the key itself is the path, and the file contains the
    /// bare value. Keys that are not a path inside the directory are errors.
    pub fn plain(mut self) -> Self {
        self.plain = true;
        self
    }

    /// Writes records as MessagePack. Existing records with the same [suffix](FilesBuilder::suffix)
    /// can be read in either format.
    #[cfg(feature = "msgpack")]
    pub fn message_pack(mut self) -> Self {
        self.codec.format = Format::MessagePack;
        self
    }

    /// Compresses records that are longer than this.
    #[cfg(feature = "zstd")]
    pub fn compress_above(mut self, bytes: usize) -> Self {
        self.codec.compress_above = Some(bytes);
        self
    }

    /// Sets whether a write is on the disk before it is acknowledged, and so survives a power
    /// failure; it is by default. Otherwise it only survives a crash of the program. Files are
    /// written atomically in either case.
    pub fn durable(mut self, durable: bool) -> Self {
        self.durable = durable;
        self
    }

    /// Sets how long a write waits for the writes of other threads and processes; 5 seconds by
    /// default.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    pub(super) fn shared_clock(mut self, clock: SharedClock) -> Self {
        self.clock = clock;
        self
    }

    /// Opens the directory, which is created when the first scope is opened.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidConfig`](crate::ErrorKind::InvalidConfig) if the suffix is not allowed,
    /// the directory is empty, or an option for records is given for other files.
    pub fn open(self) -> Result<Files> {
        let content = self.content()?;
        let suffix = self.suffix.unwrap_or_else(|| default_suffix(content, self.plain).into());
        if !is_suffix(&suffix, self.plain) {
            return Err(Error::invalid_config(
                "the suffix of files is not allowed; use up to 32 letters, digits, dots, hyphens and underscores, starting with one of the latter three, or an empty one",
            ));
        }
        let root = std::path::absolute(&self.root).map_err(|error| {
            Error::invalid_config(
                "the URI has no directory; write it as file:///absolute/path or file:relative/path",
            )
            .with_source(error)
        })?;
        let names = Names { suffix, plain: self.plain };
        let (durable, timeout, clock) = (self.durable, self.timeout, self.clock);
        Ok(Files { root, names, content, durable, timeout, clock, must_exist: false })
    }

    fn content(&self) -> Result<Content> {
        let written = match (self.kind, self.plain) {
            (Kind::Records, false) => return Ok(Content::Records(self.codec)),
            (Kind::Records, true) => Content::Bare,
            (Kind::Text, _) => Content::Text,
            (Kind::Binary, _) => Content::Binary,
        };
        match self.codec == CodecOptions::default() {
            true => Ok(written),
            false => Err(Error::invalid_config(
                "`format=msgpack` and `compress` apply to records only, not to files of text, of bytes or of `layout=plain`; leave them out",
            )),
        }
    }

    /// Takes the options from a URI.
    pub(super) fn from_uri(uri: &mut Uri) -> Result<Self> {
        let (kind, codec) = kind(uri)?;
        let mut builder = Self { codec, ..Self::new(path_of(uri.rest())?, kind) };
        builder.suffix = uri.take("suffix");
        let layouts = [("hilcat", false), ("plain", true)];
        builder.plain = uri.take_choice("layout", &layouts)?.unwrap_or_default();
        let durable = [("full", true), ("off", false)];
        builder.durable = uri.take_choice("synchronous", &durable)?.unwrap_or(true);
        Ok(builder)
    }
}

fn kind(uri: &mut Uri) -> Result<(Kind, CodecOptions)> {
    let compress_above = uri.take("compress").map(|size| compress_above(&size)).transpose()?;
    let name = uri.take("format").map(|name| name.to_ascii_lowercase());
    let kind = match name.as_deref() {
        Some("text") => Kind::Text,
        Some("binary") => Kind::Binary,
        _ => Kind::Records,
    };
    let format = match (kind, name) {
        (Kind::Records, Some(name)) => format(&name)?,
        _ => Format::default(),
    };
    Ok((kind, CodecOptions { format, compress_above }))
}

fn format(name: &str) -> Result<Format> {
    Format::named(name).map_err(|error| match name.eq_ignore_ascii_case("msgpack") {
        true => error,
        false => Error::invalid_config("the option `format` is one of json, text, binary, msgpack"),
    })
}

fn default_suffix(content: Content, plain: bool) -> &'static str {
    match content {
        Content::Text | Content::Binary if plain => "",
        Content::Text => ".txt",
        Content::Binary => ".bin",
        #[cfg(feature = "msgpack")]
        Content::Records(options) if options.format == Format::MessagePack => ".msgpack",
        Content::Records(_) | Content::Bare => ".json",
    }
}

/// Parses the path of a URI (RFC 8089): `///absolute`, `//localhost/absolute`, `/absolute` or
/// `relative`.
fn path_of(rest: &str) -> Result<PathBuf> {
    let path = match rest.strip_prefix("//") {
        Some(with_host) => with_host.strip_prefix("localhost").unwrap_or(with_host),
        None => rest,
    };
    let wrong = rest.starts_with("//") && !path.starts_with('/');
    let path = decode(path)?;
    match wrong || path.is_empty() || path.contains('\0') {
        false => Ok(PathBuf::from(path)),
        true => Err(Error::invalid_config(
            "the URI has no valid directory; write it as file:///absolute/path or file:relative/path",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uris_are_parsed_into_paths() {
        for (rest, path) in [
            ("///tmp/a%20b", "/tmp/a b"),
            ("//localhost/tmp", "/tmp"),
            ("/tmp", "/tmp"),
            ("rel/dir", "rel/dir"),
            ("./rel", "./rel"),
        ] {
            assert_eq!(path_of(rest).unwrap(), PathBuf::from(path), "{rest}");
        }
        for wrong in ["", "//", "//host/dir", "//dir", "///a%00"] {
            assert!(path_of(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn incompatible_options_are_refused() {
        let open = |uri: &str| {
            let mut uri: Uri = uri.parse()?;
            let builder = FilesBuilder::from_uri(&mut uri)?;
            uri.finish(NAMES)?;
            builder.open()
        };
        assert!(open("file:///x?format=text&layout=plain&suffix=.txt").is_ok());
        for wrong in [
            "file:///x?format=xml",
            "file:///x?suffix=a/b",
            "file:///x?suffix=json",
            "file:///x?format=text&compress=1kb",
            "file:///x?layout=plain&compress=1kb",
            "file:///x?layout=plain&format=msgpack",
            "file:///x?layout=plane",
            "file:///x?sufix=.json",
        ] {
            let error = open(wrong).unwrap_err();
            assert_eq!(error.kind(), crate::ErrorKind::InvalidConfig, "{wrong}");
        }
    }
}
