//! The connection of one cache to a server.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;
use std::{fmt, thread};

use parking_lot::Mutex;

use super::breaker::Breaker;
use crate::remote::{CallClock, Deadline};
use crate::store::{Capabilities, Options, Store};
use crate::{Error, ErrorKind, Result};

/// The pause before the first probe.
const FIRST_PAUSE: Duration = Duration::from_millis(100);

/// The longest pause before a probe.
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// The time limit of a probe.
const PROBE_TIME: Duration = Duration::from_secs(1);

type Connect = Box<dyn Fn() -> Result<Arc<dyn Store>> + Send + Sync>;

/// A server whose URI is parsed and that has not been contacted.
pub(crate) struct Unconnected {
    pub(crate) name: &'static str,
    /// The capabilities known before the server is contacted.
    pub(crate) capabilities: Capabilities,
    pub(crate) options: Options,
    pub(crate) connect: Connect,
}

impl fmt::Debug for Unconnected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Unconnected").field("name", &self.name).finish_non_exhaustive()
    }
}

/// A server, connected to on first use, and its circuit breaker.
pub(crate) struct Remote {
    name: &'static str,
    capabilities: Capabilities,
    timeout: Duration,
    connect: Connect,
    /// Held by the call that connects.
    connecting: Mutex<()>,
    store: OnceLock<Arc<dyn Store>>,
    breaker: Breaker,
}

impl fmt::Debug for Remote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Remote");
        shown.field("name", &self.name).field("store", &self.store.get());
        shown.field("breaker", &self.breaker).finish_non_exhaustive()
    }
}

impl Remote {
    pub(crate) fn new(unconnected: Unconnected) -> Arc<Self> {
        let Unconnected { name, capabilities, options, connect } = unconnected;
        Arc::new(Self {
            name,
            capabilities,
            timeout: options.timeout,
            connect,
            connecting: Mutex::new(()),
            store: OnceLock::new(),
            breaker: Breaker::default(),
        })
    }

    pub(super) fn name(&self) -> &'static str {
        self.store.get().map_or(self.name, |store| store.name())
    }

    pub(super) fn capabilities(&self) -> Capabilities {
        self.store.get().map_or(self.capabilities, |store| store.capabilities())
    }

    /// Returns the store, and connects to the server first if necessary.
    ///
    /// One call at a time connects. The others wait for it, each until its own deadline. If
    /// connecting fails, later calls try again.
    pub(crate) fn store(&self) -> Result<&Arc<dyn Store>> {
        if let Some(store) = self.store.get() {
            return Ok(store);
        }
        let deadline = Deadline::of_call(self.timeout).instant();
        let connecting = self.connecting.try_lock_until(deadline);
        let _connecting = connecting.ok_or_else(|| {
            let message = "the deadline passed while a concurrent call was connecting to the server; nothing was changed";
            Error::new(ErrorKind::Timeout, message)
        })?;
        if let Some(store) = self.store.get() {
            return Ok(store);
        }
        let store = (self.connect)()?;
        Ok(self.store.get_or_init(|| store))
    }

    /// Runs a call of the server, unless the breaker is open.
    pub(super) fn call<T>(self: &Arc<Self>, call: impl FnOnce() -> Result<T>) -> Result<T> {
        self.breaker.check()?;
        let result = call();
        if self.breaker.record(&result) {
            self.start_probe();
        }
        result
    }

    /// Runs a call of the store, unless the breaker is open.
    pub(super) fn with_store<T>(
        self: &Arc<Self>,
        call: impl FnOnce(&dyn Store) -> Result<T>,
    ) -> Result<T> {
        self.call(|| call(&**self.store()?))
    }

    /// Starts the probe thread, which ends when the breaker closes or the cache is dropped.
    #[cold]
    fn start_probe(self: &Arc<Self>) {
        #[cfg(feature = "tracing")]
        tracing::warn!(backend = self.name(), "the circuit breaker of a cache is open");
        let remote = Arc::downgrade(self);
        let probe = thread::Builder::new().name("hilcat-probe".to_owned());
        if probe.spawn(move || probe_until_closed(&remote)).is_err() {
            // Without a probe, the next calls test the server.
            self.breaker.close();
        }
    }

    /// Returns whether the server answers. Errors other than outages count as answers.
    fn answers(&self) -> bool {
        let clock = CallClock::with_spent(self.timeout.saturating_sub(PROBE_TIME));
        let pinged = catch_unwind(AssertUnwindSafe(|| clock.step(|| self.store()?.ping())));
        match pinged {
            Ok(Ok(())) => true,
            Ok(Err(error)) => !matches!(error.kind(), ErrorKind::Unavailable | ErrorKind::Timeout),
            Err(_) => false,
        }
    }
}

fn probe_until_closed(remote: &Weak<Remote>) {
    let mut pause = FIRST_PAUSE;
    loop {
        thread::sleep(pause);
        let Some(remote) = remote.upgrade() else { return };
        if remote.answers() {
            debug_assert!(remote.breaker.is_open(), "only this thread closes it");
            remote.breaker.close();
            #[cfg(feature = "tracing")]
            tracing::info!(backend = remote.name(), "the circuit breaker of a cache is closed");
            return;
        }
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}
