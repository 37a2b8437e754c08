//! The first exchange of a connection: greeting, encryption and login.

use std::panic::{AssertUnwindSafe, catch_unwind};

use mysql_common::constants::CapabilityFlags as Flags;
use mysql_common::{crypto, scramble};

use super::failure::Trouble;
use super::target::Target;
use super::wire::{Parts, Wire};
use crate::remote::tls::SslMode;
use crate::remote::{Deadline, Endpoint, Socket, Stream};

/// The character set `utf8mb4`, by the number of a collation that every server has.
const UTF8MB4: u8 = 45;

/// How many exchanges a login may take: no plugin needs more than three.
const ROUNDS: usize = 8;

/// The longest public key that is looked at: one of 16,384 bits has half of it.
const LONGEST_KEY: usize = 8 << 10;

/// What a server says first.
struct Greeting {
    capabilities: Flags,
    /// What the proof of the password is made with.
    nonce: Vec<u8>,
    plugin: Vec<u8>,
}

/// Connects, encrypts as the target asks for, and logs in.
pub(super) fn connect(target: &Target, deadline: Deadline) -> Result<Wire, Trouble> {
    let socket = Socket::connect(&target.endpoint, target.max_response, deadline)
        .map_err(|error| Trouble::Own(target.endpoint.unreachable(&error)))?;
    let key_is_allowed = target.public_key_retrieval || socket.is_local();
    let mut wire = Wire::new(Stream::Plain(socket));
    let mut payload = Vec::new();
    wire.receive(&mut payload)?;
    let greeting = Greeting::read(&payload)?;
    let encrypted = target.encrypts(greeting.capabilities.contains(Flags::CLIENT_SSL))?;
    let capabilities = capabilities(encrypted);
    if encrypted {
        wire.send(&response_head(capabilities))?;
        wire = wire.encrypt(|stream| encrypt(stream, target))?;
    }
    wire.send(&response(target, &greeting, capabilities))?;
    let private = encrypted || matches!(target.endpoint, Endpoint::Unix(_));
    Login { wire: &mut wire, target, nonce: greeting.nonce, private, key_is_allowed }.finish()?;
    Ok(wire)
}

fn encrypt(stream: Stream, target: &Target) -> std::io::Result<Stream> {
    match stream {
        Stream::Plain(socket) => Stream::encrypt(socket, target.endpoint.host(), &target.tls),
        encrypted => Ok(encrypted),
    }
}

impl Target {
    /// Whether the connection to a server that can, or cannot, encrypt is encrypted.
    fn encrypts(&self, can: bool) -> Result<bool, Trouble> {
        match (self.mode, &self.endpoint) {
            (SslMode::Disable, _) | (_, Endpoint::Unix(_)) => Ok(false),
            (SslMode::Prefer, _) => Ok(can),
            _ if can => Ok(true),
            _ => Err(Trouble::refused("the server cannot encrypt, which `ssl-mode` asks for")),
        }
    }
}

fn capabilities(encrypted: bool) -> Flags {
    let always = Flags::CLIENT_LONG_PASSWORD
        // An update that changes nothing counts its row, as on the other engines.
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
    fn read(payload: &[u8]) -> Result<Self, Trouble> {
        let mut parts = Parts(payload);
        if parts.number(1)? != 10 {
            return Err(Trouble::refused("the server does not speak version 10 of the protocol"));
        }
        let _version = parts.until_nul();
        let _connection = parts.number(4)?;
        let mut nonce = parts.bytes(8)?.to_vec();
        parts.bytes(1)?;
        let low = parts.number(2)?;
        let _charset_and_status = parts.bytes(3)?;
        let capabilities = Flags::from_bits_truncate((low | parts.number(2)? << 16) as u32);
        if !capabilities.contains(Flags::CLIENT_PROTOCOL_41 | Flags::CLIENT_PLUGIN_AUTH) {
            return Err(Trouble::refused("the server is too old, or none of MySQL"));
        }
        let whole = parts.number(1)? as usize;
        parts.bytes(10)?;
        let rest = parts.bytes(whole.saturating_sub(8).max(13))?;
        nonce.extend_from_slice(rest.strip_suffix(&[0]).unwrap_or(rest));
        Ok(Self { capabilities, nonce, plugin: parts.until_nul().to_vec() })
    }
}

