//! A blocking socket under an asynchronous protocol: the calling thread drives the protocol's
//! machine, without a runtime, and every read and write is bounded by the deadline of the call.

use std::future::Future;
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::resolve::resolve;

/// What a call allows its socket.
#[derive(Debug)]
struct Allowed {
    deadline: Instant,
    /// Whether one read may block. Without it a read is pending at once: what is to be sent has
    /// to be sent before an answer is waited for.
    read: bool,
    /// What the socket's own timeout is set to.
    armed: Duration,
}

/// The caller's side of a socket.
#[derive(Debug, Clone)]
pub(super) struct Gate(Arc<Mutex<Allowed>>);

impl Gate {
    /// Begins a call that is to end by a deadline.
    pub(super) fn begin(&self, deadline: Instant) {
        let mut allowed = self.0.lock();
        allowed.deadline = deadline;
        allowed.read = false;
    }

    /// Drives a future that waits for nothing but the socket. `step` drives what it depends on.
    pub(super) fn drive<F: Future>(
        &self,
        future: F,
        mut step: impl FnMut(&mut Context<'_>),
    ) -> F::Output {
        let mut future = pin!(future);
        // Nobody else makes progress: what is pending is polled again after the next read.
        let mut context = Context::from_waker(Waker::noop());
        loop {
            if let Poll::Ready(output) = future.as_mut().poll(&mut context) {
                return output;
            }
            step(&mut context);
            self.0.lock().read = true;
        }
    }
}

/// What a blocking stream is asked for.
trait Stream: Read + Write + Send {
    fn set_timeout(&self, timeout: Duration) -> io::Result<()>;
}

macro_rules! stream {
    ($stream:ty) => {
        impl Stream for $stream {
            fn set_timeout(&self, timeout: Duration) -> io::Result<()> {
                self.set_read_timeout(Some(timeout))?;
                self.set_write_timeout(Some(timeout))
            }
        }
    };
}
stream!(TcpStream);
#[cfg(unix)]
stream!(std::os::unix::net::UnixStream);

/// A connected socket.
pub(super) struct Socket {
    stream: Box<dyn Stream>,
    gate: Gate,
}

impl Socket {
    /// Tries each address of a host in turn.
    pub(super) fn tcp(host: &str, port: u16, deadline: Instant) -> io::Result<Self> {
        let mut last = io::Error::new(io::ErrorKind::NotFound, "the host has no address");
        for address in resolve(host, port, left(deadline)?)? {
            match TcpStream::connect_timeout(&address, left(deadline)?) {
                Ok(stream) => {
                    stream.set_nodelay(true)?;
                    return Ok(Self::new(Box::new(stream), deadline));
                }
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    /// Connects to the socket of that path.
    #[cfg(unix)]
    pub(super) fn unix(path: &Path, deadline: Instant) -> io::Result<Self> {
        let stream = std::os::unix::net::UnixStream::connect(path)?;
        Ok(Self::new(Box::new(stream), deadline))
    }

    #[cfg(not(unix))]
    pub(super) fn unix(_: &Path, _: Instant) -> io::Result<Self> {
        Err(io::Error::new(io::ErrorKind::Unsupported, "this system has no Unix sockets"))
    }

    fn new(stream: Box<dyn Stream>, deadline: Instant) -> Self {
        let allowed = Allowed { deadline, read: false, armed: Duration::ZERO };
        Self { stream, gate: Gate(Arc::new(Mutex::new(allowed))) }
    }

    pub(super) fn gate(&self) -> Gate {
        self.gate.clone()
    }

    /// Sets the stream's timeout to what is left of the call, where it differs by much.
    fn arm(&self) -> io::Result<()> {
        let mut allowed = self.gate.0.lock();
        let left = left(allowed.deadline)?;
        if left.abs_diff(allowed.armed) > left / 32 {
            self.stream.set_timeout(left)?;
            allowed.armed = left;
        }
        Ok(())
    }
}

fn left(deadline: Instant) -> io::Result<Duration> {
    match deadline.saturating_duration_since(Instant::now()) {
        Duration::ZERO => Err(io::ErrorKind::TimedOut.into()),
        left => Ok(left),
    }
}

/// A stream that ran into its timeout says `WouldBlock`, which would be taken for "not yet".
fn timed_out(error: io::Error) -> io::Error {
    match error.kind() {
        io::ErrorKind::WouldBlock => io::ErrorKind::TimedOut.into(),
        _ => error,
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if !std::mem::take(&mut this.gate.0.lock().read) {
            return Poll::Pending;
        }
        let read = loop {
            this.arm()?;
            match this.stream.read(buffer.initialize_unfilled()) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                read => break read.map_err(timed_out)?,
            }
        };
        buffer.advance(read);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        loop {
            this.arm()?;
            match this.stream.write(bytes) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                written => return Poll::Ready(written.map_err(timed_out)),
            }
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
