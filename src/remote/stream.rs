//! A blocking stream with optional TLS.

use std::io::{self, Read, Write};
use std::sync::Arc;

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, StreamOwned};

#[cfg(feature = "redis")]
use super::Endpoint;
use super::{Deadline, Socket};

/// A connection to a server, with or without TLS.
#[derive(Debug)]
pub(crate) enum Stream {
    /// Without TLS.
    Plain(Socket),
    /// With TLS.
    Encrypted(Box<StreamOwned<ClientConnection, Socket>>),
}

impl Stream {
    /// Connects, and performs the TLS handshake if `tls` is given.
    #[cfg(feature = "redis")]
    pub(crate) fn open(
        endpoint: &Endpoint,
        tls: Option<&Arc<ClientConfig>>,
        max_response: u64,
        deadline: Deadline,
    ) -> io::Result<Self> {
        let socket = Socket::connect(endpoint, max_response, deadline)?;
        match tls {
            Some(config) => Self::encrypt(socket, endpoint.host(), config),
            None => Ok(Self::Plain(socket)),
        }
    }

    /// Performs the TLS handshake. Completing it here reports a rejected certificate as an error of
    /// connecting, not of the first request.
    pub(crate) fn encrypt(
        socket: Socket,
        host: &str,
        config: &Arc<ClientConfig>,
    ) -> io::Result<Self> {
        let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
        let connection = ClientConnection::new(config.clone(), name).map_err(io::Error::other)?;
        let mut stream = Box::new(StreamOwned::new(connection, socket));
        while stream.conn.is_handshaking() {
            stream.conn.complete_io(&mut stream.sock)?;
        }
        Ok(Self::Encrypted(stream))
    }

    /// Begins a request, and sets the deadline of its response.
    pub(crate) fn begin(&mut self, deadline: Deadline) {
        match self {
            Self::Plain(socket) => socket.begin(deadline),
            Self::Encrypted(stream) => stream.sock.begin(deadline),
        }
    }

    /// Returns whether an idle connection can be used; see [`Socket::is_quiet`].
    pub(crate) fn is_quiet(&self) -> bool {
        match self {
            Self::Plain(socket) => socket.is_quiet(),
            Self::Encrypted(stream) => stream.sock.is_quiet(),
        }
    }
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(socket) => socket.read(buffer),
            Self::Encrypted(stream) => stream.read(buffer),
        }
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(socket) => socket.write(bytes),
            Self::Encrypted(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(_) => Ok(()),
            Self::Encrypted(stream) => stream.flush(),
        }
    }
}