/// What a login begins with; alone it asks for encryption.
fn response_head(capabilities: Flags) -> Vec<u8> {
    let mut bytes = capabilities.bits().to_le_bytes().to_vec();
    bytes.extend_from_slice(&(1_u32 << 30).to_le_bytes());
    bytes.push(UTF8MB4);
    bytes.extend_from_slice(&[0; 23]);
    bytes
}

fn response(target: &Target, greeting: &Greeting, capabilities: Flags) -> Vec<u8> {
    // A plugin that is not known answers nothing: the server then names another one, or the user's.
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

/// The proof of a password by a plugin that is known.
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

/// A login under way.
struct Login<'a> {
    wire: &'a mut Wire,
    target: &'a Target,
    nonce: Vec<u8>,
    /// Whether the server takes the password as it is: the connection is encrypted, or a Unix
    /// socket.
    private: bool,
    /// Whether the password may be encrypted with a key that the server supplies.
    key_is_allowed: bool,
}

impl Login<'_> {
    fn finish(mut self) -> Result<(), Trouble> {
        let mut payload = Vec::new();
        for _ in 0..ROUNDS {
            self.wire.receive(&mut payload)?;
            match payload[..] {
                [0, ..] => return Ok(()),
                [0xfe, ref request @ ..] => self.switch(request)?,
                // The server knows the password's hash: its OK follows.
                [1, 3] => {}
                [1, 4] => self.send_password()?,
                _ => return Err(Trouble::Malformed("an answer that no login has")),
            }
        }
        Err(Trouble::Malformed("a login without an end"))
    }

    /// Uses the plugin that the server asks for.
    fn switch(&mut self, request: &[u8]) -> Result<(), Trouble> {
        let mut parts = Parts(request);
        let plugin = parts.until_nul();
        self.nonce = parts.0.strip_suffix(&[0]).unwrap_or(parts.0).to_vec();
        let proof = proof(plugin, &self.nonce, &self.target.password).ok_or_else(|| {
            Trouble::refused(format!(
                "the user logs in by `{}`; hilcat knows caching_sha2_password and mysql_native_password",
                name_of(plugin)
            ))
        })?;
        self.wire.send(&proof)
    }

    /// Hands the password over, which the server has to see to compare it with its hash.
    fn send_password(&mut self) -> Result<(), Trouble> {
        let mut password = self.target.password.clone().into_bytes();
        password.push(0);
        if self.private {
            return self.wire.send(&password);
        }
        if !self.key_is_allowed {
            return Err(Trouble::refused(
                "the server wants the password encrypted with a key that it supplies over a connection without TLS, where anybody in between may supply one; use ssl-mode=required, or allow it by allow_public_key_retrieval=true",
            ));
        }
        self.wire.send(&[2])?;
        let mut payload = Vec::new();
        self.wire.receive(&mut payload)?;
        let encrypted = encrypted(&password, &self.nonce, payload.get(1..).unwrap_or_default())?;
        self.wire.send(&encrypted)
    }
}

/// The name of a plugin, as far as it can be one.
fn name_of(plugin: &[u8]) -> String {
    let plausible = |byte: &&u8| byte.is_ascii_alphanumeric() || **byte == b'_';
    plugin.iter().take_while(plausible).take(64).map(|byte| char::from(*byte)).collect()
}

/// A password, encrypted by a public key in PEM.
fn encrypted(password: &[u8], nonce: &[u8], key: &[u8]) -> Result<Vec<u8>, Trouble> {
    const BAD: Trouble = Trouble::Malformed("a public key that is none");
    if key.len() > LONGEST_KEY || nonce.is_empty() {
        return Err(BAD);
    }
    let masked = password.iter().zip(nonce.iter().cycle()).map(|(byte, mask)| byte ^ mask);
    let masked: Vec<u8> = masked.collect();
    // The library panics over a key that it cannot read.
    catch_unwind(AssertUnwindSafe(|| crypto::encrypt(&masked, key))).map_err(|_| BAD)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed test panics")]

    use super::*;

    #[test]
    fn a_greeting_is_read_or_refused() {
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
    fn a_key_that_is_none_is_refused() {
        for key in ["", "-----BEGIN PUBLIC KEY-----\nMA==\n-----END PUBLIC KEY-----\n"] {
            assert!(encrypted(b"secret\0", b"nonce", key.as_bytes()).is_err());
        }
        assert!(encrypted(b"secret\0", b"", b"").is_err());
    }
}
