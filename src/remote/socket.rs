//! A blocking socket whose reads and writes end by the deadline of the call.

use std::io::{self, Read, Write};
use std::mem::MaybeUninit;
use std::net::TcpStream;
#[cfg(unix)]
use std::os::fd::OwnedFd;
#[cfg(unix)]
use std::os::unix::net::UnixStream;
#[cfg(unix)]
use std::path::Path;
use std::time::Duration;

use socket2::SockRef;
#[cfg(unix)]
use socket2::{Domain, SockAddr, Type};

use super::resolve::resolve;
#[cfg(feature = "server")]
use super::too_large;
use super::{Deadline, Endpoint};
#[cfg(feature = "server")]
use crate::Error;

/// A connected socket.
///
/// Each read and write blocks for at most the remaining time of the call, which is computed anew
/// before each of them. A server that sends single bytes slowly cannot extend the call.
#[derive(Debug)]
pub(crate) struct Socket {
    transport: Transport,
    deadline: Deadline,
    /// The timeout that is set on the transport.
    transport_timeout: Duration,
    /// The limit of the response to one request, in bytes.
    max_response: u64,
    /// The bytes that the current response may still have.
    response_left: u64,
}

/// The cause of a read error: the response exceeds the limit.
#[derive(Debug)]
struct TooLarge(u64);

impl std::fmt::Display for TooLarge {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "the response has more than {} bytes", self.0)
    }
}

impl std::error::Error for TooLarge {}

/// Returns the public error if a read failed because the response is too large.
#[cfg(feature = "server")]
pub(crate) fn too_large_error(error: &io::Error) -> Option<Error> {
    error.get_ref()?.downcast_ref::<TooLarge>().map(|TooLarge(limit)| too_large(*limit))
}

#[derive(Debug)]
enum Transport {
    Tcp(TcpStream),
    #[cfg(unix)]
    Unix(UnixStream),
}

impl Socket {
    /// Connects to a server. No response may have more than `max_response` bytes. The deadline also
    /// applies to what follows, until [`begin`](Self::begin) sets another.
    pub(crate) fn connect(
        endpoint: &Endpoint,
        max_response: u64,
        deadline: Deadline,
    ) -> io::Result<Self> {
        let transport = match endpoint {
            Endpoint::Tcp(host, port) => Transport::Tcp(connect(host, *port, deadline)?),
            #[cfg(unix)]
            Endpoint::Unix(path) => Transport::Unix(connect_unix(path, deadline)?),
            #[cfg(not(unix))]
            Endpoint::Unix(_) => {
                let message = "this system has no Unix sockets";
                return Err(io::Error::new(io::ErrorKind::Unsupported, message));
            }
        };
        Ok(Self {
            transport,
            deadline,
            transport_timeout: Duration::ZERO,
            max_response,
            response_left: max_response,
        })
    }

    /// Begins a request, and sets the deadline of its response.
    pub(crate) fn begin(&mut self, deadline: Deadline) {
        self.deadline = deadline;
        self.response_left = self.max_response;
    }

    /// Returns whether the peer is on this machine.
    #[cfg(feature = "mysql")]
    pub(crate) fn is_local(&self) -> bool {
        match &self.transport {
            Transport::Tcp(stream) => {
                stream.peer_addr().is_ok_and(|peer| peer.ip().to_canonical().is_loopback())
            }
            #[cfg(unix)]
            Transport::Unix(_) => true,
        }
    }

    /// Returns whether an idle connection can be used: neither the end of the stream nor an
    /// unsolicited byte has arrived, such as a server's notice that it closes the connection.
    pub(crate) fn is_quiet(&self) -> bool {
        let socket = self.sock_ref();
        let peeked = socket.set_nonblocking(true).and_then(|()| {
            let peeked = socket.peek(&mut [MaybeUninit::uninit()]);
            socket.set_nonblocking(false).and(peeked)
        });
        matches!(peeked, Err(error) if error.kind() == io::ErrorKind::WouldBlock)
    }

    fn sock_ref(&self) -> SockRef<'_> {
        match &self.transport {
            Transport::Tcp(stream) => SockRef::from(stream),
            #[cfg(unix)]
            Transport::Unix(stream) => SockRef::from(stream),
        }
    }

    /// Sets the transport's timeout to the remaining time. Skips the system call if the timeout
    /// differs by less than a thirty-second.
    fn set_timeout(&mut self) -> io::Result<()> {
        let left = self.deadline.remaining()?;
        if left.abs_diff(self.transport_timeout) > left / 32 {
            let socket = self.sock_ref();
            socket.set_read_timeout(Some(left))?;
            socket.set_write_timeout(Some(left))?;
            self.transport_timeout = left;
        }
        Ok(())
    }

    /// Runs a read or write, again if a signal interrupts it.
    fn run(
        &mut self,
        mut step: impl FnMut(&mut Transport) -> io::Result<usize>,
    ) -> io::Result<usize> {
        loop {
            self.set_timeout()?;
            match step(&mut self.transport) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // A timeout of the socket is reported as `WouldBlock`.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    return Err(io::ErrorKind::TimedOut.into());
                }
                result => return result,
            }
        }
    }
}

