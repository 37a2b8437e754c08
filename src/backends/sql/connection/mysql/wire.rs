//! Packets of the MySQL protocol over a stream.

use std::io::{self, BufReader, Read, Write};

use super::failure::Trouble;
use crate::remote::{Deadline, Stream};

/// The longest payload of one packet: what is longer is sent in several, the last one shorter.
const LONGEST: usize = 0xff_ff_ff;

/// What is read of a long payload at once: no more is allocated than has arrived.
const PIECE: usize = 1 << 20;

/// A stream of packets.
pub(super) struct Wire {
    stream: BufReader<Stream>,
    sequence: u8,
}

impl Wire {
    pub(super) fn new(stream: Stream) -> Self {
        Self { stream: BufReader::with_capacity(16 << 10, stream), sequence: 0 }
    }

    /// Encrypts the stream by `encrypt`: nothing was read ahead, since the server waits.
    pub(super) fn encrypt(
        self,
        encrypt: impl FnOnce(Stream) -> io::Result<Stream>,
    ) -> Result<Self, Trouble> {
        if !self.stream.buffer().is_empty() {
            return Err(Trouble::Malformed("the server sent something before the encryption"));
        }
        let sequence = self.sequence;
        Ok(Self { sequence, ..Self::new(encrypt(self.stream.into_inner())?) })
    }

    pub(super) fn begin(&mut self, deadline: Deadline) {
        self.stream.get_mut().begin(deadline);
    }

    /// Whether nothing has arrived that no request asked for.
    pub(super) fn is_quiet(&self) -> bool {
        self.stream.buffer().is_empty() && self.stream.get_ref().is_quiet()
    }

    /// Sends a request: what follows is a new answer.
    pub(super) fn request(&mut self, payload: &[u8]) -> Result<(), Trouble> {
        self.sequence = 0;
        self.send(payload)
    }

    /// Sends a payload as a part of an exchange.
    pub(super) fn send(&mut self, payload: &[u8]) -> Result<(), Trouble> {
        let mut packets = Vec::with_capacity(payload.len() + 8);
        let mut rest = payload;
        loop {
            let (piece, more) = rest.split_at(rest.len().min(LONGEST));
            packets.extend_from_slice(&(piece.len() as u32).to_le_bytes()[..3]);
            packets.push(self.sequence);
            packets.extend_from_slice(piece);
            self.sequence = self.sequence.wrapping_add(1);
            rest = more;
            // A full packet is followed by another one, if need be an empty one.
            if piece.len() < LONGEST {
                break;
            }
        }
        let stream = self.stream.get_mut();
        stream.write_all(&packets)?;
        Ok(stream.flush()?)
    }

    /// The next payload of an answer, in place of what the buffer holds; an error that the server
    /// reports is one.
    pub(super) fn receive(&mut self, payload: &mut Vec<u8>) -> Result<(), Trouble> {
        payload.clear();
        loop {
            let mut header = [0; 4];
            self.stream.read_exact(&mut header)?;
            let length = u32::from_le_bytes([header[0], header[1], header[2], 0]) as usize;
            self.sequence = header[3].wrapping_add(1);
            self.read(payload, length)?;
            if length < LONGEST {
                break;
            }
        }
        match payload.first() {
            Some(0xff) => Err(Trouble::of_server(payload)),
            Some(_) => Ok(()),
            None => Err(Trouble::Malformed("an empty packet")),
        }
    }

    fn read(&mut self, payload: &mut Vec<u8>, mut length: usize) -> io::Result<()> {
        while length > 0 {
            let (at, piece) = (payload.len(), length.min(PIECE));
            payload.resize(at + piece, 0);
            self.stream.read_exact(&mut payload[at..])?;
            length -= piece;
        }
        Ok(())
    }
}

/// Reads the parts of a payload; nothing of it is trusted.
pub(super) struct Parts<'a>(pub(super) &'a [u8]);

impl<'a> Parts<'a> {
    pub(super) fn bytes(&mut self, count: usize) -> Result<&'a [u8], Trouble> {
        let (bytes, rest) = self.0.split_at_checked(count).ok_or(CUT)?;
        self.0 = rest;
        Ok(bytes)
    }

    /// A number of so many bytes, at most 8.
    pub(super) fn number(&mut self, count: usize) -> Result<u64, Trouble> {
        let mut wide = [0; 8];
        wide[..count].copy_from_slice(self.bytes(count)?);
        Ok(u64::from_le_bytes(wide))
    }

    /// A number whose first byte says how long it is; none for NULL.
    pub(super) fn length_encoded(&mut self) -> Result<Option<u64>, Trouble> {
        Ok(Some(match self.number(1)? {
            0xfb => return Ok(None),
            0xfc => self.number(2)?,
            0xfd => self.number(3)?,
            0xfe => self.number(8)?,
            0xff => return Err(CUT),
            short => short,
        }))
    }

    /// Bytes with their length before them; none for NULL.
    pub(super) fn text(&mut self) -> Result<Option<&'a [u8]>, Trouble> {
        let Some(length) = self.length_encoded()? else { return Ok(None) };
        self.bytes(usize::try_from(length).map_err(|_| CUT)?).map(Some)
    }

    /// Bytes up to a NUL, or up to the end.
    pub(super) fn until_nul(&mut self) -> &'a [u8] {
        let end = self.0.iter().position(|byte| *byte == 0).unwrap_or(self.0.len());
        let (bytes, rest) = self.0.split_at(end);
        self.0 = rest.get(1..).unwrap_or_default();
        bytes
    }
}

const CUT: Trouble = Trouble::Malformed("a packet that is cut short");

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed test panics")]

    use super::*;

    #[test]
    fn what_is_cut_short_is_an_error() {
        let mut parts = Parts(&[3, b'a', b'b', b'c', 0xfc, 1, 0, b'd', 0xfb, b'e', 0, b'f']);
        assert_eq!(parts.text().unwrap(), Some(&b"abc"[..]));
        assert_eq!(parts.text().unwrap(), Some(&b"d"[..]));
        assert_eq!(parts.text().unwrap(), None);
        assert_eq!(
            (parts.until_nul(), parts.until_nul(), parts.until_nul()),
            (&b"e"[..], &b"f"[..], &b""[..])
        );
        assert!(Parts(&[2, b'a']).text().is_err());
        assert!(Parts(&[0xfe, 255, 255, 255, 255, 255, 255, 255, 255]).text().is_err());
        assert!(Parts(&[0xff]).length_encoded().is_err());
        assert!(Parts(&[0xfd, 1]).length_encoded().is_err());
    }
}
