//! Packets of the MySQL protocol over a stream.

use std::io::{self, BufReader, Read, Write};

use super::error::ProtocolError;
use crate::remote::{Deadline, Stream};

/// The maximum payload of one packet. A longer payload is split into several packets, the last of
/// which is shorter than this.
const MAX_PAYLOAD: usize = 0xff_ff_ff;

/// A long payload is read in chunks of this size, so that memory is only allocated for data that
/// has arrived.
const CHUNK: usize = 1 << 20;

/// A stream of packets.
pub(super) struct PacketStream {
    stream: BufReader<Stream>,
    sequence: u8,
}

impl PacketStream {
    pub(super) fn new(stream: Stream) -> Self {
        Self { stream: BufReader::with_capacity(16 << 10, stream), sequence: 0 }
    }

    /// Encrypts the stream with `encrypt`.
    ///
    /// # Errors
    ///
    /// Fails if data is buffered: the server sends nothing before the handshake, so the data was
    /// injected.
    pub(super) fn encrypt(
        self,
        encrypt: impl FnOnce(Stream) -> io::Result<Stream>,
    ) -> Result<Self, ProtocolError> {
        if !self.stream.buffer().is_empty() {
            return Err(ProtocolError::Malformed("data before the TLS handshake"));
        }
        let sequence = self.sequence;
        Ok(Self { sequence, ..Self::new(encrypt(self.stream.into_inner())?) })
    }

    pub(super) fn begin(&mut self, deadline: Deadline) {
        self.stream.get_mut().begin(deadline);
    }

    /// Returns whether no unsolicited data has arrived.
    pub(super) fn is_quiet(&self) -> bool {
        self.stream.buffer().is_empty() && self.stream.get_ref().is_quiet()
    }

    /// Sends a request, which starts a new exchange.
    pub(super) fn request(&mut self, payload: &[u8]) -> Result<(), ProtocolError> {
        self.sequence = 0;
        self.send(payload)
    }

    /// Sends a payload as a part of the current exchange.
    pub(super) fn send(&mut self, payload: &[u8]) -> Result<(), ProtocolError> {
        let mut packets = Vec::with_capacity(payload.len() + 8);
        let mut rest = payload;
        loop {
            let (chunk, more) = rest.split_at(rest.len().min(MAX_PAYLOAD));
            packets.extend_from_slice(&(chunk.len() as u32).to_le_bytes()[..3]);
            packets.push(self.sequence);
            packets.extend_from_slice(chunk);
            self.sequence = self.sequence.wrapping_add(1);
            rest = more;
            // A full packet is always followed by another, which may be empty.
            if chunk.len() < MAX_PAYLOAD {
                break;
            }
        }
        let stream = self.stream.get_mut();
        stream.write_all(&packets)?;
        Ok(stream.flush()?)
    }

    /// Receives the next payload into the buffer, replacing its content. An error packet is returned
    /// as an error.
    pub(super) fn receive(&mut self, payload: &mut Vec<u8>) -> Result<(), ProtocolError> {
        payload.clear();
        loop {
            let mut header = [0; 4];
            self.stream.read_exact(&mut header)?;
            let length = u32::from_le_bytes([header[0], header[1], header[2], 0]) as usize;
            self.sequence = header[3].wrapping_add(1);
            self.read(payload, length)?;
            if length < MAX_PAYLOAD {
                break;
            }
        }
        match payload.first() {
            Some(0xff) => Err(ProtocolError::of_server(payload)),
            Some(_) => Ok(()),
            None => Err(ProtocolError::Malformed("an empty packet")),
        }
    }

    fn read(&mut self, payload: &mut Vec<u8>, mut length: usize) -> io::Result<()> {
        while length > 0 {
            let (at, chunk) = (payload.len(), length.min(CHUNK));
            payload.resize(at + chunk, 0);
            self.stream.read_exact(&mut payload[at..])?;
            length -= chunk;
        }
        Ok(())
    }
}

/// A reader of the fields of a payload. All reads are checked.
pub(super) struct PacketReader<'a>(pub(super) &'a [u8]);

impl<'a> PacketReader<'a> {
    pub(super) fn bytes(&mut self, count: usize) -> Result<&'a [u8], ProtocolError> {
        let (bytes, rest) = self.0.split_at_checked(count).ok_or(TRUNCATED)?;
        self.0 = rest;
        Ok(bytes)
    }

    /// Reads a number of `count` bytes, at most 8.
    pub(super) fn number(&mut self, count: usize) -> Result<u64, ProtocolError> {
        let mut wide = [0; 8];
        wide[..count].copy_from_slice(self.bytes(count)?);
        Ok(u64::from_le_bytes(wide))
    }

    /// Reads a length-encoded number; `None` is NULL.
    pub(super) fn length_encoded(&mut self) -> Result<Option<u64>, ProtocolError> {
        Ok(Some(match self.number(1)? {
            0xfb => return Ok(None),
            0xfc => self.number(2)?,
            0xfd => self.number(3)?,
            0xfe => self.number(8)?,
            0xff => return Err(TRUNCATED),
            short => short,
        }))
    }

    /// Reads length-prefixed bytes; `None` is NULL.
    pub(super) fn text(&mut self) -> Result<Option<&'a [u8]>, ProtocolError> {
        let Some(length) = self.length_encoded()? else { return Ok(None) };
        self.bytes(usize::try_from(length).map_err(|_| TRUNCATED)?).map(Some)
    }

    /// Reads bytes up to a NUL or the end.
    pub(super) fn until_nul(&mut self) -> &'a [u8] {
        let end = self.0.iter().position(|byte| *byte == 0).unwrap_or(self.0.len());
        let (bytes, rest) = self.0.split_at(end);
        self.0 = rest.get(1..).unwrap_or_default();
        bytes
    }
}

const TRUNCATED: ProtocolError = ProtocolError::Malformed("a truncated packet");

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed test panics")]

    use super::*;

    #[test]
    fn a_truncated_payload_is_an_error() {
        let mut parts = PacketReader(&[3, b'a', b'b', b'c', 0xfc, 1, 0, b'd', 0xfb, b'e', 0, b'f']);
        assert_eq!(parts.text().unwrap(), Some(&b"abc"[..]));
        assert_eq!(parts.text().unwrap(), Some(&b"d"[..]));
        assert_eq!(parts.text().unwrap(), None);
        assert_eq!(
            (parts.until_nul(), parts.until_nul(), parts.until_nul()),
            (&b"e"[..], &b"f"[..], &b""[..])
        );
        assert!(PacketReader(&[2, b'a']).text().is_err());
        assert!(PacketReader(&[0xfe, 255, 255, 255, 255, 255, 255, 255, 255]).text().is_err());
        assert!(PacketReader(&[0xff]).length_encoded().is_err());
        assert!(PacketReader(&[0xfd, 1]).length_encoded().is_err());
    }
}
