//! The runtime of the asynchronous client: one thread for all stores of the process, started when
//! the first store is opened.
//!
//! Callers wait for responses on a channel and never enter this runtime, so they may be inside any
//! runtime themselves. The runtime is never dropped, which would panic inside another runtime.

use std::future::Future;
use std::sync::OnceLock;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

use tokio::runtime::{Builder, Handle, Runtime};

use crate::{Error, ErrorKind, Result};

/// How much later than its deadline a call may end, to allow for inaccurate timers of the runtime.
const SLACK: Duration = Duration::from_millis(20);

fn handle() -> Result<&'static Handle> {
    static RUNTIME: OnceLock<std::io::Result<Runtime>> = OnceLock::new();
    let start = || {
        let mut builder = Builder::new_multi_thread();
        builder.worker_threads(1).thread_name("hilcat-elasticsearch").enable_all().build()
    };
    match RUNTIME.get_or_init(start) {
        Ok(runtime) => Ok(runtime.handle()),
        Err(error) => Err(Error::new(
            ErrorKind::Io,
            format!("the runtime of the Elasticsearch client cannot be started: {error}"),
        )),
    }
}

/// Runs a future until it completes or the deadline passes; `None` in the latter case.
///
/// # Errors
///
/// [`ErrorKind::Io`] if the thread cannot be started.
pub(super) fn run<T: Send + 'static>(
    deadline: Instant,
    work: impl Future<Output = T> + Send + 'static,
) -> Result<Option<T>> {
    let (sender, receiver) = mpsc::sync_channel(1);
    handle()?.spawn(async move {
        // The receiver exists until the deadline and the slack have passed.
        let _ = sender.send(tokio::time::timeout_at(deadline.into(), work).await.ok());
    });
    let left = deadline.saturating_duration_since(Instant::now()) + SLACK;
    match receiver.recv_timeout(left) {
        Ok(done) => Ok(done),
        Err(RecvTimeoutError::Timeout) => Ok(None),
        Err(RecvTimeoutError::Disconnected) => {
            Err(Error::new(ErrorKind::Backend, "the Elasticsearch client panicked"))
        }
    }
}

/// Runs a future in the background, for at most `limit`.
pub(super) fn spawn_detached(limit: Duration, work: impl Future<Output = ()> + Send + 'static) {
    if let Ok(handle) = handle() {
        handle.spawn(async move { tokio::time::timeout(limit, work).await });
    }
}
