//! A blocking socket whose every read and write ends by the deadline of the call.

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
/// A read blocks for at most what is left of the call, which is looked at again before each one:
/// a server that sends a byte now and then prolongs nothing.
#[derive(Debug)]
pub(crate) struct Socket {
    transport: Transport,
    deadline: Deadline,
    /// What the transport's own timeout is set to.
    armed: Duration,
    /// How many bytes the answer to one request may have, and how many of them may still come.
    max_response: u64,
    left: u64,
}

/// The cause of the error of a read that would exceed what an answer may have.
#[derive(Debug)]
struct TooLarge(u64);

impl std::fmt::Display for TooLarge {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "the answer has more than {} bytes", self.0)
    }
}

impl std::error::Error for TooLarge {}

/// The public error where a read failed because the answer is too large.
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
    /// Connects to a server, none of whose answers may have more than `max_response` bytes; the
    /// deadline holds for what follows, too.
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
        Ok(Self { transport, deadline, armed: Duration::ZERO, max_response, left: max_response })
    }

    /// Begins a request whose answer is to end by a deadline.
    pub(crate) fn begin(&mut self, deadline: Deadline) {
        self.deadline = deadline;
        self.left = self.max_response;
    }

    /// Whether nothing that is sent leaves this machine.
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

    /// Whether an idle connection can be used: nothing has arrived that no call asked for, neither
    /// the end of the stream nor a byte, such as a server's notice that it closes the connection.
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

    /// Sets the transport's timeout to what is left of the call, where it differs by much.
    fn arm(&mut self) -> io::Result<()> {
        let left = self.deadline.remaining()?;
        if left.abs_diff(self.armed) > left / 32 {
            let socket = self.sock_ref();
            socket.set_read_timeout(Some(left))?;
            socket.set_write_timeout(Some(left))?;
            self.armed = left;
        }
        Ok(())
    }

    fn repeat(
        &mut self,
        mut step: impl FnMut(&mut Transport) -> io::Result<usize>,
    ) -> io::Result<usize> {
        loop {
            self.arm()?;
            match step(&mut self.transport) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // The error of a socket whose timeout has passed.
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
        let read = self.repeat(|transport| match transport {
            Transport::Tcp(stream) => stream.read(buffer),
            #[cfg(unix)]
            Transport::Unix(stream) => stream.read(buffer),
        })?;
        let left = self.left.checked_sub(read as u64);
        self.left = left.ok_or_else(|| io::Error::other(TooLarge(self.max_response)))?;
        Ok(read)
    }
}

impl Write for Socket {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.repeat(|transport| match transport {
            Transport::Tcp(stream) => stream.write(bytes),
            #[cfg(unix)]
            Transport::Unix(stream) => stream.write(bytes),
        })
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Tries each address of a host in turn.
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

/// Connects to the socket of a path. A server that is stopped takes no connection once those that
/// wait for it are many: the timeout of writes bounds that, too.
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
    fn a_peer_that_drips_bytes_does_not_prolong_a_call() {
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
    fn a_unix_socket_that_nothing_accepts_from_is_given_up() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("s");
        let listener = socket2::Socket::new(Domain::UNIX, Type::STREAM, None).unwrap();
        listener.bind(&SockAddr::unix(&path).unwrap()).unwrap();
        listener.listen(2).unwrap();
        let endpoint = Endpoint::Unix(path);
        let mut connected = Vec::new();
        // Until as many wait as the system lets wait.
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
    fn an_answer_has_at_most_so_many_bytes() {
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
    fn a_connection_that_was_closed_or_written_to_is_not_quiet() {
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
