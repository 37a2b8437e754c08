//! The start of a connection: greeting, TLS and login.

use std::panic::{AssertUnwindSafe, catch_unwind};

use mysql_common::constants::CapabilityFlags as Flags;
use mysql_common::{crypto, scramble};

use super::error::ProtocolError;
use super::packet::{PacketReader, PacketStream};
use super::target::Target;
use crate::remote::tls::SslMode;
use crate::remote::{Deadline, Endpoint, Socket, Stream};

/// The number of a `utf8mb4` collation that every server has.
const UTF8MB4: u8 = 45;

/// The maximum number of exchanges of a login; no plugin needs more than three.
const MAX_ROUNDS: usize = 8;

/// The maximum size of a public key in bytes; one of 16,384 bits has half of it.
const MAX_KEY_SIZE: usize = 8 << 10;

/// The first packet of a server.
struct Greeting {
    capabilities: Flags,
    /// The challenge that the password is scrambled with.
    nonce: Vec<u8>,
    plugin: Vec<u8>,
}

/// Connects, starts TLS as the target requires, and logs in.
pub(super) fn connect(target: &Target, deadline: Deadline) -> Result<PacketStream, ProtocolError> {
    let socket = Socket::connect(&target.endpoint, target.max_response, deadline)
        .map_err(|error| ProtocolError::Hilcat(target.endpoint.unreachable(&error)))?;
    let key_is_allowed = target.public_key_retrieval || socket.is_local();
    let mut packets = PacketStream::new(Stream::Plain(socket));
    let mut payload = Vec::new();
    packets.receive(&mut payload)?;
    let greeting = Greeting::read(&payload)?;
    let encrypted = target.uses_tls(greeting.capabilities.contains(Flags::CLIENT_SSL))?;
    let capabilities = capabilities(encrypted);
    if encrypted {
        packets.send(&response_head(capabilities))?;
        packets = packets.encrypt(|stream| encrypt(stream, target))?;
    }
    packets.send(&response(target, &greeting, capabilities))?;
    let private = encrypted || matches!(target.endpoint, Endpoint::Unix(_));
    Login { packets: &mut packets, target, nonce: greeting.nonce, private, key_is_allowed }
        .finish()?;
    Ok(packets)
}

fn encrypt(stream: Stream, target: &Target) -> std::io::Result<Stream> {
    match stream {
        Stream::Plain(socket) => Stream::encrypt(socket, target.endpoint.host(), &target.tls),
        encrypted => Ok(encrypted),
    }
}

impl Target {
    /// Returns whether to use TLS with a server that supports it or not.
    fn uses_tls(&self, supported: bool) -> Result<bool, ProtocolError> {
        match (self.mode, &self.endpoint) {
            (SslMode::Disable, _) | (_, Endpoint::Unix(_)) => Ok(false),
            (SslMode::Prefer, _) => Ok(supported),
            _ if supported => Ok(true),
            _ => Err(ProtocolError::refused(
                "the server does not support TLS, which `sslmode` requires",
            )),
        }
    }
}

fn capabilities(encrypted: bool) -> Flags {
    let always = Flags::CLIENT_LONG_PASSWORD
        // As on the other engines, an update counts the rows that it leaves unchanged.
        | Flags::CLIENT_FOUND_ROWS
        | Flags::CLIENT_LONG_FLAG
        | Flags::CLIENT_CONNECT_WITH_DB
        | Flags::CLIENT_PROTOCOL_41
        | Flags::CLIENT_TRANSACTIONS
        | Flags::CLIENT_SECURE_CONNECTION
        | Flags::CLIENT_MULTI_STATEMENTS
        | Flags::CLIENT_MULTI_RESULTS
        | Flags::CLIENT_PS_MULTI_RESULTS
        | Flags::CLIENT_PLUGIN_AUTH;
    if encrypted { always | Flags::CLIENT_SSL } else { always }
}

impl Greeting {
    fn read(payload: &[u8]) -> Result<Self, ProtocolError> {
        let mut parts = PacketReader(payload);
        if parts.number(1)? != 10 {
            return Err(ProtocolError::refused(
                "the server does not support version 10 of the protocol",
            ));
        }
        let _version = parts.until_nul();
        let _connection = parts.number(4)?;
        let mut nonce = parts.bytes(8)?.to_vec();
        parts.bytes(1)?;
        let low = parts.number(2)?;
        let _charset_and_status = parts.bytes(3)?;
        let capabilities = Flags::from_bits_truncate((low | parts.number(2)? << 16) as u32);
        if !capabilities.contains(Flags::CLIENT_PROTOCOL_41 | Flags::CLIENT_PLUGIN_AUTH) {
            return Err(ProtocolError::refused(
                "the server is too old, or is not a MySQL or MariaDB server",
            ));
        }
        let nonce_length = parts.number(1)? as usize;
        parts.bytes(10)?;
        let rest = parts.bytes(nonce_length.saturating_sub(8).max(13))?;
        nonce.extend_from_slice(rest.strip_suffix(&[0]).unwrap_or(rest));
        Ok(Self { capabilities, nonce, plugin: parts.until_nul().to_vec() })
    }
}

/// Returns the start of the login packet, which alone requests TLS.
fn response_head(capabilities: Flags) -> Vec<u8> {
    let mut bytes = capabilities.bits().to_le_bytes().to_vec();
    bytes.extend_from_slice(&(1_u32 << 30).to_le_bytes());
    bytes.push(UTF8MB4);
    bytes.extend_from_slice(&[0; 23]);
    bytes
}

