//! A blocking socket under an asynchronous protocol: the calling thread drives the protocol's
//! machine, without a runtime.

use std::future::Future;
use std::io::{self, Read, Write};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::remote::{Deadline, Socket};

/// What the caller and the protocol's machine share.
#[derive(Debug)]
struct Shared {
    socket: Socket,
    /// Whether one read may block. Without it a read is pending at once: what is to be sent has
    /// to be sent before an answer is waited for.
    may_read: bool,
}

/// The caller's side of a socket.
#[derive(Debug, Clone)]
pub(super) struct Gate(Arc<Mutex<Shared>>);

/// The machine's side of a socket.
#[derive(Debug)]
pub(super) struct Driven(Gate);

impl Gate {
    pub(super) fn new(socket: Socket) -> Self {
        Self(Arc::new(Mutex::new(Shared { socket, may_read: false })))
    }

    pub(super) fn driven(&self) -> Driven {
        Driven(self.clone())
    }

    /// Begins a call that is to end by a deadline.
    pub(super) fn begin(&self, deadline: Deadline) {
        let mut shared = self.0.lock();
        shared.socket.begin(deadline);
        shared.may_read = false;
    }

    /// Whether an idle connection can be used.
    pub(super) fn is_quiet(&self) -> bool {
        self.0.lock().socket.is_quiet()
    }

    /// Drives a future that waits for nothing but the socket. `step` drives what it depends on.
    pub(super) fn drive<F: Future>(
        &self,
        future: F,
        mut step: impl FnMut(&mut Context<'_>),
    ) -> F::Output {
        let mut future = pin!(future);
        // No other thread makes progress: what is pending is polled again after the next read.
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

impl AsyncRead for Driven {
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

impl AsyncWrite for Driven {
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
