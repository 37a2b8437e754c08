//! A blocking socket below an asynchronous protocol, without a runtime.
//!
//! The calling thread polls the request and the protocol's driver in turn. Invariant: a read of the
//! driver blocks only after both are pending, so that all data has been sent before the wait for a
//! response.

use std::future::Future;
use std::io::{self, Read, Write};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::remote::{Deadline, Socket};

/// The state that the caller and the driver share.
#[derive(Debug)]
struct Shared {
    socket: Socket,
    /// Whether the next read may block. Otherwise it returns pending at once.
    may_read: bool,
}

/// The caller's handle of the socket.
#[derive(Debug, Clone)]
pub(super) struct BlockingIo(Arc<Mutex<Shared>>);

/// The driver's handle of the socket.
#[derive(Debug)]
pub(super) struct DriverIo(BlockingIo);

impl BlockingIo {
    pub(super) fn new(socket: Socket) -> Self {
        Self(Arc::new(Mutex::new(Shared { socket, may_read: false })))
    }

    pub(super) fn driver_io(&self) -> DriverIo {
        DriverIo(self.clone())
    }

    /// Begins a call, and sets its deadline.
    pub(super) fn begin(&self, deadline: Deadline) {
        let mut shared = self.0.lock();
        shared.socket.begin(deadline);
        shared.may_read = false;
    }

    /// Returns whether an idle connection can be used.
    pub(super) fn is_quiet(&self) -> bool {
        self.0.lock().socket.is_quiet()
    }

    /// Runs a future that waits only for the socket. `step` polls what it depends on.
    pub(super) fn block_on<F: Future>(
        &self,
        future: F,
        mut step: impl FnMut(&mut Context<'_>),
    ) -> F::Output {
        let mut future = pin!(future);
        // No wake-up is needed: everything is polled again after each read.
        let mut context = Context::from_waker(Waker::noop());
        loop {
            if let Poll::Ready(output) = future.as_mut().poll(&mut context) {
                return output;
            }
            step(&mut context);
            self.0.lock().may_read = true;
        }
    }
}

impl AsyncRead for DriverIo {
    fn poll_read(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let mut shared = self.0.0.lock();
        if !std::mem::take(&mut shared.may_read) {
            return Poll::Pending;
        }
        let read = shared.socket.read(buffer.initialize_unfilled())?;
        buffer.advance(read);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for DriverIo {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Poll::Ready(self.0.0.lock().socket.write(bytes))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
