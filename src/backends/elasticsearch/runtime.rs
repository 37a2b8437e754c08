//! The runtime that the asynchronous client runs on: one thread for all stores of the process,
//! started when the first of them is opened.
//!
//! A caller waits for its response on a channel and is never inside this runtime, so that it does
//! not matter whether it is itself in a runtime, of whatever kind. The runtime is never dropped:
//! that would not be allowed there.

use std::future::Future;
use std::sync::OnceLock;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

use tokio::runtime::{Builder, Handle, Runtime};

use crate::{Error, ErrorKind, Result};

/// How much later than its deadline a call ends at the latest, where the runtime's own clock is
/// late.
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

/// Runs something until it is done or the deadline passes; then it gives nothing.
///
/// # Errors
///
/// [`ErrorKind::Io`] where no thread can be started.
pub(super) fn run<T: Send + 'static>(
    deadline: Instant,
    work: impl Future<Output = T> + Send + 'static,
) -> Result<Option<T>> {
    let (sender, receiver) = mpsc::sync_channel(1);
    handle()?.spawn(async move {
        // Nobody receives it where the caller gave up, which it does not.
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

/// Runs something that nobody waits for, no longer than a while.
pub(super) fn spawn_detached(limit: Duration, work: impl Future<Output = ()> + Send + 'static) {
    if let Ok(handle) = handle() {
        handle.spawn(async move { tokio::time::timeout(limit, work).await });
    }
}
