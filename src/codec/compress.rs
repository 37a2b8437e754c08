//! Compression of records as zstd frames.

use super::{MAX_LENGTH, check_length};
use crate::{Error, Result};

/// The first bytes of a zstd frame (RFC 8878, section 3.1.1).
const MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];

#[cfg(feature = "zstd")]
pub(super) fn compress(bytes: Vec<u8>) -> Result<Vec<u8>> {
    /// The library's default level, at about half of the speed of the fastest.
    const LEVEL: i32 = 3;
    zstd::bulk::compress(&bytes, LEVEL)
        .map_err(|error| Error::unsupported("the record cannot be compressed").with_source(error))
}

#[cfg(not(feature = "zstd"))]
pub(super) fn compress(bytes: Vec<u8>) -> Result<Vec<u8>> {
    Ok(bytes)
}

/// Passes the uncompressed bytes of a record to `read`.
pub(super) fn with_plain<T>(bytes: &[u8], read: impl FnOnce(&[u8]) -> Result<T>) -> Result<T> {
    check_length(bytes.len()).map_err(|error| Error::invalid_data(error.message()))?;
    match bytes.starts_with(&MAGIC) {
        true => read(&decompress(bytes)?),
        false => read(bytes),
    }
}

/// Allocates memory as output arrives, up to the maximum length of a record.
#[cfg(feature = "zstd")]
fn decompress(bytes: &[u8]) -> Result<Vec<u8>> {
    use std::io::Read;

    let malformed = |error: std::io::Error| {
        Error::invalid_data("the stored record is not a valid zstd frame").with_source(error)
    };
    let decoder = zstd::stream::read::Decoder::with_buffer(bytes).map_err(malformed)?;
    let mut plain = Vec::new();
    decoder.take(MAX_LENGTH as u64 + 1).read_to_end(&mut plain).map_err(malformed)?;
    match plain.len() <= MAX_LENGTH {
        true => Ok(plain),
        false => Err(Error::invalid_data(format!(
            "the stored record is longer than {MAX_LENGTH} bytes after decompression"
        ))),
    }
}

#[cfg(not(feature = "zstd"))]
fn decompress(_: &[u8]) -> Result<Vec<u8>> {
    let _ = MAX_LENGTH;
    Err(Error::unsupported(
        "the stored record is compressed; enable the cargo feature `zstd` of hilcat",
    ))
}