impl Read for Socket {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.run(|transport| match transport {
            Transport::Tcp(stream) => stream.read(buffer),
            #[cfg(unix)]
            Transport::Unix(stream) => stream.read(buffer),
        })?;
        let left = self.response_left.checked_sub(read as u64);
        self.response_left = left.ok_or_else(|| io::Error::other(TooLarge(self.max_response)))?;
        Ok(read)
    }
}

impl Write for Socket {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.run(|transport| match transport {
            Transport::Tcp(stream) => stream.write(bytes),
            #[cfg(unix)]
            Transport::Unix(stream) => stream.write(bytes),
        })
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Connects to the first address of a host that accepts.
fn connect(host: &str, port: u16, deadline: Deadline) -> io::Result<TcpStream> {
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the host has no address");
    for address in resolve(host, port, deadline)? {
        match TcpStream::connect_timeout(&address, deadline.remaining()?) {
            Ok(stream) => {
                stream.set_nodelay(true)?;
                return Ok(stream);
            }
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// Connects to a Unix socket. A connect blocks while the server's backlog is full, for instance
/// because the server is stopped; the write timeout bounds that wait.
#[cfg(unix)]
fn connect_unix(path: &Path, deadline: Deadline) -> io::Result<UnixStream> {
    let socket = socket2::Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.set_write_timeout(Some(deadline.remaining()?))?;
    socket.connect(&SockAddr::unix(path)?).map_err(|error| match error.kind() {
        io::ErrorKind::WouldBlock => io::ErrorKind::TimedOut.into(),
        _ => error,
    })?;
    Ok(OwnedFd::from(socket).into())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed test panics")]

    use std::net::TcpListener;
    use std::thread;
    use std::time::Instant;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn pair() -> (Socket, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let endpoint = Endpoint::tcp("127.0.0.1", listener.local_addr().unwrap().port());
        let socket = Socket::connect(&endpoint, 1_000, Deadline::after(SECOND * 10)).unwrap();
        (socket, listener.accept().unwrap().0)
    }

    #[test]
    fn slow_single_bytes_do_not_extend_a_call() {
        let (mut socket, mut peer) = pair();
        thread::spawn(move || {
            while peer.write_all(b"x").is_ok() {
                thread::sleep(SECOND / 50);
            }
        });
        let start = Instant::now();
        socket.begin(Deadline::after(SECOND / 4));
        let error = socket.read_exact(&mut [0; 10_000]).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert!(start.elapsed() < SECOND * 5);
    }

    #[cfg(unix)]
    #[test]
    fn connecting_to_a_unix_socket_with_a_full_backlog_times_out() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("s");
        let listener = socket2::Socket::new(Domain::UNIX, Type::STREAM, None).unwrap();
        listener.bind(&SockAddr::unix(&path).unwrap()).unwrap();
        listener.listen(2).unwrap();
        let endpoint = Endpoint::Unix(path);
        let mut connected = Vec::new();
        // Fills the backlog.
        let error = loop {
            match Socket::connect(&endpoint, 1_000, Deadline::after(SECOND / 10)) {
                Ok(socket) => connected.push(socket),
                Err(error) => break error,
            }
        };
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert!(!connected.is_empty());
    }

    #[cfg(feature = "server")]
    #[test]
    fn a_response_over_the_limit_is_an_error() {
        let (mut socket, mut peer) = pair();
        peer.write_all(&[0; 1_500]).unwrap();
        socket.read_exact(&mut [0; 750]).unwrap();
        socket.begin(Deadline::after(SECOND * 10));
        socket.read_exact(&mut [0; 750]).unwrap();
        peer.write_all(&[0; 300]).unwrap();
        let error = socket.read_exact(&mut [0; 300]).unwrap_err();
        let error = too_large_error(&error).unwrap();
        assert!(error.message().contains("`max_response`"), "{error}");
    }

    #[test]
    fn a_connection_with_input_or_at_its_end_is_not_quiet() {
        let (mut socket, mut peer) = pair();
        assert!(socket.is_quiet());
        peer.write_all(b"x").unwrap();
        while socket.is_quiet() {
            thread::yield_now();
        }
        socket.read_exact(&mut [0]).unwrap();
        assert!(socket.is_quiet());
        drop(peer);
        while socket.is_quiet() {
            thread::yield_now();
        }
    }
}