fn response(target: &Target, greeting: &Greeting, capabilities: Flags) -> Vec<u8> {
    // The proof for an unknown plugin is empty. The server then requests the user's plugin.
    let proof = proof(&greeting.plugin, &greeting.nonce, &target.password).unwrap_or_default();
    let mut bytes = response_head(capabilities);
    bytes.extend_from_slice(target.user.as_bytes());
    bytes.extend_from_slice(&[0, proof.len() as u8]);
    bytes.extend_from_slice(&proof);
    for text in [target.database.as_bytes(), &greeting.plugin] {
        bytes.extend_from_slice(text);
        bytes.push(0);
    }
    bytes
}

/// Returns the proof of a password for a plugin, or `None` if the plugin is unknown.
fn proof(plugin: &[u8], nonce: &[u8], password: &str) -> Option<Vec<u8>> {
    let password = password.as_bytes();
    let proof = match plugin {
        b"mysql_native_password" => {
            scramble::scramble_native(nonce, password).map(|proof| proof.to_vec())
        }
        b"caching_sha2_password" => {
            scramble::scramble_sha256(nonce, password).map(|proof| proof.to_vec())
        }
        _ => return None,
    };
    // An empty password has an empty proof.
    Some(proof.unwrap_or_default())
}

/// A login in progress.
struct Login<'a> {
    packets: &'a mut PacketStream,
    target: &'a Target,
    nonce: Vec<u8>,
    /// Whether the password can be sent unencrypted: the connection uses TLS or a Unix socket.
    private: bool,
    /// Whether the password may be sent encrypted with a key that the server supplies.
    key_is_allowed: bool,
}

impl Login<'_> {
    fn finish(mut self) -> Result<(), ProtocolError> {
        let mut payload = Vec::new();
        for _ in 0..MAX_ROUNDS {
            self.packets.receive(&mut payload)?;
            match payload[..] {
                [0, ..] => return Ok(()),
                [0xfe, ref request @ ..] => self.switch(request)?,
                // The server verified the proof with its cache; an OK packet follows.
                [1, 3] => {}
                [1, 4] => self.send_password()?,
                _ => return Err(ProtocolError::Malformed("an unexpected packet during the login")),
            }
        }
        Err(ProtocolError::Malformed("a login that does not end"))
    }

    /// Answers the server's request to use another plugin.
    fn switch(&mut self, request: &[u8]) -> Result<(), ProtocolError> {
        let mut parts = PacketReader(request);
        let plugin = parts.until_nul();
        self.nonce = parts.0.strip_suffix(&[0]).unwrap_or(parts.0).to_vec();
        let proof = proof(plugin, &self.nonce, &self.target.password).ok_or_else(|| {
            ProtocolError::refused(format!(
                "the user logs in with the plugin `{}`, which is not supported; use caching_sha2_password or mysql_native_password",
                name_of(plugin)
            ))
        })?;
        self.packets.send(&proof)
    }

    /// Sends the password itself, which the server needs to compute its hash.
    fn send_password(&mut self) -> Result<(), ProtocolError> {
        let mut password = self.target.password.clone().into_bytes();
        password.push(0);
        if self.private {
            return self.packets.send(&password);
        }
        if !self.key_is_allowed {
            return Err(ProtocolError::refused(
                "the server requires the password encrypted with a key that it supplies, over a connection without TLS, where an attacker could supply the key; use sslmode=require, or allow it with allow_public_key_retrieval=true",
            ));
        }
        self.packets.send(&[2])?;
        let mut payload = Vec::new();
        self.packets.receive(&mut payload)?;
        let encrypted =
            encrypt_password(&password, &self.nonce, payload.get(1..).unwrap_or_default())?;
        self.packets.send(&encrypted)
    }
}

/// Returns the valid prefix of a plugin's name.
fn name_of(plugin: &[u8]) -> String {
    let plausible = |byte: &&u8| byte.is_ascii_alphanumeric() || **byte == b'_';
    plugin.iter().take_while(plausible).take(64).map(|byte| char::from(*byte)).collect()
}

/// Encrypts a password with a public key in PEM.
fn encrypt_password(password: &[u8], nonce: &[u8], key: &[u8]) -> Result<Vec<u8>, ProtocolError> {
    const BAD: ProtocolError = ProtocolError::Malformed("a malformed public key");
    if key.len() > MAX_KEY_SIZE || nonce.is_empty() {
        return Err(BAD);
    }
    let masked = password.iter().zip(nonce.iter().cycle()).map(|(byte, mask)| byte ^ mask);
    let masked: Vec<u8> = masked.collect();
    // The library panics on a malformed key.
    catch_unwind(AssertUnwindSafe(|| crypto::encrypt(&masked, key))).map_err(|_| BAD)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed test panics")]

    use super::*;

    #[test]
    fn a_greeting_is_parsed_or_rejected() {
        let mut greeting = b"\x0a8.0.31\0\x01\0\0\0abcdefgh\0".to_vec();
        greeting.extend_from_slice(&[0xff, 0xff, 45, 2, 0, 0xff, 0xff, 21]);
        greeting.extend_from_slice(&[0; 10]);
        greeting.extend_from_slice(b"ijklmnopqrst\0caching_sha2_password\0");
        let read = Greeting::read(&greeting).unwrap();
        assert_eq!(read.nonce, b"abcdefghijklmnopqrst");
        assert_eq!(read.plugin, b"caching_sha2_password");
        assert!((0..greeting.len() - 23).all(|end| Greeting::read(&greeting[..end]).is_err()));
        greeting[0] = 9;
        assert!(Greeting::read(&greeting).is_err());
    }

    #[test]
    fn a_malformed_key_is_rejected() {
        for key in ["", "-----BEGIN PUBLIC KEY-----\nMA==\n-----END PUBLIC KEY-----\n"] {
            assert!(encrypt_password(b"secret\0", b"nonce", key.as_bytes()).is_err());
        }
        assert!(encrypt_password(b"secret\0", b"", b"").is_err());
    }
}
